"""The extended query: Parse, Bind, Describe, Execute, Close. One operation for each portal, judged at its Bind.

At Bind, not at Execute, for PostgreSQL plans there, and planning runs functions: IMMUTABLE ones with constant
arguments, STABLE ones for estimates. A portal runs at most once, so that it comes to the same.

    Parse           kept back until its Bind is judged, so that nothing unjudged is sent. If the agent wants an answer
                    first (Describe and Sync, as asyncpg does), the statement is judged as one that is only prepared
                    (`operation.attributes.prepare`): by its text, without values, and people are not asked
    Bind            judged with its values, then sent behind its Parse
    Describe        passes; one that asks for a statement kept back is kept back with it
    Execute         passes, for a portal that was judged; with a row limit it asks for one row more than may pass
    Close           passes

A refusal is a Parse that fails at the server, in the place of what is refused: the server fails the transaction, drops
what follows up to Sync, and its error is replaced by ours. A name the gateway does not know is never passed on.
"""

from collections import OrderedDict, deque
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256

from services.ingress.classify.sql.operation import Bind
from services.ingress.classify.sql.statements import Kind
from services.ingress.errors import AgentError, GatewayError
from services.ingress.inspection import mask_failed
from services.ingress.masking.errors import MaskingError
from services.ingress.protocols.postgres import encodings
from services.ingress.protocols.postgres.codec import frontend
from services.ingress.protocols.postgres.codec.framing import Frame
from services.ingress.protocols.postgres.errors import response
from services.ingress.protocols.postgres.judging import Judging, Refused
from services.ingress.protocols.postgres.names import Portal, Prepared, clip
from services.ingress.protocols.postgres.sending import MAKING, POISON, check_name, foresee, leave, read, too_many_names
from services.ingress.protocols.postgres.state import Expected, State

#: Texts that this session was allowed to run, and may prepare again unasked (`psycopg` does after five executions).
MAX_KNOWN = 1000
#: PostgreSQL refuses this by itself, in the very words it has for any two statements in one Parse.
_TWO = b"SELECT; SELECT"
_ENDS_TRANSACTION = (Kind.COMMIT, Kind.ROLLBACK, Kind.PREPARE_TRANSACTION)


@dataclass
class _Kept:
    """A Parse that is kept back, and Describes of it."""

    prepared: Prepared
    text: bytes
    messages: list[tuple[bytes, Expected]]


