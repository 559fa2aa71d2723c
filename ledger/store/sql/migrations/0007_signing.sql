-- Custodial signing keys, sessions and ceremonies. Rows are added, never changed. Nothing here signs: a key opens
-- with the person's own passphrase alone, which stands nowhere, and `mark` is a MAC by a secret of the
-- installation's home, so that a row that the server did not write counts for nothing.

SET LOCAL ROLE ledger_owner;

-- A person's private key, sealed (AES-256-GCM) under what scrypt makes of the passphrase. The newest one counts.
-- One code makes one key.
CREATE TABLE ledger.credentials (
    credential_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_id      text COLLATE "C" NOT NULL,
    actor         text COLLATE "C" NOT NULL CHECK (actor <> ''),
    kid           text COLLATE "C" NOT NULL,
    code_digest   text COLLATE "C" NOT NULL,
    enrolment     jsonb NOT NULL,
    scrypt        int[] NOT NULL CHECK (cardinality(scrypt) = 3),
    salt          bytea NOT NULL CHECK (octet_length(salt) = 16),
    nonce         bytea NOT NULL CHECK (octet_length(nonce) = 12),
    sealed        bytea NOT NULL CHECK (octet_length(sealed) = 48),
    made_at       timestamptz NOT NULL,
    mark          bytea NOT NULL CHECK (octet_length(mark) = 32),
    UNIQUE (study_id, kid),
    UNIQUE (study_id, code_digest)
);
CREATE INDEX ON ledger.credentials (study_id, actor, credential_id);

-- Attempts to give user id and passphrase: noted before the passphrase is tried, so that many at once are counted.
-- `epoch` is the index of the account's last unlocking.
CREATE TABLE ledger.sign_in_attempts (
    attempt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_id   text COLLATE "C" NOT NULL,
    actor      text COLLATE "C" NOT NULL CHECK (actor <> ''),
    epoch      bigint NOT NULL,
    at         timestamptz NOT NULL,
    begun_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON ledger.sign_in_attempts (study_id, actor, attempt_id);

CREATE TABLE ledger.sign_in_results (
    attempt_id bigint PRIMARY KEY REFERENCES ledger.sign_in_attempts,
    study_id   text COLLATE "C" NOT NULL,
    good       boolean NOT NULL
);

-- A continuous session (21 CFR 11.200(a)(1)); the token itself is only with the person.
CREATE TABLE ledger.sessions (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    study_id   text COLLATE "C" NOT NULL,
    actor      text COLLATE "C" NOT NULL CHECK (actor <> ''),
    kid        text COLLATE "C" NOT NULL,
    opened_at  timestamptz NOT NULL,
    mark       bytea NOT NULL CHECK (octet_length(mark) = 32)
);

CREATE TABLE ledger.session_uses (
    use_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash bytea NOT NULL REFERENCES ledger.sessions,
    study_id   text COLLATE "C" NOT NULL,
    at         timestamptz NOT NULL,
    what       text COLLATE "C" NOT NULL CHECK (what IN ('shown', 'signed', 'closed'))
);
CREATE INDEX ON ledger.session_uses (token_hash, use_id);

-- A ceremony that authenticated its person, with the digest of the one statement signed in it. What the statement
-- says stands in the ledger alone: a redaction need not look here.
CREATE TABLE ledger.ceremonies (
    ceremony_id text COLLATE "C" PRIMARY KEY,
    study_id    text COLLATE "C" NOT NULL,
    actor       text COLLATE "C" NOT NULL CHECK (actor <> ''),
    kid         text COLLATE "C" NOT NULL,
    token_hash  bytea NOT NULL REFERENCES ledger.sessions,
    components  text COLLATE "C" NOT NULL CHECK (components IN ('user_id,passphrase', 'passphrase')),
    signed_iat  bigint NOT NULL,
    expires_at  bigint NOT NULL,
    digest      text COLLATE "C" NOT NULL,
    mark        bytea NOT NULL CHECK (octet_length(mark) = 32)
);

-- Which recorded statement names a ceremony; written with the statement, so that none is ever used twice.
CREATE TABLE ledger.ceremony_uses (
    study_id    text COLLATE "C" NOT NULL,
    ceremony_id text COLLATE "C" NOT NULL,
    idx         bigint NOT NULL,
    PRIMARY KEY (study_id, ceremony_id)
);

GRANT SELECT, INSERT ON ledger.credentials, ledger.sign_in_attempts, ledger.sign_in_results, ledger.sessions,
    ledger.session_uses, ledger.ceremonies, ledger.ceremony_uses TO ledger_app;

REVOKE UPDATE, DELETE, TRUNCATE ON ledger.credentials, ledger.sign_in_results, ledger.session_uses,
    ledger.ceremonies, ledger.ceremony_uses FROM ledger_owner;

DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY
        ARRAY['credentials', 'sign_in_attempts', 'sign_in_results', 'sessions', 'session_uses', 'ceremonies',
              'ceremony_uses']
    LOOP
        EXECUTE format('CREATE TRIGGER %1$s_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', kept);
        EXECUTE format('ALTER TABLE ledger.%1$I ENABLE ALWAYS TRIGGER %1$s_change', kept);
    END LOOP;
END
$$;

RESET ROLE;
