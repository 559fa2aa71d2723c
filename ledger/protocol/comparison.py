"""What changed between two versions of a protocol: every value that differs, by its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ledger.protocol.problems import Path, dotted
from ledger.protocol.versions import Protocol


class _Absent:
    """Stands for a value that is not there, which is not the same as null."""

    def __repr__(self) -> str:
        return "(absent)"


ABSENT = _Absent()


class Change(NamedTuple):
    """One value before and after; ABSENT where there was or is none."""

    path: str
    before: Any
    after: Any


def changes(before: Protocol, after: Protocol) -> tuple[Change, ...]:
    """Every difference, in the order of the file; lists are compared as whole values."""
    return tuple(_differences(before.data, after.data, ()))


def _differences(before: Any, after: Any, path: Path) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from _differences(before.get(key, ABSENT), after.get(key, ABSENT), (*path, key))
    elif before is ABSENT or after is ABSENT or type(before) is not type(after) or before != after:
        yield Change(dotted(path), before, after)
