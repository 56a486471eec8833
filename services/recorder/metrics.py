"""What operators see of a recorder, in Prometheus: how far behind it is, what it writes, what it could not read."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

#: Seconds; an insert of a batch takes milliseconds, and a struggling ClickHouse takes seconds.
_INSERT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True)
class Metrics:
    """One recorder's metrics; all are labelled by stream unless they say otherwise."""

    lag_messages: Gauge
    lag_seconds: Gauge
    writer: Gauge
    batches: Counter
    #: By table.
    rows: Counter
    #: By table.
    insert_seconds: Histogram
    insert_retries: Counter
    dead_letters: Counter
    trimmed: Counter
    #: No label.
    ingress_gaps: Gauge
    closed: Counter


def make_metrics(registry: CollectorRegistry) -> Metrics:
    """Register them."""

    def gauge(name: str, text: str) -> Gauge:
        return Gauge(f"countersign_recorder_{name}", text, ["stream"], registry=registry)

    def counter(name: str, text: str, labels: tuple[str, ...] = ("stream",)) -> Counter:
        return Counter(f"countersign_recorder_{name}", text, labels, registry=registry)

    return Metrics(
        lag_messages=gauge("lag_messages", "Messages in the stream that are not in ClickHouse yet"),
        lag_seconds=gauge("lag_seconds", "Age in seconds of the oldest message that is not in ClickHouse yet"),
        writer=gauge("writer", "1 in the copy that writes this stream, 0 in those that stand by"),
        batches=counter("batches", "Batches stored"),
        rows=counter("inserted_rows", "Rows inserted, by table", ("table",)),
        insert_seconds=Histogram(
            "countersign_recorder_insert_seconds",
            "Seconds an insert took, by table",
            ["table"],
            buckets=_INSERT_BUCKETS,
            registry=registry,
        ),
        insert_retries=counter("insert_retries", "Inserts tried again because ClickHouse was away", ("table",)),
        dead_letters=counter("dead_letters", "Messages that could not be recorded as events"),
        ingress_gaps=Gauge(
            "countersign_recorder_ingress_gaps",
            "Events that ingresses counted and that are not in ClickHouse",
            registry=registry,
        ),
        trimmed=counter("trimmed_messages", "Stored messages removed from a stream that was filling up"),
        closed=counter("closed_operations", "Attempts closed as unknown because their ingress is gone", ()),
    )
