-- name: append_batch
-- See the migration of that name for what it does and why it is a function.
SELECT append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: ensure_shards
INSERT INTO shards (id) SELECT generate_series(0, $1::int - 1) ON CONFLICT DO NOTHING;

-- name: take_shards
-- Waits for a batch in flight, because it holds the row; afterwards its fate is settled by `seq`.
UPDATE shards SET epoch = epoch + 1 WHERE id = ANY ($1::int[]) RETURNING id, epoch, seq;

-- name: retake_shards
UPDATE shards s SET epoch = s.epoch + 1 FROM unnest($1::int[], $2::bigint[]) AS mine (id, epoch)
WHERE s.id = mine.id AND s.epoch = mine.epoch RETURNING s.id, s.epoch, s.seq;

-- name: shards_now
SELECT id, epoch, seq FROM shards WHERE id = ANY ($1::int[]);

-- name: written_by
-- Whether a batch of an epoch that has been fenced since was written.
SELECT EXISTS (SELECT FROM events WHERE shard = $1::int AND seq = $2::bigint AND epoch = $3::bigint);

-- name: shard_count
SELECT value::int FROM settings WHERE name = 'shard_count';

-- name: choose_shard_count
INSERT INTO settings (name, value) VALUES ('shard_count', $1::text) ON CONFLICT DO NOTHING;

-- name: end_earlier_sessions
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1::text AND pid <> pg_backend_pid();

-- name: claim_database
SELECT pg_try_advisory_lock(hashtext('slotcast single node'));
