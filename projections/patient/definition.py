"""The patient projection: every record of every subject as it stands, and a line a subject for lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ledger.domain import query
from ledger.domain.adverse_event import adverse_events
from ledger.domain.aggregate import Study, Subject
from ledger.domain.participation import site_of
from ledger.domain.record import Record
from projections.engine.definition import Column, Definition, Row
from projections.subjects import RECORDS, SUBJECTS, Line, line, record_rows

COUNTS = (
    "events",
    "last_index",
    "corrections",
    "voids",
    "open_queries",
    "adverse_events",
    "serious_adverse_events",
    "administrations",
    "deviations",
)

PATIENTS = replace(SUBJECTS, columns=(*SUBJECTS.columns, *(Column(name, "bigint") for name in COUNTS)))
"""The subject's line, with how much is recorded about it."""


def changed(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
    """The records touched, and the subject's line."""
    assert isinstance(state, Subject)
    yield from record_rows(touched)
    found = replace(line(state), site=site_of(state))
    yield "subjects", (*(getattr(found, name) for name in Line.__slots__), *counts(state))


def counts(subject: Subject) -> tuple[int, ...]:
    """How much is recorded about a subject, in the order of COUNTS; what is void does not count."""
    records = subject.records
    events = adverse_events(subject)
    asked = records.of("QueryOpened")
    return (
        len(records),
        records.last_index,
        len(records.of("EntryCorrected")),
        len(records.of("EntryVoided")),
        sum(query.state(records, opened) != "closed" for opened in asked),
        len(events),
        sum(event.get("serious") is True for event in events),
        sum(record.done for record in records.of("InfusionGiven", "TreatmentAdministered")),
        sum(record.done for record in records.of("DeviationRecorded")),
    )


DEFINITION = Definition("patient", 1, (RECORDS, PATIENTS), changed)
