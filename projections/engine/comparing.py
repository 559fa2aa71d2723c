"""Comparing two read models of a study in one snapshot: digests of both, every difference, the report.

Rules:
- both are read in the snapshot given, in which both stand at the size given; nothing is written in it: differences are
  handed on in batches, partition by partition in order;
- a partition whose digests agree is not looked into, unless the newer version means something to change that may not
  have changed;
- memory: the digests of all partitions, those of one partition's differences, and no more rows than MAX_ROWS_HELD;
- what the newer version declares is about the older one, whichever of both comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from ledger.domain.aggregate import Subject, study_aggregate_id
from ledger.domain.participation import number, site_of
from ledger.signing.encoding import b64url
from projections.definitions import known_models
from projections.engine import digest
from projections.engine.definition import STUDY_PARTITION, Definition, ReadModel
from projections.engine.difference import MAX_ROWS_HELD, Difference, PartRow, differences, flipped
from projections.engine.digest import FETCH, Digest
from projections.engine.errors import StudyNotKnown
from projections.engine.expectation import Lineage, lineage
from projections.engine.folding import (
    ACTS,
    FoldFailed,
    events_of_topics,
    first_events,
    fold_one,
    stored_statement,
    topics_of,
)
from projections.engine.reading import root_at
from projections.engine.sql import SQL
from projections.engine.stored import empty
from projections.engine.tally import MAX_SUBJECTS_LISTED, Class, Tally, report_digest

Conn = Connection[TupleRow]

FORMAT = "replay-comparison/1"

BATCH = 2_000
"""Differences handed on at a time."""

PLACING = frozenset({"SubjectScreened", "SubjectRescreened", "SubjectTransferred"})
"""Events that say at which site a subject is."""

Write = Callable[[Sequence[Difference]], None]


@dataclass(frozen=True)
class Comparison:
    """Two read models of a study at one size, and how they differ. True where nothing is unexplained."""

    study: str
    size: int
    before: ReadModel
    after: ReadModel
    before_digest: Digest
    after_digest: Digest
    tally: Tally
    report: dict[str, Any]

    def __bool__(self) -> bool:
        return not self.tally.unexplained

    @cached_property
    def report_digest(self) -> str:
        """SHA-256 of the report's canonical JSON, base64url: what an approval is about."""
        return report_digest(self.report)

    @property
    def counts(self) -> dict[str, int]:
        """The shortest summary."""
        return self.tally.counts()


def compare(
    conn: Conn,
    study: str,
    before: ReadModel,
    after: ReadModel,
    size: int,
    write: Write = lambda batch: None,
    known: Iterable[Definition] | None = None,
) -> Comparison:
    """Compare two read models of a study, both at `size` in the snapshot that `conn` is in. `write` is given every
    difference, in batches. `known`: the versions that may lie between, those of this release unless given. Raises
    NormaliserUnsound, StudyNotKnown, and what `write` raises."""
    pair = _Pair.of(before, after, known)
    sums = [digest.of_tables(conn, model.schema, model.definition, study) for model in (before, after)]
    tally = Tally()
    for partition in sorted(sums[0].partitions.keys() | sums[1].partitions.keys()):
        if pair.way.alike and sums[0].partitions.get(partition) == sums[1].partitions.get(partition):
            continue
        rows = max(one.sizes.get(partition, 0) for one in sums)
        found = tally.passing(partition, pair.differences(conn, study, partition, rows))
        while batch := list(islice(found, BATCH)):
            write(batch)
    report = _report(conn, study, size, (before, after), sums, tally)
    return Comparison(study, size, before, after, sums[0], sums[1], tally, report)


