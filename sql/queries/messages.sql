-- name: booking_to_tell
-- What a message about a booking says, and to whom. A client who was erased or removed is nobody to tell, and of a business
-- that was removed nothing is told.
SELECT b.id::text, b.business_id::text, b.calendar_id::text, b.code, b.status, b.start_at, b.end_at, b.attendees,
    b.version, b.cancelled_by, b.reason, b.manage_hash IS NOT NULL AS by_guest, b.client_id::text, b.expires_at,
    n.name AS business, n.slug, n.locale AS business_locale, n.chat_callback_url,
    p.display_name AS professional, c.time_zone, l.name AS location, l.address AS location_address,
    l.phone AS location_phone, s.name AS service, s.price_minor, s.currency,
    k.first_name, k.last_name, coalesce(k.email, u.email) AS email,
    coalesce(k.phone_normal, u.phone) AS phone, coalesce(k.chat_id, u.chat_id) AS chat_id,
    u.locale AS user_locale, k.locale AS client_locale, f.reminders, f.channel
FROM bookings b
JOIN businesses n ON n.id = b.business_id
JOIN professionals p ON p.id = b.calendar_id
JOIN calendars c ON c.id = b.calendar_id
JOIN bookables s ON s.id = b.service_id
LEFT JOIN locations l ON l.id = p.location_id
LEFT JOIN clients k ON k.id = b.client_id AND k.deleted_at IS NULL AND k.erased_at IS NULL
LEFT JOIN users u ON u.id = k.user_id AND u.disabled_at IS NULL
LEFT JOIN client_preferences f ON f.client_id = k.id
WHERE b.business_id = $1::uuid AND b.id = $2::uuid AND n.deleted_at IS NULL;

-- name: staff_to_tell
-- Who has these calendars, as far as they want to hear of bookings.
SELECT p.id::text AS calendar_id, u.id::text, u.name, u.email, u.chat_id, u.locale
FROM memberships m
JOIN professionals p ON p.id = m.professional_id AND p.deleted_at IS NULL
JOIN users u ON u.id = m.user_id AND u.disabled_at IS NULL AND u.booking_messages
WHERE m.professional_id = ANY ($1::uuid[]) AND m.deleted_at IS NULL;

-- name: owners_to_tell
-- $2 of them, with the business they own.
SELECT u.id::text, u.name, u.email, u.phone, u.locale, n.name AS business, n.slug, n.locale AS business_locale,
    n.time_zone, n.trial_ends_at
FROM businesses n
JOIN memberships m ON m.business_id = n.id AND m.role = 'owner' AND m.deleted_at IS NULL
JOIN users u ON u.id = m.user_id AND u.disabled_at IS NULL
WHERE n.id = $1::uuid AND n.deleted_at IS NULL ORDER BY u.id LIMIT $2;

-- name: locale_of_address
SELECT locale FROM users WHERE (email = $1 OR phone = $1) AND disabled_at IS NULL LIMIT 1;

-- name: message_outcome
SELECT outcome FROM messages WHERE id = $1::uuid;

-- name: keep_message
-- One try more where the job is done again. Of who was erased meanwhile no address is kept.
INSERT INTO messages (id, job_id, business_id, kind, channel, address, language, booking_id, client_id, user_id, outcome,
    error)
VALUES ($1, $2, $3, $4, $5, CASE WHEN NOT EXISTS (SELECT FROM clients WHERE id = $9 AND erased_at IS NOT NULL) THEN $6 END,
    $7, $8, $9, $10, $11, $12)
ON CONFLICT (id) DO UPDATE SET outcome = EXCLUDED.outcome, error = EXCLUDED.error, address = EXCLUDED.address,
    language = EXCLUDED.language, tries = messages.tries + 1, updated_at = now();

-- name: list_messages
-- The newest first. Filters that are NULL are off.
SELECT id::text, kind, channel, address, language, booking_id::text, client_id::text, user_id::text, outcome, error,
    tries, created_at, updated_at
FROM messages WHERE business_id = $1::uuid AND ($2::uuid IS NULL OR id < $2)
    AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR channel = $5) AND ($6::text IS NULL OR outcome = $6)
    AND ($7::uuid IS NULL OR booking_id = $7) AND ($8::uuid IS NULL OR client_id = $8)
ORDER BY id DESC LIMIT $3;

-- name: forget_old_messages
DELETE FROM messages WHERE id IN (
    SELECT id FROM messages WHERE created_at < now() - interval '400 days' ORDER BY created_at LIMIT $1) RETURNING 1;

-- name: preferences_of_client
SELECT k.id::text AS client_id, coalesce(f.reminders, true) AS reminders, f.channel
FROM clients k LEFT JOIN client_preferences f ON f.client_id = k.id
WHERE k.business_id = $1::uuid AND k.id = $2::uuid AND k.deleted_at IS NULL;

-- name: set_preferences_of_client
-- Nothing for a client who is not there.
INSERT INTO client_preferences (client_id, business_id, reminders, channel)
SELECT id, business_id, $3, $4 FROM clients
WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL
ON CONFLICT (client_id) DO UPDATE SET reminders = EXCLUDED.reminders, channel = EXCLUDED.channel, updated_at = now()
RETURNING client_id::text, reminders, channel;

-- name: unsubscribe_client
INSERT INTO client_preferences (client_id, business_id, reminders)
SELECT id, business_id, false FROM clients WHERE id = $1::uuid AND erased_at IS NULL
ON CONFLICT (client_id) DO UPDATE SET reminders = false, updated_at = now() RETURNING client_id::text;

-- name: reminders_of_service
SELECT reminder_minutes FROM services WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL;

-- name: set_reminders_of_service
UPDATE services SET reminder_minutes = $3 WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL
RETURNING reminder_minutes;

-- name: chat_callback_of
SELECT chat_callback_url FROM businesses WHERE id = $1::uuid AND deleted_at IS NULL;

-- name: set_chat_callback
UPDATE businesses SET chat_callback_url = $2 WHERE id = $1::uuid AND deleted_at IS NULL RETURNING id::text;

-- name: bookings_to_remind
SELECT b.id::text, b.business_id::text, b.status, b.start_at, b.updated_at, s.reminder_minutes
FROM bookings b JOIN bookables s ON s.id = b.service_id WHERE b.id = ANY ($1::uuid[]) AND b.leader_id IS NULL;

-- name: reminders_planned
SELECT key FROM jobs WHERE kind = 'reminder' AND state = 'waiting' AND payload ->> 'booking_id' = ANY ($1::text[]);

-- name: erase_messages_of_client
WITH wishes AS (DELETE FROM client_preferences WHERE client_id = $2::uuid)
UPDATE messages SET address = NULL, error = NULL WHERE business_id = $1::uuid AND client_id = $2::uuid RETURNING 1;
