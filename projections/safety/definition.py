"""The safety projection: a line a subject, and its records of treatment, adverse events, pregnancies and ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.domain.aggregate import Study, Subject
from ledger.domain.basis import SAFETY
from ledger.domain.record import Record
from projections.engine.definition import Definition, Row
from projections.subjects import COURSE, NOT_COMPARED, RECORDS, SUBJECTS, line_rows, record_rows

EVENTS = COURSE | SAFETY | {"SafetyReportSubmitted", "ConsentGiven"}

LEFT_OUT = NOT_COMPARED - {"coding"}
"""The coding is what adverse events are counted by; their narratives stand in the patient's page."""


def changed(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
    """The subject's line and the records touched."""
    assert isinstance(state, Subject)
    yield from line_rows(state, touched)
    yield from record_rows(touched, LEFT_OUT)


DEFINITION = Definition("safety", 1, (RECORDS, SUBJECTS), changed, events=EVENTS)
