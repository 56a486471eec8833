"""Slack as a channel: its parts put together from the settings, and a clerk for each lane that has something to do."""

import asyncio
from contextlib import suppress

import structlog
from aiohttp import web
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.js.kv import KeyValue

from schemas.approvals import Notice
from schemas.base import new_id, utc_now
from services.approver.desk import Desk
from services.approver.people import by_address
from services.approver.record import Held
from services.approver.slack.board import Board
from services.approver.slack.clerk import NAP, Clerk
from services.approver.slack.courier import AGAIN, Courier
from services.approver.slack.decisions import Decisions
from services.approver.slack.interactions import Interactions
from services.approver.slack.interactivity import Interactivity
from services.approver.slack.lane import Paces
from services.approver.slack.lease import Hold, LeaseLost, acquire
from services.approver.slack.ledger import Ledger
from services.approver.slack.people import People
from services.approver.slack.sheet import lease_key
from services.approver.slack.socket import Socket
from services.approver.slack.web import web_client
from services.approver.store import StoreUnavailable
from services.runtime.settings import Settings, reveal
from services.runtime.settings.approvals import SlackSettings
from services.runtime.tasks import TaskGroup, end

log = structlog.get_logger(__name__)

#: Seconds within which the watch brings back our own lease; else the bus is not well, and somebody else may serve.
BARRIER = 5.0


class SlackChannel:
    """Asks in Slack and hears clicks there. Build it inside the running loop; see `channels.Channel`.

    Its outbox is the bucket itself: whatever of an entry is not shown yet is to be done (`ledger`).
    """

    name = "slack"

    def __init__(
        self,
        settings: Settings,
        slack: SlackSettings,
        desk: Desk,
        client: Client,
        deliveries: KeyValue,
        tasks: TaskGroup,
    ) -> None:
        """Raises SettingsError when a token cannot be read."""
        self._tasks, self._deliveries, self._holder = tasks, deliveries, new_id()
        self._web = web_client(slack)
        self._board = Board(self._web, desk.metrics)
        self._people = People(self._web, by_address(settings.identity.people), dict(slack.mentions))
        self._paces = Paces(slack.pace)
        self._bell, self._bells = asyncio.Event(), dict[str, asyncio.Event]()
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._dispatching: asyncio.Task[None] | None = None
        self._ledger = Ledger(client, desk.approvals.bucket, deliveries, slack.channel, self._changed)
        desk.metrics.behind.labels(self.name).set_function(self._ledger.count)
        interactions = Interactions(Decisions(desk, self._ledger), self._people, self._board, self._web)
        self._socket = self._interactivity = None
        if slack.app_token is not None:
            token = reveal(slack.app_token, "approvals.slack.app_token")
            self._socket = Socket(token, self._web, interactions)
        if slack.signing_secret is not None:
            secret = reveal(slack.signing_secret, "approvals.slack.signing_secret")
            self._interactivity = Interactivity(secret, interactions)

    def subscribe(self, broker: NatsBroker) -> None:
        """Nothing: the entries of the bucket say all that there is to show, and are watched."""

    def serve(self, app: web.Application) -> None:
        """Add the interactivity endpoint, if there is a signing secret."""
        if self._interactivity is not None:
            self._interactivity.register(app)

    async def start(self) -> None:
        """Bring Slack into step from now on; open the socket, if there is an app token."""
        self._dispatching = self._tasks.start(self._dispatch(), "slack")
        if self._socket is not None:
            self._socket.start(self._tasks)

    async def stop(self) -> None:
        """Take no more clicks, and let other copies go on; they find out about a call on its way (`courier`)."""
        if self._socket is not None:
            await self._socket.stop()
        if self._dispatching is not None:
            await end(self._dispatching)
        await end(*self._serving.values())

    def check(self) -> bool | str:
        """Whether clicks can arrive."""
        return True if self._socket is None else self._socket.check()

    async def refresh(self, record: Held) -> None:
        """Nothing to do: the entry has changed, and its watch brings that to the copy which serves the lane."""

    async def tell(self, record: Held, notice: Notice) -> None:
        """As `refresh`: the notice stands in the entry."""

    def _changed(self, lane: str) -> None:
        self._bell.set()
        if bell := self._bells.get(lane):
            bell.set()

    async def _dispatch(self) -> None:
        """A clerk for each lane that has something to do, whether we may serve it or wait for its lease."""
        await self._ledger.run(self._tasks)
        while True:
            self._bell.clear()
            for lane in self._ledger.lanes() if self._ledger.current else []:
                if lane not in self._serving:
                    self._bells[lane] = asyncio.Event()
                    self._serving[lane] = self._tasks.start(self._serve(lane), f"slack {lane}")
            with suppress(TimeoutError):
                async with asyncio.timeout(NAP):
                    await self._bell.wait()

    async def _serve(self, lane: str) -> None:
        try:
            seen = self._ledger.lease(lease_key(lane))
            hold = await acquire(self._deliveries, lane, self._holder, seen)
            if hold is not None:
                await self._work(hold, taken_over=seen is not None)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(NAP):
                        await self._bells[lane].wait()
        except (LeaseLost, StoreUnavailable) as error:
            log.warning("lane left", lane=lane, error=str(error) or type(error).__name__)
            await asyncio.sleep(AGAIN)
        finally:
            del self._serving[lane], self._bells[lane]
            self._bell.set()

    async def _work(self, hold: Hold, *, taken_over: bool) -> None:
        keeping = self._tasks.start(hold.keep(), f"lease {hold.lane}")
        try:
            await self._caught_up(hold.revision)
            courier = Courier(self._ledger, self._board, self._people, hold)
            clerk = Clerk(self._ledger, courier, self._people, self._paces, hold.lane, self._bells[hold.lane], utc_now)
            if taken_over:
                await clerk.fence()
            await clerk.serve()
        finally:
            await end(keeping)
            await hold.release()

    async def _caught_up(self, revision: int) -> None:
        """Until we have seen all that the last holder wrote: it stands before our lease. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(BARRIER):
                await self._ledger.notes.until(lambda: self._ledger.notes.revision >= revision)
        except TimeoutError:
            raise StoreUnavailable("the watch does not bring back what is written") from None
