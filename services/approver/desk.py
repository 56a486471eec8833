"""A decision on its way from a click to the bus: judged, signed, stored by compare-and-set, then announced.

Every channel, the API and the sweeper come here. Stored first, told second: whoever gets an answer from `decide` can
rely on it, whatever crashes afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from joserfc.jwk import OKPKey

from services.approver import binding, pending
from services.approver.announcer import Announcer
from services.approver.channels import Channel, ChannelTrouble
from services.approver.granted import Revoking
from services.approver.metrics import Metrics
from services.approver.pending import (
    Action,
    Approve,
    BreakGlass,
    Decision,
    Deny,
    Escalate,
    Previewed,
    Refusal,
    Remind,
    Used,
)
from services.approver.record import Held
from services.approver.store import BUS_ERRORS, Approvals, StoreUnavailable
from services.runtime.tasks import TaskGroup

log = structlog.get_logger(__name__)


@dataclass
class Desk:
    """Where decisions are made. `channels` are told of progress."""

    approvals: Approvals
    announcer: Announcer
    key: OKPKey
    metrics: Metrics
    tasks: TaskGroup
    clock: Callable[[], datetime]
    channels: list[Channel] = field(default_factory=list)

    @property
    def revoking(self) -> Revoking:
        """Where grants end early."""
        return Revoking(self.announcer.jetstream, self.announcer.grants, self.approvals)

    async def decide(self, approval_id: str, action: Action) -> Held | Refusal:
        """The approval after the action, stored; or why it was refused. Raises StoreUnavailable."""
        result = await self.approvals.step(approval_id, lambda record: self._moved(record, action))
        self._count(approval_id, action, result)
        if isinstance(result, Held) and not isinstance(action, Escalate | Remind):  # the notifier tells those
            self.tasks.start(self._tell(result), f"tell:{approval_id}")
        return result

    async def note(self, approval_id: str, action: Previewed | Used) -> Held | Refusal:
        """Write down what the ingress found out; the question stays as it is. Raises StoreUnavailable."""
        result = await self.approvals.step(approval_id, lambda record: pending.move(record, action, self.clock()))
        if isinstance(result, Held) and result.open:
            self.tasks.start(self._refresh(result), f"refresh:{approval_id}")
        return result

    async def preview(self, approval_id: str, action: Decision) -> Held | Refusal:
        """The approval if this action would be accepted now, else why not. Raises StoreUnavailable."""
        record = await self.approvals.load(approval_id)
        if record is None:
            return Refusal(pending.Why.UNKNOWN, "There is no such approval.")
        return pending.refused(record, action, self.clock()) or record

    def _moved(self, record: Held, action: Action) -> Held | Refusal:
        now = self.clock()
        moved = pending.move(record, action, now)
        return moved if isinstance(moved, Refusal) else binding.certified(moved, self.key, now)

    async def _tell(self, record: Held) -> None:
        """Announce at once; the sweeper does it again when this fails."""
        try:
            if record.open:
                await self._refresh(record)
            else:
                await self.announcer.announce(record)
        except (*BUS_ERRORS, StoreUnavailable) as error:
            log.warning("not announced yet", approval_id=record.approval_id, error=str(error) or type(error).__name__)

    async def _refresh(self, record: Held) -> None:
        """Best effort: what a channel did not show, its next message does."""
        for channel in self.channels:
            try:
                await channel.refresh(record)
            except ChannelTrouble as trouble:
                log.warning(
                    "progress not shown", approval_id=record.approval_id, channel=channel.name, error=str(trouble)
                )

    def _count(self, approval_id: str, action: Action, result: Held | Refusal) -> None:
        by = action.by if isinstance(action, Approve | BreakGlass | Deny) else None
        channel = by.via if by else "approver"
        outcome = str(result.why) if isinstance(result, Refusal) else result.history[-1].what or str(result.state)
        if isinstance(action, BreakGlass) and isinstance(result, Held):
            self.metrics.glass_broken.inc()
            log.critical("glass broken", approval_id=approval_id, by=action.by.label, reason=result.reason)
        self.metrics.decisions.labels(outcome, channel).inc()
        operation = result.request.operation_id if isinstance(result, Held) else None
        log.info(
            "approval refused" if isinstance(result, Refusal) else "approval moved",
            approval_id=approval_id,
            operation_id=operation,
            outcome=outcome,
            channel=channel,
            by=by.label if by else "",
        )
