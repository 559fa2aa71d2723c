"""Rows that no table keeps: folded from the log as of a size, as far as they are asked for, without what the projection
passes over, and without what had not happened by a moment where one is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import LedgerAggregate, Study, Subject
from ledger.domain.participation import zone_of
from projections.engine.definition import STUDY_PARTITION, Definition, Row
from projections.engine.folding import FoldFailed, aggregates_below, fold_one, new_aggregate, subjects_of
from projections.engine.lacking import WHOLE, Lacking
from projections.engine.occurrence import OccurredBy, Zones, as_happened
from projections.engine.stored import of_records

Conn = Connection[TupleRow]

A = TypeVar("A", bound=LedgerAggregate)


@dataclass
class Uncertain:
    """How many records may have occurred by the moment, and are left out; each partition counts once."""

    by_partition: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Of all partitions that were looked at."""
        return sum(self.by_partition.values())


def zones_of(study: Study) -> Zones:
    """The zone of each site of a study."""
    return cache(lambda site: zone_of(study, site))


def cut_study(study: Study, by: OccurredBy, uncertain: Uncertain) -> Study:
    """The study with what had happened to it; whoever acts in it and the rules for reading it are whole."""
    found = as_happened(study.records, by, zones_of(study))
    uncertain.by_partition[STUDY_PARTITION] = found.uncertain
    cut = of_records(Study, study.id, found.records)
    cut.authority = study.authority
    return cut


def cut_subject(subject: Subject, by: OccurredBy, study: Study, uncertain: Uncertain | None = None) -> Subject:
    """A subject with what had happened to it."""
    found = as_happened(subject.records, by, zones_of(study))
    if uncertain is not None:
        uncertain.by_partition[str(subject.id)] = found.uncertain
    return of_records(Subject, subject.id, found.records)


class Fold:
    """Folds a definition's rows as of a size: of one partition, or of all. `state` is the study as of it, cut already
    where `by` is given; without what the projection passes over and what stands still."""

    def __init__(
        self,
        conn: Conn,
        definition: Definition,
        study: str,
        size: int,
        state: Study,
        by: OccurredBy | None = None,
        uncertain: Uncertain | None = None,
        lacking: Lacking = WHOLE,
    ) -> None:
        self._conn, self._definition, self._study, self._size = conn, definition, study, size
        self._state, self._by, self._uncertain = state, by, uncertain
        self._lacking = lacking

    def __call__(self, partition: str | None) -> Iterator[tuple[str, Iterable[Row]]]:
        """The rows of one partition, or of each."""
        definition = self._definition
        if definition.study and partition in (None, STUDY_PARTITION):
            state = self._own()
            yield STUDY_PARTITION, self._made(state)
        if partition is None:
            # Whether an act is in depends on what it is about, whatever event that is.
            events = definition.events if self._by is None else None
            own, left_out = self._state.id, self._lacking.left_out
            for subject in subjects_of(self._conn, self._study, own, events, self._size, left_out):
                yield from self._rows(subject)
        elif partition != STUDY_PARTITION:
            yield from self._rows(self._one(UUID(partition)))

    def _rows(self, subject: Subject) -> Iterator[tuple[str, Iterable[Row]]]:
        if self._by is not None:
            subject = cut_subject(subject, self._by, self._state, self._uncertain)
        if len(subject.records):
            yield str(subject.id), self._made(subject)

    def _made(self, aggregate: Study | Subject) -> list[Row]:
        """The rows of an aggregate; what its handler cannot take in stands somewhere before the size."""
        try:
            return list(self._definition.rows(aggregate, list(aggregate.records)))
        except Exception as error:  # whatever a handler raises
            last = aggregate.records.last_index
            raise FoldFailed(last, "or an earlier one", f"{type(error).__name__}: {error}") from error

    def _own(self) -> Study:
        """The study as this projection has it: as of where it stands still, where it does."""
        if STUDY_PARTITION not in self._lacking.stopped:
            return self._state
        state = self._folded(self._state.id)
        assert isinstance(state, Study)
        return state if self._by is None else cut_study(state, self._by, self._uncertain or Uncertain())

    def _one(self, subject_id: UUID) -> Subject:
        subject = self._folded(subject_id)
        assert isinstance(subject, Subject)
        return subject

    def _folded(self, about: UUID) -> Study | Subject:
        aggregate = new_aggregate(about, self._state.id)
        skipped = self._lacking.passed_over(about)
        stopped = self._lacking.stopped.get(STUDY_PARTITION if about == self._state.id else str(about))
        size = self._size if stopped is None else min(stopped.index, self._size)
        for event in aggregates_below(self._conn, self._study, {about: 0}, size):
            fold_one(aggregate, event, skipped=skipped)
        return aggregate
