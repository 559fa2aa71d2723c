"""The follower as a process: it follows, ends when its starter is gone, and may be killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ledger.store.database import Database
from ledger.store.embedded import DatabaseUrls
from projections.definitions import read_models
from projections.engine.runner import Runner
from tests.integration.projections.book import Book
from tests.integration.projections.course import write
from tests.integration.projections.test_following import digests, forget, positions

PATIENCE_S = 60.0


@contextmanager
def follower(urls: DatabaseUrls) -> Iterator[subprocess.Popen[bytes]]:
    """A follower of this database."""
    process = subprocess.Popen(
        [sys.executable, "-m", "projections.engine.follow"],
        env={**os.environ, "TRIAL_LEDGER_PROJECTOR_URL": urls.projector},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stderr):
            if pipe is not None:
                pipe.close()


def until(true: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


def test_it_follows_what_is_signed_and_ends_with_its_standard_input(
    book: Book, projector: Database, ledger_database: DatabaseUrls
) -> None:
    book.sign()
    with follower(ledger_database) as process:
        until(lambda: positions(projector) == {book.size})
        write(book)
        until(lambda: positions(projector) == {book.size})
        assert process.stdin is not None and process.stderr is not None
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
        first = json.loads(process.stderr.readline())
        process.stdin = None
    assert (first["message"], first["level"]) == ("following", "info")


def test_it_ends_when_it_is_asked_to(book: Book, projector: Database, ledger_database: DatabaseUrls) -> None:
    book.sign()
    with follower(ledger_database) as process:
        until(lambda: positions(projector) == {book.size})
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_without_a_database_url_it_says_what_to_set() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRIAL_LEDGER_")}
    done = subprocess.run(
        [sys.executable, "-m", "projections.engine.follow"], env=clean, stdin=subprocess.DEVNULL, capture_output=True
    )
    assert done.returncode == 1
    assert "TRIAL_LEDGER_PROJECTOR_URL is not set" in json.loads(done.stderr)["message"]


@pytest.mark.parametrize("pair", [False, True], ids=["one", "two at once"])
def test_killed_at_random_moments_it_ends_where_an_undisturbed_one_ends(
    book: Book, projector: Database, ledger_database: DatabaseUrls, pair: bool
) -> None:
    book.sign()
    kills = 0
    for number in range(3):
        with follower(ledger_database) as process:
            if pair:
                with follower(ledger_database) as other:
                    _tell_some(book, number)
                    _kill(other, 0.7)
            else:
                _tell_some(book, number)
            kills += _kill(process, 0.4 + 0.3 * number)
    assert kills == 3
    write(book)
    with follower(ledger_database):
        until(lambda: positions(projector) == {book.size})
    followed = digests(projector)
    forget(projector)
    Runner(projector, read_models()).catch_up()
    assert digests(projector) == followed


def _tell_some(book: Book, number: int) -> None:
    for place in range(40):
        book.tell("VisitRecorded", number, visit=f"V{place}")
        if place % 8 == 7:
            book.sign()


def _kill(process: subprocess.Popen[bytes], after_s: float) -> bool:
    time.sleep(after_s)
    running = process.poll() is None
    process.kill()
    process.wait()
    return running
