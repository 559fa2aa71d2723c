"""Laboratory results of one subject as the outcome measures read them: what was measured, when, where it belongs.

Rules:
- a result belongs to an analyte by the protocol's names and codes, and is read in the protocol's unit; where the
  protocol names none, in the unit stated;
- it belongs to the time point that it names, else to that of the draw of its specimen; of a time point that comes
  again, to the occasion nearest to its draw;
- a result that cannot be read is shown with the reason, and takes part in nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from ledger.domain.participation import screened
from ledger.protocol import ResolvedProtocol, windows
from ledger.protocol.dates import PartialTime, local_dates
from ledger.protocol.expression.base import Quantity, Run
from ledger.protocol.expression.picking import converted, picked
from ledger.protocol.facts import Chosen, Seen, plain, time_of
from ledger.protocol.model.course import Baseline
from ledger.protocol.model.criteria import Input
from ledger.protocol.quantities import Interval
from projections.outcomes.definition import RESULT
from projections.safety.people import Person

DRAWN = ("occurred_at",)
"""Where a result says when its specimen was drawn."""

STATED = ("comparator", "value", "unit", "text")
"""What a laboratory said, as it said it."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result: `value` in `unit` as far as it can be read, else `because` says why not; `reading` of a result in
    words is positive, negative, or None where the protocol's words do not decide; `planned` is its occasion."""

    fact: Seen
    value: Interval | None
    unit: str | None
    because: str | None
    reading: str | None
    planned: str | None

    @property
    def text(self) -> str | None:
        """What it states in words."""
        text = self.fact.content.get("text")
        return text if isinstance(text, str) and text.strip() else None

    def shown(self) -> dict[str, Any]:
        """As every list of results says it; jti and index lead back to the event."""
        content = self.fact.content
        return {
            "jti": self.fact.jti,
            "index": self.fact.index,
            "at": self.fact.occurred_at,
            "planned": self.planned,
            "value": None if self.value is None else str(self.value),
            "unit": self.unit,
            "stated": {name: content[name] for name in STATED if content.get(name) is not None},
            "reading": self.reading,
            "because": self.because,
        }


