"""Specimens: drawn for a planned time point, received, processed, discarded.

 SPECIMEN-1  a specimen was drawn, or an examination done, outside the window of its time point
 SPECIMEN-2  a record names a time point that the protocol does not have
 SPECIMEN-3  a record names a time point that is not planned for this subject
 SPECIMEN-4  two draws have the same specimen id
 SPECIMEN-5  something was done with a specimen that was never drawn
`occurred_at` of SpecimenDrawn is the time of the draw; `specimen` is the specimen's id in this study.
Source: ICH E6(R3) 2.12, 4.2; the protocol's time points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ledger.domain.context import Context
from ledger.domain.model import Code, Decimal, EventModel, Fact, Label, Reason, Text
from ledger.domain.moments import at, happened
from ledger.domain.participation import protocol_of, screened, site_of, zone_of
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, FindingRule
from ledger.domain.roles import DATA_MANAGER, LABORATORY, SITE_STAFF, SYSTEM
from ledger.protocol import windows

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.protocol import ResolvedProtocol

RECORDERS = SITE_STAFF | LABORATORY | SYSTEM
MAX_PARTS = 100  # aliquots of one specimen


class SpecimenFact(Fact):
    """What happened to a specimen."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    needed = ("specimen",)

    specimen: Label | None = None


class SpecimenDrawn(SpecimenFact):
    """A specimen was drawn from the subject, for a planned time point or beside the plan."""

    words = "recorded that specimen {specimen} ({material}) was drawn for {planned}"
    rules = ("SPECIMEN-1", "SPECIMEN-2", "SPECIMEN-3", "SPECIMEN-4", "CONSENT-5", "CONSENT-8", "PERSON-1")

    material: Label | None = None
    code: Code | None = None
    planned: Label | None = None
    container: Label | None = None
    volume: Decimal | None = None
    volume_unit: Label | None = None
    location: Label | None = None
    fasting: bool | None = None


class SpecimenReceived(SpecimenFact):
    """A specimen arrived at a laboratory."""

    words = "recorded that specimen {specimen} was received: {condition}"
    rules = ("SPECIMEN-5",)

    laboratory: Label | None = None
    condition: Text | None = None
    temperature: Decimal | None = None
    temperature_unit: Label | None = None


class SpecimenProcessed(SpecimenFact):
    """A specimen was processed; `parts` are the specimens that came of it."""

    words = "recorded that specimen {specimen} was processed: {method}"
    rules = ("SPECIMEN-5", "CONSENT-8")

    method: Text | None = None
    parts: Annotated[list[Label], Field(max_length=MAX_PARTS)] | None = None


class SpecimenDiscarded(SpecimenFact):
    """A specimen was discarded or lost."""

    words = "recorded that specimen {specimen} was discarded: {reason}"
    rules = ("SPECIMEN-5", "LAB-2")

    reason: Reason | None = None


EVENTS: tuple[type[EventModel], ...] = (SpecimenDrawn, SpecimenReceived, SpecimenProcessed, SpecimenDiscarded)


class OutOfWindow(FindingRule):
    """Something planned was done outside its window."""

    rule = "SPECIMEN-1"


class TimepointUnknown(FindingRule):
    """A record names a time point that the protocol does not have."""

    rule = "SPECIMEN-2"


class NotPlannedForSubject(FindingRule):
    """A record names a time point that is not planned for this subject."""

    rule = "SPECIMEN-3"


class SpecimenIdTwice(FindingRule):
    """Two specimens were drawn under the same id."""

    rule = "SPECIMEN-4"


class SpecimenNeverDrawn(FindingRule):
    """Something was done with a specimen of which no draw is recorded."""

    rule = "SPECIMEN-5"


PLANNED = ("SpecimenDrawn", "LabResultReported", "AssessmentRecorded", "VisitRecorded")
"""Facts that may name the planned time point that they belong to."""


def drawn(subject: Subject) -> dict[str, list[Record]]:
    """Draws that stand, by specimen id."""
    found: dict[str, list[Record]] = {}
    for record in subject.records.of("SpecimenDrawn"):
        if record.done and record.get("specimen") is not None:
            found.setdefault(record.get("specimen"), []).append(record)
    return found


