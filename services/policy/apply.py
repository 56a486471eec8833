"""Put a policy in force: into the `policy` bucket by compare-and-set, after checking it. Needs the `admin` role."""

from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from schemas import subjects
from schemas.base import utc_now
from schemas.policies import PolicyDocument
from services.policy.rules import parse_policy


class PolicyConflict(Exception):
    """Somebody else applied a policy at the same moment; read what is in force now and apply again."""


async def apply(client: Client, text: str, applied_by: str, file: str = "policy.yaml") -> PolicyDocument:
    """Check `text` and make it the policy of all copies; returns what is in force now.

    Applying what is in force already writes nothing, so that `up` may do it at every start. Raises PolicyRefused with
    the problems, and PolicyConflict.
    """
    version = parse_policy(text, file).version
    bucket = await client.jetstream().key_value(subjects.POLICY_BUCKET)
    current, revision = await _current(bucket)
    if current is not None and (current.version, current.text) == (version, text):
        return current
    document = PolicyDocument(version=version, text=text, applied_at=utc_now(), applied_by=applied_by)
    try:
        await _write(bucket, document.model_dump_json().encode(), revision)
    except KeyWrongLastSequenceError:
        raise PolicyConflict("another policy was applied at the same moment; look at it and apply again") from None
    return document


async def in_force(client: Client) -> PolicyDocument | None:
    """The policy in the bucket, or None."""
    bucket = await client.jetstream().key_value(subjects.POLICY_BUCKET)
    return (await _current(bucket))[0]


async def _write(bucket: KeyValue, value: bytes, revision: int) -> None:
    if revision:
        await bucket.update(subjects.POLICY_KEY, value, revision)
    else:
        await bucket.create(subjects.POLICY_KEY, value)


async def _current(bucket: KeyValue) -> tuple[PolicyDocument | None, int]:
    """What the bucket holds, and the revision that a new one has to follow; 0 when there is none, or it was deleted."""
    try:
        entry = await bucket.get(subjects.POLICY_KEY)
    except KeyNotFoundError:
        return None, 0
    try:
        return PolicyDocument.model_validate_json(entry.value or b""), entry.revision or 0
    except ValueError:
        return None, entry.revision or 0
