"""What both directions of a session know: who waits for what, and where the server stands.

`Expected` is a message on its way to the server whose answer has not ended; the server answers in order (PostgreSQL
documentation, "Message Flow"):

    sent            answers                                           ends with
    Parse           -                                                 ParseComplete
    Bind            -                                                 BindComplete
    Close           -                                                 CloseComplete
    Describe        ParameterDescription (statements only)            RowDescription or NoData
    Execute         DataRow …, Copy…Response, CopyData …              CommandComplete, EmptyQuery, PortalSuspended
    Sync            -                                                 ReadyForQuery
    Query           the same as Execute for each statement            ReadyForQuery
    FunctionCall    FunctionCallResponse                              ReadyForQuery

    ErrorResponse ends everything up to the next Sync, which the server reads and drops; within a Query and
    FunctionCall, up to its ReadyForQuery.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.verdicts import MaskObligation
from services.ingress.classify.sql.model import Kind
from services.ingress.parts import Parts
from services.ingress.protocols.postgres.codec.frontend import FUNCTION_CALL, QUERY, SYNC
from services.ingress.protocols.postgres.front import Front
from services.ingress.protocols.postgres.judged import Judged
from services.ingress.protocols.postgres.names import Names, Portal, Prepared, nothing
from services.ingress.upstream.postgres.connection import PostgresConnection

#: What ends a failed transaction.
LEAVING = frozenset({Kind.COMMIT, Kind.ROLLBACK, Kind.ROLLBACK_TO, Kind.PREPARE_TRANSACTION})


@dataclass
class Expected:
    """One message whose answer has not ended."""

    kind: int
    #: What runs: one operation, or with Query one for each statement, the one that runs first.
    judged: deque[Judged] = field(default_factory=deque)
    #: What its success does to the session's names.
    done: Callable[[], None] = nothing
    #: Sent by the gateway: the agent does not hear of the answer.
    ours: bool = False
    #: Sent to make the server fail as it would have: the agent is told this instead of its error.
    refusal: bytes = b""
    prepared: Prepared | None = None
    portal: Portal | None = None
    #: Rows that the agent asked for in this Execute; 0 is all.
    rows: int = 0

    @property
    def ends_with_ready(self) -> bool:
        """Whether ReadyForQuery ends it."""
        return self.kind in (SYNC, QUERY, FUNCTION_CALL)


@dataclass
class State:
    """One session."""

    parts: Parts
    front: Front
    upstream: PostgresConnection
    names: Names = field(default_factory=Names)
    expected: deque[Expected] = field(default_factory=deque)
    #: As the last ReadyForQuery told: `I` idle, `T` in a transaction, `E` in a failed one.
    status: bytes = b"I"
    #: The server, or we in its place, have told of an error and drop what comes up to the next Sync.
    skipping: bool = False
    #: The operation whose COPY data the agent sends now.
    copying: Judged | None = None
    #: Settings may have changed that the server tells of only with the next ReadyForQuery.
    settings_in_doubt: bool = False
    #: The role in force is not that of the login: `$user` in a search path may be anybody.
    role_in_doubt: bool = False
    #: DDL of this transaction, which no other connection sees.
    ddl: bool = False
    #: SET and its kin that were run, one after the other: part of what a statement means.
    context: str = ""
    #: A statement before the next in its string or pipeline ends a failed transaction.
    leaving: bool = False
    #: What names without a schema lead to may be others than at a new connection, where the server does not tell.
    path_in_doubt: bool = False
    #: Called when a message fails, and those behind it up to the next Sync with it.
    on_failure: Callable[[], None] = nothing
    #: What any statement of this session has to be masked for: notifications belong to none.
    mask: MaskObligation = field(default_factory=MaskObligation)
    #: Operations that have ended and are recorded next, behind their rows.
    ended: list[Judged] = field(default_factory=list)
    #: A CancelRequest of ours on its way: nothing new is sent before it has arrived, lest it hits that.
    cancelling: asyncio.Task[None] | None = None
    #: A statement of the agent's is being judged.
    judging: bool = False
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _resting: asyncio.Event = field(default_factory=asyncio.Event)
    _out: list[bytes] = field(default_factory=list)

    def send(self, data: bytes, expected: Expected | None = None) -> None:
        """Put a message for the server into the next `flush`."""
        self._out.append(data)
        if expected is not None:
            self.expected.append(expected)

    async def flush(self) -> None:
        """Send what was put together. Raises ConnectionResetError."""
        if self._out:
            data, self._out = b"".join(self._out), []
            self.upstream.channel.write(data)
            await self.upstream.channel.drain()

    def tell(self, data: bytes) -> None:
        """Say something to the agent."""
        self.front.channel.write(data)

    def close_portal(self, judged: Judged) -> None:
        """A portal is gone; its operation has ended with what it gave."""
        if not judged.over:
            judged.close()
            self.ended.append(judged)

    def moved(self) -> None:
        """Answers have come: whoever waits looks again."""
        self._moved.set()
        if self.idle:
            self._resting.set()
        else:
            self._resting.clear()

    async def rests(self) -> None:
        """Wait until nothing is under way and no transaction is open."""
        while not self.idle:
            self._resting.clear()
            await self._resting.wait()

    async def settled(self) -> None:
        """Wait until the server has answered everything, or wants COPY data from the agent."""
        await self.flush()
        while self.expected and self.copying is None:
            self._moved.clear()
            await self._moved.wait()
        if self.cancelling is not None:
            cancelling, self.cancelling = self.cancelling, None
            await cancelling

    @property
    def running(self) -> Judged | None:
        """What the server works on, as far as its answers tell."""
        head = self.expected[0] if self.expected else None
        return head.judged[0] if head and head.judged else None

    @property
    def idle(self) -> bool:
        """Nothing under way, no transaction: the session can end without loss."""
        return not (self.expected or self.judging) and self.status == b"I" and self.copying is None

    @property
    def failed(self) -> bool:
        """Whether the server refuses all that does not end its transaction (25P02)."""
        return self.status == b"E" and not self.leaving

    @property
    def lost(self) -> str:
        """Why the session ends, if it is not for the agent's leaving."""
        if self.upstream.channel.gone.is_set():
            return "the database closed the connection"
        return "" if self.front.channel.gone.is_set() or not self.front.draining.is_set() else "the gateway goes down"

    @property
    def as_elsewhere(self) -> bool:
        """Whether a name without a schema is the same table at a connection that was given this one's search path."""
        told = "search_path" in self.upstream.parameters  # PostgreSQL 18 and later
        doubts = self.settings_in_doubt or self.role_in_doubt or self.ddl
        return not doubts and (told or not self.path_in_doubt)

    def settle(self) -> None:
        """The server has told how things are, or nothing of what was foreseen has been sent."""
        self.settings_in_doubt = self.leaving = False

    def add_mask(self, mask: MaskObligation) -> None:
        """A statement is allowed with this mask: what the session hears from now on may be about its values."""
        if mask.empty or mask == self.mask:
            return
        self.mask = mask.model_copy(
            update={
                "response": tuple(dict.fromkeys((*self.mask.response, *mask.response))),
                "columns": tuple(dict.fromkeys((*self.mask.columns, *mask.columns))),
            }
        )
