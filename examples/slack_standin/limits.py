"""Slack's limits as numbers. `Limits()` is Slack; pass other values to switch a limit off or make it bite sooner.

Sources: docs.slack.dev, "Rate limits", "Handling user interaction", "Using Socket Mode", "Block Kit reference".
"""

import math
from dataclasses import dataclass, field

from examples.slack_standin.clock import Clock

# Calls per minute that a method is granted per workspace ("Tier 2 20+, Tier 3 50+, Tier 4 100+"). Slack tolerates
# bursts within the minute, so the whole minute's allowance may be spent at once. Tier 1 methods
# (apps.connections.open) are left out: their floor of one a minute says nothing about what is granted in practice.
TIERS = {
    "chat.update": 50,
    "chat.delete": 50,
    "chat.postEphemeral": 100,
    "conversations.list": 20,
    "conversations.info": 50,
    "conversations.open": 50,
    "conversations.history": 50,
    "conversations.replies": 50,
    "files.getUploadURLExternal": 100,
    "files.completeUploadExternal": 100,
    "users.info": 100,
    "users.lookupByEmail": 50,
    "views.open": 100,
    "views.push": 100,
    "views.update": 100,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What is enforced. Seconds are the clock's; a rate of `math.inf` and a flag of False mean "not enforced"."""

    block_kit: bool = True  # refuse what Block Kit refuses
    posts_per_second: float = 1.0  # chat.postMessage, per channel
    post_burst: int = 5  # "short bursts are allowed": messages at once after a quiet spell
    workspace_posts_per_second: float = 5.0  # "several hundred messages a minute", over all channels
    workspace_burst: int = 50
    tiers: bool = True  # the per-minute tiers of the other methods
    ack_seconds: float = 3.0  # to ack an envelope or to answer a signed POST
    redeliveries: int = 3  # of an envelope that nobody acked
    connections: int = 10  # WebSockets of one app
    ticket_seconds: float = 30.0  # to use the address that apps.connections.open gave
    drain_seconds: float = 10.0  # between a disconnect frame and the end of the connection
    trigger_seconds: float = 3.0  # a trigger_id's life; it is also spent by its first use
    response_url_seconds: float = 1800.0
    second: float = 1.0  # how long a second of the rates lasts: a test shrinks it, and nothing else
    response_url_uses: int = 5

    @classmethod
    def off(cls) -> "Limits":
        """No rates, no validation, nothing expires: for looking at one thing at a time."""
        return cls(
            block_kit=False,
            posts_per_second=math.inf,
            workspace_posts_per_second=math.inf,
            tiers=False,
            trigger_seconds=math.inf,
            response_url_seconds=math.inf,
            response_url_uses=2**31,
        )


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


@dataclass(slots=True)
class RateLimiter:
    """Token buckets by key: `wait` takes a token and returns 0, or says how many seconds until there is one."""

    clock: Clock
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def wait(self, key: str, per_second: float, burst: int) -> float:
        if math.isinf(per_second):
            return 0.0
        now = self.clock.now()
        bucket = self._buckets.setdefault(key, _Bucket(float(burst), now))
        bucket.tokens = min(float(burst), bucket.tokens + (now - bucket.filled_at) * per_second)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / per_second
        bucket.tokens -= 1
        return 0.0
