"""Brings a database to the schema of this release.

Rules: migrations are applied in the order of their names, all in one transaction, each once; an applied
one is never edited (its digest is kept and compared); older code refuses a newer database. Processes
that start together wait for each other. It works on PostgreSQL 15 or later, as a superuser or as an
owner of the database with CREATEROLE.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg
from psycopg import Connection

from ledger.store.errors import (
    MigrationChanged,
    PostgresTooOld,
    SchemaNewerThanCode,
    SchemaOlderThanCode,
    translated,
)
from ledger.store.sql import SQL, Migration, migrations
from ledger.store.urls import connection_string

OLDEST_POSTGRES = 150000
"""PostgreSQL 15 as `server_version_num`: what the newest Debian stable of 2023 has; older ones lack
rights on parameters and do not copy ENABLE ALWAYS to partitions."""

CONNECT_TIMEOUT_S = 10
"""Long enough for a server across a slow network, short enough to tell that there is none."""

LOCK_WAIT_S = 120
"""A migration waits this long for other processes before it gives up."""

CATALOG_RACES = ("XX000", "23505", "42710")
"""Roles belong to the cluster, so two databases migrated at once may meet there: "tuple concurrently
updated", a unique violation, a duplicate object. The transaction is then simply run again."""

ATTEMPTS = 8
"""More databases than this are not migrated at one moment."""


def migrate(admin_url: str) -> list[str]:
    """Applies what is missing and returns the names of what it applied; an empty list when nothing was.

    Raises PostgresTooOld, MigrationChanged, SchemaNewerThanCode, and the store's other errors.
    """
    url = connection_string(admin_url, connect_timeout=CONNECT_TIMEOUT_S, application_name="trial-ledger migrate")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with translated(), psycopg.connect(url) as connection:
                require_version(connection.info.server_version)
                return _apply(connection, migrations())
        except psycopg.Error as error:
            if error.sqlstate not in CATALOG_RACES or attempt == ATTEMPTS:
                raise
            time.sleep(0.05 * attempt)
    raise AssertionError("the last attempt either returns or raises")


def require_version(server_version: int) -> None:
    """Raises PostgresTooOld for a server (its `server_version_num`) before PostgreSQL 15."""
    if server_version < OLDEST_POSTGRES:
        raise PostgresTooOld(f"this server is version {server_version // 10000}.{server_version % 10000}")


def require_schema(connection: Connection[tuple[object, ...]]) -> None:
    """Raises SchemaOlderThanCode, SchemaNewerThanCode or MigrationChanged unless the database has
    exactly this release's migrations."""
    missing = _missing(connection, migrations())
    if missing:
        raise SchemaOlderThanCode("missing: " + ", ".join(one.name for one in missing))


def _apply(connection: Connection[tuple[object, ...]], wanted: Sequence[Migration]) -> list[str]:
    connection.execute(SQL["lock_wait"], {"milliseconds": str(LOCK_WAIT_S * 1000)})
    connection.execute(SQL["lock_migrations"])
    connection.execute(SQL["create_migration_table"])
    missing = _missing(connection, wanted)
    for one in missing:
        connection.execute(one.text)
        connection.execute(SQL["note_migration"], {"name": one.name, "sha256": one.sha256})
    return [one.name for one in missing]


def _missing(connection: Connection[tuple[object, ...]], wanted: Sequence[Migration]) -> list[Migration]:
    applied = {str(name): str(sha256) for name, sha256 in connection.execute(SQL["applied_migrations"])}
    unknown = sorted(applied.keys() - {one.name for one in wanted})
    if unknown:
        raise SchemaNewerThanCode("this release does not know " + ", ".join(unknown))
    changed = [one.name for one in wanted if applied.get(one.name, one.sha256) != one.sha256]
    if changed:
        raise MigrationChanged("changed: " + ", ".join(changed))
    return [one for one in wanted if one.name not in applied]
