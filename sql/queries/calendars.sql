-- name: load_calendars
-- Everything an actor starts from, many calendars at once; one row each.
SELECT c.id::text, c.business_id::text, c.shard, c.time_zone, c.schedule::text,
    coalesce((SELECT max(e.version) FROM events e WHERE e.calendar_id = c.id), 0) AS version,
    (SELECT json_agg(json_build_array(b.id, b.status, b.service_id, to_us(b.start_at), to_us(b.end_at),
            to_us(lower(b.blocked)), to_us(upper(b.blocked)), b.attendees, b.version, b.session_id, b.capacity,
            b.holder, coalesce(to_us(b.expires_at), 0)) ORDER BY b.start_at, b.id)::text
        FROM bookings b WHERE b.calendar_id = c.id AND b.status IN ('held', 'pending', 'confirmed')) AS reservations,
    (SELECT json_agg(json_build_array(t.id, to_us(t.start_at), to_us(t.end_at)) ORDER BY t.start_at, t.id)::text
        FROM time_off t WHERE t.calendar_id = c.id) AS blocks,
    (SELECT array_agg(p.service_id::text ORDER BY p.service_id) FROM professional_services p
        JOIN services s ON s.id = p.service_id AND s.deleted_at IS NULL
        WHERE p.professional_id = c.id) AS service_ids,
    (SELECT array_agg(k.scope || E'\n' || k.key) FROM idempotency_keys k
        WHERE k.calendar_id = c.id AND k.created_at > now() - interval '24 hours') AS recent_keys
FROM calendars c JOIN professionals p ON p.id = c.id AND p.deleted_at IS NULL
WHERE c.id = ANY ($1::uuid[]);

-- name: service_terms
SELECT id::text, business_id::text, duration_minutes, step_minutes, buffer_before_minutes, buffer_after_minutes,
    notice_minutes, horizon_days, capacity, confirmation
FROM services WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL;

-- name: services_of_calendars
SELECT c.id::text AS calendar_id, array_remove(array_agg(s.id::text ORDER BY s.id), NULL) AS service_ids
FROM unnest($1::uuid[]) AS c (id)
LEFT JOIN professional_services p ON p.professional_id = c.id
LEFT JOIN services s ON s.id = p.service_id AND s.deleted_at IS NULL
GROUP BY c.id;

-- name: find_outcome
SELECT calendar_id::text, fingerprint, outcome::text FROM idempotency_keys
WHERE scope = $1 AND key = $2 AND created_at > now() - interval '24 hours';

-- name: calendars_with_ended_holds
SELECT DISTINCT b.calendar_id::text AS calendar_id, b.business_id::text AS business_id
FROM bookings b JOIN calendars c ON c.id = b.calendar_id
WHERE b.status = 'held' AND b.expires_at < now() AND c.shard = ANY ($1::int[]) LIMIT $2;

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
