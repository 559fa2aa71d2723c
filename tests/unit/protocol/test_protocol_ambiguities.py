"""What the record leaves open: 23 questions, each with its readings, what it touches and what it holds up."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.protocol import InvalidResolution, Resolution, VerdictValue, assess_eligibility, evaluate
from ledger.protocol.patches import stands_at

HOLD_UP_ENROLMENT = {"AMB-02", "AMB-04", "AMB-05", "AMB-06", "AMB-07", "AMB-09", "AMB-10"}
ALL = [f"AMB-{number:02d}" for number in range(1, 24)]
PARAMETERS_7 = {"response_criteria": "iwg-2009", "bleeding_counts_for": "P7D"}


@pytest.mark.parametrize("key", ALL)
def test_an_ambiguity_has_readings_and_touches_something(seed: Any, key: str) -> None:
    ambiguity = seed.definition.ambiguities[key]
    assert len(ambiguity.options) >= 2
    assert all(option.text for option in ambiguity.options.values())
    assert ambiguity.touches
    assert all(stands_at(seed.data, path) for path in ambiguity.touches)


def test_there_are_twenty_three(seed: Any) -> None:
    assert list(seed.definition.ambiguities) == ALL


def test_exactly_those_that_decide_who_is_treated_how_hold_up_enrolment(seed: Any) -> None:
    blocking = {ambiguity.id for ambiguity in seed.resolved().blocks("SubjectEnrolled")}
    assert blocking == HOLD_UP_ENROLMENT


@pytest.mark.parametrize("key", sorted(HOLD_UP_ENROLMENT))
def test_enrolment_waits_for_the_last_of_them(resolve: Any, key: str) -> None:
    assert not resolve().blocks("SubjectEnrolled")
    assert [ambiguity.id for ambiguity in resolve(leave_open=(key,)).blocks("SubjectEnrolled")] == [key]


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        ("EligibilityDecided", {"AMB-05", "AMB-06", "AMB-07", "AMB-09", "AMB-10"}),
        ("CohortOpened", {"AMB-04"}),
        ("DoseSelected", {"AMB-01", "AMB-02", "AMB-04"}),
        ("SafetyReviewConcluded", {"AMB-04", "AMB-19"}),
        ("InfusionAuthorised", {"AMB-04", "AMB-08"}),
        ("CohortHeld", set()),
        ("ConsentGiven", set()),
    ],
)
def test_each_decision_waits_for_what_it_rests_on_and_stopping_for_nothing(
    seed: Any, decision: str, expected: set[str]
) -> None:
    assert {ambiguity.id for ambiguity in seed.resolved().blocks(decision)} == expected


def test_once_all_are_resolved_nothing_is_held_up(resolve: Any) -> None:
    resolved = resolve()
    assert not resolved.open
    assert not resolved.missing("SubjectEnrolled")


def test_without_a_definition_of_toxicity_nobody_is_enrolled_and_no_level_opened(seed: Any) -> None:
    for decision in ("SubjectEnrolled", "CohortOpened", "SafetyReviewConcluded", "DoseSelected"):
        assert len(seed.resolved().missing(decision)) == 3
    assert not seed.resolved().missing("CohortHeld")


def splenectomised_exactly_three_months_ago(patient: Any) -> None:
    patient.add("ProcedureRecorded", name="splenectomy", date="2019-12-02", outcome="response")


READINGS = [
    ("I03", "AMB-05", "wash-out-at-least", "wash-out-more-than", splenectomised_exactly_three_months_ago),
    ("I03", "AMB-05", "wash-out-at-least", "required", lambda patient: None),
    ("I04", "AMB-06", "every-named-drug", "one-of-each-line",
     lambda p: p.change("MedicationRecorded", {"drug_class": "rituximab"}, response="response")),
    ("E04", "AMB-09", "surface-antigen-full-panel", "core-antibody-full-panel",
     lambda p: p.change("LabResultReported", {"analyte": "anti_hbc"}, text="positive")),
    ("E08", "AMB-10", "as-punctuated", "as-punctuated-with-qtc",
     lambda p: p.change("AssessmentRecorded", {"instrument": "ECG"},
                        items={"qt": "430", "qtc": "455", "bundle_branch_block": False})),
    ("E08", "AMB-10", "as-punctuated", "six-months-for-both",
     lambda p: p.change("HistoryRecorded", {"category": "arrhythmia requiring treatment"},
                        present=True, onset_date="2010-01-01")),
    ("I07", "AMB-07", "last-count-and-judgement", "every-count-and-judgement",
     lambda p: p.add("LabResultReported", "2020-02-01", analyte="platelets", value="45", unit="10*9/L")),
]  # fmt: skip


@pytest.mark.parametrize(("criterion", "key", "one", "other", "change"), READINGS)
def test_two_readings_give_different_verdicts_and_none_gives_unknown(
    seed: Any, resolve: Any, patient: Any, criterion: str, key: str, one: str, other: str, change: Any
) -> None:
    change(patient)
    parameters = {
        "AMB-07": PARAMETERS_7,
        "AMB-10": {"further_analytes": [], "qtc_formula": "Bazett"},
    }.get(key, {})
    verdicts = [
        evaluate(resolve(**{key.replace("-", "_"): Resolution(option, parameters)}), criterion, patient)
        for option in (one, other)
    ]
    assert verdicts[0].value is not verdicts[1].value
    assert verdicts[0].permits is not verdicts[1].permits
    assert verdicts[0].read_as[key] == one
    unread = evaluate(resolve(leave_open=(key,)), criterion, patient)
    assert unread.value is VerdictValue.UNKNOWN
    assert unread.ambiguities == (key,)
    assert any(key in reason for reason in unread.because)


def test_a_bleeding_score_decides_only_where_it_is_read_so(resolve: Any, patient: Any) -> None:
    parameters = PARAMETERS_7 | {"minimum_score": "3"}
    by_scale = resolve(AMB_07=Resolution("last-count-and-scale", parameters))
    assert evaluate(by_scale, "I07", patient).value is VerdictValue.NOT_MET
    lower = resolve(AMB_07=Resolution("last-count-and-scale", parameters | {"minimum_score": "2"}))
    assert evaluate(lower, "I07", patient).value is VerdictValue.MET


def test_further_chemistry_counts_once_an_interpretation_names_it(resolve: Any, patient: Any) -> None:
    patient.add(
        "LabResultReported",
        "2020-03-03T08:00+08:00",
        analyte="treg",
        value="9",
        unit="%",
        reference_range={"high": "5", "unit": "%"},
    )
    assert evaluate(resolve(), "E07", patient).value is VerdictValue.NOT_MET
    wider = resolve(AMB_10=Resolution("as-punctuated", {"further_analytes": ["treg"], "qtc_formula": "Bazett"}))
    assert evaluate(wider, "E07", patient).value is VerdictValue.MET


def test_an_open_reading_stands_in_the_way_even_where_all_readings_agree(resolve: Any, patient: Any) -> None:
    verdict = evaluate(resolve(leave_open=("AMB-05",)), "I03", patient)
    assert verdict.value is VerdictValue.UNKNOWN


def test_a_fact_that_decides_whatever_the_reading_is_not_hidden_by_it(resolve: Any, patient: Any) -> None:
    patient.change("LabResultReported", {"analyte": "hiv"}, text="positive")
    assert evaluate(resolve(leave_open=("AMB-09",)), "E04", patient).value is VerdictValue.MET


def test_interpretations_supply_windows_doses_and_rules(seed: Any, resolve: Any) -> None:
    before, after = seed.definition, resolve().definition
    assert (before.timepoints["PK05"].window_after, after.timepoints["PK05"].window_after) == (None, "PT5M")
    assert (before.timepoints["VI1"].anchor, after.timepoints["VI1"].anchor) == (None, "first_infusion")
    assert after.cohorts["EXP"].seats == 6
    assert after.dlt.window == "P4W" and after.dlt.window_from == "first_infusion"
    assert after.stopping_rules["STOP-1"].dlts == 2
    assert after.outcomes["P1"].definition.criteria == "iwg-2009"
    assert after.safety.grading.scale == "CTCAE"
    assert after.time_zone == "Asia/Shanghai"
    assert after.pregnancy.valid_for == "P7D"
    assert after.timepoints["AB1"].first.enrolled == 9
    assert after.timepoints["IM2"].sequence.side == "before"
    assert before.timepoints["VI1"].anchor is None, "resolving changes nothing in the protocol itself"


def test_an_optional_parameter_left_out_leaves_the_gap(resolve: Any) -> None:
    resolved = resolve(AMB_12=Resolution("first-infusion"))
    assert resolved.definition.timepoints["PLT"].window_after is None
    assert resolved.definition.timepoints["PLT"].repeat.every == "P1W"


WRONG = [
    ("AMB-99", Resolution("x"), "no such ambiguity"),
    ("AMB-02", Resolution("by-twelve"), "there is no option by-twelve"),
    ("AMB-02", Resolution("by-six", {"extra": "1"}), "asks for no such parameter"),
    ("AMB-23", Resolution("site-time"), "must be supplied"),
    ("AMB-23", Resolution("site-time", {"time_zone": None}), "must be supplied"),
    ("AMB-23", Resolution("site-time", {"time_zone": "Tianjin"}), "IANA time zone"),
    ("AMB-08", Resolution("before-each-infusion", {"valid_for": "a week"}), "ISO 8601 duration"),
    ("AMB-08", Resolution("before-each-infusion", {"valid_for": "-P7D"}), "ISO 8601 duration"),
    ("AMB-08", Resolution("before-each-infusion", {"valid_for": 7}), "ISO 8601 duration"),
    ("AMB-07", Resolution("last-count-and-judgement", PARAMETERS_7 | {"response_criteria": "mine"}), "one of"),
    ("AMB-07", Resolution("last-count-and-scale", PARAMETERS_7 | {"minimum_score": 2.5}), "decimal"),
    ("AMB-10", Resolution("as-punctuated", {"further_analytes": ["gold"], "qtc_formula": "Bazett"}), "a list"),
    ("AMB-10", Resolution("as-punctuated", {"further_analytes": "alt", "qtc_formula": "Bazett"}), "a list"),
    ("AMB-21", Resolution("as-supplied", {"primary_completion": "2023-02-30", "completion": "2023"}), "a date"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "resolution", "said"), WRONG)
def test_an_interpretation_that_does_not_fit_is_refused_in_plain_words(
    seed: Any, key: str, resolution: Resolution, said: str
) -> None:
    with pytest.raises(InvalidResolution) as refused:
        seed.resolved({key: resolution})
    assert any(said in problem.message for problem in refused.value.problems)
    assert any(said in sentence for sentence in seed.check_resolution(key, resolution))


def test_a_fitting_interpretation_has_no_complaints(seed: Any) -> None:
    assert seed.check_resolution("AMB-23", Resolution("site-time", {"time_zone": "Asia/Shanghai"})) == ()


def test_a_resolved_protocol_cannot_be_changed(resolve: Any) -> None:
    resolved = resolve()
    with pytest.raises(Exception, match="frozen"):
        resolved.definition.cohorts["EXP"].seats = 60
    with pytest.raises(TypeError):
        resolved.definition.cohorts["EXP"] = None
    with pytest.raises(AttributeError):
        resolved.label = "another"


def test_order_of_interpretations_does_not_matter(seed: Any, patient: Any) -> None:
    chosen = {"AMB-05": Resolution("required"), "AMB-06": Resolution("one-of-each-line")}
    forwards = assess_eligibility(seed.resolved(chosen), patient)
    backwards = assess_eligibility(seed.resolved(dict(reversed(chosen.items()))), patient)
    assert forwards == backwards
