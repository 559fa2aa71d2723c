"""The cohorts' page: seats, dose, subjects, toxicities, reviews, what blocks the next step; enrolment against plan.

Who sits where, how far each subject was watched and what may be done next is asked of the domain, on the study and the
subjects as of the size that is read. A study without cohorts is served with an empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ledger.domain import dose_level
from ledger.domain.aggregate import Subject
from ledger.domain.basis import SAFETY, basis_changed, changes_since, cut_size
from ledger.domain.moments import happened
from ledger.domain.participation import given, site_of, zone_of
from ledger.domain.record import Record
from ledger.domain.study import held, protocol_for
from ledger.protocol import ResolvedProtocol, escalation
from ledger.protocol.model.course import Cohort
from projections.cohort.past import REVIEW, holds, of_cohort, reversal
from projections.cohort.steps import Asking, dose_choices, next_steps
from projections.engine.errors import CohortNotFound
from projections.engine.reading import Reader
from projections.engine.rows import Where, every
from projections.entries import Entries
from projections.subjects import NOT_ENROLLED, line, subject_of

Load = Callable[[str], Subject | None]


def cohorts(reader: Reader) -> dict[str, Any]:
    """Every cohort of the protocol in order, and the study's enrolment."""
    protocol = protocol_for(reader.study)
    asking = _asking(reader)
    planned = [] if protocol is None else list(protocol.definition.cohorts.values())
    known = {} if protocol is None else _courses(reader, protocol, asking.load)
    return {
        "protocol": None if protocol is None else protocol.label,
        "cohorts": [_cohort(reader, protocol, one, known, asking) for one in planned if protocol is not None],
        "unplanned": _unplanned(reader, protocol),
        "dose_selection": _selection(reader, planned),
        "dose_choices": dose_choices(asking),
        "policy": None if protocol is None else _policy(protocol),
        "open_ambiguities": [] if protocol is None else [one.id for one in protocol.open],
        "held": _held(reader),
        **_enrolment(reader, protocol),
        "cut": reader.cut(),
    }


def cohort(reader: Reader, cohort_id: str) -> dict[str, Any]:
    """One cohort; raises CohortNotFound."""
    protocol = protocol_for(reader.study)
    planned = None if protocol is None else protocol.definition.cohorts.get(cohort_id)
    if protocol is None or planned is None:
        raise CohortNotFound(f"the protocol has no cohort {cohort_id!r}")
    asking = _asking(reader)
    known = _courses(reader, protocol, asking.load)
    return {**_cohort(reader, protocol, planned, known, asking), "cut": reader.cut()}


def _asking(reader: Reader) -> Asking:
    @cache
    def load(label: str) -> Subject | None:
        partition = label.partition("/")[2]
        rows = list(every(reader.rows, "records", (Where("partition", "=", partition),), ("idx",)))
        return subject_of(partition, rows) if rows else None

    return Asking(reader, load)


def _courses(reader: Reader, protocol: ResolvedProtocol, load: Load) -> dict[str, escalation.CohortCourse]:
    return dose_level.courses(reader.study, protocol, reader.roster, load, reader.at.isoformat())


def _cohort(
    reader: Reader, protocol: ResolvedProtocol, planned: Cohort, known: escalation.Courses, asking: Asking
) -> dict[str, Any]:
    state, course = dose_level.state(reader.study, planned.id), known[planned.id]
    labels = [label for label, seat in reader.seats.items() if seat.cohort == planned.id]
    subjects = [subject for subject in map(asking.load, labels) if subject is not None]
    seats = escalation.seats(protocol.definition, course)
    entries = Entries(reader.study, reader.study.records)
    rule = escalation.recommendation(protocol.definition, course)
    treatment = protocol.definition.treatment
    return {
        "id": planned.id,
        "label": planned.label,
        "purpose": planned.purpose,
        "order": planned.order,
        "after": planned.after,
        "dose": dose_level.dose_of(reader.study, protocol, planned.id),
        "dose_unit": None if treatment is None else treatment.dose_unit,
        "status": _status(reader, state),
        "opened": None if state.opened is None else entries.of(state.opened),
        "holding": None if state.holding is None else entries.of(state.holding),
        "seats": seats,
        "seats_planned": planned.seats,
        "seats_added": course.added,
        "enrolled": course.enrolled,
        "free": None if seats is None else max(0, seats - course.enrolled),
        "evaluated": course.evaluated,
        "dlts": course.dlts,
        "policy_says": None if rule is None else {"action": rule.action, "text": rule.text, "seats": rule.seats},
        "stopping_rules_reached": list(
            escalation.rule_stops(protocol.definition, {course.cohort: course}, course.cohort)
        ),
        "subjects": [_subject(reader, protocol, subject) for subject in subjects],
        "reviews": [_review(asking, planned.id, one, entries) for one in of_cohort(reader.study, planned.id, REVIEW)],
        "holds": holds(reader.study, planned.id, entries),
        "next": next_steps(asking, protocol, planned, subjects),
    }


