"""The safety page: who had what, since when, how bad, judged by whom, reported in time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from projections.safety.view import safety
from tests.unit.projections.invented import BARE, NO_PERIODS, Play, day

FIGURES = ("teae_subjects", "teaes", "sae_subjects", "saes")


@pytest.fixture
def play() -> Play:
    """The invented study, open."""
    return Play()


def page(play: Play, at: datetime | None = None) -> dict[str, Any]:
    """The page, as JSON gives it back."""
    told: dict[str, Any] = json.loads(json.dumps(safety(play.read("safety", at))))
    return told


def only(play: Play) -> dict[str, Any]:
    """The one adverse event of the page."""
    (line,) = page(play)["adverse_events"]
    return dict(line)


def figures(play: Play) -> tuple[Any, ...]:
    """Subjects with treatment-emergent events, those events, subjects with serious ones, those."""
    told = page(play)
    return tuple(told[name] for name in FIGURES)


# -- treatment-emergent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started", "emergent"),
    [
        (day(1, "10:00"), True),
        (day(1, "10:01"), True),
        (day(5, None), True),
        ("2024-04", True),
        (day(1, "09:59"), False),
        (day(0, None), False),
        ("2024-02", False),
        ("2023", False),
        (day(1, None), None),
        ("2024-03", None),
        ("2024", None),
        (None, None),
    ],
)
def test_what_began_at_the_first_dose_or_later_is_treatment_emergent_and_what_may_lie_on_either_side_is_undecided(
    play: Play, started: str | None, emergent: bool | None
) -> None:
    play.event(play.patient("001"), started)
    assert only(play)["treatment_emergent"] is emergent
    assert figures(play) == ((1, 1, 0, 0) if emergent else (0, 0, 0, 0))
    assert page(play)["undecided_subjects"] == (1 if emergent is None else 0)


def test_the_start_is_read_in_its_own_offset_not_as_it_is_written(play: Play) -> None:
    play.event(play.patient("001"), "2024-03-11T09:30+00:00")
    assert only(play)["treatment_emergent"] is True
    play.event(play.patient("002"), "2024-03-11T10:30+02:00")
    assert page(play)["adverse_events"][1]["treatment_emergent"] is False


def test_without_a_dose_nothing_is_treatment_emergent(play: Play) -> None:
    play.event(play.patient("001", dosed=False), day(5))
    assert only(play)["treatment_emergent"] is False
    assert "has not happened" in only(play)["because"]


def test_a_dose_at_an_unknown_time_leaves_it_undecided(play: Play) -> None:
    label = play.patient("001", dosed=False)
    play.dose(label, started_at=None, occurred_at=None, occurred_at_status="unknown")
    play.event(label, day(5))
    assert only(play)["treatment_emergent"] is None


def test_where_no_start_is_stated_the_report_s_own_time_counts(play: Play) -> None:
    play.event(play.patient("001"), None, occurred_at=day(3))
    assert (only(play)["began"], only(play)["treatment_emergent"]) == (day(3), True)


def test_a_start_that_a_follow_up_states_anew_or_that_is_corrected_counts(play: Play) -> None:
    label = play.patient("001")
    report = play.event(label, day(0, None))
    assert figures(play)[0] == 0
    play.trial.say("AdverseEventFollowedUp", label, adverse_event=report.jti, started_at=day(2))
    assert figures(play)[0] == 1
    play.trial.correct(report, "started_at", day(3))
    assert only(play)["began"] == day(2), "the newest record that states it counts"


def test_the_dose_being_corrected_moves_the_border(play: Play) -> None:
    label = play.patient("001", dosed=False)
    dose = play.dose(label)
    play.event(label, day(1, "10:30"))
    assert figures(play)[0] == 1
    play.trial.correct(dose, "started_at", day(1, "11:00"))
    assert figures(play)[0] == 0


def test_the_windows_of_the_protocol_are_flagged_beside(play: Play) -> None:
    label = play.patient("001")
    for started in (day(15, "23:50"), day(16, "00:10"), day(57), day(58), day(0)):
        play.event(label, started)
    lines = page(play)["adverse_events"]
    assert [line["in_primary_window"] for line in lines] == [True, False, False, False, False]
    assert [line["in_period_of_capture"] for line in lines] == [True, True, True, False, False]


# -- counting --------------------------------------------------------------------------------------------------


def test_subjects_are_counted_once_and_events_each(play: Play) -> None:
    one, two = play.patient("001"), play.patient("002", "TWO")
    play.event(one, day(2), serious=True, seriousness=["hospitalisation"], grade=3)
    play.event(one, day(3), serious=True, seriousness=["life-threatening"], grade=4)
    play.event(two, day(4), "Rash", grade=2)
    told = page(play)
    assert tuple(told[name] for name in FIGURES) == (2, 3, 1, 2)
    assert told["cohorts"]["ONE"] | {"indexes": None} == {
        "enrolled": 1,
        "teae_subjects": 1,
        "teaes": 2,
        "sae_subjects": 1,
        "saes": 2,
        "indexes": None,
    }
    assert told["cohorts"]["TWO"]["saes"] == 0
    assert {grade: own["subjects"] for grade, own in told["grades"].items() if own["subjects"]} == {"2": 1, "4": 1}
    assert {grade: own["events"] for grade, own in told["grades"].items() if own["events"]} == {"2": 1, "3": 1, "4": 1}


def test_every_figure_leads_back_to_the_reports(play: Play) -> None:
    label = play.patient("001")
    first, second = play.event(label, day(2)), play.event(label, day(3), " FEVER ")
    told = page(play)
    assert told["indexes"] == [first.index, second.index]
    assert told["teaes_by_term"] == {"Fever": {"events": 2, "subjects": 1, "indexes": [first.index, second.index]}}


def test_who_is_not_enrolled_is_shown_and_not_counted(play: Play) -> None:
    play.event(play.patient("001", cohort=None), day(2), serious=True)
    assert figures(play) == (0, 0, 0, 0)
    assert (only(play)["enrolled"], only(play)["treatment_emergent"]) == (False, True)


def test_who_loses_the_seat_is_counted_no_more(play: Play) -> None:
    label = play.patient("001")
    play.event(label, day(2))
    assert figures(play)[0] == 1
    records = play.trial.subject(label).records
    void = play.trial.void(records.last("InfusionGiven"))  # type: ignore[arg-type]
    play.trial.reverse(records.last("SubjectEnrolled"), role="investigator")  # type: ignore[arg-type]
    play.trial.void(void)
    assert figures(play)[0] == 0


def test_an_event_of_somebody_nobody_screened_is_not_lost(play: Play) -> None:
    label = "subject/11111111-1111-4111-8111-111111111111"
    play.event(label, day(2))
    assert only(play)["subject"] == label.partition("/")[2]
    assert only(play)["number"] is None


def test_a_voided_event_is_shown_with_its_standing_and_counted_again_once_the_void_is_voided(play: Play) -> None:
    report = play.event(play.patient("001"), day(2), serious=True)
    void = play.trial.void(report)
    assert (only(play)["status"], only(play)["counted"]) == ("voided", False)
    assert only(play)["clocks"] == []
    assert figures(play) == (0, 0, 0, 0)
    play.trial.void(void)
    assert figures(play) == (1, 1, 1, 1)


def test_an_event_that_did_not_happen_is_not_counted(play: Play) -> None:
    play.event(play.patient("001"), day(2), status="not done")
    assert (only(play)["status"], figures(play)[0]) == ("not done", 0)


@pytest.mark.parametrize(
    ("fields", "serious"),
    [
        ({"serious": True}, True),
        ({"serious": False}, False),
        ({"serious": False, "seriousness": ["death"]}, True),
        ({"serious": None}, None),
        ({"serious": None, "seriousness": ["hospitalisation"]}, True),
    ],
)
def test_an_event_that_meets_a_criterion_of_seriousness_is_serious_whatever_it_is_called(
    play: Play, fields: dict[str, Any], serious: bool | None
) -> None:
    play.event(play.patient("001"), day(2), **fields)
    assert only(play)["serious"] is serious
    assert figures(play)[3] == (1 if serious else 0)


def test_the_grade_counted_is_the_highest_that_an_event_ever_had(play: Play) -> None:
    label = play.patient("001")
    report = play.event(label, day(2), grade=2)
    for grade in (4, 1):
        play.trial.say("AdverseEventFollowedUp", label, adverse_event=report.jti, grade=grade)
    line = only(play)
    assert (line["grade"], line["highest_grade"], len(line["follow_ups"])) == (1, 4, 2)
    assert page(play)["grades"]["4"] == {"events": 1, "subjects": 1, "indexes": [report.index]}


def test_an_event_without_a_grade_is_counted_as_such(play: Play) -> None:
    play.event(play.patient("001"), day(2), grade=None)
    assert page(play)["grades"]["not stated"]["subjects"] == 1


def test_coded_events_are_counted_by_their_preferred_term(play: Play) -> None:
    label = play.patient("001")
    coding = [{"level": "LLT", "term": "Febrile"}, {"level": "PT", "term": "Pyrexia"}]
    play.event(label, day(2), "hot", coding=coding)
    play.event(label, day(3), "Pyrexia")
    assert {term: own["events"] for term, own in page(play)["teaes_by_term"].items()} == {"Pyrexia": 2}


# -- opinions, clocks, toxicities ------------------------------------------------------------------------------


def test_investigator_and_sponsor_stand_side_by_side_and_neither_overwrites_the_other(play: Play) -> None:
    label = play.patient("001")
    report = play.event(label, day(2), serious=True)
    for role, related in (("investigator", True), ("sponsor-safety", False), ("sponsor-safety", True)):
        play.trial.say("AdverseEventAssessed", label, role=role, adverse_event=report.jti, related=related)
    opinions = only(play)["assessments"]
    assert [one["related"] for one in opinions["investigator"]] == [True]
    assert [one["related"] for one in opinions["sponsor"]] == [False, True]


def test_a_party_that_has_not_assessed_is_there_with_nothing(play: Play) -> None:
    play.event(play.patient("001"), day(2))
    assert only(play)["assessments"] == {"investigator": [], "sponsor": []}


@pytest.mark.parametrize(
    ("after", "standing"), [(timedelta(hours=24), "in time"), (timedelta(hours=24, seconds=1), "late")]
)
def test_the_site_s_clock_runs_from_awareness_to_the_record(play: Play, after: timedelta, standing: str) -> None:
    label = play.patient("001")
    aware = (play.trial.now + timedelta(seconds=1) - after).isoformat()
    play.event(label, day(2), serious=True, aware_at=aware)
    (clock,) = only(play)["clocks"]
    assert (clock["clock"], clock["standing"], clock["limit"]) == ("site", standing, "PT24H")
    assert (clock["aware_at"], clock["overdue"]) == (aware, False)


def test_the_sponsor_s_clock_is_overdue_once_its_deadline_has_passed_and_nothing_was_submitted(play: Play) -> None:
    label = play.patient("001")
    report = play.event(label, day(2), serious=True, aware_at=day(2))
    opinion = {
        "adverse_event": report.jti,
        "related": True,
        "expectedness": "unexpected",
        "aware_at": day(3, "08:00:00"),
    }
    play.trial.say("AdverseEventAssessed", label, role="sponsor-safety", **opinion)
    deadline = datetime(2024, 3, 20, 7, 0, tzinfo=UTC)

    def sponsor(at: datetime) -> dict[str, Any]:
        (line,) = page(play, at)["adverse_events"]
        return next(clock for clock in line["clocks"] if clock["clock"] == "sponsor")

    assert (sponsor(deadline)["standing"], sponsor(deadline)["overdue"]) == ("running", False)
    later = sponsor(deadline + timedelta(seconds=1))
    assert (later["standing"], later["overdue"], later["submitted"]) == ("overdue", True, None)
    assert page(play, deadline + timedelta(days=1))["clocks"]["overdue"] == 1
    sent = play.trial.say("SafetyReportSubmitted", label, role="sponsor", adverse_event=report.jti, occurred_at=day(4))
    assert sponsor(deadline)["submitted"]["index"] == sent.index
    assert sponsor(deadline + timedelta(days=1))["standing"] == "in time"


def test_a_clock_whose_conditions_are_not_all_met_does_not_run(play: Play) -> None:
    label = play.patient("001")
    report = play.event(label, day(2), serious=True, aware_at=day(2))
    play.trial.say("AdverseEventAssessed", label, role="sponsor-safety", adverse_event=report.jti, related=True)
    assert [clock["clock"] for clock in only(play)["clocks"]] == ["site"]


def test_a_clock_without_a_start_is_undecided_and_never_overdue(play: Play) -> None:
    play.event(play.patient("001"), day(2), serious=True)
    (clock,) = only(play)["clocks"]
    assert (clock["standing"], clock["deadline"], clock["overdue"]) == ("undecided", None, False)


def test_adjudications_are_listed_and_the_newest_of_each_event_is_in_force(play: Play) -> None:
    label = play.patient("001")
    report = play.event(label, day(2), grade=4)
    for limiting in (True, False):
        fields = {"adverse_event": report.jti, "dose_limiting": limiting, "reason": "read so"}
        play.trial.say("DoseLimitingToxicityAdjudicated", label, role="safety-review", mode="transcribed", **fields)
    first, second = page(play)["dose_limiting_toxicities"]
    assert (first["in_force"], first["counted"]) == (False, False)
    assert (second["in_force"], second["counted"], second["term"]) == (True, False, "Fever")
    assert [one["dose_limiting"] for one in only(play)["adjudications"]] == [True, False]


def test_an_adjudication_of_a_voided_event_counts_for_nothing(play: Play) -> None:
    label = play.patient("001")
    report = play.event(label, day(2), grade=4)
    fields = {"adverse_event": report.jti, "dose_limiting": True, "reason": "read so"}
    play.trial.say("DoseLimitingToxicityAdjudicated", label, role="safety-review", mode="transcribed", **fields)
    assert page(play)["dose_limiting_toxicities"][0]["counted"] is True
    play.trial.void(report)
    assert page(play)["dose_limiting_toxicities"][0]["counted"] is False


def test_pregnancies_are_listed_voided_ones_too(play: Play) -> None:
    label = play.patient("001", sex="female")
    known = play.trial.say("PregnancyReported", label, of="partner", aware_at=day(9))
    play.trial.void(known)
    (line,) = page(play)["pregnancies"]
    assert (line["of"], line["status"], line["index"]) == ("partner", "voided", known.index)


# -- what is not defined ---------------------------------------------------------------------------------------


def test_without_a_protocol_everything_is_listed_nothing_is_counted_and_a_sentence_says_so() -> None:
    play = Play(opened=False)
    play.event(play.patient("001"), day(2), serious=True)
    told = page(play)
    assert [told[name] for name in FIGURES] == [None] * 4
    assert told["definition"] is None
    assert "No protocol is in force" in told["notes"][0]
    assert only(play)["treatment_emergent"] is None


def test_a_protocol_that_says_nothing_of_safety_is_named_for_each_thing_it_does_not_say() -> None:
    play = Play(BARE)
    play.event(play.patient("001", cohort=None), day(2), serious=True)
    told = page(play)
    assert (told["teae_subjects"], told["saes"], told["cohorts"], told["enrolled"]) == (None, None, {}, 0)
    assert only(play)["serious"] is True and only(play)["clocks"] == []
    for missing in ("treatment-emergent", "primary window", "scale", "reporting clock", "no cohorts"):
        assert any(missing in note for note in told["notes"]), missing


def test_an_empty_study_has_an_empty_page() -> None:
    told = page(Play(opened=False))
    assert (told["adverse_events"], told["pregnancies"], told["dose_limiting_toxicities"]) == ([], [], [])
    assert told["cohorts"] == {}


def test_a_start_that_the_protocol_leaves_open_is_named_with_the_open_ambiguity() -> None:
    play = Play(NO_PERIODS)
    play.event(play.patient("001"), day(2))
    told = page(play)
    assert told["teae_subjects"] is None
    assert any("treatment-emergent" in note and "AMB-2" in note for note in told["notes"])
    assert told["cohorts"]["ONE"]["saes"] is None


def test_the_page_says_what_it_stands_for(play: Play) -> None:
    assert page(play)["cut"]["size"] == play.trial.size
    assert page(play)["cut"]["projection"] == "safety"