class Measured:
    """The results of one person, by analyte."""

    def __init__(self, person: Person, protocol: ResolvedProtocol, order: int | None) -> None:
        self.person, self._protocol, self._order = person, protocol, order
        self.run: Run = protocol.run(person.facts, person.zone)
        self._facts: dict[str, list[Seen]] = {}
        for fact in person.facts.observations(RESULT):
            analyte = protocol.analytes.key(fact.content)
            if analyte is not None:
                self._facts.setdefault(analyte, []).append(fact)
        self._draws = {fact.content.get("specimen"): fact for fact in person.facts.observations("SpecimenDrawn")}
        self._days: dict[str, date | None] = {}
        self._plan: dict[str, list[windows.Planned]] | None = None

    @property
    def plan(self) -> Mapping[str, Sequence[windows.Planned]]:
        """What is planned for this person: the occasions of each time point."""
        if self._plan is None:
            line, potential = self.person.line, screened(self.person.subject, "childbearing_potential")
            about = windows.SubjectFacts(line.population, line.sex, potential, self._order, line.cohort)
            self._plan = {}
            for planned in windows.plan(self._protocol, about, self.person.facts, self.person.zone):
                self._plan.setdefault(planned.timepoint.id, []).append(planned)
        return self._plan

    def of(self, analyte: str, unit: str | None = None) -> Iterator[Result]:
        """The results of an analyte in index order, in `unit` or the analyte's own."""
        selector = self._selector(analyte, unit)
        for fact in self._facts.get(analyte, ()):
            value, because = converted(self.run, selector, fact)
            stated = fact.content.get("unit")
            yield Result(
                fact,
                value.interval if isinstance(value, Quantity) else None,
                selector.unit if selector.unit is not None else stated if isinstance(stated, str) else None,
                because,
                self._reading(analyte, fact),
                self._occasion(fact),
            )

    def baseline(self, analyte: str, rule: Baseline) -> tuple[Interval | None, str | None]:
        """The value before an anchor as far as it is known, and its unit; None before the anchor has happened."""
        chosen, selector = self._before(analyte, rule), self._selector(analyte, None)
        if chosen is None:
            return None, selector.unit
        value = picked(self.run, "baseline", selector.model_copy(update={"pick": rule.pick}), chosen).value
        return (value.interval if isinstance(value, Quantity) else None), selector.unit

    def behind_baseline(self, analyte: str, rule: Baseline) -> tuple[Seen, ...]:
        """The results that a baseline is read from."""
        chosen = self._before(analyte, rule)
        return () if chosen is None else chosen.candidates

    def has_happened(self, anchor: str) -> bool:
        """Whether an anchor has happened, at a time known or not."""
        return bool(self.run.selection.anchor_times(anchor))

    def left_out(self, timepoint: str) -> str | None:
        """Why results of a time point do not count for this person; None where they do."""
        own = self.plan.get(timepoint, ())
        return own[0].because if own and all(planned.applies is False for planned in own) else None

    def day(self, anchor: str | None, fact: Seen) -> int | None:
        """Local days from an anchor to a draw; None where either is not known to the day."""
        if anchor is None:
            return None
        if anchor not in self._days:
            self._days[anchor] = _one_day(self.run.selection.anchor_times(anchor), self.run)
        start, drawn = self._days[anchor], _one_day((time_of(fact, DRAWN),), self.run)
        return None if start is None or drawn is None else (drawn - start).days

    def _before(self, analyte: str, rule: Baseline) -> Chosen | None:
        selector = self._selector(analyte, None).model_copy(update={"pick": rule.pick, "before": rule.before})
        return self.run.selection.chosen(selector) if self.has_happened(rule.before) else None

    def _selector(self, analyte: str, unit: str | None) -> Input:
        known = self._protocol.definition.analytes[analyte]
        wanted = unit or known.unit
        return Input(
            id="results",
            label=known.label,
            events=(RESULT,),
            analyte=analyte,
            field="value",
            type="number",
            pick="all",
            unit=wanted,
            unit_field="unit" if wanted is not None else None,
            comparator_field="comparator",
        )

    def _reading(self, analyte: str, fact: Seen) -> str | None:
        words, text = self._protocol.definition.analytes[analyte].words, fact.content.get("text")
        if words is None or not isinstance(text, str):
            return None
        for name, said in (("positive", words.positive), ("negative", words.negative)):
            if plain(text) in {plain(word) for word in said}:
                return name
        return None

    def _occasion(self, fact: Seen) -> str | None:
        named = fact.content.get("planned")
        if named is None:
            draw = self._draws.get(fact.content.get("specimen"))
            named = None if draw is None else draw.content.get("planned")
        if not isinstance(named, str):
            return None
        several = self.plan.get(named, ())
        return named if len(several) < 2 else _nearest(several, fact, self.run) or named


def _nearest(several: Sequence[windows.Planned], fact: Seen, run: Run) -> str | None:
    """The occasion whose planned time is nearest to the draw."""
    own = time_of(fact, DRAWN)
    if own is None:
        return None
    moment = own.instants(run.zone)[0]
    if not several[0].by_clock:  # planned days stand as midnights
        moment = datetime.combine(local_dates(own, run.zone)[0], time.min, UTC)
    apart = {planned.key: abs(planned.nominal[0] - moment) for planned in several if planned.nominal is not None}
    return min(apart, key=lambda key: apart[key], default=None)


def _one_day(times: Sequence[PartialTime | None], run: Run) -> date | None:
    days: set[date] = set()
    for stamp in times:
        if stamp is None:
            return None
        days.update(local_dates(stamp, run.zone))
    return days.pop() if len(days) == 1 else None
