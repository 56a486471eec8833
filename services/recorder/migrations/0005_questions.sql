-- What auditors ask, as views beside `operations`; docs/audit.md has an example of each.
--
-- Each has one row per thing that happened and the moment of it, and groups nothing: a filter on that moment reaches the
-- tables below and prunes them, which it could not through a GROUP BY. Content is read through `operations` alone, which
-- knows how it is stored.

-- Approvals and sessions are sorted by ids that are UUIDv7: their moments rise with them, so a minmax index prunes.
ALTER TABLE approval_requests ADD INDEX IF NOT EXISTS by_at at TYPE minmax GRANULARITY 1;
ALTER TABLE approval_resolutions ADD INDEX IF NOT EXISTS by_at at TYPE minmax GRANULARITY 1;
ALTER TABLE approval_uses ADD INDEX IF NOT EXISTS by_at at TYPE minmax GRANULARITY 1;
ALTER TABLE session_starts ADD INDEX IF NOT EXISTS by_at at TYPE minmax GRANULARITY 1;
ALTER TABLE attempts ADD INDEX IF NOT EXISTS by_run run TYPE bloom_filter(0.01) GRANULARITY 1;
ALTER TABLE attempts ADD INDEX IF NOT EXISTS by_trace substring(traceparent, 4, 32) TYPE bloom_filter(0.01) GRANULARITY 1;

-- One row per refused operation and rule; `rule` is empty where none matched, or the door said no.
CREATE OR REPLACE VIEW denials AS
SELECT
    toDate(started_at) AS day, started_at, operation_id, session_id, subject, email, groups, connector, protocol, action,
    resources, statement, rule, reason, approval_id, policy_version
FROM operations
LEFT ARRAY JOIN rules AS rule
WHERE outcome = 'denied';

-- One row per question to people: what they were asked, who decided, how long it took, and what became of it.
CREATE OR REPLACE VIEW approval_decisions AS
SELECT
    q.at AS requested_at, q.approval_id AS approval_id, q.operation_id AS operation_id, q.session_id AS session_id,
    q.subject AS subject, q.email AS email, q.connector AS connector, q.protocol AS protocol, q.action AS action,
    q.rules AS rules, q.asked_groups AS asked_groups, q.quorum AS quorum, q.expires_at AS expires_at,
    p.estimated_rows AS estimated_rows, p.counted_rows AS counted_rows,
    multiIf(r.state != '', r.state, w.withdrawn_at > toDateTime64(0, 6, 'UTC'), 'withdrawn', 'requested') AS state,
    nullIf(if(r.state != '', r.resolved_at, w.withdrawn_at), toDateTime64(0, 6, 'UTC')) AS resolved_at,
    if(isNull(resolved_at), NULL, dateDiff('millisecond', requested_at, assumeNotNull(resolved_at)) / 1000)
        AS waited_seconds,
    r.decided_by AS decided_by, if(r.state != '', r.reason, w.reason) AS reason, r.grant_id AS grant_id,
    u.outcome AS used_outcome, u.status AS used_status, u.rows AS used_rows
FROM approval_requests AS q
ANY LEFT JOIN (
    SELECT approval_id, argMin(state, (published_at, stream_seq)) AS state, min(at) AS resolved_at,
           argMin(decided_by, (published_at, stream_seq)) AS decided_by,
           argMin(reason, (published_at, stream_seq)) AS reason, max(grant_id) AS grant_id
    FROM approval_resolutions GROUP BY approval_id
) AS r ON r.approval_id = q.approval_id
ANY LEFT JOIN (
    SELECT approval_id, min(at) AS withdrawn_at, any(reason) AS reason FROM approval_withdrawals GROUP BY approval_id
) AS w ON w.approval_id = q.approval_id
ANY LEFT JOIN (
    SELECT approval_id, estimated_rows, counted_rows FROM approval_previews ORDER BY stream_seq DESC
    LIMIT 1 BY approval_id
) AS p ON p.approval_id = q.approval_id
ANY LEFT JOIN (
    SELECT approval_id, outcome, status, rows FROM approval_uses ORDER BY stream_seq LIMIT 1 BY approval_id
) AS u ON u.approval_id = q.approval_id;

-- One row per operation that a time-boxed grant let through without asking again.
CREATE OR REPLACE VIEW grants_used AS
SELECT
    started_at, operation_id, o.session_id AS session_id, o.subject AS subject, o.email AS email,
    o.connector AS connector, o.action AS action, o.statement AS statement, o.outcome AS outcome, o.rows AS rows,
    g.grant_id AS grant_id, v.approval_id AS approval_id, v.approved_by AS granted_by, g.granted_at AS granted_at
