-- name: append_batch
-- One batch of the journal: all or nothing, and only for who holds the fence of every shard in it.
WITH fence AS (
    UPDATE shards s SET seq = f.seq_to
    FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[]) AS f (id, epoch, seq_from, seq_to)
    WHERE s.id = f.id AND s.epoch = f.epoch AND s.seq = f.seq_from
    RETURNING s.id
), added AS MATERIALIZED (
    -- Each event with what its booking's row has beyond it: later changes in this batch, and people's text.
    SELECT e.*, CASE WHEN e.beyond IS NULL THEN e.data ELSE e.data || e.beyond END AS made
    FROM jsonb_to_recordset($5::jsonb) AS e (
        shard int, seq bigint, calendar_id uuid, version bigint, business_id uuid, at bigint, by text,
        request_id text, data jsonb, makes_row boolean, beyond jsonb)
), journal AS (
    INSERT INTO events (shard, seq, calendar_id, version, business_id, epoch, type, at, by, request_id, data)
    SELECT a.shard, a.seq, a.calendar_id, a.version, a.business_id, f.epoch, a.data ->> 'type', from_us(a.at), a.by,
           a.request_id, a.data
    FROM added a JOIN unnest($1::int[], $2::bigint[]) AS f (id, epoch) ON f.id = a.shard
), ended AS (
    DELETE FROM bookings WHERE id = ANY ($6::uuid[]) AND status = 'held'
), made AS (
    INSERT INTO bookings (id, business_id, calendar_id, service_id, client_id, code, status, start_at, end_at,
                          blocked, session_id, capacity, attendees, version, holder, expires_at, notes,
                          cancelled_by, reason, manage_hash, created_at, updated_at, marks, series_id, doubled,
                          answers, parts, leader_id)
    SELECT b.id, b.business_id, b.calendar_id, (m ->> 'service_id')::uuid, (m ->> 'client_id')::uuid, m ->> 'code',
           coalesce(m ->> 'status', 'held'), from_us(b.starts), from_us(b.starts + b.duration),
           tstzrange(from_us(b.starts - (m -> 'before')::bigint),
                     from_us(b.starts + b.duration + (m -> 'after')::bigint)),
           coalesce((m ->> 'session')::uuid, b.id), coalesce((m ->> 'capacity')::int, 1), (m -> 'places')::int,
           coalesce((m ->> 'version')::int, 1), m ->> 'holder', from_us(nullif((m ->> 'expires_at')::bigint, 0)), m ->> 'notes',
           m ->> 'cancelled_by', m ->> 'reason', decode(m ->> 'manage_hash', 'hex'),
           from_us(coalesce((m ->> 'created_us')::bigint, b.at)), from_us(coalesce((m ->> 'updated_us')::bigint, b.at)),
           CASE WHEN jsonb_array_length(m -> 'marks') > 0 THEN ARRAY(SELECT jsonb_array_elements_text(m -> 'marks')) END,
           (m ->> 'series')::uuid, coalesce((m -> 'doubled')::boolean, false), nullif(m -> 'answers', 'null'),
           nullif(m -> 'parts', 'null'), (m ->> 'leader')::uuid
    FROM (
        SELECT (a.made ->> 'id')::uuid AS id, a.business_id, a.calendar_id, (a.made -> 'start')::bigint AS starts,
               (a.made -> 'duration')::bigint AS duration, a.made AS m, a.at
        FROM added a WHERE a.makes_row
    ) AS b
), changed AS (
    UPDATE bookings b SET
        status = coalesce(u.status, b.status),
        code = coalesce(u.code, b.code),
        client_id = coalesce(u.client_id, b.client_id),
        start_at = coalesce(from_us(u.start), b.start_at),
        end_at = coalesce(from_us(u.start + u.duration), b.end_at),
        blocked = CASE WHEN u.start IS NULL THEN b.blocked
            ELSE tstzrange(from_us(u.start - u.before), from_us(u.start + u.duration + u.after)) END,
        session_id = CASE WHEN u.start IS NULL THEN b.session_id ELSE coalesce(u.session, b.id) END,
        capacity = coalesce(u.capacity, b.capacity),
        version = b.version + u.steps,
        marks = coalesce(u.marks, b.marks),
        doubled = CASE WHEN u.start IS NULL THEN b.doubled ELSE coalesce(u.doubled, false) END,
        parts = CASE WHEN u.start IS NULL THEN b.parts ELSE u.parts END,
        answers = coalesce(u.answers, b.answers),
        holder = NULL,
        expires_at = NULL,
        notes = CASE WHEN u.notes_set THEN u.notes ELSE b.notes END,
        cancelled_by = coalesce(u.cancelled_by, b.cancelled_by),
        reason = coalesce(u.reason, b.reason),
        manage_hash = coalesce(decode(u.manage_hash, 'hex'), b.manage_hash),
        created_at = coalesce(from_us(u.created_us), b.created_at),
        updated_at = from_us(u.updated_us)
    FROM jsonb_to_recordset($7::jsonb) AS u (
        id uuid, status text, code text, client_id uuid, start bigint, duration bigint, before bigint, after bigint,
        session uuid, capacity int, steps int, marks text[], doubled boolean, parts jsonb, answers jsonb, notes text, notes_set boolean, cancelled_by text, reason text,
        manage_hash text, created_us bigint, updated_us bigint)
    WHERE b.id = u.id
), guests AS (
    INSERT INTO clients (id, business_id, guest, first_name, email, phone, email_normal, phone_normal, locale,
        created_at, updated_at)
    SELECT g.id, g.business_id, true, g.name, g.email, g.phone, g.email_normal, g.phone_normal, g.locale, from_us(g.at),
        from_us(g.at)
    FROM jsonb_to_recordset($8::jsonb) AS g (id uuid, business_id uuid, name text, email text, phone text,
        email_normal text, phone_normal text, locale text, at bigint)
), blocked AS (
    INSERT INTO time_off (id, business_id, calendar_id, start_at, end_at, description, forced, created_at, series_id)
    SELECT t.id, t.business_id, t.calendar_id, from_us(t.start_us), from_us(t.end_us), t.description, t.forced,
           from_us(t.at), t.series
    FROM jsonb_to_recordset($9::jsonb) AS t (id uuid, business_id uuid, calendar_id uuid, start_us bigint,
        end_us bigint, description text, forced boolean, at bigint, series uuid)
), unblocked AS (
    DELETE FROM time_off WHERE id = ANY ($10::uuid[])
), hours AS (
    UPDATE calendars c SET schedule = h.schedule, time_zone = h.schedule ->> 'time_zone'
    FROM jsonb_to_recordset($11::jsonb) AS h (id uuid, schedule jsonb)
    WHERE c.id = h.id
), keys AS (
    INSERT INTO idempotency_keys (scope, key, business_id, fingerprint, calendar_id, outcome)
    SELECT k.scope, k.key, k.business_id, decode(k.fingerprint, 'hex'), k.calendar_id, k.outcome
    FROM jsonb_to_recordset($12::jsonb) AS k (scope text, key text, business_id uuid, fingerprint text,
        calendar_id uuid, outcome jsonb)
    ON CONFLICT (scope, key) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, calendar_id = EXCLUDED.calendar_id,
        outcome = EXCLUDED.outcome, status = NULL, body = NULL, headers = NULL, created_at = now()
        WHERE idempotency_keys.created_at < now() - interval '24 hours'
    RETURNING 1
)
SELECT require_fence((SELECT count(*) FROM fence), cardinality($1::int[])),
       require_keys((SELECT count(*) FROM keys), $13::int);

