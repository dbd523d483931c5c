-- name: put_jobs
-- Those of a lane are put behind; `promote_jobs` says who is first, because what is known already is not put in.
INSERT INTO jobs (id, kind, business_id, payload, key, lane, state, run_at, attempts_max)
SELECT j.id, j.kind, j.business_id, j.payload, j.key, j.lane, CASE WHEN j.lane IS NULL THEN 'waiting' ELSE 'behind' END,
       CASE WHEN j.run_at > 0 THEN from_us(j.run_at) ELSE now() END, j.attempts_max
FROM ROWS FROM (
    jsonb_to_recordset($1::jsonb) AS (
        kind text, business_id uuid, payload jsonb, key text, lane text, run_at bigint, attempts_max int),
    unnest($2::uuid[])
) WITH ORDINALITY AS j (kind, business_id, payload, key, lane, run_at, attempts_max, id, nth)
ORDER BY j.nth
ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING
RETURNING id;

-- name: bury_job
INSERT INTO jobs (id, kind, business_id, payload, key, state, run_at, attempts_max, reason)
SELECT $2::uuid, j.kind, j.business_id, j.payload, j.key, 'dead', now(), j.attempts_max, $3::text
FROM jsonb_to_recordset($1::jsonb) AS j (kind text, business_id uuid, payload jsonb, key text, attempts_max int)
ON CONFLICT (key) WHERE key IS NOT NULL DO UPDATE SET state = 'dead', payload = EXCLUDED.payload, reason = EXCLUDED.reason,
    holder = NULL, leased_until = NULL, updated_at = now();

-- name: lanes_of_keys
SELECT DISTINCT lane FROM jobs WHERE key = ANY ($1::text[]) AND state IN ('waiting', 'behind') AND lane IS NOT NULL;

-- name: withdraw_jobs
DELETE FROM jobs WHERE key = ANY ($1::text[]) AND state IN ('waiting', 'behind') RETURNING 1;

-- name: lock_lanes
-- Before `promote_jobs`, in a statement of its own: who comes later sees what is committed here. Lanes share 64 locks, so that
-- no transaction needs many; everybody takes them in the same order.
SELECT count(pg_advisory_xact_lock(hashtext('slotcast lanes'), bucket)) FROM (
    SELECT DISTINCT hashtext(lane) & 63 AS bucket FROM unnest($1::text[]) AS lane ORDER BY bucket
) AS buckets;

-- name: promote_jobs
-- The first of each lane may be taken, unless the one before it is not at its end.
UPDATE jobs SET state = 'waiting' FROM (
    SELECT DISTINCT first.id FROM unnest($1::text[]) AS l (lane)
    CROSS JOIN LATERAL (
        SELECT j.id, j.state FROM jobs j
        WHERE j.lane = l.lane AND j.state IN ('waiting', 'behind', 'working') ORDER BY j.place LIMIT 1
    ) AS first WHERE first.state = 'behind'
      AND NOT EXISTS (SELECT FROM jobs o WHERE o.lane = l.lane AND o.state IN ('waiting', 'working'))
) AS turn
WHERE jobs.id = turn.id;

-- name: take_jobs
-- What one business and then one kind get is bounded, so that no one of them has all workers to itself.
WITH near AS (
    SELECT id, run_at, place, business_id, kind, row_number() OVER (PARTITION BY business_id ORDER BY run_at, place) AS nth
    FROM (
        SELECT id, run_at, place, business_id, kind FROM jobs
        WHERE state = 'waiting' AND run_at <= now() AND kind = ANY ($3::text[])
          AND (business_id IS NULL OR business_id <> ALL ($6::uuid[]))
        ORDER BY run_at, place LIMIT 4 * $5::int
    ) AS due
), fair AS (
    SELECT n.id, n.run_at, n.place, n.kind, row_number() OVER (PARTITION BY n.kind ORDER BY n.run_at, n.place) AS nth
    FROM near n LEFT JOIN unnest($7::uuid[], $8::int[]) AS b (id, room) ON b.id = n.business_id
    WHERE n.business_id IS NULL OR n.nth <= coalesce(b.room, $9::int)
), mine AS (
    SELECT j.id FROM fair f JOIN unnest($3::text[], $4::int[]) AS k (kind, room) ON k.kind = f.kind
    JOIN jobs j ON j.id = f.id
    WHERE j.state = 'waiting' AND f.nth <= k.room
    ORDER BY f.run_at, f.place LIMIT $5::int FOR UPDATE OF j SKIP LOCKED
)
UPDATE jobs SET state = 'working', attempts = attempts + 1, holder = $1::uuid, updated_at = now(),
    leased_until = now() + $2::float8 * interval '1 second'
FROM mine WHERE jobs.id = mine.id
RETURNING jobs.id, kind, payload, business_id, key, lane, attempts, attempts_max, place;

-- name: finish_jobs
-- Only what the same holder still has. `tries` is 0 for what was given back untried. Rows are locked by id: leases of the same
-- jobs may be renewed meanwhile.
WITH mine AS (
    SELECT f.*, j.id AS job FROM jobs j
    JOIN jsonb_to_recordset($1::jsonb) AS f (id uuid, holder uuid, state text, pause_s float8, tries int, reason text)
        ON j.id = f.id AND j.holder = f.holder
    ORDER BY j.id FOR NO KEY UPDATE OF j
)
UPDATE jobs SET state = f.state, reason = f.reason, holder = NULL, leased_until = NULL, updated_at = now(),
    run_at = CASE WHEN f.state = 'waiting' THEN now() + f.pause_s * interval '1 second' ELSE jobs.run_at END,
    attempts = jobs.attempts - 1 + f.tries,
    payload = CASE WHEN f.state = 'done' THEN NULL ELSE jobs.payload END
