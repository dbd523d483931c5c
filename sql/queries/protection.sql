-- name: use_tickets
-- Remembered a little longer than they are good, for clocks that differ.
INSERT INTO used_tickets (id, expires_at)
SELECT t.id, now() + ($2 + 60) * interval '1 second' FROM unnest($1::uuid[]) AS t (id)
ON CONFLICT (id) DO NOTHING RETURNING id::text;

-- name: forget_used_tickets
DELETE FROM used_tickets WHERE id IN (SELECT id FROM used_tickets WHERE expires_at < now() LIMIT $1)
RETURNING id::text;

-- name: insert_code
-- $5 is whoever is signed in; it counts if the address is theirs.
INSERT INTO verification_codes (id, kind, target, code_hash, user_id, expires_at)
VALUES ($1, $2, $3, $4,
    (SELECT id FROM users WHERE id = $5::uuid AND CASE $2 WHEN 'email' THEN email ELSE phone END = $3),
    now() + $6 * interval '1 second');

-- name: try_code
UPDATE verification_codes SET tries = tries + 1
WHERE id = $1::uuid AND used_at IS NULL AND expires_at > now() AND tries < $2
RETURNING user_id::text, kind, target, code_hash;

-- name: use_code
UPDATE verification_codes SET used_at = now() WHERE id = $1::uuid AND used_at IS NULL RETURNING id::text;

-- name: mark_verified
-- Not if the user has another address by now.
UPDATE users SET email_verified_at = CASE WHEN $2 = 'email' THEN now() ELSE email_verified_at END,
    phone_verified_at = CASE WHEN $2 = 'phone' THEN now() ELSE phone_verified_at END, updated_at = now()
WHERE id = $1::uuid AND CASE $2 WHEN 'email' THEN email ELSE phone END = $3 RETURNING id::text;

-- name: forget_old_codes
DELETE FROM verification_codes WHERE id IN (
    SELECT id FROM verification_codes WHERE expires_at < now() - interval '1 day' LIMIT $1)
RETURNING id::text;

-- name: insert_device
INSERT INTO device_tokens (id, token_hash, user_id, address, user_agent) VALUES ($1, $2, $3, $4, $5);

-- name: see_device
UPDATE device_tokens SET seen_at = now(), user_id = coalesce($2::uuid, user_id), address = $3, user_agent = $4
WHERE token_hash = $1 RETURNING id::text;

-- name: forget_old_devices
DELETE FROM device_tokens WHERE id IN (
    SELECT id FROM device_tokens WHERE seen_at < now() - interval '180 days' LIMIT $1)
RETURNING id::text;

-- name: allowed_origins
SELECT DISTINCT unnest(allowed_origins) AS origin FROM businesses WHERE deleted_at IS NULL LIMIT $1;
