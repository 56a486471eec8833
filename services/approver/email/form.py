"""What the page sends, read as what a person decided. Pure."""

from collections.abc import Mapping

from schemas.approvals import Reviewer
from services.approver.pending import Approve, BreakGlass, Decision, Deny

#: Characters of a reason: the contract's limit (schemas/approvals.py, ApprovalQuery).
REASON = 2000
#: Name of the button that was pressed; `grant:900` and the like carry seconds.
DECISION = "decision"
APPROVE, GRANT, DENY, BREAK_GLASS = "approve", "grant:", "deny", "break_glass"


class FormRejected(Exception):
    """The form was not one of our page's; the words are for a person."""


def decision(fields: Mapping[str, str], by: Reviewer) -> Decision:
    """What this person decided. Raises FormRejected."""
    pressed, reason = fields.get(DECISION, ""), fields.get("reason", "").strip().replace("\r\n", "\n")
    if len(reason) > REASON:
        raise FormRejected(f"The reason is longer than {REASON:,} characters; nothing was done.")
    match pressed:
        case "approve":
            return Approve(by, reason=reason)
        case "deny":
            return Deny(by, reason)
        case "break_glass":
            return BreakGlass(by, reason)
    return Approve(by, _seconds(pressed), reason=reason)


def _seconds(pressed: str) -> float:
    digits = pressed.removeprefix(GRANT)
    if pressed.startswith(GRANT) and digits.isascii() and digits.isdigit() and len(digits) <= 9 and int(digits):
        return float(digits)
    raise FormRejected("No button of this page was pressed; nothing was done.")
