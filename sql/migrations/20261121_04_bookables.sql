-- Everything that can be booked: choices and caps of services, offerings, resources, meetings of several calendars, series.
-- depends: 20261121_03_people

-- migrate: apply

ALTER TABLE services
    -- What clients may choose beside `duration_minutes`.
    ADD COLUMN durations_minutes int[] NOT NULL DEFAULT '{}',
    ADD COLUMN daily_cap int CHECK (daily_cap > 0),
    ADD COLUMN weekly_cap int CHECK (weekly_cap > 0),
    -- Where these are NULL the business's own hold.
    ADD COLUMN cancellation_notice_minutes int CHECK (cancellation_notice_minutes >= 0),
    ADD COLUMN reschedule_notice_minutes int CHECK (reschedule_notice_minutes >= 0),
    ADD COLUMN questions jsonb NOT NULL DEFAULT '[]',
    -- Who gets a booking that names nobody.
    ADD COLUMN assignment text NOT NULL DEFAULT 'least_loaded' CHECK (assignment IN ('least_loaded', 'round_robin')),
    -- Empty: wherever those who offer it work.
    ADD COLUMN location_ids uuid[] NOT NULL DEFAULT '{}',
    ADD COLUMN professionals_needed int NOT NULL DEFAULT 1 CHECK (professionals_needed > 0),
    -- A list of lists of resources: of each list one is taken.
    ADD COLUMN resources jsonb NOT NULL DEFAULT '[]';

ALTER TABLE professionals
    ADD COLUMN kind text NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'resource'));

CREATE TABLE holidays (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses,
    location_id uuid,
    date        date NOT NULL,
    name        text NOT NULL,
    forced      boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (business_id, location_id) REFERENCES locations (business_id, id)
);
CREATE UNIQUE INDEX holidays_once ON holidays (business_id, date, location_id) NULLS NOT DISTINCT;

-- An offering is booked like a service of one professional, under its own id, with hours of its own.
CREATE TABLE offerings (
    id               uuid PRIMARY KEY,
    business_id      uuid NOT NULL REFERENCES businesses,
    professional_id  uuid NOT NULL REFERENCES professionals,
    code             text NOT NULL,
    type             text NOT NULL CHECK (type IN ('single', 'group', 'party')),
    title            text NOT NULL,
    description      text,
    start_date       date NOT NULL,
    end_date         date NOT NULL CHECK (end_date >= start_date),
    day_start        int NOT NULL CHECK (day_start >= 0),
    day_end          int NOT NULL CHECK (day_end <= 1440),
    time_zone        text NOT NULL,
    duration_minutes int NOT NULL CHECK (duration_minutes > 0),
    max_attendees    int NOT NULL CHECK (max_attendees > 0),
    anti_scalping    text NOT NULL CHECK (anti_scalping IN ('none', 'standard', 'strict')),
    confirmation     text NOT NULL DEFAULT 'instant' CHECK (confirmation IN ('instant', 'approval')),
    notice_minutes   int NOT NULL DEFAULT 0 CHECK (notice_minutes >= 0),
    version          int NOT NULL DEFAULT 1,
    deleted_at       timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    CHECK (day_start < day_end)
);
CREATE UNIQUE INDEX offerings_code ON offerings (code);
CREATE INDEX offerings_by_business ON offerings (business_id, id);
CREATE INDEX offerings_by_professional ON offerings (professional_id);

ALTER TABLE bookings
    ADD COLUMN marks text[],
    ADD COLUMN series_id uuid,
    ADD COLUMN doubled boolean NOT NULL DEFAULT false,
    ADD COLUMN answers jsonb,
    -- Of a meeting of several calendars: what it takes up in the others, as [[calendar, reservation], …].
    ADD COLUMN parts jsonb,
    -- Of such a part: the calendar that leads.
    ADD COLUMN leader_id uuid,
    DROP CONSTRAINT bookings_never_overlap,
    -- Deferred, because within one batch a booking may move to a time that another has just left. Double bookings that staff
    -- made on purpose are left out.
    ADD CONSTRAINT bookings_never_overlap EXCLUDE USING gist
        (calendar_span(calendar_id, blocked) WITH &&, calendar_id WITH =, session_id WITH <>)
        WHERE (status IN ('held', 'pending', 'confirmed') AND NOT doubled)
        DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX bookings_due ON bookings (start_at) WHERE status IN ('pending', 'confirmed');
