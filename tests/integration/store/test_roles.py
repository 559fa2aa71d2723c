"""Who may do what: as each role, everything that must be refused is tried and is refused."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ledger.store import statements
from ledger.store.database import Conn, Database
from ledger.store.embedded import DatabaseUrls
from ledger.store.errors import DatabaseMisconfigured
from ledger.store.roles import check
from tests.integration.store.events import ORIGIN, STUDY, append, event

PARTITION = f'ledger."events_{STUDY}"'
SEALED = ("events", "checkpoints", "tiles", "cosignatures", "refusals", "access_log", "studies")
SEALED += ("renewed_cosignatures", "timestamps")  # added by 0006
SEALED += ("credentials", "sign_in_attempts", "sign_in_results", "sessions")  # added by 0007
SEALED += ("session_uses", "ceremonies", "ceremony_uses")

# What nobody who logs in as the server or as the projections may do.
FORBIDDEN_TO_ALL = [
    *(f"DELETE FROM ledger.{table}" for table in (*SEALED, "heads")),
    *(f"TRUNCATE ledger.{table} CASCADE" for table in (*SEALED, "heads")),
    *(f"UPDATE ledger.{table} SET study_id = study_id" for table in (*SEALED, "heads")),
    *(f"DROP TABLE ledger.{table} CASCADE" for table in (*SEALED, "heads")),
    *(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL" for table in (*SEALED, "heads")),
    *(f"ALTER TABLE ledger.{table} ADD COLUMN more text" for table in (*SEALED, "heads")),
    *(f"BEGIN; LOCK TABLE ledger.{table} IN ACCESS EXCLUSIVE MODE" for table in (*SEALED, "heads")),
    *(
        f"UPDATE ledger.events SET {column} = {column}"
        for column in (
            "idx",
            "originator_id",
            "originator_version",
            "topic",
            "state",
            "disclosures",
            "jti",
            "kid",
            "recorded_at",
            "leaf_hash",
        )
    ),
    "SELECT disclosures FROM ledger.events",
    "UPDATE ledger.redactions SET field = 'x'",
    "DELETE FROM ledger.redactions",
    "TRUNCATE ledger.destructions",
    "UPDATE ledger.refusals SET redacted = true",
    "CREATE OR REPLACE VIEW ledger.entries AS TABLE ledger.events",
    "SELECT * FROM ledger.events FOR UPDATE",
    "SELECT * FROM ledger.events FOR KEY SHARE",
    "INSERT INTO ledger.events TABLE ledger.events ON CONFLICT (study_id, idx) DO UPDATE SET kid = 'x'",
    "MERGE INTO ledger.events e USING ledger.studies s ON s.study_id = e.study_id WHEN MATCHED THEN DELETE",
    "COPY ledger.events TO PROGRAM 'cat'",
    "COPY ledger.studies FROM '/etc/passwd'",
    "ALTER TABLE ledger.events DETACH PARTITION " + PARTITION,
    "CREATE TABLE ledger.mine (a int)",
    "CREATE FUNCTION ledger.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TRIGGER mine BEFORE INSERT ON ledger.events FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change()",
    "CREATE RULE mine AS ON INSERT TO ledger.events DO INSTEAD NOTHING",
    "CREATE POLICY mine ON ledger.events USING (false)",
    "ALTER TABLE ledger.events ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE ledger.events OWNER TO CURRENT_USER",
    "ALTER SCHEMA ledger RENAME TO gone",
    "DROP SCHEMA ledger CASCADE",
    "GRANT ledger_owner TO CURRENT_USER",
    "GRANT ledger_redactor TO CURRENT_USER",
    "SET ROLE ledger_owner",
    "SET ROLE ledger_redactor",
    "SET ROLE ledger_admin",
    "SET SESSION AUTHORIZATION ledger_owner",
    "SET SESSION AUTHORIZATION ledger_admin",
    "SET session_replication_role = replica",
    "SELECT set_config('session_replication_role', 'replica', false)",
    "ALTER ROLE ledger_app SUPERUSER",
    "ALTER ROLE ledger_projector CREATEROLE",
    "ALTER ROLE ledger_owner LOGIN",
    "CREATE ROLE mine",
    "ALTER SYSTEM SET fsync = off",
    "SET fsync = off",
    "DROP EXTENSION plpgsql",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION ledger.refuse_change()",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT rolpassword FROM pg_authid",
    "ALTER FUNCTION ledger.redact(text, bigint, text[]) RESET search_path",
    "CREATE OR REPLACE FUNCTION ledger.redact(of_study text, at_idx bigint, keep text[]) RETURNS int "
    "LANGUAGE sql AS 'SELECT 1'",
    "ALTER FUNCTION ledger.redact(text, bigint, text[]) OWNER TO CURRENT_USER",
    "DROP FUNCTION ledger.create_study(text, text)",
    "DELETE FROM migrations.applied",
    "INSERT INTO migrations.applied (name, sha256) VALUES ('9999.sql', '')",
    f"SELECT * FROM {PARTITION}",
    f"INSERT INTO {PARTITION} SELECT * FROM ledger.events",
    f"UPDATE {PARTITION} SET disclosures = '{{}}'",
    f"DELETE FROM {PARTITION}",
    f"TRUNCATE {PARTITION}",
    f"DROP TABLE {PARTITION}",
    f"ALTER TABLE {PARTITION} DISABLE TRIGGER ALL",
]

FORBIDDEN_TO_APP = [
    f"INSERT INTO ledger.studies (study_id, origin) VALUES ('{STUDY}X', 'x')",
    f"INSERT INTO ledger.heads SELECT '{STUDY}X', size, frontier, root, last_recorded_at FROM ledger.heads",
    "CREATE SCHEMA rm_mine",
    "CREATE TABLE public.mine (a int)",
    "SET ROLE ledger_projector",
    "INSERT INTO projection.positions (schema_name, study_id, position) VALUES ('rm_x', 'X', 0)",
    "UPDATE projection.pointers SET version = 1",
    "DELETE FROM projection.definitions",
]

FORBIDDEN_TO_PROJECTOR = [
    "SELECT * FROM ledger.refusals",
    "SELECT * FROM ledger.access_log",
    *(f"INSERT INTO ledger.{table} DEFAULT VALUES" for table in (*SEALED, "heads")),
    "UPDATE ledger.heads SET size = size",
    "SELECT * FROM ledger.heads FOR UPDATE",
    "SELECT ledger.redact('NCT04014166', 0, '{}')",
    "SELECT ledger.create_study('NCT00000000', 'x')",
    "SET ROLE ledger_app",
    "ALTER TABLE projection.pointers ADD COLUMN more text",
    "DROP TABLE projection.pointers",
    "CREATE TABLE projection.mine (a int)",
]

NOT_ALLOWED = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.CantChangeRuntimeParam,  # not without restarting the server, which is not theirs either
)


@pytest.mark.parametrize("statement", FORBIDDEN_TO_ALL + FORBIDDEN_TO_APP)
def test_the_server_may_not(app_role: Conn, statement: str) -> None:
    _refused(app_role, statement)


@pytest.mark.parametrize("statement", FORBIDDEN_TO_ALL + FORBIDDEN_TO_PROJECTOR)
def test_the_projections_may_not(projector_role: Conn, statement: str) -> None:
    _refused(projector_role, statement)


def _refused(connection: Conn, statement: str) -> None:
    with pytest.raises(NOT_ALLOWED):
        connection.execute(statement)


# What the second fence refuses to those whom no privilege stops.
FORBIDDEN_TO_A_SUPERUSER = [
    "DELETE FROM ledger.events",
    "TRUNCATE ledger.events",
    "UPDATE ledger.events SET kid = 'x'",
    "UPDATE ledger.events SET state = 'x', disclosures = '{}'",
    "UPDATE ledger.events SET idx = idx + 100",
    "UPDATE ledger.events SET study_id = 'OTHER-1'",
    "UPDATE ledger.events SET disclosures = disclosures || '{more}'",
    "UPDATE ledger.events SET disclosures = '{altered}'",
    "UPDATE ledger.events SET disclosures = '{NULL}'",
    "UPDATE ledger.events SET disclosures = NULL",
    "INSERT INTO ledger.events TABLE ledger.events ON CONFLICT (study_id, idx) DO UPDATE SET kid = 'x'",
    f"DELETE FROM {PARTITION}",
    f"TRUNCATE {PARTITION}",
    f"UPDATE {PARTITION} SET kid = 'x'",
    f"UPDATE {PARTITION} SET disclosures = '{{altered}}'",
    "UPDATE ledger.heads SET size = 0, last_recorded_at = ''",
    "UPDATE ledger.heads SET size = size + 1",
    "UPDATE ledger.heads SET root = sha256('')",
    "DELETE FROM ledger.heads",
    "TRUNCATE ledger.heads",
    *(f"DELETE FROM ledger.{table}" for table in SEALED),
    *(f"TRUNCATE ledger.{table} CASCADE" for table in SEALED),
    *(f"UPDATE ledger.{table} SET study_id = study_id || ''" for table in SEALED if table != "events"),
]


@pytest.mark.parametrize("replication_role", ["origin", "replica"])
@pytest.mark.parametrize("statement", FORBIDDEN_TO_A_SUPERUSER)
def test_the_triggers_refuse_even_a_superuser(admin_role: Conn, statement: str, replication_role: str) -> None:
    admin_role.execute("SELECT set_config('session_replication_role', %s, false)", [replication_role])
    with pytest.raises(psycopg.errors.RestrictViolation, match="LEDGER-"):
        admin_role.execute(statement)


@pytest.mark.parametrize("right", ["UPDATE", "DELETE", "TRUNCATE", "ALL"])
def test_nobody_can_grant_itself_a_right(app_role: Conn, projector_role: Conn, right: str) -> None:
    for connection in (app_role, projector_role):  # PostgreSQL only warns where some right is held
        with suppress(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"GRANT {right} ON ledger.events TO CURRENT_USER")
        _refused(connection, "UPDATE ledger.events SET disclosures = '{}'")
        _refused(connection, "DELETE FROM ledger.events")


def test_the_projections_own_their_read_models_and_the_server_reads_them(
    projector: Conn, app: Conn, ledger_database: DatabaseUrls
) -> None:
    projector.execute("CREATE SCHEMA rm_patient_v1_0123abcd")
    projector.execute("CREATE TABLE rm_patient_v1_0123abcd.patients (subject uuid PRIMARY KEY)")
    projector.execute(
        "INSERT INTO projection.definitions (name, version, fingerprint, schema_name)"
        " VALUES ('patient', 1, '0123abcd', 'rm_patient_v1_0123abcd')"
    )
    assert app.execute("SELECT count(*) FROM rm_patient_v1_0123abcd.patients").fetchone() == (0,)
    assert app.execute("SELECT name FROM projection.definitions").fetchone() == ("patient",)
    for statement in (
        "DELETE FROM rm_patient_v1_0123abcd.patients",
        "INSERT INTO rm_patient_v1_0123abcd.patients VALUES (gen_random_uuid())",
        "DROP SCHEMA rm_patient_v1_0123abcd CASCADE",
        "CREATE TABLE rm_patient_v1_0123abcd.mine (a int)",
    ):
        _refused(app, statement)
    projector.execute("DROP SCHEMA rm_patient_v1_0123abcd CASCADE")


def test_the_projections_read_the_ledger(app: Conn, projector: Conn) -> None:
    append(app, [event(0)])
    assert [row.idx for row in statements.select_events(projector, STUDY, 0, 9, 9)] == [0]
    assert statements.read_head(projector, STUDY).size == 1


def test_a_search_path_full_of_traps_does_not_mislead_the_privileged_functions(app: Conn) -> None:
    append(app, [event(0)])
    app.execute("CREATE TEMPORARY TABLE studies (study_id text, origin text)")
    app.execute("CREATE TEMPORARY TABLE events (study_id text, idx bigint, disclosures text[])")
    app.execute("CREATE FUNCTION pg_temp.sha256(text) RETURNS bytea LANGUAGE sql AS $$ SELECT 'trap'::bytea $$")
    app.execute("SET search_path = pg_temp, ledger, pg_catalog")
    assert statements.create_study(app, "OTHER-1", "ledger.example/study/OTHER-1")
    assert statements.redact(app, STUDY, 0, []) == 3
    app.execute("RESET search_path")
    assert statements.read_head(app, "OTHER-1").size == 0


def test_a_login_acts_in_the_role_it_was_opened_for_whatever_else_it_could(
    ledger_database: DatabaseUrls, database: Database
) -> None:
    with Database(ledger_database.admin) as as_app, as_app.connection() as connection:
        assert connection.execute("SELECT current_user::text").fetchone() == ("ledger_app",)
        _refused(connection, "UPDATE ledger.events SET disclosures = disclosures")


def test_a_login_that_does_not_have_the_role_is_told_to_get_it(ledger_database: DatabaseUrls) -> None:
    with pytest.raises(DatabaseMisconfigured, match="role"):
        Database(ledger_database.projector).open()


# --- doctor ----------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_sound_database_sound(database: Database, ledger_database: DatabaseUrls) -> None:
    assert check(ledger_database.app) == []


def test_the_doctor_names_a_login_that_could_do_more(database: Database, ledger_database: DatabaseUrls) -> None:
    causes = [problem.cause for problem in check(ledger_database.admin)]
    assert causes == ["ledger_admin is a superuser"]


def test_the_doctor_sees_rights_that_were_added_and_fences_that_were_lowered(
    database: Database, ledger_database: DatabaseUrls, admin: Conn
) -> None:
    admin.execute("GRANT DELETE ON ledger.events TO ledger_app")
    admin.execute("GRANT UPDATE (note) ON ledger.checkpoints TO PUBLIC")
    admin.execute("REVOKE INSERT ON ledger.tiles FROM ledger_app")
    admin.execute(f"ALTER TABLE {PARTITION} DISABLE TRIGGER events_delete")
    admin.execute("DROP TRIGGER heads_update ON ledger.heads")
    found = {problem.rule: problem.cause for problem in check(ledger_database.app)}
    assert found == {
        "The server can add to the ledger and read it.": "it lacks INSERT on tiles",
        "Nobody can change or delete what is recorded.": "the login may UPDATE checkpoints, DELETE events",
        "The triggers that refuse every change are on.": (f"missing or switched off on events_{STUDY}, heads"),
    }


def test_the_doctor_says_what_an_empty_database_lacks(embedded_server: DatabaseUrls) -> None:
    causes = " ".join(problem.cause for problem in check(make_conninfo(embedded_server.app, dbname="postgres")))
    assert "migrations" in causes


def test_the_doctor_says_that_nothing_answers(ledger_database: DatabaseUrls) -> None:
    for url in (
        make_conninfo(ledger_database.app, host="/nowhere"),
        make_conninfo(ledger_database.app, dbname="nowhere"),
        make_conninfo(ledger_database.app, password="wrong"),
        "postgresql://[broken",
    ):
        [problem] = check(url)
        assert problem.rule == "The database answers." and problem.cause and problem.remedy


def test_the_doctor_knows_settings_under_which_events_could_be_lost(
    database: Database, ledger_database: DatabaseUrls, admin: Conn
) -> None:
    admin.execute(f"ALTER DATABASE {admin.info.dbname} SET synchronous_commit = off")
    assert [problem.cause for problem in check(ledger_database.app)] == ["synchronous_commit is off"]


# --- one database for the long tables above: each attempt is refused, so they cannot disturb each other ----


@pytest.fixture(scope="module")
def guarded(embedded_server: DatabaseUrls) -> object:
    """A database with one study, one event and one row of everything else."""
    from tests.conftest import cloned

    with cloned(embedded_server) as urls:
        with psycopg.connect(urls.app, autocommit=True) as connection:
            statements.create_study(connection, STUDY, ORIGIN)
            append(connection, [event(0)])
            connection.execute(
                f"""INSERT INTO ledger.checkpoints VALUES ('{STUDY}', 1, sha256(''), 'note', now());
                INSERT INTO ledger.tiles VALUES ('{STUDY}', 0, 0, decode(repeat('00', 8192), 'hex'),
                    sha256(''));
                INSERT INTO ledger.cosignatures VALUES ('{STUDY}', 1, 'w', 'line', now());
                INSERT INTO ledger.renewed_cosignatures VALUES ('{STUDY}', 1, 'w', 'line', now());
                INSERT INTO ledger.timestamps VALUES ('{STUDY}', 1, 'a', 'token', now(), now());
                INSERT INTO ledger.refusals (study_id, at, rule, status, because, statement, digest)
                    VALUES ('{STUDY}', now(), 'R', 403, '{{}}', '', sha256(''));
                INSERT INTO ledger.access_log (study_id, at, actor, role, action, target, details)
                    VALUES ('{STUDY}', now(), 'a', 'r', 'read', 't', '{{}}')"""
            )
        yield urls


@pytest.fixture
def app_role(guarded: DatabaseUrls) -> object:
    with psycopg.connect(guarded.app, autocommit=True) as connection:
        yield connection


@pytest.fixture
def projector_role(guarded: DatabaseUrls) -> object:
    with psycopg.connect(guarded.projector, autocommit=True) as connection:
        yield connection


@pytest.fixture
def admin_role(guarded: DatabaseUrls) -> object:
    with psycopg.connect(guarded.admin, autocommit=True) as connection:
        yield connection
