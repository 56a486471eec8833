-- Content is sealed by a key per session and can be erased; the log over the events is a Merkle tree.
--
-- `raw` of `events`, `session_frames` and `dead_letters` holds the published bytes with `null` where content stood;
-- `content` holds the content, sealed (services/recorder/content.py): 12 bytes of nonce, AES-256-GCM, the event's id as
-- associated data. What is cut out of an event stands once, in its typed table; `events.content_hash` is its SHA-256 in
-- hex. Rows from before this migration have everything in `raw` and in the typed columns, and an empty `content`.

ALTER TABLE events ADD COLUMN IF NOT EXISTS content_hash String CODEC(ZSTD(1));

ALTER TABLE attempts ADD COLUMN IF NOT EXISTS content String CODEC(NONE),
    ADD INDEX IF NOT EXISTS by_event event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS by_position stream_seq TYPE minmax GRANULARITY 1;

ALTER TABLE outcomes ADD COLUMN IF NOT EXISTS content String CODEC(NONE),
    ADD INDEX IF NOT EXISTS by_event event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS by_position stream_seq TYPE minmax GRANULARITY 1;

ALTER TABLE approval_requests ADD COLUMN IF NOT EXISTS content String CODEC(NONE),
    ADD INDEX IF NOT EXISTS by_event event_id TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE verdicts ADD INDEX IF NOT EXISTS by_position stream_seq TYPE minmax GRANULARITY 1;

ALTER TABLE session_frames ADD COLUMN IF NOT EXISTS subject String CODEC(ZSTD(1)) AFTER truncated,
    ADD COLUMN IF NOT EXISTS content String CODEC(NONE),
    ADD INDEX IF NOT EXISTS by_position stream_seq TYPE minmax GRANULARITY 1;

ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS content String CODEC(NONE);

