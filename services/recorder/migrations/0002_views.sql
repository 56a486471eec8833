-- What the auditor sees: the fixed names and columns of the architecture, section 8.
--
-- Joins are INNER or RIGHT with the filtered table last: ClickHouse builds its hash table from that and reads of the
-- other side only what matches (runtime filters), whatever column the filter is on. A filter on `started_at` or
-- `operation_id` reaches both sides by itself, because they are the joins' keys. ANY gives one row per attempt (G6).

CREATE OR REPLACE VIEW operations AS
-- 1. Finished, told by the ingress itself: by far the most.
SELECT
    operation_id, a.session_id AS session_id, started_at,
    CAST(o.at AS Nullable(DateTime64(6, 'UTC'))) AS finished_at,
    a.subject AS subject, a.email AS email, a.groups AS groups, a.issuer AS issuer, a.kind AS kind,
    a.connector AS connector, a.protocol AS protocol, a.action AS action, a.resources AS resources,
    a.statement AS statement, a.findings AS findings,
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
    subject, email, groups, issuer, kind, connector, protocol, action, resources, statement, findings,
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
           a.action AS action, a.resources AS resources, a.statement AS statement, a.findings AS findings,
           a.ingress AS ingress
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
    [] AS resources, statement, map() AS findings, decision, rules,
    multiIf(reason != '', reason, error != '', error, refusal_code) AS reason,
    policy_version, approval_id, approved_by, outcome, status, masked, request_bytes, response_bytes, rows,
    decided_ms, total_ms, ingress
FROM (SELECT started_at, operation_id FROM attempts) AS a
RIGHT ANTI JOIN (SELECT * FROM outcomes WHERE refused) AS r USING (started_at, operation_id);

CREATE OR REPLACE VIEW approvals AS
SELECT
    q.approval_id AS approval_id,
    q.operation_id AS operation_id,
    multiIf(r.state != '', r.state, w.withdrawn_at > toDateTime64(0, 6, 'UTC'), 'withdrawn', 'requested') AS state,
    q.requested_at AS requested_at,
    nullIf(if(r.state != '', r.resolved_at, w.withdrawn_at), toDateTime64(0, 6, 'UTC')) AS resolved_at,
    q.subject AS subject,
    r.decided_by AS decided_by,
    if(r.state != '', r.reason, w.reason) AS reason,
    q.quorum AS quorum
FROM (
    SELECT approval_id, any(operation_id) AS operation_id, min(at) AS requested_at, any(subject) AS subject,
           any(quorum) AS quorum
    FROM approval_requests GROUP BY approval_id
) AS q
LEFT JOIN (
    SELECT approval_id, argMin(state, (published_at, stream_seq)) AS state, min(at) AS resolved_at,
           argMin(decided_by, (published_at, stream_seq)) AS decided_by,
           argMin(reason, (published_at, stream_seq)) AS reason
    FROM approval_resolutions GROUP BY approval_id
) AS r USING (approval_id)
LEFT JOIN (
    SELECT approval_id, min(at) AS withdrawn_at, any(reason) AS reason FROM approval_withdrawals GROUP BY approval_id
) AS w USING (approval_id);

CREATE OR REPLACE VIEW sessions AS
SELECT
    s.session_id AS session_id,
    s.at AS started_at,
    nullIf(e.at, toDateTime64(0, 6, 'UTC')) AS finished_at,
    s.protocol AS protocol,
    s.peer AS peer,
    s.tls AS tls,
    o.subject AS subject,
    o.email AS email,
    o.connectors AS connectors,
    o.operations AS operations,
    e.reason AS reason,
    s.ingress AS ingress
FROM (
    SELECT session_id, max(subject) AS subject, max(email) AS email, groupUniqArray(connector) AS connectors,
           count() AS operations
    FROM attempts GROUP BY session_id
) AS o
ANY RIGHT JOIN session_starts AS s USING (session_id)
ANY LEFT JOIN session_ends AS e USING (session_id);

CREATE OR REPLACE VIEW frames AS
SELECT
    session_id,
    seq,
    at,
    direction,
    if(JSONExtractString(raw, 'encoding') = 'base64', base64Decode(JSONExtractString(raw, 'data')),
       JSONExtractString(raw, 'data')) AS data,
    operation_id,
    media_type,
    truncated
FROM session_frames;
