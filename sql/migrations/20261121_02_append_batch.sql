-- A batch of the journal as a function, so that the next one can be under way before it has committed.
-- depends: 20261121_01_core

-- migrate: apply

-- One batch: all or nothing, and only for who holds the fence of every shard in it.
--     $1-$4 shards, their epochs, their positions before and after   $5 events, and what makes rows of them
--     $6 holds that ended   $7 changed bookings   $8 guests   $9, $10 time off, made and ended
--     $11 working hours   $12, $13 outcomes to keep under idempotency keys, and how many
-- Each statement below sees what earlier batches wrote, because its snapshot is taken after the lock.
CREATE FUNCTION append_batch(int[], bigint[], bigint[], bigint[], jsonb, uuid[], jsonb, jsonb, jsonb, uuid[],
                             jsonb, jsonb, int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ours int;
    stored int;
BEGIN
    -- Waits for a batch under way on these shards. Rows are locked in one order, so batches never wait in a ring.
    SELECT count(*) INTO ours FROM (
        SELECT s.id, s.epoch, s.seq FROM shards s WHERE s.id = ANY ($1) ORDER BY s.id FOR NO KEY UPDATE
    ) AS mine
    JOIN unnest($1, $2, $3) AS f (id, epoch, seq) ON f.id = mine.id AND f.epoch = mine.epoch AND f.seq = mine.seq;
    IF ours <> cardinality($1) THEN
        RAISE EXCEPTION 'the fence has moved: % of % shards are ours', ours, cardinality($1) USING ERRCODE = 'SC001';
    END IF;

    UPDATE shards s SET seq = f.seq FROM unnest($1, $4) AS f (id, seq) WHERE s.id = f.id AND s.seq <> f.seq;

    -- What gives places back comes before what takes them: the count of a session is checked after each statement.
    IF cardinality($6) > 0 THEN
        DELETE FROM bookings WHERE id = ANY ($6) AND status = 'held';
    END IF;

    IF $7 <> '[]' THEN
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
            version = u.version,
            holder = NULL,
            expires_at = NULL,
            notes = CASE WHEN u.notes_set THEN u.notes ELSE b.notes END,
            cancelled_by = coalesce(u.cancelled_by, b.cancelled_by),
            reason = coalesce(u.reason, b.reason),
            manage_hash = coalesce(decode(u.manage_hash, 'hex'), b.manage_hash),
            created_at = coalesce(from_us(u.created_us), b.created_at),
            updated_at = from_us(u.updated_us)
        FROM jsonb_to_recordset($7) AS u (
            id uuid, status text, code text, client_id uuid, start bigint, duration bigint, before bigint, after bigint,
            session uuid, capacity int, version int, notes text, notes_set boolean, cancelled_by text, reason text,
            manage_hash text, created_us bigint, updated_us bigint)
        WHERE b.id = u.id;
    END IF;

    WITH added AS MATERIALIZED (
        -- Each event with what its booking's row has beyond it: later changes in this batch, and people's text.
        SELECT e.*, CASE WHEN e.beyond IS NULL THEN e.data ELSE e.data || e.beyond END AS made
        FROM jsonb_to_recordset($5) AS e (
            shard int, seq bigint, calendar_id uuid, version bigint, business_id uuid, at bigint, by text,
            request_id text, data jsonb, makes_row boolean, beyond jsonb)
    ), journal AS (
        INSERT INTO events (shard, seq, calendar_id, version, business_id, epoch, type, at, by, request_id, data)
        SELECT a.shard, a.seq, a.calendar_id, a.version, a.business_id, f.epoch, a.data ->> 'type', from_us(a.at), a.by,
               a.request_id, a.data
        FROM added a JOIN unnest($1, $2) AS f (id, epoch) ON f.id = a.shard
    )
    INSERT INTO bookings (id, business_id, calendar_id, service_id, client_id, code, status, start_at, end_at,
                          blocked, session_id, capacity, attendees, version, holder, expires_at, notes,
                          cancelled_by, reason, manage_hash, created_at, updated_at)
    SELECT b.id, b.business_id, b.calendar_id, (m ->> 'service_id')::uuid, (m ->> 'client_id')::uuid, m ->> 'code',
           coalesce(m ->> 'status', 'held'), from_us(b.starts), from_us(b.starts + b.duration),
           tstzrange(from_us(b.starts - (m -> 'before')::bigint),
                     from_us(b.starts + b.duration + (m -> 'after')::bigint)),
           coalesce((m ->> 'session')::uuid, b.id), coalesce((m ->> 'capacity')::int, 1), (m -> 'places')::int,
           coalesce((m ->> 'version')::int, 1), m ->> 'holder', from_us((m ->> 'expires_at')::bigint), m ->> 'notes',
           m ->> 'cancelled_by', m ->> 'reason', decode(m ->> 'manage_hash', 'hex'),
           from_us(coalesce((m ->> 'created_us')::bigint, b.at)), from_us(coalesce((m ->> 'updated_us')::bigint, b.at))
    FROM (
        SELECT (a.made ->> 'id')::uuid AS id, a.business_id, a.calendar_id, (a.made -> 'start')::bigint AS starts,
               (a.made -> 'duration')::bigint AS duration, a.made AS m, a.at
        FROM added a WHERE a.makes_row
    ) AS b;

    IF $8 <> '[]' THEN
        INSERT INTO clients (id, business_id, guest, first_name, email, phone, created_at, updated_at)
        SELECT g.id, g.business_id, true, g.name, g.email, g.phone, from_us(g.at), from_us(g.at)
        FROM jsonb_to_recordset($8) AS g (id uuid, business_id uuid, name text, email text, phone text, at bigint);
    END IF;

    IF $9 <> '[]' THEN
        INSERT INTO time_off (id, business_id, calendar_id, start_at, end_at, description, forced, created_at)
        SELECT t.id, t.business_id, t.calendar_id, from_us(t.start_us), from_us(t.end_us), t.description, t.forced,
               from_us(t.at)
        FROM jsonb_to_recordset($9) AS t (id uuid, business_id uuid, calendar_id uuid, start_us bigint,
            end_us bigint, description text, forced boolean, at bigint);
    END IF;

    IF cardinality($10) > 0 THEN
        DELETE FROM time_off WHERE id = ANY ($10);
    END IF;

    IF $11 <> '[]' THEN
        UPDATE calendars c SET schedule = h.schedule, time_zone = h.schedule ->> 'time_zone'
        FROM jsonb_to_recordset($11) AS h (id uuid, schedule jsonb)
        WHERE c.id = h.id;
    END IF;

    IF $13 > 0 THEN
        INSERT INTO idempotency_keys (scope, key, business_id, fingerprint, calendar_id, outcome)
        SELECT k.scope, k.key, k.business_id, decode(k.fingerprint, 'hex'), k.calendar_id, k.outcome
        FROM jsonb_to_recordset($12) AS k (scope text, key text, business_id uuid, fingerprint text,
            calendar_id uuid, outcome jsonb)
        ON CONFLICT (scope, key) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, calendar_id = EXCLUDED.calendar_id,
            outcome = EXCLUDED.outcome, status = NULL, body = NULL, headers = NULL, created_at = now()
            WHERE idempotency_keys.created_at < now() - interval '24 hours';
        GET DIAGNOSTICS stored = ROW_COUNT;
        IF stored <> $13 THEN
            RAISE EXCEPTION 'an idempotency key is taken' USING ERRCODE = 'SC002';
        END IF;
    END IF;
END $$;

DROP FUNCTION require_fence(bigint, int);
DROP FUNCTION require_keys(bigint, int);

-- migrate: rollback

CREATE FUNCTION require_fence(advanced bigint, wanted int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF advanced <> wanted THEN
        RAISE EXCEPTION 'the fence has moved: % of % shards are ours', advanced, wanted USING ERRCODE = 'SC001';
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION require_keys(stored bigint, wanted int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF stored <> wanted THEN
        RAISE EXCEPTION 'an idempotency key is taken' USING ERRCODE = 'SC002';
    END IF;
    RETURN true;
END $$;

DROP FUNCTION append_batch(int[], bigint[], bigint[], bigint[], jsonb, uuid[], jsonb, jsonb, jsonb, uuid[],
                           jsonb, jsonb, int);
