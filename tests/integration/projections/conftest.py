"""A ledger to write, a follower to bring its projections forward, readers to look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.store.database import PROJECTOR, Database
from ledger.store.embedded import DatabaseUrls
from projections.definitions import read_models
from projections.engine.reading import Reader, open_reader
from projections.engine.runner import Runner
from tests.integration.projections.book import Book

NOW = datetime(2030, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def database(ledger_database: DatabaseUrls) -> Iterator[Database]:
    """The ledger as the server sees it."""
    with Database(ledger_database.app, max_connections=4) as opened:
        yield opened


@pytest.fixture
def projector(ledger_database: DatabaseUrls) -> Iterator[Database]:
    """The ledger as the follower sees it."""
    with Database(ledger_database.projector, role=PROJECTOR, max_connections=4) as opened:
        yield opened


@pytest.fixture
def book(database: Database) -> Book:
    """A study that was opened."""
    made = Book(database)
    made.open()
    return made


@pytest.fixture
def follow(projector: Database) -> Callable[[], int]:
    """Takes in what is signed."""
    runner = Runner(projector, read_models())
    return runner.catch_up


Read = Callable[..., AbstractContextManager[Reader]]


@pytest.fixture
def read(database: Database) -> Read:
    """Opens readers of the study of `book`."""

    def opened(name: str, study: str = "TRIAL-1", **asked: Any) -> AbstractContextManager[Reader]:
        return open_reader(database, study, name, **{"as_of": None, "wait_for": None, "now": NOW, **asked})

    return opened
