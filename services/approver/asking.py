"""When people are asked: once the blast radius is known, where a rule wants it, or did not come in time."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from schemas.events import ApprovalRequested
from services.approver.record import Held
from services.approver.store import Approvals

#: Seconds between two looks whether it is there.
LOOK = 0.2


async def when_due(approvals: Approvals, request: ApprovalRequested, clock: Callable[[], datetime]) -> Held:
    """The approval, once people may be asked, or when it is settled before that. Raises StoreUnavailable."""
    record = await approvals.create(request)
    while record.open and not record.preview_due(clock()):
        await asyncio.sleep(LOOK)
        record = await approvals.load(request.approval_id) or record
    return record
