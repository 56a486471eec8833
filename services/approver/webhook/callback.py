"""Decisions that come back from a webhook's receiver: `POST /approvals/callback`, signed as our own POSTs are.

    signature, time      by the secret of one webhook, within five minutes; else 401
    `decides`            what that webhook may do: nothing (403), hand on a token, or name a person
    `webhook-id`         acts once: a repeat gets the stored answer, another body under the same id is refused
    reviewer             a mapped person or a verified token (for an emergency: a token); then the desk, whose rules are
                         those of every channel

Our own POSTs are signed with the same secret: none of them passes for a callback, as `type` tells.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import structlog
from aiohttp import web
from pydantic import ValidationError

from schemas.approvals import Reviewer
from schemas.base import Contract
from services.approver import once
from services.approver.body import TooMuch, bounded
from services.approver.desk import Desk
from services.approver.once import Busy, Once
from services.approver.pending import Approve, BreakGlass, Decision, Deny, Refusal, Why
from services.approver.people import Known, reviewer
from services.approver.record import Held
from services.approver.store import StoreUnavailable
from services.approver.views import view, visible
from services.approver.watching import entry_of
from services.approver.webhook import signature
from services.approver.webhook.payload import Answer, Callback
from services.approver.webhook.sender import Receiver
from services.approver.webhook.signature import NotSigned, Signed
from services.runtime.identity.rejection import TokenRejected
from services.runtime.identity.verifier import TokenVerifier

log = structlog.get_logger(__name__)

PATH = "/approvals/callback"
#: Bytes of a callback: a token, a reason, and little else.
MAX_BODY = 64 * 1024
_STATUS = {
    Why.UNKNOWN: 404,
    Why.EXPIRED: 410,
    Why.NOT_ALLOWED: 403,
    Why.OWN_OPERATION: 403,
    Why.NO_SUCH_GRANT: 422,
    Why.NO_REASON: 422,
}


class Turned(Exception):
    """An answer that ends the callback; nothing was done."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Given(Contract):
    """An answer that was given, as the bucket keeps it."""

    status: int
    #: SHA-256 of the body it answered.
    to: str
    answer: Answer


@dataclass(frozen=True)
class Callbacks:
    """The endpoint."""

    desk: Desk
    once: Once
    receivers: Sequence[Receiver]
    people: Known
    verifier: TokenVerifier
    clock: Callable[[], float] = time.time

    def register(self, app: web.Application) -> None:
        """Serve it."""
        app.router.add_post(PATH, self._post)

    async def _post(self, request: web.Request) -> web.Response:
        name = "unknown"
        try:
            body = await bounded(request, MAX_BODY)
            signed, receiver = self._signed(request, body)
            name = receiver.name
            given = await self._answer(signed, receiver)
        except TooMuch as error:
            self._count(name, 413)
            return _json(413, Answer(detail=str(error)))
        except Turned as turned:
            self._count(name, turned.status)
            return _json(turned.status, Answer(detail=turned.detail))
        except (Busy, StoreUnavailable, TimeoutError):
            self._count(name, 503)
            return _json(503, Answer(detail="it cannot be stored now; send it again, with the same webhook-id"))
        return _json(given.status, given.answer)

    def _signed(self, request: web.Request, body: bytes) -> tuple[Signed, Receiver]:
        """Whose secret signed it. Raises Turned."""
        refused = NotSigned("no webhook is configured")
        for receiver in self.receivers:
            try:
                return signature.verify(receiver.keys, request.headers, body, self.clock()), receiver
            except NotSigned as error:
                refused = error
        raise Turned(401, str(refused))

    async def _answer(self, signed: Signed, receiver: Receiver) -> Given:
        """What this callback gets, now or earlier. Raises Turned, Busy, StoreUnavailable."""
        if receiver.settings.decides == "nothing":
            raise Turned(403, f"approvals.webhooks.{receiver.name}.decides is nothing: its callbacks do nothing")
        callback = _read(signed.body)
        digest = sha256(signed.body).hexdigest()

        async def act() -> str:
            return (await self._act(callback, receiver, digest)).model_dump_json()

        key = once.key("callback", receiver.name, signed.webhook_id)
        given = Given.model_validate_json(await self.once.perform(key, act))
        if given.to != digest:
            raise Turned(409, "this webhook-id was used for another body; nothing was done")
        return given

    async def _act(self, callback: Callback, receiver: Receiver, digest: str) -> Given:
        record = await self.desk.approvals.load(callback.approval_id)
        if record is None:
            raise Turned(404, "there is no such approval")
        if callback.digest != record.request.operation.digest:
            raise Turned(409, "the digest is not that of this approval's operation; nothing was done")
        by = await self._reviewer(callback, receiver, record)
        result = await self.desk.decide(record.approval_id, _decision(callback, by))
        if isinstance(result, Refusal):
            self._count(receiver.name, _STATUS.get(result.why, 409))
            answer = Answer(approval_id=record.approval_id, detail=result.words)
            return Given(status=_STATUS.get(result.why, 409), to=digest, answer=answer)
        log.info("callback decided", approval_id=record.approval_id, webhook=receiver.name, by=by.label)
        answer = Answer(approval_id=record.approval_id, state=str(result.state), detail=view(result).detail)
        return Given(status=200, to=digest, answer=answer)

    async def _reviewer(self, callback: Callback, receiver: Receiver, record: Held) -> Reviewer:
        """Who decides. Raises Turned."""
        if callback.reviewer.token:
            return await self._bearer(callback.reviewer.token, record)
        settings = receiver.settings
        if settings.decides != "people":
            raise Turned(403, "this webhook may hand on a reviewer's token, not name reviewers")
        if callback.decision == "break_glass":
            raise Turned(403, "an emergency needs the reviewer's own token")
        person = self.people.get(callback.reviewer.email.casefold())
        if person is None:
            raise Turned(403, "the reviewer is not among the people who decide (identity.people)")
        named = reviewer(person, "webhook")
        if settings.groups:
            named = named.model_copy(update={"groups": tuple(each for each in named.groups if each in settings.groups)})
        return named

    async def _bearer(self, token: str, record: Held) -> Reviewer:
        try:
            identity = await self.verifier.verify(token)
        except TokenRejected as rejected:
            raise Turned(503 if rejected.retryable else 403, f"the reviewer's token: {rejected.detail}") from None
        entry = entry_of(record)
        if not visible(entry.requester, entry.connector, entry.groups, identity):
            raise Turned(404, "there is no such approval, or it is not theirs to see")
        return Reviewer(
            issuer=identity.issuer,
            subject=identity.subject,
            email=identity.email,
            groups=identity.groups,
            owner=identity.owner,
            via="webhook",
        )

    def _count(self, name: str, status: int) -> None:
        self.desk.metrics.channel_errors.labels(f"webhook.{name}", f"callback_{status}").inc()


def _decision(callback: Callback, by: Reviewer) -> Decision:
    match callback.decision:
        case "approve":
            return Approve(by, callback.grant_seconds, callback.reason)
        case "break_glass":
            return BreakGlass(by, callback.reason)
        case "deny":
            return Deny(by, callback.reason)


def _read(body: bytes) -> Callback:
    try:
        return Callback.model_validate_json(body)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Turned(400, f"{place}: {first['msg']}") from None


def _json(status: int, answer: Answer) -> web.Response:
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "2"} if status == 503 else {})
    return web.Response(status=status, text=answer.model_dump_json(), content_type="application/json", headers=headers)
