-- name: team_of_service
SELECT s.id::text, s.professionals_needed, s.resources::text, s.assignment, s.duration_minutes, s.buffer_before_minutes,
    s.buffer_after_minutes,
    ARRAY(SELECT o.professional_id::text FROM professional_services o
        JOIN professionals p ON p.id = o.professional_id AND p.deleted_at IS NULL AND p.kind = 'person'
        WHERE o.service_id = s.id ORDER BY o.professional_id) AS professional_ids
FROM services s WHERE s.business_id = $1::uuid AND s.id = $2::uuid AND s.deleted_at IS NULL;

-- name: business_of_service
SELECT business_id::text FROM services WHERE id = $1::uuid AND deleted_at IS NULL;

-- name: by_load
-- The fewest minutes in the week of the start first, by each calendar's wall clock.
SELECT c.id::text AS id FROM calendars c
CROSS JOIN LATERAL (SELECT date_trunc('week', from_us($3) AT TIME ZONE c.time_zone) AS monday) AS w
LEFT JOIN LATERAL (
    SELECT sum(b.end_at - b.start_at) AS busy FROM bookings b
    WHERE b.calendar_id = c.id AND b.status IN ('held', 'pending', 'confirmed', 'completed', 'no_show')
        AND b.start_at >= w.monday AT TIME ZONE c.time_zone
        AND b.start_at < (w.monday + interval '7 days') AT TIME ZONE c.time_zone
        AND $2::text IS NOT NULL
) AS l ON true
WHERE c.id = ANY ($1::uuid[]) ORDER BY coalesce(l.busy, interval '0'), c.id;

-- name: by_last_booking
-- Who has waited longest for a booking of the service first.
SELECT c.id::text AS id FROM calendars c
LEFT JOIN LATERAL (
    SELECT max(b.created_at) AS last FROM bookings b
    WHERE b.calendar_id = c.id AND b.service_id = $2::text::uuid AND b.status <> 'held' AND $3::bigint IS NOT NULL
) AS l ON true
WHERE c.id = ANY ($1::uuid[]) ORDER BY l.last NULLS FIRST, c.id;

-- name: led_by
SELECT calendar_id::text, status, parts::text FROM bookings WHERE id = $1::uuid AND parts IS NOT NULL;

-- name: hold_as_placed
SELECT data::text FROM events
WHERE calendar_id = $1::uuid AND data ->> 'id' = $2::text AND type = 'hold.created' ORDER BY version LIMIT 1;

-- name: parts_astray
-- Parts of meetings, in the calendars of these shards, that are not as their leader has it: a part lives as long as an
-- active row of the leading calendar names it. What a leader is only about to hold it names already. Looked at are parts
-- that are held, and those whose leaders have changed in the last $3 seconds.
WITH changed AS (
    SELECT DISTINCT calendar_id FROM bookings WHERE parts IS NOT NULL AND updated_at > now() - make_interval(secs => $3)
), suspects AS (
    SELECT calendar_id, business_id, id, status, leader_id FROM bookings
    WHERE leader_id IS NOT NULL AND status = 'held'
    UNION ALL
    SELECT f.calendar_id, f.business_id, f.id, f.status, f.leader_id FROM changed l
    JOIN bookings f ON f.leader_id = l.calendar_id AND f.status = 'confirmed'
)
SELECT f.calendar_id::text AS calendar_id, f.business_id::text AS business_id, f.id::text AS id,
    CASE WHEN l.status IN ('pending', 'confirmed') THEN 'booked'
        WHEN l.status IN ('completed', 'no_show') THEN 'completed' ELSE 'gone' END AS became
FROM suspects f JOIN calendars c ON c.id = f.calendar_id
LEFT JOIN LATERAL (
    SELECT b.status FROM bookings b
    WHERE b.calendar_id = f.leader_id AND b.parts @> jsonb_build_array(jsonb_build_array(f.calendar_id, f.id))
    ORDER BY b.updated_at DESC LIMIT 1
) AS l ON true
WHERE c.shard = ANY ($1::int[]) AND coalesce(l.status, '') <> 'held'
    AND NOT (f.status = 'confirmed' AND coalesce(l.status, '') IN ('pending', 'confirmed'))
LIMIT $2;
