"""ApprovalWithdrawn from ingress: the caller disconnected, so nobody needs to decide any more."""

from datetime import timedelta

from faststream.middlewares import AckPolicy
from faststream.nats import NatsBroker

from schemas import subjects
from schemas.events import ApprovalWithdrawn
from services.approver.delivery import AUDIT, INBOX, PULL, Here, consumer
from services.approver.desk import Desk
from services.approver.pending import Refusal, Why, Withdraw
from services.approver.store import StoreUnavailable
from services.runtime.nats.broker import of

DURABLE = "approver-withdrawn"
#: Events being worked on by all copies together; each is one write to the bucket.
MAX_ACK_PENDING = 64
#: A caller may leave before its question is in the bucket. One that is not there after this long never was.
MAX_WAIT = timedelta(minutes=5)


def subscribe(broker: NatsBroker, desk: Desk | None = None) -> None:
    """Register the subscriber; without a desk it only describes itself (docs/asyncapi.yaml)."""
    here = Here(broker)

    @broker.subscriber(
        subjects.APPROVALS_WITHDRAWN,
        stream=AUDIT,
        durable=DURABLE,
        pull_sub=PULL,
        inbox_prefix=INBOX,
        config=consumer(MAX_ACK_PENDING),
        decoder=of(ApprovalWithdrawn),
        ack_policy=AckPolicy.REJECT_ON_ERROR,
        no_reply=True,
        title="ApprovalWithdrawn:Approver",
        description="Closes questions whose caller no longer waits.",
    )
    async def on_withdrawn(event: ApprovalWithdrawn) -> None:
        assert desk
        try:
            result = await desk.decide(event.approval_id, Withdraw(event.reason))
        except StoreUnavailable:
            raise here.later() from None
        unknown = isinstance(result, Refusal) and result.why is Why.UNKNOWN
        if unknown and desk.clock() < event.at + MAX_WAIT:
            raise here.later()
