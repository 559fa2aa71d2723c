"""What is planned for one subject, and when: each occasion of each time point.

Rules (SCHEDULE): a planned time is an offset from an anchor that really happened; no window is invented where
neither the record nor an interpretation gives one. Offsets in days and weeks name a day in the site's zone;
offsets and windows by the clock name a moment. Whether a time point is a subject's may be undecided, and so
may its anchor: then nothing is planned, and it says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo

from ledger.protocol.dates import Duration, PartialTime, local_dates, parse_duration
from ledger.protocol.facts import Facts, Selection, time_of, value_at
from ledger.protocol.model import Definition
from ledger.protocol.model.course import Timepoint
from ledger.protocol.versions import ResolvedProtocol

Span = tuple[datetime, datetime]
"""The earliest and the latest moment that something may mean, in UTC or, for days, as midnights."""


@dataclass(frozen=True, slots=True)
class SubjectFacts:
    """What decides whether a time point is a subject's; None where it is not known.

    `enrolled_order` counts the study's enrolments from 1.
    """

    population: str | None
    sex: str | None = None
    childbearing_potential: bool | None = None
    enrolled_order: int | None = None
    cohort: str | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """One occasion of a time point for one subject.

    `key`: the time point's id, with `.1`, `.2` ... where it repeats. `applies`: None where it is not decided.
    `at`: the planned moment (by the clock, UTC) or local midnight of the planned day; None while there is no
    anchor. `earliest` and `latest`: the window, both included (days: midnights); None on a side without one.
    `settled`: False while a later fact may still become the anchor.
    """

    key: str
    timepoint: Timepoint
    offset: str
    applies: bool | None
    because: str
    by_clock: bool
    nominal: Span | None = None
    until: datetime | None = None
    settled: bool = True
    other: PartialTime | None = None

    @property
    def at(self) -> datetime | None:
        """The planned moment or day, where the anchor's stamp decides it."""
        return self.nominal[0] if self.nominal and self.nominal[0] == self.nominal[1] else None

    @property
    def earliest(self) -> datetime | None:
        """The first moment or day of the window."""
        return self._moved(self.timepoint.window_before, back=True)

    @property
    def latest(self) -> datetime | None:
        """The last moment or day of the window."""
        return self._moved(self.timepoint.window_after, back=False)

    def _moved(self, length: str | None, back: bool) -> datetime | None:
        if length is None or self.nominal is None:
            return None
        duration = parse_duration(length)
        return (duration.negated() if back else duration).after(self.nominal[0 if back else 1])

    @property
    def has_window(self) -> bool:
        """Whether any side has a window."""
        return self.timepoint.window_before is not None or self.timepoint.window_after is not None


def plan(resolved: ResolvedProtocol, subject: SubjectFacts, facts: Facts, zone: tzinfo | None) -> tuple[Planned, ...]:
    """Every occasion of every time point for one subject, in the order of the protocol file."""
    selection = Selection(resolved.definition, resolved.analytes, facts, zone)
    return tuple(
        planned
        for point in resolved.definition.timepoints.values()
        for planned in _occasions(resolved, point, subject, selection, zone)
    )


def _occasions(
    resolved: ResolvedProtocol,
    point: Timepoint,
    subject: SubjectFacts,
    selection: Selection,
    zone: tzinfo | None,
) -> Iterator[Planned]:
    applies, because = _applies(resolved, point, subject)
    sides = (point.window_before, point.window_after)
    by_clock = any(parse_duration(text).by_clock for text in (point.offset, *filter(None, sides)))
    other = _other(resolved.definition, point, selection)
    bare = Planned(point.id, point, point.offset, applies, because, by_clock, other=other)
    offsets = _offsets(point)
    for place, offset in enumerate(offsets, start=1):
        key = point.id if len(offsets) == 1 else f"{point.id}.{place}"
        yield _anchored(replace(bare, key=key, offset=offset.text), point, offset, selection, zone)


def _offsets(point: Timepoint) -> list[Duration]:
    first = parse_duration(point.offset)
    if point.repeat is None:
        return [first]
    if point.repeat.every is None or point.repeat.until is None:
        return [first, *(parse_duration(text) for text in point.repeat.offsets)]
    every, last = parse_duration(point.repeat.every), parse_duration(point.repeat.until).rough_seconds
    found = [first]
    while found[-1].rough_seconds + every.rough_seconds <= last:
        found.append(_sum(found[-1], every))
    return found


def _sum(one: Duration, other: Duration) -> Duration:
    months, days = one.months + other.months, one.days + other.days
    seconds, by_clock = one.seconds + other.seconds, one.by_clock or other.by_clock
    weeks = days // 7 if not (months or by_clock) and days % 7 == 0 else None
    text = f"P{weeks}W" if weeks is not None else f"P{months}M{days}D" + (f"T{seconds}S" if by_clock else "")
    return Duration(text, months, days, seconds, by_clock)