def recheck(
    conn: Conn,
    study: str,
    before: ReadModel,
    after: ReadModel,
    partitions: Iterable[str],
    known: Iterable[Definition] | None = None,
) -> frozenset[Class]:
    """Which classes of differences (table, column, kind) of these partitions are unexplained now, both read models
    standing at one size in the transaction that `conn` is in. Raises NormaliserUnsound."""
    pair = _Pair.of(before, after, known)
    return frozenset(
        one.cls
        for partition in sorted(set(partitions))
        for one in pair.differences(conn, study, partition, pair.rows(conn, study, partition))
        if not one.intended
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two read models, and the way from the older to the newer."""

    way: Lineage
    before: ReadModel
    after: ReadModel

    @classmethod
    def of(cls, before: ReadModel, after: ReadModel, known: Iterable[Definition] | None) -> _Pair:
        if known is None:
            known = [model.definition for model in known_models()]
        older, newer = sorted((before, after), key=lambda model: model.definition.version)
        return cls(lineage(older.definition, newer.definition, known), before, after)

    def differences(self, conn: Conn, study: str, partition: str, rows: int) -> Iterator[Difference]:
        """The differences of one partition; `rows`: how many the larger of both has."""
        many = rows > MAX_ROWS_HELD

        def before() -> Iterable[PartRow]:
            return partition_rows(conn, self.before, study, partition, many)

        def after() -> Iterable[PartRow]:
            return partition_rows(conn, self.after, study, partition, many)

        if self.before.definition.version <= self.after.definition.version:
            return differences(self.way, partition, before, after, rows)
        return map(flipped, differences(self.way, partition, after, before, rows))

    def rows(self, conn: Conn, study: str, partition: str) -> int:
        """How many rows the larger of both has in a partition."""
        return max(_count(conn, model, study, partition) for model in (self.before, self.after))


def partition_rows(conn: Conn, model: ReadModel, study: str, partition: str, many: bool) -> Iterator[PartRow]:
    """The rows of one partition, in order of table and key; `many`: fetched few at a time."""
    for table in digest.in_order(model.definition):
        query = sql.SQL("SELECT {} FROM {} WHERE study_id = %s AND partition = %s").format(
            sql.SQL(", ").join(sql.Identifier(name) for name in table.names),
            sql.Identifier(model.schema, table.name),
        )
        if table.key:
            query += sql.SQL(" ORDER BY ") + sql.SQL(", ").join(sql.Identifier(name) for name in table.key)
        if not many:
            for values in conn.execute(query, (study, partition)):
                yield table.name, values
            continue
        with conn.cursor(name="differences") as cursor:
            cursor.itersize = FETCH
            for values in cursor.execute(query, (study, partition)):
                yield table.name, values


def _count(conn: Conn, model: ReadModel, study: str, partition: str) -> int:
    total = 0
    for table in model.definition.tables:
        query = sql.SQL("SELECT count(*) FROM {} WHERE study_id = %s AND partition = %s")
        row = conn.execute(query.format(sql.Identifier(model.schema, table.name)), (study, partition)).fetchone()
        total += int(row[0]) if row is not None else 0
    return total


# -- the report ------------------------------------------------------------------------------------------------


def _report(
    conn: Conn, study: str, size: int, models: Sequence[ReadModel], sums: Sequence[Digest], tally: Tally
) -> dict[str, Any]:
    """What the comparison found: names and numbers, no value."""
    row = conn.execute(SQL["origin"], {"study": study}).fetchone()
    if row is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    own = study_aggregate_id(row[0])
    listed = tally.by_subject()
    places = placed(conn, study, own, size, tally.partitions)
    return {
        "format": FORMAT,
        "study": study,
        "projection": models[1].definition.name,
        "size": size,
        "root": b64url(root_at(conn, study, size)),
        "redactions": _redactions(conn, study, size),
        "before": _side(models[0], sums[0]),
        "after": _side(models[1], sums[1]),
        "counts": tally.counts(),
        "tables": tally.by_table(),
        "columns": tally.by_column(),
        "sites": tally.by_site({name: place.site for name, place in places.items()}),
        "subjects": listed[:MAX_SUBJECTS_LISTED],
        "subjects_not_listed": max(0, len(listed) - MAX_SUBJECTS_LISTED),
        "differences_digest": tally.digest,
    }


def _redactions(conn: Conn, study: str, size: int) -> int:
    row = conn.execute(SQL["redactions_below"], {"study": study, "size": size}).fetchone()
    return int(row[0]) if row is not None else 0


def _side(model: ReadModel, summed: Digest) -> dict[str, Any]:
    return {
        "version": model.definition.version,
        "fingerprint": model.fingerprint,
        "schema": model.schema,
        "digest": summed.root,
        "partitions": len(summed.partitions),
        "rows": summed.rows,
    }


class Placed(NamedTuple):
    """A subject's site and number, as far as they are known."""

    site: str | None
    number: str | None


def placed(conn: Conn, study: str, own: UUID, size: int, partitions: Iterable[str] | None = None) -> dict[str, Placed]:
    """Site and number of these subjects, or of all, as of a size: from what placed them, the site else from the first
    record."""
    subjects = {name: empty(Subject, UUID(name)) for name in partitions or () if name != STUDY_PARTITION}
    unread: set[str] = set()
    wanted = events_of_topics(conn, study, topics_of(conn, study, PLACING | ACTS), size)
    for event in wanted if subjects or partitions is None else ():
        name = str(event.originator)
        if partitions is None and event.originator != own:
            subjects.setdefault(name, empty(Subject, event.originator))
        if name in subjects and name not in unread:
            try:
                fold_one(subjects[name], event, whole=False)
            except FoldFailed:  # what stops a projection stops no count
                unread.add(name)
    found = {name: Placed(site_of(subject), number(subject)) for name, subject in subjects.items()}
    missing = [UUID(name) for name, place in found.items() if place.site is None]
    for event in first_events(conn, study, missing, size) if missing else ():
        name = str(event.originator)
        found[name] = found[name]._replace(site=stored_statement(event).claims.get("site"))
    return found
