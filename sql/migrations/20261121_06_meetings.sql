-- What finds the leader of a part, the parts that are only held, and the leaders that have changed lately.
-- depends: 20261121_05_waitlist

-- migrate: apply

DROP INDEX bookings_leading;
CREATE INDEX bookings_naming ON bookings USING gin (parts jsonb_path_ops) WHERE parts IS NOT NULL;
CREATE INDEX bookings_leading ON bookings (updated_at) WHERE parts IS NOT NULL;
CREATE INDEX bookings_parts_held ON bookings (calendar_id) WHERE leader_id IS NOT NULL AND status = 'held';

-- The other calendars of a meeting, and of which kind each is.
CREATE FUNCTION others_of(parts jsonb) RETURNS text LANGUAGE sql STABLE RETURN (
    SELECT json_agg(json_build_array(p.id, p.kind) ORDER BY p.id)::text
    FROM jsonb_array_elements(parts) AS x JOIN professionals p ON p.id = (x ->> 0)::uuid);

-- migrate: rollback

DROP FUNCTION others_of(jsonb);
DROP INDEX bookings_naming, bookings_leading, bookings_parts_held;
CREATE INDEX bookings_leading ON bookings (calendar_id) WHERE parts IS NOT NULL;
