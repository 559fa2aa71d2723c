"""What happened to a cohort and no longer stands, or was lifted: reviews that were reversed, holds and their end.

What holds a cohort now is asked of the domain (`dose_level.state`); here every hold stays visible, with what lifted it
by the same rule: a hold by hand is lifted by a resumption, one by a review by a later review that was not transcribed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.domain.aggregate import Study
from ledger.domain.moments import decided
from ledger.domain.record import Record
from ledger.domain.safety_review import STOPPING
from projections.entries import Entries

REVIEW = "SafetyReviewConcluded"
HOLDING = ("CohortHeld", "CohortResumed", REVIEW)


def of_cohort(study: Study, cohort: str, *events: str) -> list[Record]:
    """Every decision of these events about a cohort in index order, also those that no longer stand."""
    found = [one for event in events for one in study.records.by_event.get(event, ()) if one.sub == f"cohort/{cohort}"]
    return sorted(found, key=lambda one: one.index)


def holds(study: Study, cohort: str, entries: Entries) -> list[dict[str, Any]]:
    """Every hold of a cohort, by hand or by a review: since when, why, what lifted it; also those reversed."""
    own = of_cohort(study, cohort, *HOLDING)
    return [
        {
            **entries.of(one),
            "held_at": decided(one),
            "conclusion": one.get("conclusion"),
            "reason": one.get("reason"),
            "reversed": reversal(study, one),
            **_lifted(study, one, own[place + 1 :]),
        }
        for place, one in enumerate(own)
        if _holds(one)
    ]


def reversal(study: Study, decision: Record) -> dict[str, Any] | None:
    """The act that reversed a decision: where, who, when, why; None while the decision stands."""
    if decision.reversed_at is None:
        return None
    acts = [one for one in study.records.by_event.get("DecisionReversed", ()) if one.index in decision.acts]
    by = next((one for one in acts if not one.pending), None)
    if by is None:
        return {"index": decision.reversed_at}
    names = {"index": by.index, "event_id": by.jti, "actor": by.iss, "role": by.role}
    return {**names, "recorded_at": by.recorded_at, "reason": by.get("reason")}


def _holds(one: Record) -> bool:
    return one.event == "CohortHeld" or (one.event == REVIEW and one.get("conclusion") in STOPPING)


def _lifts(hold: Record, one: Record) -> bool:
    if hold.event == "CohortHeld":
        return bool(one.event == "CohortResumed")
    return bool(one.event == REVIEW and one.get("conclusion") not in STOPPING and one.mode == "direct")


def _lifted(study: Study, hold: Record, later: Sequence[Record]) -> dict[str, Any]:
    """What lifted a hold: every attempt up to the one that stands."""
    tried: list[dict[str, Any]] = []
    lifted: Record | None = None
    for one in later:
        if lifted is None and _lifts(hold, one):
            tried.append({"index": one.index, "event": one.event, "at": decided(one), "reason": one.get("reason")})
            tried[-1]["reversed"] = reversal(study, one)
            lifted = one if one.stands else None
    return {
        "resumed_at": None if lifted is None else decided(lifted),
        "resumed": None if lifted is None else lifted.index,
        "resumptions": tried,
        "in_force": hold.stands and lifted is None,
    }
