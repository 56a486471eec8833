"""The durable consumers of the webhooks: questions asked, questions settled, and how what was approved ended."""

from datetime import timedelta

import structlog
from faststream.nats import NatsBroker

from schemas import subjects
from schemas.events import ApprovalRequested, ApprovalResolved, ApprovalUsed
from services.approver.delivery import Here, heard
from services.approver.webhook.questions import TROUBLE, Questions
from services.approver.webhook.sender import WebhookTrouble
from services.runtime.tasks import TaskGroup

log = structlog.get_logger(__name__)

REQUESTED, RESOLVED, USED = "approver-webhook-requested", "approver-webhook-resolved", "approver-webhook-used"
#: Events being posted by one copy.
AT_ONCE = 64
#: Events that some receiver has not taken yet, in all: so many of one that is away delay nobody else's.
UNSETTLED = 10_000
#: After this long a receiver is not told any more how a question ended.
MAX_AGE = timedelta(hours=24)


def subscribe(broker: NatsBroker, questions: Questions | None = None, tasks: TaskGroup | None = None) -> None:
    """Register the subscribers; without the parts they only describe themselves (docs/asyncapi.yaml)."""
    here = Here(broker)

    @heard(  # type: ignore[untyped-decorator]
        broker,
        subjects.APPROVALS_REQUESTED,
        ApprovalRequested,
        durable=REQUESTED,
        at_once=AT_ONCE,
        unsettled=UNSETTLED,
        title="ApprovalRequested:Webhook",
        description="Posts each question to the webhooks.",
    )
    async def on_requested(event: ApprovalRequested) -> None:
        assert questions is not None
        assert tasks is not None
        try:
            async with here.keeping(tasks):
                await questions.ask(event)
        except TROUBLE as error:
            log.warning("question not posted yet", approval_id=event.approval_id, error=_words(error))
            raise here.later(_patience(error)) from None

    @heard(  # type: ignore[untyped-decorator]
        broker,
        subjects.APPROVALS_RESOLVED,
        ApprovalResolved,
        durable=RESOLVED,
        at_once=AT_ONCE,
        unsettled=UNSETTLED,
        title="ApprovalResolved:Webhook",
        description="Posts to the webhooks how each question was settled.",
    )
    async def on_resolved(event: ApprovalResolved) -> None:
        assert questions is not None
        assert tasks is not None
        if questions.clock() > event.at + MAX_AGE:
            return
        try:
            async with here.keeping(tasks):
                await questions.show(event.approval_id)
        except TROUBLE as error:
            log.warning("outcome not posted yet", approval_id=event.approval_id, error=_words(error))
            raise here.later(_patience(error)) from None

    @heard(  # type: ignore[untyped-decorator]
        broker,
        subjects.APPROVALS_USED,
        ApprovalUsed,
        durable=USED,
        at_once=AT_ONCE,
        unsettled=UNSETTLED,
        title="ApprovalUsed:Webhook",
        description="Posts to the webhooks how each approved operation ended.",
    )
    async def on_used(event: ApprovalUsed) -> None:
        assert questions is not None
        assert tasks is not None
        if questions.clock() > event.at + MAX_AGE:
            return
        try:
            async with here.keeping(tasks):
                await questions.used(event.approval_id)
        except TROUBLE as error:
            log.warning("use not posted yet", approval_id=event.approval_id, error=_words(error))
            raise here.later(_patience(error)) from None


def _patience(error: Exception) -> float:
    return error.at_least if isinstance(error, WebhookTrouble) else 0


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
