"""An approval in the terminal: what an approver needs, all of the statement, and nothing that steers the screen."""

from datetime import timedelta
from typing import Any

from countersign.reading import row, whole
from schemas.approvals import ApprovalView, Preview, Use
from schemas.events import ApprovalState, Outcome
from services.approver.pending import Approve, move
from services.approver.record import Held, asked
from services.approver.views import view
from tests.approver.builders import DBA, person, question

STATEMENT = "DELETE FROM orders\n  WHERE id = 7 -- \x1b[2Jhidden\u202e"


def shown(record: Held) -> dict[str, Any]:
    """As the command gets it: JSON."""
    found: dict[str, Any] = ApprovalView.model_validate(view(record)).model_dump(mode="json")
    return found


def test_the_list_shows_what_decides_at_a_glance() -> None:
    request = question(statement=STATEMENT)
    text = row(shown(asked(request)), request.at + timedelta(minutes=1))
    assert text.splitlines()[0] == f"{request.approval_id}  sql.delete on orders, asked by agent-7 (14 min left)"
    assert "DELETE FROM orders WHERE id = 7" in text
    assert "waits for 1 more of dba" in text
    assert len(text.splitlines()) == 3


def test_show_has_the_whole_statement_and_how_it_stands() -> None:
    request = question(DBA.model_copy(update={"quorum": 2}), statement=STATEMENT + "x" * 10_000 + "\nthe end")
    record = asked(request).model_copy(
        update={"preview": Preview(at=request.at, estimated_rows=1240, counted_rows=1238)}
    )
    approved = move(record, Approve(person("alice"), reason="seen"), request.at + timedelta(seconds=5))
    assert isinstance(approved, Held)
    text = "\n".join(whole(shown(approved), request.at))
    for words in (
        "Approval needed: sql.delete on orders, asked by agent-7",
        "the planner expects 1,240 rows; counted: 1,238",
        "Approved by    alice@example.com",
        "up to 1 h may be given with a yes",
        "| the customer asked for it",
        "| the end",
        "partly_approved by alice@example.com: seen",
        request.operation.digest,
        "15 min left",
    ):
        assert words in text, words
    assert text.count("x" * 10_000) == 1
    assert not set(text) & {"\x1b", "\u202e"}
    assert "\nhidden" not in text


def test_what_is_settled_says_how() -> None:
    request = question()
    use = Use(at=request.at, operation_id=request.operation_id, outcome=Outcome.FORWARDED, rows=3, total_ms=12.5)
    record = asked(request).model_copy(update={"state": ApprovalState.SPENT, "break_glass": True, "use": use})
    text = "\n".join(whole(shown(record), request.at))
    assert text.startswith("Approved, and used in an emergency: ")
    assert "forwarded, 3 rows, 12 ms" in text
    assert "left" not in text
