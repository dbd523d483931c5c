-- Businesses with a state and rules, people with roles and locations, sessions, and what protects them.
-- depends: 20261121_02_guard

-- migrate: apply

-- Businesses

ALTER TABLE businesses
    ADD COLUMN status_reason text,
    ADD COLUMN trial_ends_at timestamptz,
    -- The country of telephone numbers written without one, ISO 3166-1.
    ADD COLUMN region text CHECK (region ~ '^[A-Z]{2}$'),
    ADD COLUMN languages text[] NOT NULL DEFAULT '{en}',
    ADD COLUMN cancellation_notice_minutes int NOT NULL DEFAULT 0 CHECK (cancellation_notice_minutes >= 0),
    ADD COLUMN default_confirmation text NOT NULL DEFAULT 'instant'
        CHECK (default_confirmation IN ('instant', 'approval')),
    ADD COLUMN hold_ttl_seconds int NOT NULL DEFAULT 300 CHECK (hold_ttl_seconds > 0),
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN deleted_at timestamptz,
    ADD CONSTRAINT businesses_status CHECK (status IN ('pending', 'active', 'suspended', 'rejected'));
CREATE INDEX businesses_by_status ON businesses (status, id);

-- `(business_id, id)` is unique wherever another table names both, so that nothing can point into another business.
CREATE TABLE locations (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses,
    name        text NOT NULL,
    address     text,
    phone       text,
    time_zone   text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz,
    CONSTRAINT locations_of_business UNIQUE (business_id, id)
);

ALTER TABLE professionals
    ADD COLUMN location_id uuid,
    ADD CONSTRAINT professionals_of_business UNIQUE (business_id, id),
    ADD CONSTRAINT professionals_location FOREIGN KEY (business_id, location_id) REFERENCES locations (business_id, id);
DROP INDEX professionals_by_business;
CREATE INDEX professionals_by_location ON professionals (location_id) WHERE location_id IS NOT NULL;

-- People. E-mail, username and phone stand in the one spelling that `server/identity.py` gives them.

ALTER TABLE users
    ADD COLUMN email_verified_at timestamptz,
    ADD COLUMN phone_verified_at timestamptz,
    ADD COLUMN chat_id bigint,
    ADD COLUMN locale text NOT NULL DEFAULT 'en',
    ADD COLUMN disabled_at timestamptz,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
UPDATE users SET email = lower(email), username = lower(username);

-- One membership per person and business: of several the strongest stays.
DELETE FROM memberships m USING memberships other
    WHERE m.business_id = other.business_id AND m.user_id = other.user_id
    AND array_position(ARRAY['owner', 'manager', 'professional'], other.role)
        < array_position(ARRAY['owner', 'manager', 'professional'], m.role);
ALTER TABLE memberships
    DROP CONSTRAINT memberships_pkey,
    ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    -- A manager of some locations only: of those in membership_locations, be they none.
    ADD COLUMN limited boolean NOT NULL DEFAULT false,
    -- Permissions beyond the role's, asked for and approved.
    ADD COLUMN grants text[] NOT NULL DEFAULT '{}',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN deleted_at timestamptz,
    ADD CONSTRAINT memberships_once UNIQUE (business_id, user_id),
    ADD CONSTRAINT memberships_of_business UNIQUE (business_id, id),
    ADD CONSTRAINT memberships_professional FOREIGN KEY (business_id, professional_id)
        REFERENCES professionals (business_id, id),
    ADD CONSTRAINT memberships_limited CHECK (role = 'manager' OR NOT limited);
CREATE INDEX memberships_by_user ON memberships (user_id);
CREATE UNIQUE INDEX memberships_by_professional ON memberships (professional_id)
    WHERE professional_id IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE membership_locations (
    business_id   uuid NOT NULL,
    membership_id uuid NOT NULL,
    location_id   uuid NOT NULL,
    PRIMARY KEY (membership_id, location_id),
    FOREIGN KEY (business_id, membership_id) REFERENCES memberships (business_id, id) ON DELETE CASCADE,
    FOREIGN KEY (business_id, location_id) REFERENCES locations (business_id, id)
);
CREATE INDEX membership_locations_by_location ON membership_locations (location_id);

ALTER TABLE clients
    -- What e-mail and phone are compared by; beside them stands what was typed.
    ADD COLUMN email_normal text,
    ADD COLUMN phone_normal text,
    ADD COLUMN deleted_at timestamptz,
    ADD COLUMN erased_at timestamptz;
CREATE UNIQUE INDEX clients_by_user ON clients (business_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX clients_of_user ON clients (user_id) WHERE user_id IS NOT NULL;
-- Numbers of before keep what they were typed as, without spaces and signs: whose country they are of is not known here.
UPDATE clients SET email_normal = lower(email), phone_normal = regexp_replace(phone, '[^0-9+]', '', 'g');

CREATE TABLE permission_requests (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses,
    user_id     uuid NOT NULL REFERENCES users,
    permission  text NOT NULL,
    reason      text,
    status      text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'denied')),
    decided_by  uuid REFERENCES users,
    decided_at  timestamptz,
    answer      text,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX permission_requests_by_business ON permission_requests (business_id, id);
