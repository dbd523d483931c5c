-- name: insert_webhook
-- When it was made stands by the clock of nodes, like events.
INSERT INTO webhooks (id, business_id, url, description, events, created_by, created_at)
VALUES ($1::uuid, $2::uuid, $3, $4, $5::text[], $6, from_us($7)) RETURNING *;

-- name: count_webhooks
-- Whoever adds one waits for whoever does so at the same time.
SELECT (SELECT count(*) FROM webhooks w WHERE w.business_id = b.id AND w.deleted_at IS NULL)
FROM (SELECT id FROM businesses WHERE id = $1::uuid FOR NO KEY UPDATE) AS b;

-- name: list_webhooks
SELECT * FROM webhooks WHERE business_id = $1::uuid AND deleted_at IS NULL AND ($2::uuid IS NULL OR id > $2)
ORDER BY id LIMIT $3;

-- name: webhook_by_id
SELECT * FROM webhooks WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL;

-- name: webhook_for_update
SELECT * FROM webhooks WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL FOR UPDATE;

-- name: update_webhook
-- With $6 it is enabled, else disabled as it was or now. With $7 its failures are forgotten.
UPDATE webhooks SET url = $3, description = $4, events = $5::text[], updated_at = now(),
    disabled_at = CASE WHEN NOT $6 THEN coalesce(disabled_at, now()) END,
    disabled_why = CASE WHEN NOT $6 THEN coalesce(disabled_why, 'by hand') END,
    -- Of one that was disabled by hand, nobody wants to know what it missed.
    failing_since = CASE WHEN NOT $7 AND ($6 OR disabled_at IS NOT NULL) THEN failing_since END,
    try_after = CASE WHEN NOT $7 THEN try_after END,
    probed_until = CASE WHEN NOT $7 THEN probed_until END,
    failures = CASE WHEN $7 THEN 0 ELSE failures END
WHERE business_id = $1::uuid AND id = $2::uuid RETURNING *;

-- name: rotate_webhook
UPDATE webhooks SET generation = generation + 1, overlaps_until = now() + $3::int * interval '1 hour', updated_at = now()
WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL RETURNING *;

-- name: delete_webhook
UPDATE webhooks SET deleted_at = now() WHERE business_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL RETURNING *;

-- name: list_deliveries
-- The newest first, without their bodies. Filters that are NULL are off.
SELECT d.id::text, d.event_id::text, d.type, d.calendar_id::text, d.state, d.tries, d.replays, d.last_tries::text,
    d.next_try_at, d.created_at, NULL::text AS body, NULL::text AS answer
FROM webhook_deliveries d
WHERE d.business_id = $1::uuid AND d.webhook_id = $2::uuid AND ($3::text IS NULL OR d.state = $3)
    AND ($4::text IS NULL OR d.type = $4) AND ($5::uuid IS NULL OR d.id < $5)
ORDER BY d.id DESC LIMIT $6;

-- name: delivery_by_id
SELECT d.id::text, d.event_id::text, d.type, d.calendar_id::text, d.state, d.tries, d.replays, d.last_tries::text,
    d.next_try_at, d.created_at, d.body, d.answer
FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id AND w.deleted_at IS NULL
WHERE d.business_id = $1::uuid AND d.webhook_id = $2::uuid AND d.id = $3::uuid;

-- name: replay_delivery
-- Nothing for one that is under way, unless nobody has it to do any more.
UPDATE webhook_deliveries d SET state = 'waiting', tries = 0, replays = replays + 1, next_try_at = NULL, updated_at = now()
WHERE business_id = $1::uuid AND webhook_id = $2::uuid AND id = $3::uuid AND (state <> 'waiting' OR NOT EXISTS (
    SELECT FROM jobs j WHERE j.key = 'webhook:' || d.id || ':' || d.replays AND j.state IN ('waiting', 'behind', 'working')))
RETURNING replays;

-- name: webhooks_of
-- Of those businesses, all that are to be told of something, or will want to know what they missed because their target failed:
-- for as long as deliveries are kept, $2 seconds.
SELECT w.id::text, w.business_id::text, w.events, to_us(w.created_at) AS created_at, w.disabled_at IS NULL AS enabled
FROM webhooks w JOIN businesses b ON b.id = w.business_id AND b.deleted_at IS NULL
WHERE w.business_id = ANY ($1::uuid[]) AND w.deleted_at IS NULL AND (w.disabled_at IS NULL
    OR (w.failing_since IS NOT NULL AND w.disabled_at > now() - $2::float8 * interval '1 second'))
