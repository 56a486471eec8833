"""Time-boxed approvals in force, found by whom and what they cover. Counterpart: `store.py` keeps it up to date."""

from datetime import datetime

from schemas.approvals import Grant
from schemas.events import OperationAttempted

#: Issuer, subject, rule, connector, policy version: a grant covers exactly one of each (G5).
_Scope = tuple[str, str, str, str, str]

#: Grants held in memory, at about 2 KB each; further ones are not used, and people are asked instead.
MAX_GRANTS = 50_000


class Grants:
    """An index of grants; empty, it makes every approval a question."""

    def __init__(self) -> None:
        self._by_id: dict[str, Grant] = {}
        self._by_scope: dict[_Scope, dict[str, Grant]] = {}
        #: How often each was used, as far as is known; ingress, which counts, has the last word.
        self._uses: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, grant: Grant) -> bool:
        """Put a grant in force, in place of one with its id; False when there are too many."""
        self.remove(grant.grant_id)
        if len(self._by_id) >= MAX_GRANTS:
            return False
        self._by_id[grant.grant_id] = grant
        self._by_scope.setdefault(_scope(grant), {})[grant.grant_id] = grant
        return True

    def remove(self, grant_id: str) -> None:
        """Take a grant out of force; one that is unknown is no error."""
        grant = self._by_id.pop(grant_id, None)
        if grant is None:
            return
        scope = _scope(grant)
        alike = self._by_scope[scope]
        del alike[grant_id]
        if not alike:
            del self._by_scope[scope]

    def used(self, grant_id: str, uses: int) -> None:
        """Note how often a grant was used so far."""
        if grant_id in self._by_id or len(self._uses) < MAX_GRANTS:
            self._uses[grant_id] = uses

    def forget_uses(self, grant_id: str) -> None:
        """Its count is gone from the bucket."""
        self._uses.pop(grant_id, None)

    def find(self, attempt: OperationAttempted, rule: str, policy_version: str) -> Grant | None:
        """The grant that covers this attempt under this rule, the one that lasts longest; None when there is none."""
        identity = attempt.identity
        scope = (identity.issuer, identity.subject, rule, attempt.connector.name, policy_version)
        alike = self._by_scope.get(scope, {}).values()
        live = [grant for grant in alike if grant.expires_at > attempt.at and not self._used_up(grant)]
        return max(live, key=lambda grant: grant.expires_at, default=None)

    def _used_up(self, grant: Grant) -> bool:
        return 0 < grant.max_uses <= self._uses.get(grant.grant_id, 0)

    def expire(self, now: datetime) -> int:
        """Forget what has expired; how many there were."""
        expired = [grant.grant_id for grant in self._by_id.values() if grant.expires_at <= now]
        for grant_id in expired:
            self.remove(grant_id)
        return len(expired)


def _scope(grant: Grant) -> _Scope:
    return grant.issuer, grant.subject, grant.rule, grant.connector, grant.policy_version
