-- Roles: the public interface of the store, by who may do what.
--
--   ledger_owner      owns the schemas and tables; nobody logs in as it
--   ledger_redactor   owns the redaction function and nothing else; nobody logs in as it
--   ledger_app        the server: records and reads
--   ledger_projector  the projections: reads the ledger, owns the read models (schemas rm_*)
--   ledger_reader     may read the read models; ledger_app is a member
--
-- They belong to the cluster, so several databases may meet here at once: an existing role is left as
-- it is. None of them is given a password or a login here. The embedded server gives ledger_app and
-- ledger_projector a login of their own; on another server the administrator grants these two to the
-- logins that the URLs name:  GRANT ledger_app TO my_login;  GRANT ledger_projector TO my_other_login;

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY
        ARRAY['ledger_owner', 'ledger_redactor', 'ledger_app', 'ledger_projector', 'ledger_reader']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of this cluster was migrated at the same moment
            END;
        END IF;
    END LOOP;

    IF NOT pg_has_role('ledger_app', 'ledger_reader', 'MEMBER') THEN
        GRANT ledger_reader TO ledger_app;
    END IF;

    -- An administrator who is not a superuser must be a member of a role to give it objects.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ledger_owner, ledger_redactor, ledger_projector TO %I', current_user);
    END IF;

    EXECUTE format('GRANT CREATE ON DATABASE %I TO ledger_projector', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO ledger_app, ledger_projector, ledger_reader',
                   current_database());
END
$$;

ALTER DEFAULT PRIVILEGES FOR ROLE ledger_projector GRANT USAGE ON SCHEMAS TO ledger_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE ledger_projector GRANT SELECT ON TABLES TO ledger_reader;

GRANT USAGE ON SCHEMA migrations TO ledger_app, ledger_projector;
GRANT SELECT ON migrations.applied TO ledger_app, ledger_projector;
