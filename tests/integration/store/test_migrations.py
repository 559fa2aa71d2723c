"""The schema comes about in one way, on every PostgreSQL, however many start at once."""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.store import statements
from ledger.store.database import Database
from ledger.store.embedded import DatabaseUrls
from ledger.store.errors import (
    DatabaseMisconfigured,
    MigrationChanged,
    PostgresTooOld,
    SchemaNewerThanCode,
    SchemaOlderThanCode,
)
from ledger.store.migrations import migrate, require_version
from ledger.store.roles import check
from ledger.store.sql import SQL, migrations, parse
from tests.conftest import urls_of
from tests.integration.store.events import ORIGIN, STUDY, append, event

DESCRIPTION = Path(__file__).with_name("schema.txt")
NAMES = [one.name for one in migrations()]


@pytest.fixture
def empty_database(embedded_server: DatabaseUrls) -> Iterator[DatabaseUrls]:
    """A database on the run's server that has nothing yet."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(embedded_server.admin, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield urls_of(embedded_server, name)
    with psycopg.connect(embedded_server.admin, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def described(admin_url: str) -> str:
    """Every table, column, constraint, index, trigger, function and right, one per line."""
    with psycopg.connect(admin_url) as connection:
        statements.create_study(connection, STUDY, ORIGIN)
        text = Path(__file__).with_name("describe.sql").read_text(encoding="utf-8")
        return "".join(f"{line}\n" for (line,) in connection.execute(text))


def test_all_migrations_are_applied_in_order_and_once(empty_database: DatabaseUrls) -> None:
    assert migrate(empty_database.admin) == NAMES
    assert migrate(empty_database.admin) == []


def test_the_schema_is_the_one_that_was_reviewed(ledger_database: DatabaseUrls) -> None:
    # A new migration changes this file: read the difference as a reviewer of rights would.
    assert described(ledger_database.admin) == DESCRIPTION.read_text(encoding="utf-8")


def test_another_postgresql_gets_the_same_schema(other_database: str) -> None:
    migrate(other_database)
    assert described(other_database) == DESCRIPTION.read_text(encoding="utf-8")


def test_four_processes_that_start_at_once_migrate_once(empty_database: DatabaseUrls) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        applied = pool.map(migrate, [empty_database.admin] * 4, chunksize=1)
    assert sorted(applied) == [[], [], [], NAMES]


def test_databases_of_one_server_can_be_migrated_at_once(embedded_server: DatabaseUrls) -> None:
    names = [f"test_{uuid.uuid4().hex}" for _ in range(4)]
    with psycopg.connect(embedded_server.admin, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            urls = [urls_of(embedded_server, name).admin for name in names]
            assert pool.map(migrate, urls, chunksize=1) == [NAMES] * 4
        for name in names:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_an_edited_migration_is_refused_by_everyone(ledger_database: DatabaseUrls) -> None:
    with psycopg.connect(ledger_database.admin, autocommit=True) as admin:
        admin.execute("UPDATE migrations.applied SET sha256 = 'other' WHERE name = %s", [NAMES[1]])
    with pytest.raises(MigrationChanged, match=NAMES[1]):
        migrate(ledger_database.admin)
    with pytest.raises(MigrationChanged):
        Database(ledger_database.app).open()


def test_a_database_from_a_newer_release_is_refused(ledger_database: DatabaseUrls) -> None:
    with psycopg.connect(ledger_database.admin, autocommit=True) as admin:
        admin.execute("INSERT INTO migrations.applied (name, sha256) VALUES ('9999_later.sql', 'x')")
    with pytest.raises(SchemaNewerThanCode, match="9999_later"):
        migrate(ledger_database.admin)
    with pytest.raises(SchemaNewerThanCode):
        Database(ledger_database.app).open()


def test_a_server_that_was_not_migrated_is_refused(ledger_database: DatabaseUrls, empty_database: DatabaseUrls) -> None:
    with psycopg.connect(ledger_database.admin, autocommit=True) as admin:
        admin.execute("DELETE FROM migrations.applied WHERE name = %s", [NAMES[-1]])
    with pytest.raises(SchemaOlderThanCode, match=NAMES[-1]):
        Database(ledger_database.app).open()
    with pytest.raises(DatabaseMisconfigured, match=r"migrations\.applied"):
        Database(empty_database.app).open()


@pytest.mark.parametrize("version", [140011, 130000, 90624])
def test_a_postgresql_before_15_is_refused(version: int) -> None:
    with pytest.raises(PostgresTooOld, match=str(version // 10000)):
        require_version(version)
    require_version(150000)


def test_a_failed_migration_leaves_nothing_behind(empty_database: DatabaseUrls) -> None:
    with psycopg.connect(empty_database.admin, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA projection")  # in the way of the last migration
        with pytest.raises(psycopg.errors.DuplicateSchema):
            migrate(empty_database.admin)
        assert admin.execute("SELECT to_regclass('ledger.events'), to_regclass('migrations.applied')").fetchone() == (
            None,
            None,
        )
        admin.execute("DROP SCHEMA projection")
    assert migrate(empty_database.admin) == NAMES


def test_the_server_and_the_projections_cannot_migrate(empty_database: DatabaseUrls) -> None:
    for url in (empty_database.app, empty_database.projector):
        with pytest.raises(DatabaseMisconfigured):
            migrate(url)
    for url in ("postgresql://[broken", make_conninfo(empty_database.admin, dbname="nowhere")):
        with pytest.raises(DatabaseMisconfigured):
            migrate(url)


@pytest.mark.parametrize("server", ["other_server", "embedded_server"])
def test_an_administrator_need_not_be_a_superuser(server: str, request: pytest.FixtureRequest) -> None:
    # The owner of a database with the right to create roles, as hosted servers give it; and logins of the
    # site's own that are granted the ledger's roles, as deployments have them.
    found = request.getfixturevalue(server)
    superuser_url = found.admin if isinstance(found, DatabaseUrls) else found
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        logins = _make_logins(superuser, name)
        urls = {login: make_conninfo(superuser_url, dbname=name, user=login, password=name) for login in logins}
        admin, app, projector = logins
        try:
            superuser.execute(_sql("CREATE DATABASE {} OWNER {}", name, admin))
            assert migrate(urls[admin]) == NAMES
            superuser.execute(_sql("GRANT ledger_app TO {}", app))
            superuser.execute(_sql("GRANT ledger_projector TO {}", projector))
            assert check(urls[app]) == []
            _use(urls[app], urls[projector])
        finally:
            superuser.execute(_sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))


def _make_logins(superuser: psycopg.Connection[Any], name: str) -> list[str]:
    logins = [f"{name}_{part}" for part in ("admin", "app", "projector")]
    for login in logins:
        superuser.execute(_sql("CREATE ROLE {} LOGIN PASSWORD ", login) + sql.Literal(name))
    superuser.execute(_sql("ALTER ROLE {} CREATEROLE", logins[0]))
    for (role,) in superuser.execute(SQL["existing_roles"]).fetchall():  # made before by somebody else
        superuser.execute(_sql("GRANT {} TO {} WITH ADMIN OPTION", role, logins[0]))
    return logins


def _use(app_url: str, projector_url: str) -> None:
    with (
        Database(app_url) as server,
        Database(projector_url, role="ledger_projector") as projections,
        server.connection() as app,
        projections.connection() as projector,
    ):
        statements.create_study(app, STUDY, ORIGIN)
        append(app, [event(0), event(1)])
        assert statements.redact(app, STUDY, 1, []) == 3
        projector.execute("CREATE SCHEMA rm_x")
        projector.execute("CREATE TABLE rm_x.y (z int)")
        assert app.execute("SELECT count(*) FROM rm_x.y").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("DELETE FROM ledger.events")


def _sql(template: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(template).format(*map(sql.Identifier, names))


# --- the statements' file ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "SELECT 1\n-- a --\n-- Does it.\nSELECT 1",
        "-- a --\n-- Does it.\nSELECT 1\n-- a --\n-- Again.\nSELECT 2",
        "-- a --\nSELECT 1",
        "-- a --\n-- Does nothing.\n",
        "-- a --\n",
    ],
)
def test_a_statement_without_name_sentence_or_text_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"queries\.sql"):
        parse(source)


def test_every_statement_is_accepted_by_the_database(ledger_database: DatabaseUrls) -> None:
    with psycopg.connect(ledger_database.admin, autocommit=True) as admin:
        admin.execute(SQL["create_signer_store"])  # elsewhere in truth, and no migration's
        for name, text in SQL.items():
            if text.startswith(("SELECT", "INSERT", "UPDATE")):
                parameters = dict.fromkeys(_parameters(text))
                plan = admin.execute("EXPLAIN " + text, parameters).fetchall()
                assert plan, name


def _parameters(text: str) -> set[str]:
    return {piece.partition(")")[0] for piece in text.split("%(")[1:]}
