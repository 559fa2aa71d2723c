"""What several projections keep of a subject: one line about it, and records to make its aggregate of again.

The line is a function of the subject's own records. Verdicts, windows, findings and the like need the study too (its
protocol, its sites), so they are derived when a page is read, by the domain's own functions on an aggregate made of
the kept records: an interpretation or an amendment then changes every page at once, and no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.domain.aggregate import Subject
from ledger.domain.participation import death, end_of, number, screened, screening, site_of, treatment_end
from ledger.domain.record import Record
from projections.engine.definition import Column, Index, Row, Table
from projections.engine.stored import decode, encode, of_records

RECORDS = Table("records", (Column("idx", "bigint"), Column("event"), Column("record")), key=("idx",))
"""A subject's records as they stand."""

SUBJECTS = Table(
    "subjects",
    (
        Column("name"),
        Column("number", optional=True),
        Column("site", optional=True),
        Column("population", optional=True),
        Column("sex", optional=True),
        Column("status"),
        Column("cohort", optional=True),
        Column("enrolled", "bigint", optional=True),
    ),
    indexes=(
        Index(("name", "partition")),
        Index(("number",), present="number"),
        Index(("cohort",), present="cohort"),
        Index(("population", "status")),
    ),
)
"""One line a subject. `name` is the number, or the UUID where there is none: what lists are ordered by."""

COURSE = frozenset(
    {
        "SubjectScreened",
        "SubjectRescreened",
        "SubjectTransferred",
        "EligibilityDecided",
        "SubjectEnrolled",
        "InfusionGiven",
        "TreatmentAdministered",
        "TreatmentDiscontinued",
        "SubjectWithdrawn",
        "SubjectCompleted",
        "SubjectDied",
        "DispositionRecorded",
    }
)
"""Events that the line depends on."""

ACTS = frozenset({"EntryCorrected", "EntryVoided", "DecisionReversed", "Countersigned"})
"""Acts that are kept beside the records that they changed: what came after a cut is read from them."""

NOT_COMPARED = frozenset({"as_transferred", "source", "document", "prompt", "comment", "narrative", "coding"})
"""Fields that no rule of a protocol reads: left out where only rules read the records."""


@dataclass(frozen=True, slots=True)
class Line:
    """A subject's line: see SUBJECTS."""

    name: str
    number: str | None
    site: str | None
    population: str | None
    sex: str | None
    status: str
    cohort: str | None
    enrolled: int | None


def line(subject: Subject) -> Line:
    """The line of a subject as its records stand; without a screening the site is not known from COURSE alone."""
    placed = screening(subject) is not None or subject.records.of("SubjectTransferred")
    seat = subject.records.last("SubjectEnrolled")
    known = number(subject)
    return Line(
        known or str(subject.id),
        known,
        site_of(subject) if placed else None,
        screened(subject, "population"),
        screened(subject, "sex"),
        status(subject),
        None if seat is None else seat.get("cohort"),
        None if seat is None else seat.index,
    )


def status(subject: Subject) -> str:
    """Where a subject stands, in one or two words; the furthest that its records say."""
    records = subject.records
    if death(subject) is not None:
        return "died"
    end = end_of(subject)
    if end is not None:
        return "withdrawn" if end.event == "SubjectWithdrawn" else "completed"
    disposed = _disposition(subject)
    if disposed is not None:
        return disposed
    if treatment_end(subject) is not None:
        return "treatment discontinued"
    if any(record.done for record in records.of("InfusionGiven", "TreatmentAdministered")):
        return "treated"
    if records.last("SubjectEnrolled") is not None:
        return "enrolled"
    decision = records.last("EligibilityDecided")
    if decision is not None:
        return "eligible" if decision.get("eligible") else "not eligible"
    return "screened" if records.of("SubjectScreened") else "not screened"


STATUSES = (
    "not screened",
    "screened",
    "screen failed",
    "not eligible",
    "eligible",
    "enrolled",
    "treated",
    "treatment discontinued",
    "discontinued",
    "withdrawn",
    "completed",
    "died",
)
"""Every status that there is."""

NOT_ENROLLED = ("not eligible", "screen failed")
"""Statuses of those who were screened and may not take part."""


def _disposition(subject: Subject) -> str | None:
    """What an imported disposition says of the end, by the words of SDTM's controlled terminology."""
    for record in reversed(subject.records.of("DispositionRecorded")):
        category = str(record.get("category") or "").casefold()
        if not record.done or category not in ("", "disposition event"):
            continue
        said = str(record.get("decoded") or record.get("term") or "").casefold()
        if "screen fail" in said:
            return "screen failed"
        if said == "completed":
            return "completed"
        return "discontinued"
    return None


def line_rows(subject: Subject, touched: Iterable[Record]) -> Iterator[Row]:
    """The subject's line, where something that it depends on was touched."""
    if any(record.event in COURSE for record in touched):
        found = line(subject)
        yield "subjects", tuple(getattr(found, name) for name in Line.__slots__)


def record_rows(touched: Iterable[Record], leave_out: frozenset[str] = frozenset()) -> Iterator[Row]:
    """A row for each record."""
    for record in touched:
        yield "records", (record.index, record.event, encode(record, leave_out))


def subject_of(partition: str, rows: Iterable[Any]) -> Subject:
    """The subject that these rows of RECORDS keep."""
    return of_records(Subject, UUID(partition), (decode(row.record) for row in rows))