-- One random key per session and stream (a dead letter's session is its event_id), written before the rows that need
-- it; erasing a session is deleting its keys (services/recorder/erasing.py). Readers cannot name this table.
CREATE TABLE IF NOT EXISTS session_keys
(
    session_id    String CODEC(ZSTD(1)),
    stream        LowCardinality(String),
    key           String CODEC(NONE),
    created_at    DateTime64(3, 'UTC') DEFAULT now64(3),
    CONSTRAINT a_key_has_256_bits CHECK length(key) = 32
)
ENGINE = MergeTree
ORDER BY (session_id, stream)
SETTINGS index_granularity = 512, old_parts_lifetime = 60,
         non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Looks keys up for the views: only where a query asks for content, and with bounded memory (docs/adr/0010).
-- services/recorder/keyring.py makes it anew with the account of `audit.dsn` on a server that asks for one.
CREATE DICTIONARY IF NOT EXISTS keyring
(
    session_id String,
    stream     String,
    key        String
)
PRIMARY KEY session_id, stream
SOURCE(CLICKHOUSE(TABLE 'session_keys'))
LIFETIME(MIN 30 MAX 60)
LAYOUT(COMPLEX_KEY_CACHE(SIZE_IN_CELLS 262144));

-- Who had what erased.
CREATE TABLE IF NOT EXISTS erasures
(
    stream_seq      UInt64 CODEC(Delta, ZSTD(1)),
    published_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id        String CODEC(ZSTD(1)),
    at              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingress         LowCardinality(String),
    session_id      String CODEC(ZSTD(1)),
    traceparent     String CODEC(ZSTD(1)),
    by              LowCardinality(String),
    subject         LowCardinality(String),
    reason          String CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY (session_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- The Merkle tree of a stream's log (RFC 6962): the hash of every leaf with the row it stands for, and of every 256th,
-- 65,536th, … subtree, so that a proof reads a few hundred hashes of a log of any size (services/recorder/sealer.py).
CREATE TABLE IF NOT EXISTS leaves
(
    stream        LowCardinality(String),
    leaf          UInt64 CODEC(Delta, ZSTD(1)),
    epoch         UInt64 CODEC(Delta, ZSTD(1)),
    stream_seq    UInt64 CODEC(Delta, ZSTD(1)),
    kind          LowCardinality(String),
    hash          FixedString(32) CODEC(NONE),
    INDEX by_position stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
ORDER BY (stream, leaf)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS tree_nodes
(
    stream        LowCardinality(String),
    level         UInt8,
    node          UInt64 CODEC(Delta, ZSTD(1)),
    hash          FixedString(32) CODEC(NONE)
)
ENGINE = MergeTree
ORDER BY (stream, level, node)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- `stream` is the log, `epoch` and `stream_seq` the last message it covers.
ALTER TABLE checkpoints ADD COLUMN IF NOT EXISTS stream LowCardinality(String),
    ADD COLUMN IF NOT EXISTS epoch UInt64,
    ADD COLUMN IF NOT EXISTS stream_seq UInt64;

-- What each event commits to in the log: one line per fact (services/recorder/leaf.py has the same in Python).
CREATE OR REPLACE VIEW log_entries AS
SELECT stream, epoch, stream_seq, kind, event_id, published_at,
       concat('countersign.event/1\n', stream, '\n', toString(epoch), '\n', toString(stream_seq), '\n',
              toString(toUnixTimestamp64Micro(published_at)), '\n', kind, '\n', subject, '\n',
              lower(hex(SHA256(raw))), '\n', if(content_hash = '', '-', content_hash), '\n',
              if(detail = '', '-', lower(hex(SHA256(detail)))), '\n') AS entry,
       SHA256(concat('\0', entry)) AS hash
FROM (
    SELECT stream, epoch, stream_seq, 'events' AS kind, event_id, published_at, subject, raw, content_hash,
           '' AS detail
    FROM events
    UNION ALL
    SELECT stream, epoch, stream_seq, 'session_frames', event_id, published_at, subject, raw,
           if(content = '', '', lower(hex(SHA256(content)))), ''
    FROM session_frames
    UNION ALL
    SELECT stream, epoch, stream_seq, 'dead_letters', event_id, published_at, subject, raw,
           if(content = '', '', lower(hex(SHA256(content)))), reason
    FROM dead_letters
);

-- The key of one row's content, and the content in the clear; NULL once the session's key is gone. Columns of this kind
-- are computed where a query names them, and only then is a key looked up. `rightPad` keeps bytes that somebody cut short
-- from failing the whole query.

ALTER TABLE attempts
    ADD COLUMN IF NOT EXISTS content_key FixedString(32) ALIAS
        SHA256(SHA256(concat(dictGetOrDefault('keyring', 'key', (session_id, 'AUDIT'), ''), event_id))),
    ADD COLUMN IF NOT EXISTS opened Nullable(String) ALIAS
        tryDecrypt('aes-256-gcm', substring(content, 13), content_key, rightPad(substring(content, 1, 12), 12, '\0'),
                   event_id);

ALTER TABLE outcomes
    ADD COLUMN IF NOT EXISTS content_key FixedString(32) ALIAS
        SHA256(SHA256(concat(dictGetOrDefault('keyring', 'key', (session_id, 'AUDIT'), ''), event_id))),
    ADD COLUMN IF NOT EXISTS opened Nullable(String) ALIAS
        tryDecrypt('aes-256-gcm', substring(content, 13), content_key, rightPad(substring(content, 1, 12), 12, '\0'),
                   event_id);

ALTER TABLE approval_requests
    ADD COLUMN IF NOT EXISTS content_key FixedString(32) ALIAS
        SHA256(SHA256(concat(dictGetOrDefault('keyring', 'key', (session_id, 'AUDIT'), ''), event_id))),
    ADD COLUMN IF NOT EXISTS opened Nullable(String) ALIAS
        tryDecrypt('aes-256-gcm', substring(content, 13), content_key, rightPad(substring(content, 1, 12), 12, '\0'),
                   event_id);

ALTER TABLE session_frames
    ADD COLUMN IF NOT EXISTS content_key FixedString(32) ALIAS
        SHA256(SHA256(concat(dictGetOrDefault('keyring', 'key', (session_id, stream), ''), event_id))),
    ADD COLUMN IF NOT EXISTS opened Nullable(String) ALIAS
        tryDecrypt('aes-256-gcm', substring(content, 13), content_key, rightPad(substring(content, 1, 12), 12, '\0'),
                   event_id);

ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS content_key FixedString(32) ALIAS
        SHA256(SHA256(concat(dictGetOrDefault('keyring', 'key', (event_id, stream), ''), event_id))),
    ADD COLUMN IF NOT EXISTS opened Nullable(String) ALIAS
        tryDecrypt('aes-256-gcm', substring(content, 13), content_key, rightPad(substring(content, 1, 12), 12, '\0'),
                   event_id);

-- What auditors read: content in the clear, or `[erased]`.

CREATE OR REPLACE VIEW operations AS
-- 1. Finished, told by the ingress itself: by far the most.
SELECT
    operation_id, a.session_id AS session_id, started_at,
    CAST(o.at AS Nullable(DateTime64(6, 'UTC'))) AS finished_at,
    a.subject AS subject, a.email AS email, a.groups AS groups, a.issuer AS issuer, a.kind AS kind,
    a.connector AS connector, a.protocol AS protocol, a.action AS action,
    multiIf(a.content = '' OR notEmpty(a.resources), a.resources, isNull(a.opened), ['[erased]'],
            JSONExtract(assumeNotNull(a.opened), 'operation', 'resources', 'Array(String)')) AS resources,
    if(a.content = '', a.statement, ifNull(JSONExtractString(a.opened, 'operation', 'statement'), '[erased]')) AS statement,
    a.findings AS findings,
    o.decision AS decision, o.rules AS rules, if(o.reason != '', o.reason, o.error) AS reason,
    o.policy_version AS policy_version,
    o.approval_id AS approval_id, o.approved_by AS approved_by, o.outcome AS outcome, o.status AS status,
    o.masked AS masked, o.request_bytes AS request_bytes, o.response_bytes AS response_bytes, o.rows AS rows,
    o.decided_ms AS decided_ms, o.total_ms AS total_ms, a.ingress AS ingress
FROM (SELECT * FROM outcomes WHERE self_contained) AS o
ANY INNER JOIN attempts AS a USING (started_at, operation_id)
UNION ALL
-- 2. Still open, or its outcome does not tell the decision: the last verdict does. An outcome presumed by a recorder
--    counts only where the ingress left none. One that tells who and what, because the ingress had no ack, stands here
--    if the attempt came through after all.
SELECT
    operation_id, session_id, started_at, nullIf(f.finished_at, toDateTime64(0, 6, 'UTC')) AS finished_at,
    subject, email, groups, issuer, kind, connector, protocol, action,
    multiIf(a.content = '' OR notEmpty(a.resources), a.resources, isNull(a.opened), ['[erased]'],
            JSONExtract(assumeNotNull(a.opened), 'operation', 'resources', 'Array(String)')) AS resources,
    if(a.content = '', a.statement, ifNull(JSONExtractString(a.opened, 'operation', 'statement'), '[erased]')) AS statement,
    findings,
    v.last.1 AS decision, v.last.2 AS rules,
    multiIf(f.reason != '', f.reason, v.last.3 != '', v.last.3, f.error) AS reason,
    v.last.4 AS policy_version, v.last.5 AS approval_id, v.last.6 AS approved_by,
    f.outcome AS outcome, f.status AS status, f.masked AS masked, f.request_bytes AS request_bytes,
    f.response_bytes AS response_bytes, f.rows AS rows, f.decided_ms AS decided_ms, f.total_ms AS total_ms, ingress
FROM (
    SELECT started_at, operation_id,
           argMax((decision, rules, reason, policy_version, approval_id, approved_by), (published_at, stream_seq))
               AS last
    FROM verdicts GROUP BY started_at, operation_id
) AS v
ANY RIGHT JOIN (
    SELECT started_at, operation_id, a.session_id AS session_id, a.subject AS subject, a.email AS email,
           a.groups AS groups, a.issuer AS issuer, a.kind AS kind, a.connector AS connector, a.protocol AS protocol,
           a.action AS action, a.resources AS resources, a.statement AS statement, a.content AS content,
           a.opened AS opened, a.findings AS findings, a.ingress AS ingress
    FROM (SELECT started_at, operation_id FROM outcomes WHERE self_contained) AS o
    RIGHT ANTI JOIN attempts AS a USING (started_at, operation_id)
) AS a USING (started_at, operation_id)
ANY LEFT JOIN (
    SELECT started_at, operation_id, at AS finished_at, outcome, reason, error, status, masked, request_bytes,
           response_bytes, rows, decided_ms, total_ms
    FROM outcomes WHERE NOT self_contained
    ORDER BY presumed LIMIT 1 BY started_at, operation_id
) AS f USING (started_at, operation_id)
UNION ALL
-- 3. Turned away at the door, or its attempt never came through: there is none on record.
SELECT
    operation_id, session_id, started_at, at AS finished_at, subject, email, groups, issuer, kind,
    if(refusal_connector != '', refusal_connector, connector) AS connector, protocol, action,
    [] AS resources,
    if(r.content = '', r.statement, ifNull(JSONExtractString(r.opened, 'refusal', 'statement'), '[erased]')) AS statement,
    map() AS findings, decision, rules,
    multiIf(reason != '', reason, error != '', error, refusal_code) AS reason,
    policy_version, approval_id, approved_by, outcome, status, masked, request_bytes, response_bytes, rows,
    decided_ms, total_ms, ingress
FROM (SELECT started_at, operation_id FROM attempts) AS a
RIGHT ANTI JOIN (SELECT *, opened FROM outcomes WHERE refused) AS r USING (started_at, operation_id);

CREATE OR REPLACE VIEW frames AS
SELECT
    session_id, seq, at, direction,
    multiIf(isNull(said), '[erased]', encoding = 'base64', tryBase64Decode(assumeNotNull(said)), assumeNotNull(said))
        AS data,
    operation_id, media_type, truncated
FROM (
    SELECT *, if(content = '', raw, opened) AS told, JSONExtractString(told, 'data') AS said,
           JSONExtractString(if(raw = '', told, raw), 'encoding') AS encoding
    FROM session_frames
);

-- The attempt in full, and the request for approval as people were shown it.
CREATE OR REPLACE VIEW attempt_details AS
SELECT
    started_at, operation_id, session_id, subject, email, groups, issuer, kind, owner, connector, protocol, tags, action,
    multiIf(a.content = '' OR notEmpty(a.resources), a.resources, isNull(a.opened), ['[erased]'],
            JSONExtract(assumeNotNull(a.opened), 'operation', 'resources', 'Array(String)')) AS resources,
    if(content = '', statement, ifNull(JSONExtractString(opened, 'operation', 'statement'), '[erased]')) AS statement,
    method,
    if(content = '', path, ifNull(JSONExtractString(opened, 'operation', 'path'), '[erased]')) AS path,
    if(content = '', query, ifNull(JSONExtractRaw(opened, 'operation', 'query'), '[erased]')) AS query,
    if(content = '', attributes, ifNull(JSONExtractRaw(opened, 'operation', 'attributes'), '[erased]')) AS attributes,
    size, complete, digest, findings, wait_seconds, asked_approval_id,
    if(content = '', caller_reason, ifNull(JSONExtractString(opened, 'asked', 'reason'), '[erased]')) AS caller_reason,
    run, traceparent, peer, ingress
FROM attempts AS a;

CREATE OR REPLACE VIEW approval_details AS
SELECT
    approval_id, operation_id, session_id, at AS requested_at, subject, issuer, email, groups, connector, protocol,
    action,
    if(content = '', statement, ifNull(JSONExtractString(opened, 'operation', 'statement'), '[erased]')) AS statement,
    if(content = '', caller_reason, ifNull(JSONExtractString(opened, 'asked', 'reason'), '[erased]')) AS caller_reason,
    digest, rules, asked_groups, quorum, grant_seconds, expires_at, policy_version
FROM approval_requests;

-- The published bytes in two parts (services/recorder/content.py puts them together); content is '' where there is
-- none, and NULL where it was erased.
CREATE OR REPLACE VIEW event_bytes AS
SELECT stream, epoch, stream_seq, published_at, 'events' AS kind, subject, event_id, session_id, raw,
       CAST('' AS Nullable(String)) AS content, '' AS sealed, '' AS content_key
FROM events WHERE content_hash = ''
UNION ALL
SELECT e.stream, e.epoch, e.stream_seq, e.published_at, 'events', e.subject, e.event_id, e.session_id, e.raw,
       if(c.content = '', NULL, c.opened), c.content, hex(c.content_key)
FROM attempts AS c ANY RIGHT JOIN (
    SELECT * FROM events WHERE content_hash != '' AND type = 'OperationAttempted'
) AS e USING (event_id)
UNION ALL
SELECT e.stream, e.epoch, e.stream_seq, e.published_at, 'events', e.subject, e.event_id, e.session_id, e.raw,
       if(c.content = '', NULL, c.opened), c.content, hex(c.content_key)
FROM approval_requests AS c ANY RIGHT JOIN (
    SELECT * FROM events WHERE content_hash != '' AND type = 'ApprovalRequested'
) AS e USING (event_id)
UNION ALL
SELECT e.stream, e.epoch, e.stream_seq, e.published_at, 'events', e.subject, e.event_id, e.session_id, e.raw,
       if(c.content = '', NULL, c.opened), c.content, hex(c.content_key)
FROM outcomes AS c ANY RIGHT JOIN (
    SELECT * FROM events WHERE content_hash != '' AND type = 'OperationFinished'
) AS e USING (event_id)
UNION ALL
SELECT stream, epoch, stream_seq, published_at, 'session_frames', subject, event_id, session_id, raw,
       if(content = '', '', opened), content, if(content = '', '', hex(content_key))
FROM session_frames
UNION ALL
SELECT stream, epoch, stream_seq, published_at, 'dead_letters', subject, event_id, event_id AS session_id, raw,
       if(content = '', '', opened), content, if(content = '', '', hex(content_key))
FROM dead_letters;

-- Erasures, and how many keys of the session are left: none, once it is done.
CREATE OR REPLACE VIEW erased_sessions AS
SELECT e.session_id AS session_id, e.at AS requested_at, e.by AS requested_by, e.subject AS subject, e.reason AS reason,
       k.left AS keys_left
FROM (SELECT session_id, count() AS left FROM session_keys GROUP BY session_id) AS k
ANY RIGHT JOIN erasures AS e USING (session_id);
