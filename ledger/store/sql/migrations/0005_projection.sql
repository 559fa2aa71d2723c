-- What the projections know about themselves. Everything here can be rebuilt from the ledger; the read
-- models themselves live in schemas rm_<name>_v<version>_<fingerprint>, owned by ledger_projector.

CREATE SCHEMA projection AUTHORIZATION ledger_owner;
GRANT USAGE ON SCHEMA projection TO ledger_projector, ledger_reader;

SET LOCAL ROLE ledger_owner;

CREATE TABLE projection.definitions (
    name          text COLLATE "C" NOT NULL,
    version       int NOT NULL CHECK (version >= 1),
    fingerprint   text COLLATE "C" NOT NULL,
    schema_name   text COLLATE "C" NOT NULL UNIQUE CHECK (schema_name ~ '^rm_[a-z0-9_]{1,60}$'),
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, version, fingerprint)
);

-- `position` is how many events of the study a read model has taken in. Hot, like the heads.
CREATE TABLE projection.positions (
    schema_name text COLLATE "C" NOT NULL,
    study_id    text COLLATE "C" NOT NULL,
    position    bigint NOT NULL CHECK (position >= 0),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (schema_name, study_id)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Which read model answers for a study; a switch is one compare-and-swap on this row.
CREATE TABLE projection.pointers (
    name        text COLLATE "C" NOT NULL,
    study_id    text COLLATE "C" NOT NULL,
    schema_name text COLLATE "C" NOT NULL REFERENCES projection.definitions (schema_name),
    version     int NOT NULL,
    switched_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, study_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON projection.definitions, projection.positions, projection.pointers
    TO ledger_projector;
GRANT SELECT ON projection.definitions, projection.positions, projection.pointers TO ledger_reader;

RESET ROLE;
