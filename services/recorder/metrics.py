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
    sealed_leaves: Gauge
    unsealed_messages: Gauge
    sealing_broken: Gauge
    #: By witness.
    witness_lag: Gauge
    #: No label.
    erased: Counter


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
        sealed_leaves=gauge("sealed_leaves", "Events under the last checkpoint of a stream's log"),
        unsealed_messages=gauge("unsealed_messages", "Stored messages that no checkpoint covers yet"),
        sealing_broken=gauge(
            "sealing_broken", "1 while the stored tree does not fit its last checkpoint: look at once"
        ),
        witness_lag=Gauge(
            "countersign_recorder_witness_lag_seconds",
            "Age in seconds of the oldest checkpoint that a witness has not taken",
            ["witness"],
            registry=registry,
        ),
        erased=counter("erased_sessions", "Sessions whose keys were deleted", ()),
        closed=counter("closed_operations", "Attempts closed as unknown because their ingress is gone", ()),
    )
