"""The safety page: every adverse event with its course, both parties' opinions, its clocks; toxicities, pregnancies.

A pure function of a reader, JSON-ready. What the protocol does not define is not computed: the page says so in a
sentence, and the figure is None instead of a zero that nobody counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ledger.domain.aggregate import Study
from ledger.domain.dose_level import toxicities
from ledger.domain.study import protocol_for
from ledger.protocol import ResolvedProtocol
from projections.engine.reading import Reader
from projections.engine.rows import every
from projections.entries import Entries, dispute
from projections.safety import counting
from projections.safety.definition import EVENTS
from projections.safety.events import lines, status
from projections.safety.people import Person, cohorts_of, people
from projections.safety.wording import as_data

PREGNANCY = ("of", "last_menstruation_date", "expected_delivery_date", "outcome", "outcome_at")


def safety(reader: Reader) -> dict[str, Any]:
    """All of the study's safety data.

    {"adverse_events": [...], "dose_limiting_toxicities": [...], "pregnancies": [...], "clocks": {"overdue", "running",
    "late"}, "definition": {...}, "notes": [sentence], "enrolled", "teae_subjects", "teaes", "sae_subjects", "saes",
    "saes_by_term", "teaes_by_term", "cohorts": {id: {...}}, "grades": {...}, "undecided": [...], "cut": {...}}
    Counts are None where the protocol does not say from when on an event is treatment-emergent.
    """
    protocol = protocol_for(reader.study)
    everybody = people(reader, every(reader.rows, "records", order=("partition", "idx")))
    events = [line for person in everybody for line in lines(person, EVENTS, reader.at, reader.study)]
    adjudications = [line for person in everybody for line in _adjudications(reader.study, person)]
    _side_by_side(events, adjudications)
    return {
        **_counts(protocol, everybody, events),
        "adverse_events": events,
        "dose_limiting_toxicities": adjudications,
        "pregnancies": [line for person in everybody for line in _pregnancies(person)],
        "clocks": _standings(events),
        "definition": _definition(protocol),
        "notes": _notes(protocol),
        "cut": reader.cut(),
    }


def _counts(protocol: ResolvedProtocol | None, everybody: list[Person], events: list[dict[str, Any]]) -> dict[str, Any]:
    seats = Counter(person.cohort for person in everybody if person.enrolled)
    emergent = counting.emergent_of(events)
    undecided = counting.undecided_of(events)
    sure = {line["subject"] for line in emergent}
    found = {
        "enrolled": sum(seats.values()),
        **counting.tally(events),
        "undecided_subjects": len({line["subject"] for line in undecided} - sure),
        "undecided": [line["index"] for line in undecided],
        "teaes_by_term": counting.by_term(emergent),
        "saes_by_term": counting.by_term([line for line in emergent if line["serious"]]),
        "grades": counting.by_grade(events),
        "cohorts": {
            cohort: {
                "enrolled": seats[cohort],
                **counting.tally(line for line in events if line["cohort"] == cohort),
            }
            for cohort in cohorts_of(protocol, everybody)
        },
    }
    if protocol is None or protocol.definition.safety.starts is None:
        figures = ("teae_subjects", "teaes", "sae_subjects", "saes")
        for tally in (found, *found["cohorts"].values()):
            tally.update(dict.fromkeys(figures))
    return found


def _adjudications(study: Study, person: Person) -> list[dict[str, Any]]:
    """Every adjudication, the newest of each event that stands in force."""
    records = person.subject.records
    entries = Entries(study, records)
    limiting = {record.jti for record in toxicities(person.subject)}
    newest = {record.get("adverse_event"): record.jti for record in records.of("DoseLimitingToxicityAdjudicated")}
    found = []
    for record in records.by_event.get("DoseLimitingToxicityAdjudicated", ()):
        about = records.get(record.get("adverse_event") or "")
        found.append(
            {
                **person.about(),
                "jti": record.jti,
                "index": record.index,
                "recorded_at": record.recorded_at,
                "by": record.iss,
                "adverse_event": record.get("adverse_event"),
                "term": None if about is None else about.get("term"),
                "dose_limiting": record.get("dose_limiting"),
                "reason": record.get("reason"),
                "status": status(record),
                "in_force": newest.get(record.get("adverse_event")) == record.jti,
                "counted": record.jti in limiting,
                "disputed": dispute(study.authority, record),
                "signatures": [entries.signature(one, record) for one in entries.signatures.over(record)],
            }
        )
    return found


def _side_by_side(events: list[dict[str, Any]], adjudications: list[dict[str, Any]]) -> None:
    """Each event names the adjudications about it."""
    own = {line["jti"]: line["adjudications"] for line in events}
    for line in adjudications:
        if line["adverse_event"] in own:
            own[line["adverse_event"]].append(
                {name: line[name] for name in ("jti", "index", "dose_limiting", "counted")}
            )


def _pregnancies(person: Person) -> list[dict[str, Any]]:
    return [
        {
            **person.about(),
            "jti": record.jti,
            "index": record.index,
            "recorded_at": record.recorded_at,
            "occurred_at": record.occurred_at,
            "aware_at": record.get("aware_at"),
            **{name: record.get(name) for name in PREGNANCY},
            "status": status(record),
        }
        for record in person.subject.records.by_event.get("PregnancyReported", ())
    ]


def _standings(events: list[dict[str, Any]]) -> dict[str, int]:
    every_clock = [clock for line in events for clock in line["clocks"]]
    return {
        name: sum(clock["standing"] == name for clock in every_clock)
        for name in ("overdue", "running", "late", "in time", "undecided")
    }


def _definition(protocol: ResolvedProtocol | None) -> dict[str, Any] | None:
    """What the protocol says about safety, as it is read now."""
    if protocol is None:
        return None
    rule, toxicity = protocol.definition.safety, protocol.definition.dlt
    return {
        "protocol": protocol.label,
        "named_terms": list(rule.named_terms),
        "grading": as_data(rule.grading),
        "treatment_emergent_from": rule.starts,
        "primary_window": rule.primary_window,
        "primary_window_from": rule.primary_window_from,
        "captured_from": rule.captured_from,
        "captured_until": rule.captured_until,
        "dose_limiting_toxicity": as_data(toxicity),
        "clocks": as_data(rule.clocks),
    }


def _notes(protocol: ResolvedProtocol | None) -> list[str]:
    """What is not computed, and why, in sentences."""
    if protocol is None:
        return ["No protocol is in force: which adverse events are treatment-emergent or reported late is not known."]
    rule, found = protocol.definition.safety, []
    opened = [ambiguity.id for ambiguity in protocol.open if any(t.startswith("safety") for t in ambiguity.touches)]
    still = f" ({', '.join(opened)} is open)" if opened else ""
    if rule.starts is None:
        found.append(f"The protocol does not say from when on an adverse event is treatment-emergent{still}.")
    if rule.primary_window is None or rule.primary_window_from is None:
        found.append(f"The protocol gives no primary window for adverse events{still}.")
    if rule.grading is None:
        found.append(f"The protocol names no scale by which adverse events are graded{still}.")
    if not rule.clocks:
        found.append("The protocol sets no reporting clock.")
    if not protocol.definition.cohorts:
        found.append("The protocol has no cohorts.")
    return found
