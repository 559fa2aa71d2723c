-- The two things the application may do only through a function: open a study, redact an event.
-- Both run with their owner's rights, so their search_path is pinned and every name is qualified.

SET LOCAL ROLE ledger_owner;

-- Makes a study's partition and head. Returns true when it made them, false when they were there.
-- The partition is complete before it is attached, so that writers of other studies do not wait:
-- ATTACH then takes only SHARE UPDATE EXCLUSIVE on ledger.events.
CREATE FUNCTION ledger.create_study(new_study text, new_origin text) RETURNS boolean
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
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON ledger.%I FROM ledger_owner', partition);
    EXECUTE format('CREATE TRIGGER events_truncate BEFORE TRUNCATE ON ledger.%I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', partition);
    EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER events_truncate', partition);
    EXECUTE format('ALTER TABLE ledger.events ATTACH PARTITION ledger.%I FOR VALUES IN (%L)',
                   partition, new_study);
    RETURN true;
END
$$;

-- Keeps, of one event's disclosures, those listed; returns how many it removed. What is listed but not
-- there stays away: a redaction cannot be undone by listing what it removed.
CREATE FUNCTION ledger.redact(of_study text, at_idx bigint, keep text[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text[];
    remaining text[];
BEGIN
    SELECT disclosures INTO before FROM ledger.events
        WHERE study_id = of_study AND idx = at_idx FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'LEDGER-9: study % has no event %', of_study, at_idx
            USING ERRCODE = 'no_data_found';
    END IF;
    remaining := ARRAY(SELECT d FROM unnest(before) WITH ORDINALITY AS u (d, place)
                       WHERE d = ANY (coalesce(keep, '{}')) ORDER BY place);
    IF remaining <> before THEN
        UPDATE ledger.events SET disclosures = remaining WHERE study_id = of_study AND idx = at_idx;
    END IF;
    RETURN cardinality(before) - cardinality(remaining);
END
$$;

REVOKE EXECUTE ON FUNCTION ledger.create_study(text, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION ledger.redact(text, bigint, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.create_study(text, text) TO ledger_app;
GRANT EXECUTE ON FUNCTION ledger.redact(text, bigint, text[]) TO ledger_app;

-- A new owner must be able to create in the schema at that moment, and only then.
GRANT CREATE ON SCHEMA ledger TO ledger_redactor;
RESET ROLE;
ALTER FUNCTION ledger.redact(text, bigint, text[]) OWNER TO ledger_redactor;
SET LOCAL ROLE ledger_owner;
REVOKE CREATE ON SCHEMA ledger FROM ledger_redactor;

RESET ROLE;
