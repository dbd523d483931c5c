-- name: load_calendars
-- Everything an actor starts from, many calendars at once; one row each.
SELECT c.id::text, c.business_id::text, c.shard, c.time_zone, c.schedule::text,
    coalesce((SELECT max(e.version) FROM events e WHERE e.calendar_id = c.id), 0) AS version,
    (SELECT json_agg(json_build_array(b.id, b.status, b.service_id, to_us(b.start_at), to_us(b.end_at),
            to_us(lower(b.blocked)), to_us(upper(b.blocked)), b.attendees, b.version, b.session_id, b.capacity,
            b.holder, coalesce(to_us(b.expires_at), 0),
            CASE WHEN cardinality(b.marks) > 0 OR b.parts IS NOT NULL OR b.leader_id IS NOT NULL OR b.doubled THEN
                json_build_array(coalesce(to_json(b.marks), '[]'), coalesce(b.parts, '[]'), b.leader_id, b.doubled) END
            ) ORDER BY b.start_at, b.id)::text
        FROM bookings b WHERE b.calendar_id = c.id AND b.status IN ('held', 'pending', 'confirmed')) AS reservations,
    (SELECT json_agg(json_build_array(b.id, b.service_id, to_us(b.start_at), b.session_id, b.status, b.version,
            b.leader_id) ORDER BY b.start_at, b.id)::text
        FROM bookings b WHERE b.calendar_id = c.id AND b.status IN ('completed', 'no_show')
            AND b.start_at > now() - make_interval(days => $2)) AS done,
    (SELECT json_agg(json_build_array(t.id, to_us(t.start_at), to_us(t.end_at), t.series_id)
            ORDER BY t.start_at, t.id)::text
        FROM time_off t WHERE t.calendar_id = c.id) AS blocks,
    offered_by(p.id) AS service_ids,
    holidays_of(p.business_id, p.location_id) AS holidays, p.location_id::text AS location_id,
    (SELECT array_agg(k.scope || E'\n' || k.key) FROM idempotency_keys k
        WHERE k.calendar_id = c.id AND k.created_at > now() - interval '24 hours') AS recent_keys
FROM calendars c JOIN professionals p ON p.id = c.id AND p.deleted_at IS NULL
WHERE c.id = ANY ($1::uuid[]);

-- name: service_terms
SELECT id::text, business_id::text, duration_minutes, step_minutes, buffer_before_minutes, buffer_after_minutes,
    notice_minutes, horizon_days, capacity, confirmation, durations_minutes, daily_cap, weekly_cap,
    cancellation_notice_minutes, reschedule_notice_minutes, location_ids::text[] AS location_ids,
    ARRAY(SELECT q ->> 'id' FROM jsonb_array_elements(questions) AS q WHERE (q -> 'required')::boolean) AS required
FROM services WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL;

-- name: offering_terms
SELECT id::text, business_id::text, type, start_date::text, end_date::text, day_start, day_end, time_zone,
    duration_minutes, max_attendees, anti_scalping, confirmation, notice_minutes
FROM offerings WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL;

-- name: terms_of_calendars
SELECT p.id::text AS calendar_id, offered_by(p.id) AS service_ids, holidays_of(p.business_id, p.location_id) AS holidays,
    p.location_id::text AS location_id
FROM professionals p WHERE p.id = ANY ($1::uuid[]);

-- name: find_outcome
SELECT calendar_id::text, fingerprint, outcome::text FROM idempotency_keys
WHERE scope = $1 AND key = $2 AND created_at > now() - interval '24 hours';

-- name: calendars_due
-- Where time has ended a hold, or a booking that nobody has ended; a part of another calendar's meeting waits for that one.
SELECT DISTINCT d.calendar_id::text AS calendar_id, d.business_id::text AS business_id
FROM (
    SELECT calendar_id, business_id FROM bookings WHERE status = 'held' AND expires_at < now()
    UNION ALL
    SELECT calendar_id, business_id FROM bookings
    WHERE status IN ('pending', 'confirmed') AND start_at <= now() AND (status = 'pending' OR end_at <= now())
        AND leader_id IS NULL
) AS d JOIN calendars c ON c.id = d.calendar_id
WHERE c.shard = ANY ($1::int[]) LIMIT $2;

-- name: forget_old_keys
WITH old AS (
    SELECT scope, key FROM idempotency_keys WHERE created_at < now() - interval '24 hours' LIMIT $1
)
-- Asked again, because a row waited for may have been made anew meanwhile.
DELETE FROM idempotency_keys k USING old WHERE k.scope = old.scope AND k.key = old.key
    AND k.created_at < now() - interval '24 hours'
RETURNING 1;

-- name: business_of_calendar
SELECT c.business_id::text FROM calendars c JOIN professionals p ON p.id = c.id
WHERE c.id = $1::uuid AND p.deleted_at IS NULL;

-- name: professionals_removed_lately
SELECT id::text FROM professionals WHERE deleted_at > now() - interval '1 day';
