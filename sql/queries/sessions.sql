-- name: insert_session
INSERT INTO user_sessions (id, user_id, business_id, seed, address, user_agent, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + $7 * interval '1 second');

-- name: session_for_refresh
SELECT user_id::text, business_id::text, seed, generation, ended_at IS NOT NULL OR expires_at <= now() AS over,
    used_at > now() - $2 * interval '1 second' AS just_used
FROM user_sessions WHERE id = $1::uuid FOR UPDATE;

-- name: advance_session
UPDATE user_sessions SET generation = generation + 1, used_at = now(), expires_at = now() + $2 * interval '1 second'
WHERE id = $1::uuid RETURNING generation;

-- name: list_sessions
SELECT id::text, business_id::text, address, user_agent, created_at, used_at, expires_at FROM user_sessions
WHERE user_id = $1::uuid AND ended_at IS NULL AND expires_at > now() AND ($2::uuid IS NULL OR id > $2)
ORDER BY id LIMIT $3;

-- name: end_sessions
-- Of a user; of one business with $2, one session with $3, all but one with $4.
UPDATE user_sessions SET ended_at = now(), ended_why = $5
WHERE user_id = $1::uuid AND ended_at IS NULL AND ($2::uuid IS NULL OR business_id = $2)
    AND ($3::uuid IS NULL OR id = $3) AND ($4::uuid IS NULL OR id <> $4)
RETURNING id::text;

-- name: end_sessions_of_business
UPDATE user_sessions SET ended_at = now(), ended_why = $2
WHERE business_id = $1::uuid AND ended_at IS NULL AND expires_at > now() RETURNING id::text;

-- name: end_oldest_sessions
UPDATE user_sessions SET ended_at = now(), ended_why = 'too many' WHERE id IN (
    SELECT id FROM user_sessions WHERE user_id = $1::uuid AND ended_at IS NULL ORDER BY used_at DESC, id DESC OFFSET $2)
RETURNING id::text;

-- name: sessions_ended_lately
SELECT id::text FROM user_sessions WHERE ended_at > now() - $1 * interval '1 second';

-- name: forget_old_sessions
DELETE FROM user_sessions WHERE id IN (
    SELECT id FROM user_sessions WHERE expires_at < now() - interval '30 days' LIMIT $1)
RETURNING id::text;
