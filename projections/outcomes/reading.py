"""Which records the outcomes of a protocol are read from, and fetching them: these and no others.

Rules: results are asked for by the names and codes of the analytes that outcomes name; other facts by what the
protocol's anchors and inputs are read from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ledger.protocol import ResolvedProtocol
from ledger.protocol.facts import plain
from ledger.protocol.model.criteria import Anchor, Condition, Input
from projections.engine.reading import Reader
from projections.engine.rows import Where, every
from projections.outcomes.definition import EVENTS, RESULT
from projections.subjects import COURSE

ALWAYS = COURSE | {
    "ConsentGiven",
    "ConsentWithdrawn",
    "MedicationRecorded",
    "SpecimenDrawn",
    "AdverseEventReported",
    "AdverseEventFollowedUp",
}
"""The subject's course, what consent covers, rescue treatment, the draws that results belong to, adverse events."""

_ORDER = ("partition", "idx")


@dataclass(frozen=True, slots=True)
class Needs:
    """Events, and analytes of results; `lacking` are events that this projection does not keep."""

    events: frozenset[str]
    analytes: frozenset[str]
    lacking: frozenset[str]


def needs(protocol: ResolvedProtocol) -> Needs:
    """What the outcomes of a protocol are read from: their anchors, time points and inputs, and what those name."""
    definition = protocol.definition
    rules = [outcome.definition for outcome in definition.outcomes.values() if outcome.definition is not None]
    anchors = {point.anchor for point in definition.timepoints.values()} | {definition.safety.captured_from}
    inputs: list[str] = []
    for rule in rules:
        anchors |= {rule.starts, rule.baseline.before if rule.baseline is not None else None}
        inputs += [rule.bleeding.input] if rule.bleeding is not None else []
    events, analytes, seen = set(ALWAYS), {name for rule in rules for name in rule.analytes}, set[str]()
    waiting: list[Anchor | Input] = [definition.anchors[name] for name in anchors if name is not None]
    waiting += [definition.inputs[name] for name in inputs]
    while waiting:
        selector = waiting.pop()
        events.update(selector.events)
        further = _named_in(selector.where.values())
        if isinstance(selector, Anchor):
            events.update(selector.settled_by)
        else:
            analytes |= {selector.analyte} if selector.analyte is not None else set()
            limits = (name for name in (selector.before, selector.after) if name is not None)
            waiting.extend(definition.anchors[name] for name in limits)
        waiting.extend(definition.inputs[name] for name in further if name not in seen)
        seen.update(further)
    return Needs(frozenset(events & EVENTS) - {RESULT}, frozenset(analytes), frozenset(events - EVENTS))


def records(reader: Reader, protocol: ResolvedProtocol, wanted: Needs) -> Iterator[Any]:
    """Rows of records: the facts needed, the results that may be of an analyte needed."""
    yield from every(reader.rows, "records", (Where("event", "in", sorted(wanted.events)),), _ORDER)
    yield from _results(reader, protocol, wanted.analytes)


def _results(reader: Reader, protocol: ResolvedProtocol, analytes: Iterable[str]) -> Iterator[Any]:
    names, codes = _reported_as(protocol, analytes)
    seen: set[int] = set()
    for column, values in (("analyte", names), ("code", codes)):
        for row in every(reader.rows, "records", (Where(column, "in", values),), _ORDER):
            if row.idx not in seen:
                seen.add(row.idx)
                yield row


def _reported_as(protocol: ResolvedProtocol, analytes: Iterable[str]) -> tuple[list[str], list[str]]:
    """Every name and code under which laboratories may report these analytes."""
    names: set[str] = set()
    codes: set[str] = set()
    for name in analytes:
        analyte = protocol.definition.analytes[name]
        names.add(plain(name))
        names.update(plain(alias) for aliases in analyte.aliases.values() for alias in aliases)
        coded = (*((analyte.code,) if analyte.code else ()), *analyte.other_codes)
        codes.update(f"{code.system}|{code.code}" for code in coded)
    return sorted(names | {plain(code) for code in codes}), sorted(codes)


def _named_in(conditions: Iterable[Condition]) -> set[str]:
    return {condition.same_as for condition in conditions if condition.same_as is not None}
