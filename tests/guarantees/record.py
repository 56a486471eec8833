"""The record after the storm: what ClickHouse says, compared with the stream, the upstream and the clients.

`drained` waits until nothing is under way any more; `problems` names every breach of a guarantee, in words, so that
the fault runner counts the same as the tests assert. Counterparts: traffic.py (sent), upstream.py (received).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from nats.js.errors import NotFoundError

from schemas.subjects import AUDIT_STREAM
from tests.conftest import until
from tests.guarantees.stack import Stack
from tests.guarantees.traffic import Sent

#: Seconds until everything is stored and closed: an ingress's time to live, the recorder's grace, and a busy machine.
DRAIN = 90.0
#: Seconds until what was sent again is stored behind what came later.
SETTLED = 20.0

#: Attempts only: what was turned away at the door has no resources.
_OPERATIONS = """
SELECT resources[1] AS path, operation_id, outcome, status, ingress FROM operations
WHERE connector = 'vendor' AND notEmpty(resources)
"""
_EVENTS = "SELECT epoch, stream_seq, event_id, type FROM events WHERE stream = 'AUDIT'"
_SECOND_OUTCOMES = """
SELECT operation_id, count() AS n FROM outcomes WHERE NOT presumed GROUP BY operation_id HAVING n > 1
"""
#: What ingresses counted and what is on record, or told as never stored (services/recorder/completeness.py).
_LOST_NUMBERS = """
SELECT ingress, max(number) - uniqExact(number) AS lost FROM (
    SELECT ingress, ingress_seq AS number FROM events WHERE ingress_seq > 0
    UNION ALL
    SELECT ingress, toUInt64(JSONExtractUInt(attributes, 'unjudged_seq')) FROM outcomes
    WHERE attributes LIKE '%"unjudged_seq"%'
)
GROUP BY ingress HAVING lost > 0
"""

#: Rows of the view by nonce; more than one for a nonce is a fault.
Operations = dict[str, list[dict[str, Any]]]


class Unavailable(Exception):
    """The audit endpoint does not answer, or not with a result."""


@dataclass(frozen=True)
class Audit:
    """The recorder's own read-only ClickHouse endpoint, as an auditor uses it."""

    stack: Stack

    async def sql(self, query: str) -> list[dict[str, Any]]:
        """Rows of a query. Raises Unavailable."""
        recorder = next(copy for copy in self.stack.copies.values() if copy.role == "recorder")
        password = self.stack.data.audit_password.read_text()
        url = f"http://{recorder.listening['clickhouse']}/"
        fields = {"X-ClickHouse-User": "auditor", "X-ClickHouse-Key": password, "X-ClickHouse-Format": "JSONEachRow"}
        try:
            async with self.stack.http.post(url, data=query, headers=fields) as reply:
                text = await reply.text(errors="replace")  # sealed content is no text
        except aiohttp.ClientError as error:
            raise Unavailable(str(error)) from error
        if reply.status != 200:
            raise Unavailable(text)
        return [json.loads(line) for line in text.split("\n") if line]  # sealed bytes may read as other line ends

    async def one(self, query: str) -> dict[str, Any]:
        """The only row."""
        (row,) = await self.sql(query)
        return row

    async def rows_when(self, query: str, timeout: float = DRAIN) -> list[dict[str, Any]]:
        """Ask until there is a row; the deadline only ends a failing test."""

        async def ask() -> list[dict[str, Any]]:
            try:
                return await self.sql(query)
            except Unavailable:
                return []

        rows: list[dict[str, Any]] = await until(ask, timeout)
        return rows


async def ingresses(stack: Stack) -> set[str]:
    """The ids of all ingress processes on record."""
    return {row["ingress"] for row in await Audit(stack).sql("SELECT DISTINCT ingress FROM attempts")}


async def last_seq(stack: Stack) -> int:
    """The stream's end."""
    return (await stack.admin.jetstream().stream_info(AUDIT_STREAM)).state.last_seq


async def stored(stack: Stack) -> bool:
    """Whether ClickHouse has the stream's last message."""
    last = await last_seq(stack)
    try:
        row = await Audit(stack).one("SELECT max(stream_seq) AS last FROM events WHERE stream = 'AUDIT'")
    except Unavailable:
        return False
    return int(row["last"]) >= last


async def drained(stack: Stack) -> None:
    """Until every event is stored and every attempt has an outcome. Raises AssertionError with what is left."""
    left = ""

    async def nothing_left() -> bool:
        nonlocal left
        left = await _left(stack)
        return not left

    try:
        await until(nothing_left, DRAIN)
    except TimeoutError:
        raise AssertionError(f"after {DRAIN:.0f} s: {left}") from None


async def _left(stack: Stack) -> str:
    """What keeps the record from being complete, in words; empty when nothing does."""
    if not await stored(stack):
        return "events are not stored"
    try:
        rows = await Audit(stack).sql("SELECT operation_id, ingress FROM operations WHERE outcome = ''")
    except Unavailable as error:
        return str(error)
    # Asked again: a closing outcome may have been published in between.
    return f"{len(rows)} without an outcome, such as {rows[:3]}" if rows or not await stored(stack) else ""


@dataclass
class Findings:
    """What was counted, and what is wrong."""

    problems: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    duplicates: int = 0
    missing: int = 0

    def expect(self, wrong: Iterable[object], words: str) -> int:
        """Note a problem for these; returns how many there are."""
        found = list(wrong)
        if found:
            self.problems.append(f"{words}: {len(found)}, such as {found[:3]}")
        return len(found)


