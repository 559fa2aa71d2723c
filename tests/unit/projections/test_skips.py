"""What is passed over is the same set of events for whoever asks."""

from __future__ import annotations

from uuid import UUID

from projections.engine.folding import NOTHING
from projections.engine.skips import NO_SKIPS, NOTHING_DECIDED, Decided, Skipped

ADA, BEA = (UUID(f"00000000-0000-4000-8000-00000000000{n}") for n in (1, 2))
PLACES = {3: ("VisitRecorded", ADA), 4: ("LabResultReported", ADA), 5: ("VisitRecorded", BEA)}


def told(*decisions: tuple[str, str, int, int]) -> Decided:
    """Decisions: event, projection, index of what is passed over, own index."""
    return Decided([(event, {"projection": name, "index": of}, at) for event, name, of, at in decisions], PLACES.get)


def test_what_is_passed_over_depends_on_the_decisions_below_the_size_alone() -> None:
    decided = told(
        ("EventSkipped", "patient", 3, 10), ("EventSkipped", "patient", 4, 11), ("SkippingEnded", "patient", 3, 12)
    )
    assert decided.skips(10) == NO_SKIPS
    assert decided.skips(11).of("patient", ADA) == {3}
    assert decided.skips(12).of("patient", ADA) == {3, 4}
    assert decided.skips(13).by_projection == {"patient": (Skipped(4, "LabResultReported", ADA, 11),)}
    assert decided.skips(13).of("safety", ADA) == decided.skips(13).of("patient", BEA) == NOTHING


def test_a_decision_about_nothing_passes_over_nothing() -> None:
    decided = told(("EventSkipped", "patient", 99, 10), ("SkippingEnded", "patient", 3, 11))
    assert decided.skips(100) == NO_SKIPS == NOTHING_DECIDED.skips(100)
    assert decided.since(0) == {("patient", ADA)}


def test_whoever_follows_learns_what_new_decisions_are_about() -> None:
    decided = told(("EventSkipped", "patient", 3, 10), ("SkippingEnded", "safety", 5, 12))
    assert decided.since(10) == {("patient", ADA), ("safety", BEA)}
    assert decided.since(11) == {("safety", BEA)}
    assert decided.since(13) == set()


def test_an_aggregate_is_folded_once_for_each_set_that_is_passed_over_and_no_more() -> None:
    skips = told(
        ("EventSkipped", "patient", 3, 10), ("EventSkipped", "safety", 3, 11), ("EventSkipped", "cohort", 4, 12)
    ).skips(20)
    assert skips.variants(["schedule"]) == {}
    assert skips.variants(["patient", "safety"]) == {ADA: (frozenset({3}),)}
    assert skips.variants(["patient", "schedule", "cohort"]) == {ADA: (frozenset({3}), NOTHING, frozenset({4}))}
