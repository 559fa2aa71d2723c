"""Outcomes measured at planned time points: results, change from the first of them, positives, healthy controls.

Rules:
- the enrolled count, each with the newest readable result of an analyte at a time point; other results stand beside
  with the reason why they are left out;
- a change is measured from the baseline that the outcome defines, else from its first time point, where that lies
  before its anchor;
- values in different units are not thrown together: then there are values and no mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ledger.protocol import ResolvedProtocol
from ledger.protocol.dates import parse_duration
from ledger.protocol.model.course import Baseline, Outcome, OutcomeDefinition
from ledger.protocol.quantities import Interval
from projections.outcomes.numbers import difference, summary
from projections.outcomes.results import Measured, Result
from projections.outcomes.tallies import because_open, by_cohort
from projections.safety.wording import as_data

NEWER = "a newer result of this time point stands"


class Value(NamedTuple):
    """A result at its time point; `because` says why it takes no part, None where it does."""

    measured: Measured
    result: Result
    because: str | None


Cells = dict[tuple[str, str], list[Value]]
"""Results by analyte and occasion."""

Baselines = Mapping[tuple[str, str], tuple[Interval, str | None]]
"""By person and analyte the value that a change is measured from, and its unit."""


def at_timepoints(
    protocol: ResolvedProtocol,
    outcome: Outcome,
    enrolled: Sequence[Measured],
    others: Sequence[Measured],
    cohorts: Sequence[str],
) -> dict[str, Any]:
    """{"timepoints": [{"timepoint", "label", "offset", "analytes": [...]}], "positive": [...], "compared_with",
    "cohorts": {id: {"enrolled", "evaluated"}}, "total", "notes"}; `others`: those of the population compared with."""
    rule = outcome.definition
    assert rule is not None, "asked before"
    cells = _cells(rule.analytes, rule.timepoints, enrolled)
    start = _first(protocol, rule) if rule.baseline is None else None
    baselines = _at_first(cells, start) if rule.baseline is None else _before(rule, rule.baseline, enrolled)
    shown = _points(protocol, rule.analytes, rule.timepoints, cells, baselines, start)
    seen = {value.measured.person.id for values in cells.values() for value in values if value.because is None}

    def tally(people: Sequence[Any]) -> dict[str, Any]:
        return {"evaluated": sum(person.id in seen for person in people)}

    people = [measured.person for measured in enrolled]
    return {
        "change_from": as_data(rule.baseline) or start,
        "timepoints": shown,
        "positive": [line for point in shown for analyte in point["analytes"] for line in analyte["positive"]],
        "compared_with": _compared(protocol, rule, others),
        "cohorts": by_cohort(cohorts, people, tally),
        "total": {"enrolled": len(people), **tally(people)},
        "notes": _notes(protocol, outcome, rule, cells),
    }


def _cells(analytes: Iterable[str], timepoints: Sequence[str], people: Sequence[Measured]) -> Cells:
    """The results of these analytes at these time points, by occasion; of each person the newest takes part."""
    found: Cells = {}
    for measured in people:
        for analyte in analytes:
            newest: dict[str, Value] = {}
            for result in measured.of(analyte):
                occasion = result.planned
                if occasion is None or occasion.partition(".")[0] not in timepoints:
                    continue
                because = measured.left_out(occasion.partition(".")[0]) or _unreadable(result)
                cell = found.setdefault((analyte, occasion), [])
                cell.append(Value(measured, result, because))
                if because is None:
                    if occasion in newest:
                        older = newest[occasion]
                        cell[cell.index(older)] = older._replace(because=NEWER)
                    newest[occasion] = cell[-1]
    return found


def _unreadable(result: Result) -> str | None:
    if result.value is not None or result.text is not None:
        return None
    return result.because or "it states no value"


def _first(protocol: ResolvedProtocol, rule: OutcomeDefinition) -> str | None:
    """The time point that a change is measured from."""
    if rule.kind == "status" or not rule.timepoints:
        return None
    point = protocol.definition.timepoints[rule.timepoints[0]]
    return point.id if parse_duration(point.offset).rough_seconds < 0 else None


def _before(rule: OutcomeDefinition, baseline: Baseline, people: Sequence[Measured]) -> Baselines:
    """The values before the anchor that the outcome names."""
    found: dict[tuple[str, str], tuple[Interval, str | None]] = {}
    for measured in people:
        for name in rule.analytes:
            value, unit = measured.baseline(name, baseline)
            if value is not None:
                found[measured.person.id, name] = value, unit
    return found


def _at_first(cells: Cells, start: str | None) -> Baselines:
    """The values at the first time point."""
    return {
        (value.measured.person.id, analyte): (value.result.value, value.result.unit)
        for (analyte, occasion), values in cells.items()
        if occasion == start
        for value in values
        if value.because is None and value.result.value is not None
    }


def _occasions(protocol: ResolvedProtocol, timepoints: Sequence[str], cells: Cells) -> list[dict[str, Any]]:
    """The time points in the order of the outcome; one that comes again by the occasions of which there are results."""
    found = []
    for name in timepoints:
        point = protocol.definition.timepoints[name]
        keys = {occasion for _, occasion in cells if occasion.partition(".")[0] == name} | (
            {name} if point.repeat is None else set()
        )
        for key in sorted(keys, key=lambda key: int(key.partition(".")[2] or 0)):
            found.append({"timepoint": key, "label": point.label, "offset": point.offset, "anchor": point.anchor})
    return found


def _points(
    protocol: ResolvedProtocol,
    analytes: Sequence[str],
    timepoints: Sequence[str],
    cells: Cells,
    baselines: Baselines,
    start: str | None = None,
) -> list[dict[str, Any]]:
    """Every occasion with every analyte; `start` is the time point that changes are measured from."""
    found = _occasions(protocol, timepoints, cells)
    for about in found:
        from_here = {} if about["timepoint"] == start else baselines
        about["analytes"] = [_analyte(protocol, cells, name, about["timepoint"], from_here) for name in analytes]
    return found


def _analyte(
    protocol: ResolvedProtocol,
    cells: Cells,
    analyte: str,
    occasion: str,
    baselines: Baselines,
) -> dict[str, Any]:
    """The results of an analyte at one occasion, in a few numbers and one by one."""
    values = cells.get((analyte, occasion), [])
    part = [value for value in values if value.because is None]
    changes = {id(value): _change(value, baselines.get((value.measured.person.id, analyte))) for value in part}
    units = {value.result.unit for value in part if value.result.value is not None}
    together = len(units) <= 1
    lines = [_line(value, changes.get(id(value))) for value in values]
    return {
        "analyte": analyte,
        "label": protocol.definition.analytes[analyte].label,
        "unit": next(iter(units)) if len(units) == 1 else None,
        "n": len(part),
        "numbers": summary([v.result.value for v in part if v.result.value is not None] if together else []),
        "change": summary([change for change in changes.values() if change is not None] if together else []),
        "readings": dict(sorted(Counter(_said(value.result) for value in part if value.result.text).items())),
        "positive": [line for line, value in zip(lines, values, strict=True) if value.result.reading == "positive"],
        "values": lines,
        "notes": [] if together else [f"The values are in different units ({', '.join(sorted(map(str, units)))})."],
    }


def _change(value: Value, start: tuple[Interval, str | None] | None) -> Interval | None:
    result = value.result
    if start is None or result.value is None or start[1] != result.unit:
        return None
    return difference(result.value, start[0])


def _said(result: Result) -> str:
    return result.reading or str(result.text)


def _line(value: Value, change: Interval | None) -> dict[str, Any]:
    return {
        **value.measured.person.about(),
        **value.result.shown(),
        "change": None if change is None else str(change),
        "used": value.because is None,
        "because": value.because,
    }


def _compared(protocol: ResolvedProtocol, rule: OutcomeDefinition, others: Sequence[Measured]) -> dict[str, Any] | None:
    """The same analytes in the population compared with, at the time points planned for it."""
    population = rule.compared_with
    if population is None:
        return None
    wanted = set(rule.analytes)
    points = [
        name
        for name, point in protocol.definition.timepoints.items()
        if population in point.populations and wanted.intersection(point.analytes)
    ]
    cells = _cells(rule.analytes, points, others)
    return {
        "population": population,
        "label": protocol.definition.populations[population].label,
        "subjects": len(others),
        "timepoints": _points(protocol, rule.analytes, points, cells, {}),
    }


def _notes(protocol: ResolvedProtocol, outcome: Outcome, rule: OutcomeDefinition, cells: Cells) -> list[str]:
    notes = [] if cells else ["No result is recorded at its time points."]
    loose = [name for name in rule.timepoints if protocol.definition.timepoints[name].anchor is None]
    if loose:
        said = f"The protocol does not say from when {', '.join(loose)} {'is' if len(loose) == 1 else 'are'} counted"
        notes.append(because_open(protocol, outcome, said))
    return notes
