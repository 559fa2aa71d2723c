-- Redaction: which disclosures are redacted, who may still see them (nobody), what was destroyed and when.
--
-- A redaction stands here in the transaction that commits its second signature, so from that moment no reader
-- is given what it names: readers read ledger.entries, and the logins cannot read ledger.events.disclosures.
-- Destruction follows once a checkpoint covers it. Rows are only added.

SET LOCAL ROLE ledger_owner;

-- One row a disclosure: `disclosure` is its digest (base64url SHA-256), `field` its name; `ordered_idx` is the
-- order's index, `effective_idx` that of its second signature. Named by event id, so that an entry that is put
-- back into a restored database is redacted the moment it is there.
CREATE TABLE ledger.redactions (
    study_id      text COLLATE "C" NOT NULL REFERENCES ledger.studies,
    jti           uuid NOT NULL,
    disclosure    text COLLATE "C" NOT NULL CHECK (disclosure ~ '^[A-Za-z0-9_-]{43}$'),
    field         text COLLATE "C" NOT NULL CHECK (field <> ''),
    ordered_idx   bigint NOT NULL CHECK (ordered_idx >= 0),
    effective_idx bigint NOT NULL CHECK (effective_idx > ordered_idx),
    PRIMARY KEY (study_id, jti, disclosure)
);

-- What was destroyed, where and when: `place` is 'log' (events and refusals) or 'projections'.
CREATE TABLE ledger.destructions (
    study_id      text COLLATE "C" NOT NULL REFERENCES ledger.studies,
    effective_idx bigint NOT NULL CHECK (effective_idx >= 0),
    place         text COLLATE "C" NOT NULL CHECK (place IN ('log', 'projections')),
    destroyed_at  timestamptz NOT NULL,
    disclosures   bigint NOT NULL CHECK (disclosures >= 0),
    PRIMARY KEY (study_id, effective_idx, place)
);

-- The events as they may be read: without redacted disclosures, destroyed already or not. `redacted` says
-- which fields those are, each as <index of the second signature>:<field>; `undestroyed` how many are still stored.
-- Whether an entry is concerned at all is asked of a hash that each query makes once: an entry costs next to nothing.
CREATE VIEW ledger.entries AS
SELECT e.study_id, e.idx, e.originator_id, e.originator_version, e.topic, e.state,
       CASE WHEN (e.study_id, e.jti) IN (SELECT study_id, jti FROM ledger.redactions)
            THEN ARRAY(SELECT u.d FROM unnest(e.disclosures) WITH ORDINALITY AS u (d, place)
                       WHERE NOT EXISTS (
                           SELECT FROM ledger.redactions AS r
                           WHERE r.study_id = e.study_id AND r.jti = e.jti AND r.disclosure =
                               rtrim(translate(encode(sha256(convert_to(u.d, 'UTF8')), 'base64'), '+/', '-_'), '='))
                       ORDER BY u.place)
            ELSE e.disclosures END AS disclosures,
       e.jti, e.kid, e.recorded_at, e.leaf_hash,
       CASE WHEN (e.study_id, e.jti) IN (SELECT study_id, jti FROM ledger.redactions)
            THEN ARRAY(SELECT r.effective_idx || ':' || r.field FROM ledger.redactions AS r
                       WHERE r.study_id = e.study_id AND r.jti = e.jti ORDER BY r.effective_idx, r.field)
            ELSE '{}'::text[] END AS redacted,
       (SELECT count(*) FROM unnest(e.disclosures) AS u (d)
        JOIN ledger.redactions AS r ON r.study_id = e.study_id AND r.jti = e.jti AND r.disclosure =
            rtrim(translate(encode(sha256(convert_to(u.d, 'UTF8')), 'base64'), '+/', '-_'), '=')) AS undestroyed
FROM ledger.events AS e;

REVOKE SELECT ON ledger.events FROM ledger_app, ledger_projector;
GRANT SELECT (study_id, idx, originator_id, originator_version, topic, state, jti, kid, recorded_at, leaf_hash)
    ON ledger.events TO ledger_app, ledger_projector;
GRANT SELECT ON ledger.entries TO ledger_app, ledger_projector;
GRANT SELECT, INSERT ON ledger.redactions, ledger.destructions TO ledger_app;
GRANT SELECT ON ledger.redactions, ledger.destructions TO ledger_projector;
REVOKE UPDATE, DELETE, TRUNCATE ON ledger.redactions, ledger.destructions FROM ledger_owner;

-- The planner's statistics are copies of values too: of these columns none are kept.
ALTER TABLE ledger.events ALTER COLUMN disclosures SET STATISTICS 0;
ALTER TABLE ledger.refusals ALTER COLUMN statement SET STATISTICS 0;
ALTER TABLE ledger.refusals ALTER COLUMN because SET STATISTICS 0;

DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['redactions', 'destructions']
    LOOP
        EXECUTE format('CREATE TRIGGER %1$s_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', kept);
        EXECUTE format('ALTER TABLE ledger.%1$I ENABLE ALWAYS TRIGGER %1$s_change', kept);
    END LOOP;
    FOR kept IN SELECT c.relname FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'ledger.events'::regclass
    LOOP
        EXECUTE format('ALTER TABLE ledger.%I ALTER COLUMN disclosures SET STATISTICS 0', kept);
    END LOOP;
END
$$;

