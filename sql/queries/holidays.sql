-- name: holidays_ahead
SELECT count(*)::int FROM holidays WHERE business_id = $1::uuid AND date >= current_date;

-- name: insert_holiday
INSERT INTO holidays (id, business_id, location_id, date, name, forced)
VALUES ($1, $2, $3, $4::text::date, $5, $6)
ON CONFLICT (business_id, date, location_id) DO NOTHING
RETURNING id::text, date::text, name, location_id::text, forced, created_at;

-- name: list_holidays
SELECT id::text, date::text, name, location_id::text, forced, created_at FROM holidays
WHERE business_id = $1::uuid AND ($2::uuid IS NULL OR id > $2)
    AND ($4::text IS NULL OR date >= $4::text::date)
    AND ($5::uuid IS NULL OR location_id IS NULL OR location_id = $5)
ORDER BY id LIMIT $3;

-- name: delete_holiday
DELETE FROM holidays WHERE business_id = $1::uuid AND id = $2::uuid
RETURNING id::text, date::text, name, location_id::text, forced, created_at;

-- name: calendars_at
SELECT id::text FROM professionals
WHERE business_id = $1::uuid AND deleted_at IS NULL AND ($2::uuid IS NULL OR location_id = $2);

-- name: bookings_on_date
-- What would stand in a holiday of that date, read on each calendar's own clock: not where somebody has hours of their own
-- for it, and not what has hours of its own. The days around it keep the scan short, whatever the zones.
SELECT b.id::text FROM bookings b
JOIN calendars c ON c.id = b.calendar_id
JOIN professionals p ON p.id = c.id AND p.deleted_at IS NULL
WHERE b.business_id = $1::uuid AND ($3::uuid IS NULL OR p.location_id = $3)
    AND b.start_at > $2::text::date - interval '3 days' AND b.start_at < $2::text::date + interval '3 days'
    AND b.start_at < ($2::text::date + 1)::timestamp AT TIME ZONE c.time_zone
    AND b.end_at > $2::text::date::timestamp AT TIME ZONE c.time_zone AND b.end_at > now()
    AND b.status IN ('held', 'pending', 'confirmed') AND (b.expires_at IS NULL OR b.expires_at > now())
    AND NOT EXISTS (SELECT FROM jsonb_array_elements(c.schedule -> 'overrides') AS o WHERE o ->> 'date' = $2)
    AND NOT EXISTS (SELECT FROM offerings f WHERE f.id = b.service_id)
ORDER BY b.start_at, b.id LIMIT $4;
