"""What the ingress tells about a question: the caller left, the blast radius, how the approved operation ended.

Each may arrive before the question itself is in the bucket: then it comes again, for a while.
"""

from datetime import timedelta

from faststream.nats import NatsBroker

from schemas import subjects
from schemas.approvals import Preview, Use
from schemas.events import ApprovalPreviewed, ApprovalUsed, ApprovalWithdrawn
from services.approver.delivery import Here, heard
from services.approver.desk import Desk
from services.approver.pending import Previewed, Refusal, Used, Why, Withdraw
from services.approver.record import Held
from services.approver.store import StoreUnavailable

#: Events being worked on by all copies together; each is one write to the bucket.
AT_ONCE = 64
#: What is about a question that is not there after this long is about none.
MAX_WAIT = timedelta(minutes=5)

Told = ApprovalWithdrawn | ApprovalPreviewed | ApprovalUsed


def subscribe(broker: NatsBroker, desk: Desk | None = None) -> None:
    """Register the subscribers; without a desk they only describe themselves (docs/asyncapi.yaml)."""
    here = Here(broker)

    async def settle(event: Told) -> None:
        """Write it down, or have it come again."""
        assert desk
        try:
            result = await _noted(desk, event)
        except StoreUnavailable:
            raise here.later() from None
        if _early(result, event) and desk.clock() < event.at + MAX_WAIT:
            raise here.later()

    @heard(  # type: ignore[untyped-decorator]
        broker,
        subjects.APPROVALS_WITHDRAWN,
        ApprovalWithdrawn,
        durable="approver-withdrawn",
        at_once=AT_ONCE,
        title="ApprovalWithdrawn:Approver",
        description="Closes questions whose caller no longer waits.",
    )
    async def on_withdrawn(event: ApprovalWithdrawn) -> None:
        await settle(event)

    @heard(  # type: ignore[untyped-decorator]
        broker,
        subjects.APPROVALS_PREVIEWED,
        ApprovalPreviewed,
        durable="approver-previewed",
        at_once=AT_ONCE,
        title="ApprovalPreviewed:Approver",
        description="Keeps with the question what the operation would change.",
    )
    async def on_previewed(event: ApprovalPreviewed) -> None:
        await settle(event)

    @heard(  # type: ignore[untyped-decorator]
        broker,
        subjects.APPROVALS_USED,
        ApprovalUsed,
        durable="approver-used",
        at_once=AT_ONCE,
        title="ApprovalUsed:Approver",
        description="Keeps with the question how the approved operation ended.",
    )
    async def on_used(event: ApprovalUsed) -> None:
        await settle(event)


async def _noted(desk: Desk, event: Told) -> Held | Refusal:
    match event:
        case ApprovalWithdrawn():
            return await desk.decide(event.approval_id, Withdraw(event.reason))
        case ApprovalPreviewed():
            return await desk.note(event.approval_id, Previewed(_preview(event)))
        case ApprovalUsed():
            return await desk.note(event.approval_id, Used(_use(event)))


def _early(result: Held | Refusal, event: Told) -> bool:
    """Whether it may be that this comes before what it is about."""
    if not isinstance(result, Refusal):
        return False
    return result.why is Why.UNKNOWN or (isinstance(event, ApprovalUsed) and result.why is Why.NOT_DUE)


def _preview(event: ApprovalPreviewed) -> Preview:
    return Preview(
        at=event.at,
        estimated_rows=event.estimated_rows,
        counted_rows=event.counted_rows,
        problem=event.problem,
    )


def _use(event: ApprovalUsed) -> Use:
    return Use(
        at=event.at,
        operation_id=event.operation_id,
        outcome=event.outcome,
        status=event.status,
        error=event.error,
        rows=event.rows,
        response_bytes=event.response_bytes,
        total_ms=event.total_ms,
    )