ORDER BY w.id;

-- name: bookings_to_announce
SELECT id::text, calendar_id::text, code, status, service_id::text, client_id::text, to_us(start_at) AS start_at,
    to_us(end_at) AS end_at, attendees, version, cancelled_by, leader_id IS NOT NULL AS is_part
FROM bookings WHERE business_id = ANY ($1::uuid[]) AND id = ANY ($2::uuid[]) AND status <> 'held';

-- name: insert_deliveries
-- Those that are not there already.
INSERT INTO webhook_deliveries (id, business_id, webhook_id, event_id, type, calendar_id, body, state)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::text[])
ON CONFLICT (webhook_id, event_id) DO NOTHING RETURNING id::text;

-- name: delivery_to_send
SELECT d.id::text, d.business_id::text, d.webhook_id::text, d.event_id::text, d.type, d.body, d.state, d.tries, d.replays,
    w.url, w.generation, coalesce(w.overlaps_until > now(), false) AS overlaps, w.failures,
    w.disabled_at IS NOT NULL AS disabled, coalesce(w.deleted_at, b.deleted_at) IS NOT NULL AS deleted,
    greatest(0, extract(epoch FROM w.try_after - now()))::float8 AS wait_s
FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id JOIN businesses b ON b.id = w.business_id
WHERE d.id = $1::uuid;

-- name: claim_try
-- Of a target in trouble: one delivery gets through, and $2 seconds later, if nothing was heard of it, the next. All do once it
-- is well again.
UPDATE webhooks SET probed_until = CASE WHEN failures > 0 THEN now() + $2::float8 * interval '1 second' END
WHERE id = $1::uuid AND (failures = 0
    OR (coalesce(try_after <= now(), true) AND coalesce(probed_until <= now(), true))) RETURNING id;

-- name: note_try
-- $2 is the new state, $3 the try, $4 what the target said, $5 the seconds until the next try.
UPDATE webhook_deliveries SET state = $2, tries = tries + 1, answer = $4, updated_at = now(),
    last_tries = jsonb_path_query_array(last_tries || $3::jsonb, '$[last - 9 to last]'),
    next_try_at = now() + $5::float8 * interval '1 second'
WHERE id = $1::uuid;

-- name: skip_delivery
UPDATE webhook_deliveries SET state = 'skipped', next_try_at = NULL, updated_at = now() WHERE id = $1::uuid;

-- name: note_arrival
-- $2 is the try, $3 what the target said. The webhook is well, and mostly was before.
WITH arrived AS (
    UPDATE webhook_deliveries SET state = 'delivered', tries = tries + 1, answer = $3, next_try_at = NULL, updated_at = now(),
        last_tries = jsonb_path_query_array(last_tries || $2::jsonb, '$[last - 9 to last]')
    WHERE id = $1::uuid RETURNING webhook_id
)
UPDATE webhooks SET failures = 0, failing_since = NULL, try_after = NULL, probed_until = NULL
WHERE id = (SELECT webhook_id FROM arrived) AND (failures > 0 OR failing_since IS NOT NULL);

-- name: webhook_failed
-- $2: the target itself is in trouble, and is to be left alone for longer each time, $3 seconds at least and $4 at most;
-- otherwise it only did not like what it got. With $5 it is disabled at once, else after $6 seconds of nothing but failures.
UPDATE webhooks SET failures = CASE WHEN $2::boolean THEN failures + 1 ELSE 0 END,
    failing_since = coalesce(failing_since, now()), probed_until = NULL,
    try_after = CASE WHEN $2 THEN now() + least($4::float8, $3::float8 * 2.0 ^ least(failures, 20)) * interval '1 second' END,
    disabled_at = CASE WHEN $5::text IS NOT NULL OR failing_since < now() - $6::float8 * interval '1 second' THEN now() END,
    disabled_why = CASE WHEN $5::text IS NOT NULL THEN $5
        WHEN failing_since < now() - $6::float8 * interval '1 second' THEN 'it has failed for too long' END
WHERE id = $1::uuid AND disabled_at IS NULL AND deleted_at IS NULL
RETURNING disabled_at IS NOT NULL AS disabled, disabled_why, to_us(disabled_at) AS disabled_us;

-- name: forget_old_deliveries
DELETE FROM webhook_deliveries WHERE id IN (
    SELECT id FROM webhook_deliveries WHERE created_at < now() - $1::float8 * interval '1 second'
    ORDER BY created_at LIMIT $2::int)
RETURNING 1;
