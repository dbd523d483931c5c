-- name: shards_to_trim
-- Those that have not been looked through today, and how far every follower has read them.
SELECT s.id AS shard, coalesce(t.seq, 0) AS seq, r.seq AS read
FROM shards s LEFT JOIN journal_trims t ON t.shard = s.id
CROSS JOIN LATERAL (
    SELECT coalesce(min(f.seq), s.seq) AS seq FROM followers f WHERE f.shard = s.id AND f.name = ANY ($2::text[])
) AS r
WHERE s.id = ANY ($1::int[]) AND coalesce(t.rests_from < from_us($3) - interval '1 day', true)
    AND s.seq > 0 ORDER BY s.id;

-- name: trim_journal
-- What is older than $5 among the next events of a shard goes, but for the last event of each calendar, from which it has
-- its version, and all events of bookings that are ahead or have changed lately, which answers to repeated requests are
-- made from.
WITH seen AS MATERIALIZED (
    SELECT e.seq, e.calendar_id, e.version, e.business_id, e.at, e.data ->> 'id' AS id FROM events e
    WHERE e.shard = $1::int AND e.seq > $2::bigint AND e.seq <= $3::bigint ORDER BY e.seq LIMIT $4::int
), old AS (
    SELECT * FROM seen WHERE at < from_us($5::bigint)
), gone AS (
    DELETE FROM events e USING old o
    WHERE e.calendar_id = o.calendar_id AND e.version = o.version
        AND EXISTS (SELECT FROM events l WHERE l.calendar_id = o.calendar_id AND l.version > o.version)
        AND NOT EXISTS (SELECT FROM bookings b WHERE b.id = o.id::uuid
            AND (b.status IN ('held', 'pending', 'confirmed') OR b.updated_at > from_us($5::bigint)))
    RETURNING e.calendar_id, e.business_id, e.version
), floors AS (
    INSERT INTO journal_floors AS f (calendar_id, business_id, version)
    SELECT calendar_id, (array_agg(business_id))[1], max(version) FROM gone GROUP BY calendar_id
    ON CONFLICT (calendar_id) DO UPDATE SET version = greatest(f.version, EXCLUDED.version)
)
SELECT count(*)::int AS seen, max(o.seq) AS seq, (SELECT count(*) FROM gone)::int AS gone
FROM seen s LEFT JOIN old o ON o.seq = s.seq;

-- name: trimmed_to
-- With $3 the shard rests until tomorrow, and is looked through from its beginning then: what was kept may go by then.
INSERT INTO journal_trims (shard, seq, rests_from) VALUES ($1, $2, from_us($3))
ON CONFLICT (shard) DO UPDATE SET seq = EXCLUDED.seq, rests_from = EXCLUDED.rests_from;

-- name: journal_floor
SELECT coalesce((SELECT version FROM journal_floors WHERE calendar_id = $1::uuid), 0);
