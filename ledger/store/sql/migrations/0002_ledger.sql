-- The ledger: what was stated, in order, and the evidence for it. Rows are added, never changed, with
-- two exceptions: a study's head grows, and redaction removes disclosures (0003_fences, 0004_functions).
--
-- Text that is compared or ordered is COLLATE "C": the same everywhere, whatever the database's locale.

CREATE SCHEMA ledger AUTHORIZATION ledger_owner;
GRANT USAGE ON SCHEMA ledger TO ledger_app, ledger_projector, ledger_redactor;

SET LOCAL ROLE ledger_owner;

CREATE TABLE ledger.studies (
    study_id   text COLLATE "C" PRIMARY KEY CHECK (study_id ~ '^[A-Z0-9-]{3,32}$'),
    origin     text COLLATE "C" NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- `state` is the JWT as received; `recorded_at` is text because these bytes are in the leaf.
-- One partition per study (ledger.create_study); a study without one cannot be written to.
CREATE TABLE ledger.events (
    study_id           text COLLATE "C" NOT NULL,
    idx                bigint NOT NULL CHECK (idx >= 0),
    originator_id      uuid NOT NULL,
    originator_version bigint NOT NULL CHECK (originator_version >= 1),
    topic              text COLLATE "C" NOT NULL CHECK (topic <> ''),
    state              bytea NOT NULL CHECK (octet_length(state) > 0),
    disclosures        text[] COLLATE "C" NOT NULL CHECK (array_position(disclosures, NULL) IS NULL),
    jti                uuid NOT NULL,
    kid                text COLLATE "C" NOT NULL CHECK (kid <> ''),
    recorded_at        text COLLATE "C" NOT NULL
        CHECK (recorded_at ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$'),
    leaf_hash          bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
    PRIMARY KEY (study_id, idx),
    UNIQUE (study_id, jti),
    UNIQUE (study_id, originator_id, originator_version)
) PARTITION BY LIST (study_id);

CREATE INDEX ON ledger.events (study_id, topic, idx);

-- One row per study, and the only lock of the write path. `last_recorded_at` is '' while size is 0.
-- Hot: updated once per batch, so its page keeps room for new versions and is vacuumed early.
CREATE TABLE ledger.heads (
    study_id         text COLLATE "C" PRIMARY KEY REFERENCES ledger.studies,
    size             bigint NOT NULL CHECK (size >= 0),
    frontier         bytea NOT NULL CHECK (octet_length(frontier) % 32 = 0),
    root             bytea NOT NULL CHECK (octet_length(root) = 32),
    last_recorded_at text COLLATE "C" NOT NULL CHECK ((last_recorded_at = '') = (size = 0))
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE ledger.checkpoints (
    study_id  text COLLATE "C" NOT NULL REFERENCES ledger.studies,
    size      bigint NOT NULL CHECK (size >= 0),
    root      bytea NOT NULL CHECK (octet_length(root) = 32),
    note      text COLLATE "C" NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (study_id, size)
);

-- Full tiles only: 256 hashes of 32 bytes (C2SP tlog-tiles). Partial ones are computed when asked for, those
-- above level 0 from the roots of the tiles below.
CREATE TABLE ledger.tiles (
    study_id text COLLATE "C" NOT NULL REFERENCES ledger.studies,
    level    int NOT NULL CHECK (level BETWEEN 0 AND 63),
    n        bigint NOT NULL CHECK (n >= 0),
    hashes   bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    root     bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (study_id, level, n)
);

CREATE TABLE ledger.cosignatures (
    study_id    text COLLATE "C" NOT NULL,
    size        bigint NOT NULL,
    witness     text COLLATE "C" NOT NULL CHECK (witness <> ''),
    line        text COLLATE "C" NOT NULL CHECK (line <> ''),
    received_at timestamptz NOT NULL,
    PRIMARY KEY (study_id, size, witness),
    FOREIGN KEY (study_id, size) REFERENCES ledger.checkpoints
);

-- What was refused, sealed: `jti` and `iss` as far as they could be read, `statement` as received.
-- `study_id` is what the request said and may name no study.
CREATE TABLE ledger.refusals (
    refused_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_id   text COLLATE "C",
    at         timestamptz NOT NULL,
    rule       text NOT NULL CHECK (rule <> ''),
    status     int NOT NULL CHECK (status BETWEEN 400 AND 599),
    because    jsonb NOT NULL,
    jti        text COLLATE "C",
    iss        text COLLATE "C",
    statement  bytea NOT NULL,
    digest     bytea NOT NULL CHECK (digest = sha256(statement))
);
CREATE INDEX ON ledger.refusals (study_id, refused_id);

CREATE TABLE ledger.access_log (
    access_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_id  text COLLATE "C",
    at        timestamptz NOT NULL,
    actor     text COLLATE "C" NOT NULL CHECK (actor <> ''),
    role      text COLLATE "C" NOT NULL,
    action    text COLLATE "C" NOT NULL CHECK (action <> ''),
    target    text COLLATE "C" NOT NULL,
    details   jsonb NOT NULL
);
CREATE INDEX ON ledger.access_log (study_id, access_id);

GRANT SELECT, INSERT ON ledger.events, ledger.checkpoints, ledger.tiles, ledger.cosignatures,
    ledger.refusals, ledger.access_log TO ledger_app;
GRANT SELECT ON ledger.studies, ledger.heads TO ledger_app;
GRANT UPDATE (size, frontier, root, last_recorded_at) ON ledger.heads TO ledger_app;

-- Not the refusals and not the access log: both are sealed, and no projection reads them.
GRANT SELECT ON ledger.studies, ledger.events, ledger.heads, ledger.checkpoints, ledger.tiles,
    ledger.cosignatures TO ledger_projector;

-- The redaction function's own rights: find the row, replace this column.
GRANT SELECT (study_id, idx, disclosures), UPDATE (disclosures) ON ledger.events TO ledger_redactor;

-- An owner holds every right unless it is taken away, also from itself. (Not from tables that a foreign
-- key refers to: PostgreSQL locks the referred row in the owner's name, for which it wants UPDATE.)
REVOKE UPDATE, DELETE, TRUNCATE ON ledger.events, ledger.tiles, ledger.cosignatures, ledger.refusals,
    ledger.access_log FROM ledger_owner;

RESET ROLE;
