"""The rows of every projection at a cut, as files: one JSON object a line, in order of partition and key.

Where the read model that answers stands at exactly the cut, and nothing is behind or standing still, its rows are
written as they are shown; otherwise they are folded from the log, a share of the aggregates at a time. Both give the
same bytes: order, form and digest follow from the rows alone, whoever writes them, in however many shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from ledger.domain.aggregate import Study, Subject
from ledger.store.database import Conn
from projections.definitions import NAMES, model_of
from projections.engine import digest as digests
from projections.engine.answering import answering
from projections.engine.definition import STUDY_PARTITION, Definition, ReadModel, Row, Table
from projections.engine.digest import Digest
from projections.engine.earlier import Uncertain, cut_study, cut_subject, zones_of
from projections.engine.errors import ProjectionBehind
from projections.engine.folding import FoldFailed, aggregates_below, fold_variants
from projections.engine.occurrence import OccurredBy, statements_in
from projections.engine.skips import Skips
from projections.engine.sql import SQL, on
from projections.exports.log_part import Report
from projections.exports.spool import LongPart, Part, Spool

EVENTS_AT_ONCE = 20_000
"""Events folded at a time: what is held in memory, some 3 KB each."""

PART_BYTES = 1 << 30
"""A table that is longer goes into several files, for a member of a zip ends at 4 GB."""

_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True)
class Cut:
    """The state that is written: a study at a size, in one snapshot; `state` is its own aggregate there, whole."""

    conn: Conn
    study: str
    size: int
    signed: int
    state: Study
    skips: Skips
    occurred: OccurredBy | None


@dataclass
class Written:
    """What was written: each projection with its digest and rows, the files, and how many records may have occurred
    by the moment and are left out."""

    projections: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    uncertain: Uncertain = field(default_factory=Uncertain)


def write_rows(cut: Cut, spool: Spool, report: Report) -> Written:
    """Write every projection. Raises FoldFailed, and the store's errors."""
    written = Written()
    folded = []
    for name in sorted(NAMES):
        model, shown = _model(cut, name)
        if shown:
            _write_shown(cut, model, spool, written)
        else:
            folded.append(model)
    if folded:
        _write_folded(cut, folded, spool, written, report)
    return written


def _model(cut: Cut, name: str) -> tuple[ReadModel, bool]:
    """The version that answers, or the newest; and whether its rows are those of the cut."""
    try:
        found = answering(cut.conn, cut.study, name)
    except ProjectionBehind:
        return model_of(name), False
    at_the_cut = cut.occurred is None and found.position == cut.size == cut.signed and not found.holds
    if not at_the_cut:
        return found.model, False
    still = cut.conn.execute(on("stands_still", found.model.schema), {"study": cut.study}).fetchone()
    return found.model, still is not None and not still[0]


def _write_shown(cut: Cut, model: ReadModel, spool: Spool, written: Written) -> None:
    summed = digests.Sums(model.definition)
    with ExitStack() as stack:
        files = _Files(model, spool, written.parts, stack)
        for table in digests.in_order(model.definition):
            rows = digests.stream(cut.conn, model.schema, table, cut.study)
            for partition, values in summed.passing(table, rows):
                files.add(table, partition, values)
    written.projections[model.definition.name] = _told(model, summed.digest(), files)


# -- folded ----------------------------------------------------------------------------------------------------


@dataclass
class _Folding:
    """One projection while it is folded."""

    model: ReadModel
    files: _Files
    partitions: dict[str, str] = field(default_factory=dict)
    rows: int = 0

    def take(self, partition: str, made: Iterable[Row]) -> None:
        """The rows of one partition; partitions come in order."""
        definition = self.model.definition
        found = [(table, partition, values) for table, values in made]
        if not found:
            return
        digest = digests.of_rows(definition, found)
        self.partitions.update(digest.partitions)
        self.rows += digest.rows
        for table in definition.tables:
            places = table.key_places()
            own = [values for name, _, values in found if name == table.name]
            for values in sorted(own, key=lambda values: [values[place] for place in places]):
                self.files.add(table, partition, values)


def _write_folded(cut: Cut, models: Sequence[ReadModel], spool: Spool, written: Written, report: Report) -> None:
    counted: Mapping[UUID, int] = dict(
        cut.conn.execute(SQL["originators"], {"study": cut.study, "stop": cut.size}).fetchall()
    )
    with ExitStack() as stack:
        foldings = [_Folding(model, _Files(model, spool, written.parts, stack)) for model in models]
        done = 0
        for chunk in _chunks(sorted(counted, key=lambda about: _partition(about, cut.state.id)), counted):
            _fold_chunk(cut, foldings, chunk, written.uncertain)
            done += sum(counted[about] for about in chunk)
            report("projections", done, cut.size)
    for one in foldings:
        digest = digests.of_partitions(one.model.definition, one.partitions, one.rows)
        written.projections[one.model.definition.name] = _told(one.model, digest, one.files)


