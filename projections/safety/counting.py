"""What the safety page counts, from its own lines: subjects and events, in all, by cohort, grade and term.

Rules:
- counted are enrolled subjects, and of their adverse events those that stand and surely began at or after the
  protocol's start; what cannot be decided is counted apart, never among them;
- an event is counted by the highest grade that it ever had, a subject by the highest of its events;
- every figure keeps the indexes of the reports behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]

NO_GRADE = "not stated"
"""The key for events without a grade."""


def tally(lines: Iterable[Line]) -> dict[str, Any]:
    """Subjects with treatment-emergent events, with serious ones, and the serious events; with their indexes."""
    emergent = emergent_of(lines)
    grave = [line for line in emergent if line["serious"]]
    return {
        "teae_subjects": len({line["subject"] for line in emergent}),
        "teaes": len(emergent),
        "sae_subjects": len({line["subject"] for line in grave}),
        "saes": len(grave),
        "indexes": [line["index"] for line in emergent],
    }


def emergent_of(lines: Iterable[Line]) -> list[Line]:
    """The lines that count as treatment-emergent."""
    return [line for line in lines if line["counted"] and line["enrolled"] and line["treatment_emergent"]]


def undecided_of(lines: Iterable[Line]) -> list[Line]:
    """The lines of enrolled subjects of which it cannot be decided whether they are treatment-emergent."""
    return [line for line in lines if line["counted"] and line["enrolled"] and line["treatment_emergent"] is None]


def by_grade(lines: Iterable[Line]) -> dict[str, dict[str, Any]]:
    """Events, and subjects by their worst, for every grade from 1 to 5 and for none."""
    emergent = emergent_of(lines)
    worst: dict[str, int] = {}
    for line in emergent:
        worst[line["subject"]] = max(worst.get(line["subject"], 0), line["highest_grade"] or 0)
    found = {}
    for grade in (1, 2, 3, 4, 5, None):
        own = [line for line in emergent if line["highest_grade"] == grade]
        found[NO_GRADE if grade is None else str(grade)] = {
            "events": len(own),
            "subjects": sum(highest == (grade or 0) for highest in worst.values()),
            "indexes": [line["index"] for line in own],
        }
    return found


def by_term(lines: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Events and subjects of each term, the most frequent first; terms that differ in case or blanks are one."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(" ".join(str(line["counted_as"] or "").casefold().split()), []).append(line)
    ordered = sorted(groups.values(), key=lambda group: (-len(group), str(group[0]["counted_as"])))
    return {
        str(group[0]["counted_as"] or "term not stated"): {
            "events": len(group),
            "subjects": len({line["subject"] for line in group}),
            "indexes": [line["index"] for line in group],
        }
        for group in ordered
    }