def _applies(resolved: ResolvedProtocol, point: Timepoint, subject: SubjectFacts) -> tuple[bool | None, str]:
    if subject.population is None:
        return None, "the subject's population is not known"
    if subject.population not in point.populations:
        return False, f"is for {', '.join(point.populations)}"
    unknown = ""
    for wanted, own, what in (
        (point.sex, subject.sex if subject.sex in ("female", "male") else None, "sex"),
        (point.childbearing_potential, subject.childbearing_potential, "childbearing potential"),
    ):
        if wanted is not None and own is None:
            unknown = unknown or f"the subject's {what} is not known"
        elif wanted is not None and own != wanted:
            return False, f"is for another {what}"
    first = point.first
    if first is None:
        return (None, unknown) if unknown else (True, "")
    decided, because = _among_first(resolved, point, subject)
    return (None, unknown) if unknown and decided is not False else (decided, because)


def _among_first(resolved: ResolvedProtocol, point: Timepoint, subject: SubjectFacts) -> tuple[bool | None, str]:
    first = point.first
    assert first is not None
    if first.enrolled is None and not first.cohorts:
        open_ones = [ambiguity.id for ambiguity in resolved.open if ambiguity.id in point.ambiguities]
        return None, f"who belongs to the {first.text} is not decided: {', '.join(open_ones)}"
    if subject.enrolled_order is None or (first.cohorts and subject.cohort is None):
        return None, "the subject is not enrolled"
    within = first.enrolled is None or subject.enrolled_order <= first.enrolled
    if within and (not first.cohorts or subject.cohort in first.cohorts):
        return True, ""
    return False, f"is for the {first.text}"


def _other(definition: Definition, point: Timepoint, selection: Selection) -> PartialTime | None:
    """When the administration that a time point comes before or after was really given."""
    treatment = definition.treatment
    if point.sequence is None or treatment is None or point.sequence.timepoint not in treatment.timepoints:
        return None
    number = treatment.timepoints.index(point.sequence.timepoint) + 1
    given = [fact for fact in selection.facts.observations(treatment.event) if value_at(fact, "number") == number]
    return time_of(given[-1], ("started_at", "occurred_at")) if given else None


def _anchored(bare: Planned, point: Timepoint, offset: Duration, selection: Selection, zone: tzinfo | None) -> Planned:
    if point.anchor is None:
        return replace(bare, because=bare.because or point.anchor_text or "the record names no anchor")
    label = selection.definition.anchors[point.anchor].label
    times = selection.anchor_times(point.anchor)
    if not times:
        return replace(bare, because=bare.because or f"{label}: has not happened")
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return replace(bare, because=bare.because or f"{label}: its time is not known")
    spans = [span_of(time, bare.by_clock, zone) for time in known]
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    until = parse_duration(point.until).after(end) if point.until else None
    settled = _settled(selection, point.anchor)
    return replace(bare, nominal=(offset.after(start), offset.after(end)), until=until, settled=settled)


def _settled(selection: Selection, name: str) -> bool:
    anchor = selection.definition.anchors[name]
    if anchor.pick == "first" or (anchor.settled_after is None and not anchor.settled_by):
        return True
    enough = anchor.settled_after is not None and len(selection.anchor(name).sure) >= anchor.settled_after
    return enough or any(selection.facts.observations(event) for event in anchor.settled_by)


def span_of(time: PartialTime, by_clock: bool, zone: tzinfo | None) -> Span:
    """The moments, or the days as midnights, that a stamp may mean, to its own precision."""
    if not by_clock:
        first, last = local_dates(time, zone)
        return midnight(first), midnight(last)
    first_moment, last_moment = time.instants(zone)
    if time.has_clock_time and (time.offset is not None or zone is not None):
        return first_moment, first_moment
    return first_moment, last_moment


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Watch:
    """For how long dose-limiting toxicity is watched for in one subject; `ends`: the latest it may mean."""

    starts: datetime
    ends: datetime
    settled: bool


def toxicity_watch(resolved: ResolvedProtocol, facts: Facts, zone: tzinfo | None) -> Watch | None:
    """The watch for dose-limiting toxicity, in UTC; None while undefined or its anchor has not happened."""
    rule = resolved.definition.dlt
    if rule.window is None or rule.window_from is None:
        return None
    selection = Selection(resolved.definition, resolved.analytes, facts, zone)
    times = [time for time in selection.anchor_times(rule.window_from) if time is not None]
    if not times:
        return None
    spans = [time.instants(zone) for time in times]
    starts, last = min(span[0] for span in spans), max(span[1] for span in spans)
    ends = parse_duration(rule.window).after(last.astimezone(zone) if zone else last).astimezone(UTC)
    return Watch(starts, ends, _settled(selection, rule.window_from))
