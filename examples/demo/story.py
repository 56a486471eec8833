"""What happens in the demo, and what must come of it. Anything else raises Different."""

import asyncio
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from examples import sample_database, sample_llm, sample_vendor
from examples.demo import database, screen
from examples.demo.agent import TASK, assistant
from examples.demo.stage import CHANNEL, REVIEWER, Stage

#: The audit, as an auditor would ask for it.
QUERY = """\
SELECT formatDateTime(started_at, '%T') AS time, subject AS who, action AS what, resources[1] AS on_what,
       rules[1] AS rule, arrayStringConcat(approved_by, ', ') AS approved_by, outcome, status,
       round(total_ms) AS ms
FROM operations WHERE subject = 'support-agent' ORDER BY started_at"""

EXPECTED = [
    ("llm.chat", "support-may-chat", "", "forwarded", "200"),
    ("http.get", "support-may-look", "", "forwarded", "200"),
    ("llm.chat", "support-may-chat", "", "forwarded", "200"),
    ("http.delete", "customers-are-not-deleted-by-agents", "", "denied", "403"),
    ("llm.chat", "support-may-chat", "", "forwarded", "200"),
    ("http.post", "refunds-need-a-person", REVIEWER.email, "forwarded", "201"),
    ("llm.chat", "support-may-chat", "", "forwarded", "200"),
    ("sql.select", "support-may-read-without-addresses", "", "forwarded", "00000"),
    ("sql.drop", "tables-are-not-dropped", "", "denied", "42501"),
    ("sql.select", "support-may-read-without-addresses", "", "forwarded", "00000"),
    ("sql.update", "writes-need-a-person-who-sees-how-many-rows", REVIEWER.email, "forwarded", "00000"),
]
#: Where in it a person approved.
APPROVED = (5, 10)
#: Seconds for a person to click in a real Slack, or for the stand-in to be asked.
PATIENCE = 300


async def tell(stage: Stage) -> None:
    """Play it."""
    screen.title("Countersign: an AutoGen agent at work, and everything it does countersigned")
    token = await _identify(stage)
    await _work(stage, token)
    await _database(stage, token)
    await _audit(stage)
    await _no_keys(stage)


async def _identify(stage: Stage) -> str:
    screen.chapter(1, "The agent gets a token, and no key")
    screen.say(
        "The keys of the model provider and of the shop stay in the gateway. The agent's token says who it is; "
        "your own OpenID provider's tokens do as well."
    )
    token = await stage.countersign("token", "--subject", "support-agent", "--groups", "support-agents")
    screen.event("gateway", stage.gateway)
    screen.event("agent", f"token of {len(token)} characters: {token[:24]}…")
    return token


async def _work(stage: Stage, token: str) -> None:
    screen.chapter(2, "It works: one call is allowed, one is denied, one needs a person")
    screen.event("user", TASK, "yellow")
    agent, client = assistant(stage.gateway, token, screen.event)
    clicking = asyncio.gather(_click(stage))
    try:
        async with asyncio.timeout(PATIENCE + 60):
            result = await agent.run(task=TASK)
        await clicking
    finally:
        clicking.cancel()
        await client.close()
    answer = str(getattr(result.messages[-1], "content", ""))
    screen.event("agent", answer, "yellow", whole=True)
    screen.expect("the order was read", "delivered" in answer, True)
    screen.expect("the deletion was refused in the rule's own words", "open a privacy ticket" in answer, True)
    screen.expect("the refund was paid once a person had approved it", "'state': 'paid'" in answer, True)


async def _database(stage: Stage, token: str) -> None:
    screen.chapter(3, "The shop's database, through the same gate")
    screen.say("An ordinary PostgreSQL driver: the connector is the database's name, the token is the password.")
    clicking = asyncio.gather(_click(stage))
    try:
        await database.ask(stage, token)
        await clicking
    finally:
        clicking.cancel()


