"""Publishes what was decided, in an order in which a crash anywhere loses nothing: grant, events, then the mark.

Every part may be repeated: the grant is the same bytes under the same key, the events carry `Nats-Msg-Id` and fixed
ids. Until `announced` is set any copy's sweeper does it again.
"""

from dataclasses import dataclass

import structlog
from joserfc.jwk import OKPKey
from nats.js import JetStreamContext
from nats.js.errors import KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from schemas import subjects
from schemas.events import ApprovalResolved, ApprovalUsed, VerdictReached
from services.approver import announcement, binding
from services.approver.record import Held
from services.approver.store import Approvals

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Announcer:
    """Says on the bus how a question was settled."""

    jetstream: JetStreamContext
    approvals: Approvals
    grants: KeyValue
    key: OKPKey

    async def announce(self, record: Held) -> None:
        """Publish the outcome of a settled approval and mark it announced. Raises what the bus raises."""
        await self._give_grant(record)
        await self._publish(announcement.resolved(record))
        await self._publish(announcement.verdict(record))
        await self.approvals.step(record.approval_id, _marked)
        log.info(
            "approval announced",
            approval_id=record.approval_id,
            operation_id=record.request.operation_id,
            state=str(record.resolution),
        )

    async def announce_lost(self, record: Held) -> None:
        """Say that nobody knows how the approved operation ended. Raises what the bus raises."""
        await self._publish(announcement.lost(record))

    async def _give_grant(self, record: Held) -> None:
        if (grant := binding.grant(record, self.key)) is None:
            return
        try:
            # Not `create`, which writes over a purged key: what was revoked would be in force again.
            await self.grants.update(grant.grant_id, grant.model_dump_json().encode(), last=0)
        except KeyWrongLastSequenceError:
            return  # another copy gave it, or this one before a crash; it may have been revoked since

    async def _publish(self, event: ApprovalResolved | ApprovalUsed | VerdictReached) -> None:
        headers = {"Nats-Msg-Id": event.event_id}
        await self.jetstream.publish(subjects.of(event), event.model_dump_json().encode(), headers=headers)


def _marked(record: Held) -> Held:
    return record if record.announced else record.model_copy(update={"announced": True})
