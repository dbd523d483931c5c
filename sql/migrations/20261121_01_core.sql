-- The core: businesses and people, catalogue, calendars, reservations, the journal and its fence.
-- depends:

-- migrate: apply

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE businesses (
    id              uuid PRIMARY KEY,
    slug            text NOT NULL UNIQUE,
    name            text NOT NULL,
    time_zone       text NOT NULL,
    locale          text NOT NULL DEFAULT 'en',
    status          text NOT NULL DEFAULT 'active',
    allowed_origins text[] NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    email         text UNIQUE,
    username      text UNIQUE,
    phone         text UNIQUE,
    name          text NOT NULL,
    password_hash text,
    super_admin   boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (coalesce(email, username, phone) IS NOT NULL)
);

CREATE TABLE memberships (
    business_id     uuid NOT NULL REFERENCES businesses,
    user_id         uuid NOT NULL REFERENCES users,
    role            text NOT NULL CHECK (role IN ('owner', 'manager', 'professional')),
    professional_id uuid,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, user_id, role)
);

CREATE TABLE service_tokens (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses,
    name        text NOT NULL,
    role        text NOT NULL,
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX service_tokens_by_business ON service_tokens (business_id, id);

CREATE TABLE professionals (
    id             uuid PRIMARY KEY,
    business_id    uuid NOT NULL REFERENCES businesses,
    user_id        uuid REFERENCES users,
    display_name   text NOT NULL,
    specialisation text,
    bio            text,
    username       text,
    phone          text,
    chat_id        bigint,
    deleted_at     timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (business_id, username)
);
CREATE INDEX professionals_by_business ON professionals (business_id, id);

-- One calendar per professional, with the same id. No version here: it is that of the last event, and a
-- counter beside it would cost a dead row per booking.
CREATE TABLE calendars (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses,
    shard       int NOT NULL,
    time_zone   text NOT NULL,
    schedule    jsonb
);

CREATE TABLE services (
    id                    uuid PRIMARY KEY,
    business_id           uuid NOT NULL REFERENCES businesses,
    name                  text NOT NULL,
    description           text,
    duration_minutes      int NOT NULL CHECK (duration_minutes > 0),
    step_minutes          int NOT NULL CHECK (step_minutes > 0),
    buffer_before_minutes int NOT NULL DEFAULT 0 CHECK (buffer_before_minutes >= 0),
    buffer_after_minutes  int NOT NULL DEFAULT 0 CHECK (buffer_after_minutes >= 0),
    notice_minutes        int NOT NULL DEFAULT 0 CHECK (notice_minutes >= 0),
    horizon_days          int NOT NULL DEFAULT 90 CHECK (horizon_days > 0),
    capacity              int NOT NULL DEFAULT 1 CHECK (capacity > 0),
    confirmation          text NOT NULL DEFAULT 'instant' CHECK (confirmation IN ('instant', 'approval')),
    price_minor           bigint,
    currency              text,
    version               int NOT NULL DEFAULT 1,
    deleted_at            timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX services_by_business ON services (business_id, id);

CREATE TABLE professional_services (
    business_id     uuid NOT NULL REFERENCES businesses,
    professional_id uuid NOT NULL REFERENCES professionals,
    service_id      uuid NOT NULL REFERENCES services,
    PRIMARY KEY (professional_id, service_id)
);
CREATE INDEX professional_services_by_service ON professional_services (service_id);

CREATE TABLE clients (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses,
    user_id     uuid REFERENCES users,
    guest       boolean NOT NULL DEFAULT false,
    first_name  text NOT NULL,
    last_name   text NOT NULL DEFAULT '',
    email       text,
    phone       text,
    chat_id     bigint,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (business_id, chat_id)
);
CREATE INDEX clients_by_business ON clients (business_id, id);

-- The fence. `epoch` proves ownership; `seq` is the position of the shard's last event, so that a writer that
-- never heard what became of its batch can read the answer here.
CREATE TABLE shards (
    id    int PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    seq   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- The journal. `epoch` tells which owner wrote an event.
CREATE TABLE events (
    shard       int NOT NULL,
    seq         bigint NOT NULL,
    calendar_id uuid NOT NULL,
    version     bigint NOT NULL,
    business_id uuid NOT NULL,
    epoch       bigint NOT NULL,
    type        text NOT NULL,
    at          timestamptz NOT NULL,
    by          text NOT NULL,
    request_id  text NOT NULL,
    data        jsonb NOT NULL,
    PRIMARY KEY (calendar_id, version)
);
CREATE UNIQUE INDEX events_by_position ON events (shard, seq);

-- Holds and bookings. A hold is a row with status `held` that a booking takes over, or that is deleted when it
-- ends. `session_id` is the row's own id unless places are shared. Hot rows carry no foreign keys: the
-- edge checks client and service, and each key would cost a trigger per booking.
CREATE TABLE bookings (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL,
    calendar_id uuid NOT NULL,
    service_id  uuid NOT NULL,
    client_id   uuid,
    code        text,
    status      text NOT NULL CHECK (status IN
        ('held', 'pending', 'confirmed', 'completed', 'cancelled', 'rejected', 'expired', 'no_show')),
    start_at    timestamptz NOT NULL,
    end_at      timestamptz NOT NULL,
    blocked     tstzrange NOT NULL,
    session_id  uuid NOT NULL,
    capacity    int NOT NULL,
    attendees   int NOT NULL CHECK (attendees > 0),
    version     int NOT NULL DEFAULT 1,
    holder      text,
    expires_at  timestamptz,
    notes       text,
    cancelled_by text,
    reason      text,
    manage_hash bytea,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CHECK (start_at < end_at),
    CHECK (blocked @> tstzrange(start_at, end_at)),
    CHECK (status = 'held' OR code IS NOT NULL),
    -- The guard beneath everything: active rows of one calendar do not overlap, unless they share a session.
    -- Deferred, because within one batch a booking may move to a time that another has just left.
    CONSTRAINT bookings_never_overlap EXCLUDE USING gist
        (calendar_id WITH =, blocked WITH &&, session_id WITH <>)
        WHERE (status IN ('held', 'pending', 'confirmed'))
        DEFERRABLE INITIALLY DEFERRED
);
CREATE UNIQUE INDEX bookings_code ON bookings (code);
CREATE INDEX bookings_by_calendar ON bookings (calendar_id, start_at, id);
CREATE INDEX bookings_by_client ON bookings (client_id, start_at) WHERE client_id IS NOT NULL;
CREATE INDEX bookings_by_business ON bookings (business_id, start_at, id);
CREATE INDEX bookings_by_session ON bookings (session_id) WHERE capacity > 1;
CREATE INDEX bookings_held ON bookings (expires_at) WHERE status = 'held';

-- One row per shared session, counted by the database from the rows above, so that the CHECK does not trust
-- the server's arithmetic.
CREATE TABLE sessions (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL,
    calendar_id uuid NOT NULL,
    capacity    int NOT NULL,
    taken       int NOT NULL,
    CONSTRAINT sessions_within_capacity CHECK (taken <= capacity)
);

CREATE TABLE time_off (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL,
    calendar_id uuid NOT NULL,
    start_at    timestamptz NOT NULL,
    end_at      timestamptz NOT NULL CHECK (end_at > start_at),
    description text,
    forced      boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL
);
CREATE INDEX time_off_by_calendar ON time_off (calendar_id, start_at);

CREATE TABLE idempotency_keys (
    scope       text NOT NULL,
    key         text NOT NULL,
    business_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    -- For commands of a calendar: whose, and the outcome to answer with. For others: the answer itself.
    calendar_id uuid,
    outcome     jsonb,
    status      int,
    body        bytea,
    headers     jsonb,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_once PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_by_calendar ON idempotency_keys (calendar_id, created_at);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE FUNCTION from_us(us bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN timestamptz 'epoch' + us * interval '1 microsecond';

CREATE FUNCTION to_us(moment timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (extract(epoch FROM moment) * 1000000)::bigint;

-- Fails the statement it stands in. The journal calls it when the fence has moved.
CREATE FUNCTION require_fence(advanced bigint, wanted int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF advanced <> wanted THEN
        RAISE EXCEPTION 'the fence has moved: % of % shards are ours', advanced, wanted USING ERRCODE = 'SC001';
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION require_keys(stored bigint, wanted int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF stored <> wanted THEN
        RAISE EXCEPTION 'an idempotency key is taken' USING ERRCODE = 'SC002';
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION count_session() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    session uuid;
    places int;
BEGIN
    FOR session IN SELECT DISTINCT s FROM unnest(ARRAY[
        CASE WHEN TG_OP <> 'INSERT' AND OLD.capacity > 1 THEN OLD.session_id END,
        CASE WHEN TG_OP <> 'DELETE' AND NEW.capacity > 1 THEN NEW.session_id END]) AS s WHERE s IS NOT NULL
    LOOP
        SELECT coalesce(sum(attendees), 0) INTO places FROM bookings
            WHERE session_id = session AND capacity > 1 AND status IN ('held', 'pending', 'confirmed');
        IF places = 0 THEN
            DELETE FROM sessions WHERE id = session;
        ELSE
            INSERT INTO sessions (id, business_id, calendar_id, capacity, taken)
                SELECT session, business_id, calendar_id, capacity, places FROM bookings
                WHERE session_id = session AND capacity > 1 AND status IN ('held', 'pending', 'confirmed') LIMIT 1
                ON CONFLICT (id) DO UPDATE SET taken = EXCLUDED.taken;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE TRIGGER bookings_inserted AFTER INSERT ON bookings FOR EACH ROW
    WHEN (NEW.capacity > 1) EXECUTE FUNCTION count_session();
CREATE TRIGGER bookings_updated AFTER UPDATE ON bookings FOR EACH ROW
    WHEN (NEW.capacity > 1 OR OLD.capacity > 1) EXECUTE FUNCTION count_session();
CREATE TRIGGER bookings_deleted AFTER DELETE ON bookings FOR EACH ROW
    WHEN (OLD.capacity > 1) EXECUTE FUNCTION count_session();

-- migrate: rollback

DROP FUNCTION require_keys(bigint, int);
DROP FUNCTION require_fence(bigint, int);
DROP FUNCTION to_us(timestamptz);
DROP FUNCTION from_us(bigint);
DROP TABLE idempotency_keys, time_off, sessions, bookings, events, settings, shards, clients, professional_services,
    services, calendars, professionals, service_tokens, memberships, users, businesses;
DROP FUNCTION count_session();
DROP EXTENSION btree_gist;
