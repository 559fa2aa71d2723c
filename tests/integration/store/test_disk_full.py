"""A full disk stops recording with a clear error, loses nothing, and is over when space is free again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from ledger.store import statements
from ledger.store.database import Database
from ledger.store.embedded import EmbeddedPostgres
from ledger.store.errors import DatabaseFull, DatabaseUnavailable
from ledger.store.migrations import migrate
from tests.integration.store.events import ORIGIN, STUDY, event, head_after

VOLUME_MB = 120
PATIENCE_S = 30.0


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small volume")
    volume = tmp_path / "volume"
    volume.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_MB}m,mode=700", "tmpfs", str(volume)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield volume
    deadline = time.monotonic() + PATIENCE_S
    while subprocess.run(["umount", str(volume)], capture_output=True, check=False).returncode != 0:
        assert time.monotonic() < deadline, "something still uses the volume"
        time.sleep(0.05)


def fill(volume: Path) -> Path:
    """Takes all the room that is left."""
    ballast = volume / "ballast"
    with suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return ballast


def append_large(database: Database) -> int:
    """Appends one batch of 1 MB and returns the size that is then acknowledged."""
    with database.connection() as connection:
        size = statements.begin_append(connection, STUDY, []).head.size
        rows = [replace(event(size + i), jwt=os.urandom(5000).hex()) for i in range(100)]
        statements.finish_append(connection, STUDY, rows, head_after(rows))
        return rows[-1].idx + 1


@pytest.fixture
def server(small_volume: Path) -> Iterator[EmbeddedPostgres]:
    """A server on the small volume, with one study."""
    one = EmbeddedPostgres(small_volume / "home")
    urls = one.start()
    migrate(urls.admin)
    with psycopg.connect(urls.app) as connection:
        statements.create_study(connection, STUDY, ORIGIN)
    yield one
    one.stop()


def test_a_full_disk_is_told_loses_nothing_and_passes(small_volume: Path, server: EmbeddedPostgres) -> None:
    with Database(server.start().app) as database:
        acknowledged = append_large(database)
        ballast = fill(small_volume)
        with pytest.raises(DatabaseFull, match="Free space"):
            while True:
                acknowledged = append_large(database)
        with database.connection() as connection:  # reading goes on
            assert statements.read_head(connection, STUDY).size == acknowledged
        with pytest.raises(DatabaseFull):
            append_large(database)

        ballast.unlink()
        assert append_large(database) == acknowledged + 100


def test_a_crash_for_want_of_room_is_over_when_there_is_room(small_volume: Path, server: EmbeddedPostgres) -> None:
    urls = server.start()
    with Database(urls.app) as database:
        acknowledged = append_large(database)
        ballast = fill(small_volume)
        with pytest.raises(psycopg.OperationalError), psycopg.connect(urls.admin, autocommit=True) as admin:
            while True:  # without room for its log PostgreSQL gives up
                admin.execute("SELECT pg_switch_wal()")
                admin.execute("SELECT txid_current()")
        with pytest.raises((DatabaseFull, DatabaseUnavailable)):
            append_large(database)

        ballast.unlink()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                server.ensure_running()
                size = append_large(database)
                break
            except (DatabaseFull, DatabaseUnavailable):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert size == acknowledged + 100


def test_a_start_without_room_says_so_and_works_when_there_is_room(
    small_volume: Path, server: EmbeddedPostgres
) -> None:
    with Database(server.start().app) as database:
        append_large(database)
        os.kill(server.pid, signal.SIGKILL)
        ballast = fill(small_volume)
        while server.pid != 0:
            time.sleep(0.01)
        # It needs a little room to begin with, and takes it from what repairing needs.
        with pytest.raises(DatabaseFull):
            server.ensure_running()
        assert server.pid == 0
        ballast.unlink()
        server.ensure_running()
    with Database(server.start().app) as database:
        assert append_large(database) == 200


def test_a_home_without_room_says_so(small_volume: Path) -> None:
    ballast = fill(small_volume)
    with open(ballast, "r+b") as file:
        file.truncate(ballast.stat().st_size - 5_000_000)
    with pytest.raises(DatabaseFull):
        EmbeddedPostgres(small_volume / "home").start()
    ballast.unlink()
    with EmbeddedPostgres(small_volume / "home"):
        pass
