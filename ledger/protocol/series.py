"""The counts of one subject that an outcome reads a response from, and that response.

Rules (RESPONSE): the baseline is the value that the protocol picks before treatment; a count belongs to the
outcome from after the start of treatment to the last planned time point and its window; a count within a
rescue treatment is left out (without a recorded end, and so without one known, it goes on); bleeding is what
the newest assessment says that is not older than the protocol allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, tzinfo

from ledger.protocol.dates import PartialTime, local_dates, parse_duration, parse_time
from ledger.protocol.expression.base import Quantity, Run
from ledger.protocol.expression.picking import converted, picked
from ledger.protocol.facts import Facts, Seen, plain, time_of, value_at
from ledger.protocol.model.course import Bleeding, OutcomeDefinition, ResponseCriteria
from ledger.protocol.model.criteria import Input
from ledger.protocol.quantities import Interval
from ledger.protocol.response import Count, Response, assess
from ledger.protocol.versions import ResolvedProtocol

RESULT = "LabResultReported"
"""The fact that states a count, with `value`, `comparator`, `unit`."""
MEDICATION, RESCUE = "MedicationRecorded", "rescue"
"""The fact that records a rescue treatment, by its `category`, from `start_date` to `end_date`."""


def response_of(resolved: ResolvedProtocol, outcome_id: str, facts: Facts, zone: tzinfo | None = None) -> Response:
    """The response of one subject for an outcome of the kind `response`; KeyError where there is none."""
    definition = resolved.definition.outcomes[outcome_id].definition
    if definition is None or definition.kind != "response":
        raise KeyError(f"{outcome_id} is no outcome that is read as a response")
    if definition.criteria is None or definition.baseline is None:
        return Response(None, None, "the protocol does not say what counts as a response")
    criteria = resolved.definition.response_criteria[definition.criteria]
    run = resolved.run(facts, zone)
    counts = _Counts(run, definition, criteria)
    return assess(criteria, counts.baseline(), counts.after_start())


class _Counts:
    """Reads baseline and counts of one subject."""

    def __init__(self, run: Run, definition: OutcomeDefinition, criteria: ResponseCriteria):
        assert definition.baseline is not None, "asked before"
        self.run = run
        self.definition = definition
        self.criteria = criteria
        self.start = definition.baseline.before
        analyte = run.definition.analytes[definition.analytes[0]]
        self.selector = Input(
            id="counts",
            label=analyte.label,
            events=(RESULT,),
            analyte=analyte.id,
            field="value",
            type="number",
            pick="all",
            unit=criteria.unit,
            unit_field="unit",
            comparator_field="comparator",
        )

    def baseline(self) -> Interval | None:
        """The value before treatment, as far as it is known; None without one."""
        rule = self.definition.baseline
        assert rule is not None, "asked before"
        if not self.run.selection.anchor_times(self.start):
            return None
        selector = self.selector.model_copy(update={"pick": rule.pick, "before": self.start})
        value = picked(self.run, "baseline", selector, self.run.selection.chosen(selector)).value
        return value.interval if isinstance(value, Quantity) else None

    def after_start(self) -> list[Count]:
        """Every count that lies or may lie after the start of treatment."""
        chosen = self.run.selection.chosen(self.selector.model_copy(update={"after": self.start}))
        end = self._end()
        sure = [self._count(fact, end) for fact in chosen.sure]
        unsure = "whether it lies after the start of treatment is not known"
        return sure + [replace(self._count(fact, end), left_out=unsure) for fact in chosen.possible]

    def _end(self) -> date | None:
        """The last day that counts, by the last planned time point and its window."""
        ends = []
        for key in self.definition.timepoints:
            point = self.run.definition.timepoints[key]
            last = point.repeat.until if point.repeat and point.repeat.until else point.until or point.offset
            times = self.run.selection.anchor_times(point.anchor) if point.anchor else ()
            for time in times:
                if time is not None:
                    day = datetime.combine(local_dates(time, self.run.zone)[1], datetime.min.time())
                    window = parse_duration(point.window_after or "P0D")
                    ends.append(window.after(parse_duration(last).after(day)).date())
        return max(ends, default=None)

    def _count(self, fact: Seen, end: date | None) -> Count:
        time = time_of(fact, self.selector.order_by)
        day = _day(time, self.run.zone)
        value, _ = converted(self.run, self.selector, fact)
        bleeding = self._bleeding(self.definition.bleeding, day)
        late = "taken after the period of the outcome" if day and end and day > end else None
        interval = value.interval if isinstance(value, Quantity) else None
        return Count(day, interval, bleeding, self._under_rescue(day), fact.index, fact.jti, late)

    def _bleeding(self, rule: Bleeding | None, day: date | None) -> bool | None:
        if rule is None or day is None:
            return None
        selector = self.run.definition.inputs[rule.input]
        back = parse_duration(rule.carried_for).negated()
        oldest = back.after(datetime.combine(day, datetime.min.time())).date()
        said: list[tuple[date, bool]] = []
        for fact in self.run.selection.input(rule.input).sure:
            own = _day(time_of(fact, selector.order_by), self.run.zone)
            value, _ = converted(self.run, selector, fact)
            if own is not None and isinstance(value, bool) and oldest <= own <= day:
                said.append((own, value))
        newest = max((own for own, _ in said), default=None)
        return None if newest is None else any(value for own, value in said if own == newest)

    def _under_rescue(self, day: date | None) -> bool:
        return day is not None and any(
            start <= day <= end for start, end in self._rescues(self.run.facts.observations(MEDICATION))
        )

    def _rescues(self, facts: Sequence[Seen]) -> list[tuple[date, date]]:
        """First and last day of each rescue treatment, at the longest that its dates may mean."""
        after = parse_duration(self.criteria.after_rescue or "P0D")
        found = []
        for fact in facts:
            category = value_at(fact, "category")
            if isinstance(category, str) and plain(category) == RESCUE:
                start, end = (_date(value_at(fact, name)) for name in ("start_date", "end_date"))
                last = end.dates[1] if end else date.max
                if last < date.max - timedelta(days=366):
                    last = after.after(datetime.combine(last, datetime.min.time())).date()
                found.append((start.dates[0] if start else date.min, last))
        return found


def _date(text: object) -> PartialTime | None:
    try:
        return parse_time(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _day(time: PartialTime | None, zone: tzinfo | None) -> date | None:
    """The day of a stamp, where it is known to the day."""
    if time is None:
        return None
    first, last = local_dates(time, zone)
    return first if first == last else None
