"""One POST to one receiver, and what its answer means (Standard Webhooks, "Delivery success and failure").

    2xx                                   taken
    408, 425, 429, 5xx, no answer         later; not before `Retry-After`, which holds for every POST to that receiver
    3xx, 4xx                              later, when somebody may have mended it; redirects are not followed
    410                                   never: it does not want this

One that failed several times in a row is left alone for a while and then tried with one POST: what waits for it costs
the others neither a place nor time.

Addresses come from the settings alone, proxies of the environment are not used, and what the receiver says is read up
to a limit and goes nowhere: a receiver can neither lead us elsewhere nor get anything into the record.
"""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from services.approver.channels import ChannelTrouble
from services.approver.webhook import signature
from services.runtime.settings import SettingsError, reveal
from services.runtime.settings.approvals import WebhookSettings

#: Seconds before another attempt when somebody has to mend something.
MEND = 30.0
#: Longest `Retry-After` in seconds that we keep to: a question waits for minutes.
LONGEST_WAIT = 600.0
#: Bytes of an answer that are read, so that its connection ends well.
MAX_ANSWER = 16 * 1024
USER_AGENT = "Countersign-Webhook/1"
_SOON = frozenset({408, 425, 429})
#: Failures in a row after which a receiver is left alone; for seconds, doubled with each more, up to the second.
FAILURES = 3
FIRST_REST, LONGEST_REST = 1.0, 30.0


class WebhookTrouble(ChannelTrouble):
    """The receiver did not take it; `at_least` is seconds before another attempt makes sense."""

    def __init__(self, code: str, at_least: float = 0) -> None:
        super().__init__(code)
        self.code = code
        self.at_least = at_least


class Gone(Exception):
    """The receiver does not want this, ever."""


@dataclass
class Receiver:
    """One webhook of the settings. Logs and metrics name it by `name`: its address may hold a secret."""

    name: str
    settings: WebhookSettings
    keys: tuple[bytes, ...]
    context: ssl.SSLContext
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    #: Until when (monotonic) it wants to be left alone.
    _quiet_until: float = field(default=0)
    #: In a row.
    _failures: int = field(default=0)

    async def post(self, webhook_id: str, body: bytes) -> None:
        """Send it. Raises WebhookTrouble, Gone."""
        if (left := self._quiet_until - self.monotonic()) > 0:
            raise WebhookTrouble("resting" if self._failures >= FAILURES else "throttled", left)
        if self._failures >= FAILURES:  # this one finds out how it is; the others wait for that
            self._quiet_until = self.monotonic() + self.settings.timeout
        try:
            await self._post(webhook_id, body)
        except Gone:
            self._failures, self._quiet_until = 0, 0
            raise
        except WebhookTrouble as trouble:
            self._failures += 1
            rest = FIRST_REST * 2.0 ** min(self._failures - FAILURES, 16)
            if self._failures >= FAILURES:
                self._quiet_until = self.monotonic() + max(min(rest, LONGEST_REST), trouble.at_least)
            raise
        self._failures, self._quiet_until = 0, 0

    async def _post(self, webhook_id: str, body: bytes) -> None:
        headers = signature.headers(self.keys, webhook_id, int(self.clock()), body)
        headers |= {"Content-Type": "application/json", "User-Agent": USER_AGENT}
        timeout = aiohttp.ClientTimeout(total=self.settings.timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
                session.post(
                    self.settings.url, data=body, headers=headers, allow_redirects=False, ssl=self.context
                ) as answer,
            ):
                await answer.content.read(MAX_ANSWER)
                self._judge(answer.status, answer.headers.get("Retry-After", ""))
        except aiohttp.ClientConnectorCertificateError:
            raise WebhookTrouble("certificate", MEND) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise WebhookTrouble(type(error).__name__) from None

    def _judge(self, status: int, retry_after: str) -> None:
        if 200 <= status < 300:
            return
        if status == 410:
            raise Gone
        wait = min(seconds(retry_after, datetime.now(UTC)), LONGEST_WAIT)
        if status in _SOON or status >= 500:
            self._quiet_until = self.monotonic() + wait
            raise WebhookTrouble(str(status), wait)
        raise WebhookTrouble(str(status), max(MEND, wait))


def receiver(name: str, settings: WebhookSettings) -> Receiver:
    """The receiver of this name. Raises SettingsError."""
    place = f"approvals.webhooks.{name}"
    keys = [_key(reveal(settings.secret, f"{place}.secret"), f"{place}.secret")]
    if settings.previous_secret:
        keys.append(_key(reveal(settings.previous_secret, f"{place}.previous_secret"), f"{place}.previous_secret"))
    try:
        context = ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"countersign.yaml: {place}.ca: {settings.ca}: {error}") from None
    return Receiver(name, settings, tuple(keys), context)


def seconds(retry_after: str, now: datetime) -> float:
    """`Retry-After` as seconds from now (RFC 9110, section 10.2.3); 0 for what is neither form."""
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 9:
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0
    return max((moment.astimezone(UTC) - now).total_seconds(), 0)


def _key(text: str, place: str) -> bytes:
    try:
        return signature.secret(text)
    except ValueError as error:
        raise SettingsError(f"countersign.yaml: {place}: {error}") from None