-- As 0004_functions made it, with a partition that keeps no statistics of disclosures.
CREATE OR REPLACE FUNCTION ledger.create_study(new_study text, new_origin text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    partition text := 'events_' || new_study;
    known text;
BEGIN
    IF new_study IS NULL OR new_study !~ '^[A-Z0-9-]{3,32}$' THEN
        RAISE EXCEPTION 'LEDGER-7: a study identifier is 3 to 32 of A-Z, 0-9 and -'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Two openings of studies wait for each other; the number is this function's own.
    PERFORM pg_advisory_xact_lock(4014166);
    SELECT origin INTO known FROM ledger.studies WHERE study_id = new_study;
    IF FOUND THEN
        IF known IS DISTINCT FROM new_origin THEN
            RAISE EXCEPTION 'LEDGER-8: study % has another origin', new_study
                USING ERRCODE = 'unique_violation', CONSTRAINT = 'studies_origin_fixed';
        END IF;
        RETURN false;
    END IF;

    INSERT INTO ledger.studies (study_id, origin) VALUES (new_study, new_origin);
    -- The root of the empty tree is SHA-256 of nothing (RFC 6962 section 2.1).
    INSERT INTO ledger.heads (study_id, size, frontier, root, last_recorded_at)
        VALUES (new_study, 0, '', sha256(''), '');

    -- Rows of a usual statement stay whole on their page instead of being compressed and moved out.
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.events INCLUDING ALL, CHECK (study_id = %L)) '
                   'WITH (toast_tuple_target = 8160)', partition, new_study);
    EXECUTE format('ALTER TABLE ledger.%I ALTER COLUMN disclosures SET STATISTICS 0', partition);
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON ledger.%I FROM ledger_owner', partition);
    EXECUTE format('CREATE TRIGGER events_truncate BEFORE TRUNCATE ON ledger.%I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', partition);
    EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER events_truncate', partition);
    EXECUTE format('ALTER TABLE ledger.events ATTACH PARTITION ledger.%I FOR VALUES IN (%L)',
                   partition, new_study);
    RETURN true;
END
$$;

-- The refusal list may hold copies: a refused statement loses those disclosures, and what quoted it. Its digest
-- stays that of the bytes received.
ALTER TABLE ledger.refusals ADD COLUMN redacted boolean NOT NULL DEFAULT false;
ALTER TABLE ledger.refusals DROP CONSTRAINT refusals_check;
ALTER TABLE ledger.refusals ADD CONSTRAINT refusals_check CHECK (redacted OR digest = sha256(statement));

CREATE FUNCTION ledger.refuse_change_of_refusal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text[] := string_to_array(encode(OLD.statement, 'escape'), '~');
    remaining text[] := string_to_array(encode(NEW.statement, 'escape'), '~');
BEGIN
    IF to_jsonb(NEW) - '{statement,because,redacted}'::text[]
       IS DISTINCT FROM to_jsonb(OLD) - '{statement,because,redacted}'::text[] THEN
        RAISE EXCEPTION 'LEDGER-10: a refusal was to be changed: only what it discloses may be redacted'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT NEW.redacted OR remaining[1] IS DISTINCT FROM before[1] OR NOT remaining <@ before
       OR cardinality(remaining) >= cardinality(before)
       OR NOT NEW.because - 'because' <@ OLD.because THEN
        RAISE EXCEPTION 'LEDGER-11: redaction was to add to a refusal or to alter it: it may only remove'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.refuse_change_of_refusal() FROM PUBLIC;

DROP TRIGGER refusals_change ON ledger.refusals;
CREATE TRIGGER refusals_change BEFORE DELETE OR TRUNCATE ON ledger.refusals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER refusals_redaction BEFORE UPDATE ON ledger.refusals
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change_of_refusal();
ALTER TABLE ledger.refusals ENABLE ALWAYS TRIGGER refusals_change;
ALTER TABLE ledger.refusals ENABLE ALWAYS TRIGGER refusals_redaction;

-- Leaves of a refused statement what is given, and of its problem what quotes nothing of it.
CREATE FUNCTION ledger.redact_refusal(of_refusal bigint, remaining bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE ledger.refusals SET statement = remaining, redacted = true, because = (
        SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(because)
        WHERE key IN ('title', 'rule', 'remedy', 'source', 'indexes')
    ) || '{"because": "redacted with what the statement disclosed"}'
    WHERE refused_id = of_refusal
$$;

GRANT SELECT (refused_id, statement, because), UPDATE (statement, because, redacted) ON ledger.refusals
    TO ledger_redactor;
GRANT CREATE ON SCHEMA ledger TO ledger_redactor;
RESET ROLE;
ALTER FUNCTION ledger.redact_refusal(bigint, bytea) OWNER TO ledger_redactor;
REVOKE EXECUTE ON FUNCTION ledger.redact_refusal(bigint, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.redact_refusal(bigint, bytea) TO ledger_app;
SET LOCAL ROLE ledger_owner;
REVOKE CREATE ON SCHEMA ledger FROM ledger_redactor;

-- Empties read models of one study, so that they are made anew from the ledger: all but those named. A read model
-- that another release left, a rebuild that was broken off, or rows of a restored database hold copies.
CREATE FUNCTION projection.forget(of_study text, but text[]) RETURNS int
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
        ORDER BY n.nspname, c.relname
    LOOP
        EXECUTE format('DELETE FROM %I.%I WHERE study_id = $1', found.nspname, found.relname) USING of_study;
        emptied := emptied + 1;
    END LOOP;
    UPDATE projection.positions SET position = 0, updated_at = clock_timestamp()
        WHERE study_id = of_study AND schema_name <> ALL (but);
    RETURN emptied;
END
$$;
REVOKE EXECUTE ON FUNCTION projection.forget(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION projection.forget(text, text[]) TO ledger_projector;

RESET ROLE;
