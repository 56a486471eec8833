"""What happened when, in the order people can follow: rows of the record as moments on one time line. Pure.

| moment | from | told |
|---|---|---|
| `opened`, `closed` | `sessions` | who connected from where, why it ended |
| `asked` | `operations` | what the agent attempted, in its own masked words |
| `decided` | `operations` | what policy said, by which rules |
| `held`, `answered` | `approval_decisions` | who was asked and shown what; who decided, why, after how long |
| `request`, `response` | `frames` | recorded content; what was cut, lost or erased says so |
| `ended` | `operations` | the one outcome, with what it cost and what was masked |
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from countersign.replay import llm
from countersign.replay.content import ERASED, Block, Text, block
from countersign.replay.visible import visible

Kind = Literal["opened", "asked", "decided", "held", "answered", "request", "response", "ended", "closed", "note"]
Row = dict[str, Any]

#: At one instant, things are told in this order.
ORDER: Final[tuple[Kind, ...]] = (
    *("opened", "asked", "decided", "held", "answered", "request", "note", "response", "ended", "closed"),
)
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True)
class Moment:
    """One thing that happened; `at` in seconds since 1970. Everything in it may be shown: controls are visible."""

    at: float
    kind: Kind
    title: str
    operation_id: str = ""
    #: Name and value, in the order to show.
    facts: tuple[tuple[str, str], ...] = ()
    block: Block | None = None
    #: What is missing here, in our words.
    missing: str = ""
    #: An operation's outcome, or an approval's state; for colour, never the only sign.
    tone: str = ""

    @property
    def place(self) -> tuple[float, int]:
        """Sorts moments."""
        return self.at, ORDER.index(self.kind)


def of_session(session: Row) -> list[Moment]:
    """When the agent connected and left. A session without either is still open, or its ingress died."""
    found = [
        Moment(
            _seconds(session["started_us"]),
            "opened",
            f"Connection opened over {visible(session['protocol'])}",
            facts=_facts(("from", session["peer"]), ("encrypted", "TLS" if session["tls"] else "no")),
        )
    ]
    if session["finished_us"]:
        found.append(
            Moment(
                _seconds(session["finished_us"]),
                "closed",
                "Connection closed",
                facts=_facts(("because", session["reason"])),
            )
        )
    return found


def of_operation(row: Row, approval: Row | None) -> list[Moment]:
    """An attempt from beginning to end; `approval` is the question that it led to, if it is its own."""
    started = _seconds(row["started_us"])
    operation_id = row["operation_id"]
    found = [
        Moment(
            started,
            "asked",
            f"{_who(row)} asks {visible(row['connector'])} for {visible(row['action'])}",
            operation_id,
            _facts(
                ("touches", ", ".join(row["resources"])),
                # Once erased, nobody can tell whether there was one.
                ("in its words", "" if row["caller_reason"] == ERASED else row["caller_reason"]),
                ("operation", operation_id),
            ),
            _statement(row["statement"]),
        )
    ]
    if approval is not None:
        found += _of_approval(approval, operation_id)
    if row["decision"] and (approval is None or (row["decision"] == "deny" and not approval["resolved_us"])):
        found.append(_decided(row, started))
    if row["outcome"]:
        found.append(_ended(row, started))
    return found


def of_frame(row: Row, expected: int | None) -> Iterator[Moment]:
    """One recorded piece; before it, the numbers between `expected` and its own, which never came."""
    at = _seconds(row["at_us"])
    if expected is not None and int(row["seq"]) > expected:
        lost = int(row["seq"]) - expected
        words = f"{lost} recorded piece{'s' if lost > 1 else ''} never came: the bus was away"
        yield Moment(at, "note", "Recording has a gap", missing=words)
    shown = block(row["media_type"], row["data"], row["direction"])
    missing = "cut here, at the recording's limit" if row["truncated"] else ""
    if row["data"] == ERASED:
        missing = "erased: its key was deleted"
    title = "Request" if row["direction"] == "request" else "Reply"
    facts = _facts(("as", row["media_type"]))
    kind: Kind = "request" if row["direction"] == "request" else "response"
    yield Moment(at, kind, title, row["operation_id"], facts, shown, missing)


def of_frames(rows: Iterable[Row], *, whole: bool) -> Iterator[Moment]:
    """All of them, in the order of their numbers; gaps can be told only in a `whole` session. Time never falls back."""
    expected: int | None = 1 if whole else None
    latest = 0
    for row in rows:
        latest = max(latest, int(row["at_us"]))
        yield from of_frame(row | {"at_us": latest}, expected)
        expected = int(row["seq"]) + 1 if whole else None


def _of_approval(row: Row, operation_id: str) -> Iterator[Moment]:
    groups = ", ".join(row["asked_groups"])
    preview = [f"{words}: {row[name]}" for name, words in _PREVIEW if row[name] is not None]
    yield Moment(
        _seconds(row["requested_us"]),
        "held",
        f"Held for {'a person' if row['quorum'] == 1 else str(row['quorum']) + ' people'}",
        operation_id,
        _facts(
            ("asked", groups),
            ("because of", ", ".join(row["rules"])),
            ("shown", "; ".join(preview)),
            ("approval", row["approval_id"]),
        ),
        tone="hold",
    )
    if row["resolved_us"]:
        people = ", ".join(row["decided_by"])
        yield Moment(
            _seconds(row["resolved_us"]),
            "answered",
            visible(row["state"]).capitalize()
            + (f" by {visible(people)}" if people else "")
            + _ALONE[row["break_glass"]],
            operation_id,
            _facts(
                ("reason", row["reason"]),
                ("after", duration(float(row["waited_seconds"] or 0))),
                ("grant", row["grant_id"]),
            ),
            tone="allow" if row["state"] in ("approved", "spent", "partly_approved") else "deny",
        )

    if int(row["revoked_us"]):
        by = visible(row["grant_revoked_by"])
        yield Moment(_seconds(row["revoked_us"]), "answered", f"Grant ended early by {by}", operation_id, tone="deny")


_ALONE: Final = {False: "", True: " alone, breaking the glass"}
_PREVIEW: Final = (("estimated_rows", "rows estimated"), ("counted_rows", "rows counted"))


def _decided(row: Row, started: float) -> Moment:
    allowed = row["decision"] == "allow"
    verb = {"allow": "Allowed", "deny": "Denied", "hold": "Held"}.get(row["decision"], visible(row["decision"]))
    people = ", ".join(row["approved_by"]) if allowed else ""
    rules = ", ".join(row["rules"])
    return Moment(
        started + float(row["decided_ms"] or 0) / 1000,
        "decided",
        f"{verb} by {visible(rules) if rules else 'no rule'}",
        row["operation_id"],
        _facts(
            ("rests on", f"the approval of {people}" if people else ""),
            ("approval", row["approval_id"] if people else ""),
            ("reason", "" if allowed else row["reason"]),
            ("policy", row["policy_version"][:12]),
        ),
        tone=row["decision"],
    )


def _ended(row: Row, started: float) -> Moment:
    at = _seconds(row["finished_us"]) if row["finished_us"] else started
    status = row["status"]
    return Moment(
        at,
        "ended",
        f"{visible(row['outcome']).capitalize()}{f', status {visible(status)}' if status else ''}",
        row["operation_id"],
        _facts(
            ("why", row["reason"] if row["outcome"] not in ("forwarded", "denied") else ""),
            ("rows", str(row["rows"]) if int(row["rows"]) else ""),
            ("bytes in", f"{int(row['request_bytes']):,}" if int(row["request_bytes"]) else ""),
            ("bytes out", f"{int(row['response_bytes']):,}" if int(row["response_bytes"]) else ""),
            ("masked", ", ".join(f"{count} {name}" for name, count in row["masked"].items())),
            ("took", duration(float(row["total_ms"]) / 1000) if row["total_ms"] else ""),
        ),
        tone=row["outcome"],
    )


def _who(row: Row) -> str:
    return visible(row["subject"] or "somebody unknown")


def _statement(text: str) -> Block | None:
    if not text:
        return None
    words = llm.asked(text)
    return Text(visible(words), raw=visible(text)) if words else Text(visible(text))


def duration(seconds: float) -> str:
    """`250 ms`, `43.9 s`, `12 min 3 s`, `2 h 5 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _facts(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, visible(value)) for name, value in pairs if value)


def _seconds(microseconds: Any) -> float:
    return int(microseconds) / _MICROSECONDS
