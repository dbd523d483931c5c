-- What is done after a booking: the queue of jobs, and how far followers of the journal have read.
-- depends: 20261121_06_meetings

-- migrate: apply

-- A job whose turn in its lane has not come is `behind`: the others are found without passing over it. `holder` is one taking
-- of jobs by one worker, who has them until `leased_until`. What is done keeps its key, and its payload no more.
CREATE TABLE jobs (
    id           uuid PRIMARY KEY,
    place        bigint GENERATED ALWAYS AS IDENTITY,
    kind         text NOT NULL,
    business_id  uuid,
    payload      jsonb,
    key          text,
    lane         text,
    state        text NOT NULL CHECK (state IN ('waiting', 'behind', 'working', 'done', 'dead')),
    run_at       timestamptz NOT NULL,
    attempts     int NOT NULL DEFAULT 0,
    attempts_max int NOT NULL CHECK (attempts_max > 0),
    holder       uuid,
    leased_until timestamptz,
    reason       text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'working') = (holder IS NOT NULL)),
    CHECK ((state = 'working') = (leased_until IS NOT NULL)),
    CHECK (state <> 'behind' OR lane IS NOT NULL)
-- Every job is changed a few times and then dropped: the dead rows are to be gone soon.
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE UNIQUE INDEX jobs_key ON jobs (key) WHERE key IS NOT NULL;
CREATE INDEX jobs_due ON jobs (run_at, place) WHERE state = 'waiting';
CREATE INDEX jobs_by_lane ON jobs (lane, place) WHERE lane IS NOT NULL AND state IN ('waiting', 'behind', 'working');
CREATE INDEX jobs_leased ON jobs (leased_until) WHERE state = 'working';
CREATE INDEX jobs_open ON jobs (state, id) INCLUDE (kind) WHERE state <> 'done';
CREATE INDEX jobs_ended ON jobs (updated_at) WHERE state IN ('done', 'dead');

-- `seq` is the position of the last event of the shard that the follower has read.
CREATE TABLE followers (
    name  text NOT NULL,
    shard int NOT NULL,
    seq   bigint NOT NULL,
    PRIMARY KEY (name, shard)
) WITH (fillfactor = 50);

-- migrate: rollback

DROP TABLE followers, jobs;
