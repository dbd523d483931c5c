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
INSERT INTO clients (id, business_id, first_name, last_name, email, phone, chat_id, email_normal, phone_normal,
    locale)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (business_id, chat_id) DO NOTHING
RETURNING id::text, first_name, last_name, email, phone, chat_id, guest, locale, created_at, updated_at;

-- name: client_by_chat_id
-- Registering again brings back one that was removed.
UPDATE clients SET deleted_at = NULL WHERE business_id = $1::uuid AND chat_id = $2
RETURNING id::text, first_name, last_name, email, phone, chat_id, guest, locale, created_at, updated_at;

-- name: client_by_id
SELECT id::text, first_name, last_name, email, phone, chat_id, guest, locale, created_at, updated_at
FROM clients WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL;

-- name: list_clients
SELECT id::text, first_name, last_name, email, phone, chat_id, guest, locale, created_at, updated_at
FROM clients WHERE business_id = $1::uuid AND ($2::uuid IS NULL OR id > $2)
    AND (deleted_at IS NOT NULL) = $4 AND erased_at IS NULL
ORDER BY id LIMIT $3;

-- name: delete_client
UPDATE clients SET deleted_at = now() WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL
RETURNING coalesce(user_id::text, '');

-- name: restore_client
-- Nothing is left of one that was erased.
UPDATE clients SET deleted_at = NULL WHERE business_id = $1::uuid AND id = $2::uuid AND erased_at IS NULL
RETURNING id::text, first_name, last_name, email, phone, chat_id, guest, locale, created_at, updated_at;

-- name: update_client
-- $3..$7 say which columns are given, $8..$12 their values, $13 and $14 what e-mail and phone are compared by.
UPDATE clients SET first_name = CASE WHEN $3 THEN $8 ELSE first_name END,
    last_name = CASE WHEN $4 THEN $9 ELSE last_name END,
    email = CASE WHEN $5 THEN $10 ELSE email END,
    phone = CASE WHEN $6 THEN $11 ELSE phone END,
    locale = CASE WHEN $7 THEN $12 ELSE locale END,
    email_normal = CASE WHEN $5 THEN $13 ELSE email_normal END,
    phone_normal = CASE WHEN $6 THEN $14 ELSE phone_normal END,
    updated_at = now()
WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL
RETURNING id::text, first_name, last_name, email, phone, chat_id, guest, locale, created_at, updated_at;

-- name: insert_professional
INSERT INTO professionals (id, business_id, display_name, specialisation, bio, username, phone, location_id, kind)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id::text;

-- name: insert_calendar
INSERT INTO calendars (id, business_id, shard, time_zone) VALUES ($1, $2, $3, $4);

-- name: professional_by_id
SELECT p.id::text, p.display_name, p.kind, c.time_zone, p.specialisation, p.bio, p.username, p.phone, p.location_id::text,
    p.created_at
FROM professionals p JOIN calendars c ON c.id = p.id
WHERE p.business_id = $1::uuid AND p.id = $2::uuid AND p.deleted_at IS NULL;

-- name: list_professionals
-- $4 narrows to a location, $5 to those who offer a service, $7 to people or resources; $6 is for those who were removed.
SELECT p.id::text, p.display_name, p.kind, c.time_zone, p.specialisation, p.bio, p.username, p.phone, p.location_id::text,
    p.created_at
FROM professionals p JOIN calendars c ON c.id = p.id
WHERE p.business_id = $1::uuid AND (p.deleted_at IS NOT NULL) = $6 AND ($2::uuid IS NULL OR p.id > $2)
    AND ($4::uuid IS NULL OR p.location_id = $4)
    AND ($7::text IS NULL OR p.kind = $7)
    AND ($5::uuid IS NULL OR EXISTS (SELECT FROM professional_services o JOIN services s ON s.id = o.service_id
        WHERE o.professional_id = p.id AND s.id = $5 AND s.deleted_at IS NULL))
ORDER BY p.id LIMIT $3;

-- name: update_professional
UPDATE professionals SET display_name = CASE WHEN $3 THEN $8 ELSE display_name END,
    specialisation = CASE WHEN $4 THEN $9 ELSE specialisation END,
    bio = CASE WHEN $5 THEN $10 ELSE bio END,
    phone = CASE WHEN $6 THEN $11 ELSE phone END,
    location_id = CASE WHEN $7 THEN $12 ELSE location_id END
WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL RETURNING id::text;

-- name: delete_professional
UPDATE professionals SET deleted_at = now() WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL
RETURNING id::text;

-- name: restore_professional
UPDATE professionals SET deleted_at = NULL WHERE business_id = $1::uuid AND id = $2::uuid RETURNING id::text;

-- name: has_bookings_ahead
SELECT EXISTS (SELECT FROM bookings WHERE calendar_id = $1::uuid AND status IN ('pending', 'confirmed')
    AND end_at > now());