@dataclass
class Extended:
    """The extended queries of one session."""

    state: State
    judging: Judging
    _kept: _Kept | None = None
    _known: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    @property
    def waits(self) -> bool:
        """Whether something is kept back."""
        return self._kept is not None

    async def message(self, frame: Frame) -> None:
        """One message of the agent's. Raises ProtocolViolation, and GatewayError when the session must end."""
        asked = frontend.read(frame)
        await self._guarded(self._serve(asked, frame))

    async def release(self) -> None:
        """Send what is kept back, for nothing is going to be bound to it before the agent wants an answer."""
        if self._kept is not None:
            await self._guarded(self._prepare(self._kept))

    async def _serve(self, asked: frontend.Message, frame: Frame) -> None:
        match asked:
            case frontend.Parse():
                await self._parse(asked, frame)
            case frontend.Bind():
                await self._bind(asked, frame)
            case frontend.Describe():
                await self._describe(asked, frame)
            case frontend.Execute():
                await self._execute(asked)
            case frontend.Close():
                await self._close(asked, frame)
            case _:
                raise AgentError(400, "malformed", "a message that has no place here", close=True)

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Refused as refused:
            self._refuse(response(refused.error, refused.operation_id))
        except MaskingError as error:
            raise mask_failed(error) from error
        except GatewayError as error:
            if error.code == "grant_ended" or error.close:
                raise
            self._refuse(response(error))

    def _refuse(self, told: bytes) -> None:
        self._kept = None
        if self.state.skipping:
            return  # an error has come first, and the agent has it
        self.state.send(
            frontend.Parse(b"countersign", POISON).encode() + frontend.Flush().encode(),
            Expected(frontend.PARSE, refusal=told),
        )
        self.state.skipping = True

    # ---- Parse --------------------------------------------------------------------------------------------------

    async def _parse(self, parse: frontend.Parse, frame: Frame) -> None:
        state = self.state
        await self.release()
        if state.skipping:
            return
        name, statements = self._name(parse.statement), read(state, parse.sql)
        if state.names.full and state.names.prepared(name) is None:
            raise too_many_names()
        prepared = Prepared(name, statements[0] if statements else None, parse.types, size=len(frame.raw))
        if len(statements) > 1:
            state.send(frontend.Parse(parse.statement, _TWO).encode(), Expected(frontend.PARSE))
            return
        expected = Expected(frontend.PARSE, done=state.names.prepare(prepared), prepared=prepared)
        if prepared.statement is None:  # comments need not be sent
            state.send(replace(parse, sql=b"").encode(), expected)
        else:
            self._kept = _Kept(prepared, parse.sql, [(frame.raw, expected)])

    async def _prepare(self, kept: _Kept) -> None:
        assert kept.prepared.statement is not None
        if self._may_prepare(kept.text):
            self._send_kept(kept)
            return
        judged = await self.judging.statement(kept.prepared.statement, size=kept.prepared.size, prepare=True)
        if self.state.skipping:
            judged.skip("an earlier message of the pipeline failed")
            return
        judged.story.reached_upstream = True
        kept.messages[0][1].judged.append(judged)
        self._send_kept(kept)

    def _send_kept(self, kept: _Kept) -> None:
        for data, expected in kept.messages:
            self.state.send(data, expected)
        self._kept = None
        self._known[sha256(kept.text).digest()] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def _may_prepare(self, text: bytes) -> bool:
        return sha256(text).digest() in self._known

    # ---- Bind ---------------------------------------------------------------------------------------------------

    async def _bind(self, bind: frontend.Bind, frame: Frame) -> None:
        state, name = self.state, self._name(bind.statement)
        prepared = state.names.prepared(name)
        if self._kept is not None and self._kept.prepared is not prepared:
            await self.release()
        if state.skipping:
            return
        if prepared is None:
            raise AgentError(400, "unknown_statement", _no_such("prepared statement", name))
        portal = Portal(self._name(bind.portal), prepared, None, bind.results)
        makes = prepared.statement is not None and prepared.statement.kind in MAKING
        if state.names.full and (makes or (portal.name and clip(portal.name) not in state.names.portals)):
            raise too_many_names()
        if prepared.statement is not None:
            binds = [
                Bind(raw, bind.format(index) == 1, prepared.types[index] if index < len(prepared.types) else 0)
                for index, raw in enumerate(bind.parameters)
            ]
            size = len(frame.raw) + prepared.size
            portal.judged = await self.judging.statement(prepared.statement, binds, size=size)
            if state.skipping:
                portal.judged.skip("an earlier message of the pipeline failed")
                return
            leave(state, portal.judged)
        if self._kept is not None:
            self._send_kept(self._kept)
        self._install(portal, frame)

    def _install(self, portal: Portal, frame: Frame) -> None:
        """One of the same name is gone: the unnamed one silently, another with an error that ends its transaction."""
        state = self.state
        former = state.names.portals.pop(clip(portal.name), None)
        state.names.portals[clip(portal.name)] = portal
        judged = deque((portal.judged,)) if portal.judged else deque()
        expected = Expected(frontend.BIND, judged=judged, portal=portal)
        if former is not None and former.judged is not None:
            expected.done = partial(state.close_portal, former.judged)
        state.send(frame.raw, expected)

    # ---- Describe, Execute, Close ---------------------------------------------------------------------------------

    async def _describe(self, describe: frontend.Describe, frame: Frame) -> None:
        state, name = self.state, self._name(describe.name)
        if describe.what == frontend.STATEMENT:
            prepared = state.names.prepared(name)
            if self._kept is not None and self._kept.prepared is prepared:
                self._kept.messages.append((frame.raw, Expected(frontend.DESCRIBE, prepared=prepared)))
                return
            await self.release()
            if prepared is None:
                raise AgentError(400, "unknown_statement", _no_such("prepared statement", name))
            expected = Expected(frontend.DESCRIBE, prepared=prepared)
        else:
            await self.release()
            expected = Expected(frontend.DESCRIBE)
            if clip(name) not in state.names.cursors.statements:  # a cursor's columns are nobody's rows yet
                expected.portal = self._portal(name)
                expected.portal.described = True
        if not state.skipping:
            state.send(frame.raw, expected)

    async def _execute(self, execute: frontend.Execute) -> None:
        state = self.state
        await self.release()
        if state.skipping:
            return
        portal = self._portal(self._name(execute.portal))
        judged = portal.judged
        expected = Expected(frontend.EXECUTE, portal=portal)
        if judged is not None:
            expected.judged.append(judged)
            self._columns(portal, execute.portal)
            if judged.done is None:
                foresee(state, judged)
            if judged.statement.kind in _ENDS_TRANSACTION:
                self._end_others(portal)
        state.send(replace(execute, rows=self._rows(portal, execute.rows)).encode(), expected)

    def _columns(self, portal: Portal, name: bytes) -> None:
        """Rows are only passed once their columns are known; if the agent does not ask for them, we do.

        The server insists that a query keeps its columns; those of FETCH, EXECUTE and CALL may be others by now.
        """
        assert portal.judged is not None
        if portal.described or portal.judged.begun:
            return
        portal.described = True
        statement, known = portal.judged.statement, portal.prepared.fields
        if known is None or statement.kind is not Kind.QUERY or "sql.call" in statement.actions:
            describe = frontend.Describe(frontend.PORTAL, name).encode()
            self.state.send(describe, Expected(frontend.DESCRIBE, portal=portal, ours=True))
            return
        formats = portal.formats * len(known) if len(portal.formats) == 1 else portal.formats
        fields = tuple(
            replace(one, binary=index < len(formats) and formats[index] == 1) for index, one in enumerate(known)
        )
        portal.judged.begin(self.state.parts.inspector, fields, self.state.parts.settings.limits.inspection_window)

    def _rows(self, portal: Portal, asked: int) -> int:
        """How many to ask for. One more than may pass tells whether there are more."""
        judged = portal.judged
        if judged is None or judged.results.left is None or judged.statement.actions != ("sql.select",):
            return asked
        most = judged.results.left + 1
        return min(asked, most) if asked > 0 else most

    def _end_others(self, portal: Portal) -> None:
        names = self.state.names
        for gone in names.take_portals():
            if gone is portal:
                names.portals[clip(portal.name)] = portal
            elif gone.judged is not None:
                self.state.close_portal(gone.judged)

    async def _close(self, close: frontend.Close, frame: Frame) -> None:
        state, name = self.state, self._name(close.name)
        await self.release()
        if state.skipping:
            return
        expected = Expected(frontend.CLOSE)
        if close.what == frontend.STATEMENT:
            expected.done = state.names.forget(name)
        elif (portal := state.names.portals.pop(clip(name), None)) is not None and portal.judged is not None:
            expected.done = partial(state.close_portal, portal.judged)
        state.send(frame.raw, expected)

    def _portal(self, name: str) -> Portal:
        found = self.state.names.portals.get(clip(name))
        if found is not None:
            return found
        if clip(name) in self.state.names.cursors.statements:
            raise AgentError(400, "not_supported", "a cursor of DECLARE is read by FETCH through the gateway")
        raise AgentError(400, "unknown_portal", _no_such("portal", name))

    def _name(self, name: bytes) -> str:
        found = encodings.decode(name, self.state.upstream.parameters)
        check_name(self.state, found)
        return found


def _no_such(what: str, name: str) -> str:
    """PostgreSQL's words."""
    if what == "prepared statement" and not name:
        return "unnamed prepared statement does not exist"
    return f'{what} "{name}" does not exist'
