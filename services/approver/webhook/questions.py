"""Events of the bus to POSTs: each to every receiver that it is for, each once (`once`), the receivers side by side.

A receiver that is away delays nobody else's. `webhook-id` is made from the approval and the event, so that whatever
comes again is known by it. POSTs may arrive in another order than things happened: each tells the whole state.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from schemas.approvals import Notice
from schemas.events import ApprovalRequested
from services.approver import once
from services.approver.asking import when_due
from services.approver.metrics import Metrics
from services.approver.once import Busy, Once
from services.approver.record import Held
from services.approver.store import Approvals, StoreUnavailable
from services.approver.webhook.payload import EventType, posted
from services.approver.webhook.sender import Gone, Receiver, WebhookTrouble

log = structlog.get_logger(__name__)

_NOTICES: dict[str, EventType] = {
    "reminder": "approval.reminder",
    "escalated": "approval.escalated",
    "break_glass": "approval.break_glass",
}


class NotYet(Exception):
    """Another consumer has not got as far."""


#: What may go wrong with one POST without a bug.
TROUBLE = (WebhookTrouble, Busy, NotYet, StoreUnavailable, TimeoutError)


@dataclass(frozen=True)
class Questions:
    """Keeps receivers in step with the bucket."""

    approvals: Approvals
    once: Once
    receivers: Sequence[Receiver]
    metrics: Metrics
    clock: Callable[[], datetime]

    async def ask(self, request: ApprovalRequested) -> None:
        """Post the question. Raises what `TROUBLE` names."""
        record = await when_due(self.approvals, request, self.clock)
        if record.open:
            await self._post(record, "approval.requested", request.at, "requested")

    async def show(self, approval_id: str) -> None:
        """Post how it ended. Raises what `TROUBLE` names."""
        record = await self.approvals.load(approval_id)
        if record and not record.open:
            await self._post(record, "approval.resolved", record.resolved_at, "resolved")

    async def used(self, approval_id: str) -> None:
        """Post how the approved operation ended. Raises NotYet while that is not noted, and what `TROUBLE` names."""
        record = await self.approvals.load(approval_id)
        if record is None:
            return
        if record.use is None:  # another consumer notes it from the same event
            raise NotYet
        await self._post(record, "approval.used", record.use.at, "used")

    async def tell(self, record: Held, notice: Notice) -> None:
        """Post a notice. Raises what `TROUBLE` names."""
        event = f"{notice.kind}_{int(notice.at.timestamp())}"
        await self._post(record, _NOTICES[notice.kind], notice.at, event)

    def concerned(self, record: Held) -> Sequence[Receiver]:
        """The rule's receiver; every one when it names none, or one that is not there."""
        wanted = record.request.terms.webhook
        named = [receiver for receiver in self.receivers if receiver.name == wanted]
        if wanted and not named:
            log.error("a rule names a webhook that the settings do not", webhook=wanted, rules=record.rules)
        return named or self.receivers

    async def _post(self, record: Held, kind: EventType, at: datetime, event: str) -> None:
        body = posted(kind, at, record)
        results = await asyncio.gather(
            *(self._to(receiver, record, event, body) for receiver in self.concerned(record)), return_exceptions=True
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        for error in failed:
            if not isinstance(error, TROUBLE):
                raise error
        if failed:  # the most hopeful decides when they are all tried again; the others say no at once
            raise min(failed, key=lambda error: error.at_least if isinstance(error, WebhookTrouble) else 0)

    async def _to(self, receiver: Receiver, record: Held, event: str, body: bytes) -> None:
        webhook_id = f"msg_{record.approval_id}_{event}"
        try:
            key = once.key("webhook", receiver.name, webhook_id)
            await self.once.perform(key, lambda: self._sent(receiver, webhook_id, body))
        except WebhookTrouble as trouble:
            self.metrics.channel_errors.labels(f"webhook.{receiver.name}", trouble.code).inc()
            raise

    async def _sent(self, receiver: Receiver, webhook_id: str, body: bytes) -> str:
        try:
            await receiver.post(webhook_id, body)
        except Gone:
            self.metrics.channel_errors.labels(f"webhook.{receiver.name}", "410").inc()
            log.error("a webhook's receiver does not want this any more", webhook=receiver.name, id=webhook_id)
            return "refused: 410"
        self.metrics.posts.labels(f"webhook.{receiver.name}", webhook_id.split("_")[2]).inc()
        log.info("webhook taken", webhook=receiver.name, id=webhook_id)
        return "sent"
