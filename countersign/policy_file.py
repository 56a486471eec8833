"""Puts a policy file in force on a bus. Counterpart: services/policy/apply.py, for all policy copies together."""

import asyncio
import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nats.aio.client import Client
from nats.errors import Error as NatsError

from countersign.errors import CommandError
from countersign.watch import Apply, BusAway
from services.policy.apply import PolicyConflict, apply
from services.policy.approving import Approve
from services.policy.check import read_text
from services.policy.document import PolicyRefused
from services.policy.rules import parse_policy
from services.runtime.nats.client import BusAddress, connect

#: A bus that does not answer for this long is not there.
CONNECT_TIMEOUT = 10.0


def applier(bus: BusAddress) -> Apply:
    """What applies a file to this bus, as the user who runs us."""

    async def apply_file(file: Path) -> str:
        try:
            text = read_text(file)
            parse_policy(text, str(file))  # before the bus is asked: a mistake is a mistake wherever the bus is
            async with _connected(bus) as client:
                return (await apply(client, text, applied_by=_user(), file=str(file))).version
        except PolicyRefused as error:
            raise CommandError(*error.problems) from None
        except PolicyConflict as error:
            raise CommandError(f"{file}: not applied: {error}") from None
        except NatsError as error:
            raise BusAway(f"{file}: not applied: {error}") from None

    return apply_file


def reviewers(file: Path) -> tuple[str, ...]:
    """The groups that the file's first rule with `approve` asks; none where no rule does, or the file is wrong now."""
    try:
        policy = parse_policy(read_text(file), str(file))
    except PolicyRefused:
        return ()
    return next((rule.effect.by for rule in policy.rules if isinstance(rule.effect, Approve)), ())


@asynccontextmanager
async def _connected(bus: BusAddress) -> AsyncIterator[Client]:
    """A connection that is closed in the end. Raises BusAway with what NATS said when there is none."""
    complaints = ["no answer"]
    deadline = asyncio.timeout(CONNECT_TIMEOUT)

    async def complained(error: Exception) -> None:
        complaints.append(str(error) or type(error).__name__)
        if not deadline.expired():
            deadline.reschedule(0)  # a service would try again for ever; a command says so

    try:
        async with deadline:
            client = await connect(bus, error=complained)
    except TimeoutError:
        raise BusAway(f"{', '.join(bus.servers)}: {complaints[-1]}") from None
    try:
        yield client
    finally:
        await client.close()


def _user() -> str:
    """For the record. A container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
