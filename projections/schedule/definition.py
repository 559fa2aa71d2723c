"""The schedule projection: a line a subject, and the records that a plan is made from or compared with.

A plan starts from moments of a subject's course: screening, consent, enrolment, administrations, visits, procedures,
examinations, ends. What was done for a planned time point names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.domain.aggregate import Study, Subject
from ledger.domain.record import Record
from projections.engine.definition import Definition, Row
from projections.subjects import COURSE, NOT_COMPARED, RECORDS, SUBJECTS, line_rows, record_rows

MOMENTS = COURSE | {
    "ConsentGiven",
    "ConsentWithdrawn",
    "EligibilityAssessed",
    "ProcedureRecorded",
    "VisitRecorded",
    "AssessmentRecorded",
    "InfusionAuthorised",
    "InfusionWithheld",
}
NAMING = frozenset({"SpecimenDrawn", "LabResultReported"})
"""Events that are read where they name a planned time point."""

EVENTS = MOMENTS | NAMING


def changed(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
    """The subject's line, and of the records touched those that matter to a plan, or did before a correction."""
    assert isinstance(state, Subject)
    yield from line_rows(state, touched)
    kept = [r for r in touched if r.event in MOMENTS or "planned" in r.content or "planned" in r.values]
    yield from record_rows(kept, NOT_COMPARED)


DEFINITION = Definition("schedule", 1, (RECORDS, SUBJECTS), changed, events=EVENTS)
