-- What was told to people, how they want to be told, and when services remind.
-- depends: 20261121_10_queue

-- migrate: apply

-- One row per message and recipient. `id` follows from the job, so that a job done again finds its row; the message
-- carries it, too. The address goes when a client is erased.
CREATE TABLE messages (
    id          uuid PRIMARY KEY,
    job_id      text NOT NULL,
    business_id uuid REFERENCES businesses,
    kind        text NOT NULL,
    channel     text NOT NULL CHECK (channel IN ('email', 'sms', 'chat', 'none')),
    address     text,
    language    text NOT NULL,
    booking_id  uuid,
    client_id   uuid,
    user_id     uuid,
    outcome     text NOT NULL CHECK (outcome IN ('sent', 'failed', 'refused', 'skipped')),
    error       text,
    tries       int NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX messages_by_business ON messages (business_id, id);
CREATE INDEX messages_by_client ON messages (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX messages_by_booking ON messages (booking_id) WHERE booking_id IS NOT NULL;
CREATE INDEX messages_by_age ON messages (created_at);

-- No row is no preference.
CREATE TABLE client_preferences (
    client_id   uuid PRIMARY KEY REFERENCES clients,
    business_id uuid NOT NULL REFERENCES businesses,
    reminders   boolean NOT NULL DEFAULT true,
    channel     text CHECK (channel IN ('email', 'sms', 'chat')),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE services
    ADD COLUMN reminder_minutes int[] NOT NULL DEFAULT '{1440,120}'
        CHECK (cardinality(reminder_minutes) <= 5 AND 0 < ALL (reminder_minutes));
ALTER TABLE businesses ADD COLUMN chat_callback_url text;
-- Whether a professional is told of bookings in their calendar.
ALTER TABLE users ADD COLUMN booking_messages boolean NOT NULL DEFAULT true;
-- Reminders that wait, to take them back when their booking moves.
CREATE INDEX jobs_reminding ON jobs ((payload ->> 'booking_id')) WHERE kind = 'reminder' AND state = 'waiting';

-- What a booking is of, as people are told.
CREATE VIEW bookables AS
    SELECT id, name, price_minor, currency, reminder_minutes FROM services
    UNION ALL
    SELECT id, title, NULL, NULL, '{1440,120}' FROM offerings;

-- migrate: rollback

DROP VIEW bookables;
DROP INDEX jobs_reminding;
ALTER TABLE users DROP COLUMN booking_messages;
ALTER TABLE businesses DROP COLUMN chat_callback_url;
ALTER TABLE services DROP COLUMN reminder_minutes;
DROP TABLE client_preferences, messages;
