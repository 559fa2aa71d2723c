"""The outcomes page: what the protocol asks for, computed from counts, results and events, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.domain.study import protocol_for
from ledger.protocol import ResolvedProtocol
from ledger.protocol.quantities import Interval, decimal, measured
from projections.outcomes.numbers import difference, mean, median, summary
from projections.outcomes.reading import needs, records
from projections.outcomes.view import outcomes
from tests.unit.projections.invented import BARE, NO_PERIODS, NO_RESPONSE, TIDE, Play, day


@pytest.fixture
def play() -> Play:
    """The invented study, open."""
    return Play()


def page(play: Play) -> dict[str, Any]:
    """The page, as JSON gives it back."""
    told: dict[str, Any] = json.loads(json.dumps(outcomes(play.read("outcomes"))))
    return told


def outcome(play: Play, name: str) -> dict[str, Any]:
    """One outcome of the page."""
    return next(dict(one) for one in page(play)["outcomes"] if one["id"] == name)


def course(play: Play, label: str) -> dict[str, Any]:
    """A subject's course of counts."""
    return next(dict(one) for one in outcome(play, "X1")["subjects"] if label.endswith(one["subject"]))


def cell(play: Play, name: str, timepoint: str) -> dict[str, Any]:
    """The first analyte of an outcome at a time point."""
    points = outcome(play, name)["timepoints"]
    return dict(next(one for one in points if one["timepoint"] == timepoint)["analytes"][0])


# -- the list ---------------------------------------------------------------------------------------------------


def test_outcomes_come_primary_first_and_in_the_order_of_the_record(play: Play) -> None:
    told = page(play)["outcomes"]
    assert [one["id"] for one in told] == ["X1", "X3", "X4", "X2", "X5", "X6"]
    assert (told[0]["type"], told[0]["measure"], told[0]["time_frame"]) == ("primary", "Cells", "8 weeks")


def test_an_outcome_without_a_definition_says_that_nothing_is_computed(play: Play) -> None:
    last = outcome(play, "X6")
    assert (last["definition"], last["cohorts"]) == (None, {})
    assert "does not define" in last["notes"][0]


def test_without_a_protocol_there_are_no_outcomes_and_a_sentence_says_so() -> None:
    play = Play(opened=False)
    play.patient("001")
    told = page(play)
    assert (told["outcomes"], told["responders"], told["protocol"], told["enrolled"]) == ([], None, None, 1)
    assert "No protocol is in force" in told["notes"][0]


def test_a_protocol_without_outcomes_says_so() -> None:
    play = Play(BARE)
    told = page(play)
    assert (told["outcomes"], told["responders"], told["protocol"]) == ([], None, "1.0")
    assert "lists no outcome measures" in told["notes"][0]


def test_before_anybody_is_enrolled_every_cohort_stands_at_nought(play: Play) -> None:
    assert page(play)["responders"] == {"ONE": 0, "TWO": 0, "total": 0}
    assert outcome(play, "X1")["cohorts"]["TWO"]["enrolled"] == 0


# -- response ---------------------------------------------------------------------------------------------------


def test_responders_are_counted_by_cohort(play: Play) -> None:
    play.responder("001", "ONE")
    play.responder("002", "TWO", low="10", high="12")
    play.responder("003", "TWO", high="40")
    assert page(play)["responders"] == {"ONE": 1, "TWO": 1, "total": 2}
    told = outcome(play, "X1")
    assert told["cohorts"]["TWO"] == {"enrolled": 2, "evaluated": 2, "responders": 1, "best": {"NONE": 1, "PART": 1}}
    assert told["total"]["best"] == {"FULL": 1, "NONE": 1, "PART": 1}


def test_who_was_not_treated_is_enrolled_and_not_evaluated(play: Play) -> None:
    label = play.patient("001", dosed=False)
    play.count(label, 8, "120")
    told = outcome(play, "X1")["cohorts"]["ONE"]
    assert (told["enrolled"], told["evaluated"], told["responders"]) == (1, 0, 0)
    assert course(play, label)["counts"][0]["because"] == "treatment has not begun"


