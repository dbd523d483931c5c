-- name: calendars_with_days_over
-- Calendars for which days have passed since the last that was counted. One nobody has counted begins with its first
-- day, or with the first booking that was brought in from before.
SELECT c.id::text, c.business_id::text, z.name AS time_zone, coalesce(a.until, least(
        (p.created_at AT TIME ZONE z.name)::date,
        (SELECT (min(b.start_at) AT TIME ZONE z.name)::date FROM bookings b WHERE b.calendar_id = c.id))) AS until,
    (from_us($2) AT TIME ZONE z.name)::date AS today
FROM calendars c JOIN professionals p ON p.id = c.id LEFT JOIN analytics_progress a ON a.calendar_id = c.id
CROSS JOIN LATERAL (SELECT coalesce(a.time_zone, c.time_zone) AS name) AS z
WHERE c.shard = ANY ($1::int[])
    AND coalesce(a.until, (p.created_at AT TIME ZONE z.name)::date) < (from_us($2) AT TIME ZONE z.name)::date
ORDER BY a.until NULLS FIRST, c.id LIMIT $3;

-- name: days_are_over
-- They are marked in the statement that moves `until`, so that none is neither counted nor marked.
WITH moved AS (
    INSERT INTO analytics_progress AS a (calendar_id, business_id, until, time_zone)
    VALUES ($1::uuid, $2::uuid, $4::date, $5)
    ON CONFLICT (calendar_id) DO UPDATE SET until = EXCLUDED.until WHERE a.until = $3::date
    RETURNING a.calendar_id
)
INSERT INTO analytics_stale (calendar_id, business_id, day)
SELECT m.calendar_id, $2::uuid, d::date FROM moved m, generate_series($3::date, $4::date - 1, interval '1 day') AS d
ON CONFLICT DO NOTHING;

-- name: calendars_to_count
SELECT c.id::text, c.business_id::text, a.time_zone, c.schedule::text,
    (p.created_at AT TIME ZONE a.time_zone)::date AS born, (p.deleted_at AT TIME ZONE a.time_zone)::date AS gone
FROM (SELECT DISTINCT calendar_id FROM analytics_stale) AS s
JOIN analytics_progress a ON a.calendar_id = s.calendar_id
JOIN calendars c ON c.id = s.calendar_id JOIN professionals p ON p.id = c.id
WHERE c.shard = ANY ($1::int[])
ORDER BY c.id LIMIT $2;

-- name: take_stale_days
-- Taken first and counted after: a change that comes between marks the day again.
DELETE FROM analytics_stale s USING (
    SELECT day FROM analytics_stale WHERE calendar_id = $1::uuid ORDER BY day LIMIT $2 FOR UPDATE
) AS taken
WHERE s.calendar_id = $1::uuid AND s.day = taken.day
RETURNING s.day, NOT EXISTS (
    SELECT FROM analytics_hours h WHERE h.calendar_id = $1::uuid AND h.day = s.day) AS without_hours;

-- name: forget_counted_days
DELETE FROM analytics_days WHERE calendar_id = $1::uuid AND day = ANY ($2::date[]);

-- name: count_days
INSERT INTO analytics_days (calendar_id, business_id, service_id, day, pending, confirmed, completed, cancelled,
    rejected, expired, no_show, by_clients, attendees, booked_seconds, lead_seconds)
SELECT $1::uuid, $2::uuid, f.* FROM unnest($4::date[]) AS d (day), day_figures($1::uuid, $3, d.day, d.day) AS f;

-- name: keep_open_hours
INSERT INTO analytics_hours (calendar_id, business_id, day, open_seconds)
SELECT $1::uuid, $2::uuid, h.day, h.seconds FROM unnest($3::date[], $4::int[]) AS h (day, seconds)
ON CONFLICT DO NOTHING;

-- name: mark_stale_days
-- Days that were counted before these bookings changed. Where a booking was moved, the day that it left as well: what
-- it started at before stands in an earlier event, sought among the calendar's last ones only.
INSERT INTO analytics_stale (calendar_id, business_id, day)
SELECT DISTINCT p.calendar_id, p.business_id, (t.start_at AT TIME ZONE p.time_zone)::date
FROM (
    SELECT b.calendar_id, b.start_at FROM bookings b WHERE b.id = ANY ($1::uuid[])
    UNION ALL
    SELECT m.calendar_id, from_us((
        SELECT (e.data ->> 'start')::bigint FROM events e
        WHERE e.calendar_id = m.calendar_id AND e.version < m.version AND e.version >= m.version - 2000
            AND e.data ->> 'id' = m.id AND e.data ? 'start'
        ORDER BY e.version DESC LIMIT 1))
    FROM unnest($2::uuid[], $3::bigint[], $4::text[]) AS m (calendar_id, version, id)
) AS t JOIN analytics_progress p ON p.calendar_id = t.calendar_id
WHERE (t.start_at AT TIME ZONE p.time_zone)::date < p.until
ON CONFLICT DO NOTHING;

-- name: mark_moved_zones
-- In another time zone bookings lie on other days, a day away at most.
WITH moved AS (
    UPDATE analytics_progress p SET time_zone = c.time_zone FROM calendars c
    WHERE p.calendar_id = ANY ($1::uuid[]) AND c.id = p.calendar_id AND c.time_zone <> p.time_zone
    RETURNING p.calendar_id, p.business_id, p.until
)
INSERT INTO analytics_stale (calendar_id, business_id, day)
SELECT DISTINCT m.calendar_id, m.business_id, d.day + near FROM moved m
JOIN analytics_days d ON d.calendar_id = m.calendar_id CROSS JOIN generate_series(-1, 1) AS near
WHERE d.day + near < m.until
ON CONFLICT DO NOTHING;

