"""The embedded server's files: made once, complete or not at all, and what they tell about the server.

Below `<home>/postgres`: `data/` (the server's own), `passwords.json` (only its owner reads it),
`postgres.log`, the lock files, `socket/` or the note of a temporary folder (`hosting.py`).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from ledger.store.errors import (
    DatabaseFull,
    DatabaseMisconfigured,
    DatabaseUnavailable,
    StoreError,
    translated,
)
from ledger.store.hosting import (
    MAJOR_VERSION,
    PORT,
    Account,
    Place,
    data_argument,
    environment,
    identity,
    sync_folder,
    write_private,
)
from ledger.store.locks import FileLock
from ledger.store.sql import SQL

DATABASE = "ledger"
LOGINS = {"admin": "ledger_admin", "app": "ledger_app", "projector": "ledger_projector"}

PASSWORD_BYTES = 32
"""Random bytes of a password: beyond guessing."""

ACCESS_RULES = "# Every login needs its password; there is no access over the network.\nlocal all all scram-sha-256\n"

LOG_TAIL_BYTES = 4_000
"""How much of the server's log is read to say why it did not start."""

LEAST_ROOM_BYTES = 1_000_000
"""With less than this a server that did not start had no room to."""

CREATE_WAIT_S = 300.0
"""`initdb` takes half a second; a very slow disk may need minutes."""


