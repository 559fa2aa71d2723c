"""PostgreSQL without an administrator: made, started, shared and stopped by those who use it.

One server per home. Any number of processes may use it at once: the first starts it, the others join,
the last one's end stops it, also when that end is kill -9 (see `watchdog.py`). Rules:

- what is acknowledged is durable: fsync, full page writes and synchronous commit are on, pages have
  checksums;
- it listens on no network address; its socket is in a private folder; every login, the administrator's
  too, needs a random password that is kept in a file of the home which only its owner reads;
- a start that was interrupted is simply begun again, a crash repaired at the next start;
- locks are the kernel's and so never stale: `start.lock` while somebody starts or stops the server,
  `users.lock` shared by whoever uses it, `data.lock` by the processes of the server itself.

Under which account and from which folders it runs: `hosting.py`. Its files: `datafolder.py`. Linux and
macOS; elsewhere set TRIAL_LEDGER_DATABASE_URL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from ledger.store import watchdog
from ledger.store.datafolder import DataFolder, login_url, misfortune, prepare
from ledger.store.errors import DatabaseUnavailable
from ledger.store.hosting import (
    PORT,
    Account,
    Place,
    account_for,
    data_argument,
    environment,
    identity,
    place_for,
    remove_temporary,
)
from ledger.store.locks import FileLock

SETTINGS = {
    # What is acknowledged is on disk.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Nobody but this machine's user reaches it.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "port": str(PORT),
    # Times are UTC; error reports do not quote rows, which may hold data about persons.
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # A guest on somebody's laptop: modest memory, few processes, no compilation of queries.
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "dynamic_shared_memory_type": "mmap",  # in the data folder: nothing outside is left over by kill -9
    "io_method": "sync",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_locks_per_transaction": "256",  # a statement over all studies locks every partition and its indexes
}

START_WAIT_S = 600.0
"""Recovery after a crash replays at most about 1 GB of log, which a slow disk does in minutes."""

ENDING_WAIT_S = sum(seconds for _, seconds in watchdog.STOP_STEPS)
"""As long as the watchdog may take to stop the server."""

TURN_WAIT_S = START_WAIT_S + ENDING_WAIT_S
"""Longer than another process can take to start or stop the server."""

WATCHDOG_WAIT_S = 5.0
"""A watchdog that has not begun to stop an unused server by then is not there."""

NOTICE_AFTER_S = 2.0
"""Anything that takes longer than this says what it is doing."""

MAX_LOG_BYTES = 10_000_000
"""A longer log is set aside at the next start; one old one is kept."""

POLL_S = 0.005

_outlived_us: list[subprocess.Popen[bytes]] = []
"""Watchdogs that go on for others. Kept, because a child process that is forgotten while it runs is reported
as a mistake (ResourceWarning)."""


@dataclass(frozen=True)
class DatabaseUrls:
    """Connection strings (libpq) for the server, the projections and the administrator. They hold
    passwords, so they are not shown."""

    app: str = field(repr=False)
    projector: str = field(repr=False)
    admin: str = field(repr=False)


class EmbeddedPostgres:
    """The server of one home. `start` makes or joins it; `stop`, or the process's end, leaves it. All
    methods may be called from any thread."""

    def __init__(self, home: Path, progress: Callable[[str], None] = lambda message: None) -> None:
        self._folder = DataFolder(home)
        self._progress = progress
        self._turn = threading.RLock()
        self._use: FileLock | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> DatabaseUrls:
        """Returns once the server takes connections; harmless to repeat. Tables are made by `migrate`.

        Raises DatabaseFull, DatabaseMisconfigured, or DatabaseUnavailable with the server's own words.
        """
        with self._turn:
            try:
                self._folder.make()
                with self._folder.lock("start") as turn:
                    if not turn.wait_exclusive(TURN_WAIT_S):
                        raise DatabaseUnavailable("another process has been starting or stopping it for too long")
                    joined_before = self._use is not None
                    try:
                        return self._start()
                    except BaseException:
                        if not joined_before:
                            self._leave()
                        raise
            except OSError as error:
                raise misfortune(f"error: {error}") from error

    def stop(self) -> None:
        """Leaves the server. The last to leave waits until it has ended; while others use it, it goes on.
        Harmless to repeat."""
        with self._turn:
            if self._use is None:
                return
            try:
                with self._folder.lock("start") as turn:
                    turn.wait_exclusive(TURN_WAIT_S)
                    self._leave()
            except FileNotFoundError:  # the home was removed meanwhile: the watchdog stops what still runs
                self._use, use = None, self._use
                if use is not None:
                    use.close()

    def ensure_running(self) -> None:
        """Starts the server again if it has died while we use it; cheap when it has not. The connection
        strings stay as they are. Raises as `start`."""
        with self._turn:
            if self._watchdog is not None:
                self._watchdog.poll()  # lets a watchdog that has ended go
            if self._use is None or not self._folder.pid():
                self.start()

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._folder.pid()

    def __enter__(self) -> DatabaseUrls:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- one process at a time: everything below runs under start.lock -----------------------------------

    def _start(self) -> DatabaseUrls:
        if self._use is None:
            self._use = self._folder.lock("users")
            if not self._use.wait_shared(TURN_WAIT_S):  # a server that is being stopped is waited for
                raise DatabaseUnavailable("the server is being stopped and does not end")
        account = account_for(self._folder.data)
        place = place_for(self._folder.path, account)
        passwords = self._folder.passwords()
        if not self._folder.data.exists():
            self._progress("Making a database.")
            self._folder.create(account, place, passwords["admin"])
        self._folder.require_version()
        if self._watchdog is not None and self._watchdog.poll() is not None:
            self._watchdog = None
        stale = ""
        if not self._joinable(place):
            stale = self._folder.pid_file()
            self._launch(account, place)
        self._wait_until_ready(stale)
        prepare(place, passwords)
        return DatabaseUrls(**{login: login_url(place, login, word) for login, word in passwords.items()})

    def _joinable(self, place: Place) -> bool:
        """Whether a server runs that can be joined. The remaining processes of a dead one are waited for."""
        deadline = time.monotonic() + ENDING_WAIT_S
        while not self._folder.is_free():
            if pid := self._folder.pid():
                if (place.socket / f".s.PGSQL.{PORT}").exists() or not self._folder.is_ready():
                    return True
                os.kill(pid, signal.SIGINT)  # its socket was swept away with old temporary files
            if time.monotonic() > deadline:
                raise DatabaseUnavailable("processes of an earlier server still use the data and do not end")
            time.sleep(POLL_S)
        return False

    def _launch(self, account: Account | None, place: Place) -> None:
        quoted = str(place.socket).replace('"', '""')
        settings = {**SETTINGS, "unix_socket_directories": f'"{quoted}"'}
        order = {
            "command": [
                str(place.programs / "postgres"),
                *("-D", data_argument(self._folder.data, account)),
                *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            ],
            "cwd": str(self._folder.data),
            "env": environment(),
            "identity": identity(account),
            "users_lock": str(self._folder.path / "users.lock"),
            "data_lock": str(self._folder.path / "data.lock"),
            "temporary": [str(place.temporary)] if place.temporary else [],
        }
        self._progress("Starting PostgreSQL.")
        log = self._folder.log
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            self._log_start = output.seek(0, os.SEEK_END)
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__, json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=environment(),
                start_new_session=True,  # the terminal's Ctrl-C is for us, not for the server
            )

    def _wait_until_ready(self, stale: str) -> None:
        """Waits for the server's own word."""
        began = time.monotonic()
        told = False
        while not self._folder.is_ready(stale):
            if self._watchdog is not None and self._watchdog.poll() is not None:
                self._watchdog = None
                raise self._folder.why(self._log_start)
            if self._watchdog is None and self._folder.is_free():
                raise DatabaseUnavailable("the server that was to be joined has ended")
            elapsed = time.monotonic() - began
            if elapsed > START_WAIT_S:
                raise DatabaseUnavailable(f"it did not start within {START_WAIT_S:.0f} seconds")
            if elapsed > NOTICE_AFTER_S and not told:
                told = True
                self._progress("PostgreSQL is repairing its files after it was interrupted.")
            time.sleep(POLL_S)

    def _leave(self) -> None:
        use, self._use = self._use, None
        if use is None:
            return
        if not use.try_exclusive() and use.try_shared():
            use.close()  # others go on using it
            if self._watchdog is not None:
                _outlived_us.append(self._watchdog)
            return
        use.close()  # now, or already, the watchdog has the lock and stops the server
        began = time.monotonic()
        while not self._folder.is_free() and time.monotonic() < began + ENDING_WAIT_S:
            if time.monotonic() > began + WATCHDOG_WAIT_S:
                self._stop_without_watchdog()
            time.sleep(POLL_S)
        with self._folder.lock("users") as cleaned:
            cleaned.wait_shared(ENDING_WAIT_S)  # the watchdog holds it until the temporary folders are gone
        if self._watchdog is not None:
            self._watchdog.wait()
        remove_temporary(self._folder.path)  # still there when the server had crashed

    def _stop_without_watchdog(self) -> None:
        with self._folder.lock("users") as nobody:
            if nobody.try_exclusive() and (pid := self._folder.pid()):
                os.kill(pid, signal.SIGINT)
