"""A projection as it stands in a bundle: `projections/<name>.json`, and how its rows are come by.

One JSON object, written so that it can be read line by line: the first line ends where the tables begin, each row and
each partition's digest has a line of its own, and the last line holds the digest of all. Rows stand in order of
partition and key, tables in order of their names; a row is an array of its partition and its columns. The same state
gives the same bytes.

Where the live read model stands at exactly the size asked for, its rows are handed out as they are shown, so that the
verifier's recomputation (V8) checks what people see. At any other size they are folded from the log by the same
handlers (`Fold`), aggregate by aggregate in order of their partitions: the exporter and the verifier share this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from uuid import UUID

import msgspec

from ledger.store.database import Conn
from projections.engine import digest as digests
from projections.engine.definition import STUDY_PARTITION, Definition, ReadModel, partition_of
from projections.engine.digest import Digest
from projections.engine.folding import NOTHING, FoldFailed, StoredEvent, aggregates_below, fold_variants
from projections.engine.skips import Skips, skips_of
from projections.engine.sql import SQL
from projections.exports.spool import Spool

_ENCODER = msgspec.json.Encoder()


def member(name: str) -> str:
    """The path of a projection in a bundle."""
    return f"projections/{name}.json"


class Sink(Protocol):
    """Where a projection's bytes go."""

    def write(self, data: bytes, /) -> Any:
        """Add bytes at the end."""


def head_line(model: ReadModel, size: int, fingerprint: str) -> bytes:
    """The first line: what this is, which code made it, at which size, and the columns of each table."""
    definition = model.definition
    head = {
        "projection": definition.name,
        "version": definition.version,
        "fingerprint": fingerprint,
        "size": size,
        "columns": {table.name: ["partition", *table.names] for table in digests.in_order(definition)},
    }
    return _ENCODER.encode(head)[:-1] + b',"tables":{\n'


def write_table(out: Sink, name: str, rows: Iterable[bytes], last: bool) -> None:
    """One table: a line a row, given as JSON arrays."""
    out.write(_ENCODER.encode(name) + b":[")
    separator = b"\n"
    for row in rows:
        out.write(separator + row)
        separator = b",\n"
    out.write(b"\n]\n" if last else b"\n],\n")


def write_tail(out: Sink, digest: Digest) -> None:
    """The digest of each partition, a line each, and the last line: how many rows, and the digest of all."""
    out.write(b'},"partitions":{')
    separator = b"\n"
    for name, found in digest.partitions.items():
        out.write(separator + _ENCODER.encode(name) + b":" + _ENCODER.encode(found))
        separator = b",\n"
    out.write(b"\n}," + _ENCODER.encode({"rows": digest.rows, "digest": digest.root})[1:] + b"\n")


def encoded(partition: str, values: Sequence[Any]) -> bytes:
    """A row as it stands in the file."""
    return _ENCODER.encode([partition, *values])


# -- from the read model ---------------------------------------------------------------------------------------


def write_stored(out: Sink, conn: Conn, model: ReadModel, study: str, size: int, only: frozenset[str] | None) -> Digest:
    """The rows as they are shown; those of the partitions in `only` alone where it is given. For a snapshot in which
    the read model stands at `size`."""
    summed = digests.Sums(model.definition)
    ordered = digests.in_order(model.definition)
    out.write(head_line(model, size, model.fingerprint))
    for table in ordered:
        rows = digests.stream(conn, model.schema, table, study)
        shown = rows if only is None else (row for row in rows if row[0] in only)
        lines = (encoded(partition, values) for partition, values in summed.passing(table, shown))
        write_table(out, table.name, lines, table is ordered[-1])
    digest = summed.digest()
    write_tail(out, digest)
    return digest


# -- folded from the log ---------------------------------------------------------------------------------------


class Source(Protocol):
    """The entries of a log below a size, for folding them aggregate by aggregate."""

    @property
    def study(self) -> UUID:
        """The study's own aggregate."""

    @property
    def at_once(self) -> int:
        """How many events are folded at a time: what is held in memory, some 3 KB each."""

    def aggregates(self) -> Mapping[UUID, int]:
        """Every aggregate with the number of its events."""

    def events(self, wanted: Sequence[UUID]) -> Iterable[StoredEvent]:
        """The events of these aggregates, those of each in order of its version."""

    def skips(self) -> Skips:
        """What projections pass over, by every decision of the log that is handed out."""


