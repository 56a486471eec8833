-- What was dropped because it was old: the first `leaves` of a stream's log have no rows any more. The note is signed by the
-- log's key (services/recorder/retaining.py), so that nobody else can call a missing row expired.
CREATE TABLE IF NOT EXISTS retentions
(
    stream        LowCardinality(String),
    leaves        UInt64,
    before        DateTime64(6, 'UTC'),
    note          String CODEC(ZSTD(1)),
    at            DateTime64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (stream, leaves)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