def _fold_chunk(cut: Cut, foldings: Sequence[_Folding], chunk: Sequence[UUID], uncertain: Uncertain) -> None:
    names = [one.model.definition.name for one in foldings]
    events = aggregates_below(cut.conn, cut.study, dict.fromkeys(chunk, 0), cut.size)
    made = fold_variants(events, cut.state.id, chunk, cut.skips.variants(names))
    for about in chunk:
        partition = _partition(about, cut.state.id)
        for one in foldings:
            aggregate = made[about, cut.skips.of(one.model.definition.name, about)]
            try:
                rows = list(_rows(cut, one.model.definition, aggregate, uncertain))
            except Exception as error:  # whatever a handler raises
                name, last = one.model.definition.name, aggregate.records.last_index
                raise FoldFailed(last, f"{name}, or an earlier event", f"{type(error).__name__}: {error}") from error
            one.take(partition, rows)


def _rows(cut: Cut, definition: Definition, aggregate: Study | Subject, uncertain: Uncertain) -> Iterable[Row]:
    """The rows of one aggregate, of what of it had occurred where a moment is given."""
    by = cut.occurred
    if by is None:
        return definition.rows(aggregate, list(aggregate.records))
    if definition.temporal:
        return definition.rows(aggregate, statements_in(aggregate.records, by, zones_of(cut.state)))
    if isinstance(aggregate, Study):
        aggregate = cut_study(aggregate, by, uncertain)
    else:
        aggregate = cut_subject(aggregate, by, cut.state, uncertain)
    return definition.rows(aggregate, list(aggregate.records)) if len(aggregate.records) else ()


def _partition(about: UUID, study: UUID) -> str:
    return STUDY_PARTITION if about == study else str(about)


def _chunks(ordered: Sequence[UUID], counted: Mapping[UUID, int]) -> Iterator[list[UUID]]:
    chunk: list[UUID] = []
    events = 0
    for about in ordered:
        chunk.append(about)
        events += counted[about]
        if events >= EVENTS_AT_ONCE:
            yield chunk
            chunk, events = [], 0
    if chunk:
        yield chunk


# -- files -----------------------------------------------------------------------------------------------------


class _Files:
    """The files of one projection: one a table, or several where it is long; they end with `stack`."""

    def __init__(self, model: ReadModel, spool: Spool, parts: list[Part], stack: ExitStack) -> None:
        self._spool, self._parts, self._stack = spool, parts, stack
        self._name = model.definition.name
        self._open: dict[str, tuple[LongPart, ExitStack]] = {}
        self.paths: dict[str, list[str]] = {table.name: [] for table in model.definition.tables}
        self.rows: dict[str, int] = dict.fromkeys(self.paths, 0)
        for table in self.paths:
            self._next(table)

    def add(self, table: Table, partition: str, values: Sequence[Any]) -> None:
        """One row."""
        line = _ENCODER.encode(dict(zip(("partition", *table.names), (partition, *values), strict=True))) + b"\n"
        part, _ = self._open[table.name]
        if part.size and part.size + len(line) > PART_BYTES:
            part = self._next(table.name)
        part.write(line)
        self.rows[table.name] += 1

    def _next(self, table: str) -> LongPart:
        if table in self._open:
            self._open[table][1].close()
        number = len(self.paths[table]) + 1
        path = f"projections/{self._name}/{table}{f'-{number}' if number > 1 else ''}.ndjson"
        self.paths[table].append(path)
        own = self._stack.enter_context(ExitStack())
        part = own.enter_context(self._spool.long(path, self._parts))
        self._open[table] = part, own
        return part


def _told(model: ReadModel, digest: Digest, files: _Files) -> dict[str, Any]:
    """A projection in the manifest."""
    return {
        "version": model.definition.version,
        "fingerprint": model.fingerprint,
        "digest": digest.root,
        "partitions": len(digest.partitions),
        "rows": digest.rows,
        "tables": {
            table.name: {
                "columns": ["partition", *table.names],
                "rows": files.rows[table.name],
                "files": files.paths[table.name],
            }
            for table in digests.in_order(model.definition)
        },
    }
