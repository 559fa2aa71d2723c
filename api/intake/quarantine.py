"""Quarantine: what cannot be placed in the ledger, kept with the reason, in `quarantine/<study>.ndjson`.

One JSON object a line: file, row, digest of the row, its cells as they stand, the reason, and the rule where the
ledger refused it. A row stands here once, however often the import runs; lines are never removed, so a row that
was placed later by mended data or rights stays told. Durable before the import says how many there are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO


class Quarantine:
    """One study's quarantine file; use it as a context."""

    def __init__(self, home: Path, study: str) -> None:
        folder = home / "quarantine"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / f"{study}.ndjson"
        self._known: set[str] = set()
        self._file: BinaryIO

    def __enter__(self) -> Quarantine:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = os.fdopen(descriptor, "r+b")
        whole = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            with suppress(ValueError, KeyError, TypeError):
                self._known.add(json.loads(line)["jti"])
        # A line that was being written when the machine stopped is not whole: its row comes again.
        self._file.truncate(whole)
        self._file.seek(whole)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def add(self, jti: str, entry: Mapping[str, Any]) -> None:
        """Keep a row under the event id that it would have had; a row that is here already is kept as it was."""
        if jti in self._known:
            return
        self._known.add(jti)
        self._file.write(json.dumps({"jti": jti, **entry}).encode("ascii") + b"\n")