def _status(reader: Reader, state: dose_level.CohortState) -> str:
    """planned, open, held, stopped; closed with the study."""
    closing = held(reader.study)
    if closing is not None and closing.event == "StudyClosed":
        return "closed"
    return "planned" if state.opened is None else state.standing


def _subject(reader: Reader, protocol: ResolvedProtocol, subject: Subject) -> dict[str, Any]:
    """A seat with who sits there and how far they have come."""
    shown, seat = line(subject), reader.seats[subject.label]
    zone = zone_of(reader.study, site_of(subject))
    treatment = protocol.definition.treatment
    doses = given(subject, zone, treatment.event if treatment is not None else "InfusionGiven")
    watched = dose_level.watch(reader.study, protocol, subject, reader.at.isoformat())
    return {
        "id": str(subject.id),
        "number": shown.number,
        "site": shown.site,
        "status": shown.status,
        "enrolled": seat.index,
        "order": reader.enrolment_order(subject.label),
        "administrations": len(doses),
        "planned_administrations": None if treatment is None else treatment.number,
        "first_at": happened(doses[0]) if doses else None,
        "last_at": happened(doses[-1]) if doses else None,
        "watch": {"standing": watched.standing, "because": watched.because, "indexes": list(watched.indexes)},
        "dlts": [
            {"index": one.index, "adverse_event": one.get("adverse_event"), "reason": one.get("reason")}
            for one in dose_level.toxicities(subject)
        ],
    }


def _review(asking: Asking, cohort: str, review: Record, entries: Entries) -> dict[str, Any]:
    """A review, standing or reversed, with its cut and conclusion, what of its basis has changed, and what came after
    its cut: of everybody who has sat in the cohort since that cut, not only of those who still do."""
    reader, size = asking.reader, cut_size(review)
    subjects = [one for one in map(asking.load, reader.roster.since(size, cohort)) if one is not None]
    later = {record.index for one in subjects for record in changes_since(one.records, size, SAFETY)}
    return {
        **entries.of(review),
        "conclusion": review.get("conclusion"),
        "reason": review.get("reason"),
        "reversed": reversal(reader.study, review),
        "cut": review.cut,
        "basis_changed": basis_changed(reader.study, subjects, review),
        "after_its_cut": sorted(later),
    }


def _selection(reader: Reader, planned: Sequence[Cohort]) -> list[dict[str, Any]]:
    """The doses that were selected, and stand."""
    entries = Entries(reader.study, reader.study.records)
    chosen = [dose_level.selection(reader.study, one.id) for one in planned]
    return [
        {**entries.of(one), "cohort": one.get("cohort"), "dose_level": one.get("dose_level")}
        for one in chosen
        if one is not None
    ]


def _policy(protocol: ResolvedProtocol) -> dict[str, Any] | None:
    found = escalation.policy(protocol.definition)
    dlt = protocol.definition.dlt
    if found is None:
        return None
    return {
        "id": found.id,
        "label": found.label,
        "text": found.text,
        "dlt": {"definition": dlt.definition, "window": dlt.window, "window_from": dlt.window_from},
        "stopping_rules": [rule.text for rule in protocol.definition.stopping_rules.values()],
    }


def _held(reader: Reader) -> dict[str, Any] | None:
    holding = held(reader.study)
    return (
        None if holding is None else {"event": holding.event, "index": holding.index, "reason": holding.get("reason")}
    )


def _unplanned(reader: Reader, protocol: ResolvedProtocol | None) -> dict[str, int]:
    """Seats in cohorts that the protocol does not have."""
    planned = set() if protocol is None else set(protocol.definition.cohorts)
    found: dict[str, int] = {}
    for seat in reader.seats.values():
        if seat.cohort not in planned:
            found[seat.cohort] = found.get(seat.cohort, 0) + 1
    return found


def _enrolment(reader: Reader, protocol: ResolvedProtocol | None) -> dict[str, Any]:
    """Enrolled against planned, who was screened, who may not take part."""
    counted = reader.rows.counts("subjects", ("population", "status"))
    populations: dict[str, int] = {}
    for (population, _), count in counted.items():
        name = population or "unknown"
        populations[name] = populations.get(name, 0) + count
    planned = None if protocol is None else protocol.definition.planned_enrolment
    return {
        "enrolled": len(reader.seats),
        "planned_enrolment": None if planned is None else {"count": planned.count, "kind": planned.kind},
        "subjects": sum(counted.values()),
        "populations": populations,
        "controls": {name: count for name, count in populations.items() if not _enrols(protocol, name)},
        "screen_failures": sum(
            count
            for (population, status), count in counted.items()
            if status in NOT_ENROLLED and _enrols(protocol, population)
        ),
    }


def _enrols(protocol: ResolvedProtocol | None, population: str | None) -> bool:
    """Whether a population takes seats; one that is not known may."""
    known = None if protocol is None else protocol.definition.populations.get(population or "")
    return known is None or known.enrols
