-- name: join_waitlist
-- Not beyond so many entries of one client that still wait.
INSERT INTO waitlist_entries (id, business_id, service_id, professional_id, client_id, from_at, to_at, attendees,
    duration_minutes, notes, manage_hash)
SELECT $1, $2, $3, $4, $5, from_us($6), from_us($7), $8, $9, $10, $11
WHERE (SELECT count(*) FROM waitlist_entries e
    WHERE e.client_id = $5::uuid AND e.status IN ('waiting', 'offering', 'offered')) < $12
RETURNING *, 1 AS position;

-- name: waitlist_entry
SELECT e.*, position_of(e) AS position FROM waitlist_entries e WHERE e.id = $1::uuid;

-- name: list_waitlist
SELECT e.*, position_of(e) AS position FROM waitlist_entries e LEFT JOIN professionals p ON p.id = e.professional_id
WHERE e.business_id = $1::uuid AND ($2::uuid IS NULL OR e.id > $2)
    AND ($4::text IS NULL OR e.status = $4)
    AND ($5::uuid IS NULL OR e.client_id = $5)
    AND ($6::uuid IS NULL OR e.professional_id = $6)
    AND ($7::uuid IS NULL OR e.service_id = $7)
    AND ($8::uuid[] IS NULL OR p.location_id = ANY ($8))
ORDER BY e.id LIMIT $3;

-- name: leave_waitlist
UPDATE waitlist_entries SET status = 'left', updated_at = now()
WHERE id = $1::uuid AND status IN ('waiting', 'offering', 'offered')
RETURNING hold_id::text, hold_calendar_id::text;

-- name: calendars_waited_for
-- Those of the shards $1 that somebody waits for, in order of their ids, from beyond $2 on.
SELECT c.id::text AS calendar_id, c.business_id::text AS business_id
FROM (
    SELECT professional_id AS id FROM waitlist_entries
    WHERE status IN ('waiting', 'offering', 'offered') AND professional_id IS NOT NULL
    UNION
    SELECT s.professional_id FROM professional_services s WHERE s.service_id IN (
        SELECT service_id FROM waitlist_entries
        WHERE status IN ('waiting', 'offering', 'offered') AND professional_id IS NULL)
) AS w JOIN calendars c ON c.id = w.id JOIN professionals p ON p.id = c.id AND p.deleted_at IS NULL
WHERE c.shard = ANY ($1::int[]) AND ($2::uuid IS NULL OR c.id > $2)
ORDER BY c.id LIMIT $3;

-- name: waited_for_among
-- Those of the calendars $2 that are of the shards $1 and that somebody waits for.
SELECT c.id::text AS calendar_id, c.business_id::text AS business_id
FROM calendars c JOIN professionals p ON p.id = c.id AND p.deleted_at IS NULL
WHERE c.id = ANY ($2::uuid[]) AND c.shard = ANY ($1::int[]) AND (
    EXISTS (SELECT FROM waitlist_entries e WHERE e.professional_id = c.id
        AND e.status IN ('waiting', 'offering', 'offered'))
    OR EXISTS (SELECT FROM professional_services s JOIN waitlist_entries e ON e.service_id = s.service_id
        WHERE s.professional_id = c.id AND e.professional_id IS NULL
            AND e.status IN ('waiting', 'offering', 'offered')))
LIMIT $3;

-- name: waiting_for
-- Who waits for a calendar, in the order they came. `claimed`: somebody was about to offer them something, and has not.
SELECT e.id::text, e.service_id::text, to_us(e.from_at) AS from_us, to_us(e.to_at) AS to_us, e.attendees,
    e.duration_minutes, e.client_id::text, e.status = 'offering' AS claimed
FROM waitlist_entries e
WHERE e.business_id = $1::uuid AND e.to_at > now()
    AND (e.status = 'waiting' OR (e.status = 'offering' AND e.claimed_until < now()))
    AND (e.professional_id = $2::uuid OR (e.professional_id IS NULL AND e.service_id IN (
        SELECT s.service_id FROM professional_services s WHERE s.professional_id = $2::uuid)))
ORDER BY e.id LIMIT $3;

-- name: claim_entry
-- Two calendars, perhaps on two nodes, may have something for the same entry at once: one of them offers it.
UPDATE waitlist_entries SET status = 'offering', claimed_until = now() + make_interval(secs => $2), updated_at = now()
WHERE id = $1::uuid AND (status = 'waiting' OR (status = 'offering' AND claimed_until < now()))
RETURNING 1;

-- name: hold_of_entry
-- A hold that was placed for it by who then did not get to say so.
SELECT id::text, calendar_id::text, to_us(start_at) AS start_us, to_us(end_at) AS end_us, to_us(expires_at) AS expires_us
FROM bookings WHERE status = 'held' AND expires_at > now() AND holder = 'waitlist:' || $1::text;

-- name: offer_entry
UPDATE waitlist_entries SET status = 'offered', claimed_until = NULL, hold_id = $2, hold_calendar_id = $3,
    hold_start = from_us($4), hold_end = from_us($5), hold_expires_at = from_us($6), updated_at = now()
WHERE id = $1::uuid AND status = 'offering' RETURNING 1;

-- name: give_entry_back
UPDATE waitlist_entries SET status = 'waiting', claimed_until = NULL, updated_at = now()
WHERE id = $1::uuid AND status = 'offering';

-- name: settle_offers
-- What became of the holds in the shards $1, or in the calendars $2 if they are given: booked, or gone unused.
UPDATE waitlist_entries e SET updated_at = now(),
    status = CASE WHEN EXISTS (SELECT FROM bookings b WHERE b.id = e.hold_id AND b.status <> 'held')
        THEN 'booked' ELSE 'lapsed' END
WHERE e.id IN (
    SELECT o.id FROM waitlist_entries o JOIN calendars c ON c.id = o.hold_calendar_id
    WHERE o.status = 'offered' AND c.shard = ANY ($1::int[]) AND ($2::uuid[] IS NULL OR o.hold_calendar_id = ANY ($2))
        AND NOT EXISTS (SELECT FROM bookings b WHERE b.id = o.hold_id AND b.status = 'held')
    ORDER BY o.id LIMIT $3 FOR UPDATE OF o SKIP LOCKED)
RETURNING e.id::text;

-- name: end_past_entries
UPDATE waitlist_entries SET status = 'past', updated_at = now() WHERE id IN (
    SELECT id FROM waitlist_entries WHERE status IN ('waiting', 'offering') AND to_at <= now()
    ORDER BY to_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id::text;

-- name: booked_otherwise
-- Who waits for a service of these businesses and has booked it in that time meanwhile waits no more.
UPDATE waitlist_entries SET status = 'booked', updated_at = now() WHERE id IN (
    SELECT e.id FROM waitlist_entries e
    WHERE e.business_id = ANY ($1::uuid[]) AND e.status = 'waiting' AND EXISTS (
        SELECT FROM bookings b WHERE b.client_id = e.client_id AND b.service_id = e.service_id
            AND b.status IN ('pending', 'confirmed') AND b.start_at >= e.from_at AND b.start_at < e.to_at
            AND b.created_at > e.created_at)
    ORDER BY e.id LIMIT $2 FOR UPDATE OF e SKIP LOCKED)
RETURNING id::text;

-- name: insert_guest
INSERT INTO clients (id, business_id, guest, first_name, email, phone, email_normal, phone_normal, locale)
VALUES ($1, $2, true, $3, $4, $5, $6, $7, $8) RETURNING id::text;
