"""The follower as a process: `python -m projections.engine.follow`.

Reads TRIAL_LEDGER_PROJECTOR_URL (libpq; the projector's login). Ends with status 0 on SIGTERM, SIGINT, or when
its standard input comes to its end, so that it never outlives whoever started it; 1 when it cannot begin. It may be
killed at any moment, and several may run: see `runner`. Log lines are JSON on standard error.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from datetime import UTC, datetime

import msgspec

from ledger.store.database import PROJECTOR, Database
from ledger.store.errors import StoreError
from projections.definitions import known_models
from projections.engine.collector import collecting_rarely
from projections.engine.errors import DefinitionChanged
from projections.engine.runner import RETRY_S, Runner
from projections.engine.starting import check_definitions

STANDARD_INPUT = 0
URL_VARIABLE = "TRIAL_LEDGER_PROJECTOR_URL"


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


PATIENCE_S = 300.0
"""A batch is folded inside its transaction, which holds nothing but its own positions. On a machine so busy that this
takes longer than others may dawdle, it would otherwise be broken off and begun again for ever."""

NICENESS = 5
"""What is followed can wait a moment; what is being appended is waited for."""


def main() -> int:
    """Follow until told to stop; the exit status."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    log = logging.getLogger("projections")
    url = os.environ.get(URL_VARIABLE)
    if not url:
        log.error("%s is not set: give the connection string of the projector's login", URL_VARIABLE)
        return 1
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    database = _opened(url, stop, log)
    if database is None:
        return 0 if stop.is_set() else 1
    try:
        with database.connection() as connection:
            check_definitions(connection)
        log.info("following")
        with collecting_rarely():
            Runner(database, known_models()).run(stop)
    except DefinitionChanged as refusal:
        log.error("%s %s. %s", refusal.title, refusal.because, refusal.remedy)
        return 1
    finally:
        database.close()
    return 0


def _opened(url: str, stop: threading.Event, log: logging.Logger) -> Database | None:
    """The database, waited for while it is away."""
    database = Database(
        url,
        role=PROJECTOR,
        name="trial-ledger-follow",
        min_connections=1,
        max_connections=2,
        idle_in_transaction_timeout_s=PATIENCE_S,
    )
    while not stop.is_set():
        try:
            return database.open()
        except StoreError as error:
            log.warning("the database cannot be used yet: %s", error)
            stop.wait(RETRY_S)
    return None


def _stop_at_end_of_input(stop: threading.Event) -> None:
    # Not sys.stdin: its lock, held by a thread that waits, makes the interpreter abort when it ends.
    try:
        while os.read(STANDARD_INPUT, 4096):
            pass
    except OSError:
        return  # it was started without one: only a signal ends it
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
