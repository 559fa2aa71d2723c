"""What differs between two versions' rows of one partition, and whether it was meant.

Rules:
- rows are joined by table and key of the newer version; a row is added, removed, or changed in columns, and inside
  columns of JSON by path;
- a difference is *intended* where the newer version declares it: a new or dropped table or column, what its
  normaliser expects, what it calls ANYTHING. Everything else is *unexplained*, and so is what was declared and did
  not come;
- absent, NULL, "" and values of another type are told apart; values are written as canonical JSON, absent as None;
- nothing depends on the order in which rows come, on how many are held at a time, on the process.
A difference holds values of the rows, and so personal data: what outlives the rows (counts) is made of names alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zlib import crc32

from projections.engine import inside
from projections.engine.definition import ANYTHING, Table
from projections.engine.expectation import Lineage, Values, address, by_name
from projections.engine.inside import ABSENT, text_of

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
KINDS = (ADDED, REMOVED, CHANGED)

NEW_TABLE = "new table"
DROPPED_TABLE = "dropped table"
NEW_COLUMN = "new column"
DROPPED_COLUMN = "dropped column"
NORMALISER = "as the normaliser says"
DECLARED = "declared to change"
MERGED = "same row under the new key"
NOT_DECLARED = "nothing declares it"
NOT_AS_SAID = "not as the normaliser says"
CONTRADICTED = "another row of the version before has this key"
REASONS = (
    *(NEW_TABLE, DROPPED_TABLE, NEW_COLUMN, DROPPED_COLUMN, NORMALISER, DECLARED, MERGED),
    *(NOT_DECLARED, NOT_AS_SAID, CONTRADICTED),
)
"""Why a difference is intended (the first seven) or unexplained."""

MAX_ROWS_HELD = 20_000
"""Rows of one version held at a time: a larger partition is read several times, a share of its keys each (40 MB at
2 KB a row)."""

PartRow = tuple[str, Sequence[Any]]
"""A row of one partition: its table, its own columns."""


class Difference(NamedTuple):
    """One difference of one partition.

    `key`: JSON array of the key's values; `column`: the column and, inside JSON, the class of the path (see `inside`),
    "" for a whole row; `path`: in full. `before`, `after`, `expected`: canonical JSON, of a whole row an object; None
    for absent. `expected` is given where it is neither of the two that are shown.
    """

    partition: str
    table: str
    key: str
    kind: str
    column: str
    path: str
    before: str | None
    after: str | None
    expected: str | None
    intended: bool
    why: str

    @property
    def cls(self) -> tuple[str, str, str]:
        """Table, column, kind: what an approval covers."""
        return self.table, self.column, self.kind


@dataclass
class _Met:
    """What meets at one key: rows before, what is expected, the row after."""

    before: list[Values] = field(default_factory=list)
    expected: list[Values] = field(default_factory=list)
    after: Values | None = None


Shown = tuple[Any, Any, Any]
"""Before, after, and what was expected, each ABSENT where there is nothing to tell."""

Read = Callable[[], Iterable[PartRow]]


def differences(
    lineage: Lineage, partition: str, before: Read, after: Read, rows: int, held: int = MAX_ROWS_HELD
) -> Iterator[Difference]:
    """The differences of one partition. `before` and `after` give its rows, and are asked once for each share of
    `held` rows; `rows`: how many the larger of both has. Raises NormaliserUnsound."""
    shares = max(1, -(-rows // held))
    for share in range(shares):

        def mine(table: str, key: str, share: int = share) -> bool:
            return shares == 1 or crc32(f"{table} {key}".encode("utf-8", "surrogatepass")) % shares == share

        met = _join(lineage, before(), after(), mine)
        for dropped, table, key in sorted(met):
            found = met.pop((dropped, table, key))
            yield from _of_key(_Judge(lineage, partition, table, key), found)


def flipped(one: Difference) -> Difference:
    """The difference seen from the other side: where the version after is the older of both."""
    kind = {ADDED: REMOVED, REMOVED: ADDED}.get(one.kind, one.kind)
    why = {
        NEW_TABLE: DROPPED_TABLE,
        DROPPED_TABLE: NEW_TABLE,
        NEW_COLUMN: DROPPED_COLUMN,
        DROPPED_COLUMN: NEW_COLUMN,
    }.get(one.why, one.why)
    return one._replace(kind=kind, why=why, before=one.after, after=one.before)


Mine = Callable[[str, str], bool]
"""Whether a key of a table belongs to the share that is looked at."""

_Address = tuple[bool, str, str]
"""Whether it is a key of the version before alone, table, key."""


def _join(lineage: Lineage, before: Iterable[PartRow], after: Iterable[PartRow], mine: Mine) -> dict[_Address, _Met]:
    """The rows of this share by key."""
    if lineage.alike:
        return _join_alike(lineage, before, after, mine)
    met: dict[_Address, _Met] = {}
    new, old = lineage.after.by_name, lineage.before.by_name
    for name, values in before:
        row = by_name(old[name], values)
        table = new.get(name)
        kept = table is not None and all(column in row for column in table.key)
        key = address(table if kept and table is not None else old[name], row)
        if mine(name, key):
            met.setdefault((not kept, name, key), _Met()).before.append(row)
        for found, expected in lineage.expected(name, row):
            place = address(new[found], expected)
            if mine(found, place):
                met.setdefault((False, found, place), _Met()).expected.append(expected)
    for name, values in after:
        row = by_name(new[name], values)
        key = address(new[name], row)
        if mine(name, key):
            met.setdefault((False, name, key), _Met()).after = row
    return met


def _join_alike(
    lineage: Lineage, before: Iterable[PartRow], after: Iterable[PartRow], mine: Mine
) -> dict[_Address, _Met]:
    """The same where nothing is meant to change: rows that agree are let go at once."""
    waiting: dict[tuple[str, str], Sequence[Any]] = {}
    met: dict[_Address, _Met] = {}
    tables = lineage.after.by_name
    for name, values in before:
        key = _address_of(tables[name], values)
        if mine(name, key):
            waiting[name, key] = values
    for name, values in after:
        table = tables[name]
        key = _address_of(table, values)
        if not mine(name, key):
            continue
        was = waiting.pop((name, key), None)
        if was is None or list(was) != list(values):
            rows: list[Values] = [] if was is None else [by_name(table, was)]
            met[False, name, key] = _Met(rows, list(rows), by_name(table, values))
    for (name, key), values in waiting.items():
        row = by_name(tables[name], values)
        met[False, name, key] = _Met([row], [row])
    return met


def _address_of(table: Table, values: Sequence[Any]) -> str:
    """The key of a row that is not taken apart."""
    return text_of([values[place] for place in table.key_places()])


@dataclass(frozen=True, slots=True)
class _Judge:
    """Makes the differences of one key."""

    lineage: Lineage
    partition: str
    table: str
    key: str

    @property
    def unexplained(self) -> str:
        """Why something is unexplained."""
        return NOT_AS_SAID if self.lineage.normalises else NOT_DECLARED

    def row(self, kind: str, before: Values | None, after: Values | None, intended: bool, why: str) -> Difference:
        """A whole row."""
        was, now = (None if one is None else text_of(_written(one)) for one in (before, after))
        return Difference(self.partition, self.table, self.key, kind, "", "", was, now, None, intended, why)

    def value(self, column: str, path: inside.Path, values: Shown, why: str, intended: bool) -> Difference:
        """A value of a column, or inside it."""
        was, now, said = (None if value is ABSENT else text_of(value) for value in values)
        cls, told = inside.class_of(column, path), inside.told(column, path)
        return Difference(self.partition, self.table, self.key, CHANGED, cls, told, was, now, said, intended, why)


def _written(row: Values) -> dict[str, Any]:
    """A row as it is shown: without what is ANYTHING."""
    return {name: value for name, value in row.items() if value is not ANYTHING}


def _of_key(judge: _Judge, met: _Met) -> Iterator[Difference]:
    """What differs at one key."""
    befores, expectations = _distinct(met.before), _distinct(met.expected)
    before = befores[0] if befores else None
    expected = expectations[0] if expectations else None
    if met.after is None:
        yield from _gone(judge, before, expected)
    elif before is None:
        yield from _came(judge, expected, met.after)
    elif expected is None:  # the normaliser has no such row, and yet there is one
        yield judge.row(ADDED, before, met.after, False, NOT_AS_SAID)
    else:
        yield from _columns(judge, before, expected, met.after)
    for row in expectations[1:]:
        yield judge.row(REMOVED, row, None, False, CONTRADICTED)
    if len(expectations) == 1:
        for row in befores[1:]:
            yield judge.row(REMOVED, row, None, True, MERGED)


def _distinct(rows: list[Values]) -> list[Values]:
    """The rows, each once, in an order of their own. More than one only where the newer version has another key."""
    if len(rows) < 2:
        return rows
    found = {text_of(dict(row)): row for row in rows}
    return [found[text] for text in sorted(found)]


def _gone(judge: _Judge, before: Values | None, expected: Values | None) -> Iterator[Difference]:
    """No row after."""
    if expected is not None:
        yield judge.row(REMOVED, before if before is not None else expected, None, False, judge.unexplained)
    elif before is not None:
        dropped = judge.table not in judge.lineage.after.by_name
        yield judge.row(REMOVED, before, None, True, DROPPED_TABLE if dropped else NORMALISER)


def _came(judge: _Judge, expected: Values | None, after: Values) -> Iterator[Difference]:
    """A row after at a key that had none."""
    if expected is None:
        new = judge.table not in judge.lineage.before.by_name
        yield judge.row(ADDED, None, after, new, NEW_TABLE if new else judge.unexplained)
        return
    yield judge.row(ADDED, None, after, True, NORMALISER)
    for column in after:
        if column in expected and expected[column] is not ANYTHING:
            yield from _unlike(judge, column, ABSENT, expected[column], after[column])


def _columns(judge: _Judge, before: Values, expected: Values, after: Values) -> Iterator[Difference]:
    """The columns of a row that is there before and after."""
    for column in sorted(before.keys() | after.keys()):
        if column not in after:
            yield judge.value(column, (), (before[column], ABSENT, ABSENT), DROPPED_COLUMN, True)
        elif column not in before:
            yield from _new_column(judge, column, expected.get(column, ANYTHING), after[column])
        elif column not in expected or expected[column] is ANYTHING:
            why = DECLARED if column in expected else NEW_COLUMN  # dropped in a version between, and come again
            yield from _meant(judge, column, before[column], after[column], why, [])
        else:
            said, was, now = expected[column], before[column], after[column]
            unlike = list(_unlike(judge, column, was, said, now))
            yield from unlike
            if inside.same(was, said):
                continue
            yield from _meant(judge, column, was, now, NORMALISER, [one.path for one in unlike])


def _new_column(judge: _Judge, column: str, expected: Any, after: Any) -> Iterator[Difference]:
    unlike = [] if expected is ANYTHING else list(_unlike(judge, column, ABSENT, expected, after))
    yield from unlike
    if not unlike:
        yield judge.value(column, (), (ABSENT, after, ABSENT), NEW_COLUMN, True)


def _unlike(judge: _Judge, column: str, before: Any, expected: Any, after: Any) -> Iterator[Difference]:
    """Where a value is not what was expected."""
    if inside.same(expected, after):
        return
    said = inside.read(expected) if isinstance(expected, str) else expected
    now = inside.read(after)
    if not (isinstance(said, (dict, list)) and now is not ABSENT):
        shown = ABSENT if inside.same(before, expected) else expected
        yield judge.value(column, (), (before, after, shown), judge.unexplained, False)
        return
    was = inside.read(before)
    paths = list(inside.differing(said, now))
    for path in paths:
        old, wanted = inside.at(was, path), inside.at(said, path)
        shown = ABSENT if inside.same(old, wanted) else wanted
        yield judge.value(column, path, (old, inside.at(now, path), shown), judge.unexplained, False)
    if not paths and isinstance(expected, str) and inside.same(before, expected):  # written otherwise, saying the same
        yield judge.value(column, (), (before, after, ABSENT), judge.unexplained, False)


def _meant(
    judge: _Judge, column: str, before: Any, after: Any, why: str, unlike: Sequence[str]
) -> Iterator[Difference]:
    """Where a value was meant to change and did; `unlike`: paths that are told already, as unexplained."""
    if inside.same(before, after):
        return
    was, now = inside.read(before), inside.read(after)
    paths: list[inside.Path] = [()]
    if was is not ABSENT and now is not ABSENT:
        paths = list(inside.differing(was, now)) or [()]
    for path in paths:
        told = inside.told(column, path)
        if any(_meet(told, other) for other in unlike):
            continue
        values = (inside.at(was, path), inside.at(now, path), ABSENT) if path else (before, after, ABSENT)
        yield judge.value(column, path, values, why, True)


def _meet(one: str, other: str) -> bool:
    """Whether one path is the other or leads to it."""
    shorter, longer = sorted((one, other), key=len)
    return longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))
