-- Questions now tell who broke the glass, and whether the grant that came with a yes was ended early.

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
    r.decided_by AS decided_by, if(r.state != '', r.reason, w.reason) AS reason, r.break_glass AS break_glass,
    r.grant_id AS grant_id, nullIf(g.revoked_at, toDateTime64(0, 6, 'UTC')) AS grant_revoked_at,
    g.revoked_by AS grant_revoked_by,
    u.outcome AS used_outcome, u.status AS used_status, u.rows AS used_rows
FROM approval_requests AS q
ANY LEFT JOIN (
    SELECT approval_id, argMin(state, (published_at, stream_seq)) AS state, min(at) AS resolved_at,
           argMin(decided_by, (published_at, stream_seq)) AS decided_by,
           argMin(reason, (published_at, stream_seq)) AS reason, max(grant_id) AS grant_id,
           max(break_glass) AS break_glass
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
) AS u ON u.approval_id = q.approval_id
ANY LEFT JOIN (
    SELECT approval_id, min(at) AS revoked_at, any(revoked_by) AS revoked_by
    FROM grant_revocations GROUP BY approval_id
) AS g ON g.approval_id = q.approval_id;