-- name: analytics_figures
-- What was counted, and what has to be counted now: from `until` on, and days marked since. Days are of each
-- calendar's wall clock. $4 are locations, or NULL for all; $5 one professional, $6 one service.
WITH asked AS MATERIALIZED (
    SELECT c.id, coalesce(a.time_zone, c.time_zone) AS time_zone, greatest(coalesce(a.until, $2::date), $2::date) AS until
    FROM calendars c JOIN professionals p ON p.id = c.id LEFT JOIN analytics_progress a ON a.calendar_id = c.id
    WHERE c.business_id = $1::uuid AND ($4::uuid[] IS NULL OR p.location_id = ANY ($4))
        AND ($5::uuid IS NULL OR c.id = $5)
), stale AS MATERIALIZED (
    SELECT q.id, q.time_zone, s.day FROM asked q
    JOIN analytics_stale s ON s.calendar_id = q.id AND s.day BETWEEN $2::date AND $3::date WHERE s.day < q.until
), figures AS (
    SELECT d.calendar_id, d.service_id, d.day, d.pending, d.confirmed, d.completed, d.cancelled, d.rejected, d.expired,
        d.no_show, d.by_clients, d.attendees, d.booked_seconds, d.lead_seconds
    FROM asked q JOIN analytics_days d ON d.calendar_id = q.id AND d.day >= $2::date AND d.day <= $3::date
    -- NOT IN is looked up in memory; NOT EXISTS became a scan per row in a plan for any parameters.
    WHERE d.day < q.until AND (d.calendar_id, d.day) NOT IN (SELECT id, day FROM stale)
    UNION ALL
    SELECT q.id, f.* FROM asked q, day_figures(q.id, q.time_zone, q.until, $3::date) AS f WHERE q.until <= $3::date
    UNION ALL
    SELECT s.id, f.* FROM stale s, day_figures(s.id, s.time_zone, s.day, s.day) AS f
)
SELECT f.day, f.calendar_id::text, f.service_id::text,
    (SELECT p.display_name FROM professionals p WHERE p.id = f.calendar_id) AS professional,
    (SELECT s.name FROM bookables s WHERE s.id = f.service_id) AS service,
    sum(f.pending) AS pending, sum(f.confirmed) AS confirmed, sum(f.completed) AS completed,
    sum(f.cancelled) AS cancelled, sum(f.rejected) AS rejected, sum(f.expired) AS expired, sum(f.no_show) AS no_show,
    sum(f.by_clients) AS by_clients, sum(f.attendees) AS attendees, sum(f.booked_seconds)::bigint AS booked_seconds,
    sum(f.lead_seconds)::bigint AS lead_seconds
FROM figures f WHERE $6::uuid IS NULL OR f.service_id = $6
GROUP BY GROUPING SETS ((f.day), (f.calendar_id), (f.service_id));

-- name: analytics_hours
SELECT h.day, h.calendar_id::text, sum(h.open_seconds)::bigint AS open_seconds,
    (SELECT f.display_name FROM professionals f WHERE f.id = h.calendar_id) AS professional
FROM calendars c JOIN professionals p ON p.id = c.id JOIN analytics_hours h ON h.calendar_id = c.id
WHERE c.business_id = $1::uuid AND ($4::uuid[] IS NULL OR p.location_id = ANY ($4))
    AND ($5::uuid IS NULL OR c.id = $5) AND h.day BETWEEN $2::date AND $3::date
GROUP BY GROUPING SETS ((h.day), (h.calendar_id));

-- name: calendars_without_hours
-- Calendars with days in the range whose hours have not been kept, from when on, and what they are open now.
SELECT c.id::text, p.display_name AS professional, c.time_zone, c.schedule::text,
    (p.created_at AT TIME ZONE c.time_zone)::date AS born, (p.deleted_at AT TIME ZONE c.time_zone)::date AS gone,
    greatest($2::date, coalesce(
        (SELECT max(h.day) + 1 FROM analytics_hours h WHERE h.calendar_id = c.id), $2::date)) AS first_day,
    (SELECT json_agg(json_build_array(to_us(t.start_at), to_us(t.end_at)))::text FROM time_off t
        WHERE t.calendar_id = c.id AND t.start_at < ($3::date + 2)::timestamp AT TIME ZONE 'UTC'
            AND t.end_at > ($2::date - 1)::timestamp AT TIME ZONE 'UTC') AS blocks
FROM calendars c JOIN professionals p ON p.id = c.id
WHERE c.business_id = $1::uuid AND ($4::uuid[] IS NULL OR p.location_id = ANY ($4))
    AND ($5::uuid IS NULL OR c.id = $5) AND (p.deleted_at IS NULL OR p.deleted_at >= $2::date - 1)
ORDER BY c.id LIMIT $6;

-- name: time_off_spans
SELECT json_agg(json_build_array(to_us(start_at), to_us(end_at)))::text FROM time_off
WHERE calendar_id = $1::uuid AND start_at < from_us($3) AND end_at > from_us($2);

-- name: had_professional
SELECT EXISTS (SELECT FROM professionals WHERE business_id = $1::uuid AND id = $2::uuid);

-- name: had_service
SELECT EXISTS (SELECT FROM services WHERE business_id = $1::uuid AND id = $2::uuid);

-- name: had_location
SELECT EXISTS (SELECT FROM locations WHERE business_id = $1::uuid AND id = $2::uuid);
