-- The second fence, behind the privileges: triggers that refuse what nobody may do, whoever asks.
-- ENABLE ALWAYS, so that session_replication_role does not switch them off. Row triggers on events are
-- copied to every partition when it is attached; statement triggers are not (0004_functions adds them).

SET LOCAL ROLE ledger_owner;

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'LEDGER-1: % on %.% is refused: the ledger is only added to',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'Correct, void, reverse or redact with a signed statement.';
END
$$;

-- Redaction may drop disclosures; it may not add or alter one, nor touch any other column.
CREATE FUNCTION ledger.refuse_change_except_redaction() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_jsonb(NEW) - 'disclosures' IS DISTINCT FROM to_jsonb(OLD) - 'disclosures' THEN
        RAISE EXCEPTION 'LEDGER-2: an event was to be changed: only its disclosures may ever be redacted'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.disclosures IS NULL OR NOT NEW.disclosures <@ OLD.disclosures THEN
        RAISE EXCEPTION 'LEDGER-3: redaction was to add or alter a disclosure: it may only remove some'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;

-- A head grows by exactly the events stored since: without gap, without going back in time.
CREATE FUNCTION ledger.check_head() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    added bigint;
    last bigint;
BEGIN
    IF NEW IS NOT DISTINCT FROM OLD THEN
        RETURN NEW;
    END IF;
    IF NEW.study_id <> OLD.study_id OR NEW.size <= OLD.size THEN
        RAISE EXCEPTION 'LEDGER-4: the head of % was to go from size % to %: a ledger only grows',
            OLD.study_id, OLD.size, NEW.size USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.last_recorded_at < OLD.last_recorded_at THEN
        RAISE EXCEPTION 'LEDGER-5: the head of % was to go back in time, from % to %',
            OLD.study_id, OLD.last_recorded_at, NEW.last_recorded_at USING ERRCODE = 'restrict_violation';
    END IF;
    SELECT count(*), max(idx) INTO added, last
        FROM ledger.events WHERE study_id = OLD.study_id AND idx >= OLD.size;
    IF added <> NEW.size - OLD.size OR last IS DISTINCT FROM NEW.size - 1 THEN
        RAISE EXCEPTION 'LEDGER-6: the head of % was to grow from % to %, but % events up to index % are there',
            OLD.study_id, OLD.size, NEW.size, added, last USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;

REVOKE EXECUTE ON FUNCTION ledger.refuse_change(), ledger.refuse_change_except_redaction(),
    ledger.check_head() FROM PUBLIC;

CREATE TRIGGER events_update BEFORE UPDATE ON ledger.events
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change_except_redaction();
CREATE TRIGGER events_delete BEFORE DELETE ON ledger.events
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER events_truncate BEFORE TRUNCATE ON ledger.events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.events ENABLE ALWAYS TRIGGER events_update;
ALTER TABLE ledger.events ENABLE ALWAYS TRIGGER events_delete;
ALTER TABLE ledger.events ENABLE ALWAYS TRIGGER events_truncate;

CREATE TRIGGER heads_update BEFORE UPDATE ON ledger.heads
    FOR EACH ROW EXECUTE FUNCTION ledger.check_head();
CREATE TRIGGER heads_remove BEFORE DELETE OR TRUNCATE ON ledger.heads
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.heads ENABLE ALWAYS TRIGGER heads_update;
ALTER TABLE ledger.heads ENABLE ALWAYS TRIGGER heads_remove;

DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY
        ARRAY['studies', 'checkpoints', 'tiles', 'cosignatures', 'refusals', 'access_log']
    LOOP
        EXECUTE format('CREATE TRIGGER %1$s_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', kept);
        EXECUTE format('ALTER TABLE ledger.%1$I ENABLE ALWAYS TRIGGER %1$s_change', kept);
    END LOOP;
END
$$;

RESET ROLE;