def test_who_is_not_enrolled_is_not_evaluated_however_high_the_counts(play: Play) -> None:
    label = play.patient("001", cohort=None)
    play.no_bleeding(label)
    for number, value in ((0, "10"), (8, "120"), (15, "120")):
        play.count(label, number, value)
    assert page(play)["responders"] == {"ONE": 0, "TWO": 0, "total": 0}
    assert outcome(play, "X1")["subjects"] == []


@pytest.mark.parametrize(
    ("value", "best"), [("29", "NONE"), ("39.9", "NONE"), ("40", "PART"), ("99.9", "PART"), ("100", "FULL")]
)
def test_a_class_needs_its_count_and_the_multiple_of_the_baseline(play: Play, value: str, best: str) -> None:
    label, _ = play.responder("001", low="20", high=value)
    assert course(play, label)["best"] == best


def test_one_corrected_count_changes_the_responders(play: Play) -> None:
    label, counts = play.responder("001", high="12")
    assert page(play)["responders"] == {"ONE": 0, "TWO": 0, "total": 0}
    play.trial.correct(counts[0], "value", "120")
    assert page(play)["responders"]["total"] == 0, "one high count confirms nothing"
    play.trial.correct(counts[1], "value", "120")
    assert page(play)["responders"] == {"ONE": 1, "TWO": 0, "total": 1}
    play.trial.correct(counts[1], "value", "12")
    assert course(play, label)["responder"] is False


def test_a_voided_count_confirms_nothing(play: Play) -> None:
    label, counts = play.responder("001", high="12")
    for confirming in counts[2:]:
        play.trial.correct(confirming, "value", "120")
    assert course(play, label)["responder"] is True
    void = play.trial.void(counts[3])
    assert course(play, label)["responder"] is False
    assert counts[3].index not in [one["index"] for one in course(play, label)["counts"]]
    play.trial.void(void)
    assert course(play, label)["responder"] is True


def test_a_low_count_between_two_high_ones_is_what_stands_in_the_way(play: Play) -> None:
    label, counts = play.responder("001")
    play.trial.correct(counts[1], "value", "12")
    play.trial.void(counts[3])
    assert course(play, label)["responder"] is False
    play.trial.void(counts[1])
    assert course(play, label)["responder"] is True


def test_the_baseline_is_the_last_count_before_treatment_and_leads_back_to_it(play: Play) -> None:
    label = play.patient("001")
    play.count(label, -6, "25")
    last = play.count(label, 0, "8")
    play.count(label, 8, "20")
    told = course(play, label)
    assert told["baseline"] == {
        "value": "8",
        "unit": "10*9/L",
        "results": [{"jti": last.jti, "index": last.index}],
    }
    assert [one["because"] for one in told["counts"]][:2] == ["it lies before the start of treatment"] * 2
    assert (told["counts"][2]["change"], told["counts"][2]["week"], told["counts"][2]["study_day"]) == ("12", 1, 8)


def test_a_count_under_rescue_is_shown_with_the_reason_and_not_used(play: Play) -> None:
    label, counts = play.responder("001")
    for number in (1, 2, 3):
        play.trial.void(counts[number])
    fields = {"name": "Immunoglobulin", "category": "rescue", "start_date": day(10, None), "end_date": day(20, None)}
    play.trial.fact("MedicationRecorded", label, **fields)
    rescued = play.count(label, 15, "200")
    shown = next(one for one in course(play, label)["counts"] if one["index"] == rescued.index)
    assert (shown["used"], shown["rescue"], shown["because"]) == (False, True, "taken under rescue treatment")
    assert course(play, label)["responder"] is False


def test_counts_in_other_units_and_under_other_names_are_read_and_unreadable_ones_say_why(play: Play) -> None:
    label = play.patient("001")
    play.count(label, 0, "10")
    play.count(label, 8, "50", analyte="  zellen ", unit="/nL")
    play.count(label, 15, "50", analyte="Zellzahl", code={"system": "http://loinc.org", "version": "2", "code": "1-1"})
    play.count(label, 22, "50", unit="per drop")
    play.count(label, 29, "50", analyte="somebody else's")
    told = course(play, label)["counts"]
    assert [one["value"] for one in told] == ["10", "50", "50", None]
    assert "per drop does not convert" in told[3]["because"]


