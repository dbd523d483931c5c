-- name: insert_location
INSERT INTO locations (id, business_id, name, address, phone, time_zone) VALUES ($1, $2, $3, $4, $5, $6) RETURNING *;

-- name: location_by_id
SELECT * FROM locations WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL;

-- name: location_for_update
SELECT * FROM locations WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL FOR UPDATE;

-- name: location_for_share
-- Keeps it from being removed while somebody is put there.
SELECT * FROM locations WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL FOR SHARE;

-- name: list_locations
SELECT * FROM locations
WHERE business_id = $1::uuid AND ($2::uuid IS NULL OR id > $2) AND (deleted_at IS NOT NULL) = $4
ORDER BY id LIMIT $3;

-- name: update_location
UPDATE locations SET name = $3, address = $4, phone = $5, time_zone = $6, updated_at = now()
WHERE business_id = $1::uuid AND id = $2::uuid RETURNING *;

-- name: is_place_of_work
SELECT EXISTS (SELECT FROM professionals WHERE location_id = $1::uuid AND deleted_at IS NULL);

-- name: delete_location
UPDATE locations SET deleted_at = now(), updated_at = now()
WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL RETURNING *;

-- name: restore_location
UPDATE locations SET deleted_at = NULL, updated_at = now() WHERE business_id = $1::uuid AND id = $2::uuid RETURNING *;

-- name: locations_among
SELECT id::text FROM locations WHERE business_id = $1::uuid AND id = ANY ($2::uuid[]) AND deleted_at IS NULL FOR SHARE;
