"""Interactivity over HTTP: a signed POST to the app's request URL, answered with 200 within three seconds.

Counterpart: slack_sdk.signature.SignatureVerifier. Slack does not repeat such a POST; the person sees a warning.
"""

import asyncio
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp

from examples.slack_standin.clock import Clock
from examples.slack_standin.delivery import Delivery
from examples.slack_standin.faults import Faults
from examples.slack_standin.limits import Limits

ANSWER_BYTES = 1 << 20  # the longest answer that is read: a whole modal in response_action "update"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """Exactly what was sent, so that it can be sent again."""

    headers: dict[str, str]
    body: bytes


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """`v0=` and the HMAC-SHA256 of `v0:<timestamp>:<body>` (docs: "Verifying requests from Slack")."""
    return "v0=" + hmac.new(secret.encode(), b"v0:%d:%s" % (timestamp, body), hashlib.sha256).hexdigest()


@dataclass(slots=True)
class RequestUrl:
    """The app's request URL and everything that was sent to it."""

    clock: Clock
    limits: Limits
    faults: Faults
    secret: str
    url: str | None = None
    sent: list[SignedRequest] = field(default_factory=list)

    def prepare(self, delivery: Delivery) -> SignedRequest:
        body = urlencode({"payload": json.dumps(delivery.payload)}).encode()
        timestamp = int(self.clock.now())
        secret = "somebody-else" if self.faults.forged_signature.take("") else self.secret
        return SignedRequest(
            {
                "Content-Type": "application/x-www-form-urlencoded",
                "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
                "X-Slack-Request-Timestamp": str(timestamp),
                "X-Slack-Signature": sign(secret, timestamp, body),
            },
            body,
        )

    async def deliver(self, delivery: Delivery) -> None:
        """Post it and settle the delivery with what came back."""
        request = self.prepare(delivery)
        self.sent.append(request)
        delivery.attempts += 1
        try:
            delivery.status, answer = await self._post(request)
        except TimeoutError:
            delivery.settle("failed", reason="timeout")
        except aiohttp.ClientError:
            delivery.settle("failed", reason="connection_failed")
        else:
            _settle(delivery, answer)

    async def replay(self, index: int = -1) -> int:
        """Send an earlier request again, byte for byte, old timestamp included; returns the status."""
        status, _ = await self._post(self.sent[index])
        return status

    async def _post(self, request: SignedRequest) -> tuple[int, bytes]:
        if self.url is None:
            raise aiohttp.InvalidURL("no request URL is configured")
        async with (
            asyncio.timeout(self.limits.ack_seconds),
            aiohttp.ClientSession() as session,
            session.post(self.url, data=request.body, headers=request.headers) as response,
        ):
            return response.status, await response.content.read(ANSWER_BYTES)


def _settle(delivery: Delivery, answer: bytes) -> None:
    if delivery.status != 200:
        delivery.settle("failed", reason=f"http_error {delivery.status}")
        return
    try:
        body = json.loads(answer) if answer.strip() else {}
    except ValueError:
        body = {}
    delivery.settle("acked", answer=body if isinstance(body, dict) else {})
