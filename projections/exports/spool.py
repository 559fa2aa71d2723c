"""Where the members of a bundle lie while it is being made: written once, measured on the way, read in any order.

The manifest stands before what it lists and the tiles before the entries that one pass over the log gives together;
so members are kept aside first. Small ones lie in one file, long ones in a file each, all in a folder of its own that
goes when the spool is closed. Memory is bounded by the largest small member, some 12 MB of entries.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

COPY_BYTES = 1 << 20
"""How much of a long part is read at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """A member kept aside: its path in the bundle, size in bytes, SHA-256, and where it lies."""

    path: str
    size: int
    sha256: str
    offset: int | None
    file: Path | None


class LongPart:
    """A member that is written bit by bit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Of what was written so far, in hex."""
        return self._digest.hexdigest()


class Spool:
    """Members of one bundle; for one thread."""

    def __init__(self, beside: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=".evidence-", dir=beside))
        self._small = (self._folder / "members").open("w+b")
        self._long = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._small.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, path: str, data: bytes) -> Part:
        """Keep a small member."""
        offset = self._small.seek(0, 2)
        self._small.write(data)
        return Part(path, len(data), hashlib.sha256(data).hexdigest(), offset, None)

    @contextmanager
    def scratch(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A new file of the spool, open for writing until the block ends."""
        self._long += 1
        name = self._folder / f"long-{self._long}"
        with name.open("wb") as file:
            yield name, file

    @contextmanager
    def long(self, path: str, into: list[Part]) -> Iterator[LongPart]:
        """Write a long member; it is in `into` when the block ends."""
        with self.scratch() as (name, file):
            part = LongPart(file)
            yield part
        into.append(Part(path, part.size, part.sha256, None, name))

    def content(self, part: Part) -> bytes | Path:
        """What a member holds: its bytes, or the file that holds them."""
        if part.offset is None:
            assert part.file is not None
            return part.file
        self._small.seek(part.offset)
        return self._small.read(part.size)
