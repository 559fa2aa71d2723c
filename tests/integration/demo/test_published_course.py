"""The course ends with the published figures, computed by the projections; what went wrong on the way is there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.integration.demo.conftest import Played

pytestmark = pytest.mark.xdist_group("demo-course")  # one worker plays it for all of these
KEYS = {
    "events",
    "checkpoint",
    "enrolled",
    "cohorts",
    "teae_subjects",
    "sae_subjects",
    "saes",
    "screen_failures",
    "findings",
    "corrections",
    "refusals",
    "evidence",
}


@pytest.fixture(scope="module")
def findings(played: Played) -> list[dict[str, Any]]:
    """The findings at the end of the course."""
    found: list[dict[str, Any]] = played.client.get("findings")["findings"]
    return found


def rows(played: Played, **asked: Any) -> list[dict[str, Any]]:
    """Lines of the audit trail, all pages."""
    found, cursor = [], None
    while True:
        page = played.client.get("audit-trail", limit=1_000, cursor=cursor, **asked)
        found += page["rows"]
        cursor = page["next"]
        if cursor is None:
            return found


def test_the_published_figures_come_out(played: Played) -> None:
    printed = played.printed
    assert printed["enrolled"] == 18
    assert printed["cohorts"] == {
        "A": {"enrolled": 3, "dose": "0.5", "responders": 0},
        "B": {"enrolled": 3, "dose": "1.0", "responders": 2},
        "C": {"enrolled": 6, "dose": "2.0", "responders": 3},
        "EXP": {"enrolled": 6, "dose": "2.0", "responders": 3},
    }
    assert (printed["teae_subjects"], printed["sae_subjects"], printed["saes"]) == (13, 4, 4)


def test_one_object_with_the_agreed_members_is_printed(played: Played) -> None:
    printed = played.printed
    assert set(printed) == KEYS
    assert set(printed["checkpoint"]) == {"origin", "size", "root"}
    counts = {name: value for name, value in printed.items() if name not in ("checkpoint", "cohorts", "evidence")}
    assert all(type(value) is int for value in counts.values())


def test_the_checkpoint_covers_every_event_that_was_sent(played: Played) -> None:
    study = played.client.get("")
    checkpoint = played.printed["checkpoint"]
    assert played.printed["events"] == checkpoint["size"] == study["size"]
    assert (checkpoint["origin"], checkpoint["root"]) == (study["origin"], study["root"])


def test_the_study_says_that_it_is_synthetic_and_its_clock_simulated(played: Played) -> None:
    study = played.client.get("")
    assert study["synthetic"] is True
    assert study["clock"] == "simulated"
    assert "SYNTHETIC" in study["title"]


def test_the_serious_events_are_the_published_ones(played: Played) -> None:
    safety = played.client.get("safety")
    serious = Counter(event["term"] for event in safety["adverse_events"] if event["serious"])
    assert serious == {
        "Upper gastrointestinal haemorrhage": 2,
        "Profuse menstruation": 1,
        "Acute myocardial infarction": 1,
    }


def test_the_event_before_the_first_infusion_is_not_treatment_emergent(played: Played) -> None:
    safety = played.client.get("safety")
    reported = {event["number"] for event in safety["adverse_events"]}
    assert len(reported) == safety["teae_subjects"] + 1


def test_a_count_corrected_on_the_way_took_a_responder_away(played: Played) -> None:
    corrections = [line for line in rows(played, event="EntryCorrected") if "counted again" in (line["reason"] or "")]
    index = corrections[0]["index"]
    before = responders(played.client.get("outcomes", as_of=index))
    after = responders(played.client.get("outcomes", as_of=index + 1))
    assert before["C"] == after["C"] + 1
    assert {name: count for name, count in before.items() if name != "C"} == {
        name: count for name, count in after.items() if name != "C"
    }


def responders(outcomes: dict[str, Any]) -> dict[str, int]:
    """Responders by cohort."""
    return {name: count for name, count in outcomes["responders"].items() if name != "total"}


def test_every_refused_statement_names_its_rule(played: Played) -> None:
    refused = played.client.get("refusals", limit=1_000)
    assert played.printed["refusals"] == refused["count"] == len(refused["refusals"])
    assert {entry["rule"] for entry in refused["refusals"]} >= {
        "INTERPRETATION-2",
        "PRODUCT-2",
        "COHORT-3",
        "COHORT-6",
        "REVIEW-2",
        "ELIGIBILITY-1",
        "COHORT-10",
        "ROLE-1",
        "SIGNATURE-0",
        "CATALOGUE-3",
    }


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("SPECIMEN-1", "a draw for the concentration came after its window"),
        ("TIME-4", "an assessment was entered three weeks late, and nobody said why"),
        ("SAFETY-1", "a serious event was reported after its clock had run out"),
        ("CONSENT-8", "a specimen was drawn after consent was withdrawn"),
        ("BASIS-1", "a value that decisions rest on was corrected afterwards"),
    ],
)
def test_what_went_wrong_is_found(findings: list[dict[str, Any]], rule: str, what: str) -> None:
    assert rule in [finding["rule"] for finding in findings], what


def test_nothing_is_found_that_the_story_does_not_tell(findings: list[dict[str, Any]]) -> None:
    found = {finding["rule"] for finding in findings}
    assert found == {"SPECIMEN-1", "TIME-4", "SAFETY-1", "CONSENT-8", "BASIS-1"}


def test_the_late_entry_with_a_reason_is_shown_and_not_held_against_anybody(
    played: Played, findings: list[dict[str, Any]]
) -> None:
    (stated,) = rows(played, field="late_reason")
    assert stated["subject_number"] == "SYN-001"
    assert "spring festival" in stated["new_value"]
    held = [finding for finding in findings if finding["rule"] == "TIME-4"]
    assert [stated["index"] in finding["indexes"] for finding in held] == [False]


def test_a_voided_void_leaves_the_first_count_standing(played: Played) -> None:
    voids = [line for line in rows(played, event="EntryVoided") if line["subject_number"] == "SYN-013"]
    assert len({line["index"] for line in voids}) == 3


def test_screen_failures_and_healthy_controls_are_not_among_the_enrolled(played: Played) -> None:
    assert played.printed["screen_failures"] == 4
    controls = played.client.get("subjects", population="healthy-control")
    assert controls["total"] == 6
    assert all(subject["cohort"] is None for subject in controls["subjects"])


def test_every_subject_is_marked_as_synthetic_by_its_number(played: Played) -> None:
    subjects = played.client.get("subjects", limit=1_000)["subjects"]
    assert len(subjects) == 28
    assert all(subject["number"].startswith("SYN-") for subject in subjects)


def test_nothing_is_due_of_who_completed_or_left(played: Played) -> None:
    people = played.client.get("subjects", limit=1_000)["subjects"]
    over = [one for one in people if one["status"] in ("completed", "withdrawn", "died")]
    assert over
    for one in over:
        occasions = {found["key"]: found for found in played.client.get(f"subjects/{one['id']}")["schedule"]}
        assert occasions["SCR"]["actual"], "the decision on eligibility concludes the screening"
        assert not {"due", "upcoming", "not planned yet"} & {found["standing"] for found in occasions.values()}


def test_nobody_who_is_enrolled_is_shown_as_not_permitted_by_what_came_later(played: Played) -> None:
    people = played.client.get("subjects", limit=1_000)["subjects"]
    enrolled = [played.client.get(f"subjects/{one['id']}") for one in people if one["enrolled"] is not None]
    shown = [one["eligibility"] for one in enrolled]
    assert len(shown) == 18
    assert {one["now"] for one in shown} == {None}
    assert all(one["judged"].startswith("as at the eligibility decision") for one in shown)
    assert [one["failing"] for one in shown if not one["permits"]] == []


def test_the_reviews_of_a_cohort_that_has_passed_are_not_asked_for_again(played: Played) -> None:
    cohorts = {one["id"]: one for one in played.client.get("cohorts")["cohorts"]}
    offered = {name: {step["step"] for step in one["next"]} for name, one in cohorts.items()}
    assert all("review: escalate" not in steps for steps in offered.values())
    assert "review: complete" not in offered["C"], "its review has concluded"
