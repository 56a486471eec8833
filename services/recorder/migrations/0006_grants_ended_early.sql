-- A person may end a grant before its time, and may let an operation through alone in an emergency.

ALTER TABLE approval_resolutions ADD COLUMN IF NOT EXISTS break_glass Bool;

CREATE TABLE IF NOT EXISTS grant_revocations
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
    grant_id        String CODEC(ZSTD(1)),
    revoked_by      LowCardinality(String),
    reason          String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (approval_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
