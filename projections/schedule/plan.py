"""A subject's plan against what was done: every occasion of every time point, with its standing at a moment.

What was done for a time point names it (`planned`), or is an administration with the time point's number. A fact that
names a time point which comes repeatedly belongs to the nearest occasion. A result of a specimen that was drawn is not
what is due, the draw is. An administration that was withheld is not done, with its reason. The screening is done by the
assessment of eligibility, or by the decision. After what ended a subject's part (`ends.py`) nothing is due or missed
that was not missed before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

from ledger.domain import specimen
from ledger.domain.administration import numbers, withheld
from ledger.domain.aggregate import Study, Subject
from ledger.domain.moments import at as read_time
from ledger.domain.moments import decided, happened
from ledger.domain.participation import given, protocol_of, site_of, zone_of
from ledger.domain.record import Record
from ledger.protocol import ResolvedProtocol, windows
from ledger.protocol.dates import parse_duration
from ledger.protocol.model.course import Timepoint
from projections.schedule.ends import End, ends

NOT_DONE = "not done"
NO_LONGER_PLANNED = "no longer planned"

STANDINGS = (*(one.value for one in windows.Standing), NOT_DONE, NO_LONGER_PLANNED)
"""Every standing that an occasion can have."""

_OPEN = frozenset(
    {
        windows.Standing.UPCOMING,
        windows.Standing.NOT_PLANNED_YET,
        windows.Standing.DUE,
        windows.Standing.MISSED,
        windows.Standing.ENDED,
    }
)
"""Standings of what was not done, that an end may change."""

_OVER = frozenset({windows.Standing.MISSED, windows.Standing.ENDED})
"""Standings in which there was nothing left for an end to change."""
_FAR = timedelta.max


def occasions(study: Study, subject: Subject, order: int | None, moment: datetime) -> list[dict[str, Any]]:
    """Every occasion in the order of the protocol; empty where the study plans nothing. `order`: the subject's place
    among those enrolled; `moment` decides what is due, upcoming or missed."""
    protocol = protocol_of(study, subject)
    planned = specimen.schedule(study, subject, order)
    if protocol is None or not planned:
        return []
    zone = zone_of(study, site_of(subject))
    done = _assigned(planned, _done(protocol, subject, zone), zone)
    ended = ends(study, subject, protocol, moment, zone)
    return [_occasion(one, done.get(one.key, []), ended.get(one.timepoint.kind), moment, zone) for one in planned]


def due(listed: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a subject's occasions those that somebody has to look at: due or missed."""
    wanted = (windows.Standing.DUE, windows.Standing.MISSED)
    return [one for one in listed if one["standing"] in wanted and one["kind"] != "observation"]


def _done(protocol: ResolvedProtocol, subject: Subject, zone: tzinfo | None) -> list[tuple[str, Record]]:
    """What was done or recorded as not done, with the time point that it is for."""
    found = [*_administered(protocol, subject, zone), *_screened(protocol, subject)]
    drawn = specimen.drawn(subject)
    for record in subject.records.of(*specimen.PLANNED):
        name = record.get("planned")
        of_a_draw = record.event == "LabResultReported" and record.get("specimen") in drawn
        if isinstance(name, str) and not of_a_draw:
            found.append((name, record))
    return found


def _administered(protocol: ResolvedProtocol, subject: Subject, zone: tzinfo | None) -> Iterator[tuple[str, Record]]:
    """Administrations, and by their number those that were withheld or recorded as not done."""
    treatment = protocol.definition.treatment
    if treatment is None:
        return
    doses = given(subject, zone, treatment.event)
    left_out = [*withheld(subject), *(one for one in subject.records.of(treatment.event) if not one.done)]
    numbered = [*zip(doses, numbers(doses), strict=True), *((one, one.get("number")) for one in left_out)]
    for record, number in numbered:
        if isinstance(number, int) and 0 < number <= len(treatment.timepoints):
            yield treatment.timepoints[number - 1], record


def _screened(protocol: ResolvedProtocol, subject: Subject) -> Iterator[tuple[str, Record]]:
    """What concluded the screening: the decision on eligibility that stands, else the newest assessment."""
    assessed = [one for one in subject.records.of("EligibilityAssessed") if one.done]
    concluded = subject.records.last("EligibilityDecided") or (assessed[-1] if assessed else None)
    if concluded is not None:
        for name, point in protocol.definition.timepoints.items():
            if _is_the_screening(point):
                yield name, concluded


