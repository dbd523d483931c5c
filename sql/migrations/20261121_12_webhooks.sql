-- Webhooks of businesses, and what was or is to be delivered to them.
-- depends: 20261121_11_messages

-- migrate: apply

-- No secret is kept: it follows from `id`, `generation` and the server's secret.
CREATE TABLE webhooks (
    id             uuid PRIMARY KEY,
    business_id    uuid NOT NULL REFERENCES businesses,
    url            text NOT NULL,
    description    text,
    -- NULL is every event.
    events         text[],
    generation     int NOT NULL DEFAULT 1,
    -- Until then the secret of the generation before signs as well.
    overlaps_until timestamptz,
    disabled_at    timestamptz,
    disabled_why   text,
    -- Since when nothing has arrived, and how often in a row the target itself was in trouble; while it is, one delivery at a
    -- time is tried, not before `try_after`, and it has until `probed_until` to tell what came of it.
    failing_since  timestamptz,
    failures       int NOT NULL DEFAULT 0,
    try_after      timestamptz,
    probed_until   timestamptz,
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    deleted_at     timestamptz
);
CREATE INDEX webhooks_by_business ON webhooks (business_id, id) WHERE deleted_at IS NULL;

-- `body` is text and not JSON, because what was signed has to be the same to the byte with every try.
CREATE TABLE webhook_deliveries (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL,
    webhook_id  uuid NOT NULL,
    event_id    uuid NOT NULL,
    type        text NOT NULL,
    calendar_id uuid,
    body        text NOT NULL,
    state       text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed', 'skipped')),
    tries       int NOT NULL DEFAULT 0,
    replays     int NOT NULL DEFAULT 0,
    last_tries  jsonb NOT NULL DEFAULT '[]',
    answer      text,
    next_try_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_deliveries_once UNIQUE (webhook_id, event_id)
);
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);

-- migrate: rollback

DROP TABLE webhook_deliveries, webhooks;
