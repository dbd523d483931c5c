-- name: insert_service_token
INSERT INTO service_tokens (id, business_id, name, role, expires_at, scopes, created_by)
VALUES ($1, $2, $3, $4, from_us($5), $6, $7)
RETURNING id::text, name, role, scopes, created_at, expires_at, revoked_at;

-- name: list_service_tokens
SELECT id::text, name, role, scopes, created_at, expires_at, revoked_at FROM service_tokens
WHERE business_id = $1::uuid AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3;

-- name: revoke_service_token
UPDATE service_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE business_id = $1::uuid AND id = $2::uuid
RETURNING id::text;

-- name: revoked_tokens
SELECT id::text FROM service_tokens WHERE revoked_at IS NOT NULL AND expires_at > now();

-- name: insert_client
-- The same chat id again is the same client; nothing of it changes.
INSERT INTO clients (id, business_id, first_name, last_name, email, phone, chat_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (business_id, chat_id) DO NOTHING
RETURNING id::text, first_name, last_name, email, phone, chat_id, guest, created_at, updated_at;

-- name: client_by_chat_id
SELECT id::text, first_name, last_name, email, phone, chat_id, guest, created_at, updated_at
FROM clients WHERE business_id = $1::uuid AND chat_id = $2;

-- name: client_by_id
SELECT id::text, first_name, last_name, email, phone, chat_id, guest, created_at, updated_at
FROM clients WHERE business_id = $1::uuid AND id = $2::uuid;

-- name: list_clients
SELECT id::text, first_name, last_name, email, phone, chat_id, guest, created_at, updated_at
FROM clients WHERE business_id = $1::uuid AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3;

-- name: update_client
-- $3..$6 say which columns are given, $7..$10 their values.
UPDATE clients SET first_name = CASE WHEN $3 THEN $7 ELSE first_name END,
    last_name = CASE WHEN $4 THEN $8 ELSE last_name END,
    email = CASE WHEN $5 THEN $9 ELSE email END,
    phone = CASE WHEN $6 THEN $10 ELSE phone END,
    updated_at = now()
WHERE business_id = $1::uuid AND id = $2::uuid
RETURNING id::text, first_name, last_name, email, phone, chat_id, guest, created_at, updated_at;

-- name: insert_professional
INSERT INTO professionals (id, business_id, display_name, specialisation, bio, username, phone)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id::text;

-- name: insert_calendar
INSERT INTO calendars (id, business_id, shard, time_zone) VALUES ($1, $2, $3, $4);

-- name: professional_by_id
SELECT p.id::text, p.display_name, c.time_zone, p.specialisation, p.bio, p.username, p.phone, p.created_at
FROM professionals p JOIN calendars c ON c.id = p.id
WHERE p.business_id = $1::uuid AND p.id = $2::uuid AND p.deleted_at IS NULL;

-- name: list_professionals
SELECT p.id::text, p.display_name, c.time_zone, p.specialisation, p.bio, p.username, p.phone, p.created_at
FROM professionals p JOIN calendars c ON c.id = p.id
WHERE p.business_id = $1::uuid AND p.deleted_at IS NULL AND ($2::uuid IS NULL OR p.id > $2)
ORDER BY p.id LIMIT $3;

-- name: update_professional
UPDATE professionals SET display_name = CASE WHEN $3 THEN $7 ELSE display_name END,
    specialisation = CASE WHEN $4 THEN $8 ELSE specialisation END,
    bio = CASE WHEN $5 THEN $9 ELSE bio END,
    phone = CASE WHEN $6 THEN $10 ELSE phone END
WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL RETURNING id::text;
