"""When a question that nobody has settled reminds people, and when it goes on to others. Pure.

Reminders come at half of the time and when a tenth of it is left, if there is time enough for them to help.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from schemas.verdicts import Requirement
from services.approver.record import Held

#: Parts of a question's life after which people are reminded.
REMIND_AFTER = (0.5, 0.9)
#: A question shorter than this (seconds) reminds nobody: the question itself is still fresh.
SHORTEST = 120.0
#: A reminder this close to the end (seconds) helps nobody any more.
TOO_LATE = 10.0


def reminders(record: Held) -> tuple[datetime, ...]:
    """The moments at which people are reminded."""
    start, end = record.request.at, record.request.terms.expires_at
    life = end - start
    if life < timedelta(seconds=SHORTEST):
        return ()
    moments = (start + life * part for part in REMIND_AFTER)
    return tuple(moment for moment in moments if moment <= end - timedelta(seconds=TOO_LATE))


def reminder_due(record: Held, now: datetime) -> bool:
    """Whether one is due. Several that were missed together, by an outage, are one."""
    last = max((notice.at for notice in record.notices if notice.kind == "reminder"), default=record.request.at)
    return record.open and any(last < moment <= now for moment in reminders(record))


def escalations_due(record: Held, now: datetime) -> tuple[Requirement, ...]:
    """The rules of which it is time to ask others, too."""
    return tuple(rule for rule, moment in _escalations(record) if moment <= now)


def next_move(record: Held) -> datetime | None:
    """When the sweeper has to look at an open question again, before it expires; None for never."""
    if not record.open:
        return None
    last = max((notice.at for notice in record.notices if notice.kind == "reminder"), default=record.request.at)
    moments: list[datetime] = [moment for moment in reminders(record) if moment > last]
    return min([*moments, *(moment for _, moment in _escalations(record))], default=None)


def _escalations(record: Held) -> Iterable[tuple[Requirement, datetime]]:
    if record.open:
        for rule in record.request.terms.requirements:
            if rule.escalation and rule.rule not in record.escalated:
                yield rule, record.request.at + timedelta(seconds=rule.escalation.after)
