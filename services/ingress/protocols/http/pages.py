"""The gateway's own routes, below `/-/`: health, metrics, and approvals and grants for callers and reviewers.

Approvals are the approver's business: the question goes there by request and reply, with the reviewer's own token,
which the approver verifies itself (a compromised ingress cannot decide in anybody's name).
"""

import asyncio
import re
from typing import Literal

import orjson
from aiohttp import web
from nats.errors import Error as NatsError
from pydantic import ValidationError
from yarl import URL

from schemas import subjects
from schemas.approvals import ApprovalQuery, ApprovalReply
from schemas.events import ApprovalState
from services.ingress.admission import token_in
from services.ingress.errors import AgentError, GatewayError, not_decided
from services.ingress.parts import Parts
from services.ingress.protocols.http import replies
from services.ingress.protocols.http.connection import Connection
from services.runtime import admin
from services.runtime.admin import Health

_ID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
#: Seconds to wait for the approver.
APPROVER_TIMEOUT = 5.0
#: Largest body of a decision: a reason in a person's words.
MAX_DECISION = 16 * 1024
#: Last segment of a decision's address, to what the approver is asked to do.
_DECISIONS: dict[str, Literal["approve", "deny", "break_glass"]] = {
    "approve": "approve",
    "deny": "deny",
    "break-glass": "break_glass",
}
_OPEN = (ApprovalState.REQUESTED, ApprovalState.PARTLY_APPROVED)


class Pages:
    """Serves `/-/…`."""

    def __init__(self, parts: Parts, health: Health) -> None:
        self._parts = parts
        self._health = health

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._route(request, URL(request.raw_path, encoded=True).path)
        except GatewayError as error:
            if isinstance(error, AgentError) and isinstance(request.protocol, Connection):
                self._parts.refusals.record(request.protocol.session, error, action="page", statement=request.method)
            unread = request.body_exists and not request.content.is_eof()
            return replies.problem(error, "", close=unread)

    async def _route(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        match path.strip("/").split("/"):
            case ["-", "health", "live"]:
                return admin.live(self._health)
            case ["-", "health", "ready"]:
                return admin.ready(self._health)
            case ["-", "metrics"]:
                return await self._metrics(request)
            case ["-", "approvals"]:
                return await self._approvals(request, ApprovalQuery(do="list"), "GET")
            case ["-", "approvals", approval_id] if _ID.match(approval_id):
                return await self._approvals(request, ApprovalQuery(do="get", approval_id=approval_id), "GET")
            case ["-", "approvals", approval_id, verb] if _ID.match(approval_id) and verb in _DECISIONS:
                return await self._approvals(
                    request, ApprovalQuery(do=_DECISIONS[verb], approval_id=approval_id), "POST"
                )
            case ["-", "grants"]:
                return await self._approvals(request, ApprovalQuery(do="grants"), "GET")
            case ["-", "grants", grant_id, "revoke"] if _ID.match(grant_id):
                return await self._approvals(request, ApprovalQuery(do="revoke", grant_id=grant_id), "POST")
            case _:
                raise AgentError(404, "not_found", "the gateway has no such page")

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        """For this machine, or for anybody with a token: metrics name the connectors."""
        if request.remote not in ("127.0.0.1", "::1"):
            await self._parts.admission.admit(token_in(request.headers))
        return admin.metrics(self._parts.registry)

    async def _approvals(self, request: web.BaseRequest, query: ApprovalQuery, method: str) -> web.Response:
        if request.method != method:
            raise AgentError(405, "method_not_allowed", f"use {method} here", headers={"Allow": method})
        token = token_in(request.headers)
        await self._parts.admission.admit(token)
        if method == "POST":  # not before it is known who sends
            query = await _decision(request, query, self._parts.settings.limits.request_idle)
        reply = await self._ask(query, token or "")
        if reply.status >= 400:
            raise AgentError(reply.status, "approval", reply.detail)
        found = "grants" if query.do in ("grants", "revoke") else "approvals"
        body = reply.model_dump(mode="json", include={"detail", found})
        fields = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        if query.do == "get" and any(view.state in _OPEN for view in reply.approvals):
            fields["Retry-After"] = replies.ASK_AGAIN
        return web.Response(status=reply.status, body=orjson.dumps(body), headers=fields)

    async def _ask(self, query: ApprovalQuery, token: str) -> ApprovalReply:
        try:
            answer = await self._parts.gate.client.request(
                subjects.APPROVER_API,
                query.model_dump_json().encode(),
                timeout=APPROVER_TIMEOUT,
                headers={subjects.REVIEWER_TOKEN_HEADER: token},
            )
            return ApprovalReply.model_validate_json(answer.data)
        except (NatsError, OSError, TimeoutError) as error:
            raise not_decided("the approver does not answer; try again") from error
        except ValidationError as error:
            raise not_decided("the approver's answer was malformed") from error


async def _decision(request: web.BaseRequest, about: ApprovalQuery, patience: float) -> ApprovalQuery:
    """The query with what the body adds: `{"reason": "…", "grant_seconds": 3600}`, both optional."""
    try:
        async with asyncio.timeout(patience):  # for all of it: a reason is one piece
            body = await _body(request)
    except TimeoutError:
        raise AgentError(408, "body_timeout", "the body did not arrive in time", close=True) from None
    try:
        given = orjson.loads(body or b"{}")
        return ApprovalQuery.model_validate({**given, **about.model_dump(exclude_unset=True)})
    except (ValidationError, ValueError, TypeError):
        raise AgentError(400, "bad_decision", "send JSON: {reason: text, grant_seconds: number}") from None


async def _body(request: web.BaseRequest) -> bytes:
    body = b""
    while request.body_exists and not request.content.at_eof():
        body += await request.content.read(MAX_DECISION + 1 - len(body))
        if len(body) > MAX_DECISION:
            raise AgentError(413, "too_large", "the reason is too long", close=True)
    return body
