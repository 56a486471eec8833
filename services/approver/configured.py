"""The channels that the settings name; another channel is a package beside these and a line here, in each function."""

from faststream.nats import NatsBroker
from nats.aio.client import Client

from schemas import subjects
from services.approver.channels import Channel
from services.approver.desk import Desk
from services.approver.email import events as email_events
from services.approver.email.channel import EmailChannel
from services.approver.slack.channel import SlackChannel
from services.approver.webhook import events as webhook_events
from services.approver.webhook.channel import WebhookChannel
from services.runtime.identity.verifier import TokenVerifier
from services.runtime.service import Context


async def channels(context: Context, desk: Desk, client: Client, verifier: TokenVerifier) -> list[Channel]:
    """Those in use; without any, the API decides. Raises SettingsError, and what the bus raises."""
    settings, tasks = context.settings, context.tasks
    approvals = settings.approvals
    deliveries = await client.jetstream().key_value(subjects.DELIVERIES_BUCKET)
    found: list[Channel] = []
    if approvals.slack:
        found.append(SlackChannel(settings, approvals.slack, desk, client, deliveries, tasks))
    if approvals.email:
        found.append(EmailChannel(settings, approvals.email, desk, deliveries, tasks))
    if approvals.webhooks:
        found.append(WebhookChannel(settings, desk, deliveries, verifier, tasks))
    return found


def declare(broker: NatsBroker) -> None:
    """What they hear on the bus, for docs/asyncapi.yaml."""
    email_events.subscribe(broker)
    webhook_events.subscribe(broker)
