"""What a newer version is expected to show for the rows of an older one.

Rules:
- the way leads over every version between that is known, each by its own normaliser; a version without one expects
  its rows to be those of the version before, as far as it has their tables and columns;
- new and dropped tables and columns are meant by declaration: an expectation need not name the former, may name the
  latter, and says nothing of either;
- a normaliser is foreign code: what it raises or yields amiss is refused by its table and column, without a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from projections.engine import inside
from projections.engine.definition import ANYTHING, Column, Definition, Table
from projections.engine.errors import NormaliserUnsound

MAX_EXPECTED = 1_000
"""Rows that one row may become: more is a normaliser that does not come to an end."""

Values = Mapping[str, Any]

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}", re.ASCII)

_HELD: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, (str, dict, list)),
    "bigint": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "text[]": lambda value: isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value),
}
"""What a value of a column may be. A text that holds JSON may be given as the object or list that it holds, with
ANYTHING inside."""


@dataclass(frozen=True)
class Lineage:
    """The way from one version of a projection to another: all versions on it, the first that of the rows before."""

    versions: tuple[Definition, ...]

    @property
    def before(self) -> Definition:
        """The version that the rows before are of."""
        return self.versions[0]

    @property
    def after(self) -> Definition:
        """The version that the rows after are of."""
        return self.versions[-1]

    @cached_property
    def normalises(self) -> bool:
        """Whether any version on the way has a normaliser."""
        return any(version.normaliser is not None for version in self.versions[1:])

    @cached_property
    def alike(self) -> bool:
        """Whether rows that agree in every value need no look: the same columns and keys, and nothing is meant to
        change."""
        return not self.normalises and all(_shape(one) == _shape(self.before) for one in self.versions)

    def expected(self, table: str, values: Values) -> Iterable[tuple[str, Values]]:
        """The rows that the last version is expected to have for a row of the first, by their own columns. Raises
        NormaliserUnsound."""
        rows: Iterable[tuple[str, Values]] = [(table, values)]
        for version, following in zip(self.versions, self.versions[1:], strict=False):
            rows = [made for name, row in rows for made in _step(version, following, name, row)]
        return rows


def _shape(definition: Definition) -> dict[str, tuple[tuple[tuple[str, str], ...], tuple[str, ...]]]:
    """Columns with their types, and keys."""
    return {
        table.name: (tuple((column.name, column.type) for column in table.columns), table.key)
        for table in definition.tables
    }


def lineage(before: Definition, after: Definition, known: Iterable[Definition] = ()) -> Lineage:
    """The way from a version up to a later one, over those of `known` in between."""
    between = {
        one.version: one for one in known if one.name == before.name and before.version < one.version < after.version
    }
    same = before.version == after.version
    return Lineage((before,) if same else (before, *(between[number] for number in sorted(between)), after))


def address(table: Table, values: Values) -> str:
    """The key of a row as JSON: an array of its values."""
    return inside.text_of([values[name] for name in table.key])


def _step(version: Definition, following: Definition, table: str, values: Values) -> Iterator[tuple[str, Values]]:
    """From a row of one version to those of the next."""
    if following.normaliser is None:
        if table in following.by_name:
            yield _checked(version, following, table, table, values)
        return
    for name, row in _asked(following, table, values):
        if name in following.by_name:
            yield _checked(version, following, table, name, row)
        elif name not in version.by_name:
            raise _unsound(following, table, f"yields a row of {_named(name)}, a table that there is not")


def _asked(definition: Definition, table: str, values: Values) -> list[tuple[str, Values]]:
    """What a normaliser yields for a row."""
    assert definition.normaliser is not None
    found: list[tuple[str, Values]] = []
    try:
        for one in definition.normaliser(table, MappingProxyType(dict(values))):
            found.append(one)
            if len(found) > MAX_EXPECTED:
                raise _unsound(definition, table, f"yields more than {MAX_EXPECTED:,} rows")
    except NormaliserUnsound:
        raise
    except Exception as error:  # foreign code; its message may hold a value
        raise _unsound(definition, table, f"raises {type(error).__name__}{_place(error)}") from None
    for one in found:
        if not (isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], Mapping)):
            raise _unsound(definition, table, "yields something else than a table's name with columns by name")
    return found


def _checked(version: Definition, following: Definition, source: str, name: str, row: Values) -> tuple[str, Values]:
    """A row as the next version can have it; what it lacks of its new columns it may lack."""
    table = following.by_name[name]
    earlier = version.by_name.get(name)
    had = frozenset(earlier.names) if earlier is not None else frozenset[str]()
    extra = row.keys() - frozenset(table.names) - had
    if extra:
        raise _unsound(following, source, f"gives {name} a column {_named(min(extra, key=str))} that there is not")
    made: dict[str, Any] = {}
    for column in table.columns:
        if column.name in row:
            given = row[column.name]
            made[column.name] = given if following.normaliser is None else _fit(following, source, table, column, given)
        elif column.name in table.key or (column.name in had and following.normaliser is not None):
            if following.normaliser is None:
                raise NormaliserUnsound(
                    f"{following.name} v{following.version} keys {name} by the new column {column.name}, and "
                    "declares no normaliser that says what it is for a row of the version before"
                )
            raise _unsound(following, source, f"gives {name} no column {column.name}")
    return name, made


def _fit(definition: Definition, source: str, table: Table, column: Column, value: Any) -> Any:
    """A value that its column can hold."""
    where = f"{table.name}.{column.name}"
    if value is ANYTHING:
        if column.name in table.key:
            raise _unsound(definition, source, f"declares {where} as ANYTHING, which is part of the key")
        return value
    if value is None and column.optional:
        return None
    structured = isinstance(value, (dict, list)) and column.type == "text"
    if not _HELD[column.type](value) or (structured and column.name in table.key):
        raise _unsound(definition, source, f"gives {where} a {type(value).__name__}, not {column.type}")
    if structured:
        try:
            return inside.plain(value)
        except (ValueError, RecursionError):
            raise _unsound(definition, source, f"gives {where} a structure that is not JSON") from None
    return value


def _unsound(definition: Definition, table: str, because: str) -> NormaliserUnsound:
    return NormaliserUnsound(
        f"the normaliser of {definition.name} v{definition.version}, given a row of {table}, {because}"
    )


def _named(name: Any) -> str:
    """A name that code gave; one that is no plain name may come from data, and is not repeated."""
    return repr(name) if isinstance(name, str) and _NAME.fullmatch(name) else "(no plain name)"


def _place(error: BaseException) -> str:
    """Where it was raised: the innermost function and line."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        found, trace = f" in {code.co_name}, line {trace.tb_lineno}", trace.tb_next
    return found


def by_name(table: Table, values: Sequence[Any]) -> dict[str, Any]:
    """A row's own columns by their names; lists are given as tuples, that nobody may change them."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in zip(table.names, values, strict=True)
    }
