"""What the server says, on its way to the agent: matched to what was asked, masked, counted, recorded.

`state.py` holds the table of answers. Anything that does not fit it ends the session: an answer that belongs to
nothing cannot be masked for anything (G1).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from services.ingress.content import Content, MediaType
from services.ingress.errors import GatewayError, UpstreamError
from services.ingress.inspection import mask_failed
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.rows.fields import Field
from services.ingress.protocols.postgres import encodings
from services.ingress.protocols.postgres.after import Afterwards
from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.framing import Frame, Item, Piece, Run
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation
from services.ingress.protocols.postgres.judged import Judged
from services.ingress.protocols.postgres.recording import MEDIA_TYPE, Recording
from services.ingress.protocols.postgres.state import Expected, State
from services.ingress.protocols.postgres.telling import Telling

log = structlog.get_logger(__name__)

#: Which message each short acknowledgement answers.
_ACKNOWLEDGES = {
    backend.PARSE_COMPLETE: frontend.PARSE,
    backend.BIND_COMPLETE: frontend.BIND,
    backend.CLOSE_COMPLETE: frontend.CLOSE,
}
CANCELED = b"57014"
#: Recorded in place of rows that a detector failed on.
UNINSPECTED = "[content that could not be inspected]"


@dataclass
class Answers:
    """Reads the server's side of one session until it ends."""

    state: State
    telling: Telling
    after: Afterwards
    _out: list[bytes] = field(default_factory=list)

    async def run(self) -> None:
        """Pass answers on. Raises GatewayError when the server breaks off or what it says cannot be passed."""
        channel, decoder = self.state.upstream.channel, self.state.upstream.decoder
        try:
            while data := await channel.read():
                decoder.feed(data)
                await self._pass(decoder.next)
        finally:
            for judged in self.state.ended:
                judged.tell()
        raise UpstreamError(502, "upstream_reset", "the database closed the connection")

    async def _pass(self, following: Callable[[], Item | None]) -> None:
        try:
            while (item := following()) is not None:
                if isinstance(item, Frame):
                    await self._frame(item)
                else:
                    await self._bulk(item)
        except MaskingError as error:
            raise mask_failed(error) from error
        except ProtocolViolation as error:
            raise _garbage(str(error)) from error
        finally:
            self._flush()
            self.state.moved()
        await self._record()
        await self.state.front.channel.drain()

    def _flush(self) -> None:
        if self._out:
            self.state.tell(b"".join(self._out))
            self._out.clear()

    # ---- rows and COPY data -----------------------------------------------------------------------------------------

    async def _bulk(self, item: Run | Piece) -> None:
        judged = self.state.running
        if judged is None or not judged.begun:
            raise _garbage("rows that nobody asked for")
        data = judged.results.take(item)
        if pairs := judged.results.take_pairs():
            await self.state.parts.vault.store(pairs)
        if data:
            judged.story.response_bytes += len(data)
            self._out.append(self.state.upstream.clean(data))
        if judged.results.withheld:
            self.after.cut_short(judged)
        if judged.results.laborious:  # let the others' verdicts be heard, and masked rows not pile up
            self._flush()
            await self.state.front.channel.drain()
            await asyncio.sleep(0)

    def _begin(self, judged: Judged | None, fields: tuple[Field, ...]) -> None:
        if judged is not None:
            judged.begin(self.state.parts.inspector, fields, self.state.parts.settings.limits.inspection_window)

    # ---- messages ---------------------------------------------------------------------------------------------------

    async def _frame(self, frame: Frame) -> None:
        match frame.kind:
            case backend.ERROR:
                self._error(frame)
            case backend.NOTICE:
                self._out.append(self.telling.report(frame, self.state.running))
            case backend.NOTIFICATION:
                self._out.append(self.telling.notification(frame))
            case backend.PARAMETER_STATUS:
                self._out.append(self.telling.parameter(frame))
            case backend.READY:
                self._ready(frame)
            case _ if not self.state.expected:
                raise _garbage("an answer that nobody asked for")
            case _:
                await self._answer(frame, self.state.expected[0])

    async def _answer(self, frame: Frame, head: Expected) -> None:
        match frame.kind:
            case backend.PARSE_COMPLETE | backend.BIND_COMPLETE | backend.CLOSE_COMPLETE:
                self._acknowledged(frame, head)
            case backend.PARAMETER_DESCRIPTION:
                self._parameters(frame, head)
            case backend.ROW_DESCRIPTION | backend.NO_DATA:
                self._described(frame, head)
            case backend.COMMAND_COMPLETE | backend.EMPTY_QUERY | backend.PORTAL_SUSPENDED:
                self._completed(frame, head)
            case backend.COPY_IN | backend.COPY_OUT | backend.COPY_BOTH:
                self._copies(frame, head)
            case backend.COPY_DONE:
                await self._copied(frame)
            case backend.FUNCTION_RESULT if head.kind == frontend.FUNCTION_CALL:
                self._called(frame, head)
            case _:
                raise _garbage("a message that is none of this phase")

    def _acknowledged(self, frame: Frame, head: Expected) -> None:
        if head.kind != _ACKNOWLEDGES[frame.kind]:
            raise _garbage("an acknowledgement of something else")
        self.state.expected.popleft()
        if head.kind == frontend.PARSE and head.judged:
            head.judged[0].succeed(0)
            self.state.ended.append(head.judged[0])
        head.done()
        self._say(frame, head)

    def _parameters(self, frame: Frame, head: Expected) -> None:
        described = backend.read(frame)
        if head.prepared is not None and isinstance(described, backend.ParameterDescription):
            head.prepared.types = described.types
        self._say(frame, head)

    def _described(self, frame: Frame, head: Expected) -> None:
        fields = self._fields(frame)
        if head.kind == frontend.QUERY:
            self._begin(self.state.running, fields)
        elif head.kind == frontend.DESCRIBE:
            self.state.expected.popleft()
            if head.prepared is not None:
                head.prepared.fields = fields
            elif head.portal is not None:
                self._begin(head.portal.judged, fields)
        else:
            raise _garbage("columns that nobody asked for")
        self._say(frame, head)

    def _fields(self, frame: Frame) -> tuple[Field, ...]:
        described = backend.read(frame)
        if not isinstance(described, backend.RowDescription):
            return ()
        settings = self.state.upstream.parameters
        return tuple(
            Field(encodings.lossy(one.name, settings), one.table, one.number, one.type, one.format == 1)
            for one in described.columns
        )

    def _completed(self, frame: Frame, head: Expected) -> None:
        if head.kind not in (frontend.QUERY, frontend.EXECUTE):
            raise _garbage("an end of something that does not run")
        judged = self.state.running
        suspended = frame.kind == backend.PORTAL_SUSPENDED
        if judged is not None and judged.results.withheld:
            self._out += self.after.truncated(judged, frame)
            suspended = False
        else:
            self._say(frame, head)
        if judged is not None and not suspended:
            done = backend.read(frame)
            rows = done.rows if isinstance(done, backend.CommandComplete) else 0
            self.after.ran(judged)
            judged.succeed(rows)
            self.state.ended.append(judged)
        if head.kind == frontend.EXECUTE:
            self.state.expected.popleft()
        elif head.judged:
            head.judged.popleft()
        self.state.copying = None

    def _called(self, frame: Frame, head: Expected) -> None:
        judged = head.judged.popleft()
        judged.story.response_bytes += len(frame.raw)
        judged.succeed(0)
        self.state.ended.append(judged)
        self.after.ran(judged)
        self._say(frame, head)

    # ---- COPY -------------------------------------------------------------------------------------------------------

    def _copies(self, frame: Frame, head: Expected) -> None:
        judged, copy = self.state.running, backend.read(frame)
        if judged is None or not isinstance(copy, backend.Copy) or head.kind == frontend.FUNCTION_CALL:
            raise _garbage("COPY that nobody asked for")
        window = self.state.parts.settings.limits.inspection_window
        if frame.kind != backend.COPY_IN:
            if frame.kind == backend.COPY_BOTH and not judged.mask.empty:
                raise MaskingError("a replication stream cannot be masked")
            judged.begin_copy(self.state.parts.inspector, len(copy.columns), binary=copy.format == 1, window=window)
        if frame.kind != backend.COPY_OUT:
            self.after.copy_in(judged, head, binary=copy.format == 1, both=frame.kind == backend.COPY_BOTH)
        self._say(frame, head)

    async def _copied(self, frame: Frame) -> None:
        judged = self.state.running
        if judged is None or not judged.begun:
            raise _garbage("an end of COPY that nobody asked for")
        rest = judged.results.end_copy()
        if pairs := judged.results.take_pairs():
            await self.state.parts.vault.store(pairs)
        judged.story.response_bytes += len(rest)
        self._out += (self.state.upstream.clean(rest), frame.raw)

    # ---- errors and the end of a cycle ------------------------------------------------------------------------------

    def _error(self, frame: Frame) -> None:
        state, judged = self.state, self.state.running
        report = backend.read(frame)
        assert isinstance(report, backend.Report)
        sqlstate, head = report["C"], state.expected[0] if state.expected else None
        if judged is not None and head is not None and judged.cut_short and sqlstate == CANCELED:
            self._out += self.after.truncated(judged, None)
            head.judged.popleft()
            judged.succeed(0)
            self.state.ended.append(judged)
        else:
            self._out.append(head.refusal if head and head.refusal else self.telling.report(frame, judged))
            if judged is not None and head is not None:
                head.judged.popleft()
                judged.answered(sqlstate.decode("ascii", "replace"))
                self.state.ended.append(judged)
        state.copying = None
        if head is not None:
            self.after.failed(head)

    def _ready(self, frame: Frame) -> None:
        state = self.state
        if not state.expected or not state.expected[0].ends_with_ready:
            raise _garbage("ready before its time")
        head = state.expected.popleft()
        ready = backend.read(frame)
        assert isinstance(ready, backend.ReadyForQuery)
        self.after.ready(head, ready.status)
        self._say(frame, head)

    def _say(self, frame: Frame, head: Expected) -> None:
        """Acknowledgements and the like hold nothing of the database's."""
        if not head.ours:
            self._out.append(self.state.upstream.clean(frame.raw))

    # ---- the record -------------------------------------------------------------------------------------------------

    async def _record(self) -> None:
        """What operations that have ended gave, as a frame of the session; the agent has it by now."""
        while self.state.ended:
            judged = self.state.ended[0]
            recording = judged.results.recording
            if recording.text or recording.cut:
                await self._frame_of(judged, recording)
            judged.tell()
            self.state.ended.pop(0)

    async def _frame_of(self, judged: Judged, recording: Recording) -> None:
        content = Content(recording.text, MediaType("text/csv" if recording.is_copy else MEDIA_TYPE))
        try:
            recorded = self.state.parts.inspector.inspect(content).recorded
        except GatewayError as error:
            log.error("rows could not be inspected for the record", reason=error.detail)
            recorded = UNINSPECTED
        await judged.story.frame("response", recorded, content.media.name, truncated=recording.cut)


def _garbage(what: str) -> UpstreamError:
    log.error("the database's answer does not fit", what=what)
    return UpstreamError(502, "upstream_garbage", "the database's answer does not fit what was asked")
