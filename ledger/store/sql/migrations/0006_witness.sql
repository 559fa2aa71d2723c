-- What others say about a checkpoint, and when: cosignatures that were renewed, and time stamps (RFC 3161).

SET LOCAL ROLE ledger_owner;

-- A witness's first line under a checkpoint stands in ledger.cosignatures. While the log stands still it is asked
-- again now and then, for a newer time: those lines are here, the newest is the one that is shown.
CREATE TABLE ledger.renewed_cosignatures (
    study_id    text COLLATE "C" NOT NULL,
    size        bigint NOT NULL,
    witness     text COLLATE "C" NOT NULL CHECK (witness <> ''),
    line        text COLLATE "C" NOT NULL CHECK (line <> ''),
    received_at timestamptz NOT NULL,
    PRIMARY KEY (study_id, size, witness, received_at),
    FOREIGN KEY (study_id, size) REFERENCES ledger.checkpoints
);

-- "How far is this witness?" is asked after every round.
CREATE INDEX ON ledger.cosignatures (study_id, witness, size);

-- `token` is the authority's answer (a TimeStampResp in DER), `stamped_at` the time in it, `authority` its address.
CREATE TABLE ledger.timestamps (
    study_id    text COLLATE "C" NOT NULL,
    size        bigint NOT NULL,
    authority   text COLLATE "C" NOT NULL CHECK (authority <> ''),
    token       bytea NOT NULL CHECK (octet_length(token) > 0),
    stamped_at  timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (study_id, size, authority, received_at),
    FOREIGN KEY (study_id, size) REFERENCES ledger.checkpoints
);

GRANT SELECT, INSERT ON ledger.renewed_cosignatures, ledger.timestamps TO ledger_app;
GRANT SELECT ON ledger.renewed_cosignatures, ledger.timestamps TO ledger_projector;
REVOKE UPDATE, DELETE, TRUNCATE ON ledger.renewed_cosignatures, ledger.timestamps FROM ledger_owner;

DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['renewed_cosignatures', 'timestamps']
    LOOP
        EXECUTE format('CREATE TRIGGER %1$s_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', kept);
        EXECUTE format('ALTER TABLE ledger.%1$I ENABLE ALWAYS TRIGGER %1$s_change', kept);
    END LOOP;
END
$$;

RESET ROLE;
