-- name: insert_business
INSERT INTO businesses (id, slug, name, time_zone) VALUES ($1, $2, $3, $4);

-- name: register_business
-- Nothing when the slug is taken.
INSERT INTO businesses (id, slug, name, time_zone, locale, region, languages, status)
VALUES ($1, $2, $3, $4, $5, $6, ARRAY[$5], 'pending') ON CONFLICT (slug) DO NOTHING RETURNING id::text;

-- name: business_by_slug
SELECT id::text, slug, name, time_zone, locale, status, trial_ends_at, region, hold_ttl_seconds, allowed_origins,
    languages, cancellation_notice_minutes, EXISTS (SELECT FROM ban_list n WHERE n.business_id = b.id) AS has_bans
FROM businesses b WHERE slug = $1 AND deleted_at IS NULL;

-- name: business_by_id
SELECT id::text, slug, name, time_zone, locale, status, trial_ends_at, region, hold_ttl_seconds, allowed_origins,
    languages, cancellation_notice_minutes, EXISTS (SELECT FROM ban_list n WHERE n.business_id = b.id) AS has_bans
FROM businesses b WHERE id = $1::uuid AND deleted_at IS NULL;

-- name: business_whole
-- With $2 also one that was deleted.
SELECT * FROM businesses WHERE id = $1::uuid AND (deleted_at IS NULL OR $2);

-- name: business_for_update
SELECT * FROM businesses WHERE id = $1::uuid AND (deleted_at IS NULL OR $2) FOR UPDATE;

-- name: update_business
UPDATE businesses SET name = $2, time_zone = $3, locale = $4, region = $5, languages = $6,
    cancellation_notice_minutes = $7, default_confirmation = $8, hold_ttl_seconds = $9, allowed_origins = $10,
    updated_at = now()
WHERE id = $1::uuid RETURNING *;

-- name: set_business_status
UPDATE businesses SET status = $2, status_reason = $3,
    trial_ends_at = CASE WHEN $4 THEN from_us($5) ELSE trial_ends_at END, updated_at = now()
WHERE id = $1::uuid RETURNING *;

-- name: set_business_deleted
UPDATE businesses SET deleted_at = CASE WHEN $2 THEN now() END, updated_at = now() WHERE id = $1::uuid RETURNING *;

-- name: list_businesses
-- Filters that are NULL are off. $2 is part of a slug or name.
SELECT * FROM businesses
WHERE ($1::text IS NULL OR status = $1)
    AND ($2::text IS NULL OR strpos(slug, lower($2)) > 0 OR strpos(lower(name), lower($2)) > 0)
    AND (deleted_at IS NOT NULL) = $3 AND ($4::uuid IS NULL OR id > $4)
ORDER BY id LIMIT $5;

-- name: revoke_tokens_of_business
UPDATE service_tokens SET revoked_at = now() WHERE business_id = $1::uuid AND revoked_at IS NULL AND expires_at > now()
RETURNING id::text;

-- name: place_of
SELECT location_id::text FROM professionals WHERE business_id = $1::uuid AND id = $2::uuid;

-- name: platform_counts
SELECT (SELECT json_object_agg(status, n)::text FROM
        (SELECT status, count(*) AS n FROM businesses WHERE deleted_at IS NULL GROUP BY status) s) AS businesses,
    (SELECT count(*) FROM users WHERE disabled_at IS NULL) AS users,
    (SELECT count(*) FROM professionals WHERE deleted_at IS NULL) AS professionals,
    (SELECT count(*) FROM clients WHERE deleted_at IS NULL) AS clients,
    (SELECT json_object_agg(status, n)::text FROM
        (SELECT status, count(*) AS n FROM bookings WHERE status <> 'held' AND created_at >= from_us($1)
            AND created_at < from_us($2) GROUP BY status) b) AS bookings;