def _is_the_screening(point: Timepoint) -> bool:
    """An observation on the day of screening itself, once: that the criteria are looked at."""
    at_once = parse_duration(point.offset).rough_seconds == 0
    return point.kind == "observation" and point.anchor == "screening" and at_once and not (point.until or point.repeat)


def _assigned(
    planned: Sequence[windows.Planned], done: Iterable[tuple[str, Record]], zone: tzinfo | None
) -> dict[str, list[Record]]:
    """The records of each occasion."""
    by_name: dict[str, list[windows.Planned]] = {}
    for one in planned:
        by_name.setdefault(one.timepoint.id, []).append(one)
        if one.key != one.timepoint.id:
            by_name.setdefault(one.key, []).append(one)
    found: dict[str, list[Record]] = {}
    for name, record in done:
        several = by_name.get(name)
        if several:
            nearest = min(several, key=lambda one: _distance(one, record, zone))
            found.setdefault(nearest.key, []).append(record)
    return found


def _distance(planned: windows.Planned, record: Record, zone: tzinfo | None) -> timedelta:
    time = read_time(happened(record))
    if time is None or planned.nominal is None:
        return _FAR
    return abs(time.instants(zone)[0] - planned.nominal[0])


def _occasion(
    planned: windows.Planned, records: Sequence[Record], ended: End | None, moment: datetime, zone: tzinfo | None
) -> dict[str, Any]:
    point = planned.timepoint
    actuals = [_actual(planned, record, moment, zone) for record in sorted(records, key=lambda one: one.index)]
    standing, because = _standing(planned, actuals, ended, moment, zone)
    return {
        "timepoint": point.id,
        "key": planned.key,
        "label": point.label,
        "activity": point.activity,
        "kind": point.kind,
        "analytes": list(point.analytes),
        "offset": planned.offset,
        "anchor": point.anchor,
        "applies": planned.applies,
        "planned_at": _shown(planned, planned.at),
        "earliest": _shown(planned, planned.earliest),
        "latest": _shown(planned, planned.latest),
        "until": _shown(planned, planned.until),
        "standing": standing,
        "because": because,
        "ended_by": ended.index if ended is not None and standing == NO_LONGER_PLANNED else None,
        "actual": actuals,
    }


def _standing(
    planned: windows.Planned,
    actuals: Sequence[dict[str, Any]],
    ended: End | None,
    moment: datetime,
    zone: tzinfo | None,
) -> tuple[str, str]:
    """Of several actuals the one in the window counts, else the first; what was recorded as not done is that; what an
    end overtook before its window closed is no longer planned."""
    done = [one for one in actuals if one["standing"] != NOT_DONE]
    if done:
        best = next((one for one in done if one["standing"] == windows.Standing.IN_WINDOW), done[0])
        return best["standing"], best["because"]
    if actuals:
        return NOT_DONE, actuals[-1]["because"]
    found = windows.check(planned, None, moment, zone)
    overtaken = ended is not None and found.standing in _OPEN
    if ended is not None and overtaken and windows.check(planned, None, ended.at, zone).standing not in _OVER:
        return NO_LONGER_PLANNED, ended.because
    return found.standing.value, found.because


def _actual(planned: windows.Planned, record: Record, moment: datetime, zone: tzinfo | None) -> dict[str, Any]:
    when = decided(record) if record.kind == "decision" else happened(record)
    if record.event == "InfusionWithheld":
        standing, because = NOT_DONE, f"withheld: {record.get('reason') or 'no reason is given'}"
    elif not record.done:
        standing, because = NOT_DONE, record.get("status_reason") or "no reason is given"
    elif read_time(when) is None:
        standing, because = windows.Standing.UNDECIDED.value, "when it was done is not known"
    else:
        found = windows.check(planned, when, moment, zone)
        standing, because = found.standing.value, found.because
    return {
        "index": record.index,
        "event_id": record.jti,
        "event": record.event,
        "at": when,
        "standing": standing,
        "because": because,
    }


def _shown(planned: windows.Planned, moment: datetime | None) -> str | None:
    """A moment, or for what is planned by the day a date."""
    if moment is None:
        return None
    return moment.isoformat() if planned.by_clock else moment.date().isoformat()
