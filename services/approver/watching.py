"""The approvals that still need something: open, settled and not yet announced or told everywhere, or running.

Only what the sweeper, the list and the metrics need of each (`following`).
"""

from dataclasses import dataclass
from datetime import datetime

from nats.aio.client import Client
from nats.js.kv import KeyValue

from schemas.approvals import Notice
from schemas.events import ApprovalState
from services.approver import timing
from services.approver.following import Following
from services.approver.needed import groups_concerned
from services.approver.record import Held


@dataclass(frozen=True, slots=True)
class Entry:
    """One approval that still needs something."""

    approval_id: str
    state: ApprovalState
    open: bool
    announced: bool
    #: `issuer#subject` of whoever asked, the connector, and the groups that may come to have a say.
    requester: str
    connector: str
    groups: frozenset[str]
    ingress: str
    #: The ingress that runs what was approved, until it says how that ended; else empty.
    spender: str
    requested_at: datetime
    expires_at: datetime
    resolved_at: datetime
    #: Seconds from `requested_at` that the caller waits on its connection.
    wait_seconds: float
    #: When it is time to remind people, or to ask others as well.
    next_move: datetime | None
    #: What channels may still have to tell.
    notices: tuple[Notice, ...]


class Watching(Following[Entry]):
    """The entries of all approvals that still need something."""

    def __init__(self, client: Client, bucket: KeyValue) -> None:
        super().__init__(client, bucket, _entry_in)

    def entries(self) -> list[Entry]:
        """All of them, the oldest request first."""
        return sorted(self.found.values(), key=lambda entry: entry.requested_at)


def _entry_in(_: str, value: bytes) -> Entry | None:
    record = Held.model_validate_json(value)
    needy = record.open or not record.announced or record.untold or record.running
    return entry_of(record) if needy else None


def entry_of(record: Held) -> Entry:
    """What is kept of a record."""
    request = record.request
    return Entry(
        approval_id=record.approval_id,
        state=record.state,
        open=record.open,
        announced=record.announced,
        requester=request.identity.key,
        connector=request.connector.name,
        groups=groups_concerned(request.terms),
        ingress=request.ingress,
        spender=record.spender if record.running else "",
        requested_at=request.at,
        expires_at=request.terms.expires_at,
        resolved_at=record.resolved_at,
        wait_seconds=request.asked.wait_seconds if record.awaited else 0.0,
        next_move=timing.next_move(record),
        notices=record.untold,
    )
