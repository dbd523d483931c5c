-- name: insert_service
INSERT INTO services (id, business_id, name, description, duration_minutes, step_minutes, buffer_before_minutes,
    buffer_after_minutes, notice_minutes, horizon_days, capacity, confirmation, price_minor, currency,
    durations_minutes, daily_cap, weekly_cap, cancellation_notice_minutes, reschedule_notice_minutes, questions,
    assignment, location_ids, professionals_needed, resources)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
    coalesce($12, (SELECT default_confirmation FROM businesses WHERE id = $2)), $13, $14,
    $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)
RETURNING *;

-- name: service_by_id
SELECT * FROM services WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL;

-- name: service_for_update
SELECT * FROM services WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL FOR UPDATE;

-- name: list_services
SELECT * FROM services
WHERE business_id = $1::uuid AND (deleted_at IS NOT NULL) = $4 AND ($2::uuid IS NULL OR id > $2)
ORDER BY id LIMIT $3;

-- name: list_services_of
SELECT s.* FROM services s JOIN professional_services p ON p.service_id = s.id
WHERE s.business_id = $1::uuid AND p.professional_id = $4::uuid AND s.deleted_at IS NULL
    AND ($2::uuid IS NULL OR s.id > $2)
ORDER BY s.id LIMIT $3;

-- name: update_service
UPDATE services SET name = $3, description = $4, duration_minutes = $5, step_minutes = $6,
    buffer_before_minutes = $7, buffer_after_minutes = $8, notice_minutes = $9, horizon_days = $10, capacity = $11,
    confirmation = $12, price_minor = $13, currency = $14, durations_minutes = $15, daily_cap = $16, weekly_cap = $17,
    cancellation_notice_minutes = $18, reschedule_notice_minutes = $19, questions = $20, assignment = $21,
    location_ids = $22, professionals_needed = $23, resources = $24, version = version + 1
WHERE business_id = $1::uuid AND id = $2::uuid RETURNING *;

-- name: questions_of_service
SELECT questions::text FROM services WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL;

-- name: resources_among
SELECT id::text FROM professionals
WHERE business_id = $1::uuid AND id = ANY ($2::uuid[]) AND kind = 'resource' AND deleted_at IS NULL FOR SHARE;

-- name: delete_service
UPDATE services SET deleted_at = now() WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL
RETURNING id::text;

-- name: restore_service
UPDATE services SET deleted_at = NULL WHERE business_id = $1::uuid AND id = $2::uuid RETURNING id::text;

-- name: professionals_offering
SELECT p.professional_id::text FROM professional_services p
JOIN services s ON s.id = p.service_id AND s.deleted_at IS NULL
JOIN professionals f ON f.id = p.professional_id AND f.deleted_at IS NULL
WHERE p.business_id = $1::uuid AND p.service_id = $2::uuid ORDER BY p.professional_id;

-- name: link_service
INSERT INTO professional_services (business_id, professional_id, service_id)
SELECT $1::uuid, p.id, s.id FROM professionals p, services s
WHERE p.business_id = $1::uuid AND p.id = $2::uuid AND p.deleted_at IS NULL
    AND s.business_id = $1::uuid AND s.id = $3::uuid AND s.deleted_at IS NULL
ON CONFLICT (professional_id, service_id) DO UPDATE SET business_id = EXCLUDED.business_id
RETURNING service_id::text;

-- name: unlink_service
DELETE FROM professional_services WHERE business_id = $1::uuid AND professional_id = $2::uuid AND service_id = $3::uuid
RETURNING service_id::text;
