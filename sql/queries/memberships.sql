-- name: add_membership
-- Of somebody who was removed before, the same row again; nothing for whoever is a member.
INSERT INTO memberships (id, business_id, user_id, role, professional_id, limited, grants)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (business_id, user_id) DO UPDATE SET role = EXCLUDED.role, professional_id = EXCLUDED.professional_id,
    limited = EXCLUDED.limited, grants = EXCLUDED.grants, created_at = now(), updated_at = now(), deleted_at = NULL
    WHERE memberships.deleted_at IS NOT NULL
RETURNING id::text;

-- name: membership_by_id
SELECT m.id::text, m.user_id::text, u.name AS user_name, m.role, m.professional_id::text, m.limited, m.grants,
    m.created_at, m.updated_at,
    ARRAY(SELECT l.location_id::text FROM membership_locations l WHERE l.membership_id = m.id ORDER BY 1) AS locations
FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.business_id = $1::uuid AND m.id = $2::uuid AND m.deleted_at IS NULL;

-- name: membership_of_user
SELECT id::text FROM memberships WHERE business_id = $1::uuid AND user_id = $2::uuid AND deleted_at IS NULL;

-- name: list_memberships
-- $4 narrows to a role, $5 to a user, $6 to those who work at one of these locations, or manage it.
SELECT m.id::text, m.user_id::text, u.name AS user_name, m.role, m.professional_id::text, m.limited, m.grants,
    m.created_at, m.updated_at,
    ARRAY(SELECT l.location_id::text FROM membership_locations l WHERE l.membership_id = m.id ORDER BY 1) AS locations
FROM memberships m JOIN users u ON u.id = m.user_id LEFT JOIN professionals p ON p.id = m.professional_id
WHERE m.business_id = $1::uuid AND m.deleted_at IS NULL AND ($2::uuid IS NULL OR m.id > $2)
    AND ($4::text IS NULL OR m.role = $4)
    AND ($5::uuid IS NULL OR m.user_id = $5)
    AND ($6::uuid[] IS NULL OR p.location_id = ANY ($6) OR EXISTS (SELECT FROM membership_locations l
        WHERE l.membership_id = m.id AND l.location_id = ANY ($6)))
ORDER BY m.id LIMIT $3;

-- name: lock_owners
-- Those who can still sign in. Two owners who remove each other come one after the other.
SELECT m.id::text FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.business_id = $1::uuid AND m.role = 'owner' AND m.deleted_at IS NULL AND u.disabled_at IS NULL
ORDER BY m.id FOR UPDATE OF m;

-- name: update_membership
UPDATE memberships SET role = $3, professional_id = $4, limited = $5, grants = $6, updated_at = now()
WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL RETURNING id::text;

-- name: remove_membership
UPDATE memberships SET deleted_at = now(), updated_at = now()
WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL RETURNING id::text;

-- name: clear_membership_locations
DELETE FROM membership_locations WHERE business_id = $1::uuid AND membership_id = $2::uuid;

-- name: set_membership_locations
INSERT INTO membership_locations (business_id, membership_id, location_id)
SELECT $1::uuid, $2::uuid, l FROM unnest($3::uuid[]) AS l;

-- name: user_by_email
SELECT id::text FROM users WHERE email = $1 AND NOT super_admin;

-- name: user_to_employ
SELECT id::text FROM users WHERE id = $1::uuid AND NOT super_admin;

-- name: insert_permission_request
INSERT INTO permission_requests (id, business_id, user_id, permission, reason) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (business_id, user_id, permission) WHERE status = 'pending' DO NOTHING RETURNING id::text;

-- name: permission_request_by_id
SELECT r.id::text, r.user_id::text, u.name AS user_name, r.permission, r.reason, r.status, r.decided_by::text,
    r.decided_at, r.answer, r.created_at
FROM permission_requests r JOIN users u ON u.id = r.user_id WHERE r.business_id = $1::uuid AND r.id = $2::uuid;

-- name: list_permission_requests
SELECT r.id::text, r.user_id::text, u.name AS user_name, r.permission, r.reason, r.status, r.decided_by::text,
    r.decided_at, r.answer, r.created_at
FROM permission_requests r JOIN users u ON u.id = r.user_id
WHERE r.business_id = $1::uuid AND ($2::uuid IS NULL OR r.id > $2) AND ($4::text IS NULL OR r.status = $4)
    AND ($5::uuid IS NULL OR r.user_id = $5)
ORDER BY r.id LIMIT $3;

-- name: decide_permission_request
UPDATE permission_requests SET status = $3, decided_by = (SELECT id FROM users WHERE id = $4::uuid), decided_at = now(), answer = $5
WHERE business_id = $1::uuid AND id = $2::uuid AND status = 'pending' RETURNING user_id::text;

-- name: grant_permission
-- Nothing beyond $4 grants, because they stand in the token.
UPDATE memberships SET grants = array_append(array_remove(grants, $3::text), $3::text), updated_at = now()
WHERE business_id = $1::uuid AND user_id = $2::uuid AND deleted_at IS NULL
    AND cardinality(array_remove(grants, $3::text)) < $4
RETURNING id::text;
