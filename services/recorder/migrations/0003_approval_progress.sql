-- What ingress found out for those who were asked, and how the operation that they approved ended.

CREATE TABLE IF NOT EXISTS approval_previews
(
    stream_seq      UInt64 CODEC(Delta, ZSTD(1)),
    published_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id        String CODEC(ZSTD(1)),
    at              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress         LowCardinality(String),
    session_id      String CODEC(ZSTD(1)),
    traceparent     String CODEC(ZSTD(1)),
    approval_id     String CODEC(ZSTD(1)),
    operation_id    String CODEC(ZSTD(1)),
    -- NULL where the database could not tell; `problem` says why.
    estimated_rows  Nullable(UInt64),
    counted_rows    Nullable(UInt64),
    problem         String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (approval_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS approval_uses
(
    stream_seq      UInt64 CODEC(Delta, ZSTD(1)),
    published_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id        String CODEC(ZSTD(1)),
    at              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress         LowCardinality(String),
    session_id      String CODEC(ZSTD(1)),
    traceparent     String CODEC(ZSTD(1)),
    approval_id     String CODEC(ZSTD(1)),
    operation_id    String CODEC(ZSTD(1)),
    outcome         LowCardinality(String),
    status          LowCardinality(String),
    error           String CODEC(ZSTD(1)),
    rows            UInt64 CODEC(ZSTD(1)),
    response_bytes  UInt64 CODEC(ZSTD(1)),
    total_ms        Float64 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (approval_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
