"""What operators see of an approver (Prometheus). Times are seconds."""

from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.approver.watching import Watching


class Metrics:
    """Counters and gauges of one process; the gauges read the bucket's state, so any copy tells the same."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pending = Gauge(
            "countersign_approvals_pending", "Approvals that people may still decide", registry=registry
        )
        self.oldest = Gauge(
            "countersign_approvals_oldest_pending_seconds", "Age of the longest pending approval", registry=registry
        )
        self.unannounced = Gauge(
            "countersign_approvals_unannounced", "Settled approvals whose events are not yet acked", registry=registry
        )
        self.decisions = Counter(
            "countersign_approval_decisions_total",
            "Steps by what they led to, or why they were refused, and where they came from",
            ("outcome", "channel"),
            registry=registry,
        )
        self.glass_broken = Counter(
            "countersign_approval_break_glass_total",
            "Operations that one person let through in an emergency; alert on any",
            registry=registry,
        )
        self.revoked = Counter(
            "countersign_grants_revoked_total", "Grants that a person ended early", registry=registry
        )
        self.channel_errors = Counter(
            "countersign_approval_channel_errors_total",
            "Calls to a channel that failed",
            ("channel", "error"),
            registry=registry,
        )
        self.channel_up = Gauge(
            "countersign_approval_channel_up", "1 while people's answers can arrive", ("channel",), registry=registry
        )
        self.behind = Gauge(
            "countersign_approval_channel_behind",
            "Messages that do not show the newest state yet, and questions that have none",
            ("channel",),
            registry=registry,
        )
        self.posts = Counter(
            "countersign_approval_messages_total", "Messages posted and updated", ("channel", "what"), registry=registry
        )

    def watch(self, watching: Watching, clock: Callable[[], datetime]) -> None:
        """Have the gauges computed from the watched entries when they are read."""

        def oldest() -> float:
            waiting = [entry.requested_at for entry in watching.entries() if entry.open]
            return (clock() - waiting[0]).total_seconds() if waiting else 0.0

        self.pending.set_function(lambda: sum(entry.open for entry in watching.entries()))
        self.unannounced.set_function(lambda: sum(not (entry.open or entry.announced) for entry in watching.entries()))
        self.oldest.set_function(oldest)

    def watch_channel(self, name: str, check: Callable[[], bool | str]) -> None:
        """Have a channel's state read when it is asked for."""
        self.channel_up.labels(name).set_function(lambda: check() is True)
