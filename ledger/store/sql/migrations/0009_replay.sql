-- Replays: versions of a projection side by side, and how each came to answer. Everything here can be rebuilt or begun
-- again but what was concluded, and that goes into the ledger (ReplayConcluded), by way of replay_steps.

SET LOCAL ROLE ledger_owner;

-- A version may have several schemas: one that a follower built first (generation 0), and one of each rebuild.
-- `parts` are the digests of what the fingerprint is made of, so that a change can be named; `tables` are the tables as
-- declared, so that a release that does not have a version's code can read its rows.
ALTER TABLE projection.definitions
    ADD COLUMN generation int NOT NULL DEFAULT 0 CHECK (generation >= 0),
    ADD COLUMN parts jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN tables jsonb NOT NULL DEFAULT '[]',
    DROP CONSTRAINT definitions_pkey,
    ADD PRIMARY KEY (name, version, fingerprint, generation);

-- One row a replay, from its plan to its end. `from_*` is what answered when it began (NULL: nothing did), the rest
-- what it builds. `ceiling` is the signed size up to which the parts are built; `size` and `root` the index at which
-- both were compared, `report` the summary of the differences and `report_digest` its SHA-256 (base64url).
CREATE TABLE projection.replays (
    replay_id        uuid PRIMARY KEY,
    study_id         text COLLATE "C" NOT NULL,
    name             text COLLATE "C" NOT NULL,
    from_schema      text COLLATE "C",
    from_version     int,
    from_fingerprint text COLLATE "C",
    schema_name      text COLLATE "C" NOT NULL UNIQUE,
    version          int NOT NULL,
    fingerprint      text COLLATE "C" NOT NULL,
    state            text COLLATE "C" NOT NULL CHECK (state IN (
                         'planned', 'building', 'catching up', 'comparing', 'awaiting approval', 'ready', 'switched',
                         'rolled back', 'retired', 'cancelled', 'failed')),
    ceiling          bigint NOT NULL CHECK (ceiling >= 0),
    size             bigint,
    root             text COLLATE "C",
    report           jsonb,
    report_digest    text COLLATE "C",
    approval         uuid,
    failure          jsonb,
    built_s          double precision NOT NULL DEFAULT 0 CHECK (built_s >= 0),
    by               text COLLATE "C" NOT NULL,
    reason           text COLLATE "C",
    begun_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((from_schema IS NULL) = (from_version IS NULL) AND (from_schema IS NULL) = (from_fingerprint IS NULL)),
    CHECK ((report IS NULL) = (report_digest IS NULL))
);

-- One replay of a projection of a study at a time, until it answers or has come to its end.
CREATE UNIQUE INDEX replays_one_at_a_time ON projection.replays (study_id, name)
    WHERE state IN ('planned', 'building', 'catching up', 'comparing', 'awaiting approval', 'ready');

-- What a replay concluded, written in the transaction of the step itself; `idx` is its index in the ledger, once it
-- stands there.
CREATE TABLE projection.replay_steps (
    replay_id uuid NOT NULL REFERENCES projection.replays,
    number    int NOT NULL CHECK (number >= 1),
    step      text COLLATE "C" NOT NULL CHECK (step IN (
                  'compared', 'switched', 'rolled back', 'retired', 'cancelled', 'failed')),
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    report    jsonb NOT NULL,
    idx       bigint CHECK (idx >= 0),
    PRIMARY KEY (replay_id, number)
);
CREATE INDEX replay_steps_waiting ON projection.replay_steps (at) WHERE idx IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON projection.replays, projection.replay_steps TO ledger_projector;
GRANT SELECT ON projection.replays, projection.replay_steps TO ledger_reader;

-- Empties read models of one study, so that they are made anew from the ledger: all but those named. A read model
-- that nobody follows any more, a build that was begun before a redaction, or rows of a restored database hold copies.
-- "_parts" comes first: it waits for whoever is building, and who comes after finds no part to build.
CREATE OR REPLACE FUNCTION projection.forget(of_study text, but text[]) RETURNS int
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
    emptied int := 0;
BEGIN
    PERFORM FROM projection.positions WHERE study_id = of_study AND schema_name <> ALL (but)
        ORDER BY schema_name FOR UPDATE;
    FOR found IN
        SELECT n.nspname, c.relname FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'study_id'
        WHERE c.relkind = 'r' AND n.nspname ~ '^rm_[a-z0-9_]+$' AND n.nspname <> ALL (but)
        ORDER BY n.nspname, c.relname <> '_parts', c.relname
    LOOP
        EXECUTE format('DELETE FROM %I.%I WHERE study_id = $1', found.nspname, found.relname) USING of_study;
        emptied := emptied + 1;
    END LOOP;
    UPDATE projection.positions SET position = 0, updated_at = clock_timestamp()
        WHERE study_id = of_study AND schema_name <> ALL (but);
    UPDATE projection.replays
        SET state = CASE WHEN EXISTS (SELECT FROM projection.positions AS o
                                      WHERE o.study_id = of_study AND o.schema_name = replays.schema_name)
                         THEN 'catching up' ELSE 'building' END,
            report = NULL, report_digest = NULL, changed_at = clock_timestamp()
        WHERE study_id = of_study AND schema_name <> ALL (but)
          AND state IN ('catching up', 'comparing', 'awaiting approval', 'ready');
    RETURN emptied;
END
$$;

RESET ROLE;
