"""The `approvals` bucket: every step by compare-and-set on the entry's revision, so that any copy may take it.

Counterpart: services/ingress/countersigned.py spends entries of the same bucket in the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from schemas.events import ApprovalRequested
from services.approver.pending import Refusal, Why
from services.approver.record import Held, asked

#: What the bus raises when a bucket cannot be read or written now.
BUS_ERRORS = (NatsError, OSError, TimeoutError)
#: Lost races in a row before we give up; each means that somebody else took a step, and an approval has few of them.
MAX_CONFLICTS = 16


class StoreUnavailable(Exception):
    """The bucket did not answer; whether a write was carried out is unknown."""


UNKNOWN = Refusal(Why.UNKNOWN, "There is no such approval; it may have been removed after its time.")


@dataclass(frozen=True)
class Approvals:
    """Approvals by id."""

    bucket: KeyValue

    async def create(self, request: ApprovalRequested) -> Held:
        """The approval that this event asks for: a new one, or after a redelivery the one that is there.

        Raises StoreUnavailable.
        """
        new = asked(request)
        try:
            await self.bucket.create(request.approval_id, new.model_dump_json().encode())
        except KeyWrongLastSequenceError:
            return await self.load(request.approval_id) or new
        except BUS_ERRORS as error:
            raise StoreUnavailable(str(error)) from error
        return new

    async def load(self, approval_id: str) -> Held | None:
        """The approval, or None when there is none. Raises StoreUnavailable."""
        found = await self._entry(approval_id)
        return found[0] if found else None

    async def step(self, approval_id: str, move: Callable[[Held], Held | Refusal]) -> Held | Refusal:
        """Take a step from the entry as it is at this moment, whoever else is at it. Raises StoreUnavailable.

        `move` may be called several times. A record returned as it came is not written.
        """
        for _ in range(MAX_CONFLICTS):
            found = await self._entry(approval_id)
            if found is None:
                return UNKNOWN
            record, revision = found
            new = move(record)
            if isinstance(new, Refusal) or new is record or await self._write(new, revision):
                return new
        raise StoreUnavailable(f"{MAX_CONFLICTS} copies changed it at the same moment")

    async def _write(self, record: Held, revision: int) -> bool:
        try:
            await self.bucket.update(record.approval_id, record.model_dump_json().encode(), revision)
        except KeyWrongLastSequenceError:
            return False
        except BUS_ERRORS as error:
            raise StoreUnavailable(str(error)) from error
        return True

    async def _entry(self, approval_id: str) -> tuple[Held, int] | None:
        try:
            entry = await self.bucket.get(approval_id)
            return Held.model_validate_json(entry.value or b""), entry.revision or 0
        except KeyNotFoundError:
            return None
        except (*BUS_ERRORS, ValidationError) as error:
            raise StoreUnavailable(str(error)) from error