def test_the_day_of_a_count_is_the_local_one(play: Play) -> None:
    label = play.patient("001")
    play.count(label, 0, "10")
    play.count(label, 8, "20", occurred_at="2024-03-17T23:30+00:00")
    assert course(play, label)["counts"][1]["study_day"] == 8


def test_a_count_of_an_unknown_day_is_not_used_and_has_no_week(play: Play) -> None:
    label = play.patient("001")
    play.count(label, 0, "10")
    play.count(label, 8, "120", occurred_at="2024-05")
    told = course(play, label)["counts"][1]
    assert (told["used"], told["week"], told["study_day"]) == (False, None, None)
    assert told["because"] == "its day is not known"


def test_the_weeks_hold_one_count_of_each_subject(play: Play) -> None:
    one, two = play.patient("001"), play.patient("002")
    for label, values in ((one, ("10", "20", "30")), (two, ("20", "50"))):
        for number, value in zip((0, 8, 9), values, strict=False):
            play.count(label, number, value)
    (week,) = outcome(play, "X1")["weeks"]
    assert (week["week"], week["counts"]["n"], week["counts"]["mean"], week["change"]["median"]) == (1, 2, "40", "25")
    assert len(week["indexes"]) == 2


def test_where_no_response_is_defined_counts_are_shown_and_the_open_ambiguity_is_named() -> None:
    play = Play(NO_RESPONSE)
    label, _ = play.responder("001")
    told = outcome(play, "X1")
    assert page(play)["responders"] is None
    assert (told["cohorts"]["ONE"]["responders"], told["total"]["responders"]) == (None, None)
    assert "AMB-1" in told["notes"][0] and "response" in told["notes"][0]
    assert len(course(play, label)["counts"]) == 5
    assert course(play, label)["counts"][1]["week"] == 1


def test_what_was_recorded_after_consent_was_withdrawn_is_left_out_and_named(play: Play) -> None:
    label, counts = play.responder("001")
    withdrawn = {"scope": ["data", "specimens"], "occurred_at": day(12, "07:00")}
    play.trial.say("ConsentWithdrawn", label, **withdrawn)
    assert page(play)["responders"]["total"] == 0
    (left_out,) = page(play)["after_withdrawal"]
    assert left_out["indexes"] == [count.index for count in counts[1:]]
    assert len(course(play, label)["counts"]) == 2


# -- adverse events ---------------------------------------------------------------------------------------------


def test_incidence_counts_subjects_of_the_period_and_to_the_end_of_follow_up(play: Play) -> None:
    one, two = play.patient("001"), play.patient("002", "TWO")
    play.patient("003", "TWO", dosed=False)
    first = play.event(one, day(2))
    play.event(one, day(3))
    play.event(two, day(30))
    play.event(two, day(0))
    told = outcome(play, "X3")
    assert (told["total"]["subjects"], told["total"]["events"], told["total"]["undecided"]) == (1, 2, 0)
    assert (told["cohorts"]["TWO"]["enrolled"], told["cohorts"]["TWO"]["evaluated"]) == (2, 1)
    assert told["to_end_of_follow_up"]["total"]["subjects"] == 2
    assert told["cohorts"]["ONE"]["indexes"][0] == first.index
    assert told["terms"]["Fever"]["subjects"] == 1


def test_an_event_on_an_unknown_day_is_counted_apart(play: Play) -> None:
    play.event(play.patient("001"), "2024-03")
    told = outcome(play, "X3")["total"]
    assert (told["subjects"], told["undecided"]) == (0, 1)


def test_without_a_period_there_is_no_incidence_and_the_ambiguity_is_named() -> None:
    play = Play(NO_PERIODS)
    play.event(play.patient("001"), day(2))
    told = outcome(play, "X3")
    assert (told["total"]["subjects"], told["total"]["events"]) == (None, None)
    assert "AMB-2" in told["notes"][0]
    assert told["to_end_of_follow_up"]["total"]["subjects"] == 1