class DataFolder:
    """`<home>/postgres` and what is in it."""

    def __init__(self, home: Path) -> None:
        self.path = Path(home).absolute() / "postgres"
        self.data = self.path / "data"
        self.log = self.path / "postgres.log"

    def make(self) -> None:
        """Makes the folder itself, private; parents as the system's default has them."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.is_symlink() or self.path.stat().st_uid != os.geteuid():
            raise DatabaseMisconfigured(f"{self.path} belongs to another user; start as that user")

    def lock(self, name: str) -> FileLock:
        """One of the folder's lock files: `start`, `users` or `data`."""
        return FileLock(self.path / f"{name}.lock")

    def passwords(self) -> dict[str, str]:
        """The passwords by the keys of LOGINS; made before the data is."""
        path = self.path / "passwords.json"
        if path.exists():
            try:
                known = json.loads(path.read_text(encoding="utf-8"))
                return {login: str(known[login]) for login in LOGINS}
            except (ValueError, KeyError, TypeError) as error:
                raise DatabaseMisconfigured(f"{path} is damaged; restore it from the backup of the home") from error
        if self.data.exists():
            raise DatabaseMisconfigured(f"{path} is missing; restore it from the backup of the home")
        passwords = {login: secrets.token_urlsafe(PASSWORD_BYTES) for login in LOGINS}
        write_private(path, json.dumps(passwords))
        return passwords

    def create(self, account: Account | None, place: Place, password: str) -> None:
        """Makes the data beside its final name and moves it there when it is complete and on disk."""
        for unfinished in self.path.glob("new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="new-", dir=self.path))
        descriptor, word = tempfile.mkstemp(dir=place.socket)  # where the account can read it, nobody else
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(password)
            for each in (new, word):
                if account is not None:
                    os.chown(each, account.uid, account.gid)
            made = _initdb(new, account, place, word)
            if made.returncode != 0:
                raise misfortune(made.stderr)
            (new / "pg_hba.conf").write_text(ACCESS_RULES, encoding="ascii")
            sync_folder(new)
            new.rename(self.data)
            sync_folder(self.path)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        finally:
            Path(word).unlink(missing_ok=True)

    def require_version(self) -> None:
        """Raises DatabaseMisconfigured for data of another major version than the installed server's."""
        version = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        if version != MAJOR_VERSION:
            raise DatabaseMisconfigured(
                f"{self.data} was made by PostgreSQL {version}, and {MAJOR_VERSION} is installed; install the"
                " release that made it, or move the data with pg_dump"
            )

    def is_free(self) -> bool:
        """Whether no process of any server uses the data: they all hold its lock."""
        with self.lock("data") as glance:
            return glance.try_shared()

    def pid(self) -> int:
        """The running server's process id; 0 when none runs."""
        lines = self.pid_file().splitlines()
        if not lines or not lines[0].isdecimal() or self.is_free():
            return 0
        try:
            os.kill(int(lines[0]), 0)
        except ProcessLookupError:
            return 0
        except PermissionError:
            pass  # it is there, under another account
        return 0 if _is_dead(int(lines[0])) else int(lines[0])

    def is_ready(self, stale: str = "") -> bool:
        """Whether the server, by its own word, takes connections. `stale` is the pid file of a server before
        it, whose word does not count."""
        word = self.pid_file()  # read once: it is replaced while we look
        return word != stale and word.splitlines()[7:8] == ["ready   "]

    def pid_file(self) -> str:
        """What the server last said about itself; empty when it stopped in order."""
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def why(self, log_start: int) -> StoreError:
        """Why the server ended, from what it wrote to its log since `log_start` (bytes)."""
        with open(self.log, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(log_start, size - LOG_TAIL_BYTES))
            words = log.read().decode("utf-8", "replace")
        room = os.statvfs(self.path)
        if room.f_bavail * room.f_frsize < LEAST_ROOM_BYTES:
            return DatabaseFull()  # then the log could not be written either
        return misfortune(words)


def _is_dead(pid: int) -> bool:
    """Whether a process has ended and only its parent does not know yet (Linux; elsewhere a moment later)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] in "ZX"  # the state stands after the program's name


def _initdb(new: Path, account: Account | None, place: Place, password: str) -> subprocess.CompletedProcess[str]:
    arguments = ("-D", data_argument(new, account), "--pwfile", password, *_CLUSTER)
    try:
        return subprocess.run(
            [str(place.programs / "initdb"), *arguments],
            cwd=new,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CREATE_WAIT_S,
            check=False,
            **identity(account),
        )
    except subprocess.TimeoutExpired as error:
        raise DatabaseUnavailable(f"initdb did not end within {CREATE_WAIT_S:.0f} seconds") from error
    except OSError as error:
        as_whom = f" as {account.name}" if account else ""
        raise DatabaseMisconfigured(
            f"PostgreSQL cannot be run{as_whom}: {error.strerror}; start as another user or set"
            " TRIAL_LEDGER_DATABASE_URL"
        ) from error


def login_url(place: Place, login: str, password: str, database: str = DATABASE) -> str:
    """How libpq reaches the server as one of LOGINS."""
    return make_conninfo(host=str(place.socket), port=PORT, user=LOGINS[login], password=password, dbname=database)


def prepare(place: Place, passwords: dict[str, str]) -> None:
    """Gives the server its logins and its database. The database comes last, so that its being there means
    that all is done. Passwords are hashed here: they reach neither the server nor its log in the clear."""
    admin = login_url(place, "admin", passwords["admin"], database="postgres")
    with translated(), psycopg.connect(admin, autocommit=True) as connection:
        if connection.execute(SQL["embedded_database_exists"]).fetchone() == (True,):
            return
        connection.execute(SQL["embedded_logins"])
        for login in ("app", "projector"):
            connection.pgconn.change_password(LOGINS[login].encode(), passwords[login].encode())
        connection.execute(SQL["embedded_database"])


def misfortune(output: str) -> StoreError:
    """What a server that did not start, or `initdb`, wanted to say."""
    if "No space left on device" in output:
        return DatabaseFull()
    telling = [line for line in output.splitlines() if any(mark in line for mark in ("FATAL", "PANIC", "error"))]
    last = (telling or output.strip().splitlines() or ["it ended without a word"])[-1]
    return DatabaseUnavailable(f"the embedded PostgreSQL did not start: {last.strip()}")


# Locale C with UTF-8 characters, the same on every system; checksums; passwords for everybody.
_CLUSTER = (
    *("--username", LOGINS["admin"]),
    *("--auth", "scram-sha-256"),
    *("--encoding", "UTF8"),
    *("--locale", "C"),
    *("--locale-provider", "builtin"),
    *("--builtin-locale", "C.UTF-8"),
    "--data-checksums",
    "--no-instructions",
)
