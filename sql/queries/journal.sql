-- name: append_batch
-- One batch of the journal: all or nothing, and only for who holds the fence of every shard in it.
WITH fence AS (
    UPDATE shards s SET seq = f.seq_to
    FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[]) AS f (id, epoch, seq_from, seq_to)
    WHERE s.id = f.id AND s.epoch = f.epoch AND s.seq = f.seq_from
    RETURNING s.id
), journal AS (
    INSERT INTO events (shard, seq, calendar_id, version, business_id, epoch, type, at, by, request_id, data)
    SELECT e.shard, e.seq, e.calendar_id, e.version, e.business_id, e.epoch, e.type, from_us(e.at), e.by,
           e.request_id, e.data::jsonb
    FROM unnest($5::int[], $6::bigint[], $7::uuid[], $8::bigint[], $9::uuid[], $10::bigint[], $11::text[],
                $12::bigint[], $13::text[], $14::text[], $15::text[])
        AS e (shard, seq, calendar_id, version, business_id, epoch, type, at, by, request_id, data)
), ended AS (
    DELETE FROM bookings WHERE id = ANY ($16::uuid[]) AND status = 'held'
), made AS (
    INSERT INTO bookings (id, business_id, calendar_id, service_id, client_id, code, status, start_at, end_at,
                          blocked, session_id, capacity, attendees, version, holder, expires_at, notes,
                          cancelled_by, reason, manage_hash, created_at, updated_at)
    SELECT b.id, b.business_id, b.calendar_id, b.service_id, b.client_id, b.code, b.status, from_us(b.start_us),
           from_us(b.end_us), tstzrange(from_us(b.blocked_from), from_us(b.blocked_to)), b.session_id, b.capacity,
           b.attendees, b.version, b.holder, from_us(b.expires_us), b.notes, b.cancelled_by, b.reason,
           b.manage_hash, from_us(b.created_us), from_us(b.updated_us)
    FROM unnest($17::uuid[], $18::uuid[], $19::uuid[], $20::uuid[], $21::uuid[], $22::text[], $23::text[],
                $24::bigint[], $25::bigint[], $26::bigint[], $27::bigint[], $28::uuid[], $29::int[], $30::int[],
                $31::int[], $32::text[], $33::bigint[], $34::text[], $35::text[], $36::text[], $37::bytea[],
                $38::bigint[], $39::bigint[])
        AS b (id, business_id, calendar_id, service_id, client_id, code, status, start_us, end_us, blocked_from,
              blocked_to, session_id, capacity, attendees, version, holder, expires_us, notes, cancelled_by, reason,
              manage_hash, created_us, updated_us)
), changed AS (
    UPDATE bookings b SET
        status = coalesce(u.status, b.status),
        code = coalesce(u.code, b.code),
        client_id = coalesce(u.client_id, b.client_id),
        start_at = coalesce(from_us(u.start_us), b.start_at),
        end_at = coalesce(from_us(u.end_us), b.end_at),
        blocked = CASE WHEN u.blocked_from IS NULL THEN b.blocked
            ELSE tstzrange(from_us(u.blocked_from), from_us(u.blocked_to)) END,
        session_id = coalesce(u.session_id, b.session_id),
        capacity = coalesce(u.capacity, b.capacity),
        version = u.version,
        holder = NULL,
        expires_at = NULL,
        notes = CASE WHEN u.notes_set THEN u.notes ELSE b.notes END,
        cancelled_by = coalesce(u.cancelled_by, b.cancelled_by),
        reason = coalesce(u.reason, b.reason),
        manage_hash = coalesce(decode(u.manage_hash, 'hex'), b.manage_hash),
        created_at = coalesce(from_us(u.created_us), b.created_at),
        updated_at = from_us(u.updated_us)
    FROM jsonb_to_recordset($40::jsonb) AS u (
        id uuid, status text, code text, client_id uuid, start_us bigint, end_us bigint, blocked_from bigint,
        blocked_to bigint, session_id uuid, capacity int, version int, notes text, notes_set boolean,
        cancelled_by text, reason text, manage_hash text, created_us bigint, updated_us bigint)
    WHERE b.id = u.id
), guests AS (
    INSERT INTO clients (id, business_id, guest, first_name, email, phone, created_at, updated_at)
    SELECT g.id, g.business_id, true, g.name, g.email, g.phone, from_us(g.at), from_us(g.at)
    FROM jsonb_to_recordset($41::jsonb) AS g (id uuid, business_id uuid, name text, email text, phone text, at bigint)
), blocked AS (
    INSERT INTO time_off (id, business_id, calendar_id, start_at, end_at, description, forced, created_at)
    SELECT t.id, t.business_id, t.calendar_id, from_us(t.start_us), from_us(t.end_us), t.description, t.forced,
           from_us(t.at)
    FROM jsonb_to_recordset($42::jsonb) AS t (id uuid, business_id uuid, calendar_id uuid, start_us bigint,
        end_us bigint, description text, forced boolean, at bigint)
), unblocked AS (
    DELETE FROM time_off WHERE id = ANY ($43::uuid[])
), hours AS (
    UPDATE calendars c SET schedule = h.schedule, time_zone = h.schedule ->> 'time_zone'
    FROM jsonb_to_recordset($44::jsonb) AS h (id uuid, schedule jsonb)
    WHERE c.id = h.id
), keys AS (
    INSERT INTO idempotency_keys (scope, key, business_id, fingerprint, calendar_id, outcome)
    SELECT * FROM unnest($45::text[], $46::text[], $47::uuid[], $48::bytea[], $49::uuid[], $50::bytea[])
    ON CONFLICT (scope, key) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, calendar_id = EXCLUDED.calendar_id,
        outcome = EXCLUDED.outcome, status = NULL, body = NULL, headers = NULL, created_at = now()
        WHERE idempotency_keys.created_at < now() - interval '24 hours'
    RETURNING 1
)
SELECT require_fence((SELECT count(*) FROM fence), cardinality($1::int[])),
       require_keys((SELECT count(*) FROM keys), cardinality($45::text[]));

-- name: ensure_shards
INSERT INTO shards (id) SELECT generate_series(0, $1::int - 1) ON CONFLICT DO NOTHING;

-- name: take_shards
-- Waits for a batch in flight, because it holds the row; afterwards its fate is settled by `seq`.
UPDATE shards SET epoch = epoch + 1 WHERE id = ANY ($1::int[]) RETURNING id, epoch, seq;

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

-- name: claim_database
SELECT pg_try_advisory_lock(hashtext('slotcast single node'));
