-- name: insert_audit
INSERT INTO audit_log (id, business_id, by, action, what, what_id, before, after, address, user_agent, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb, $9, $10, $11) ON CONFLICT (id) DO NOTHING;

-- name: list_audit
-- The newest first. Filters that are NULL are off.
SELECT id::text, at, business_id::text, by, action, what, what_id, before::text, after::text, address, user_agent,
    request_id
FROM audit_log
WHERE ($1::uuid IS NULL OR business_id = $1) AND ($2::text IS NULL OR action = $2) AND ($3::text IS NULL OR by = $3)
    AND ($4::text IS NULL OR what_id = $4)
    AND ($5::bigint IS NULL OR at >= from_us($5)) AND ($6::bigint IS NULL OR at < from_us($6))
    AND ($7::uuid IS NULL OR id < $7)
ORDER BY id DESC LIMIT $8;

-- name: insert_ban
INSERT INTO ban_list (id, business_id, email, phone, reason, created_by) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING *;

-- name: list_bans
SELECT * FROM ban_list WHERE business_id = $1::uuid AND ($2::uuid IS NULL OR id > $2)
    AND ($4::text IS NULL OR email = $4) AND ($5::text IS NULL OR phone = $5)
ORDER BY id LIMIT $3;

-- name: delete_ban
DELETE FROM ban_list WHERE business_id = $1::uuid AND id = $2::uuid RETURNING *;

-- name: bans_among
SELECT id::text, reason, created_at FROM ban_list
WHERE business_id = $1::uuid AND (email = ANY ($2::text[]) OR phone = ANY ($3::text[])) ORDER BY id;

-- name: contacts_of_client
-- As the business has them and, for one who signs in, as their account has them.
SELECT array_remove(ARRAY[c.email_normal, u.email], NULL) AS emails,
    array_remove(ARRAY[c.phone_normal, u.phone], NULL) AS phones
FROM clients c LEFT JOIN users u ON u.id = c.user_id WHERE c.business_id = $1::uuid AND c.id = $2::uuid;

-- name: client_for_export
SELECT id::text, first_name, last_name, email, phone, chat_id, guest, locale, created_at, updated_at,
    user_id::text
FROM clients WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL;

-- name: client_to_erase
SELECT user_id::text, erased_at FROM clients WHERE business_id = $1::uuid AND id = $2::uuid FOR UPDATE;

-- name: erase_client
UPDATE clients SET first_name = 'Erased', last_name = '', email = NULL, phone = NULL,
    email_normal = NULL, phone_normal = NULL, chat_id = NULL, user_id = NULL,
    erased_at = now(), deleted_at = coalesce(deleted_at, now()), updated_at = now()
WHERE business_id = $1::uuid AND id = $2::uuid RETURNING id::text;

-- name: erase_texts_of_client
-- One booking at a time: a journal batch writes many, and two that want each other's rows would be a deadlock.
UPDATE bookings SET notes = NULL, reason = NULL, answers = NULL, manage_hash = NULL WHERE id = (
    SELECT id FROM bookings WHERE business_id = $1::uuid AND client_id = $2::uuid
        AND (notes IS NOT NULL OR reason IS NOT NULL OR answers IS NOT NULL OR manage_hash IS NOT NULL) LIMIT 1)
RETURNING id::text;
