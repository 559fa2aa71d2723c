"""The database for the whole test suite: one real server per run, one fresh database per test.

- `embedded_server` (session): the embedded PostgreSQL, shared by all workers of pytest-xdist, which join
  the one server as several processes of a user would.
- `ledger_database` (test): the URLs of a new, migrated, empty database on it, one per role; it is dropped
  afterwards. Cloned from a template, which takes some 50 ms.

Nothing here weakens the server: fsync is on, roles and passwords are the real ones. Where there is plenty of
memory the temporary files of a run, some gigabytes, are kept in it (set PYTEST_DEBUG_TEMPROOT to choose
another place): that takes a third of the time, and what only a power failure could show is not tested here.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.store.embedded import DatabaseUrls, EmbeddedPostgres
from ledger.store.locks import FileLock
from ledger.store.migrations import migrate

TEMPLATE = "ledger_template"
TURN_WAIT_S = 60.0

MEMORY = Path("/dev/shm")
PLENTY_BYTES = 6 * 2**30
"""What several runs at once may take, with room to spare."""


def pytest_configure() -> None:
    """Keeps temporary files in memory where there is plenty, and programs may be run from it."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        room = os.statvfs(MEMORY)
        if room.f_bavail * room.f_frsize >= PLENTY_BYTES and not room.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseUrls]:
    """URLs of the run's server; the database that they name is empty and not migrated."""
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-home"
    server = EmbeddedPostgres(home)
    urls = server.start()
    with FileLock(home / "template.lock") as turn:
        assert turn.wait_exclusive(TURN_WAIT_S)
        _make_template(urls)
    yield urls
    server.stop()
    if not server.pid:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def ledger_database(embedded_server: DatabaseUrls) -> Iterator[DatabaseUrls]:
    """URLs of a database that has the ledger's schema and nothing else."""
    with cloned(embedded_server) as urls:
        yield urls


@pytest.fixture
def embedded_home(tmp_path: Path) -> Path:
    """A home for a test that starts a server of its own."""
    return tmp_path / "home"


@contextmanager
def cloned(server: DatabaseUrls) -> Iterator[DatabaseUrls]:
    """A new migrated database on the run's server while the context lasts."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.admin, autocommit=True) as admin:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
        # A clone has its template's contents but not the rights on the database itself.
        grant = sql.SQL("GRANT CREATE ON DATABASE {} TO ledger_projector")
        admin.execute(grant.format(sql.Identifier(name)))
    try:
        yield urls_of(server, name)
    finally:
        with psycopg.connect(server.admin, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def urls_of(urls: DatabaseUrls, database: str) -> DatabaseUrls:
    """The same logins on another database of the same server."""
    return DatabaseUrls(
        app=make_conninfo(urls.app, dbname=database),
        projector=make_conninfo(urls.projector, dbname=database),
        admin=make_conninfo(urls.admin, dbname=database),
    )


def _make_template(urls: DatabaseUrls) -> None:
    with psycopg.connect(urls.admin, autocommit=True) as admin:
        found = admin.execute("SELECT datistemplate FROM pg_database WHERE datname = %s", [TEMPLATE]).fetchone()
        if found == (True,):
            return
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(TEMPLATE)))
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        migrate(urls_of(urls, TEMPLATE).admin)
        finish = sql.SQL("ALTER DATABASE {} IS_TEMPLATE true ALLOW_CONNECTIONS false")
        admin.execute(finish.format(sql.Identifier(TEMPLATE)))
