-- name: database_id
-- What this database is called in Redis, so that two databases may share one: chosen once.
WITH chosen AS (
    INSERT INTO settings (name, value) VALUES ('database_id', $1::text) ON CONFLICT DO NOTHING RETURNING value
)
SELECT value FROM chosen UNION ALL SELECT value FROM settings WHERE name = 'database_id' LIMIT 1;

-- name: post_notice
-- Told to everybody who listens once this transaction commits; see `storage.bulletin`.
SELECT pg_notify('slotcast', $1::text);

-- name: all_shards
SELECT id, epoch, seq FROM shards ORDER BY id;
