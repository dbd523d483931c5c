-- In which language a client is written to, where they have no login that says so: taken from the request in which they booked.
-- depends: 20261121_13_insight

-- migrate: apply

ALTER TABLE clients ADD COLUMN locale text;

-- migrate: rollback

ALTER TABLE clients DROP COLUMN locale;