# -- time points ------------------------------------------------------------------------------------------------


def test_positive_results_are_listed_and_words_the_protocol_does_not_know_are_neither(play: Play) -> None:
    labels = [play.patient(f"00{number}") for number in range(1, 5)]
    results = [
        play.result(label, "virus", "VIR", text=text)
        for label, text in zip(labels, ("negative", " Positive ", "borderline", "not done"), strict=True)
    ]
    told = cell(play, "X4", "VIR")
    assert told["readings"] == {"borderline": 1, "negative": 1, "not done": 1, "positive": 1}
    assert [one["index"] for one in outcome(play, "X4")["positive"]] == [results[1].index]


def test_a_result_belongs_to_the_time_point_of_its_draw_where_it_names_none(play: Play) -> None:
    label = play.patient("001")
    play.trial.fact("SpecimenDrawn", label, specimen="S1", planned="VIR", occurred_at=day(29))
    play.result(label, "virus", None, text="negative", specimen="S1")
    play.result(label, "virus", None, text="positive", specimen="S2")
    assert cell(play, "X4", "VIR")["readings"] == {"negative": 1}


def test_a_value_below_the_limit_takes_part_as_every_number_below_it(play: Play) -> None:
    for number, value in enumerate(("<50", "100", "200"), start=1):
        fields = {"value": value.strip("<"), "unit": "/mL"} | ({"comparator": "<"} if "<" in value else {})
        play.result(play.patient(f"00{number}", sex="female"), "level", "LV1", **fields)
    numbers = cell(play, "X2", "LV1")["numbers"]
    assert (numbers["n"], numbers["median"], numbers["mean"]) == (3, "100", "<116.666667")
    assert (numbers["lowest"], numbers["highest"]) == ("<50", "200")


def test_values_in_different_units_have_no_mean(play: Play) -> None:
    for number, unit in (("001", "/mL"), ("002", "/uL")):
        play.result(play.patient(number, sex="female"), "level", "LV1", value="5", unit=unit)
    told = cell(play, "X2", "LV1")
    assert (told["n"], told["numbers"]["mean"], len(told["values"])) == (2, None, 2)
    assert "different units" in told["notes"][0]


def test_a_result_of_a_time_point_that_is_not_the_subject_s_is_shown_and_left_out(play: Play) -> None:
    play.result(play.patient("001", sex="male"), "level", "LV1", value="5", unit="/mL")
    told = cell(play, "X2", "LV1")
    assert (told["n"], told["values"][0]["used"], told["values"][0]["because"]) == (0, False, "is for another sex")
    assert outcome(play, "X2")["total"]["evaluated"] == 0


def test_of_several_results_at_one_time_point_the_newest_takes_part(play: Play) -> None:
    label = play.patient("001")
    play.result(label, "marker", "MK1", value="10", unit="%")
    newest = play.result(label, "marker", "MK1", value="12", unit="%")
    told = cell(play, "X5", "MK1")
    assert (told["n"], told["numbers"]["mean"]) == (1, "12")
    assert [one["used"] for one in told["values"]] == [False, True]
    play.trial.void(newest)
    assert cell(play, "X5", "MK1")["numbers"]["mean"] == "10"


def test_a_change_is_measured_from_the_first_time_point_of_the_same_subject(play: Play) -> None:
    one, two = play.patient("001"), play.patient("002")
    for label, planned, value in ((one, "MK0", "10"), (one, "MK1", "14"), (two, "MK1", "99")):
        play.result(label, "marker", planned, value=value, unit="%")
    assert outcome(play, "X5")["change_from"] == "MK0"
    assert cell(play, "X5", "MK0")["change"]["n"] == 0
    assert cell(play, "X5", "MK1")["change"] == summary([measured("4")])


def test_a_change_is_measured_from_the_baseline_that_the_outcome_defines() -> None:
    rule = "definition: {kind: change, analytes: [marker],"
    play = Play(TIDE.replace(rule, rule + " baseline: {pick: lowest, before: first_dose},"))
    label = play.patient("001")
    for number, value in ((-5, "7"), (0, "10")):
        play.result(label, "marker", None, value=value, unit="%", occurred_at=day(number))
    play.result(label, "marker", "MK1", value="14", unit="%")
    assert cell(play, "X5", "MK1")["change"]["mean"] == "7"