@dataclass(frozen=True)
class DatabaseSource:
    """The log as the database holds it below `size`, for a snapshot; decisions count below the size that is `known`."""

    conn: Conn
    study_id: str
    study: UUID
    size: int
    known: int
    at_once: int = 20_000

    def aggregates(self) -> Mapping[UUID, int]:
        """Counted by the database."""
        return dict(self.conn.execute(SQL["originators"], {"study": self.study_id, "stop": self.size}).fetchall())

    def events(self, wanted: Sequence[UUID]) -> Iterable[StoredEvent]:
        """Read in one statement."""
        return aggregates_below(self.conn, self.study_id, dict.fromkeys(wanted, 0), self.size)

    def skips(self) -> Skips:
        """By the decisions that the database has."""
        return skips_of(self.conn, self.study_id, self.known)


class Fold:
    """Projections folded from a log: rows of each table in a file of the spool, then the whole files."""

    def __init__(self, models: Sequence[ReadModel], spool: Spool) -> None:
        self._models, self._spool = models, spool
        self._tables: dict[tuple[str, str], Path] = {}
        self._digests: dict[str, dict[str, str]] = {model.definition.name: {} for model in models}
        self._rows: dict[str, int] = {model.definition.name: 0 for model in models}

    def run(self, source: Source, only: frozenset[str] | None = None) -> Iterator[int]:
        """Fold every aggregate, or those of the partitions in `only`; yields the events done. Raises FoldFailed."""
        counted = {
            about: count
            for about, count in source.aggregates().items()
            if only is None or _partition(about, source.study) in only
        }
        with ExitStack() as stack:
            files: dict[tuple[str, str], BinaryIO] = {}
            for model in self._models:
                for table in model.definition.tables:
                    key = model.definition.name, table.name
                    self._tables[key], files[key] = stack.enter_context(self._spool.scratch())
            ordered, skips = sorted(counted, key=lambda about: _partition(about, source.study)), source.skips()
            for chunk in _chunks(ordered, counted, source.at_once):
                self._fold(source, chunk, files, skips)
                yield sum(counted[about] for about in chunk)

    def _fold(
        self, source: Source, chunk: Sequence[UUID], files: Mapping[tuple[str, str], BinaryIO], skips: Skips
    ) -> None:
        variants = skips.variants(model.definition.name for model in self._models)
        folded = fold_variants(source.events(chunk), source.study, chunk, variants)
        for about in chunk:
            for model in self._models:
                definition = model.definition
                aggregate = folded[about, skips.of(definition.name, about)]
                try:
                    made = list(definition.rows(aggregate, list(aggregate.records)))
                except Exception as error:  # whatever a handler raises: its projection cannot be handed out
                    at, because = aggregate.records.last_index, f"{type(error).__name__}: {error}"
                    raise FoldFailed(at, f"or an earlier one, in {definition.name}", because) from error
                self._take(definition, partition_of(aggregate), made, files)
            for skipped in variants.get(about, (NOTHING,)):
                del folded[about, skipped]

    def _take(
        self,
        definition: Definition,
        partition: str,
        made: Iterable[tuple[str, Sequence[Any]]],
        files: Mapping[tuple[str, str], BinaryIO],
    ) -> None:
        rows = [(table, partition, values) for table, values in made]
        if not rows:
            return
        found = digests.of_rows(definition, rows)
        self._digests[definition.name].update(found.partitions)
        self._rows[definition.name] += found.rows
        for table in definition.tables:
            places = table.key_places()
            own = [values for name, _, values in rows if name == table.name]
            own.sort(key=lambda values: [values[place] for place in places])
            files[definition.name, table.name].writelines(encoded(partition, values) + b"\n" for values in own)

    def write(self, out: Sink, model: ReadModel, size: int) -> Digest:
        """A projection's file, when all is folded."""
        definition = model.definition
        ordered = digests.in_order(definition)
        out.write(head_line(model, size, model.fingerprint))
        for table in ordered:
            with self._tables[definition.name, table.name].open("rb") as kept:
                write_table(out, table.name, (line.rstrip(b"\n") for line in kept), table is ordered[-1])
        digest = digests.of_partitions(definition, self._digests[definition.name], self._rows[definition.name])
        write_tail(out, digest)
        return digest


def _partition(about: UUID, study: UUID) -> str:
    return STUDY_PARTITION if about == study else str(about)


def _chunks(ordered: Sequence[UUID], counted: Mapping[UUID, int], at_once: int) -> Iterator[list[UUID]]:
    chunk: list[UUID] = []
    events = 0
    for about in ordered:
        chunk.append(about)
        events += counted[about]
        if events >= at_once:
            yield chunk
            chunk, events = [], 0
    if chunk:
        yield chunk
