"""What operators see of an ingress (Prometheus)."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.events import Outcome

#: Seconds; the gate's own budget is about a millisecond, a model's answer takes minutes.
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counters of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._operations = Counter(
            "countersign_operations_total",
            "Operations by outcome",
            ("protocol", "connector", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "countersign_operation_seconds",
            "From attempt to last byte",
            ("protocol",),
            buckets=_BUCKETS,
            registry=registry,
        )
        # Looking a label set up costs as much as counting; there are few of them.
        self._count = cache(self._operations.labels)
        self._time = cache(self._seconds.labels)
        self.decision_seconds = Histogram(
            "countersign_decision_seconds", "From attempt to verdict and ack", buckets=_BUCKETS, registry=registry
        )
        self.refusals = Counter(
            "countersign_refusals_total", "Requests turned away before judgement", ("code",), registry=registry
        )
        self.sessions = Gauge("countersign_sessions", "Open connections of agents", ("protocol",), registry=registry)
        self.in_flight = Gauge("countersign_operations_in_flight", "Operations under way", registry=registry)
        self.issuer_problem = Gauge(
            "countersign_issuer_problem", "1 while an issuer's keys cannot be had", ("issuer",), registry=registry
        )
        self.held = Gauge("countersign_operations_held", "Operations that wait for people", registry=registry)
        self.outbox = Gauge("countersign_outbox_events", "Events not yet acked by JetStream", registry=registry)

    def finished(self, protocol: str, connector: str, outcome: Outcome, seconds: float) -> None:
        """Count one outcome."""
        self._count(protocol, connector, outcome).inc()
        self._time(protocol).observe(seconds)
