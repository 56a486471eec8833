"""Puts a policy file in force on a bus. Counterpart: services/policy, whose copies all switch to it together."""

import getpass
from pathlib import Path

from countersign.errors import CommandError, one_line
from countersign.watch import Apply
from schemas import subjects
from schemas.base import utc_now
from schemas.policies import PolicyDocument
from services.policy.document import PolicyRefused
from services.policy.rules import parse_policy
from services.runtime.nats.client import BusAddress, connect


def applier(bus: BusAddress) -> Apply:
    """What applies a file to this bus."""

    async def apply(file: Path) -> str:
        text = read(file)
        try:
            version = parse_policy(text, str(file)).version
        except PolicyRefused as error:
            raise CommandError(one_line(error)) from None
        client = await connect(bus)
        try:
            bucket = await client.jetstream().key_value(subjects.POLICY_BUCKET)
            document = PolicyDocument(version=version, text=text, applied_at=utc_now(), applied_by=getpass.getuser())
            await bucket.put(subjects.POLICY_KEY, document.model_dump_json().encode())
        finally:
            await client.close()
        return version

    return apply


def read(file: Path) -> str:
    """The file's text. Raises CommandError."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CommandError(
            f"{file}: there is no such file; create it (docs/policy.md), or name it as `policy:` in the settings"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: cannot be read: {error}") from None
