"""A second version of the cohort projection, for tests: it names the column `status` of the table `subjects` otherwise.

`release(monkeypatch, ...)` makes this process a release that has the versions given; worker processes do not know of
it, so builds of these are in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from projections import definitions
from projections.definitions import DEFINITIONS
from projections.engine.definition import Definition, Normaliser, Row

COHORT = next(one for one in DEFINITIONS if one.name == "cohort")
STATUS = COHORT.table("subjects").names.index("status")


def shouting(state: Any, touched: Sequence[Any]) -> Iterator[Row]:
    """The rows of version 1, with `status` in capitals."""
    for table, values in COHORT.changed(state, touched):
        if table == "subjects":
            values = (*values[:STATUS], str(values[STATUS]).upper(), *values[STATUS + 1 :])
        yield table, values


def in_capitals(table: str, row: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What version 2 means to change."""
    yield table, ({**row, "status": str(row["status"]).upper()} if table == "subjects" else row)


def second(normaliser: Normaliser | None = in_capitals, **changes: Any) -> Definition:
    """Version 2 of the cohort projection."""
    return replace(COHORT, version=2, changed=shouting, normaliser=normaliser, **changes)


def breaking_at(event: str) -> Callable[[Any, Sequence[Any]], Iterator[Row]]:
    """A handler that cannot take an event in."""

    def changed(state: Any, touched: Sequence[Any]) -> Iterator[Row]:
        if any(record.event == event for record in touched):
            raise ValueError("cannot read this")
        yield from COHORT.changed(state, touched)

    return changed


def release(monkeypatch: pytest.MonkeyPatch, newest: Definition, *earlier: Definition) -> None:
    """Make this process a release with this version of the cohort projection, and these earlier ones."""
    others = [newest if one.name == newest.name else one for one in DEFINITIONS]
    monkeypatch.setattr(definitions, "DEFINITIONS", tuple(others))
    monkeypatch.setattr(definitions, "EARLIER", earlier)