async def _click(stage: Stage) -> None:
    """Approve in Slack: the stand-in's button, or a person's own click."""
    if stage.slack is None:
        screen.event("slack", f"please click Approve in {os.environ.get('SLACK_CHANNEL', CHANNEL)}", "green")
        return
    message = await stage.slack.wait_for_message(CHANNEL, lambda each: bool(_approve_button(each.blocks)), PATIENCE)
    for line in _lines(message.blocks):
        screen.event("slack", line, "green")
    screen.event("slack", f"{REVIEWER.name} clicks [Approve once]", "green")
    delivery = await stage.slack.click(REVIEWER.name, message.ts, _approve_button(message.blocks))
    screen.expect("Slack's click was acknowledged in time", delivery.acked, True)


def _approve_button(blocks: Sequence[dict[str, Any]]) -> str:
    buttons = [element for block in blocks for element in block.get("elements", []) if element["type"] == "button"]
    return next((b["action_id"] for b in buttons if "once" in b["text"]["text"].lower()), "")


def _lines(blocks: Sequence[dict[str, Any]]) -> list[str]:
    """The message as a reader sees it, a line for each field, without the buttons."""
    lines: list[str] = []
    for block in blocks:
        lines += [_flat(field["text"]) for field in block.get("fields", [])]
        if "text" in block:
            lines += [_flat(line) for line in block["text"]["text"].splitlines()]
    return [line for line in lines if line and not line.endswith(": –")]


def _flat(text: str) -> str:
    """Slack's markup, read aloud: `*Who*` over its value becomes `Who: value`."""
    plain = re.sub(r"<!date\^[^|]*\|([^>]*)>", r"\1", text)
    return plain.replace("*\n", ": ").replace("*", "").replace("`", "").strip()


async def _audit(stage: Stage) -> None:
    screen.chapter(4, "The record: ClickHouse SQL, and who approved what")
    screen.code(QUERY)
    rows = await _rows(stage)
    screen.table(list(rows[0]), [list(row.values()) for row in rows])
    approvers = {at: REVIEWER.email if stage.slack else rows[at]["approved_by"] for at in APPROVED}
    wanted = [(what, rule, approvers.get(at, ""), *rest) for at, (what, rule, _, *rest) in enumerate(EXPECTED)]
    got = [(r["what"], r["rule"], r["approved_by"], r["outcome"], r["status"]) for r in rows]
    screen.expect("every operation is there once, with its rule, its approver and its outcome", got, wanted)


async def _rows(stage: Stage) -> list[dict[str, Any]]:
    """The audit's rows, once the recorder has written the last of them."""
    for _ in range(100):
        lines = await stage.countersign("audit", "sql", QUERY, "--format", "JSONEachRow")
        rows = [json.loads(line) for line in lines.splitlines()]
        if len(rows) >= len(EXPECTED) and all(row["outcome"] for row in rows):
            return rows
        await asyncio.sleep(0.2)
    raise screen.Different(f"the audit has {len(rows)} of {len(EXPECTED)} operations")


async def _no_keys(stage: Stage) -> None:
    screen.chapter(5, "And the keys?")
    async with httpx.AsyncClient(headers={"X-Shop-Key": sample_vendor.API_KEY}) as http:
        refunds = (await http.get(f"{stage.shop}/v1/refunds")).json()
    screen.expect("the shop paid exactly one refund", len(refunds), 1)
    keys = [key.encode() for key in (sample_llm.API_KEY, sample_vendor.API_KEY, sample_database.PASSWORD)]
    found = await asyncio.to_thread(_holding, stage, keys)
    screen.expect("no key is in any log, event or table of the gateway", found, [])
    addresses = await asyncio.to_thread(_holding, stage, [b"ada@example.com", b"alan@example.com"])
    screen.expect("nor is a customer's address", addresses, [])


def _holding(stage: Stage, keys: list[bytes]) -> list[str]:
    return [name for name, held in _files(stage.directory) if any(key in held for key in keys)]


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Every file that stays long enough to be read: the gateway runs, and its stores come and go with parts."""
    for place, _, names in os.walk(directory):
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file():
                    yield path.name, path.read_bytes()
