"""The message: what it tells, and that no text of a stranger is live, invisible, or too long for Slack."""

import html
import unicodedata
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from examples.slack_standin.blockkit import MESSAGE_TEXT, message_complaints, text_length, view_complaints
from examples.slack_standin.mrkdwn import code_blocks, mrkdwn_texts, references
from schemas.identity import Identity
from schemas.verdicts import MaskObligation, Obligations, Requirement
from services.approver.pending import Approve, Deny, move
from services.approver.record import Held, asked
from services.approver.slack.blocks import APPROVE, DENY, message, summary
from services.approver.slack.modal import break_glass_form, deny_form, refusal_view
from services.approver.slack.text import Excerpt
from services.approver.slack.words import duration, windows
from tests.approver.builders import AGENT, DBA, SECURITY, person, question

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALICE = person("alice")
NASTY = [
    "```", "`", "<!channel>", "<@U0ALICE>", "<https://evil.example|click>", "&lt;", "&", "\u202e", "\u200b", "\ufeff",
    "\x00", "\x1b[31m", "\r", "\n", "\t", "\u2028", "\U000e0041", "\u3164", "*b*", "_i_", ":boom:", "#general", "@here",
    "http://evil.example", "é", "漢", "\U0001f600", "\ud800", "a" * 500,
]  # fmt: skip
hostile = st.lists(st.sampled_from(NASTY) | st.text(max_size=40), max_size=60).map("".join)


def actions(record: Held) -> list[str]:
    rows = [block["elements"] for block in message(record)[1] if block["type"] == "actions"]
    return [element["action_id"] for row in rows for element in row]


def shown(record: Held) -> str:
    return html.unescape("\n".join(mrkdwn_texts(message(record)[1])))


def settled(record: Held, action) -> Held:
    result = move(record, action, NOW + timedelta(seconds=61))
    assert isinstance(result, Held)
    return result


def test_it_says_who_what_why_until_when_and_whose_words() -> None:
    fields = {"fields": ["stripe-account: acct_mine"]}
    request = question(now=NOW, method="POST", path="/v1/refunds", query={"dry": "no"}, attributes=fields)
    request = request.model_copy(
        update={
            "findings": {"EMAIL": 2},
            "obligations": Obligations(mask=MaskObligation(response=("pii",), columns=("customers.email",))),
        }
    )
    text = shown(asked(request))
    for expected in (
        "agent-7", "agent@example.com", "agents", "sql.delete", "orders", "env=prod", "POST /v1/refunds?dry=no",
        "DELETE FROM orders WHERE id = 7", "writes-need-a-person", "the customer asked for it", "EMAIL × 2",
        "response pii", "customers.email", "Still needed: `1 more of dba`", "stripe-account: acct_mine",
        request.approval_id, "ab" * 32,
        f"<!date^{int(NOW.timestamp()) + 900}^",
    ):  # fmt: skip
        assert expected in text


def test_the_buttons_are_what_the_terms_allow() -> None:
    def offered(**terms: float) -> tuple[float, ...]:
        return windows(asked(question(now=NOW, **terms)))

    assert actions(asked(question(now=NOW))) == [APPROVE, "countersign_grant_900", "countersign_grant_3600", DENY]
    assert actions(asked(question(now=NOW, grant=0))) == [APPROVE, DENY]
    assert actions(asked(question(DBA, SECURITY, now=NOW))) == [APPROVE, DENY]
    assert (offered(grant=1800), offered(grant=300)) == ((900,), (300,))
    assert [duration(seconds) for seconds in (45, 900, 3600, 5400)] == ["45 s", "15 min", "1 h", "1 h 30 min"]


def test_a_grant_spells_out_its_scope_before_it_is_given() -> None:
    [row] = [block for block in message(asked(question(now=NOW)))[1] if block["type"] == "actions"]
    text = row["elements"][2]["confirm"]["text"]["text"]
    assert "without asking whatever the rule writes-need-a-person asks about from agent-7" in text
    assert "on orders, for 1 h" in text


def test_once_settled_it_says_who_and_when_and_the_buttons_are_gone() -> None:
    denied = settled(asked(question(now=NOW)), Deny(ALICE, "too <risky>"))
    assert actions(denied) == []
    assert "alice@example.com" in shown(denied)
    assert "too <risky>" in shown(denied)
    assert f"<!date^{int(NOW.timestamp()) + 61}^" in shown(denied)
    assert message(denied)[0].startswith("⛔ Denied")


