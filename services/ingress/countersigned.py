"""What people approved, checked claim by claim against the operation at hand, and spent once (G5).

The verdict of an approver is only a hint to look: what counts is the certificate's signature, its claims, the policy
in force, and the compare-and-set that spends the approval.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakValueDictionary

import structlog
from joserfc.jwk import OKPKey
from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from schemas.approvals import ApprovalRecord, Grant, GrantUses, Step, uses_key
from schemas.certificates import Certificate
from schemas.events import ApprovalState, OperationAttempted
from schemas.policies import PolicyDocument
from schemas.subjects import POLICY_KEY
from schemas.verdicts import Verdict
from services.ingress.errors import Denied, NotDecided, denied, not_decided
from services.runtime.certificates import CertificateRejected, verify

log = structlog.get_logger(__name__)

#: How often a lost compare-and-set is tried again: once for each thing the approver may still note, and some.
SPEND_TRIES = 5
#: How often counting a grant's use is tried again: the winner of each race is another ingress.
COUNT_TRIES = 32
#: Seconds by which one steps back after a lost race, at most, times the races lost in a row: about one round trip.
STEP_BACK = 0.002
#: What the bus raises when a bucket cannot be read or written now.
_BUS_ERRORS = (NatsError, OSError, TimeoutError)


@dataclass
class Countersigned:
    """Approvals and grants as this ingress accepts them."""

    approvals: KeyValue
    grants: KeyValue
    policy: KeyValue
    trusted: tuple[OKPKey, ...]
    clock: Callable[[], datetime]
    #: Whose turn it is to count the use of a grant; there while somebody waits.
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def load(self, approval_id: str) -> ApprovalRecord | None:
        """The approval's entry, or None when there is none. Raises NotDecided when the bus is away."""
        entry = await self._entry(self.approvals, approval_id)
        return entry[0] if entry else None

    async def spend(self, approval_id: str, attempt: OperationAttempted, held: Verdict) -> ApprovalRecord:
        """Use an approval for this operation, exactly once. Raises Denied or NotDecided.

        The approver still writes to a decided entry (that it was announced), so a lost race is looked at again:
        only an entry that is still `approved` can be spent.
        """
        for _ in range(SPEND_TRIES):
            found = await self._entry(self.approvals, approval_id)
            if found is None:
                raise _refused("there is no such approval", held)
            record, revision = found
            await self._check_once(approval_id, record, attempt, held)
            if await self._write_spent(record, revision, attempt):
                return record
        raise _refused("the approval keeps changing", held)

    async def leave_open(self, approval_id: str) -> None:
        """Note with a question that its caller was told to come back. Should it fail, the approver withdraws it."""
        for _ in range(SPEND_TRIES):
            try:
                found = await self._entry(self.approvals, approval_id)
            except NotDecided as error:
                log.warning("a question will not outlive this ingress", approval_id=approval_id, reason=error.detail)
                return
            if found is None:
                return
            record, revision = found
            left = record.model_copy(update={"awaited": False}).model_dump_json().encode()
            try:
                await self.approvals.update(approval_id, left, revision)
                return
            except KeyWrongLastSequenceError:
                continue
            except _BUS_ERRORS as error:
                log.warning("a question will not outlive this ingress", approval_id=approval_id, reason=str(error))
                return

    async def _check_once(
        self, approval_id: str, record: ApprovalRecord, attempt: OperationAttempted, held: Verdict
    ) -> None:
        """Raise Denied unless this entry may be spent on this operation now."""
        if record.state is not ApprovalState.APPROVED or record.certificate is None:
            raise _refused(f"the approval is {record.state}", held)
        certificate = self._verified(record.certificate, held)
        _check(certificate, attempt, held, self.clock())
        if certificate.kind != "once" or certificate.id != approval_id:
            raise _refused("the certificate is for another approval", held)
        if certificate.operation_digest != attempt.operation.digest:
            raise _refused("the operation differs from the one that was approved", held)
        await self._check_policy(certificate, held)

    async def check_grant(self, attempt: OperationAttempted, verdict: Verdict) -> Grant:
        """Accept an allow that rests on a grant, if the grant is still there, and count the use of one that is bounded.

        Raises Denied or NotDecided. What it allows runs `under` the grant returned (lasting.py).
        """
        certificate = self._verified(verdict.certificate or "", verdict)
        _check(certificate, attempt, verdict, self.clock())
        if certificate.kind != "grant":
            raise _refused("the certificate is no grant", verdict)
        await self._check_policy(certificate, verdict)
        if certificate.max_uses:
            await self._count_use(certificate, verdict)
        try:
            entry = await self.grants.get(certificate.id)
            return Grant.model_validate_json(entry.value or b"")
        except KeyNotFoundError:
            raise _refused("the grant was revoked", verdict) from None
        except (*_BUS_ERRORS, ValidationError) as error:
            raise not_decided("the grant could not be checked; nothing was forwarded") from error

    async def _count_use(self, certificate: Certificate, verdict: Verdict) -> None:
        """Compare-and-set, before the grant itself is read: a use that then is refused is lost, never one too many.

        Operations of this process take turns, so that only ingresses race each other.
        """
        async with self._turns.setdefault(certificate.id, asyncio.Lock()):
            await self._count(uses_key(certificate.id), certificate, verdict)

    async def _count(self, key: str, certificate: Certificate, verdict: Verdict) -> None:
        for lost in range(COUNT_TRIES):
            try:
                uses, revision = await self._uses(key, verdict)
                if uses >= certificate.max_uses:
                    raise _refused(f"the grant has been used {uses} times, which is all it allows", verdict)
                await self.grants.update(key, GrantUses(uses=uses + 1).model_dump_json().encode(), revision)
                return
            except KeyWrongLastSequenceError:
                # Another ingress used it at the same moment; chance decides who steps back.
                await asyncio.sleep(random.uniform(0, min(lost + 1, 10) * STEP_BACK))  # noqa: S311
            except (*_BUS_ERRORS, ValidationError) as error:
                raise not_decided("the grant's use could not be counted; nothing was forwarded") from error
        raise not_decided("the grant is used by too many at once; nothing was forwarded")

    async def _uses(self, key: str, verdict: Verdict) -> tuple[int, int]:
        """How often the grant was used, and the revision that says so; 0 where nothing was counted yet."""
        try:
            entry = await self.grants.get(key)
        except KeyNotFoundError as missing:
            if missing.op:  # deleted: tidied away with its grant
                raise _refused("the grant was revoked", verdict) from None
            return 0, 0
        return GrantUses.model_validate_json(entry.value or b"").uses, entry.revision or 0

    def _verified(self, certificate: str, verdict: Verdict) -> Certificate:
        try:
            return verify(certificate, self.trusted)
        except CertificateRejected as error:
            log.error("certificate refused", reason=str(error), approval_id=verdict.approval_id)
            raise _refused("its signature is not an approver's", verdict) from error

    async def _check_policy(self, certificate: Certificate, verdict: Verdict) -> None:
        try:
            entry = await self.policy.get(POLICY_KEY)
            in_force = PolicyDocument.model_validate_json(entry.value or b"").version
        except (*_BUS_ERRORS, KeyNotFoundError, ValidationError) as error:
            raise not_decided("the policy in force could not be read; nothing was forwarded") from error
        if in_force != certificate.policy_version:
            raise _refused("the policy has changed since it was approved", verdict)

    async def _write_spent(self, record: ApprovalRecord, revision: int, attempt: OperationAttempted) -> bool:
        """Compare-and-set; False when the entry has changed since it was read."""
        step = Step(at=self.clock(), state=ApprovalState.SPENT, by=attempt.ingress)
        spent = record.model_copy(
            update={
                "state": ApprovalState.SPENT,
                "spent_by": attempt.operation_id,
                "history": (*record.history, step),
            }
        )
        try:
            await self.approvals.update(record.request.approval_id, spent.model_dump_json().encode(), revision)
        except KeyWrongLastSequenceError:
            return False
        except _BUS_ERRORS as error:
            raise not_decided("the approval could not be spent; nothing was forwarded") from error
        return True

    async def _entry(self, bucket: KeyValue, key: str) -> tuple[ApprovalRecord, int] | None:
        try:
            entry = await bucket.get(key)
            return ApprovalRecord.model_validate_json(entry.value or b""), entry.revision or 0
        except KeyNotFoundError:
            return None
        except (*_BUS_ERRORS, ValidationError) as error:
            raise not_decided("the approval could not be read; nothing was forwarded") from error


def _check(certificate: Certificate, attempt: OperationAttempted, verdict: Verdict, now: datetime) -> None:
    """Every claim that both kinds have in common. Raises Denied."""
    if (certificate.issuer, certificate.subject) != (attempt.identity.issuer, attempt.identity.subject):
        raise _refused("it was given to another identity", verdict)
    if certificate.connector != attempt.connector.name:
        raise _refused("it was given for another connector", verdict)
    if not _same_rules(certificate, verdict):
        raise _refused("it was given for another rule", verdict)
    if certificate.policy_version != verdict.policy_version:
        raise _refused("the policy has changed since it was approved", verdict)
    if certificate.expires_at <= now:
        raise _refused("it has expired", verdict)


def _same_rules(certificate: Certificate, verdict: Verdict) -> bool:
    """A hold names the rules that ask; an allow under a grant all that matched, which the one that asks is among."""
    if certificate.kind == "grant":
        return set(certificate.rules) <= set(verdict.rules)
    return certificate.rules == verdict.rules


def _refused(why: str, verdict: Verdict) -> Denied:
    return denied(f"the approval cannot be used: {why}", verdict.rules, code="approval_refused")
