"""The approver's API on the bus: approvals and grants, seen and decided with the reviewer's own token.

Request and reply on `subjects.APPROVER_API`, one copy answering; ingress offers it over HTTP and `countersign
approvals` uses that. The token is verified here, so that no other service can decide in a person's name.
"""

from dataclasses import dataclass

import structlog
from faststream.middlewares import AckPolicy
from faststream.nats import NatsBroker

from schemas import subjects
from schemas.approvals import ApprovalQuery, ApprovalReply, ApprovalView, Reviewer
from schemas.identity import Identity
from services.approver.delivery import Here
from services.approver.desk import Desk
from services.approver.granted import Granted, sees
from services.approver.pending import Approve, BreakGlass, Decision, Deny, Refusal, Why
from services.approver.record import Held
from services.approver.store import StoreUnavailable
from services.approver.views import view, visible
from services.approver.watching import Entry, Watching, entry_of
from services.runtime.identity.rejection import TokenRejected
from services.runtime.identity.verifier import TokenVerifier
from services.runtime.nats.broker import of

log = structlog.get_logger(__name__)

#: Approvals in one answer, the oldest first: an answer must fit into one message of the bus (4 MiB).
MAX_LIST = 200
#: Bytes of statement, over the whole list, in one answer; beyond it, statements are left to `get`.
MAX_LIST_TEXT = 1024 * 1024

#: Queries answered at once by one copy; the others wait their turn in the connection.
MAX_QUERIES = 32

_STATUS = {
    Why.UNKNOWN: 404,
    Why.EXPIRED: 410,
    Why.ALREADY_DECIDED: 409,
    Why.SAME_PERSON_TWICE: 409,
    Why.NOT_ALLOWED: 403,
    Why.OWN_OPERATION: 403,
    Why.NO_SUCH_GRANT: 422,
    Why.NO_REASON: 422,
    Why.NOT_DUE: 409,
}
_NO_GRANT = ApprovalReply(status=404, detail="there is no such grant in force, or it is not yours to revoke")
_NOT_FOUND = ApprovalReply(status=404, detail="there is no such approval, or it is not yours to see")


@dataclass(frozen=True)
class Api:
    """Answers one query."""

    desk: Desk
    watching: Watching
    granted: Granted
    verifier: TokenVerifier

    async def answer(self, query: ApprovalQuery, token: str) -> ApprovalReply:
        """What the bearer of this token gets. Never raises for what a caller may send."""
        try:
            identity = await self.verifier.verify(token)
        except TokenRejected as rejected:
            return ApprovalReply(status=503 if rejected.retryable else 401, detail=rejected.detail)
        try:
            return await self._perform(query, identity)
        except StoreUnavailable:
            return ApprovalReply(status=503, detail="approvals cannot be read or written now; try again")

    async def _perform(self, query: ApprovalQuery, identity: Identity) -> ApprovalReply:
        reviewer = reviewer_of(identity)
        if query.do == "list":
            return await self._list(identity)
        if query.do == "grants":
            return self._grants(identity)
        if query.do == "revoke":
            return await self._revoke(query, identity)
        record = await self.desk.approvals.load(query.approval_id or "-")
        if record is None or not _sees(identity, entry_of(record)):
            return _NOT_FOUND
        if query.do == "get":
            shown = view(record)
            return ApprovalReply(status=200, detail=shown.detail, approvals=(shown,))
        return await self._decide(query, record, identity, reviewer)

    async def _decide(
        self, query: ApprovalQuery, record: Held, identity: Identity, reviewer: Reviewer
    ) -> ApprovalReply:
        result = await self.desk.decide(record.approval_id, _action(query, reviewer))
        if isinstance(result, Refusal):
            return ApprovalReply(status=_STATUS[result.why], detail=result.words)
        return ApprovalReply(status=200, approvals=(view(result),))

    async def _list(self, identity: Identity) -> ApprovalReply:
        if not self.watching.current:
            return ApprovalReply(status=503, detail="the list is being read; try again")
        found: list[Held] = []
        shown = [entry for entry in self.watching.entries() if entry.open and _sees(identity, entry)]
        for entry in shown[:MAX_LIST]:
            record = await self.desk.approvals.load(entry.approval_id)
            if record and record.open:
                found.append(record)
        detail = f"only the oldest {MAX_LIST} of {len(shown)} are shown" if len(shown) > MAX_LIST else ""
        return ApprovalReply(status=200, detail=detail, approvals=_views(found))

    def _grants(self, identity: Identity) -> ApprovalReply:
        if not self.granted.current:
            return ApprovalReply(status=503, detail="the list is being read; try again")
        shown = self.granted.seen_by(identity, self.desk.clock())
        detail = f"only the first {MAX_LIST} of {len(shown)} are shown" if len(shown) > MAX_LIST else ""
        return ApprovalReply(status=200, detail=detail, grants=tuple(shown[:MAX_LIST]))

    async def _revoke(self, query: ApprovalQuery, identity: Identity) -> ApprovalReply:
        grant = await self.desk.revoking.load(query.grant_id or "-")
        if grant is None or not sees(identity, grant):
            return _NO_GRANT
        await self.desk.revoking.revoke(grant, reviewer_of(identity).label, query.reason)
        self.desk.metrics.revoked.inc()
        return ApprovalReply(status=200, grants=(self.granted.view(grant),))


def _action(query: ApprovalQuery, reviewer: Reviewer) -> Decision:
    match query.do:
        case "approve":
            return Approve(reviewer, query.grant_seconds, query.reason)
        case "break_glass":
            return BreakGlass(reviewer, query.reason)
        case _:
            return Deny(reviewer, query.reason)


def reviewer_of(identity: Identity) -> Reviewer:
    """The person behind a verified token."""
    return Reviewer(
        issuer=identity.issuer,
        subject=identity.subject,
        email=identity.email,
        groups=identity.groups,
        owner=identity.owner,
        via="cli",
    )


def _sees(identity: Identity, entry: Entry) -> bool:
    return visible(entry.requester, entry.connector, entry.groups, identity)


def _views(records: list[Held]) -> tuple[ApprovalView, ...]:
    left, views = MAX_LIST_TEXT, []
    for record in records:
        shown = view(record)
        left -= len(shown.statement.encode())
        views.append(shown if left >= 0 else shown.model_copy(update={"statement": ""}))
    return tuple(views)


def subscribe(broker: NatsBroker, api: Api | None = None) -> None:
    """Register the subscriber, which replies; without an API it only describes itself (docs/asyncapi.yaml)."""
    here = Here(broker)

    @broker.subscriber(
        subjects.APPROVER_API,
        queue=subjects.APPROVER_QUEUE,
        decoder=of(ApprovalQuery),
        ack_policy=AckPolicy.MANUAL,  # core NATS: nothing to ack; whoever asked asks again
        max_workers=MAX_QUERIES,
        title="ApprovalQuery:Approver",
        description="Approvals and grants, for the bearer of the token in the header.",
    )
    async def on_query(query: ApprovalQuery) -> bytes:
        assert api
        token = here.message.headers.get(subjects.REVIEWER_TOKEN_HEADER, "")
        return (await api.answer(query, token)).model_dump_json().encode()
