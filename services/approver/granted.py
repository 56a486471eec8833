"""The time-boxed grants in force: listed, revoked, and tidied away when their window is over.

Whoever may revoke one sees it: members of the groups that were asked, and its holder, who only gives something up.
Policy follows the same bucket, and ingress reads the entry at each use and watches it while something runs under it:
a grant whose entry is gone opens nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from schemas import subjects
from schemas.approvals import USES, Grant, GrantUses, GrantView, uses_key
from schemas.events import GrantRevoked
from schemas.identity import Identity
from services.approver import announcement
from services.approver.following import Following
from services.approver.scope import scope
from services.approver.store import BUS_ERRORS, Approvals, StoreUnavailable
from services.approver.views import visible

log = structlog.get_logger(__name__)


class Granted(Following[Grant | GrantUses]):
    """The entries of the `grants` bucket: grants by their id, and beside them how often each was used."""

    def __init__(self, client: Client, bucket: KeyValue) -> None:
        super().__init__(client, bucket, _entry_in)

    def seen_by(self, identity: Identity, now: datetime) -> list[GrantView]:
        """Those this identity may revoke, the one that ends first in front."""
        live = [grant for grant in self.grants() if grant.expires_at > now and sees(identity, grant)]
        return [self.view(grant) for grant in sorted(live, key=lambda grant: grant.expires_at)]

    def grants(self) -> Iterable[Grant]:
        """All of them, those whose window is over among them."""
        return (entry for entry in self.found.values() if isinstance(entry, Grant))

    def view(self, grant: Grant) -> GrantView:
        """A grant as people see it."""
        used = self.found.get(uses_key(grant.grant_id))
        return GrantView.model_validate(
            grant.model_dump(exclude={"by", "certificate", "policy_version"})
            | {"uses": used.uses if isinstance(used, GrantUses) else 0, "scope": scope(grant)}
        )

    def over(self, now: datetime) -> list[str]:
        """Keys that nobody needs any more: grants whose window is over, and counters without a grant."""
        ended = [grant.grant_id for grant in self.grants() if grant.expires_at <= now]
        alone = [key for key in self.found if key.endswith(USES) and key.removesuffix(USES) not in self.found]
        return ended + alone


@dataclass(frozen=True)
class Revoking:
    """Ends grants."""

    jetstream: JetStreamContext
    bucket: KeyValue
    approvals: Approvals

    async def load(self, grant_id: str) -> Grant | None:
        """The grant, or None when it is not in force. Raises StoreUnavailable."""
        try:
            entry = await self.bucket.get(grant_id)
            return Grant.model_validate_json(entry.value or b"")
        except KeyNotFoundError:
            return None
        except (*BUS_ERRORS, ValidationError) as error:
            raise StoreUnavailable(str(error)) from error

    async def revoke(self, grant: Grant, by: str, reason: str) -> None:
        """Record it, then take it out of force for good: its certificate without the entry opens nothing.

        Raises StoreUnavailable, and then it may or may not be in force: ask again. Recorded twice it counts once.
        """
        record = await self.approvals.load(grant.approval_id)
        try:
            if record is not None:  # an approval's entry outlives its grants (provision.APPROVALS_TTL)
                await self._publish(announcement.revoked(record, grant, by, reason))
            await self.bucket.purge(grant.grant_id)
        except BUS_ERRORS as error:
            raise StoreUnavailable(str(error)) from error
        log.warning("grant revoked", grant_id=grant.grant_id, approval_id=grant.approval_id, by=by, reason=reason)

    async def _publish(self, event: GrantRevoked) -> None:
        headers = {"Nats-Msg-Id": event.event_id}
        await self.jetstream.publish(subjects.of(event), event.model_dump_json().encode(), headers=headers)


def sees(identity: Identity, grant: Grant) -> bool:
    """Whether this identity may see and revoke the grant."""
    return visible(f"{grant.issuer}#{grant.subject}", grant.connector, frozenset(grant.by), identity)


def _entry_in(key: str, value: bytes) -> Grant | GrantUses:
    if key.endswith(USES):
        return GrantUses.model_validate_json(value)
    # A certificate is a kilobyte that no list shows.
    return Grant.model_validate_json(value).model_copy(update={"certificate": ""})
