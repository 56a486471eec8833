"""What the agent asks, message by message, in order (G8): a simple query here, the extended ones in extended.py.

    Query           each statement in it is judged before any runs, then the string goes out whole
    Parse … Execute extended.py
    Sync            ends a cycle: nothing more is read before the server is ready, so that names cannot be mistaken
    Flush           passes
    CopyData …      to the COPY that wants them, else dropped, as PostgreSQL does
    FunctionCall    judged as `sql.fastpath`
    Terminate       ends the session

A refusal must leave the transaction as a failed statement does. Outside a transaction nothing is sent at all; within
one the server is made to fail, by a statement that cannot be parsed, and its error is replaced by ours.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from services.ingress.classify.sql.statements import Statement
from services.ingress.errors import Denied, GatewayError
from services.ingress.inspection import mask_failed
from services.ingress.masking.errors import MaskingError
from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.framing import Frame, Item
from services.ingress.protocols.postgres.errors import response
from services.ingress.protocols.postgres.extended import Extended
from services.ingress.protocols.postgres.judged import Judged
from services.ingress.protocols.postgres.judging import Judging, Refused
from services.ingress.protocols.postgres.sending import POISON, foresee, leave, read
from services.ingress.protocols.postgres.state import Expected, State

_COPY = (frontend.COPY_DATA, frontend.COPY_DONE, frontend.COPY_FAIL)


@dataclass
class Asking:
    """Reads the agent's side of one session until it ends."""

    state: State
    judging: Judging
    extended: Extended

    async def run(self) -> None:
        """Serve messages until the agent leaves. Raises GatewayError, ProtocolViolation."""
        async with self.judging.grants:
            await self._run()

    async def _run(self) -> None:
        channel, decoder = self.state.front.channel, self.state.front.decoder
        while True:
            while (item := decoder.next()) is not None:
                with self.state.parts.limiter.slot():  # up to the end of its cycle; an idle session takes no place
                    goes_on = await self._take(item)
                if not goes_on:
                    return
            await self.state.flush()
            if not (data := await channel.read()):
                return
            decoder.feed(data)

    async def _take(self, item: Item) -> bool:
        """One message; False for the last."""
        if item.kind in _COPY:
            await self._copy(item)
        elif item.kind == frontend.TERMINATE:
            return False
        elif item.kind == frontend.SYNC:
            await self._sync(item)
        elif self.state.copying is not None:
            self._during_copy(item)
        elif not self.state.skipping:
            assert isinstance(item, Frame)
            await self._message(item)
        return True

    async def _message(self, frame: Frame) -> None:
        match frame.kind:
            case frontend.QUERY:
                await self._alone(frame, self._query)
            case frontend.FUNCTION_CALL:
                await self._alone(frame, self._call)
            case frontend.FLUSH:
                await self.extended.release()
                self.state.send(frame.raw)
                await self.state.flush()
            case _:
                await self.extended.message(frame)

    async def _sync(self, item: Item) -> None:
        assert isinstance(item, Frame)
        if self.state.copying is not None:
            return  # read, and ignored, during COPY FROM STDIN
        if not self.state.skipping:
            await self.extended.release()
        self.state.send(item.raw, Expected(frontend.SYNC))
        await self._settled()

    async def _settled(self) -> None:
        """Wait for the end of the cycle; what runs under a grant ends with it."""
        if self.state.copying is not None:
            return
        async with self.judging.grants.pop_all() as grants:
            await self.state.settled()
            if self.state.copying is not None:  # it goes on with the agent's data
                self.judging.grants.push_async_exit(grants.pop_all())

    # ---- a simple query -----------------------------------------------------------------------------------------

    async def _alone(self, frame: Frame, serve: Callable[[Frame], Awaitable[None]]) -> None:
        """A message that is a cycle of its own; what came before it without a Sync is finished first."""
        state = self.state
        if state.expected or self.extended.waits:
            await self.extended.release()
            state.send(frontend.Flush().encode())
            await state.settled()
            if state.skipping or state.copying is not None:
                return
        try:
            await serve(frame)
        except Refused as refused:
            await self._refuse(response(refused.error, refused.operation_id))
        except GatewayError as error:
            if error.code == "grant_ended" or error.close:
                raise
            await self._refuse(response(error))

    async def _query(self, frame: Frame) -> None:
        query = frontend.read(frame)
        assert isinstance(query, frontend.Query)
        statements = read(self.state, query.sql)
        if not statements:
            self.state.tell(backend.Bare(backend.EMPTY_QUERY).encode() + self._ready())
            return
        judged = await self._judge_all(statements, len(frame.raw))
        for each in judged:
            leave(self.state, each)
        self.state.send(frame.raw, Expected(frontend.QUERY, judged=judged))
        await self._settled()

    async def _judge_all(self, statements: tuple[Statement, ...], size: int) -> deque[Judged]:
        """All of a string, or none: if one is refused, those allowed before it are recorded as not run."""
        judged: deque[Judged] = deque()
        redefined = self.state.ddl
        try:
            for statement in statements:
                judged.append(await self.judging.statement(statement, size=size))
                foresee(self.state, judged[-1])
        except BaseException:
            while judged:
                judged.popleft().skip("another statement of the same string was refused")
            self.state.names.settled(idle=False)
            self.state.settle()
            self.state.ddl = redefined
            raise
        return judged

    async def _call(self, frame: Frame) -> None:
        call = frontend.read(frame)
        assert isinstance(call, frontend.FunctionCall)
        words = f"fast-path call of function {call.function} with {len(call.arguments)} arguments"
        judged = await self.judging.other("sql.fastpath", f"function {call.function}", words, frame.raw, len(frame.raw))
        judged.story.reached_upstream = True
        self.state.send(frame.raw, Expected(frontend.FUNCTION_CALL, judged=deque((judged,))))
        await self._settled()

    async def _refuse(self, told: bytes) -> None:
        """As a failed statement: outside a transaction by words alone, within one by failing it.

        Nothing of the string is sent, so that no grant is rested on: one that ends later ends nothing of this session.
        """
        with suppress(Denied):
            await self.judging.grants.aclose()
        if self.state.status == b"T":
            poison = frontend.Query(POISON).encode()
            self.state.send(poison, Expected(frontend.QUERY, refusal=told))
            await self.state.settled()
        else:
            self.state.tell(told + self._ready())

    def _ready(self) -> bytes:
        return backend.ReadyForQuery(self.state.status).encode()

    # ---- COPY FROM STDIN ----------------------------------------------------------------------------------------

    def _during_copy(self, item: Item) -> None:
        """Flush is ignored; anything else ends the COPY with the server's own error, and is not executed by it."""
        if item.kind == frontend.FLUSH:
            return
        self.state.send(frontend.CopyFail(b"unexpected message during COPY from stdin").encode())
        self.state.copying = None

    async def _copy(self, item: Item) -> None:
        judged = self.state.copying
        if judged is None:
            return
        assert isinstance(item, Frame)
        data = item.raw
        judged.story.request_bytes += len(data)
        try:
            await self._copy_item(judged, item, data)
        except MaskingError as error:
            raise mask_failed(error) from error
        await self.state.flush()
        if item.kind != frontend.COPY_DATA:
            self.state.copying = None
            if self.state.expected and self.state.expected[0].kind == frontend.QUERY:
                await self._settled()

    async def _copy_item(self, judged: Judged, item: Item, data: bytes) -> None:
        masker = judged.incoming
        if masker is not None and item.kind == frontend.COPY_DATA:
            assert isinstance(item, Frame)
            await self._send_masked(judged, masker.feed(item.payload))
            return
        if masker is not None and item.kind == frontend.COPY_DONE:
            await self._send_masked(judged, masker.close())
            judged.story.note_masked("request", masker.counts)
        self.state.send(data)

    async def _send_masked(self, judged: Judged, data: bytes) -> None:
        assert judged.incoming is not None
        if pairs := judged.incoming.take_pairs():
            await self.state.parts.vault.store(pairs)
        if data:
            self.state.send(frontend.CopyData(data).encode())
