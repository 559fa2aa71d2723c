"""The cohort projection: a line a subject, and of those enrolled the records that cohorts are judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.domain.aggregate import Study, Subject
from ledger.domain.basis import SAFETY
from ledger.domain.record import Record
from projections.engine.definition import Definition, Row
from projections.subjects import ACTS, COURSE, NOT_COMPARED, RECORDS, SUBJECTS, line_rows, record_rows

EVENTS = COURSE | SAFETY | ACTS


def changed(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
    """The subject's line; its records once it is enrolled, all of them when that is recorded."""
    assert isinstance(state, Subject)
    yield from line_rows(state, touched)
    if "SubjectEnrolled" not in state.records.by_event:
        return
    if any(record.event == "SubjectEnrolled" for record in touched):
        touched = [record for record in state.records if record.event in EVENTS]
    yield from record_rows(touched, NOT_COMPARED)


DEFINITION = Definition("cohort", 1, (RECORDS, SUBJECTS), changed, events=EVENTS)