-- name: ensure_shards
INSERT INTO shards (id) SELECT generate_series(0, $1::int - 1) ON CONFLICT DO NOTHING;

-- name: take_shards
-- Waits for a batch in flight, because it holds the row; afterwards its fate is settled by `seq`.
WITH wanted AS (SELECT id FROM shards WHERE id = ANY ($1::int[]) ORDER BY id FOR UPDATE)
UPDATE shards s SET epoch = s.epoch + 1 FROM wanted w WHERE s.id = w.id RETURNING s.id, s.epoch, s.seq;

-- name: retake_shards
UPDATE shards s SET epoch = s.epoch + 1 FROM unnest($1::int[], $2::bigint[]) AS mine (id, epoch)
WHERE s.id = mine.id AND s.epoch = mine.epoch RETURNING s.id, s.epoch, s.seq;

-- name: shards_now
SELECT id, epoch, seq FROM shards WHERE id = ANY ($1::int[]);

-- name: written_by
-- Whether a batch of an epoch that has been fenced since was written.
SELECT EXISTS (SELECT FROM events WHERE shard = $1::int AND seq = $2::bigint AND epoch = $3::bigint);

-- name: shard_count
SELECT value::int FROM settings WHERE name = 'shard_count';

-- name: choose_shard_count
INSERT INTO settings (name, value) VALUES ('shard_count', $1::text) ON CONFLICT DO NOTHING;

-- name: end_earlier_sessions
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1::text AND pid <> pg_backend_pid();

-- name: claim_database
SELECT pg_try_advisory_lock(hashtext('slotcast single node'));

-- name: share_database
SELECT pg_try_advisory_lock_shared(hashtext('slotcast single node'));
