"""What operators see of deliveries, in Prometheus; all by receiver."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge


@dataclass(frozen=True)
class DeliveryMetrics:
    """One recorder's deliveries."""

    lag_seconds: Gauge
    operations: Counter
    refused: Counter


def make_delivery_metrics(registry: CollectorRegistry) -> DeliveryMetrics:
    """Register them."""
    labels = ["receiver"]
    return DeliveryMetrics(
        lag_seconds=Gauge(
            "countersign_delivery_lag_seconds",
            "Age in seconds of the oldest finished operation that a receiver has not taken",
            labels,
            registry=registry,
        ),
        operations=Counter(
            "countersign_delivery_operations", "Operations that a receiver has taken", labels, registry=registry
        ),
        refused=Counter(
            "countersign_delivery_refused",
            "Batches that a receiver has not taken; each is sent again",
            labels,
            registry=registry,
        ),
    )