def test_progress_names_those_who_approved() -> None:
    record = settled(asked(question(DBA.model_copy(update={"quorum": 2}), now=NOW)), Approve(ALICE))
    assert "Still needed: `1 more of dba`" in shown(record)
    assert "alice@example.com" in shown(record)
    assert APPROVE in actions(record)


def test_a_long_statement_shows_its_head_its_tail_how_much_is_missing_and_where_to_read_it() -> None:
    statement = "SELECT 1; -- harmless\n" + "-- padding\n" * 2000 + "DROP TABLE customers"
    record = asked(question(now=NOW, statement=statement))
    text = shown(record)
    assert "SELECT 1; -- harmless" in text
    assert "DROP TABLE customers" in text
    assert f"of {len(statement):,} characters are left out" in text
    assert f"countersign approvals show {record.approval_id}" in text


@given(st.integers(1, 6000))
def test_nothing_is_missing_unless_it_is_said(length: int) -> None:
    statement = "".join(chr(0x21 + index % 90) for index in range(length)).replace("`", "'")
    record = asked(question(now=NOW, statement=statement))
    blocks = [found for text in mrkdwn_texts(message(record)[1]) for found in code_blocks(text)]
    pieces = [block for block in blocks if block and block in statement]
    whole = "left out" not in shown(record)
    assert whole == ("".join(pieces[:2]) == statement or pieces[0] == statement)


@settings(max_examples=150, deadline=None)
@given(hostile, hostile, hostile, st.sampled_from([(), (DBA, SECURITY)]), st.booleans())
def test_hostile_text_is_inert_visible_and_within_slacks_limits(
    one: str, two: str, three: str, requirements: tuple[Requirement, ...], decided: bool
) -> None:
    identity = Identity(subject=one or "x", issuer="i", email=two, groups=(three, one), owner=two, kind=three)
    many = tuple(
        Requirement(rule=requirement.rule, by=("dba", one, two)) for requirement in requirements or (DBA,) for _ in "12"
    )
    request = question(
        *many,
        now=NOW,
        identity=identity,
        statement=three,
        action=one or "a",
        method=two[:9],
        path=one,
        resources=(two,),
        attributes={"fields": [one, three]} if two else {},
    )
    request = request.model_copy(
        update={
            "findings": {one: 1},
            "asked": request.asked.model_copy(update={"reason": two}),
            "connector": request.connector.model_copy(update={"tags": {one: two}}),
            "policy_version": three,
        }
    )
    record = asked(request)
    if decided:
        record = settled(record, Deny(ALICE.model_copy(update={"subject": f"r{one}", "email": f"r{two}"}), three))
    text, blocks = message(record)
    assert message_complaints(blocks) == []
    assert text_length(blocks) <= MESSAGE_TEXT
    assert view_complaints(deny_form(record.approval_id, summary(record))) == []
    assert view_complaints(break_glass_form(record.approval_id, summary(record), "V1|x")) == []
    assert view_complaints(refusal_view(one or "x")) == []
    live = {found.split("^")[0] for part in [text, *mrkdwn_texts(blocks)] for found in references(part)}
    assert live <= {"!date"}
    for part in [text, *mrkdwn_texts(blocks)]:
        assert part.count("`") % 2 == 0
        assert all(character in "\n\t" or _has_ink(character) for character in part)


def _has_ink(character: str) -> bool:
    return character == " " or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}


@given(hostile, st.integers(10, 400))
def test_an_excerpt_fits_and_counts_what_it_leaves_out(text: str, limit: int) -> None:
    excerpt = Excerpt.of(text, limit)
    assert len(excerpt.head) + len(excerpt.tail) <= limit
    assert excerpt.whole or excerpt.left_out <= len(text)
    if excerpt.whole:
        assert excerpt.head == "".join(Excerpt.of(character, 20).head for character in text)


def test_the_requester_cannot_forge_a_button_or_a_decision_by_name() -> None:
    identity = AGENT.model_copy(update={"subject": "agent`\n*Approved* by <@U0ALICE>"})
    text = "\n".join(mrkdwn_texts(message(asked(question(now=NOW, identity=identity)))[1]))
    assert "<@U0ALICE>" not in text
    assert "agent｀⏎*Approved* by &lt;@U0ALICE&gt;" in text