def parts(subject: Subject) -> frozenset[str]:
    """Ids of specimens that came of processing others."""
    done = (r for r in subject.records.of("SpecimenProcessed") if r.done)
    return frozenset(part for record in done for part in record.get("parts") or ())


def findings(study: Study, subject: Subject, order: int | None = None) -> Iterator[Finding]:
    """SPECIMEN-1 to SPECIMEN-5 for one subject; `order` is its place among those enrolled, where known."""
    draws = drawn(subject)
    for name, records in draws.items():
        for record in records[1:]:
            because = f"specimen {name!r} was drawn at index {records[0].index} already"
            shown = (record.index, records[0].index)
            yield SpecimenIdTwice.found(because, shown, subject.label, record.site)
    known = frozenset(draws) | parts(subject)
    for record in subject.records.of("SpecimenReceived", "SpecimenProcessed", "SpecimenDiscarded"):
        if record.done and record.get("specimen") not in known:
            because = f"specimen {record.get('specimen')!r}: no draw is recorded"
            yield SpecimenNeverDrawn.found(because, (record.index,), subject.label, record.site)
    yield from _planned(study, subject, order)


def schedule(
    study: Study, subject: Subject, order: int | None = None, below: int | None = None
) -> tuple[windows.Planned, ...]:
    """What is planned for a subject, by the protocol at its site; `order`: its place among those enrolled.

    `below`: by the version in force just below that index.
    """
    protocol = protocol_of(study, subject, below)
    return () if protocol is None else _plan(study, subject, protocol, order)


def _plan(study: Study, subject: Subject, protocol: ResolvedProtocol, order: int | None) -> tuple[windows.Planned, ...]:
    seat = subject.records.last("SubjectEnrolled")
    about = windows.SubjectFacts(
        population=screened(subject, "population"),
        sex=screened(subject, "sex"),
        childbearing_potential=screened(subject, "childbearing_potential"),
        enrolled_order=order,
        cohort=None if seat is None else seat.get("cohort"),
    )
    return windows.plan(protocol, about, subject.records, zone_of(study, site_of(subject)))


def _planned(study: Study, subject: Subject, order: int | None) -> Iterator[Finding]:
    """SPECIMEN-1 to SPECIMEN-3: each fact that names a time point, against what was planned when it was recorded."""
    zone = zone_of(study, site_of(subject))
    plans: dict[str, tuple[windows.Planned, ...]] = {}
    draws = drawn(subject)
    for record in subject.records.of(*PLANNED):
        name, place = record.get("planned"), (subject.label, record.site)
        protocol = protocol_of(study, subject, record.index) if record.done and name is not None else None
        if protocol is None or name in protocol.definition.visits:
            continue
        if protocol.label not in plans:
            plans[protocol.label] = _plan(study, subject, protocol, order)
        wanted = [p for p in plans[protocol.label] if name in (p.key, p.timepoint.id)]
        if not wanted:
            because = f"{record.event} names the time point {name!r}"
            yield TimepointUnknown.found(because, (record.index,), *place)
        elif all(p.applies is False for p in wanted):
            because = f"{name}: {wanted[0].because}"
            yield NotPlannedForSubject.found(because, (record.index,), *place, timepoint=name)
        elif at(happened(record)) is not None and not _of_a_draw(draws, record):
            yield from _window(record, wanted, zone, place)


def _of_a_draw(draws: Mapping[str, list[Record]], record: Record) -> bool:
    """A result of a specimen that was drawn: its draw is what lies in the window or not."""
    return record.event == "LabResultReported" and record.get("specimen") in draws


def _window(
    record: Record, wanted: list[windows.Planned], zone: tzinfo | None, place: tuple[str, str | None]
) -> Iterator[Finding]:
    """Outside the window of every occasion that it may belong to."""
    moment = datetime.fromisoformat(record.recorded_at)
    checks = [(p, windows.check(p, happened(record), moment, zone)) for p in wanted if p.applies is not False]
    if checks and not any(checks_out for _, checks_out in checks):
        planned, found = checks[0]
        because = f"{planned.key}: {found.standing.value}, {found.because}"
        yield OutOfWindow.found(because, (record.index,), *place, timepoint=planned.key)


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {}
"""Specimens are facts."""
