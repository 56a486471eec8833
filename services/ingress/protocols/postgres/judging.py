"""From a statement to a verdict: resolve, inspect, attempt, gate, people or grant, and what the verdict obliges to.

An operation that is refused is recorded here, whatever the reason; one that is allowed comes back as `Judged`, and
whoever runs it records how it ended.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import structlog

from schemas.events import OperationAttempted, Outcome
from schemas.operations import Asked, Operation
from schemas.verdicts import Decision, MaskObligation, Verdict
from services.ingress.classify.digest import digest
from services.ingress.classify.sql import catalog as sql
from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.copied import copied_columns
from services.ingress.classify.sql.operation import Bind, operation
from services.ingress.classify.sql.resolving import resolve
from services.ingress.classify.sql.statements import Kind, Statement
from services.ingress.content import Content, MediaType
from services.ingress.errors import AgentError, GatewayError, denied
from services.ingress.protocols.postgres.errors import sqlstate
from services.ingress.protocols.postgres.judged import Judged
from services.ingress.protocols.postgres.people import People
from services.ingress.protocols.postgres.state import LEAVING, State
from services.ingress.story import Story
from services.runtime.telemetry import carried

log = structlog.get_logger(__name__)

#: Settings that the server reports and that change what a statement means or returns.
_MEANING = (
    "client_encoding", "DateStyle", "IntervalStyle", "search_path", "session_authorization",
    "standard_conforming_strings", "TimeZone",
)  # fmt: skip


#: PostgreSQL's words.
_ABORTED = "current transaction is aborted, commands ignored until end of transaction block"


@dataclass(frozen=True)
class Refused(Exception):
    """An operation that does not run: what the agent is told, and which one it was."""

    error: GatewayError
    operation_id: str


@dataclass
class Judging:
    """Judges the statements of one session, one after the other."""

    state: State
    people: People
    #: Grants that statements under way rest on: left when they have ended.
    grants: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def statement(
        self, statement: Statement, binds: Sequence[Bind] = (), *, size: int, prepare: bool = False
    ) -> Judged:
        """One statement with its values; `size` in bytes as sent. Raises Refused.

        `prepare` judges a statement that is only prepared, since the server reads it then: people are not asked.
        """
        state = self.state
        story = self._story(size)
        state.judging = True
        try:
            catalog = await self._catalog()
            resolved = resolve(statement, catalog, state.names.statements, state.names.cursors.statements)
            recorded = state.parts.inspector.statement(resolved.shown, binds)
            asked = operation(
                resolved,
                binds,
                connector=state.front.target.name,
                database=state.front.target.settings.upstream.database,
                recorded=recorded.recorded,
                context=self._context(),
                size=size,
                key=state.parts.digest_key,
                complete=resolved.kind is not Kind.COPY_IN,
            )
            if prepare:
                asked.attributes["prepare"] = True
            if resolved.kind is Kind.COPY_IN:
                asked.attributes["streamed"] = True
            verdict = await self._verdict(story, asked, recorded.findings, resolved, binds, prepare=prepare)
            judged = Judged(
                story, resolved, verdict, catalog, encoding=state.upstream.parameters.get("client_encoding", "")
            )
            await self._obligations(judged, binds)
            return judged
        except BaseException as error:
            raise self._end(story, statement.action, error) from error
        finally:
            state.judging = False

    async def other(self, action: str, resource: str, words: str, content: bytes, size: int) -> Judged:
        """What is no statement: replication, the fast path. `content` is what it is, unmasked. Raises Refused."""
        state = self.state
        story = self._story(size)
        name = state.front.target.name
        asked = Operation(
            action=action,
            resources=(resource,),
            statement=words,
            attributes={"actions": [action]},
            size=size,
            digest=digest(state.parts.digest_key, (action, name, content, *self._context().values())),
        )
        statement = Statement(words, action=action, actions=(action,))
        try:
            verdict = await self._verdict(story, asked, Counter(), statement, (), prepare=False)
            if not verdict.obligations.mask.empty:
                raise denied("its answer cannot be masked", verdict.rules, code="mask_failed")
            return Judged(story, statement, verdict)
        except BaseException as error:
            raise self._end(story, action, error) from error

    def _story(self, size: int) -> Story:
        front = self.state.front
        story = Story(front.session, front.target.name, traceparent=carried(front.wish.traceparent))
        story.request_bytes = size
        return story

    def _asked(self, *, prepare: bool) -> Asked:
        """The session's own words, from its startup options (`-c countersign.run=…`)."""
        line, wish = self.state.parts.inspector.line, self.state.front.wish
        return Asked(
            wait_seconds=0 if prepare else self.state.parts.settings.approvals.wait,
            reason=line(wish.reason).recorded,
            run=line(wish.run).recorded,
        )

    # ---- before -----------------------------------------------------------------------------------------------------

    async def _catalog(self) -> Catalog | None:
        """As the session sees names now; None while its own transaction has changed what there is."""
        state = self.state
        if state.ddl:
            return None
        catalog = await state.parts.catalogs.of(state.front.target)
        return catalog.within(self._search_path()) if catalog else None

    def _search_path(self) -> tuple[str, ...] | None:
        state = self.state
        setting = state.upstream.parameters.get("search_path")  # PostgreSQL 18 and later
        if setting is None or state.settings_in_doubt or state.role_in_doubt:
            return None
        return sql.search_path(setting, state.upstream.parameters.get("session_authorization", ""))

    def _context(self) -> dict[str, str]:
        parameters = self.state.upstream.parameters
        known = {name: parameters[name] for name in _MEANING if name in parameters}
        return {**known, "set": self.state.context}

    # ---- the verdict ------------------------------------------------------------------------------------------------

    async def _verdict(
        self,
        story: Story,
        asked: Operation,
        findings: Counter[str],
        statement: Statement,
        binds: Sequence[Bind],
        *,
        prepare: bool,
    ) -> Verdict:
        """The allowing verdict. Raises Denied, NotDecided."""
        parts, front = self.state.parts, self.state.front
        parts.emitter.check()
        parts.limiter.check()
        attempt = story.attempted(
            front.identity,
            front.target.connector,
            asked,
            dict(findings),
            self._asked(prepare=prepare),
        )
        verdict = await parts.gate.judge(attempt)
        story.judged(verdict)
        parts.metrics.decision_seconds.observe((story.decided or 0) - story.started)
        if verdict.decision is Decision.HOLD:
            verdict = await self._held(attempt, verdict, statement, binds, prepare=prepare)
            story.judged(verdict)
        elif verdict.decision is Decision.ALLOW and verdict.certificate:
            grant = await parts.countersigned.check_grant(attempt, verdict)
            await self.grants.enter_async_context(parts.lasting.under(grant))
        if verdict.decision is Decision.DENY:
            raise denied(verdict.reason, verdict.rules)
        return verdict

    async def _held(
        self,
        attempt: OperationAttempted,
        held: Verdict,
        statement: Statement,
        binds: Sequence[Bind],
        *,
        prepare: bool,
    ) -> Verdict:
        if self.state.failed and statement.kind not in LEAVING:
            self.state.parts.holding.withdraw(attempt, held, "its transaction has failed already")
            raise AgentError(400, "failed_transaction", _ABORTED, Outcome.WITHDRAWN)
        if not prepare:
            return await self.people.decide(attempt, held, statement, binds)
        # People will be asked when it is executed, with its values; preparing it changes nothing.
        self.state.parts.holding.withdraw(attempt, held, "it was only prepared")
        return held

    async def _obligations(self, judged: Judged, binds: Sequence[Bind]) -> None:
        """Whatever could make the verdict's masks impossible is found before the statement is sent. Raises Denied."""
        state, mask, rules = self.state, judged.mask, judged.verdict.rules
        state.parts.inspector.check(mask)
        if mask.fields:
            raise denied("a rule masks JSON fields, which rows do not have", rules, code="mask_failed")
        if judged.statement.copy is not None and state.settings_in_doubt and not mask.empty:
            raise denied("a statement before it may have changed the encoding of its data", rules, code="mask_failed")
        self._check_request(judged, mask, binds)
        if mask.columns:
            if copied := copied_columns(judged.statement, mask.columns, judged.catalog):
                raise denied(f"it would copy masked columns ({', '.join(copied)})", rules, code="mask_failed")
            judged.plan = await self._plan(judged.statement)
        state.add_mask(mask)

    def _check_request(self, judged: Judged, mask: MaskObligation, binds: Sequence[Bind]) -> None:
        """A value within a statement cannot be replaced without changing what it means: one that should be is refused.

        COPY's data are not here, and are masked as they come.
        """
        if not mask.request:
            return
        values = b"\n".join((judged.statement.shown.encode(), *(bind.raw for bind in binds if bind.raw)))
        content = Content(values, MediaType("text/plain"))
        only = MaskObligation(request=mask.request, style=mask.style, binary="refuse")
        if found := self.state.parts.inspector.mask(content, only).counts:
            names = ", ".join(sorted(found))
            raise denied(f"it holds values that a rule masks ({names})", judged.verdict.rules, code="mask_failed")

    async def _plan(self, statement: Statement) -> object:
        if statement.kind not in (Kind.QUERY, Kind.UNKNOWN) or self.state.ddl or statement.tree is None:
            return None
        path = self.state.upstream.parameters.get("search_path", "")
        return await self.state.parts.catalogs.plan(self.state.front.target, statement, path)

    # ---- the record -------------------------------------------------------------------------------------------------

    def _end(self, story: Story, action: str, error: BaseException) -> BaseException:
        """Record an operation that does not run; what is to be raised for it."""
        if isinstance(error, GatewayError):
            return self._refuse(story, action, error)
        if story.attempt is not None:
            held = story.verdict is not None and story.verdict.decision is Decision.HOLD
            gone = isinstance(error, asyncio.CancelledError)
            why = (self.state.lost or "the agent disconnected") if gone else "the gateway failed"
            story.finish(Outcome.WITHDRAWN if held and gone else Outcome.FAILED, error=why)
        return error

    def _refuse(self, story: Story, action: str, error: GatewayError) -> Refused:
        state = self.state
        if story.attempt is None:
            state.parts.refusals.record(
                state.front.session,
                error,
                connector=state.front.target.name,
                action=action,
                identity=state.front.identity,
                story=story,
            )
        else:
            story.refuse(error, sqlstate(error))
        return Refused(error, story.operation_id)


def chained(context: str, statement: str) -> str:
    """The session's settings so far and one more, as a digest: the order counts."""
    return hashlib.sha256(f"{context}\0{statement}".encode()).hexdigest()
