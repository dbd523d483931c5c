-- name: insert_offering
INSERT INTO offerings (id, business_id, professional_id, code, type, title, description, start_date, end_date, day_start,
    day_end, time_zone, duration_minutes, max_attendees, anti_scalping, confirmation, notice_minutes)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::date, $9::text::date, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (code) DO NOTHING
RETURNING *, 0 AS attendees_booked;

-- name: current_offerings
SELECT count(*) FROM offerings WHERE professional_id = $1::uuid AND deleted_at IS NULL AND end_date >= current_date;

-- name: offering_by_code
SELECT o.*, attendees_of(o.id) AS attendees_booked FROM offerings o
JOIN professionals p ON p.id = o.professional_id AND p.deleted_at IS NULL
WHERE o.code = $1 AND o.deleted_at IS NULL;

-- name: offering_by_id
SELECT o.*, attendees_of(o.id) AS attendees_booked FROM offerings o
WHERE o.business_id = $1::uuid AND o.id = $2::uuid AND o.deleted_at IS NULL;

-- name: offering_for_update
SELECT o.*, attendees_of(o.id) AS attendees_booked FROM offerings o
WHERE o.business_id = $1::uuid AND o.id = $2::uuid AND (o.deleted_at IS NOT NULL) = $3 FOR UPDATE;

-- name: list_offerings
SELECT o.*, attendees_of(o.id) AS attendees_booked FROM offerings o
JOIN professionals p ON p.id = o.professional_id
WHERE o.business_id = $1::uuid AND (o.deleted_at IS NOT NULL) = $4 AND ($2::uuid IS NULL OR o.id > $2)
    AND ($5::uuid IS NULL OR o.professional_id = $5) AND ($6::text IS NULL OR o.type = $6)
    AND ($7::uuid[] IS NULL OR p.location_id = ANY ($7))
ORDER BY o.id LIMIT $3;

-- name: update_offering
UPDATE offerings SET title = $3, description = $4, start_date = $5::text::date, end_date = $6::text::date, day_start = $7,
    day_end = $8, duration_minutes = $9, max_attendees = $10, anti_scalping = $11, confirmation = $12,
    notice_minutes = $13, version = version + 1
WHERE business_id = $1::uuid AND id = $2::uuid RETURNING *, attendees_of(id) AS attendees_booked;

-- name: delete_offering
UPDATE offerings SET deleted_at = now() WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL
RETURNING professional_id::text;

-- name: restore_offering
UPDATE offerings SET deleted_at = NULL WHERE business_id = $1::uuid AND id = $2::uuid
RETURNING *, attendees_of(id) AS attendees_booked;

-- name: offering_terms_by_code
SELECT o.id::text, o.business_id::text, o.professional_id::text, o.type, o.start_date::text, o.end_date::text, o.day_start,
    o.day_end, o.time_zone, o.duration_minutes, o.max_attendees, o.anti_scalping, o.confirmation, o.notice_minutes
FROM offerings o JOIN professionals p ON p.id = o.professional_id AND p.deleted_at IS NULL
WHERE o.code = $1 AND o.deleted_at IS NULL;
