-- The guard against overlapping bookings, on an index that one busy calendar does not slow down.
-- depends: 20261121_01_core

-- migrate: apply

-- A span of a calendar's time as a rectangle: calendars side by side, time upwards in microseconds. Spans that only touch
-- do not overlap, but rectangles that touch do, so each ends a microsecond early. In the years that bookings may lie in
-- (until 2100, `limits.year_max`) a float of seconds tells microseconds apart, and rounding makes them whole; from 2138
-- on it would not. Two calendars may share a place; the constraint therefore compares calendars as well.
CREATE FUNCTION calendar_span(calendar uuid, span tstzrange) RETURNS box LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN box(
    point((uuid_hash_extended(calendar, 0) & 4503599627370495)::float8,
          round(date_part('epoch', lower(span) - timestamptz '2000-01-01 00:00:00+00') * 1000000)),
    point((uuid_hash_extended(calendar, 0) & 4503599627370495)::float8 + 0.5,
          round(date_part('epoch', upper(span) - timestamptz '2000-01-01 00:00:00+00') * 1000000) - 1));

-- An index over ranges weighs every range on each page it passes, which cost a full calendar half of every booking.
ALTER TABLE bookings DROP CONSTRAINT bookings_never_overlap;
ALTER TABLE bookings
    -- What has no end would be no rectangle, and no guard would see it.
    ADD CONSTRAINT bookings_span CHECK (lower_inc(blocked) AND NOT upper_inf(blocked) AND NOT upper_inc(blocked)),
    -- Active rows of one calendar do not overlap, unless they share a session.
    -- Deferred, because within one batch a booking may move to a time that another has just left.
    ADD CONSTRAINT bookings_never_overlap EXCLUDE USING gist
        (calendar_span(calendar_id, blocked) WITH &&, calendar_id WITH =, session_id WITH <>)
        WHERE (status IN ('held', 'pending', 'confirmed'))
        DEFERRABLE INITIALLY DEFERRED;

-- migrate: rollback

ALTER TABLE bookings DROP CONSTRAINT bookings_never_overlap, DROP CONSTRAINT bookings_span;
ALTER TABLE bookings ADD CONSTRAINT bookings_never_overlap EXCLUDE USING gist
    (calendar_id WITH =, blocked WITH &&, session_id WITH <>)
    WHERE (status IN ('held', 'pending', 'confirmed'))
    DEFERRABLE INITIALLY DEFERRED;
DROP FUNCTION calendar_span(uuid, tstzrange);
