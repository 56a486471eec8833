"""What this copy knows: which approvals are open, which sheets show them, and which sheets lag behind.

Two mirrors and what follows from them. The `approvals` bucket says how things stand; the sheets in the `deliveries`
bucket say what Slack shows. A sheet is behind while one of its approvals has a newer revision than the sheet is shown
up to. So nothing is lost that was ever in a bucket: whoever serves the lane next sees the same difference.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from schemas.base import utc_now
from services.approver.record import Held
from services.approver.slack.lease import LeaseLost
from services.approver.slack.mirror import Mirror, Seen
from services.approver.slack.sheet import PREFIX, SHEETS, Lease, Sheet
from services.approver.store import BUS_ERRORS, StoreUnavailable
from services.runtime.tasks import TaskGroup

#: An approval that was settled longer ago than this, and is on no sheet that we know, is on none.
RECENT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Known:
    """An approval, as little of it as is needed to see what has to be done."""

    open: bool
    lane: str
    #: Somebody let it through alone: the channel hears of it, also where nobody had been asked yet.
    alarm: bool = False

    @property
    def wanted(self) -> bool:
        """Whether it belongs on a sheet."""
        return self.open or self.alarm


class Ledger:
    """Both buckets. `changed` is called with the lane in which there may be something to do."""

    def __init__(
        self,
        client: Client,
        approvals: KeyValue,
        deliveries: KeyValue,
        default_lane: str,
        changed: Callable[[str], None],
    ) -> None:
        self._approvals, self._deliveries = approvals, deliveries
        self._default, self._tell = default_lane, changed
        self.approvals = Mirror(client, approvals, ">", self._read_approval, self._approval_changed)
        self.notes = Mirror(client, deliveries, f"{PREFIX}>", _read_note, self._note_changed)
        #: The sheet of each approval that is on one.
        self._sheet_of: dict[str, str] = {}
        #: By lane: sheets that lag behind, and open approvals that are on no sheet.
        self._behind: dict[str, set[str]] = {}
        self._new: dict[str, set[str]] = {}

    async def run(self, tasks: TaskGroup) -> None:
        """Keep both mirrors current, the sheets first: an approval without one is new."""
        tasks.start(self.notes.run(), "slack notes")
        await self.notes.until(lambda: self.notes.current)
        tasks.start(self.approvals.run(), "slack approvals")

    @property
    def current(self) -> bool:
        """Whether all that was in the buckets has been seen."""
        return self.approvals.current and self.notes.current

    def count(self) -> int:
        """How much there is to do in all lanes, whichever copy serves them."""
        return sum(len(items) for work in (self._new, self._behind) for items in work.values())

    def lanes(self) -> list[str]:
        """Where there is something to do."""
        return sorted({lane for work in (self._new, self._behind) for lane, items in work.items() if items})

    def new(self, lane: str) -> list[str]:
        """Approvals of a lane that belong on a sheet and are on none, the oldest first: their ids are UUIDv7."""
        return sorted(self._new.get(lane, ()))

    def behind(self, lane: str) -> list[Sheet]:
        """Sheets of a lane that lag behind, the oldest first."""
        return [sheet for sheet_id in sorted(self._behind.get(lane, ())) if (sheet := self.sheet(sheet_id))]

    def sheets(self, lane: str) -> Iterator[Sheet]:
        """All sheets of a lane."""
        for seen in self.notes.entries.values():
            if isinstance(seen.value, Sheet) and seen.value.lane == lane:
                yield seen.value

    def sheet(self, sheet_id: str) -> Sheet | None:
        """A sheet as last seen."""
        seen = self.notes.entries.get(f"{SHEETS}{sheet_id}")
        return seen.value if seen and isinstance(seen.value, Sheet) else None

    def lease(self, key: str) -> Seen[Lease] | None:
        """A lease as last seen."""
        seen = self.notes.entries.get(key)
        return Seen(seen.revision, seen.value, seen.since) if seen and isinstance(seen.value, Lease) else None

    def is_open(self, approval_id: str) -> bool:
        """Whether people may still decide, as last seen."""
        seen = self.approvals.entries.get(approval_id)
        return seen is not None and seen.value.open

    def revision_of(self, approval_id: str) -> int:
        """The newest revision seen of an approval; 0 for one that is not there any more."""
        seen = self.approvals.entries.get(approval_id)
        return seen.revision if seen else 0

    async def read(self, approval_id: str) -> tuple[int, Held] | None:
        """An approval and its revision, from the bucket. Raises StoreUnavailable."""
        try:
            entry = await self._approvals.get(approval_id)
            return entry.revision or 0, Held.model_validate_json(entry.value or b"")
        except KeyNotFoundError:
            return None
        except (*BUS_ERRORS, ValidationError) as error:
            raise StoreUnavailable(str(error) or type(error).__name__) from error

    async def read_sheet(self, sheet_id: str) -> Sheet | None:
        """A sheet, from the bucket: a click may come to a copy that has not seen it yet. Raises StoreUnavailable."""
        try:
            entry = await self._deliveries.get(f"{SHEETS}{sheet_id}")
            return Sheet.model_validate_json(entry.value or b"")
        except KeyNotFoundError:
            return None
        except (*BUS_ERRORS, ValidationError) as error:
            raise StoreUnavailable(str(error) or type(error).__name__) from error

    async def write(self, sheet: Sheet) -> None:
        """Store a sheet, unless it was changed by somebody else. Raises LeaseLost, StoreUnavailable."""
        value, seen = sheet.model_dump_json().encode(), self.notes.entries.get(sheet.key)
        try:
            if seen is None:
                revision = await self._deliveries.create(sheet.key, value)
            else:
                revision = await self._deliveries.update(sheet.key, value, seen.revision)
        except KeyWrongLastSequenceError:
            raise LeaseLost(sheet.lane) from None
        except BUS_ERRORS as error:
            raise StoreUnavailable(str(error) or type(error).__name__) from error
        self.notes.wrote(sheet.key, revision, sheet)

    async def forget(self, sheet: Sheet) -> None:
        """Remove the note of a sheet that nothing will happen to any more. Raises StoreUnavailable."""
        try:
            await self._deliveries.purge(sheet.key)
        except BUS_ERRORS as error:
            raise StoreUnavailable(str(error) or type(error).__name__) from error

    def settled_before(self, lane: str, moment: datetime) -> list[Sheet]:
        """Sheets from before a moment that show how each of their approvals was settled."""
        for key in [key for key, seen in self.approvals.entries.items() if not seen.value.wanted]:
            if key not in self._sheet_of:  # settled before anybody was asked
                del self.approvals.entries[key]
        behind = self._behind.get(lane, set())
        return [
            sheet
            for sheet in self.sheets(lane)
            if sheet.opened_at < moment
            and sheet.sheet_id not in behind
            and not any(self.is_open(member) for member in sheet.members)
        ]

    def _read_approval(self, key: str, value: bytes) -> Known | None:
        record = Held.model_validate_json(value)
        known = key in self._sheet_of or key in self.approvals.entries
        recent = record.open or utc_now() <= record.resolved_at + RECENT
        if not recent and not known:
            return None
        alarm = record.break_glass and recent and not record.open
        return Known(record.open, record.request.terms.slack or self._default, alarm)

    def _approval_changed(self, key: str, seen: Seen[Known] | None) -> None:
        sheet = self.sheet(self._sheet_of[key]) if key in self._sheet_of else None
        if sheet is not None:
            self._look_at(sheet)
        elif seen is not None and seen.value.wanted:
            self._new.setdefault(seen.value.lane, set()).add(key)
            self._tell(seen.value.lane)
        else:
            for waiting in self._new.values():
                waiting.discard(key)

    def _note_changed(self, key: str, seen: Seen[Sheet | Lease] | None) -> None:
        if seen is None and key.startswith(SHEETS):
            self._forgotten(key.removeprefix(SHEETS))
        elif seen is None:  # a lease was given back
            for lane in self.lanes():
                self._tell(lane)
        elif isinstance(seen.value, Sheet):
            sheet = seen.value
            for member in sheet.members:
                self._sheet_of.setdefault(member, sheet.sheet_id)
                self._new.get(sheet.lane, set()).discard(member)
            self._look_at(sheet)
        else:
            self._tell(seen.value.lane)

    def _look_at(self, sheet: Sheet) -> None:
        """Whether it lags behind. One whose first approval is on another sheet is the late write of a copy that had
        lost its lease; it was never posted."""
        behind = self._behind.setdefault(sheet.lane, set())
        newest = max(self.revision_of(member) for member in sheet.members)
        if newest > sheet.upto and self._sheet_of[sheet.members[0]] == sheet.sheet_id:
            behind.add(sheet.sheet_id)
            self._tell(sheet.lane)
        else:
            behind.discard(sheet.sheet_id)

    def _forgotten(self, sheet_id: str) -> None:
        for behind in self._behind.values():
            behind.discard(sheet_id)
        for member in [member for member, on in self._sheet_of.items() if on == sheet_id]:
            del self._sheet_of[member]
            seen = self.approvals.entries.get(member)
            if seen and seen.value.open:  # the note was lost: ask again rather than not at all
                self._approval_changed(member, seen)
            else:
                self.approvals.entries.pop(member, None)


def _read_note(key: str, value: bytes) -> Sheet | Lease | None:
    if key.startswith(SHEETS):
        return Sheet.model_validate_json(value)
    return Lease.model_validate_json(value)
