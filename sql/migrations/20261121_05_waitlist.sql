-- Clients who wait for an opening.
-- depends: 20261121_04_bookables

-- migrate: apply

CREATE TABLE waitlist_entries (
    id               uuid PRIMARY KEY,
    business_id      uuid NOT NULL REFERENCES businesses,
    -- A service, or an offering.
    service_id       uuid NOT NULL,
    -- NULL: whoever offers it.
    professional_id  uuid REFERENCES professionals,
    client_id        uuid NOT NULL REFERENCES clients,
    from_at          timestamptz NOT NULL,
    to_at            timestamptz NOT NULL CHECK (to_at > from_at),
    attendees        int NOT NULL CHECK (attendees > 0),
    duration_minutes int,
    notes            text,
    -- `offering` while a hold is being placed for it, until `claimed_until`; then `offered` with that hold.
    status           text NOT NULL DEFAULT 'waiting' CHECK (status IN
        ('waiting', 'offering', 'offered', 'booked', 'lapsed', 'left', 'past')),
    claimed_until    timestamptz,
    hold_id          uuid,
    hold_calendar_id uuid,
    hold_start       timestamptz,
    hold_end         timestamptz,
    hold_expires_at  timestamptz,
    manage_hash      bytea,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX waitlist_waiting ON waitlist_entries (business_id, service_id, id)
    WHERE status IN ('waiting', 'offering', 'offered');
CREATE INDEX waitlist_of_professional ON waitlist_entries (professional_id)
    WHERE status IN ('waiting', 'offering', 'offered') AND professional_id IS NOT NULL;
CREATE INDEX waitlist_of_anybody ON waitlist_entries (service_id)
    WHERE status IN ('waiting', 'offering', 'offered') AND professional_id IS NULL;
CREATE INDEX waitlist_ending ON waitlist_entries (to_at) WHERE status IN ('waiting', 'offering');
CREATE INDEX waitlist_offered ON waitlist_entries (hold_calendar_id) WHERE status = 'offered';
CREATE INDEX waitlist_by_business ON waitlist_entries (business_id, id);
CREATE INDEX waitlist_by_client ON waitlist_entries (client_id, id);

-- Among those who wait for something of the same, from 1; NULL for who does not wait.
CREATE FUNCTION position_of(mine waitlist_entries) RETURNS bigint LANGUAGE sql STABLE RETURN CASE
    WHEN mine.status IN ('waiting', 'offering') THEN 1 + (SELECT count(*) FROM waitlist_entries e
        WHERE e.business_id = mine.business_id AND e.service_id = mine.service_id
            AND e.status IN ('waiting', 'offering') AND e.id < mine.id
            AND e.from_at < mine.to_at AND e.to_at > mine.from_at
            AND (e.professional_id = mine.professional_id OR e.professional_id IS NULL OR mine.professional_id IS NULL))
    END;

-- migrate: rollback

DROP FUNCTION position_of(waitlist_entries);
DROP TABLE waitlist_entries;
