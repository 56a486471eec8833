"""A replication connection, judged before it is opened: it reads the write-ahead log, which no rule can mask.

Allowed, it is a session like any other: its commands are `sql.unknown`, for they are no SQL, and judged one by one.
"""

from schemas.events import OperationAttempted, Outcome
from schemas.operations import Asked, Operation
from schemas.verdicts import Decision, Verdict
from services.ingress.classify.digest import digest
from services.ingress.errors import GatewayError, denied
from services.ingress.parts import Parts
from services.ingress.protocols.postgres.errors import sqlstate
from services.ingress.protocols.postgres.front import Front
from services.ingress.story import Story
from services.runtime.telemetry import carried

ACTION = "sql.replication"


async def judge_replication(parts: Parts, front: Front) -> None:
    """Raises GatewayError unless a rule allows it."""
    front.session.open()
    story = Story(front.session, front.target.name, traceparent=carried(front.wish.traceparent))
    try:
        await _judge(parts, front, story)
    except GatewayError as error:
        if story.attempt is not None:
            story.refuse(error, sqlstate(error))
        raise
    except BaseException:
        if story.attempt is not None:
            story.finish(Outcome.FAILED, error="the agent disconnected")
        raise
    story.finish(Outcome.FORWARDED)


async def _judge(parts: Parts, front: Front, story: Story) -> None:
    parts.emitter.check()
    parts.limiter.check()
    mode = front.wish.replication
    operation = Operation(
        action=ACTION,
        resources=(front.target.settings.upstream.database,),
        statement="replication connection",
        attributes={"actions": [ACTION]},
        digest=digest(parts.digest_key, (ACTION, front.target.name, mode)),
    )
    asked = Asked(wait_seconds=parts.settings.approvals.wait)
    attempt = story.attempted(front.identity, front.target.connector, operation, {}, asked)
    verdict = await _allowed(parts, attempt, story)
    if not verdict.obligations.mask.empty:
        raise denied("a replication stream cannot be masked", verdict.rules, code="mask_failed")


async def _allowed(parts: Parts, attempt: OperationAttempted, story: Story) -> Verdict:
    verdict = await parts.gate.judge(attempt)
    story.judged(verdict)
    if verdict.decision is Decision.HOLD:
        with parts.limiter.slot():
            verdict = await parts.holding.wait(attempt, verdict)
        story.judged(verdict)
    elif verdict.decision is Decision.ALLOW and verdict.certificate:
        await parts.countersigned.check_grant(attempt, verdict)
    if verdict.decision is Decision.DENY:
        raise denied(verdict.reason, verdict.rules)
    return verdict
