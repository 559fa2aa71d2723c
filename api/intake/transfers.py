"""Which files were imported into a study from this home, in `imports/<study>.ndjson`: domain, file, digest.

An event id derives from its file's digest, so a file that was changed and sent again is recorded again, row by row,
beside what it said before. The ledger keeps both; who imports should know before it happens. Noted before the first
row is sent: an import that was killed may have recorded some.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Transfer(NamedTuple):
    """One data set that was imported: its domain, its file, the file's SHA-256."""

    domain: str
    file: str
    digest: str


class Transfers:
    """One study's list of transfers."""

    def __init__(self, home: Path, study: str) -> None:
        folder = home / "imports"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / f"{study}.ndjson"

    def earlier(self, now: Iterable[Transfer]) -> dict[str, list[str]]:
        """Files of earlier transfers that are not among these, for each domain in which these have a new file."""
        before, these = self._read(), set(now)
        digests = {one.digest for one in these}
        found: dict[str, list[str]] = {}
        for domain in dict.fromkeys(one.domain for one in these - before):
            files = {one.file for one in before if one.domain == domain and one.digest not in digests}
            if files:
                found[domain] = sorted(files)
        return found

    def note(self, now: Iterable[Transfer]) -> None:
        """Keep these as well; durable when it returns."""
        new = [one for one in dict.fromkeys(now) if one not in self._read()]
        if not new:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            whole = file.read()
            # A line that was being written when the machine stopped is not whole: it is ended, and read as nothing.
            broken = b"\n" if whole and not whole.endswith(b"\n") else b""
            file.write(broken + b"".join(json.dumps(one._asdict()).encode() + b"\n" for one in new))
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> set[Transfer]:
        found = set()
        with suppress(FileNotFoundError):
            for line in self._path.read_bytes().splitlines():
                with suppress(ValueError, TypeError):
                    found.add(Transfer(**json.loads(line)))
        return found
