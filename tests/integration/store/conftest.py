"""A study that is open and empty, and connections to it in each role."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from ledger.store.database import Conn, Database
from ledger.store.embedded import DatabaseUrls
from ledger.store.statements import create_study
from tests.integration.store.events import ORIGIN, STUDY


@pytest.fixture
def database(ledger_database: DatabaseUrls) -> Iterator[Database]:
    """The database as the server sees it, with one open and empty study."""
    with Database(ledger_database.app) as opened:
        with opened.connection() as connection:
            create_study(connection, STUDY, ORIGIN)
        yield opened


@pytest.fixture
def app(database: Database) -> Iterator[Conn]:
    """The server's own connection, in the role ledger_app."""
    with database.dedicated() as connection:
        yield connection


@pytest.fixture
def projector(database: Database, ledger_database: DatabaseUrls) -> Iterator[Conn]:
    """The projections' connection, in the role ledger_projector."""
    with psycopg.connect(ledger_database.projector, autocommit=True) as connection:
        yield connection


@pytest.fixture
def admin(database: Database, ledger_database: DatabaseUrls) -> Iterator[Conn]:
    """The administrator's connection, a superuser."""
    with psycopg.connect(ledger_database.admin, autocommit=True) as connection:
        yield connection
