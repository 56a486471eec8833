"""The two durable consumers of the mails: questions asked, and questions settled."""

from datetime import timedelta

import structlog
from faststream.nats import NatsBroker

from schemas import subjects
from schemas.events import ApprovalRequested, ApprovalResolved
from services.approver.delivery import Here, heard
from services.approver.email.questions import RETRY, Questions
from services.approver.email.relay import MailTrouble
from services.approver.once import Busy
from services.approver.store import StoreUnavailable
from services.runtime.tasks import TaskGroup

log = structlog.get_logger(__name__)

REQUESTED, RESOLVED = "approver-email-requested", "approver-email-resolved"
#: Questions that wait for their turn with the relay in one copy.
AT_ONCE = 64
#: Questions not mailed to everybody yet, in all: so many of an address that is refused for now delay nobody else's.
UNSETTLED = 10_000
#: After this long nobody is told any more how a question ended.
MAX_AGE = timedelta(hours=12)


def subscribe(broker: NatsBroker, questions: Questions | None = None, tasks: TaskGroup | None = None) -> None:
    """Register both subscribers; without the parts they only describe themselves (docs/asyncapi.yaml)."""
    here = Here(broker)

    @heard(  # type: ignore[untyped-decorator]
        broker,
        subjects.APPROVALS_REQUESTED,
        ApprovalRequested,
        durable=REQUESTED,
        at_once=AT_ONCE,
        unsettled=UNSETTLED,
        title="ApprovalRequested:Email",
        description="Mails each question to the people who may decide.",
    )
    async def on_requested(event: ApprovalRequested) -> None:
        assert questions is not None
        assert tasks is not None
        try:
            async with here.keeping(tasks):
                await questions.ask(event, here.message.raw_message.metadata.sequence.stream)
        except (MailTrouble, Busy, StoreUnavailable, TimeoutError) as error:
            log.warning("question not mailed yet", approval_id=event.approval_id, error=_words(error))
            raise here.later(_patience(error)) from None

    @heard(  # type: ignore[untyped-decorator]
        broker,
        subjects.APPROVALS_RESOLVED,
        ApprovalResolved,
        durable=RESOLVED,
        at_once=AT_ONCE,
        unsettled=UNSETTLED,
        title="ApprovalResolved:Email",
        description="Mails, in the same thread, how each question was settled.",
    )
    async def on_resolved(event: ApprovalResolved) -> None:
        assert questions is not None
        assert tasks is not None
        if questions.clock() > event.at + MAX_AGE:
            return
        try:
            async with here.keeping(tasks):
                await questions.show(event.approval_id)
        except (MailTrouble, Busy, StoreUnavailable, TimeoutError) as error:
            log.warning("outcome not mailed yet", approval_id=event.approval_id, error=_words(error))
            raise here.later(_patience(error)) from None


def _patience(error: Exception) -> float:
    return max(RETRY, error.at_least if isinstance(error, MailTrouble) else 0)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