FROM operations AS o
ANY INNER JOIN (
    SELECT started_at, operation_id, approval_id, approved_by FROM verdicts
    WHERE by = 'policy' AND decision = 'allow' AND certificate != ''
) AS v USING (started_at, operation_id)
ANY LEFT JOIN (
    SELECT approval_id, any(x.grant_id) AS grant_id, min(at) AS granted_at
    FROM approval_resolutions AS x WHERE x.grant_id != '' GROUP BY approval_id
) AS g ON g.approval_id = v.approval_id;

-- One row per operation, direction and kind of value that was masked in it.
CREATE OR REPLACE VIEW masked_entities AS
SELECT
    started_at, operation_id, session_id, subject, email, groups, connector, protocol, action,
    splitByChar('.', name)[1] AS direction, substring(name, position(name, '.') + 1) AS entity, count
FROM operations
ARRAY JOIN mapKeys(masked) AS name, mapValues(masked) AS count;

-- One row per reading statement and table it named. `rows` are those of the whole statement: a join's rows count once
-- for each of its tables.
CREATE OR REPLACE VIEW rows_read AS
SELECT
    started_at, operation_id, session_id, subject, email, groups, connector, table, statement, rows, response_bytes
FROM operations
ARRAY JOIN resources AS table
WHERE action IN ('sql.select', 'sql.copy') AND outcome = 'forwarded' AND rows > 0;

-- Which run a trace belongs to, kept as attempts come in: looking through all of them for it would not prune.
CREATE TABLE IF NOT EXISTS trace_runs
(
    trace_id  String,
    run       String
)
ENGINE = ReplacingMergeTree
ORDER BY trace_id
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS trace_runs_of_attempts TO trace_runs AS
SELECT DISTINCT substring(traceparent, 4, 32) AS trace_id, run FROM attempts WHERE run != '' AND traceparent != '';

INSERT INTO trace_runs
SELECT DISTINCT substring(traceparent, 4, 32), run FROM attempts WHERE run != '' AND traceparent != '';

-- One row per operation, under the run of an agent that it belongs to: the run it named (`Countersign-Run`), else the
-- run that another operation of its trace named, else its trace (W3C Trace Context), else nothing.
CREATE OR REPLACE VIEW run_steps AS
SELECT
    multiIf(a.run != '', a.run, t.run != '', t.run, a.trace_id) AS run, started_at, operation_id,
    o.session_id AS session_id, a.trace_id AS trace_id, o.subject AS subject, o.email AS email,
    o.connector AS connector, o.protocol AS protocol, o.action AS action, o.resources AS resources,
    o.statement AS statement, o.decision AS decision, o.approval_id AS approval_id, o.approved_by AS approved_by,
    o.outcome AS outcome, o.status AS status, o.rows AS rows, o.total_ms AS total_ms
FROM operations AS o
ANY INNER JOIN (
    SELECT started_at, operation_id, run, substring(traceparent, 4, 32) AS trace_id FROM attempts
) AS a USING (started_at, operation_id)
ANY LEFT JOIN trace_runs AS t ON t.trace_id = a.trace_id;

-- One row per run.
CREATE OR REPLACE VIEW runs AS
SELECT
    s.run AS run, min(s.started_at) AS started_at, max(s.started_at) AS last_at, any(s.subject) AS subject,
    any(s.email) AS email, count() AS operations, countIf(s.outcome = 'denied') AS denied,
    uniqExact(s.session_id) AS sessions, groupUniqArray(s.connector) AS connectors, sum(s.rows) AS rows
FROM run_steps AS s
WHERE s.run != ''
GROUP BY s.run;

-- One row per session: a connection of an agent, and what was done over it.
CREATE OR REPLACE VIEW session_overview AS
SELECT
    o.session_id AS session_id, min(o.started_at) AS started_at,
    max(coalesce(o.finished_at, o.started_at)) AS last_at, any(o.subject) AS subject, any(o.email) AS email,
    any(o.protocol) AS protocol, groupUniqArray(o.connector) AS connectors, count() AS operations,
    countIf(o.outcome = 'denied') AS denied, countIf(o.approval_id != '') AS approvals, sum(o.rows) AS rows,
    sum(o.request_bytes) AS request_bytes, sum(o.response_bytes) AS response_bytes,
    sum(arraySum(mapValues(o.masked))) AS masked
FROM operations AS o
GROUP BY o.session_id;
