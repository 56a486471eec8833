"""Events of the bus to messages in Slack, each posted once and brought up to date when it is settled.

    message in the entry      on requested                                  on resolved
    none                      write the intent, then post                   nothing to do
    intent (no `ts`)          look for it; adopt it, or post it now          wait: the other consumer is at it
    posted                    done                                          update it

The intent is written before Slack is asked, and `ts` after it answered, both by compare-and-set. So a crash between
post and store leaves an intent, and whoever gets the event again first looks whether the message is there. What is
left: a copy cut off from the bus for ACK_WAIT, yet not from Slack, may post while another finds nothing and posts.
JetStream is the outbox: what Slack refuses comes again until the question is settled, so a hold never opens by it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from faststream.middlewares import AckPolicy
from faststream.nats import NatsBroker
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from schemas import subjects
from schemas.approvals import Grant, MessageRef
from schemas.events import ApprovalRequested, ApprovalResolved
from services.approver.delivery import AUDIT, INBOX, PULL, Here, consumer
from services.approver.pending import Refusal
from services.approver.record import Held
from services.approver.slack.board import Board
from services.approver.slack.web import RateLimited, Rejected, SlackTrouble
from services.approver.store import BUS_ERRORS, Approvals, StoreUnavailable
from services.runtime.nats.broker import of
from services.runtime.tasks import TaskGroup

log = structlog.get_logger(__name__)

#: The key of our message in `Held.messages`.
CHANNEL = "slack"
REQUESTED, RESOLVED = "approver-slack-requested", "approver-slack-resolved"
#: Questions that wait for their turn in Slack in all copies together; the others wait in the stream.
MAX_WAITING = 512
#: Seconds between attempts when Slack says no for a reason that an operator has to mend.
MEND = 30.0
#: After this long a settled question's message is left as it is: its buttons answer that it is over.
MAX_UPDATE_AGE = timedelta(hours=12)
#: What Slack says about a message that is not there any more.
_GONE = frozenset({"message_not_found", "channel_not_found", "cant_update_message", "edit_window_closed"})


class NotYet(Exception):
    """Another consumer has not got as far."""


@dataclass(frozen=True)
class Questions:
    """Keeps Slack in step with the bucket."""

    approvals: Approvals
    grants: KeyValue
    board: Board
    #: The channel for rules that name none.
    default: str
    clock: Callable[[], datetime]

    async def ask(self, request: ApprovalRequested) -> None:
        """Have the question in Slack, once, after those that came before. Raises SlackTrouble, StoreUnavailable."""
        channel = request.terms.slack or self.default
        async with self.board.lanes.of(channel).turn:
            await self._ask(request, channel)

    async def _ask(self, request: ApprovalRequested, channel: str) -> None:
        record = await self.approvals.create(request)
        if record.posted(CHANNEL):
            return
        if record.posting(CHANNEL) and await self._adopt(record):
            return
        if not record.open:
            await self._note(record.approval_id, None)  # settled before anybody saw it
            return
        await self._post(record, channel)

    async def show(self, approval_id: str) -> None:
        """Bring the message up to date. Raises SlackTrouble, StoreUnavailable, NotYet."""
        record = await self.approvals.load(approval_id)
        if record is None or CHANNEL not in record.messages:
            return
        at = record.posted(CHANNEL)
        if at is None:
            raise NotYet
        try:
            await self.board.update(record, at, await self._granted_until(record))
        except Rejected as rejected:
            if rejected.code not in _GONE:
                raise
            log.warning("the message is gone", approval_id=approval_id, error=rejected.code)

    async def _granted_until(self, record: Held) -> datetime | None:
        """The end of the grant given with it; None without one, or when it is over or revoked."""
        if record.grant_id is None:
            return None
        try:
            entry = await self.grants.get(record.grant_id)
            return Grant.model_validate_json(entry.value or b"").expires_at
        except (KeyNotFoundError, ValidationError):
            return None
        except BUS_ERRORS as error:
            raise StoreUnavailable(str(error)) from error

    async def _adopt(self, record: Held) -> bool:
        """Whether a message that an earlier attempt posted was found, and is now in the entry."""
        intent = record.posting(CHANNEL)
        assert intent
        found = await self.board.find(record.approval_id, intent.channel, record.request.at)
        if found is None:
            return False
        await self._posted(record, found)
        return True

    async def _post(self, record: Held, channel: str) -> None:
        if not record.posting(CHANNEL):
            intended = await self._note(record.approval_id, MessageRef(channel=channel, ts=""))
            if isinstance(intended, Held) and not intended.open:  # settled while Slack was away
                await self._note(record.approval_id, None)
                return
        try:
            at = await self.board.post(record, channel)
        except SlackTrouble as trouble:
            if not trouble.carried_out:
                await self._note(record.approval_id, None)
            raise
        await self._posted(record, at)

    async def _posted(self, shown: Held, at: MessageRef) -> None:
        """Remember where it is; if it was decided on in the meantime, show that."""
        record = await self._note(shown.approval_id, at)
        log.info("question posted", approval_id=shown.approval_id, channel=at.channel, ts=at.ts)
        if isinstance(record, Held) and record.state is not shown.state:
            await self.board.update(record, at)

    async def _note(self, approval_id: str, message: MessageRef | None) -> Held | Refusal:
        return await self.approvals.step(approval_id, lambda record: record.noting(CHANNEL, message))


def subscribe(broker: NatsBroker, questions: Questions | None = None, tasks: TaskGroup | None = None) -> None:
    """Register both subscribers; without the parts they only describe themselves (docs/asyncapi.yaml)."""
    here = Here(broker)

    @broker.subscriber(
        subjects.APPROVALS_REQUESTED,
        stream=AUDIT,
        durable=REQUESTED,
        pull_sub=PULL,
        inbox_prefix=INBOX,
        config=consumer(MAX_WAITING),
        max_workers=MAX_WAITING,
        decoder=of(ApprovalRequested),
        ack_policy=AckPolicy.REJECT_ON_ERROR,
        no_reply=True,
        title="ApprovalRequested:Slack",
        description="Posts each question to Slack.",
    )
    async def on_requested(event: ApprovalRequested) -> None:
        assert questions is not None
        assert tasks is not None
        try:
            async with here.keeping(tasks):
                await questions.ask(event)
        except (SlackTrouble, StoreUnavailable) as error:
            log.warning("question not posted yet", approval_id=event.approval_id, error=str(error))
            raise here.later(_patience(error)) from None

    @broker.subscriber(
        subjects.APPROVALS_RESOLVED,
        stream=AUDIT,
        durable=RESOLVED,
        pull_sub=PULL,
        inbox_prefix=INBOX,
        config=consumer(MAX_WAITING),
        max_workers=MAX_WAITING,
        decoder=of(ApprovalResolved),
        ack_policy=AckPolicy.REJECT_ON_ERROR,
        no_reply=True,
        title="ApprovalResolved:Slack",
        description="Shows in Slack how each question was settled; the buttons go.",
    )
    async def on_resolved(event: ApprovalResolved) -> None:
        assert questions is not None
        assert tasks is not None
        try:
            async with here.keeping(tasks):
                await questions.show(event.approval_id)
        except (SlackTrouble, StoreUnavailable, NotYet) as error:
            if questions.clock() > event.at + MAX_UPDATE_AGE:
                log.error("message left as it is", approval_id=event.approval_id, error=str(error))
                return
            raise here.later(_patience(error)) from None


def _patience(error: Exception) -> float:
    """Seconds to wait at least."""
    if isinstance(error, RateLimited):
        return error.retry_after
    return MEND if isinstance(error, Rejected) else 0
