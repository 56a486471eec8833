-- The record, append-only. Counterpart: services/recorder/rows.py builds the rows, tables.py lists the columns.
--
-- `events` and `session_frames` hold the exact bytes that were published; every other table is read from them, and
-- could be built again from them. `published_at` is JetStream's own timestamp, never the publisher's clock: it is what
-- partitions and retention go by, so that no event can place itself in the past or in a hundred partitions at once.
-- A stream's incarnation is its `epoch` (services/recorder/resume.py): with it, `stream_seq` is unique for good.
--
-- `started_at` is the moment inside an operation's UUIDv7. Every table derives it in the same way, so that a filter on
-- it reaches both sides of a join, and both sides are sorted by it.
--
-- non_replicated_deduplication_window: a batch written again by the next writer (docs/adr/0003-exactly-once.md) is
-- dropped if its token is among the last 10,000 of the table; at one batch every half second that is 80 minutes.
-- fsync_after_insert: what is acked to the stream as stored survives a power failure.

CREATE TABLE IF NOT EXISTS events
(
    stream        LowCardinality(String),
    epoch         UInt64 CODEC(Delta, ZSTD(1)),
    stream_seq    UInt64 CODEC(Delta, ZSTD(1)),
    published_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    subject       String CODEC(ZSTD(3)),
    type          LowCardinality(String),
    event_id      String CODEC(ZSTD(1)),
    at            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress       LowCardinality(String),
    ingress_seq   UInt64 CODEC(ZSTD(1)),
    session_id    String CODEC(ZSTD(1)),
    operation_id  String CODEC(ZSTD(1)),
    traceparent   String CODEC(ZSTD(1)),
    raw           String CODEC(ZSTD(3)),
    INDEX by_event event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_operation operation_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session session_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (stream, epoch, stream_seq)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS attempts
(
    stream_seq        UInt64 CODEC(Delta, ZSTD(1)),
    published_at      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id          String CODEC(ZSTD(1)),
    at                DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress           LowCardinality(String),
    session_id        String CODEC(ZSTD(1)),
    traceparent       String CODEC(ZSTD(1)),
    started_at        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    operation_id      String CODEC(ZSTD(1)),
    subject           LowCardinality(String),
    issuer            LowCardinality(String),
    email             LowCardinality(String),
    groups            Array(LowCardinality(String)),
    kind              LowCardinality(String),
    owner             LowCardinality(String),
    connector         LowCardinality(String),
    protocol          LowCardinality(String),
    tags              Map(LowCardinality(String), String),
    action            LowCardinality(String),
    resources         Array(String) CODEC(ZSTD(1)),
    statement         String CODEC(ZSTD(3)),
    method            LowCardinality(String),
    path              String CODEC(ZSTD(1)),
    query             String CODEC(ZSTD(1)),
    attributes        String CODEC(ZSTD(1)),
    size              UInt64,
    complete          Bool,
    digest            String CODEC(ZSTD(1)),
    findings          Map(LowCardinality(String), UInt64),
    wait_seconds      Float64,
    asked_approval_id String CODEC(ZSTD(1)),
    caller_reason     String CODEC(ZSTD(1)),
    run               String CODEC(ZSTD(1)),
    peer              String CODEC(ZSTD(1)),
    INDEX by_operation operation_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_subject subject TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_ingress ingress TYPE set(64) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (started_at, operation_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS verdicts
(
    stream_seq      UInt64 CODEC(Delta, ZSTD(1)),
    published_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id        String CODEC(ZSTD(1)),
    at              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress         LowCardinality(String),
    session_id      String CODEC(ZSTD(1)),
    traceparent     String CODEC(ZSTD(1)),
    started_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    operation_id    String CODEC(ZSTD(1)),
    by              LowCardinality(String),
    decision        LowCardinality(String),
    rules           Array(LowCardinality(String)),
    reason          String CODEC(ZSTD(1)),
    policy_version  LowCardinality(String),
    obligations     String CODEC(ZSTD(1)),
    approval_id     String CODEC(ZSTD(1)),
    approved_by     Array(LowCardinality(String)),
    certificate     String CODEC(ZSTD(1)),
    INDEX by_operation operation_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (started_at, operation_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS outcomes
(
    stream_seq      UInt64 CODEC(Delta, ZSTD(1)),
    published_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id        String CODEC(ZSTD(1)),
    at              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress         LowCardinality(String),
    session_id      String CODEC(ZSTD(1)),
    traceparent     String CODEC(ZSTD(1)),
    started_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    operation_id    String CODEC(ZSTD(1)),
    connector       LowCardinality(String),
    protocol        LowCardinality(String),
    outcome         LowCardinality(String),
    -- Written by a recorder because the ingress was gone (closing.py); an outcome of the ingress itself overrules it.
    presumed        Bool,
    -- It has its own copy of the decision, so that the view `operations` need not look for the verdict.
    self_contained  Bool,
    decision        LowCardinality(String),
    rules           Array(LowCardinality(String)),
    reason          String CODEC(ZSTD(1)),
    policy_version  LowCardinality(String),
    approval_id     String CODEC(ZSTD(1)),
    approved_by     Array(LowCardinality(String)),
    status          LowCardinality(String),
    error           String CODEC(ZSTD(1)),
    masked          Map(LowCardinality(String), UInt64),
    request_bytes   UInt64 CODEC(ZSTD(1)),
    response_bytes  UInt64 CODEC(ZSTD(1)),
    rows            UInt64 CODEC(ZSTD(1)),
    decided_ms      Float64 CODEC(ZSTD(1)),
    total_ms        Float64 CODEC(ZSTD(1)),
    attributes      String CODEC(ZSTD(1)),
    -- A request turned away at the door has no attempt: what is known of it stands here.
    refused         Bool,
    refusal_code    LowCardinality(String),
    refusal_connector LowCardinality(String),
    action          LowCardinality(String),
    statement       String CODEC(ZSTD(3)),
    peer            String CODEC(ZSTD(1)),
    suppressed      UInt64,
    subject         LowCardinality(String),
    issuer          LowCardinality(String),
    email           LowCardinality(String),
    groups          Array(LowCardinality(String)),
    kind            LowCardinality(String),
    INDEX by_operation operation_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_self_contained self_contained TYPE minmax GRANULARITY 1,
    INDEX by_refused refused TYPE minmax GRANULARITY 1,
    INDEX by_ingress ingress TYPE set(64) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (started_at, operation_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS approval_requests
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
    subject         LowCardinality(String),
    issuer          LowCardinality(String),
    email           LowCardinality(String),
    groups          Array(LowCardinality(String)),
    connector       LowCardinality(String),
    protocol        LowCardinality(String),
    action          LowCardinality(String),
    statement       String CODEC(ZSTD(3)),
    digest          String CODEC(ZSTD(1)),
    rules           Array(LowCardinality(String)),
    asked_groups    Array(LowCardinality(String)),
    quorum          UInt32,
    grant_seconds   Float64,
    expires_at      DateTime64(3, 'UTC'),
    caller_reason   String CODEC(ZSTD(1)),
    policy_version  LowCardinality(String),
    INDEX by_operation operation_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (approval_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS approval_resolutions
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
    state           LowCardinality(String),
    decided_by      Array(LowCardinality(String)),
    reason          String CODEC(ZSTD(1)),
    grant_id        String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (approval_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS approval_withdrawals
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
    reason          String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (approval_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS session_starts
(
    stream_seq      UInt64 CODEC(Delta, ZSTD(1)),
    published_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id        String CODEC(ZSTD(1)),
    at              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress         LowCardinality(String),
    session_id      String CODEC(ZSTD(1)),
    traceparent     String CODEC(ZSTD(1)),
    protocol        LowCardinality(String),
    peer            String CODEC(ZSTD(1)),
    tls             Bool
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (session_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS session_ends
(
    stream_seq      UInt64 CODEC(Delta, ZSTD(1)),
    published_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id        String CODEC(ZSTD(1)),
    at              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress         LowCardinality(String),
    session_id      String CODEC(ZSTD(1)),
    traceparent     String CODEC(ZSTD(1)),
    protocol        LowCardinality(String),
    operations      UInt64,
    reason          String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (session_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Frames are stored once, as the event's bytes; the view `frames` reads the recorded data out of them.
CREATE TABLE IF NOT EXISTS session_frames
(
    stream        LowCardinality(String),
    epoch         UInt64 CODEC(Delta, ZSTD(1)),
    stream_seq    UInt64 CODEC(Delta, ZSTD(1)),
    published_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id      String CODEC(ZSTD(1)),
    at            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress       LowCardinality(String),
    ingress_seq   UInt64 CODEC(ZSTD(1)),
    session_id    String CODEC(ZSTD(1)),
    operation_id  String CODEC(ZSTD(1)),
    protocol      LowCardinality(String),
    seq           UInt64 CODEC(Delta, ZSTD(1)),
    direction     LowCardinality(String),
    media_type    LowCardinality(String),
    truncated     Bool,
    raw           String CODEC(ZSTD(3)),
    INDEX by_event event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_operation operation_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (session_id, seq)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- What could not be read as an event, or was refused by ClickHouse: kept as it came, with the reason.
CREATE TABLE IF NOT EXISTS dead_letters
(
    stream        LowCardinality(String),
    epoch         UInt64 CODEC(Delta, ZSTD(1)),
    stream_seq    UInt64 CODEC(Delta, ZSTD(1)),
    published_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id      String CODEC(ZSTD(1)),
    subject       String CODEC(ZSTD(1)),
    reason        String CODEC(ZSTD(1)),
    raw           String CODEC(ZSTD(3)),
    at            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (stream, epoch, stream_seq)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Signed heads of the Merkle tree over `events` in (stream, epoch, stream_seq) order (RFC 6962).
CREATE TABLE IF NOT EXISTS checkpoints
(
    origin        LowCardinality(String),
    tree_size     UInt64,
    root          String,
    signature     String CODEC(ZSTD(1)),
    note          String CODEC(ZSTD(1)),
    at            DateTime64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (origin, tree_size)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
