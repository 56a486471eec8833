"""An approval as a terminal shows it: a few lines in a list, and the whole of it to read before one decides.

Pure. What an agent wrote has no control characters left (`printable`) and
stands behind a bar, so that no line of it passes for one of ours.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from countersign.reviewing import printable, short

View = dict[str, Any]

_LABEL = 14
_OPEN = ("requested", "partly_approved")


def row(view: View, now: datetime) -> str:
    """Three lines: id, who wants what where, and for how long; what it would do; who is needed."""
    head = f"{view['approval_id']}  {_what(view)}, asked by {printable(view['subject'])}{_left(view, now)}"
    return "\n".join(
        [head, *(f"    {text}" for text in (short(_doing(view)), printable(view.get("detail", ""))) if text)]
    )


def whole(view: View, now: datetime) -> Iterator[str]:
    """All lines of one approval."""
    yield f"{_state(view)}: {_what(view)}, asked by {printable(view['subject'])}"
    if view.get("detail"):
        yield f"  {printable(view['detail'])}"
    yield ""
    for label, text in _facts(view, now):
        if text:
            yield f"  {label:<{_LABEL}} {printable(text)}"
    yield ""
    if view.get("caller_reason"):
        yield "The caller's own words, which nobody checked:"
        yield from _quoted(view["caller_reason"])
        yield ""
    statement = view.get("statement") or ""
    if doing := (f"{view.get('method', '')} {view.get('path', '')}".strip()):
        yield from _quoted(doing)
    if statement:
        yield f"What it would do, all {len(statement):,} characters:"
        yield from _quoted(statement)
    if steps := view.get("history"):
        yield ""
        yield "So far:"
        yield from (_step(step) for step in steps)


def _state(view: View) -> str:
    if view["state"] in _OPEN:
        return "Approval needed"
    name = "approved, and used" if view["state"] == "spent" else printable(view["state"])
    return (f"{name} in an emergency" if view.get("break_glass") else name).capitalize()


def _what(view: View) -> str:
    return f"{printable(view['action'])} on {printable(view['connector'])}"


def _doing(view: View) -> str:
    return view.get("statement") or f"{view.get('method', '')} {view.get('path', '')}".strip()


def _facts(view: View, now: datetime) -> Iterator[tuple[str, str]]:
    yield "Approval", view["approval_id"]
    yield "Who", "  ".join(filter(None, (view["subject"], view.get("email", ""))))
    yield "Groups", ", ".join(view.get("groups", ()))
    yield "Touches", ", ".join(view.get("resources", ()))
    yield "Would change", _radius(view.get("preview") or {})
    for requirement in view.get("requirements", ()):
        yield "Why", f"rule {requirement['rule']} asks {' or '.join(requirement['by'])}"
    yield "Escalated", ", ".join(view.get("escalated", ()))
    yield "Approved by", ", ".join(view.get("approved_by", ()))
    yield "Asked", _moment(view["requested_at"])
    yield "Until", _moment(view["expires_at"]) + _left(view, now)
    if view.get("grant_seconds"):
        uses = f", at most {view['max_uses']} times" if view.get("max_uses") else ""
        yield "Grant", f"up to {_duration(view['grant_seconds'])} may be given with a yes{uses}"
    yield "Ended", _use(view.get("use") or {})
    yield "Operation", view.get("operation_id", "")
    yield "Digest", view.get("digest", "")


def _radius(preview: View) -> str:
    expected, counted = preview.get("estimated_rows"), preview.get("counted_rows")
    parts = [f"the planner expects {expected:,} rows"] if expected is not None else []
    parts += [f"counted: {counted:,}"] if counted is not None else []
    return "; ".join([*parts, *filter(None, [preview.get("problem", "")])])


def _use(use: View) -> str:
    if not use:
        return ""
    status = f", status {use['status']}" if use.get("status") else ""
    error = f": {use['error']}" if use.get("error") else ""
    return f"{use.get('outcome', '')}{status}, {use.get('rows', 0):,} rows, {use.get('total_ms', 0):,.0f} ms{error}"


def _step(step: View) -> str:
    by = f" by {step['by']}" if step.get("by") else ""
    why = f": {step['reason']}" if step.get("reason") else ""
    return f"  {_moment(step['at'])}  {printable((step.get('what') or step['state']) + by + why)}"


def _quoted(text: str) -> Iterator[str]:
    return (f"| {line}" for line in printable(text, keep_lines=True).split("\n"))


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


def _left(view: View, now: datetime) -> str:
    seconds = (datetime.fromisoformat(view["expires_at"]) - now).total_seconds()
    return f" ({_duration(seconds)} left)" if seconds > 0 and view["state"] in _OPEN else ""


def _duration(seconds: float) -> str:
    """`45 s`, `14 min`, `1 h 30 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds // 60), 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes))
