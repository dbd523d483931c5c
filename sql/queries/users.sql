-- name: insert_user
INSERT INTO users (id, email, username, phone, name, password_hash, super_admin, locale, chat_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: user_for_login
SELECT id::text, password_hash, name, email, phone, super_admin, disabled_at IS NOT NULL AS disabled,
    locale
FROM users
WHERE ($1::text IS NOT NULL AND email = $1) OR ($2::text IS NOT NULL AND username = $2)
    OR ($3::text IS NOT NULL AND phone = $3);

-- name: user_for_session
SELECT id::text, password_hash, name, email, phone, super_admin, disabled_at IS NOT NULL AS disabled,
    locale
FROM users
WHERE id = $1::uuid;

-- name: user_by_id
SELECT id::text, name, email, email_verified_at, username, phone, phone_verified_at, chat_id, locale,
    booking_messages, super_admin, disabled_at, created_at
FROM users WHERE id = $1::uuid;

-- name: list_users
-- Filters that are NULL are off. $1 narrows to the members of a business.
SELECT u.id::text, u.name, u.email, u.email_verified_at, u.username, u.phone, u.phone_verified_at, u.chat_id, u.locale,
    u.booking_messages, u.super_admin, u.disabled_at, u.created_at, m.business_id::text, m.id::text AS membership_id, m.role
FROM users u LEFT JOIN memberships m ON m.user_id = u.id AND m.business_id = $1::uuid AND m.deleted_at IS NULL
WHERE ($1::uuid IS NULL OR m.id IS NOT NULL)
    AND ($2::text IS NULL OR m.role = $2)
    AND ($3::text IS NULL OR u.email = $3)
    AND ($4::text IS NULL OR u.username = $4)
    AND ($5::text IS NULL OR u.phone = $5)
    AND ($6::boolean IS NULL OR (u.disabled_at IS NOT NULL) = $6)
    AND ($7::uuid IS NULL OR u.id > $7)
ORDER BY u.id LIMIT $8;

-- name: update_user
-- $2..$9 say which columns are given, $10..$17 their values. What is new is not verified yet.
UPDATE users SET name = CASE WHEN $2 THEN $10 ELSE name END,
    locale = CASE WHEN $3 THEN $11 ELSE locale END,
    chat_id = CASE WHEN $4 THEN $12 ELSE chat_id END,
    email_verified_at = CASE WHEN $5 AND $13 IS DISTINCT FROM email THEN NULL ELSE email_verified_at END,
    email = CASE WHEN $5 THEN $13 ELSE email END,
    username = CASE WHEN $6 THEN $14 ELSE username END,
    phone_verified_at = CASE WHEN $7 AND $15 IS DISTINCT FROM phone THEN NULL ELSE phone_verified_at END,
    phone = CASE WHEN $7 THEN $15 ELSE phone END,
    password_hash = CASE WHEN $8 THEN $16 ELSE password_hash END,
    booking_messages = CASE WHEN $9 THEN $17 ELSE booking_messages END,
    updated_at = now()
WHERE id = $1::uuid AND ($18::text IS NULL OR password_hash = $18) RETURNING id::text;

-- name: set_user_disabled
UPDATE users SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, now()) END, updated_at = now()
WHERE id = $1::uuid RETURNING id::text;

-- name: keep_password
-- Not if it was changed meanwhile.
UPDATE users SET password_hash = $3 WHERE id = $1::uuid AND password_hash = $2 RETURNING 1;

-- name: bind_chat
UPDATE users SET chat_id = $2, updated_at = now() WHERE id = $1::uuid AND chat_id IS DISTINCT FROM $2 RETURNING 1;

-- name: insert_membership
INSERT INTO memberships (id, business_id, user_id, role, professional_id) VALUES ($1, $2, $3, $4, $5);

-- name: memberships_of_user
-- With the business's place in time, for choosing one at sign-in.
SELECT m.id::text, m.business_id::text, m.role, m.professional_id::text, m.limited, m.grants, b.slug, b.name,
    ARRAY(SELECT l.location_id::text FROM membership_locations l JOIN locations p ON p.id = l.location_id
        WHERE l.membership_id = m.id AND p.deleted_at IS NULL) AS locations
FROM memberships m JOIN businesses b ON b.id = m.business_id
WHERE m.user_id = $1::uuid AND m.deleted_at IS NULL AND b.deleted_at IS NULL
    AND ($2::uuid IS NULL OR m.business_id = $2)
ORDER BY m.created_at, m.id LIMIT $3;

-- name: client_of_user
SELECT id::text FROM clients WHERE business_id = $1::uuid AND user_id = $2::uuid AND deleted_at IS NULL;

-- name: insert_client_of_user
-- Signing in again brings back one that was removed.
INSERT INTO clients (id, business_id, user_id, first_name, last_name, email, phone, email_normal, phone_normal)
VALUES ($1, $2, $3, $4, $5, $6, $7, $6, $7)
ON CONFLICT (business_id, user_id) WHERE user_id IS NOT NULL DO UPDATE SET deleted_at = NULL, updated_at = now()
RETURNING id::text;
