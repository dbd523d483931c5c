-- Notices of trials that end, counted days for analytics, how far the journal was cleared, and calendar feeds.
-- depends: 20261121_12_webhooks

-- migrate: apply

-- What owners have been told of a trial: once per end and notice, whatever becomes of the job that told it.
CREATE TABLE trial_notices (
    business_id uuid NOT NULL REFERENCES businesses,
    ends_at     timestamptz NOT NULL,
    days        int NOT NULL,
    told_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, ends_at, days)
);
CREATE INDEX businesses_in_trial ON businesses (trial_ends_at) WHERE trial_ends_at IS NOT NULL AND deleted_at IS NULL;

-- Days before `until`, on the calendar's wall clock, are counted once and kept; later ones are counted when asked for.
CREATE TABLE analytics_progress (
    calendar_id uuid PRIMARY KEY,
    business_id uuid NOT NULL,
    until       date NOT NULL,
    time_zone   text NOT NULL
);
CREATE TABLE analytics_days (
    calendar_id    uuid NOT NULL,
    business_id    uuid NOT NULL,
    service_id     uuid NOT NULL,
    day            date NOT NULL,
    pending        int NOT NULL,
    confirmed      int NOT NULL,
    completed      int NOT NULL,
    cancelled      int NOT NULL,
    rejected       int NOT NULL,
    expired        int NOT NULL,
    no_show        int NOT NULL,
    by_clients     int NOT NULL,
    attendees      int NOT NULL,
    booked_seconds bigint NOT NULL,
    lead_seconds   bigint NOT NULL,
    PRIMARY KEY (calendar_id, day, service_id)
);
-- How long it was open on a day: its hours without time off, as they were when the day had passed.
CREATE TABLE analytics_hours (
    calendar_id  uuid NOT NULL,
    business_id  uuid NOT NULL,
    day          date NOT NULL,
    open_seconds int NOT NULL,
    PRIMARY KEY (calendar_id, day)
);
-- Days before `until` that have to be counted, for the first time or again. What is asked meanwhile is counted live.
CREATE TABLE analytics_stale (
    calendar_id uuid NOT NULL,
    business_id uuid NOT NULL,
    day         date NOT NULL,
    PRIMARY KEY (calendar_id, day)
);

-- The bookings of a calendar that start on these days of its wall clock, by service and day. A shared session takes its
-- time once, however many come.
CREATE FUNCTION day_figures(calendar uuid, zone text, first_day date, last_day date) RETURNS TABLE (
    service_id uuid, day date, pending int, confirmed int, completed int, cancelled int, rejected int, expired int,
    no_show int, by_clients int, attendees int, booked_seconds bigint, lead_seconds bigint
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT b.service_id, b.day,
        count(*) FILTER (WHERE b.status = 'pending' AND b.leads)::int,
        count(*) FILTER (WHERE b.status = 'confirmed' AND b.leads)::int,
        count(*) FILTER (WHERE b.status = 'completed' AND b.leads)::int,
        count(*) FILTER (WHERE b.status = 'cancelled' AND b.leads)::int,
        count(*) FILTER (WHERE b.status = 'rejected' AND b.leads)::int,
        count(*) FILTER (WHERE b.status = 'expired' AND b.leads)::int,
        count(*) FILTER (WHERE b.status = 'no_show' AND b.leads)::int,
        count(*) FILTER (WHERE b.status = 'cancelled' AND b.cancelled_by IN ('client', 'guest'))::int,
        coalesce(sum(b.attendees) FILTER (WHERE b.stands AND b.leads), 0)::int,
        coalesce(sum(extract(epoch FROM b.end_at - b.start_at)) FILTER (WHERE b.stands AND b.nth = 1), 0)::bigint,
        coalesce(sum(extract(epoch FROM b.start_at - b.created_at)) FILTER (WHERE b.leads), 0)::bigint
    FROM (
        SELECT f.*, row_number() OVER (PARTITION BY f.session_id, f.stands, f.service_id, f.day ORDER BY f.id) AS nth
        FROM (
            SELECT r.id, r.service_id, r.session_id, r.status, r.cancelled_by, r.attendees, r.start_at, r.end_at,
                r.created_at, (r.start_at AT TIME ZONE zone)::date AS day,
                -- A part of a meeting takes time here, and is counted where the meeting is led.
                r.leader_id IS NULL AS leads,
                r.status IN ('pending', 'confirmed', 'completed', 'no_show') AS stands
            FROM bookings r
            -- A day more on either side: where the clocks change at midnight, it is not one instant.
            WHERE r.calendar_id = calendar AND r.status <> 'held'
                AND r.start_at >= (first_day - 1)::timestamp AT TIME ZONE zone
                AND r.start_at < (last_day + 2)::timestamp AT TIME ZONE zone
        ) AS f
        WHERE f.day BETWEEN first_day AND last_day
    ) AS b
    GROUP BY b.service_id, b.day
$$;

-- How far each shard has been looked through in this round, and since when.
CREATE TABLE journal_trims (
    shard      int PRIMARY KEY,
    seq        bigint NOT NULL DEFAULT 0,
    rests_from timestamptz
);
-- The highest version that is gone from a calendar's events: whoever has seen less has missed some.
CREATE TABLE journal_floors (
    calendar_id uuid PRIMARY KEY,
    business_id uuid NOT NULL,
    version     bigint NOT NULL
);

-- Of a feed's token its hash is kept alone. `etag` is of what was last shown, `changed_at` since when.
CREATE TABLE feeds (
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses,
    professional_id uuid UNIQUE,
    client_id       uuid UNIQUE,
    token_hash      bytea NOT NULL UNIQUE,
    etag            text,
    changed_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(professional_id, client_id) = 1)
);

-- migrate: rollback

DROP TABLE feeds, journal_floors, journal_trims;
DROP FUNCTION day_figures(uuid, text, date, date);
DROP TABLE analytics_stale, analytics_hours, analytics_days, analytics_progress;
DROP INDEX businesses_in_trial;
DROP TABLE trial_notices;
