"""Errors, notices, notifications and settings from the server, as the agent may read them.

They quote values: `Key (email)=(x@y) already exists`. What belongs to a statement is masked by its rule; what comes
by itself, by the masks of every statement this session was allowed so far.
"""

from dataclasses import dataclass, field

from schemas.verdicts import MaskObligation
from services.ingress.classify.sql.words import words
from services.ingress.masking.rows.telling import NoticeMasker
from services.ingress.protocols.postgres import encodings
from services.ingress.protocols.postgres.codec import backend
from services.ingress.protocols.postgres.codec.framing import Frame
from services.ingress.protocols.postgres.judged import Judged
from services.ingress.protocols.postgres.state import State

#: Settings whose values PostgreSQL chooses from a few words, or makes itself: nothing of the agent's can be in them.
_FIXED = frozenset({
    b"client_encoding", b"DateStyle", b"default_transaction_read_only", b"in_hot_standby", b"integer_datetimes",
    b"IntervalStyle", b"is_superuser", b"scram_iterations", b"server_encoding", b"server_version",
    b"standard_conforming_strings", b"TimeZone",
})  # fmt: skip


#: What earlier statements have left to check, these may check: their errors are about values of any of them.
_DEFERRED = frozenset({"sql.transaction", "sql.set", "sql.call", "sql.do"})


@dataclass
class Telling:
    """Words beside rows, for one session."""

    state: State
    _masker: tuple[MaskObligation, NoticeMasker | None] = field(default=(MaskObligation(), None))

    def report(self, frame: Frame, judged: Judged | None) -> bytes:
        """An error or notice. Raises MaskingError."""
        deferred = judged is not None and _DEFERRED & set(judged.statement.actions)
        masker = self._for(self.state.mask if judged is None or deferred else judged.mask)
        raw = self.state.upstream.clean(frame.raw)
        if masker is None:
            return raw
        told = backend.read(Frame(frame.kind, raw))
        assert isinstance(told, backend.Report)
        settings = self.state.upstream.parameters
        text = judged.statement.shown if judged else ""
        masked = masker.fields(
            {chr(code): encodings.lossy(value, settings) for code, value in told.fields}, lambda: words(text)
        )
        return backend.Report(
            told.kind,
            tuple(
                (code, encodings.encode(masked[chr(code)], settings).replace(b"\0", b""))
                for code, _ in told.fields
                if chr(code) in masked
            ),
        ).encode()

    def notification(self, frame: Frame) -> bytes:
        """What another session said by NOTIFY. Raises MaskingError."""
        masker = self._for(self.state.mask)
        raw = self.state.upstream.clean(frame.raw)
        if masker is None:
            return raw
        said = backend.read(Frame(frame.kind, raw))
        assert isinstance(said, backend.Notification)
        settings = self.state.upstream.parameters
        payload = masker.payload(encodings.lossy(said.payload, settings))
        return backend.Notification(said.process_id, said.channel, encodings.encode(payload, settings)).encode()

    def parameter(self, frame: Frame) -> bytes:
        """A setting's new value, which the session takes over. Raises MaskingError."""
        raw = self.state.upstream.clean(frame.raw)
        status = backend.read(Frame(frame.kind, raw))
        assert isinstance(status, backend.ParameterStatus)
        settings = self.state.upstream.parameters
        settings[status.name.decode("utf-8", "replace")] = encodings.lossy(status.value, settings)
        masker = None if status.name in _FIXED else self._for(self.state.mask)
        if masker is None:
            return raw
        value = masker.payload(encodings.lossy(status.value, settings))
        return backend.ParameterStatus(status.name, encodings.encode(value, settings)).encode()

    def _for(self, mask: MaskObligation) -> NoticeMasker | None:
        """The masker for a rule's mask; most messages in a row have the same."""
        known, masker = self._masker
        if known != mask:
            masker = self.state.parts.inspector.notices(mask)
            self._masker = mask, masker
        return masker
