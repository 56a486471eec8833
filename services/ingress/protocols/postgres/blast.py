"""The blast radius of a held UPDATE or DELETE, found before people are asked: `ApprovalPreviewed`.

The planner's estimate, and with `preview: count` an exact count with the same predicate and the same values, both on
a read-only connection of our own. What the session's open transaction has changed is not seen there. The event is
always sent; what could not be told is said in our words.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from schemas.events import ApprovalPreviewed, OperationAttempted
from schemas.verdicts import Verdict
from services.ingress.classify.sql.operation import Bind
from services.ingress.classify.sql.preview import Preview, preview, unqualified
from services.ingress.classify.sql.statements import Statement
from services.ingress.protocols.postgres.codec import frontend
from services.ingress.protocols.postgres.side import Side, SideFailed, beside
from services.ingress.protocols.postgres.state import State

#: Seconds for each of the two questions; people wait for the answer.
TIMEOUT = 10.0


async def tell(
    state: State, attempt: OperationAttempted, held: Verdict, statement: Statement, binds: Sequence[Bind]
) -> None:
    """Find it out and publish it, if the terms ask for it."""
    terms = held.terms
    if terms is None or terms.preview == "none" or held.approval_id is None:
        return
    counting = preview(statement)
    if not counting.problem and not await _same_tables(state, statement):
        counting = Preview(problem="which table it is about is not known outside of its session")
    estimated, counted, problems = None, None, []
    if counting.problem:
        problems.append(counting.problem)
    else:
        try:
            estimated = await _estimate(state, counting, binds)
        except SideFailed as error:
            problems.append(f"no estimate: {error}")
        if terms.preview == "count":
            try:
                counted = await _count(state, counting, binds)
            except SideFailed as error:
                problems.append(f"no count: {error}")
    emitter = state.parts.emitter
    emitter.later(
        ApprovalPreviewed(
            ingress=attempt.ingress,
            ingress_seq=emitter.next_sequence(),
            session_id=attempt.session_id,
            traceparent=attempt.traceparent,
            approval_id=held.approval_id,
            operation_id=attempt.operation_id,
            estimated_rows=estimated,
            counted_rows=counted,
            problem="; ".join(problems),
        )
    )


async def _same_tables(state: State, statement: Statement) -> bool:
    """Whether our own connection finds the same tables by the names the statement has without a schema."""
    names = unqualified(statement)
    if not names:
        return True
    catalog = await state.parts.catalogs.of(state.front.target)
    if catalog is None or not state.as_elsewhere:
        return False
    return not any(table.temporary for name in names for table in catalog.relations("", name))


async def _estimate(state: State, counting: Preview, binds: Sequence[Bind]) -> int:
    """Rows that the planner expects below the count's aggregate: those that the statement would change."""
    rows = await _ask(state, f"EXPLAIN (FORMAT JSON) {counting.sql}", counting, binds)
    try:
        return _counted_rows(orjson.loads(rows[0][0] or "")[0]["Plan"])
    except (ValueError, LookupError, TypeError):
        raise SideFailed("the plan could not be read") from None


def _counted_rows(plan: dict[str, Any]) -> int:
    """Below the topmost aggregate; a partial one of a parallel plan has another below it."""
    while "Aggregate" in plan["Node Type"] or plan["Node Type"].startswith("Gather"):
        workers = plan.get("Workers Planned", 0)
        below = plan["Plans"][0]
        if workers and "Aggregate" in below["Node Type"]:
            scanned = _counted_rows(below)
            return int(scanned * (workers + max(0.0, 1 - 0.3 * workers)))  # get_parallel_divisor, costsize.c
        plan = below
    return int(plan["Plan Rows"])


async def _count(state: State, counting: Preview, binds: Sequence[Bind]) -> int:
    rows = await _ask(state, counting.sql, counting, binds)
    try:
        return int(rows[0][0] or "")
    except (ValueError, IndexError):
        raise SideFailed("the count could not be read") from None


async def _ask(state: State, sql: str, counting: Preview, binds: Sequence[Bind]) -> list[tuple[str | None, ...]]:
    settings = {name: state.upstream.parameters[name] for name in ("search_path",) if name in state.upstream.parameters}
    used = [binds[number - 1] for number in counting.parameters if number <= len(binds)]
    if used and state.upstream.parameters.get("client_encoding", "UTF8") != "UTF8":
        raise SideFailed("the values are not in UTF8")
    async with beside(state.front.target, TIMEOUT, settings) as side:
        return await _run(side, sql, used)


async def _run(side: Side, sql: str, binds: Sequence[Bind]) -> list[tuple[str | None, ...]]:
    bind = frontend.Bind(
        b"",
        b"",
        formats=tuple(int(bind.binary) for bind in binds),
        parameters=tuple(bind.raw for bind in binds),
    )
    return await side.extended(sql, bind, [bind.type for bind in binds])
