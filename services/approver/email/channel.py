"""E-mail as a channel: its parts put together from the settings."""

from aiohttp import web
from faststream.nats import NatsBroker
from nats.js.kv import KeyValue

from schemas.approvals import Notice
from schemas.base import utc_now
from services.approver.channels import ChannelTrouble
from services.approver.desk import Desk
from services.approver.email import events
from services.approver.email.page import Page
from services.approver.email.questions import Questions
from services.approver.email.relay import Relay
from services.approver.once import Busy, Once
from services.approver.people import mailable
from services.approver.record import Held
from services.approver.store import StoreUnavailable
from services.runtime.settings import Settings, SettingsError
from services.runtime.settings.approvals import EmailSettings
from services.runtime.tasks import TaskGroup


class EmailChannel:
    """Asks by mail and hears people on its page. See `channels.Channel`."""

    name = "email"

    def __init__(
        self, settings: Settings, email: EmailSettings, desk: Desk, deliveries: KeyValue, tasks: TaskGroup
    ) -> None:
        """Raises SettingsError when a secret cannot be read, or nobody can be mailed."""
        self._tasks = tasks
        people = mailable(settings.identity.people)
        if not people:
            raise SettingsError("countersign.yaml: approvals.email: nobody to mail to; name people in identity.people")
        self._relay = Relay(email.smtp)
        self._page = Page(desk, people, email.base_url)
        self._questions = Questions(
            desk.approvals,
            Once(deliveries, utc_now),
            self._relay,
            self._page,
            people,
            email.sender,
            desk.metrics,
            utc_now,
        )

    def subscribe(self, broker: NatsBroker) -> None:
        """See `events`."""
        events.subscribe(broker, self._questions, self._tasks)

    def serve(self, app: web.Application) -> None:
        """Add the page that mails lead to."""
        self._page.register(app)

    async def start(self) -> None:
        """Nothing to open: the page is served from the start."""

    async def stop(self) -> None:
        """Wait for the relay no more; the page ends with the listener."""
        self._questions.stopping.set()

    def check(self) -> bool | str:
        """Answers arrive at our own listener; this tells whether questions got to the relay, when last tried."""
        return self._relay.reached

    async def refresh(self, record: Held) -> None:
        """No mail for progress: the page shows it."""

    async def tell(self, record: Held, notice: Notice) -> None:
        """Mail it. Raises ChannelTrouble."""
        try:
            await self._questions.tell(record, notice)
        except (Busy, StoreUnavailable, TimeoutError) as error:
            raise ChannelTrouble(str(error) or type(error).__name__) from None
