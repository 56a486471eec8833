"""Erase sessions: publish one event for each, and wait until the recorder has deleted their keys.

Who had what erased is in the log, under its seal, before a key goes (services/recorder/erasing.py). So this needs a
running instance: the bus to say it on, and the recorder to do it.
"""

import asyncio
import getpass
import time
from pathlib import Path
from typing import Final, NamedTuple

from nats.errors import Error as NatsError

from countersign.errors import CommandError
from countersign.policy import bus_address
from countersign.record import Record, rows
from schemas import subjects
from schemas.events import ContentErased
from services.runtime.data_dir import DataDir
from services.runtime.nats.client import close, connect

#: Seconds the recorder may take: it looks every few seconds, and rewrites what holds the keys.
_PATIENCE: Final = 120.0
_INTERVAL: Final = 0.5

_SESSIONS: Final = """
SELECT DISTINCT session_id FROM (
    SELECT session_id FROM attempts WHERE subject = {subject:String} OR email = {subject:String}
    UNION ALL SELECT session_id FROM outcomes WHERE refused AND (subject = {subject:String} OR email = {subject:String})
    UNION ALL SELECT session_id FROM approval_requests WHERE subject = {subject:String} OR email = {subject:String}
)
"""
#: A dead letter's session is its own id (services/recorder/sealing.py).
_KNOWN: Final = """
SELECT DISTINCT session_id FROM (
    SELECT session_id FROM attempts WHERE session_id IN splitByChar(',', {ids:String})
    UNION ALL SELECT session_id FROM outcomes WHERE session_id IN splitByChar(',', {ids:String})
    UNION ALL SELECT session_id FROM approval_requests WHERE session_id IN splitByChar(',', {ids:String})
    UNION ALL SELECT session_id FROM session_frames WHERE session_id IN splitByChar(',', {ids:String})
    UNION ALL SELECT session_id FROM session_starts WHERE session_id IN splitByChar(',', {ids:String})
    UNION ALL SELECT event_id FROM dead_letters WHERE event_id IN splitByChar(',', {ids:String})
)
"""
_OPERATION: Final = """
SELECT session_id FROM (
    SELECT session_id FROM attempts WHERE operation_id = {id:String}
    UNION ALL SELECT session_id FROM outcomes WHERE operation_id = {id:String}
) LIMIT 1
"""
_DONE: Final = """
SELECT uniqExact(session_id) AS n FROM erased_sessions
WHERE session_id IN splitByChar(',', {sessions:String}) AND keys_left = 0
"""
#: Sessions in one question: their ids travel in an address.
_AT_ONCE: Final = 500


class ErasureRequest(NamedTuple):
    """What to erase, for whom."""

    sessions: tuple[str, ...]
    by: str
    subject: str
    reason: str


def sessions_of(record: Record, subject: str) -> list[str]:
    """Sessions in which a subject (or e-mail address) did something. Raises CommandError."""
    return [row["session_id"] for row in rows(record, _SESSIONS, {"subject": subject})]


def must_be_known(record: Record, sessions: list[str]) -> None:
    """An erasure of nothing would be on record as one for good. Raises CommandError for an id that is no session's."""
    for first in range(0, len(sessions), _AT_ONCE):
        part = sessions[first : first + _AT_ONCE]
        known = {row["session_id"] for row in rows(record, _KNOWN, {"ids": ",".join(part)})}
        for id_ in part:
            if id_ in known:
                continue
            of = rows(record, _OPERATION, {"id": id_})
            hint = f": it is an operation of session {of[0]['session_id']}" if of else ""
            raise CommandError(f"{id_} is no session on record{hint}")


def publish(request: ErasureRequest, config: Path | None, data: DataDir) -> None:
    """Say it on the bus; returns when JetStream has it. Raises CommandError."""
    try:
        events = [
            ContentErased(
                ingress="",
                session_id=session,
                by=request.by or getpass.getuser(),
                subject=request.subject,
                reason=request.reason,
            )
            for session in request.sessions
        ]
    except ValueError:
        raise CommandError("a session's id looks like 018f0000-0000-7000-8000-000000000000") from None
    try:
        asyncio.run(_publish(events, config, data))
    except (NatsError, OSError) as error:
        raise CommandError(
            f"the bus does not answer: {error or type(error).__name__}; erasing needs a running instance"
        ) from None


async def _publish(events: list[ContentErased], config: Path | None, data: DataDir) -> None:
    client = await connect(bus_address(config, data))
    try:
        jetstream = client.jetstream()
        for event in events:
            headers = {"Nats-Msg-Id": event.event_id}
            await jetstream.publish(
                subjects.of(event), event.model_dump_json().encode(), headers=headers, stream=subjects.AUDIT_STREAM
            )
    finally:
        await close(client)


def until_erased(record: Record, sessions: list[str]) -> None:
    """Wait until no key is left. Raises CommandError when that takes too long."""
    deadline = time.monotonic() + _PATIENCE
    for first in range(0, len(sessions), _AT_ONCE):
        part = sessions[first : first + _AT_ONCE]
        while int(rows(record, _DONE, {"sessions": ",".join(part)})[0]["n"]) < len(part):
            if time.monotonic() > deadline:
                raise CommandError(
                    "the erasure is recorded and not carried out yet; `countersign audit verify` will tell"
                )
            time.sleep(_INTERVAL)
