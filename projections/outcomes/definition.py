"""The outcomes projection: a line a subject, and the records that outcome measures are read from.

A laboratory result is kept with the name and the code under which it was reported, for comparing: a page asks for
the results of the analytes that the protocol names, and of no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ledger.domain.aggregate import Study, Subject
from ledger.domain.record import Record
from ledger.protocol.facts import plain
from projections.engine.definition import Column, Definition, Index, Row
from projections.engine.stored import encode
from projections.subjects import COURSE, NOT_COMPARED, RECORDS, SUBJECTS, line_rows

RESULT = "LabResultReported"

EVENTS = COURSE | {
    RESULT,
    "ConsentGiven",
    "ConsentWithdrawn",
    "AssessmentRecorded",
    "MedicationRecorded",
    "ProcedureRecorded",
    "HistoryRecorded",
    "VisitRecorded",
    "SpecimenDrawn",
    "AdverseEventReported",
    "AdverseEventFollowedUp",
}

MEASURED = replace(
    RECORDS,
    columns=(*RECORDS.columns, Column("analyte", optional=True), Column("code", optional=True)),
    indexes=(
        Index(("event",)),
        Index(("analyte",), present="analyte"),
        Index(("code",), present="code"),
    ),
)
"""A subject's records; of a result the analyte as reported (without case and surplus blanks), and `system|code`."""


def changed(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
    """The subject's line and the records touched."""
    assert isinstance(state, Subject)
    yield from line_rows(state, touched)
    for record in touched:
        analyte, code = reported_as(record) if record.event == RESULT else (None, None)
        yield "records", (record.index, record.event, encode(record, NOT_COMPARED), analyte, code)


def reported_as(record: Record) -> tuple[str | None, str | None]:
    """The name and the code of what a result says that it measured."""
    named, code = record.content.get("analyte"), record.content.get("code")
    coded = isinstance(code, dict) and isinstance(code.get("system"), str) and isinstance(code.get("code"), str)
    return (
        plain(named) if isinstance(named, str) else None,
        f"{code['system']}|{code['code']}" if coded and isinstance(code, dict) else None,
    )


DEFINITION = Definition("outcomes", 1, (MEASURED, SUBJECTS), changed, events=EVENTS)
