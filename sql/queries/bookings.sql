-- name: booking_by_id
SELECT b.*, p.display_name AS professional_name FROM bookings b JOIN professionals p ON p.id = b.calendar_id
WHERE b.id = $1::uuid;

-- name: booking_by_code
SELECT b.*, p.display_name AS professional_name FROM bookings b JOIN professionals p ON p.id = b.calendar_id
WHERE b.code = $1;

-- name: list_bookings
-- Filters that are NULL are off. Ordered by start, then id; $9 and $10 are the position after which to go on.
SELECT b.*, p.display_name AS professional_name FROM bookings b JOIN professionals p ON p.id = b.calendar_id
WHERE b.business_id = $1::uuid AND b.status <> 'held'
    AND ($2::uuid IS NULL OR b.calendar_id = $2)
    AND ($3::uuid IS NULL OR b.client_id = $3)
    AND ($4::text IS NULL OR b.status = $4)
    AND ($5::bigint IS NULL OR b.start_at >= from_us($5))
    AND ($6::bigint IS NULL OR b.start_at < from_us($6))
    AND ($7::bigint IS NULL OR b.end_at > from_us($7))
    AND ($9::bigint IS NULL OR (b.start_at, b.id) > (from_us($9), $10::uuid))
    AND ($11::uuid[] IS NULL OR p.location_id = ANY ($11))
ORDER BY b.start_at, b.id LIMIT $8;

-- name: booking_dates
SELECT DISTINCT (start_at AT TIME ZONE $4)::date::text AS day FROM bookings
WHERE calendar_id = $1::uuid AND status = 'confirmed' AND start_at >= from_us($2) AND start_at < from_us($3)
ORDER BY day;

-- name: hold_by_id
SELECT calendar_id::text, business_id::text, client_id::text, holder FROM bookings
WHERE id = $1::uuid AND status = 'held';

-- name: list_time_off
SELECT id::text, start_at, end_at, description, forced FROM time_off
WHERE calendar_id = $1::uuid AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3;

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
