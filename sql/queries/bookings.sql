-- name: booking_by_id
SELECT b.*, others_of(b.parts) AS others, p.display_name AS professional_name FROM bookings b JOIN professionals p ON p.id = b.calendar_id
WHERE b.id = $1::uuid;

-- name: booking_by_code
SELECT b.*, others_of(b.parts) AS others, p.display_name AS professional_name FROM bookings b JOIN professionals p ON p.id = b.calendar_id
WHERE b.code = $1;

-- name: booking_of_part
SELECT b.*, others_of(b.parts) AS others, p.display_name AS professional_name
FROM bookings f JOIN bookings b ON b.calendar_id = f.leader_id AND b.status <> 'held'
    AND b.parts @> jsonb_build_array(jsonb_build_array(f.calendar_id, f.id))
JOIN professionals p ON p.id = b.calendar_id
WHERE f.id = $1::uuid;

-- name: list_bookings
-- Filters that are NULL are off. Ordered by start, then id; $9 and $10 are the position after which to go on. A meeting of
-- several calendars stands here once, as its leader has it, for everybody who takes part.
SELECT b.*, others_of(b.parts) AS others, p.display_name AS professional_name FROM bookings b JOIN professionals p ON p.id = b.calendar_id
WHERE b.business_id = $1::uuid AND b.status <> 'held'
    AND b.leader_id IS NULL
    AND ($2::uuid IS NULL OR b.calendar_id = $2 OR b.id = ANY (ARRAY(
        SELECT l.id FROM bookings f JOIN bookings l ON l.calendar_id = f.leader_id
            AND l.parts @> jsonb_build_array(jsonb_build_array(f.calendar_id, f.id))
        WHERE f.calendar_id = $2 AND f.leader_id IS NOT NULL
            AND ($5::bigint IS NULL OR f.start_at >= from_us($5)) AND ($6::bigint IS NULL OR f.start_at < from_us($6))
            AND ($7::bigint IS NULL OR f.end_at > from_us($7)))))
    AND ($3::uuid IS NULL OR b.client_id = $3)
    AND ($4::text IS NULL OR b.status = $4)
    AND ($5::bigint IS NULL OR b.start_at >= from_us($5))
    AND ($6::bigint IS NULL OR b.start_at < from_us($6))
    AND ($7::bigint IS NULL OR b.end_at > from_us($7))
    AND ($9::bigint IS NULL OR (b.start_at, b.id) > (from_us($9), $10::uuid))
    AND ($11::uuid[] IS NULL OR p.location_id = ANY ($11) OR EXISTS (
        SELECT FROM jsonb_array_elements(b.parts) AS x JOIN professionals o ON o.id = (x ->> 0)::uuid
        WHERE o.location_id = ANY ($11)))
    AND ($12::uuid IS NULL OR b.service_id = $12)
ORDER BY b.start_at, b.id LIMIT $8;

-- name: booking_dates
SELECT DISTINCT (start_at AT TIME ZONE $4)::date::text AS day FROM bookings
WHERE calendar_id = $1::uuid AND status = 'confirmed' AND start_at >= from_us($2) AND start_at < from_us($3)
ORDER BY day;

-- name: hold_by_id
SELECT calendar_id::text, business_id::text, client_id::text, holder, parts::text AS parts FROM bookings
WHERE id = $1::uuid AND status = 'held';

-- name: list_time_off
SELECT id::text, start_at, end_at, description, forced, series_id::text FROM time_off
WHERE calendar_id = $1::uuid AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3;

-- name: series_events
SELECT data::text FROM events
WHERE calendar_id = $1::uuid AND version > $2::bigint AND version <= $3 AND data ->> 'series' = $4::text
ORDER BY version;

-- name: time_off_in
SELECT start_at, end_at, description FROM time_off
WHERE calendar_id = $1::uuid AND start_at < from_us($3) AND end_at > from_us($2) ORDER BY start_at;

-- name: list_events
SELECT calendar_id::text, version, type, at, by, request_id, data::text FROM events
WHERE calendar_id = $1::uuid AND version > $2 ORDER BY version LIMIT $3;

-- name: events_of_booking
SELECT data::text FROM events
WHERE calendar_id = $1::uuid AND data ->> 'id' = $2::text AND version <= $3 ORDER BY version;

-- name: claim_key
-- Waits for a request with the same key that is still under way.
INSERT INTO idempotency_keys (scope, key, business_id, fingerprint) VALUES ($1, $2, $3, $4)
ON CONFLICT (scope, key) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, calendar_id = NULL, outcome = NULL,
    status = NULL, body = NULL, headers = NULL, created_at = now()
    WHERE idempotency_keys.created_at < now() - interval '24 hours'
RETURNING 1;

-- name: stored_reply
SELECT fingerprint, status, body, headers::text FROM idempotency_keys WHERE scope = $1 AND key = $2;

-- name: keep_reply
UPDATE idempotency_keys SET status = $3, body = $4, headers = $5::jsonb WHERE scope = $1 AND key = $2;

-- name: events_until
SELECT data::text, to_us(at) AS at FROM events WHERE calendar_id = $1::uuid AND version <= $2 ORDER BY version LIMIT $3;

-- name: history_of_booking
SELECT calendar_id::text, version, type, at, by, request_id, data::text FROM events
WHERE calendar_id = $1::uuid AND data ->> 'id' = $2::text AND version > $3 ORDER BY version LIMIT $4;

-- name: bookings_of_series
SELECT b.*, others_of(b.parts) AS others, p.display_name AS professional_name FROM bookings b JOIN professionals p ON p.id = b.calendar_id
WHERE b.series_id = $1::uuid AND b.business_id = $2::uuid ORDER BY b.start_at, b.id;

-- name: zone_of_calendar
SELECT time_zone FROM calendars WHERE id = $1::uuid;
