"""Others who keep the heads of the log: a file, an HTTP endpoint, a Slack channel.

Whoever can change the database can change the checkpoints in it too; one head elsewhere, and a truncated or rewritten
log is found by `countersign audit verify --against`. A witness never holds anything up: each has a mailbox for the
newest checkpoint of each log, which a later head replaces (it covers the earlier), and is tried until it has taken it.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from services.recorder.metrics import Metrics
from services.recorder.proof.note import Checkpoint
from services.runtime.settings import SettingsError, reveal
from services.runtime.settings.audit import AuditSettings

log = structlog.get_logger(__name__)

#: Seconds a witness may take for one checkpoint, and between two attempts: doubling from the first to the last.
_TIMEOUT: Final = 10.0
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 300.0


class NotTaken(Exception):
    """The witness did not take a checkpoint; it is tried again."""


class Witness(Protocol):
    """Somewhere a checkpoint is kept."""

    async def take(self, checkpoint: Checkpoint) -> None:
        """Raises NotTaken."""
        ...


class FileWitness:
    """A file to which checkpoints are appended, for a mounted directory that the database's owner cannot change."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def take(self, checkpoint: Checkpoint) -> None:
        """Append and sync. Raises NotTaken."""
        try:
            await asyncio.to_thread(self._append, f"{checkpoint.note}\n".encode())
        except OSError as error:
            raise NotTaken(error.strerror or str(error)) from error

    def _append(self, note: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, note)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class HttpWitness:
    """An endpoint that takes the note as the body of a POST; any 2xx is its yes."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def take(self, checkpoint: Checkpoint) -> None:
        """Raises NotTaken."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    self._url, data=checkpoint.note.encode(), headers=headers, allow_redirects=False
                ) as answer,
            ):
                if answer.status // 100 != 2:
                    raise NotTaken(f"status {answer.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotTaken(str(error) or type(error).__name__) from error


class SlackWitness:
    """A channel that everybody in it can scroll back through."""

    def __init__(self, client: AsyncWebClient, channel: str) -> None:
        self._client = client
        self._channel = channel

    async def take(self, checkpoint: Checkpoint) -> None:
        """Raises NotTaken."""
        try:
            await self._client.chat_postMessage(
                channel=self._channel,
                text=f"Checkpoint of {checkpoint.origin} at {checkpoint.size} events\n```\n{checkpoint.note}```",
                unfurl_links=False,
            )
        except (SlackClientError, aiohttp.ClientError, TimeoutError) as error:
            raise NotTaken(" ".join(str(error).split())[:200]) from error


class Mailbox:
    """Brings the newest checkpoints to one witness."""

    def __init__(self, name: str, witness: Witness, every: float, metrics: Metrics) -> None:
        """`every` bounds how often, in seconds."""
        self._name = name
        self._witness = witness
        self._every = every
        self._metrics = metrics
        #: By log: the newest checkpoint, and since when one waits.
        self._waiting: dict[str, tuple[Checkpoint, float]] = {}
        self._filled = asyncio.Event()

    def put(self, checkpoint: Checkpoint) -> None:
        """Never waits."""
        _, since = self._waiting.get(checkpoint.origin, (None, time.monotonic()))
        self._waiting[checkpoint.origin] = (checkpoint, since)
        self._filled.set()

    async def deliver(self) -> None:
        """For ever."""
        wait = _FIRST_WAIT
        while True:
            await self._filled.wait()
            try:
                for origin in list(self._waiting):
                    await self._bring(origin)
            except NotTaken as error:
                log.warning("a witness has not taken a checkpoint", witness=self._name, reason=str(error))
                self._show()
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            self._show()
            wait = _FIRST_WAIT
            await asyncio.sleep(self._every)

    async def _bring(self, origin: str) -> None:
        checkpoint, _ = self._waiting[origin]
        await self._witness.take(checkpoint)
        if self._waiting[origin][0] == checkpoint:
            del self._waiting[origin]
        else:
            self._waiting[origin] = (self._waiting[origin][0], time.monotonic())
        if not self._waiting:
            self._filled.clear()

    def _show(self) -> None:
        now = time.monotonic()
        oldest = min((since for _, since in self._waiting.values()), default=now)
        self._metrics.witness_lag.labels(self._name).set(now - oldest)


def witness_of(place: str, settings: AuditSettings) -> Witness:
    """The witness that a setting names. Raises SettingsError."""
    kind, _, rest = place.partition(":")
    if kind == "file":
        return FileWitness(Path(rest))
    if kind == "slack":
        slack = settings.witness_slack
        if slack is None:
            raise SettingsError(f"audit.witnesses: {place} needs audit.witness_slack.bot_token")
        token = reveal(slack.bot_token, "audit.witness_slack.bot_token")
        return SlackWitness(AsyncWebClient(token, base_url=slack.api_url, timeout=int(_TIMEOUT)), rest)
    return HttpWitness(place)


def mailboxes(settings: AuditSettings, metrics: Metrics) -> tuple[Mailbox, ...]:
    """One for each witness in the settings. Raises SettingsError."""
    return tuple(
        Mailbox(place, witness_of(place, settings), settings.witness_every, metrics) for place in settings.witnesses
    )


def to_all(boxes: tuple[Mailbox, ...]) -> Callable[[Checkpoint], None]:
    """What a sealer publishes to."""

    def publish(checkpoint: Checkpoint) -> None:
        for box in boxes:
            box.put(checkpoint)

    return publish
