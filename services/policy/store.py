"""The policy and the grants in force, as the buckets have them: all copies of the service follow the same entries.

A new policy that cannot be used is refused and the one before stays, also over a restart: the bucket keeps the last
revisions. What cannot be confirmed for a while is no longer relied on: no grant counts, and nothing is judged.
"""

from datetime import datetime

import structlog
from nats.aio.client import Client
from pydantic import ValidationError

from schemas import subjects
from schemas.approvals import USES, Grant, GrantUses
from schemas.policies import PolicyDocument
from services.policy.document import PolicyRefused
from services.policy.grants import Grants
from services.policy.metrics import Metrics
from services.policy.rules import Policy, parse_policy
from services.policy.watch import Entry, Watch
from services.runtime.tasks import TaskGroup

log = structlog.get_logger(__name__)

#: Used while the real ones cannot be trusted: every approval becomes a question.
_NO_GRANTS = Grants()


class Store:
    """What the judge judges with."""

    def __init__(self, client: Client, metrics: Metrics) -> None:
        self.metrics = metrics
        self._policy: Policy | None = None
        self._grants = Grants()
        self._policy_watch = Watch(
            client,
            subjects.POLICY_BUCKET,
            replaced=self._policies_replaced,
            changed=self._policy_changed,
            history=True,
        )
        self._grants_watch = Watch(
            client, subjects.GRANTS_BUCKET, replaced=self._grants_replaced, changed=self._grant_changed
        )

    @property
    def policy(self) -> Policy | None:
        """The policy in force; None when there is none, or none that can be confirmed."""
        return self._policy if self._policy_watch.trusted else None

    @property
    def confirmed(self) -> bool:
        """Whether it is known which policy, if any, is in force."""
        return self._policy_watch.trusted

    @property
    def grants(self) -> Grants:
        """The grants in force; none while they cannot be confirmed."""
        return self._grants if self._grants_watch.trusted else _NO_GRANTS

    async def start(self, tasks: TaskGroup) -> None:
        """Follow both buckets in the background; returns when both were read once."""
        for watch, name in ((self._policy_watch, "policy"), (self._grants_watch, "grants")):
            tasks.start(watch.run(), f"watch {name}")
            await watch.read.wait()

    async def reread(self) -> None:
        """The bus is back: read both buckets again."""
        await self._policy_watch.reread()
        await self._grants_watch.reread()

    def expire(self, now: datetime) -> None:
        """Forget grants that have run out; they no longer count in any case."""
        self._grants.expire(now)
        self.metrics.grants.set(len(self._grants))

    def policy_check(self) -> bool | str:
        """Health: a policy is loaded."""
        return True if self._policy else "no policy is loaded"

    def watch_check(self) -> bool | str:
        """Health: both buckets are followed."""
        lost = [
            name
            for name, watch in (("policy", self._policy_watch), ("grants", self._grants_watch))
            if not watch.trusted
        ]
        return f"not followed: {', '.join(lost)}" if lost else True

    def _policies_replaced(self, entries: list[Entry]) -> None:
        """The newest revision that can be used; a deletion ends the search: what was before it is gone."""
        for entry in reversed([entry for entry in entries if entry.key == subjects.POLICY_KEY]):
            if entry.value is None:
                break
            if (policy := self._load(entry.value)) is not None:
                self._use(policy)
                return
        self._use(None)

    def _policy_changed(self, entry: Entry) -> None:
        if entry.key != subjects.POLICY_KEY:
            return
        if entry.value is None:
            self._use(None)
        elif (policy := self._load(entry.value)) is not None:
            self._use(policy)

    def _load(self, value: bytes) -> Policy | None:
        try:
            document = PolicyDocument.model_validate_json(value)
            policy = parse_policy(document.text, f"{subjects.POLICY_BUCKET}/{subjects.POLICY_KEY}")
        except (ValidationError, PolicyRefused) as error:
            words = error.problems[:3] if isinstance(error, PolicyRefused) else "not a policy document"
            self._refuse("a policy was refused; the one before stays in force", problems=words)
            return None
        if policy.version != document.version:
            # Another release reads it differently: better the old rules everywhere than new ones of two meanings.
            self._refuse("a policy was refused: its version is not that of its text", version=document.version)
            return None
        return policy

    def _refuse(self, event: str, **words: object) -> None:
        self.metrics.refused.inc()
        log.error(event, in_force=self._policy.version if self._policy else None, **words)

    def _use(self, policy: Policy | None) -> None:
        if policy is None:
            log.warning("no policy is loaded: everything is denied")
        elif self._policy is None or policy.version != self._policy.version:
            log.info("policy in force", version=policy.version, rules=len(policy.rules))
        self._policy = policy
        self.metrics.in_force(policy.version if policy else None, len(policy.rules) if policy else 0)

    def _grants_replaced(self, entries: list[Entry]) -> None:
        self._grants = Grants()
        for entry in entries:
            self._grant_changed(entry)

    def _grant_changed(self, entry: Entry) -> None:
        if entry.key.endswith(USES):
            self._uses_changed(entry.key.removesuffix(USES), entry.value)
            return
        self._grants.remove(entry.key)
        if entry.value is not None:
            self._add_grant(entry.key, entry.value)
        self.metrics.grants.set(len(self._grants))

    def _uses_changed(self, grant_id: str, value: bytes | None) -> None:
        """A count that cannot be read leaves the grant to ingress, which refuses it."""
        if value is None:
            self._grants.forget_uses(grant_id)
            return
        try:
            self._grants.used(grant_id, GrantUses.model_validate_json(value).uses)
        except ValidationError:
            log.error("a grant's count is malformed", grant=grant_id)

    def _add_grant(self, key: str, value: bytes) -> None:
        try:
            grant = Grant.model_validate_json(value)
        except ValidationError:
            grant = None
        if grant is None or grant.grant_id != key:
            self.metrics.refused.inc()
            log.error("a grant was refused: it is malformed", grant=key)
        elif not self._grants.add(grant):
            self.metrics.refused.inc()
            log.error("a grant was refused: there are too many", grant=key)
