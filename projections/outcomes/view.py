"""The outcomes page: every outcome measure of the protocol in force, and what is computed for it.

A pure function of a reader, JSON-ready. The protocol's definition decides what is computed; every number keeps the
indexes of the events that it is read from. What the record leaves open is not computed: a sentence says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ledger.domain.aggregate import Subject
from ledger.domain.study import protocol_for
from ledger.protocol import ResolvedProtocol
from ledger.protocol.model.course import Outcome
from projections.engine.reading import Reader
from projections.engine.rows import Where
from projections.engine.stored import of_records
from projections.entries import masked
from projections.outcomes.incidence import incidence
from projections.outcomes.reading import Needs, needs, records
from projections.outcomes.responses import responses
from projections.outcomes.results import Measured
from projections.outcomes.tallies import still_open
from projections.outcomes.timepoints import at_timepoints
from projections.safety.people import Person, cohorts_of, people
from projections.safety.wording import as_data

TYPES = ("primary", "secondary", "other")
"""Kinds of outcome measures, in the order in which a record lists them."""


def outcomes(reader: Reader) -> dict[str, Any]:
    """All outcome measures.

    {"outcomes": [{"id", "type", "order", "measure", "description", "time_frame", "definition", "open": [ambiguity],
    "notes": [sentence], "cohorts": {id: {"enrolled", "evaluated", ...}}, "total", ...}], "responders": {id: int,
    "total": int} of the first outcome that is read as a response, None where it is not defined, "enrolled",
    "after_withdrawal": [{"subject", ..., "indexes": [...]}] (not used), "protocol", "notes", "cut"}
    """
    protocol = protocol_for(reader.study)
    if protocol is None or not protocol.definition.outcomes:
        said = "No protocol is in force" if protocol is None else "The protocol lists no outcome measures"
        notes = [f"{said}: nothing is computed."]
        empty = {"outcomes": [], "responders": None, "enrolled": _enrolled_count(reader), "notes": notes}
        return {**empty, "protocol": None if protocol is None else protocol.label, "cut": reader.cut()}
    wanted = needs(protocol)
    everybody, left_out = _consented(reader, people(reader, records(reader, protocol, wanted)))
    page = _Page(protocol, everybody)
    found = [page.outcome(outcome) for outcome in _ordered(protocol)]
    return {
        "outcomes": found,
        "responders": _responders(found),
        "enrolled": len(page.enrolled),
        "after_withdrawal": left_out,
        "protocol": protocol.label,
        "notes": _notes(page, wanted),
        "cut": reader.cut(),
    }


class _Page:
    """What every outcome is computed from: the enrolled by number, the cohorts, each person's results."""

    def __init__(self, protocol: ResolvedProtocol, everybody: Sequence[Person]) -> None:
        self._protocol, self._everybody = protocol, everybody
        self.cohorts = cohorts_of(protocol, everybody)
        self.enrolled = [person for person in everybody if person.enrolled]
        seats = sorted(self.enrolled, key=lambda person: person.line.enrolled)
        self._order = {person.id: place for place, person in enumerate(seats, start=1)}
        self._measured: dict[str, Measured] = {}

    def outcome(self, outcome: Outcome) -> dict[str, Any]:
        """One outcome measure: the record's words, and what is computed."""
        definition = outcome.definition
        common = {
            "id": outcome.id,
            "type": outcome.type,
            "order": outcome.order,
            "measure": outcome.measure,
            "description": outcome.description,
            "time_frame": outcome.time_frame,
            "definition": as_data(definition),
            "open": still_open(self._protocol, outcome),
        }
        return {**common, **self._computed(outcome)}

    def _computed(self, outcome: Outcome) -> dict[str, Any]:
        rule = outcome.definition
        if rule is None:
            return {"cohorts": {}, "notes": ["The protocol does not define what is computed for this outcome."]}
        if rule.kind == "adverse-event-incidence":
            return incidence(self._protocol, outcome, self.enrolled, self.cohorts)
        if not rule.analytes:
            return {"cohorts": {}, "notes": ["The protocol names no analyte for this outcome: nothing is computed."]}
        enrolled = [self._results(person) for person in self.enrolled]
        if rule.kind == "response":
            return responses(self._protocol, outcome, enrolled, self.cohorts)
        others = [
            self._results(person)
            for person in self._everybody
            if rule.compared_with is not None and person.line.population == rule.compared_with
        ]
        return at_timepoints(self._protocol, outcome, enrolled, others, self.cohorts)

    def _results(self, person: Person) -> Measured:
        if person.id not in self._measured:
            self._measured[person.id] = Measured(person, self._protocol, self._order.get(person.id))
        return self._measured[person.id]


def _ordered(protocol: ResolvedProtocol) -> list[Outcome]:
    return sorted(protocol.definition.outcomes.values(), key=lambda one: (TYPES.index(one.type), one.order))


def _responders(found: Sequence[dict[str, Any]]) -> dict[str, int] | None:
    """Responders by cohort and in all, of the first outcome that is read as a response."""
    first = next((one for one in found if one["definition"] and one["definition"]["kind"] == "response"), None)
    if first is None or "total" not in first or first["total"]["responders"] is None:
        return None
    cohorts = {name: own["responders"] for name, own in first["cohorts"].items()}
    return {**cohorts, "total": first["total"]["responders"]}


def _notes(page: _Page, wanted: Needs) -> list[str]:
    notes = [] if page.cohorts else ["The protocol has no cohorts, and nobody is enrolled."]
    if wanted.lacking:
        said = f"Time points and baselines that are read from {', '.join(sorted(wanted.lacking))} are not known here."
        notes.append(said)
    return notes


def _enrolled_count(reader: Reader) -> int:
    return reader.rows.counts("subjects", (), (Where("enrolled", "is", True),))[()]


def _consented(reader: Reader, everybody: Sequence[Person]) -> tuple[list[Person], list[dict[str, Any]]]:
    """Everybody without what was recorded after consent to it had been withdrawn; and how much of whom that is."""
    found, left_out = [], []
    for person in everybody:
        hidden = masked(reader.study, person.subject)
        if hidden:
            left_out.append({**person.about(), "indexes": sorted(hidden)})
            kept = (record for record in person.subject.records if record.index not in hidden)
            person = replace(person, subject=of_records(Subject, person.subject.id, kept))
        found.append(person)
    return found, left_out
