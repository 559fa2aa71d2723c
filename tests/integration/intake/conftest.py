"""A ledger without a study, on a database of its own; whatever was imported is checked afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.application import Ledger
from ledger.settings import Settings
from ledger.store.embedded import DatabaseUrls
from tests.scenario.checker import check_everything


@pytest.fixture
def settings(tmp_path: Path, ledger_database: DatabaseUrls) -> Settings:
    """An installation of its own on the run's server."""
    return Settings(tmp_path / "home", ledger_database.app, None, ledger_database.projector)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    """The open Ledger; the universal checker looks at every study in it when the test is over."""
    with Ledger(settings) as opened:
        yield opened
        check_everything(opened)