FROM mine f WHERE jobs.id = f.job AND jobs.holder = f.holder
RETURNING jobs.id;

-- name: renew_jobs
WITH mine AS (
    SELECT j.id, j.holder FROM jobs j JOIN unnest($1::uuid[], $2::uuid[]) AS m (id, holder)
        ON j.id = m.id AND j.holder = m.holder
    ORDER BY j.id FOR NO KEY UPDATE OF j
)
UPDATE jobs SET leased_until = now() + $3::float8 * interval '1 second'
FROM mine WHERE jobs.id = mine.id AND jobs.holder = mine.holder RETURNING jobs.id;

-- name: overdue_jobs
-- In the hands of workers that were not heard of.
SELECT id::text, lane FROM jobs WHERE state = 'working' AND leased_until < now() ORDER BY leased_until LIMIT $1::int;

-- name: take_back_jobs
-- What was tried too often is not tried again. Their lanes are locked.
UPDATE jobs SET state = CASE WHEN attempts < attempts_max THEN 'waiting' ELSE 'dead' END,
    run_at = now() + (attempts - 1) * random() * interval '5 seconds', holder = NULL, leased_until = NULL,
    reason = 'the worker that had it did not come back', updated_at = now()
WHERE id IN (
    SELECT id FROM jobs WHERE id = ANY ($1::uuid[]) AND state = 'working' AND leased_until < now()
    ORDER BY id FOR UPDATE SKIP LOCKED)
RETURNING 1;

-- name: list_jobs
SELECT id::text, kind, business_id::text, state, key, lane, run_at, attempts, attempts_max, reason, created_at, updated_at
FROM jobs
WHERE ($1::text IS NULL OR state = $1::text) AND ($2::text IS NULL OR kind = $2::text)
  AND ($3::uuid IS NULL OR id > $3::uuid)
ORDER BY id LIMIT $4::int;

-- name: lane_of_job
SELECT lane FROM jobs WHERE id = $1::uuid;

-- name: job_by_id
SELECT id::text, kind, business_id::text, state, key, lane, run_at, attempts, attempts_max, reason, created_at, updated_at
FROM jobs WHERE id = $1::uuid FOR UPDATE;

-- name: retry_job
UPDATE jobs SET state = CASE WHEN lane IS NULL THEN 'waiting' ELSE 'behind' END, run_at = now(), attempts = 0, updated_at = now()
WHERE id = $1::uuid AND state IN ('dead', 'waiting');

-- name: drop_job
DELETE FROM jobs WHERE id = $1::uuid AND state <> 'working';

-- name: count_jobs
SELECT state, kind, count(*)::int AS count FROM jobs WHERE state <> 'done' GROUP BY state, kind;

-- name: oldest_job_due
SELECT extract(epoch FROM now() - min(run_at))::float8 FROM jobs WHERE state = 'waiting' AND run_at <= now();

-- name: forget_ended_jobs
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs WHERE state IN ('done', 'dead')
      AND updated_at < now() - CASE state WHEN 'done' THEN $1::float8 ELSE $2::float8 END * interval '1 second'
      AND updated_at < now() - least($1::float8, $2::float8) * interval '1 second'
    ORDER BY updated_at LIMIT $3::int)
RETURNING 1;

-- name: ensure_follower
-- A new one begins at the first event, or at what comes from now on.
INSERT INTO followers (name, shard, seq)
SELECT $1::text, id, CASE WHEN $2::boolean THEN 0 ELSE seq END FROM shards ON CONFLICT DO NOTHING;

-- name: behind_followers
SELECT f.name, f.shard, f.seq, s.seq AS head FROM followers f JOIN shards s ON s.id = f.shard
WHERE f.name = ANY ($1::text[]) AND f.shard = ANY ($2::int[]) AND f.seq < s.seq ORDER BY f.name, f.shard;

-- name: follower_lag
-- How many events a follower has not read, and how many seconds ago the first of them was.
SELECT f.name, sum(s.seq - f.seq)::bigint AS events,
       coalesce(extract(epoch FROM now() - min(e.at)), 0)::float8 AS seconds
FROM followers f JOIN shards s ON s.id = f.shard
LEFT JOIN events e ON e.shard = f.shard AND e.seq = f.seq + 1
WHERE f.name = ANY ($1::text[]) AND f.shard = ANY ($2::int[]) GROUP BY f.name;

-- name: events_after
SELECT e.shard, e.seq, e.calendar_id::text, e.version, e.business_id::text, to_us(e.at) AS at, e.by, e.request_id, e.type,
       e.data::text AS data
FROM unnest($1::int[], $2::bigint[]) AS f (shard, seq)
CROSS JOIN LATERAL (
    SELECT * FROM events WHERE events.shard = f.shard AND events.seq > f.seq ORDER BY events.seq LIMIT $3::int
) AS e
ORDER BY e.shard, e.seq;

-- name: advance_follower
-- Whoever reads the same shard waits here, and finds that it has been read.
UPDATE followers SET seq = m.seq_to
FROM unnest($2::int[], $3::bigint[], $4::bigint[]) AS m (shard, seq_from, seq_to)
WHERE followers.name = $1::text AND followers.shard = m.shard AND followers.seq = m.seq_from
RETURNING followers.shard;
