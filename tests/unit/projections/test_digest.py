"""The digest of rows: what they are counts, not how they came."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from projections.engine.definition import Column, Definition, Table
from projections.engine.digest import of_rows

PEOPLE = Table("people", (Column("idx", "bigint"), Column("name", optional=True), Column("tags", "text[]")), ("idx",))
NOTES = Table("notes", (Column("text"),))
DEFINITION = Definition("sample", 1, (PEOPLE, NOTES), lambda state, touched: ())

ROWS: list[tuple[str, str, Sequence[Any]]] = [
    ("people", "a", (2, "Zoë", ["x"])),
    ("people", "a", (10, None, [])),
    ("people", "b", (1, "", ["x", "y"])),
    ("notes", "a", ("first",)),
    ("notes", "b", ("second",)),
]


def test_the_order_of_rows_does_not_matter() -> None:
    expected = of_rows(DEFINITION, ROWS)
    shuffled = list(ROWS)
    for seed in range(10):
        random.Random(seed).shuffle(shuffled)
        assert of_rows(DEFINITION, shuffled) == expected


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (0, (2, "Zoe", ["x"])),
        (0, (2, "Zoë", [])),
        (1, (10, "", [])),
        (1, (10, None, [""])),
        (2, (1, None, ["x", "y"])),
        (2, (1, "", ["xy"])),
        (2, (1, "", ["y", "x"])),
        (2, (2, "", ["x", "y"])),
        (4, ("second ",)),
    ],
)
def test_any_other_value_gives_another_digest(place: int, values: Sequence[Any]) -> None:
    table, partition, _ = ROWS[place]
    changed = [*ROWS[:place], (table, partition, values), *ROWS[place + 1 :]]
    assert of_rows(DEFINITION, changed).root != of_rows(DEFINITION, ROWS).root


def test_values_do_not_run_into_each_other() -> None:
    one = of_rows(DEFINITION, [("people", "a", (1, "ab", ["c"]))])
    other = of_rows(DEFINITION, [("people", "a", (1, "a", ["bc"]))])
    assert one.root != other.root


def test_a_row_belongs_to_its_partition_and_table() -> None:
    here = of_rows(DEFINITION, [("notes", "a", ("x",))])
    there = of_rows(DEFINITION, [("notes", "b", ("x",))])
    assert here.root != there.root
    assert set(here.partitions) == {"a"}


def test_a_change_shows_in_its_partition_alone() -> None:
    before = of_rows(DEFINITION, ROWS).partitions
    after = of_rows(DEFINITION, [*ROWS[:-1], ("notes", "b", ("third",))]).partitions
    assert before["a"] == after["a"]
    assert before["b"] != after["b"]


def test_another_version_has_another_digest() -> None:
    second = Definition("sample", 2, (PEOPLE, NOTES), DEFINITION.changed)
    assert of_rows(second, ROWS).root != of_rows(DEFINITION, ROWS).root


def test_no_rows_have_a_digest_too() -> None:
    empty = of_rows(DEFINITION, [])
    assert (empty.rows, empty.partitions) == (0, {})
    assert len(empty.root) == 64


def test_the_hash_seed_of_the_process_does_not_matter() -> None:
    code = (
        "from tests.unit.projections.test_digest import DEFINITION, ROWS\n"
        "from projections.engine.digest import of_rows\n"
        "from projections.definitions import read_models\n"
        "print(of_rows(DEFINITION, ROWS).root, *[m.schema for m in read_models()])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "4711")
    }
    assert len(said) == 1
