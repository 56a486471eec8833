"""An operation that may run: its statement, its verdict, and how it ends. Counterpart: judging.py makes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.events import Outcome
from schemas.verdicts import MaskObligation, Verdict
from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.lineage import masked_columns
from services.ingress.classify.sql.statements import Statement
from services.ingress.inspection import Inspector
from services.ingress.masking.rows.copying import CopyMasker
from services.ingress.masking.rows.fields import CopyFormat, Field
from services.ingress.protocols.postgres.recording import Recording
from services.ingress.protocols.postgres.results import Results
from services.ingress.story import Story

#: SQLSTATE of success.
SUCCESSFUL = "00000"
#: Classes of SQLSTATE that tell of the server or the connection, not of the statement (PostgreSQL, Appendix A).
_BROKEN = ("08", "57P", "58", "XX")


@dataclass
class Judged:
    """One operation from its verdict to its outcome."""

    story: Story
    statement: Statement
    verdict: Verdict
    #: What lineage is told by; only fetched when there are column rules.
    catalog: Catalog | None = None
    plan: Any = None
    #: The session's `client_encoding` when it was judged: COPY's data are in it, unless the statement says otherwise.
    encoding: str = ""
    #: What its success does to the session's names; None until it is executed.
    done: Callable[[], None] | None = None
    #: The server was asked to break off because the rule's row limit is reached.
    cut_short: bool = False
    #: Whether its columns are known, so that rows may pass.
    begun: bool = False
    #: Masks what the agent sends by COPY; None when it passes as it is.
    incoming: CopyMasker | None = None
    results: Results = field(init=False)
    _end: tuple[Outcome, str, str, int] | None = None

    def __post_init__(self) -> None:
        self.results = Results(self.verdict.obligations)

    @property
    def mask(self) -> MaskObligation:
        """What must be masked."""
        return self.verdict.obligations.mask

    def begin(self, inspector: Inspector, fields: Sequence[Field], window: int) -> None:
        """Rows with these columns follow; `window` bytes of them are recorded. Raises MaskingError."""
        if not self.begun:
            masker = inspector.rows(fields, self._hidden(fields), self.mask)
            self.results.begin(fields, masker, self._recording(window))
            self.begun = True

    def begin_copy(self, inspector: Inspector, columns: int, *, binary: bool, window: int) -> None:
        """COPY data with so many columns follow. Raises MaskingError."""
        form = self.copy_form(binary=binary)
        masker = inspector.copy_out(form, self._hidden([Field()] * columns), self.mask)
        # Binary data hide their values from the detectors of the record.
        recording = self._recording(0 if binary else window)
        self.results.begin_copy(masker, recording, header=form.header and not binary)
        self.begun = True

    def copy_form(self, *, binary: bool) -> CopyFormat:
        """How this COPY writes its data; `binary` as the server says."""
        form = self.statement.copy.form if self.statement.copy else CopyFormat()
        form = replace(form, encoding=form.encoding or self.encoding)
        return replace(form, name="binary") if binary else form

    def _hidden(self, fields: Sequence[Field]) -> frozenset[int]:
        if not self.mask.columns:
            return frozenset()
        return masked_columns(self.statement, fields, self.mask.columns, self.catalog, self.plan)

    def _recording(self, window: int) -> Recording:
        return Recording(window if self.verdict.obligations.record == "full" else 0)

    # ---- how it ends: the first word counts ------------------------------------------------------------------------

    def succeed(self, rows: int) -> None:
        """The server has run it; `rows` as its command tag counts them."""
        self._ends(Outcome.FORWARDED, SUCCESSFUL, rows=rows)

    def answered(self, sqlstate: str) -> None:
        """The server has refused it, or broke off."""
        if sqlstate.startswith(_BROKEN):
            self._ends(Outcome.FAILED, sqlstate, "the database broke off")
        else:
            self._ends(Outcome.FORWARDED, sqlstate)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._end is not None

    def close(self) -> None:
        """Its portal is gone: what it has given is all that it gives; without an Execute it never ran."""
        if self.done is not None:
            self._ends(Outcome.FORWARDED, SUCCESSFUL)
        else:
            self._ends(Outcome.WITHDRAWN, "", "bound, and never executed")

    def skip(self, why: str) -> None:
        """It never ran, or nobody knows whether it did: `why`, in our words. Recorded at once."""
        self._ends(Outcome.FAILED, "", why)
        self.tell()

    def tell(self) -> None:
        """Record how it ended, once."""
        if self._end is None:
            return
        outcome, status, error, rows = self._end
        # COPY's header is no row: its tag counts better, unless rows were held back.
        counted = self.results.rows if self.results.withheld or not self.results.is_copy else rows
        self.story.rows = counted or rows
        self.story.note_masked("response", self.results.take_counts())
        self.story.finish(outcome, status=status, error=error)

    def _ends(self, outcome: Outcome, status: str, error: str = "", rows: int = 0) -> None:
        if self._end is None:
            self._end = outcome, status, error, rows
