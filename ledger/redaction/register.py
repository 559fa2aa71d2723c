"""The register of redactions: what must never be served again, kept outside the database.

A database can be restored from a backup that is older than a redaction; this file is not. It is applied before a
restored database serves anything (`carrying_out.protect`). Contract:
- append-only: one JSON object a line, of three kinds. `redacted`: one disclosure, by event id and digest; no value
  ever stands here. `applied`: a database held what is registered, and what was done about it. Others are ignored;
- durable before the database is touched: `add` returns when the lines are on the disk;
- several processes of one host take turns by a lock on the file; what is there is not added again;
- killed while writing: a last line without its end was never acted upon, and the next writer cuts it off. Any
  other line that cannot be read is an error that stops the start: guessing could serve what was destroyed.
Backed up with the home, apart from the database; restoring a database never restores this file.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ledger.home import HomeError
from ledger.store.rows import RedactionRow

REDACTED, APPLIED = "redacted", "applied"
_FIELDS = tuple(RedactionRow.__slots__)


class RegisterBroken(HomeError):
    """The register of redactions cannot be read."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A database held what was redacted (it was restored): when that was found (ISO 8601, UTC), how many disclosures
    were destroyed in it, how many it did not know to be redacted."""

    at: str
    destroyed: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Registered:
    """What a register says: redacted disclosures, and what was done to restored databases."""

    redacted: tuple[RedactionRow, ...] = ()
    applied: tuple[Applied, ...] = ()


class Register:
    """The register of one study; the file is made by the first line. For any thread and process of this host."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Registered:
        """Everything in it, in order; raises RegisterBroken."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return Registered()
        except OSError as error:
            raise self._broken(error.strerror or str(error)) from None
        return self._read(data)

    def add(self, rows: Iterable[RedactionRow]) -> int:
        """Register what is not registered; on the disk when this returns. Returns how many lines were new."""
        with self._locked() as descriptor:
            known = {(row.jti, row.disclosure) for row in self._whole(descriptor).redacted}
            fresh = [row for row in dict.fromkeys(rows) if (row.jti, row.disclosure) not in known]
            self._append(descriptor, [{"kind": REDACTED, **asdict(row)} for row in fresh])
        return len(fresh)

    def note(self, applied: Applied) -> None:
        """Note what was done to a restored database; on the disk when this returns."""
        with self._locked() as descriptor:
            self._whole(descriptor)
            self._append(descriptor, [{"kind": APPLIED, **asdict(applied)}])

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if fresh:
                for folder in (self.path.parent, self.path.parent.parent):
                    _sync_folder(folder)
            yield descriptor
        finally:
            os.close(descriptor)

    def _whole(self, descriptor: int) -> Registered:
        """What stands in it, with a torn last line cut off."""
        data = _everything(descriptor)
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
        return self._read(data[:end])

    @staticmethod
    def _append(descriptor: int, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        data = b"".join(json.dumps(line, sort_keys=True).encode() + b"\n" for line in lines)
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)

    def _read(self, data: bytes) -> Registered:
        redacted: list[RedactionRow] = []
        applied: list[Applied] = []
        *lines, _ = data.split(b"\n")  # what stands behind the last line feed was never acted upon
        for number, line in enumerate(lines, start=1):
            try:
                read = json.loads(line)
                kind = read.pop("kind")
                if kind == REDACTED:
                    redacted.append(RedactionRow(**read))
                elif kind == APPLIED:
                    applied.append(Applied(**read))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise self._broken(f"line {number} cannot be read") from None
        return Registered(tuple(redacted), tuple(applied))

    def _broken(self, why: str) -> RegisterBroken:
        return RegisterBroken(
            f"the register of redactions {self.path}: {why}. Restore the file from the newest backup of the home; "
            "without it a restored database could serve what was destroyed"
        )


def _everything(descriptor: int) -> bytes:
    size, data = os.fstat(descriptor).st_size, b""
    while len(data) < size and (part := os.pread(descriptor, size - len(data), len(data))):
        data += part
    return data


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
