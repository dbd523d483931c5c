-- name: insert_business
INSERT INTO businesses (id, slug, name, time_zone) VALUES ($1, $2, $3, $4);

-- name: business_by_slug
SELECT id::text, slug, name, time_zone, locale, status, trial_ends_at, region, hold_ttl_seconds, allowed_origins
FROM businesses WHERE slug = $1 AND deleted_at IS NULL;

-- name: business_by_id
SELECT id::text, slug, name, time_zone, locale, status, trial_ends_at, region, hold_ttl_seconds, allowed_origins
FROM businesses WHERE id = $1::uuid AND deleted_at IS NULL;

-- name: place_of
SELECT location_id::text FROM professionals WHERE business_id = $1::uuid AND id = $2::uuid;