def test_healthy_neighbours_stand_beside_and_never_among_the_patients(play: Play) -> None:
    play.result(play.patient("001"), "marker", "MK1", value="10", unit="%")
    other = play.patient("N-1", cohort=None, dosed=False, population="healthy-control")
    play.result(other, "marker", "MKN", value="50", unit="%")
    compared = outcome(play, "X5")["compared_with"]
    assert (compared["population"], compared["subjects"]) == ("healthy-control", 1)
    assert compared["timepoints"][0]["analytes"][0]["numbers"]["mean"] == "50"
    assert cell(play, "X5", "MK1")["numbers"]["mean"] == "10"


def test_a_repeated_time_point_is_told_apart_by_the_day_of_the_draw(play: Play) -> None:
    label = play.patient("001")
    for number in (7, 16):
        play.count(label, number, "50", planned="CNT")
    assert [one["planned"] for one in course(play, label)["counts"]] == ["CNT.1", "CNT.2"]


def test_results_that_no_outcome_names_are_not_fetched(play: Play) -> None:
    label = play.patient("001")
    play.result(label, "unrelated", None, value="1", unit="%")
    wanted = play.count(label, 8, "50")
    fetched = list(records(play.read("outcomes"), resolved(play), needs(resolved(play))))
    assert [row.idx for row in fetched if row.event == "LabResultReported"] == [wanted.index]


def test_a_result_reported_by_name_and_code_is_fetched_once(play: Play) -> None:
    code = {"system": "http://loinc.org", "version": "2", "code": "1-1"}
    play.count(play.patient("001"), 8, "50", code=code)
    fetched = list(records(play.read("outcomes"), resolved(play), needs(resolved(play))))
    assert [row.event for row in fetched].count("LabResultReported") == 1


def test_a_result_whose_analyte_is_corrected_moves_to_the_other_series(play: Play) -> None:
    label = play.patient("001")
    wrong = play.result(label, "unrelated", None, value="50", unit="10*9/L", occurred_at=day(8))
    assert course(play, label)["counts"] == []
    play.trial.correct(wrong, "analyte", "CELL")
    assert [one["index"] for one in course(play, label)["counts"]] == [wrong.index]


def test_an_anchor_that_reads_what_the_page_does_not_keep_is_named() -> None:
    play = Play(TIDE.replace("events: [SubjectScreened]", "events: [IdentityChecked]"))
    play.patient("001")
    assert "IdentityChecked" in page(play)["notes"][0]


def resolved(play: Play) -> ResolvedProtocol:
    """The protocol in force."""
    found = protocol_for(play.trial.study)
    assert found is not None
    return found


# -- numbers ----------------------------------------------------------------------------------------------------


def test_without_values_there_is_no_mean() -> None:
    assert summary([]) == {"n": 0, "mean": None, "median": None, "lowest": None, "highest": None}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (("1", "2", "4"), ("2.333333", "2")),
        (("1", "2", "3", "10"), ("4", "2.5")),
        (("0.1", "0.2"), ("0.15", "0.15")),
        (("<5", "<5", "9"), ("<6.333333", "<5")),
        ((">5", "9"), (">7", ">7")),
        (("~3", "4", "5"), ("unknown", "4 to 5")),
    ],
)
def test_means_and_medians_are_exact_and_as_wide_as_what_is_not_known(
    values: tuple[str, ...], told: tuple[str, str]
) -> None:
    known = [measured(value.strip("<>~"), next((c for c in "<>~" if c in value), None)) for value in values]
    assert (str(mean(known)), str(median(known))) == told


def test_a_difference_is_as_wide_as_both_ends() -> None:
    below = measured("5", "<")
    assert str(difference(Interval.exactly(decimal("9")), below)) == ">4"
    assert str(difference(below, Interval.exactly(decimal("9")))) == "<-4"
    assert str(difference(below, below)) == "unknown"
