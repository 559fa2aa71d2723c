"""What a projection is: a name, a version, its tables, and one pure function from records to rows.

Rules:
- a definition is partitioned by subject, with one more partition for the study's own aggregate; a row belongs
  to exactly one partition, and the engine, not the handler, says to which;
- the handler sees an aggregate after a batch and the records that the batch added or changed; it yields the rows
  that these records make. A row depends on the state alone, never on how the events were batched: the same
  function serves following, rebuilding and reading as of an earlier size;
- it gives each key at most once a call, and reads no clock, no random number, no environment, no other projection,
  no other partition;
- rows are added and replaced, never taken away: what was voided keeps its row and says so. Only a redaction
  makes a partition anew;
- another version declares how its rows follow from those of the version before: its *normaliser*. What a replay finds
  beyond that is unexplained. New and dropped tables and columns are declared by the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from ledger.domain.aggregate import Study, Subject
from ledger.domain.record import Record

STUDY_PARTITION = "study"
"""The partition of the study's own aggregate; every other partition is a subject's UUID."""

MAX_SCHEMA_NAME = 63  # bytes of a PostgreSQL identifier

ColumnType = Literal["text", "bigint", "boolean", "text[]"]

Row = tuple[str, tuple[Any, ...]]
"""A table's name, and the values of its own columns in the order of their declaration."""

Handler = Callable[[Study | Subject, Sequence[Record]], Iterable[Row]]

Normaliser = Callable[[str, Mapping[str, Any]], Iterable[tuple[str, Mapping[str, Any]]]]
"""From a row of the version before, its table and its own columns by name, to the rows that this version is expected
to have for it: usually one, none where it is meant to go, several where it is split. Pure."""


class Anything:
    """The type of ANYTHING."""

    def __repr__(self) -> str:
        return "ANYTHING"


ANYTHING: Final = Anything()
"""As a value of a normalised row: declared to change in a way that the old row cannot tell."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `optional` ones may hold NULL. Text compares and sorts by code point (COLLATE "C")."""

    name: str
    type: ColumnType = "text"
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """An index on these columns after study_id; with `present`, of the rows alone in which that column is not
    NULL."""

    columns: tuple[str, ...]
    present: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a projection. `study_id` and `partition` come before its own columns; its primary key is
    those two and `key`."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    indexes: tuple[Index, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The own columns in order."""
        return tuple(column.name for column in self.columns)

    def key_places(self) -> tuple[int, ...]:
        """Where the key's columns stand in a row."""
        names = self.names
        return tuple(names.index(name) for name in self.key)


@dataclass(frozen=True)
class Definition:
    """A projection. `events` is None for all; `study` says whether it has the study's own partition.

    `temporal`: its rows are statements about single events that stay what they are, so that a cut of size N is
    the rows of the indexes below N; every other projection is folded anew for an earlier size. `normaliser`: how
    the rows follow from those of the version before, where they are not meant to be the same.
    """

    name: str
    version: int
    tables: tuple[Table, ...]
    changed: Handler
    events: frozenset[str] | None = None
    study: bool = False
    temporal: bool = False
    normaliser: Normaliser | None = None

    def reads(self, event: str) -> bool:
        """Whether records of this event reach the handler."""
        return self.events is None or event in self.events

    def rows(self, aggregate: Study | Subject, touched: Sequence[Record]) -> Iterable[Row]:
        """The rows that these records make; none for a partition or for events that it does not read."""
        if not touched or (isinstance(aggregate, Study) and not self.study):
            return ()
        if self.events is None:
            return self.changed(aggregate, touched)
        wanted = [record for record in touched if record.event in self.events]
        return self.changed(aggregate, wanted) if wanted else ()

    @cached_property
    def by_name(self) -> dict[str, Table]:
        """The tables by name."""
        return {table.name: table for table in self.tables}

    def table(self, name: str) -> Table:
        """A table by its name; KeyError where there is none."""
        try:
            return self.by_name[name]
        except KeyError:
            raise KeyError(f"the projection {self.name!r} has no table {name!r}") from None


@dataclass(frozen=True, slots=True)
class ReadModel:
    """A definition as this release has it: with the fingerprint of its code, by part, and which of the schemas that
    hold its rows is meant. Generation 0 is where a follower builds it first; each rebuild makes another one."""

    definition: Definition
    fingerprint: str
    generation: int = 0
    parts: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def schema(self) -> str:
        """`rm_<name>_v<version>_<first 8 of the fingerprint>`, then `_g<generation>` beyond 0; never altered."""
        named = f"rm_{self.definition.name}_v{self.definition.version}_{self.fingerprint[:8]}"
        return f"{named}_g{self.generation}" if self.generation else named

    @property
    def identity(self) -> tuple[str, int, str]:
        """Name, version and fingerprint: what is the same in all its generations."""
        return self.definition.name, self.definition.version, self.fingerprint


def partition_of(aggregate: Study | Subject) -> str:
    """The partition of an aggregate: a subject's UUID, or the study's own."""
    return STUDY_PARTITION if isinstance(aggregate, Study) else str(aggregate.id)
