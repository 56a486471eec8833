"""Webhooks as a channel: the receivers of the settings, and the endpoint for their callbacks."""

from aiohttp import web
from faststream.nats import NatsBroker
from nats.js.kv import KeyValue

from schemas.approvals import Notice
from schemas.base import utc_now
from services.approver.channels import ChannelTrouble
from services.approver.desk import Desk
from services.approver.once import Once
from services.approver.people import by_address
from services.approver.record import Held
from services.approver.webhook import events
from services.approver.webhook.callback import Callbacks
from services.approver.webhook.questions import TROUBLE, Questions
from services.approver.webhook.sender import receiver
from services.runtime.identity.verifier import TokenVerifier
from services.runtime.settings import Settings, SettingsError
from services.runtime.tasks import TaskGroup


class WebhookChannel:
    """Asks by POST and hears callbacks. See `channels.Channel`."""

    name = "webhook"

    def __init__(
        self, settings: Settings, desk: Desk, deliveries: KeyValue, verifier: TokenVerifier, tasks: TaskGroup
    ) -> None:
        """Raises SettingsError when a secret cannot be read or used, or stands for two webhooks."""
        self._tasks = tasks
        receivers = [receiver(name, one) for name, one in settings.approvals.webhooks.items()]
        owners: dict[bytes, str] = {}
        for one in receivers:
            for key in set(one.keys):
                if (other := owners.setdefault(key, one.name)) != one.name:
                    raise SettingsError(
                        f"countersign.yaml: approvals.webhooks: {other} and {one.name} have the same secret, "
                        "so that one could speak for the other; give each its own"
                    )
        done = Once(deliveries, utc_now)
        self._questions = Questions(desk.approvals, done, receivers, desk.metrics, utc_now)
        self._callbacks = Callbacks(desk, done, receivers, by_address(settings.identity.people), verifier)

    def subscribe(self, broker: NatsBroker) -> None:
        """See `events`."""
        events.subscribe(broker, self._questions, self._tasks)

    def serve(self, app: web.Application) -> None:
        """Add the endpoint for callbacks."""
        self._callbacks.register(app)

    async def start(self) -> None:
        """Nothing to open: callbacks arrive at our own listener."""

    async def stop(self) -> None:
        """Nothing to close: the endpoint ends with the listener."""

    def check(self) -> bool | str:
        """People's answers arrive at our own listener."""
        return True

    async def refresh(self, record: Held) -> None:
        """No POST for progress: whoever needs it asks the API."""

    async def tell(self, record: Held, notice: Notice) -> None:
        """Post it. Raises ChannelTrouble."""
        try:
            await self._questions.tell(record, notice)
        except TROUBLE as error:
            raise ChannelTrouble(str(error) or type(error).__name__) from None
