"""The rows of one operation on their way to the agent: masked, counted, limited, recorded; pure.

What needs no change passes as the slice it came in, however many rows it holds. A result that is masked is held row
by row, up to `MAX_MASKED_ROW`.
"""

from collections.abc import Sequence

from schemas.verdicts import Obligations
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.rows.copying import CopyMasker
from services.ingress.masking.rows.fields import Field
from services.ingress.masking.rows.row import RowMasker
from services.ingress.protocols.postgres.codec import backend
from services.ingress.protocols.postgres.codec.framing import HEADER, Piece, Run
from services.ingress.protocols.postgres.codec.values import message
from services.ingress.protocols.postgres.recording import Recording

#: A row that is to be masked must be held whole; two of them at most are (G10).
MAX_MASKED_ROW = 16 * 1024**2


class Results:
    """One operation's rows."""

    def __init__(self, obligations: Obligations) -> None:
        self.limit = obligations.limit.rows
        #: Rows given to the agent.
        self.rows = 0
        #: Rows held back by the rule's limit.
        self.withheld = 0
        self.fields: Sequence[Field] = ()
        self.recording = Recording(0)
        self.masker: RowMasker | None = None
        self.copying: CopyMasker | None = None
        self.is_copy = False
        #: The next of COPY's data names the columns, and is no row.
        self._header = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        #: Whether the large message that is passing in pieces is let through.
        self._passing = True

    def begin(self, fields: Sequence[Field], masker: RowMasker | None, recording: Recording) -> None:
        """Rows with these columns follow."""
        self.fields, self.masker, self.recording = fields, masker, recording
        if recording.wanted:
            recording.columns(fields)

    def begin_copy(self, masker: CopyMasker | None, recording: Recording, *, header: bool) -> None:
        """COPY data follow, after a line of column names if `header`."""
        self.fields, self.copying, self.recording = (), masker, recording
        self._header = header
        self.is_copy = True

    def take(self, item: Run | Piece) -> bytes:
        """What of it the agent gets. Raises MaskingError: then nothing of it may pass."""
        if item.kind == backend.COPY_DATA:
            return self._copy(item)
        return self._run(item) if isinstance(item, Run) else self._piece(item)

    @property
    def laborious(self) -> bool:
        """Whether each row is looked into."""
        return self.masker is not None or self.copying is not None

    def end_copy(self) -> bytes:
        """What the masker of a COPY held back. Raises MaskingError."""
        if self.copying is None:
            return b""
        return self._copied(self.copying.close())

    @property
    def left(self) -> int | None:
        """Rows that may still pass; None for any number."""
        return None if self.limit is None else max(0, self.limit - self.rows)

    # ---- rows -----------------------------------------------------------------------------------------------------

    def _run(self, run: Run) -> bytes:
        left = self.left
        if self.masker is None and not self.recording.wanted and (left is None or left >= run.count):
            self.rows += run.count
            return run.raw
        passed: list[bytes] = []
        for payload in run.payloads():
            if left is not None and self.rows >= (self.limit or 0):
                self.withheld += 1
                continue
            passed.append(self._row(bytes(payload)))
        return b"".join(passed)

    def _row(self, payload: bytes) -> bytes:
        masked = self.masker.row(payload) if self.masker else payload
        self.rows += 1
        if self.recording.wanted:
            self.recording.row(self.fields, backend.row(masked))
        return message(backend.DATA_ROW, masked)

    def _piece(self, piece: Piece) -> bytes:
        if piece.first:
            self._passing = self.left != 0
            self._count_piece(piece)
        if not self._passing:
            return b""
        return piece.data if self.masker is None else self._hold(piece)

    def _count_piece(self, piece: Piece) -> None:
        if not self._passing:
            self.withheld += 1
            return
        self.recording.cut = self.recording.cut or self.recording.wanted
        if self.masker is None:
            self.rows += 1
        elif piece.size > MAX_MASKED_ROW:
            raise MaskingError(f"a row is larger than the {MAX_MASKED_ROW} bytes that can be masked")

    def _hold(self, piece: Piece) -> bytes:
        self._held.append(piece.data)
        if not piece.last:
            return b""
        whole, self._held = b"".join(self._held), []
        return self._row(whole[HEADER:])

    # ---- COPY -----------------------------------------------------------------------------------------------------

    def _copy(self, item: Run | Piece) -> bytes:
        if isinstance(item, Run):
            if self.copying is None and not self.recording.wanted and self.limit is None and not self._header:
                self.rows += item.count
                return item.raw
            return b"".join(self._copy_data(bytes(payload)) for payload in item.payloads())
        self._held.append(item.data)
        self._held_bytes += len(item.data)
        if self._held_bytes > MAX_MASKED_ROW:
            raise MaskingError(f"a piece of COPY is larger than the {MAX_MASKED_ROW} bytes that can be held")
        if not item.last:
            return b""
        whole, self._held, self._held_bytes = b"".join(self._held), [], 0
        return self._copy_data(whole[HEADER:])

    def _copy_data(self, data: bytes) -> bytes:
        """One CopyData: PostgreSQL sends one for each row ("COPY-out mode")."""
        if self._header:
            self._header = False
        elif self.left == 0:
            self.withheld += 1
            return b""
        else:
            self.rows += 1
        return self._copied(self.copying.feed(data) if self.copying else data)

    def _copied(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self.recording.wanted:
            self.recording.data(data)
        return message(backend.COPY_DATA, data)

    # ---- what was masked ------------------------------------------------------------------------------------------

    def take_counts(self) -> dict[str, int]:
        """Values masked by entity, at the end."""
        masker = self.masker or self.copying
        return masker.counts if masker else {}

    def take_pairs(self) -> dict[str, str]:
        """Placeholders given out and what they stand for: to be stored before the rows go out."""
        masker = self.masker or self.copying
        return masker.take_pairs() if masker else {}
