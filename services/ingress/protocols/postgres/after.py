"""What an answer means for the session: names kept or dropped, DDL seen, results cut at the rule's row limit."""

from collections import deque
from dataclasses import dataclass

from services.ingress.classify.sql.statements import Kind
from services.ingress.masking.rows.copying import CopyMasker
from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.framing import Frame
from services.ingress.protocols.postgres.judged import Judged
from services.ingress.protocols.postgres.judging import chained
from services.ingress.protocols.postgres.state import Expected, State
from services.runtime.tasks import TaskGroup

#: Commands whose tag counts the rows of a result.
_COUNTED = (b"SELECT", b"FETCH", b"COPY")


@dataclass
class Afterwards:
    """Keeps one session's state in step with the server's answers."""

    state: State
    tasks: TaskGroup

    def ran(self, judged: Judged) -> None:
        """A statement has succeeded."""
        if judged.done is not None:
            judged.done()
        actions = judged.statement.actions
        if "sql.set" in actions or "sql.role" in actions:
            self.state.context = chained(self.state.context, judged.statement.sql)
        if "sql.role" in actions or "sql.unknown" in actions or "sql.do" in actions:
            self.state.role_in_doubt = True

    def failed(self, head: Expected) -> None:
        """The server drops what comes up to the next Sync; of a Query, its remaining statements."""
        state = self.state
        if head.kind in (frontend.QUERY, frontend.FUNCTION_CALL):
            _skip(head.judged, "an earlier statement of the same string failed")
            return
        state.skipping = True
        state.on_failure()
        while state.expected and state.expected[0].kind != frontend.SYNC:
            _skip(state.expected.popleft().judged, "an earlier message of the pipeline failed")

    def ready(self, head: Expected, status: bytes) -> None:
        """A cycle is over."""
        state = self.state
        _skip(head.judged, "the database did not run it")
        state.status, state.upstream.status = status, status
        state.skipping = False
        state.settle()
        idle = status == b"I"
        for portal in state.names.settled(idle=idle):
            if portal.judged is not None:
                state.close_portal(portal.judged)
        if idle and state.ddl:
            state.ddl = False
            state.parts.catalogs.changed(state.front.target)

    # ---- COPY FROM STDIN --------------------------------------------------------------------------------------------

    def copy_in(self, judged: Judged, head: Expected, *, binary: bool, both: bool) -> None:
        """The agent sends data now. A Sync that is already under way is read, and ignored, as part of them."""
        state = self.state
        mask = judged.mask
        if mask.request and not both:
            judged.incoming = self._incoming(judged, binary=binary)
        state.copying = judged
        if head.kind == frontend.EXECUTE:
            while len(state.expected) > 1 and state.expected[-1].kind == frontend.SYNC:
                state.expected.pop()

    def _incoming(self, judged: Judged, *, binary: bool) -> CopyMasker | None:
        """What a rule masks in requests, it masks in COPY's data."""
        asked = judged.mask.model_copy(update={"response": judged.mask.request, "columns": ()})
        form = judged.copy_form(binary=binary)
        return self.state.parts.inspector.copy_out(form, frozenset(), asked)

    # ---- the row limit ----------------------------------------------------------------------------------------------

    def cut_short(self, judged: Judged) -> None:
        """A lone query outside a transaction need not run to its end, for nobody gets its rows."""
        state, head = self.state, self.state.expected[0]
        alone = head.kind == frontend.QUERY and len(head.judged) == 1 and len(state.expected) == 1
        harmless = judged.statement.actions == ("sql.select",) and judged.statement.kind is Kind.QUERY
        if not judged.cut_short and alone and harmless and state.status == b"I" and state.cancelling is None:
            judged.cut_short = True
            state.cancelling = self.tasks.start(state.upstream.cancel(), "row limit")

    def truncated(self, judged: Judged, frame: Frame | None) -> list[bytes]:
        """The end of a result of which rows were held back: a notice, and a tag that counts what was given."""
        results = judged.results
        notice = backend.report(
            backend.NOTICE,
            S="NOTICE",
            C="01004",
            M=f"the result ends after {results.rows} rows: a rule limits it to {results.limit}",
            D=f"Rules: {', '.join(judged.verdict.rules)}. Operation: {judged.story.operation_id}.",
        )
        results.recording.cut = True
        return [notice, self._tag(results.rows, frame)]

    def _tag(self, rows: int, frame: Frame | None) -> bytes:
        done = backend.read(frame) if frame is not None else None
        tag = done.tag if isinstance(done, backend.CommandComplete) else b"SELECT 0"
        word = tag.split(b" ")[0]
        if word in _COUNTED:
            tag = b"%s %d" % (word, rows)
        return backend.CommandComplete(tag).encode()


def _skip(judged: "deque[Judged]", why: str) -> None:
    while judged:
        judged.popleft().skip(why)
