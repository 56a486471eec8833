"""Which sheet a new approval joins: one of its shape that is still asked about, else a new one. Pure.

Only what can be listed whole joins (`shape`), only so many that a person can read them, and only for as long as the
message is likely to be in sight: joining changes a message, which calls nobody.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from services.approver.record import Held
from services.approver.slack.shape import Shape, shape_of
from services.approver.slack.sheet import Sheet
from services.approver.slack.text import Excerpt

#: Approvals on one sheet: what can be read and reviewed one by one, in a message and in a form of 100 blocks.
MAX_MEMBERS = 20
#: Characters of all members' values together: two sections of a message.
MAX_SIZE = 4000
#: Characters of a line beside its values: number, blast radius, who settled it.
LINE = 120
#: How long after its first approval others may join.
GATHER = timedelta(minutes=5)


def gather(
    new: Iterable[Held], sheets: Iterable[Sheet], lane: str, now: datetime, is_open: Callable[[str], bool]
) -> list[Sheet]:
    """The sheets that are new or have grown, in the order in which they were opened, given those that are there."""
    joinable = {sheet.shape: sheet for sheet in sheets if sheet.shape and _asked(sheet, is_open)}
    changed: dict[str, Sheet] = {}
    for record in new:
        shape = None if record.break_glass else shape_of(record)
        sheet = _joined(joinable.get(shape.key), record, shape, now) if shape else None
        sheet = sheet or _opened(record, shape, lane, now)
        changed[sheet.sheet_id] = sheet
        if sheet.shape:
            joinable[sheet.shape] = sheet
    return sorted(changed.values(), key=lambda sheet: sheet.sheet_id)


def _asked(sheet: Sheet, is_open: Callable[[str], bool]) -> bool:
    return any(is_open(member) for member in sheet.members)


def _joined(sheet: Sheet | None, record: Held, shape: Shape, now: datetime) -> Sheet | None:
    if sheet is None or len(sheet.members) >= MAX_MEMBERS or now >= sheet.opened_at + GATHER:
        return None
    size = sheet.size + _size(shape)
    if size > MAX_SIZE:
        return None
    return sheet.model_copy(update={"members": (*sheet.members, record.approval_id), "size": size})


def _opened(record: Held, shape: Shape | None, lane: str, now: datetime) -> Sheet:
    size = _size(shape) if shape else 0
    return Sheet(
        sheet_id=record.approval_id,
        lane=lane,
        shape=shape.key if shape and size <= MAX_SIZE else "",
        members=(record.approval_id,),
        size=size,
        opened_at=now,
    )


def _size(shape: Shape) -> int:
    """Characters of a member's line, when every value differs."""
    values = ", ".join(shape.template.values)
    return len(Excerpt.of(values, MAX_SIZE * 2, multiline=False).head) + 3 * len(shape.template.values) + LINE
