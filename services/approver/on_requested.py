"""ApprovalRequested from policy becomes an entry in the bucket; from then on people can decide, by any channel.

A redelivery finds the entry and goes on. The channels hear the same event through consumers of their own.
"""

import structlog
from faststream.nats import NatsBroker

from schemas import subjects
from schemas.events import ApprovalRequested
from services.approver.delivery import Here, heard
from services.approver.store import Approvals, StoreUnavailable

log = structlog.get_logger(__name__)

#: The consumer's name, the same in every copy: an event goes to one of them.
DURABLE = "approver-requested"
#: Events being worked on by all copies together; each is one write to the bucket.
AT_ONCE = 64


def subscribe(broker: NatsBroker, approvals: Approvals | None = None) -> None:
    """Register the subscriber; without a bucket it only describes itself (docs/asyncapi.yaml)."""
    here = Here(broker)

    @heard(  # type: ignore[untyped-decorator]
        broker,
        subjects.APPROVALS_REQUESTED,
        ApprovalRequested,
        durable=DURABLE,
        at_once=AT_ONCE,
        title="ApprovalRequested:Approver",
        description="Keeps each question that policy puts to people.",
    )
    async def on_requested(event: ApprovalRequested) -> None:
        assert approvals
        try:
            await approvals.create(event)
        except StoreUnavailable:
            raise here.later() from None
        log.info("approval requested", approval_id=event.approval_id, operation_id=event.operation_id)
