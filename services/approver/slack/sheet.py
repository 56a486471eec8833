"""A sheet: one message in Slack, the approvals that it shows, and what hangs on it. The contract of our notes. Pure.

Kept in the `deliveries` bucket under `slack.sheet.<id>`, written only by the copy that holds the lane's lease. The
approvals' own entries stay the truth about what was decided; a sheet says where that is shown, and how far.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from schemas.base import Contract, Id, Moment
from services.approver.record import Held

#: Everything of ours in the bucket.
PREFIX = "slack."
SHEETS = f"{PREFIX}sheet."
LEASES = f"{PREFIX}lease."


class Part(Contract):
    """One message: the question, the reply with outcomes, a call for help."""

    #: As it was asked for, then the id that Slack gave.
    channel: str
    #: Its name in Slack. Empty is the intent to post: whether it is there is not known.
    ts: str = ""
    #: Digest of what it says; empty when nothing is known to be there.
    shown: str = ""
    #: True when there is nothing to keep up to date: nobody to send it to, or somebody removed it.
    gone: bool = False


class Sheet(Contract):
    """What one message stands for."""

    #: The id of the first approval on it.
    sheet_id: Id
    #: The Slack channel, as settings and rules write it.
    lane: str
    #: Requests of which shape may join; empty for none.
    shape: str = ""
    #: Approvals, in the order in which they joined. None ever leaves.
    members: tuple[Id, ...] = Field(min_length=1)
    #: Characters that the list of members takes.
    size: int = 0
    opened_at: Moment
    #: Name of the part (`rendering.PARTS`) to where it is.
    parts: dict[str, Part] = Field(default_factory=dict)
    #: Revision of the `approvals` bucket up to which its members are shown.
    upto: int = 0

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        return f"{SHEETS}{self.sheet_id}"

    def with_part(self, name: str, part: Part | None, upto: int) -> "Sheet":
        """The sheet with one part changed, or without it."""
        others = {known: at for known, at in self.parts.items() if known != name}
        return self.model_copy(update={"parts": others | ({name: part} if part else {}), "upto": upto})


class Lease(Contract):
    """Which copy serves a lane (`lease`)."""

    lane: str
    holder: str


def lease_key(lane: str) -> str:
    """Where a lane's lease stands; a channel's name may hold what a key may not."""
    return f"{LEASES}{hashlib.sha256(lane.encode()).hexdigest()[:32]}"


@dataclass(frozen=True)
class Selection:
    """What a button for several approvals stands for: the first `count` members of a sheet, none that came later.

    `digest` binds it to those members and to the operations that were listed, so that a click can mean nothing else.
    """

    sheet_id: str
    count: int
    digest: str

    @classmethod
    def of(cls, sheet: Sheet, records: Sequence[Held]) -> "Selection":
        """Of all that a sheet lists now; `records` are its members."""
        return cls(sheet.sheet_id, len(records), _digest(records))

    @classmethod
    def parse(cls, value: str) -> "Selection | None":
        """What `value` says, or None when we never wrote it."""
        sheet_id, _, rest = value.partition(":")
        count, _, digest = rest.partition(":")
        if not (sheet_id and digest and count.isascii() and count.isdigit() and len(count) <= 3):
            return None
        return cls(sheet_id, int(count), digest)

    @property
    def value(self) -> str:
        """For a button."""
        return f"{self.sheet_id}:{self.count}:{self.digest}"

    def covers(self, records: Sequence[Held]) -> bool:
        """Whether these are the approvals that were listed."""
        return len(records) == self.count and _digest(records) == self.digest


def _digest(records: Sequence[Held]) -> str:
    listed = "\n".join(f"{record.approval_id} {record.request.operation.digest}" for record in records)
    return hashlib.sha256(listed.encode()).hexdigest()[:32]
