-- name: make_feed
-- In the place of the one there was.
INSERT INTO feeds (id, business_id, professional_id, client_id, token_hash, created_by)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING created_at;

-- name: end_feed
DELETE FROM feeds WHERE business_id = $1::uuid AND (professional_id = $2::uuid OR client_id = $3::uuid) RETURNING id::text;

-- name: feed_by_token
-- Of whoever is still there.
SELECT f.id::text, f.business_id::text, f.professional_id::text, f.client_id::text, f.etag, f.changed_at,
    b.name AS business, p.display_name AS professional, coalesce(c.time_zone, b.time_zone) AS time_zone
FROM feeds f JOIN businesses b ON b.id = f.business_id AND b.deleted_at IS NULL
LEFT JOIN professionals p ON p.id = f.professional_id AND p.deleted_at IS NULL
LEFT JOIN calendars c ON c.id = p.id
LEFT JOIN clients l ON l.id = f.client_id AND l.deleted_at IS NULL AND l.erased_at IS NULL
WHERE f.token_hash = $1 AND coalesce(p.id, l.id) IS NOT NULL;

-- name: feed_entries
SELECT b.id::text, b.status, b.code, b.start_at, b.end_at, b.version, b.updated_at, b.attendees, s.name AS service,
    p.display_name AS professional, concat_ws(' ', c.first_name, nullif(c.last_name, '')) AS client,
    concat_ws(', ', l.name, nullif(l.address, '')) AS place
FROM bookings b JOIN bookables s ON s.id = b.service_id JOIN professionals p ON p.id = b.calendar_id
LEFT JOIN clients c ON c.id = b.client_id LEFT JOIN locations l ON l.id = p.location_id
WHERE b.business_id = $1::uuid AND ($2::uuid IS NULL OR b.calendar_id = $2) AND ($3::uuid IS NULL OR b.client_id = $3)
    AND b.status IN ('pending', 'confirmed', 'completed') AND b.start_at >= from_us($4) AND b.start_at < from_us($5)
ORDER BY b.start_at, b.id LIMIT $6;

-- name: feed_has_changed
UPDATE feeds SET etag = $2, changed_at = from_us($3) WHERE id = $1::uuid AND etag IS DISTINCT FROM $2
RETURNING changed_at;