CREATE INDEX bookings_by_series ON bookings (series_id) WHERE series_id IS NOT NULL;
CREATE INDEX bookings_parts ON bookings (leader_id)
    WHERE leader_id IS NOT NULL AND status IN ('held', 'pending', 'confirmed');
CREATE INDEX bookings_leading ON bookings (calendar_id) WHERE parts IS NOT NULL;
DROP INDEX bookings_held;
CREATE INDEX bookings_held ON bookings (expires_at) WHERE status = 'held' AND expires_at IS NOT NULL;

ALTER TABLE time_off ADD COLUMN series_id uuid;

-- What can be booked in a calendar: services and offerings.
CREATE FUNCTION offered_by(professional uuid) RETURNS text[] LANGUAGE sql STABLE RETURN ARRAY(
    SELECT s.id::text FROM professional_services o
        JOIN services s ON s.id = o.service_id AND s.deleted_at IS NULL
        WHERE o.professional_id = professional
    UNION ALL
    -- As long as the calendar remembers what is over.
    SELECT f.id::text FROM offerings f WHERE f.professional_id = professional AND f.deleted_at IS NULL
        AND f.end_date > current_date - 10
    ORDER BY 1);

CREATE FUNCTION holidays_of(business uuid, location uuid) RETURNS text[] LANGUAGE sql STABLE RETURN ARRAY(
    SELECT h.date::text FROM holidays h
        WHERE h.business_id = business AND (h.location_id IS NULL OR h.location_id = location)
            AND h.date > now() - interval '8 days'
        ORDER BY h.date);

-- What is still to be met for has begun within a month, the longest that a party lasts.
CREATE FUNCTION attendees_of(offering uuid) RETURNS int LANGUAGE sql STABLE RETURN (
    SELECT coalesce(sum(b.attendees), 0)::int FROM offerings o JOIN bookings b
        ON b.calendar_id = o.professional_id AND b.service_id = o.id AND b.status IN ('pending', 'confirmed')
            AND b.start_at > now() - interval '32 days'
    WHERE o.id = offering);

-- migrate: rollback

DROP FUNCTION attendees_of(uuid);
DROP FUNCTION holidays_of(uuid, uuid), offered_by(uuid);
ALTER TABLE time_off DROP COLUMN series_id;
DROP INDEX bookings_held;
CREATE INDEX bookings_held ON bookings (expires_at) WHERE status = 'held';
DROP INDEX bookings_due, bookings_by_series, bookings_parts, bookings_leading;
ALTER TABLE bookings DROP CONSTRAINT bookings_never_overlap;
ALTER TABLE bookings
    DROP COLUMN marks, DROP COLUMN series_id, DROP COLUMN doubled, DROP COLUMN answers, DROP COLUMN parts,
    DROP COLUMN leader_id,
    ADD CONSTRAINT bookings_never_overlap EXCLUDE USING gist
        (calendar_span(calendar_id, blocked) WITH &&, calendar_id WITH =, session_id WITH <>)
        WHERE (status IN ('held', 'pending', 'confirmed'))
        DEFERRABLE INITIALLY DEFERRED;
DROP TABLE offerings, holidays;
ALTER TABLE professionals DROP COLUMN kind;
ALTER TABLE services
    DROP COLUMN durations_minutes, DROP COLUMN daily_cap, DROP COLUMN weekly_cap, DROP COLUMN cancellation_notice_minutes,
    DROP COLUMN reschedule_notice_minutes, DROP COLUMN questions, DROP COLUMN assignment, DROP COLUMN location_ids,
    DROP COLUMN professionals_needed, DROP COLUMN resources;
