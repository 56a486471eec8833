"""One HTTP request, from admission to outcome. The steps are in `run`; each is small and can refuse.

    target ─ identity ─ connector ─ content ─ attempt ─ verdict ─ (people) ─ mask ─ upstream ─ reply ─ outcome

An expected failure is a GatewayError and becomes a problem+json; a cancellation means that the agent has gone; both
are recorded, and anything unexpected is recorded as ours and closes the connection.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import structlog
from aiohttp import web
from multidict import CIMultiDict

from schemas.approvals import Grant
from schemas.base import is_id
from schemas.events import OperationAttempted, Outcome
from schemas.identity import Identity
from schemas.operations import Asked, Operation
from schemas.verdicts import Decision, Verdict
from services.ingress.admission import check_scope, token_in
from services.ingress.classify import http as classify
from services.ingress.content import Content
from services.ingress.errors import AgentError, Denied, GatewayError, denied
from services.ingress.holding import PENDING
from services.ingress.parts import Parts
from services.ingress.protocols.http import headers, inbound, preferences, replies, reply, websocket
from services.ingress.protocols.http.connection import Connection
from services.ingress.protocols.http.outbound import prepare
from services.ingress.protocols.http.preferences import Preferences
from services.ingress.protocols.http.target import Target, TargetRefused, parse
from services.ingress.story import Story
from services.ingress.upstream.http import Upstream
from services.runtime.telemetry import carried

log = structlog.get_logger(__name__)

#: Longest `Countersign-Reason` and `Countersign-Run` kept.
MAX_REASON = 1000
MAX_RUN = 128
#: Header fields shown to people, and the longest of them in characters; all are covered by the approval.
MAX_FIELDS = 20
MAX_FIELD = 300


@dataclass
class Exchange:
    """A request on its way."""

    parts: Parts
    request: web.BaseRequest
    connection: Connection
    story: Story
    target: Target | None = None
    identity: Identity | None = None
    upstream: Upstream | None = None
    #: The header fields that the upstream gets, but for what is injected.
    fields: headers.Fields = field(default_factory=CIMultiDict)
    #: What the operation rests on when people allowed its like for a while.
    grant: Grant | None = None
    masked_path: str = ""
    findings: Counter[str] = field(default_factory=Counter)

    async def run(self) -> web.StreamResponse:
        """Serve the request; returns the response, already sent if it was streamed."""
        try:
            return await self._serve()
        except GatewayError as error:
            return self._refuse(error)
        except asyncio.CancelledError:
            self._gone()
            raise
        except Exception:
            log.exception("exchange failed", operation_id=self.story.operation_id)
            return self._refuse(GatewayError(500, "internal", "the gateway failed on this request", close=True))

    async def _serve(self) -> web.StreamResponse:
        self.parts.emitter.check()
        self.parts.limiter.check()
        self.target = _target(self.request)
        self.identity = await self.parts.admission.admit(token_in(self.request.headers))
        self.connection.known()  # not before: strangers are recorded at the pace of refusals.py
        self.upstream = self._upstream(self.target, self.identity)
        self.connection.patience = self.upstream.settings.timeouts.idle
        self.fields = self._fields(self.upstream)
        content, rest = await inbound.read(self.request, self.upstream.settings.max_body, self.parts.settings.limits)
        operation = await self.parts.aside.run(content.weight, lambda: self._operation(content))
        verdict = await self._judge(operation)
        if verdict.decision is Decision.HOLD:
            return self._accepted(verdict)
        if operation.action == "http.websocket":
            lasting = self.parts.lasting.under(self.grant)
            return await websocket.relay(
                self.parts, self.request, self.story, self.upstream, self.target, verdict, lasting
            )
        if self.grant is None:
            return await self._forward(content, rest, verdict)
        async with self.parts.lasting.under(self.grant):
            return await self._forward(content, rest, verdict)

    def _upstream(self, target: Target, identity: Identity) -> Upstream:
        upstream = self.parts.upstreams.get(target.connector)
        if upstream is None:
            known = identity.connector or ", ".join(sorted(self.parts.upstreams))
            raise AgentError(404, "unknown_connector", f"no connector {target.connector!r}; this token opens: {known}")
        self.story.connector = target.connector
        check_scope(identity, target.connector)
        return upstream

    def _fields(self, upstream: Upstream) -> headers.Fields:
        if override := headers.override_in(self.request.headers):
            raise AgentError(
                400, "override", f"{override} would change what was judged; send the method and path as such"
            )
        return headers.for_upstream(self.request.headers, injected=upstream.injected_fields)

    def _operation(self, content: Content) -> Operation:
        assert self.target
        statement = self.parts.inspector.inspect(content)
        path = self.parts.inspector.path(self.target.path)
        query = self.parts.inspector.parameters(self.target.parameters())
        self.masked_path = path.recorded
        for found in (statement.findings, path.findings, query.findings, self.parts.inspector.fields(self.fields)):
            if found:
                self.findings.update(found)
        binding = headers.binding(self.fields)
        operation = classify.operation(
            self.request.method,
            self.target,
            content,
            upgrade=self.request.headers.get("Upgrade", ""),
            size=self.request.content_length or 0,
            statement=statement.recorded,
            path=path.recorded,
            query=query.recorded,
            content_type=self.request.headers.get("Content-Type", ""),
            fields=binding,
            key=self.parts.digest_key,
            look=self._masked_name if self.findings else str,
        )
        if binding:
            operation.attributes["fields"] = self._shown(binding)
        if self.findings and operation.action.startswith("llm."):
            operation.attributes["findings_by_role"] = self.parts.inspector.by_role(content, self.findings)
        return operation

    def _masked_name(self, name: str) -> str:
        return self.parts.inspector.line(name).recorded

    def _shown(self, fields: Sequence[tuple[str, str]]) -> list[str]:
        """Header fields an approval covers, masked: people see what they answer for."""
        shown = []
        for name, value in fields[:MAX_FIELDS]:
            masked = f"{name}: [HIDDEN]" if name == "cookie" else self.parts.inspector.field(name, value)
            shown.append(masked[:MAX_FIELD])
        return shown

    async def _judge(self, operation: Operation) -> Verdict:
        """The allowing verdict, or a hold that the caller does not wait for. Raises Denied or NotDecided."""
        assert self.identity
        assert self.upstream
        attempt = self.story.attempted(self.identity, self.upstream.connector, operation, self.findings, self._asked())
        verdict = await self.parts.gate.judge(attempt)
        self.story.judged(verdict)
        self.parts.metrics.decision_seconds.observe((self.story.decided or 0) - self.story.started)
        if verdict.decision is Decision.HOLD:
            if attempt.asked.wait_seconds > 0 or not self.preferences.respond_async:
                verdict = await self._wait(attempt, verdict)
            elif attempt.asked.approval_id:
                verdict = await self.parts.holding.use_presented(attempt, verdict)
            self.story.judged(verdict)
        elif verdict.decision is Decision.ALLOW and verdict.certificate:
            self.grant = await self.parts.countersigned.check_grant(attempt, verdict)
        if verdict.decision is Decision.DENY:
            raise denied(verdict.reason, verdict.rules)
        if verdict.decision is Decision.HOLD:
            self.story.finish(Outcome.DEFERRED, status="202")
        return verdict

    async def _wait(self, attempt: OperationAttempted, held: Verdict) -> Verdict:
        """The verdict of people; the hold itself when they take longer than a caller waits that prefers 202 to that."""
        try:
            return await self.parts.holding.wait(attempt, held, lambda: self.connection.why_lost, resumable=True)
        except Denied as error:
            if error.code != PENDING:
                raise
            if self.preferences.respond_async:
                return held
            error.headers |= replies.where(held.approval_id or "") | self._applied(attempt.asked.wait_seconds)
            raise

    def _accepted(self, held: Verdict) -> web.StreamResponse:
        assert self.story.attempt
        applied = self._applied(self.story.attempt.asked.wait_seconds)
        return replies.accepted(held.approval_id or "", self.story.operation_id, held.reason, applied)

    def _applied(self, waited: float) -> dict[str, str]:
        applied = self.preferences.applied(waited)
        return {"Preference-Applied": applied} if applied else {}

    @cached_property
    def preferences(self) -> Preferences:
        """How the caller wants to learn of a hold."""
        return preferences.parse(self.request.headers.getall("Prefer", []))

    def _asked(self) -> Asked:
        fields = self.request.headers
        reason, run = fields.get("Countersign-Reason", ""), fields.get("Countersign-Run", "")
        return Asked(
            wait_seconds=self.preferences.patience(self.parts.settings.approvals.wait),
            approval_id=_presented(fields.get("Countersign-Approval")),
            reason=self.parts.inspector.line(reason[:MAX_REASON]).recorded if reason else "",
            run=self.parts.inspector.line(run[:MAX_RUN]).recorded if run else "",
        )

    async def _forward(
        self, content: Content, rest: AsyncIterator[bytes] | None, verdict: Verdict
    ) -> web.StreamResponse:
        assert self.target
        assert self.upstream
        mask = verdict.obligations.mask
        outbound = await prepare(self.parts, self.target, self.fields, content, rest, mask, self.story)
        fields = outbound.fields
        fields["traceparent"] = self.story.traceparent
        outbound.adjust(self.request.content_length)
        reply.negotiate_coding(fields, verdict)
        self.story.reached_upstream = True
        answer = await self.upstream.request(self.request.method, outbound.path, outbound.query, fields, outbound.body)
        try:
            sent = await reply.send(self.parts, self.request, answer, self.upstream, self.story, verdict)
        finally:
            if not answer.closed:
                answer.close()
        self.story.finish(Outcome.FORWARDED, status=str(answer.status))
        return sent

    def _refuse(self, error: GatewayError) -> web.StreamResponse:
        """Record how it ended, and tell the agent."""
        if self.story.attempt is None:
            self.parts.refusals.record(
                self.connection.session,
                error,
                connector=self.target.connector if self.target and self.upstream else "",
                action=f"http.{self.request.method.lower()}",
                statement=f"{self.request.method} {self._recordable_path()}",
                identity=self.identity,
                story=self.story,
            )
        else:
            self.story.refuse(error, str(error.status))
        # A body that has arrived whole can be dropped; behind one that has not, no next request would be found.
        closing = error.close or (self.request.body_exists and not self.request.content.is_eof())
        if closing:
            self.connection.force_close_soon()
        return replies.problem(error, self.story.operation_id, close=closing)

    def _gone(self) -> None:
        """The connection was lost, or cut."""
        if self.story.attempt is None:
            return
        waiting = self.story.verdict is not None and self.story.verdict.decision is Decision.HOLD
        outcome = Outcome.WITHDRAWN if waiting else Outcome.FAILED
        self.story.finish(outcome, error=self.connection.why_lost)

    def _recordable_path(self) -> str:
        return self.masked_path or self.parts.inspector.line(self.request.path.partition("?")[0][:500]).recorded


async def serve(parts: Parts, request: web.BaseRequest) -> web.StreamResponse:
    """Handle one request below a connector's name."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    story = Story(connection.session, "-", traceparent=carried(request.headers.get("traceparent", "")))
    with parts.limiter.slot():
        return await Exchange(parts, request, connection, story).run()


def _presented(approval_id: str | None) -> str | None:
    """Raises AgentError for what cannot be an approval's id: whatever it is, it is not recorded."""
    if approval_id is not None and not is_id(approval_id):
        raise AgentError(400, "bad_approval", "Countersign-Approval is not the id of an approval")
    return approval_id


def _target(request: web.BaseRequest) -> Target:
    try:
        return parse(request.raw_path)
    except TargetRefused as error:
        raise AgentError(400, "bad_target", str(error), close=True) from None