async def examine(stack: Stack, sent: Iterable[Sent], dead: Collection[str] = (), after: int = 0) -> Findings:
    """Hold the record of what was `sent` against everything else; `dead` are the ids of ingresses that were killed.

    Of the stream only the messages behind sequence `after` are read: those up to it were compared before.
    """
    findings, audit, everything = Findings(), Audit(stack), list(sent)
    nonces = {item.nonce for item in everything}
    received = Counter({nonce: times for nonce, times in stack.upstream.received.items() if nonce in nonces})
    operations = defaultdict(list)
    for row in await audit.sql(_OPERATIONS):
        if (nonce := row["path"].rpartition("/")[2]) in nonces:
            operations[nonce].append(row)
    _operations(findings, received, operations, set(dead))
    _replies(findings, received, operations, everything)
    findings.expect(stack.upstream.mixed_up, "another request's body")
    findings.duplicates += findings.expect(await audit.sql(_SECOND_OUTCOMES), "second outcomes")
    await _events(findings, stack, audit, after)
    findings.expect(await lost_numbers(stack, dead), "numbers without an event")
    return findings


def _operations(findings: Findings, received: Counter[str], operations: Operations, dead: set[str]) -> None:
    """G2, G6: what reached the upstream is on record once, with one outcome."""
    findings.operations = sum(map(len, operations.values()))
    findings.outcomes.update(row["outcome"] for rows in operations.values() for row in rows)
    findings.missing += findings.expect((n for n in received if n not in operations), "forwarded but not on record")
    findings.duplicates += findings.expect((n for n, rows in operations.items() if len(rows) > 1), "on record twice")
    findings.duplicates += findings.expect((n for n, times in received.items() if times > 1), "forwarded twice")
    findings.expect((n for n, rows in operations.items() if not all(row["outcome"] for row in rows)), "no outcome")
    rows = [row for found in operations.values() for row in found if row["outcome"] == "unknown"]
    findings.expect((row["operation_id"] for row in rows if row["ingress"] not in dead), "unknown of a live ingress")


def _replies(findings: Findings, received: Counter[str], operations: Operations, sent: list[Sent]) -> None:
    """G1: what was answered is what happened, and is what is on record."""
    ok = [item.nonce for item in sent if item.status == 200]
    refused = [item.nonce for item in sent if item.status not in (200, None)]
    findings.expect((nonce for nonce in ok if nonce not in received), "200 but never forwarded")
    findings.expect((nonce for nonce in refused if nonce in received), "refused but forwarded")
    findings.expect(({i.status for i in sent} - {200, 503, None}), "statuses nobody expected")
    outcome = {nonce: rows[0]["outcome"] for nonce, rows in operations.items()}
    findings.expect((n for n in ok if outcome.get(n) not in ("forwarded", "unknown")), "200 but not told as forwarded")
    findings.expect((n for n in refused if outcome.get(n) == "forwarded"), "refused but told as forwarded")


async def _events(findings: Findings, stack: Stack, audit: Audit, after: int) -> None:
    """G7: every message of the stream is in ClickHouse once, under its own sequence."""
    rows = await audit.sql(_EVENTS)
    ids, places = Counter(r["event_id"] for r in rows), Counter((r["epoch"], int(r["stream_seq"])) for r in rows)
    findings.duplicates += findings.expect((i for i, n in ids.items() if n > 1), "events stored twice")
    findings.duplicates += findings.expect((p for p, n in places.items() if n > 1), "sequences stored twice")
    findings.expect(sorted({r["epoch"] for r in rows})[1:], "the stream began anew, or went back")
    by_place = {int(row["stream_seq"]): row["event_id"] for row in rows}
    messages = await messages_of(stack, after)
    lost = (seq for seq, event_id in messages.items() if by_place.get(seq) != event_id)
    findings.missing += findings.expect(lost, "in the stream, not in ClickHouse")
    findings.missing += findings.expect(set(range(1, max(by_place, default=0) + 1)) - by_place.keys(), "holes")
    letters = await audit.sql("SELECT stream_seq, reason FROM dead_letters")
    findings.expect(letters, "dead letters")


async def lost_numbers(stack: Stack, dead: Collection[str] = ()) -> list[dict[str, Any]]:
    """Living ingresses with a number that is not accounted for, be it in a moment: a false alarm of lost events."""
    lost: list[dict[str, Any]] = []

    async def none() -> bool:
        nonlocal lost
        lost = [row for row in await Audit(stack).sql(_LOST_NUMBERS) if row["ingress"] not in dead]
        return not lost

    with suppress(TimeoutError):
        await until(none, SETTLED)
    return lost


async def messages_of(stack: Stack, after: int = 0) -> dict[int, str]:
    """Sequence to event id of every message that the AUDIT stream holds behind `after`."""
    jetstream = stack.admin.jetstream()
    state = (await jetstream.stream_info(AUDIT_STREAM)).state
    found: dict[int, str] = {}
    for seq in range(max(after + 1, state.first_seq), state.last_seq + 1):
        try:
            message = await jetstream.get_msg(AUDIT_STREAM, seq, direct=True)
        except NotFoundError:
            continue
        found[seq] = json.loads(message.data or b"{}")["event_id"]
    return found
