"""Slack as a channel: its parts put together from the settings."""

from aiohttp import web
from faststream.nats import NatsBroker

from schemas.approvals import Notice
from schemas.base import utc_now
from services.approver.desk import Desk
from services.approver.record import Held
from services.approver.slack import questions
from services.approver.slack.board import Board
from services.approver.slack.interactions import Interactions
from services.approver.slack.interactivity import Interactivity
from services.approver.slack.lane import Lanes
from services.approver.slack.people import People, by_address
from services.approver.slack.questions import Questions
from services.approver.slack.socket import Socket
from services.approver.slack.web import LOGGER, SlackTrouble, web_client
from services.runtime.settings import Settings, reveal
from services.runtime.settings.approvals import SlackSettings
from services.runtime.tasks import TaskGroup


class SlackChannel:
    """Asks in Slack and hears clicks there. Build it inside the running loop; see `channels.Channel`."""

    name = questions.CHANNEL

    def __init__(self, settings: Settings, slack: SlackSettings, desk: Desk, tasks: TaskGroup) -> None:
        """Raises SettingsError when a token cannot be read."""
        self._tasks = tasks
        self._web = web_client(slack)
        self._board = Board(self._web, Lanes(), desk.metrics)
        self._questions = Questions(desk.approvals, desk.announcer.grants, self._board, slack.channel, utc_now)
        people = People(self._web, by_address(settings.identity.people))
        interactions = Interactions(desk, people, self._board, self._web)
        self._socket = self._interactivity = None
        if slack.app_token is not None:
            token = reveal(slack.app_token, "approvals.slack.app_token")
            self._socket = Socket(token, self._web, interactions)
        if slack.signing_secret is not None:
            secret = reveal(slack.signing_secret, "approvals.slack.signing_secret")
            self._interactivity = Interactivity(secret, interactions)

    def subscribe(self, broker: NatsBroker) -> None:
        """See `questions`."""
        questions.subscribe(broker, self._questions, self._tasks)

    def serve(self, app: web.Application) -> None:
        """Add the interactivity endpoint, if there is a signing secret."""
        if self._interactivity is not None:
            self._interactivity.register(app)

    async def start(self) -> None:
        """Open the socket, if there is an app token."""
        if self._socket is not None:
            self._socket.start(self._tasks)

    async def stop(self) -> None:
        """Take no more clicks."""
        if self._socket is not None:
            await self._socket.stop()

    def check(self) -> bool | str:
        """Whether clicks can arrive."""
        return True if self._socket is None else self._socket.check()

    async def refresh(self, record: Held) -> None:
        """Show who has approved so far."""
        at = record.posted(self.name)
        if at is None:
            return
        try:
            await self._board.update(record, at)
        except SlackTrouble as trouble:
            LOGGER.warning("progress not shown: %s", trouble.code)

    async def tell(self, record: Held, notice: Notice) -> None:
        """Show the question as it stands."""
        await self.refresh(record)
