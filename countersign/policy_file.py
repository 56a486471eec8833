"""Puts a policy file in force on a bus. Counterpart: services/policy/apply.py, for all policy copies together."""

import getpass
from pathlib import Path

from countersign.errors import CommandError
from countersign.watch import Apply
from services.policy.apply import PolicyConflict, apply
from services.policy.document import PolicyRefused
from services.runtime.nats.client import BusAddress, connect


def applier(bus: BusAddress) -> Apply:
    """What applies a file to this bus, as the user who runs us."""

    async def apply_file(file: Path) -> str:
        text = read(file)
        client = await connect(bus)
        try:
            return (await apply(client, text, applied_by=_user(), file=str(file))).version
        except PolicyRefused as error:
            raise CommandError(*error.problems) from None
        except PolicyConflict as error:
            raise CommandError(str(error)) from None
        finally:
            await client.close()

    return apply_file


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


def _user() -> str:
    """For the record. A container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