CREATE UNIQUE INDEX permission_requests_once ON permission_requests (business_id, user_id, permission)
    WHERE status = 'pending';

-- Sign-ins. No refresh token is kept: each follows from `seed`, `generation` and the server's secret.
CREATE TABLE user_sessions (
    id          uuid PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users,
    business_id uuid REFERENCES businesses,
    seed        bytea NOT NULL,
    generation  int NOT NULL DEFAULT 0,
    address     text,
    user_agent  text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    used_at     timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    ended_why   text
);
CREATE INDEX user_sessions_by_user ON user_sessions (user_id, id) WHERE ended_at IS NULL;
CREATE INDEX user_sessions_ended ON user_sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX user_sessions_by_end ON user_sessions (expires_at);

ALTER TABLE service_tokens
    -- NULL is everything the role may do.
    ADD COLUMN scopes text[],
    ADD COLUMN created_by text;
CREATE INDEX service_tokens_revoked ON service_tokens (expires_at) WHERE revoked_at IS NOT NULL;

-- `user_id` is whoever was signed in when asking and had that address: only they are verified by the code.
CREATE TABLE verification_codes (
    id         uuid PRIMARY KEY,
    user_id    uuid REFERENCES users,
    kind       text NOT NULL CHECK (kind IN ('email', 'phone')),
    target     text NOT NULL,
    code_hash  bytea NOT NULL,
    tries      int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX verification_codes_by_end ON verification_codes (expires_at);

-- Of a token its hash is kept alone.
CREATE TABLE device_tokens (
    id         uuid PRIMARY KEY,
    user_id    uuid REFERENCES users,
    token_hash bytea NOT NULL UNIQUE,
    address    text,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX device_tokens_by_seen ON device_tokens (seen_at);

CREATE TABLE used_tickets (
    id         uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX used_tickets_by_end ON used_tickets (expires_at);

-- Protection and record

CREATE TABLE ban_list (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses,
    email       text,
    phone       text,
    reason      text,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(email, phone) = 1),
    UNIQUE (business_id, email),
    UNIQUE (business_id, phone)
);
CREATE INDEX ban_list_by_business ON ban_list (business_id, id);

CREATE TABLE audit_log (
    id          uuid PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    business_id uuid REFERENCES businesses,
    by          text NOT NULL,
    action      text NOT NULL,
    what        text NOT NULL,
    what_id     text,
    before      jsonb,
    after       jsonb,
    address     text,
    user_agent  text,
    request_id  text NOT NULL
);
CREATE INDEX audit_log_by_business ON audit_log (business_id, id);

-- Keys of callers who belong to no business.
ALTER TABLE idempotency_keys ALTER COLUMN business_id DROP NOT NULL;

-- migrate: rollback

DELETE FROM idempotency_keys WHERE business_id IS NULL;
ALTER TABLE idempotency_keys ALTER COLUMN business_id SET NOT NULL;
DROP TABLE audit_log, ban_list, used_tickets, device_tokens, verification_codes;
DROP INDEX service_tokens_revoked;
ALTER TABLE service_tokens DROP COLUMN scopes, DROP COLUMN created_by;
DROP TABLE user_sessions, permission_requests;
DROP INDEX clients_by_user, clients_of_user;
ALTER TABLE clients
    DROP COLUMN email_normal,
    DROP COLUMN phone_normal,
    DROP COLUMN deleted_at,
    DROP COLUMN erased_at;
DROP TABLE membership_locations;
DROP INDEX memberships_by_user, memberships_by_professional;
DELETE FROM memberships WHERE deleted_at IS NOT NULL;
ALTER TABLE memberships
    DROP CONSTRAINT memberships_limited,
    DROP CONSTRAINT memberships_professional,
    DROP CONSTRAINT memberships_of_business,
    DROP CONSTRAINT memberships_once,
    DROP COLUMN id,
    DROP COLUMN limited,
    DROP COLUMN grants,
    DROP COLUMN updated_at,
    DROP COLUMN deleted_at,
    ADD CONSTRAINT memberships_pkey PRIMARY KEY (business_id, user_id, role);
ALTER TABLE users
    DROP COLUMN email_verified_at,
    DROP COLUMN phone_verified_at,
    DROP COLUMN chat_id,
    DROP COLUMN locale,
    DROP COLUMN disabled_at,
    DROP COLUMN updated_at;
DROP INDEX professionals_by_location;
ALTER TABLE professionals
    DROP CONSTRAINT professionals_location,
    DROP CONSTRAINT professionals_of_business,
    DROP COLUMN location_id;
CREATE INDEX professionals_by_business ON professionals (business_id, id);
DROP TABLE locations;
DROP INDEX businesses_by_status;
ALTER TABLE businesses
    DROP CONSTRAINT businesses_status,
    DROP COLUMN status_reason,
    DROP COLUMN trial_ends_at,
    DROP COLUMN region,
    DROP COLUMN languages,
    DROP COLUMN cancellation_notice_minutes,
    DROP COLUMN default_confirmation,
    DROP COLUMN hold_ttl_seconds,
    DROP COLUMN updated_at,
    DROP COLUMN deleted_at;
