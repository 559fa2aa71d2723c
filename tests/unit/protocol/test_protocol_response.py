"""A response is read from the counts: high enough, twice, a week apart, without bleeding and without rescue."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from ledger.protocol import Resolution
from ledger.protocol.quantities import measured
from ledger.protocol.response import Count, Response, assess
from ledger.protocol.series import response_of

START = date(2020, 3, 10)


@pytest.fixture
def iwg(seed: Any) -> Any:
    """The criteria of the International Working Group as shipped."""
    return seed.definition.response_criteria["iwg-2009"]


def series(*values: Any, every: int = 7, bleeding: bool | None = False) -> list[Count]:
    """Weekly counts after the first infusion; a pair states bleeding with the count."""
    counts = []
    for place, value in enumerate(values, start=1):
        number, bled = value if isinstance(value, tuple) else (value, bleeding)
        day = START + timedelta(days=every * place)
        counts.append(Count(day, measured(str(number)), bled, index=place))
    return counts


def read(criteria: Any, baseline: str | None, counts: list[Count]) -> Response:
    return assess(criteria, measured(baseline) if baseline else None, counts)


@pytest.mark.parametrize(("baseline", "enough", "short"), [("8", "30", "29"), ("20", "40", "39"), ("29", "58", "57")])
def test_a_response_is_thirty_and_twice_the_baseline(iwg: Any, baseline: str, enough: str, short: str) -> None:
    assert read(iwg, baseline, series(enough, enough)).best == "R"
    below = read(iwg, baseline, series(short, short))
    assert below.best == "NR" and below.responder is False and not below


@pytest.mark.parametrize(
    ("values", "best"),
    [
        (("100", "100"), "CR"),
        (("99.9", "99.9"), "R"),
        (("100", "99"), "R"),
        (("100", "50", "100"), "R"),
        (("100", "100", "10"), "CR"),
        (("40",), "NR"),
        (("40", "10", "40"), "NR"),
        (("40", "10", "40", "40"), "R"),
        (("10", "20", "25"), "NR"),
    ],
)
def test_a_class_must_be_held_on_two_occasions_in_a_row(iwg: Any, values: tuple[str, ...], best: str) -> None:
    assert read(iwg, "10", series(*values)).best == best


def test_six_days_apart_are_not_enough_and_seven_are(iwg: Any) -> None:
    assert read(iwg, "10", series("40", "40", every=6)).best == "NR"
    assert read(iwg, "10", series("40", "40", "40", every=6)).best == "R"
    assert read(iwg, "10", series("40", "40", every=7)).best == "R"


def test_two_counts_of_one_day_are_one_occasion(iwg: Any) -> None:
    counts = series("40")
    assert read(iwg, "10", counts + [Count(counts[0].day, measured("41"), False, index=9)]).best == "NR"


def test_bleeding_is_no_response(iwg: Any) -> None:
    assert read(iwg, "10", series(("120", True), ("130", True))).best == "NR"
    assert read(iwg, "10", series(("120", True), ("130", False), ("130", False))).best == "CR"


def test_bleeding_not_known_leaves_the_response_open_only_where_it_decides(iwg: Any) -> None:
    unknown = read(iwg, "10", series("40", "40", bleeding=None))
    assert unknown.best is None and unknown.responder is None and not unknown
    assert read(iwg, "10", series("12", "14", bleeding=None)).best == "NR"
    either = read(iwg, "10", series(("120", None), ("40", False), ("40", False)))
    assert either.best == "R"


def test_whether_complete_or_not_may_be_open_while_responding_is_known(iwg: Any) -> None:
    found = read(iwg, "10", [*series("40", "40"), *series(*[("40", False)] * 2, ("120", None), ("120", None))[2:]])
    assert found.responder is True
    assert found.best is None


def test_counts_under_rescue_are_shown_and_not_used(iwg: Any) -> None:
    counts = [Count(count.day, count.value, False, rescue=True) for count in series("120", "130")]
    found = read(iwg, "10", counts)
    assert found.best is None
    assert [reason for _, reason in found.left_out] == ["taken under rescue treatment"] * 2
    assert read(iwg, "10", counts + series("10", "12")).best == "NR"


def test_a_baseline_not_known_decides_nothing_about_doubling_but_all_about_a_hundred(iwg: Any) -> None:
    assert read(iwg, None, series("40", "40")).best is None
    assert read(iwg, None, series("120", "130")).best == "CR"
    assert read(iwg, None, series("20", "25")).best == "NR"


def test_a_bound_decides_as_far_as_it_goes(iwg: Any) -> None:
    def bounded(text: str, comparator: str) -> list[Count]:
        days = [START + timedelta(days=7), START + timedelta(days=14)]
        return [Count(day, measured(text, comparator), False) for day in days]

    assert read(iwg, "10", bounded("5", "<")).best == "NR"
    assert read(iwg, "10", bounded("100", ">")).best == "CR"
    assert read(iwg, "10", bounded("20", ">")).best is None


def test_when_it_came_was_confirmed_and_was_lost_is_told(iwg: Any) -> None:
    found = read(iwg, "10", series("12", "40", "45", "41", "15", "60"))
    assert found.first_on == START + timedelta(days=14)
    assert found.confirmed_on == START + timedelta(days=21)
    assert found.lost_on == START + timedelta(days=35)
    assert found.baseline == measured("10")


def test_without_any_count_nothing_is_said(iwg: Any) -> None:
    found = read(iwg, "10", [])
    assert (found.best, found.responder) == (None, None)


def test_counts_may_come_in_any_order(iwg: Any) -> None:
    counts = series("12", "40", "45", "10")
    assert read(iwg, "10", counts) == read(iwg, "10", counts[::-1])


# ---- read from the facts of a subject ----


@pytest.fixture
def treated(patient: Any) -> Any:
    """The fitting patient (12 before treatment), treated, not bleeding, with weekly counts of 20."""
    patient.add("InfusionGiven", number=1, started_at="2020-03-10T09:00+08:00")
    for week in range(1, 9):
        day = START + timedelta(days=7 * week)
        items = {"bleeding": False, "score": "0"}
        patient.add("AssessmentRecorded", f"{day}T07:00+08:00", instrument="bleeding", items=items)
        patient.add(
            "LabResultReported", f"{day}T08:00+08:00", analyte="platelets", value="20", unit="10*9/L",
            planned=f"PLT.{week}",
        )  # fmt: skip
    return patient


def respond(treated: Any, *weeks: int, value: str = "60") -> None:
    for week in weeks:
        treated.change("LabResultReported", {"planned": f"PLT.{week}"}, value=value)


def test_a_subject_responds_by_the_counts_recorded(resolve: Any, treated: Any) -> None:
    assert response_of(resolve(), "P1", treated).best == "NR"
    respond(treated, 3, 4)
    found = response_of(resolve(), "P1", treated)
    assert found and found.best == "R"
    assert found.confirmed_on == START + timedelta(days=28)
    assert {count.index for count in found.used} <= {fact.index for fact in treated.facts}


def test_one_corrected_count_takes_the_response_away(resolve: Any, treated: Any) -> None:
    respond(treated, 3, 4)
    assert response_of(resolve(), "P1", treated)
    respond(treated, 4, value="23")
    assert not response_of(resolve(), "P1", treated)


def test_the_baseline_is_the_count_before_treatment(resolve: Any, treated: Any) -> None:
    respond(treated, 3, 4, value="30")
    assert response_of(resolve(), "P1", treated).best == "R"
    treated.change("LabResultReported", {"value": "12"}, value="16")
    assert response_of(resolve(), "P1", treated).best == "NR"


def test_another_reading_of_the_baseline_gives_another_response(resolve: Any, treated: Any) -> None:
    treated.add("LabResultReported", "2020-02-20", analyte="platelets", value="28", unit="10*9/L")
    respond(treated, 3, 4, value="40")
    assert response_of(resolve(), "P1", treated).best == "R"
    highest = Resolution("every-count-and-judgement", {"response_criteria": "iwg-2009", "bleeding_counts_for": "P7D"})
    assert response_of(resolve(AMB_07=highest), "P1", treated).best == "NR"


def test_other_criteria_give_another_response(resolve: Any, treated: Any) -> None:
    respond(treated, 3)
    assert response_of(resolve(), "P1", treated).best == "NR"
    single = Resolution("last-count-and-judgement", {"response_criteria": "single-count", "bleeding_counts_for": "P7D"})
    assert response_of(resolve(AMB_07=single), "P1", treated).best == "R"


def test_rescue_medication_silences_counts_for_as_long_as_it_lasts(resolve: Any, treated: Any) -> None:
    respond(treated, 3, 4)
    treated.add(
        "MedicationRecorded", name="platelets", category="rescue", start_date="2020-04-01", end_date="2020-04-03"
    )
    found = response_of(resolve(), "P1", treated)
    assert found.best == "R" or "rescue" in found.left_out[0][1]
    treated.change("MedicationRecorded", {"category": "rescue"}, start_date="2020-03-30", end_date=None)
    silent = response_of(resolve(), "P1", treated)
    assert silent.best == "NR" and "taken under rescue treatment" in {why for _, why in silent.left_out}


def test_bleeding_speaks_for_the_days_after_and_no_longer(resolve: Any, treated: Any) -> None:
    respond(treated, 3, 4)
    treated.add(
        "AssessmentRecorded",
        "2020-04-06T20:00+08:00",
        instrument="bleeding",
        items={"bleeding": True},
    )
    assert response_of(resolve(), "P1", treated), "the assessment on the day of the count is newer"
    treated.facts = [f for f in treated.facts if f.occurred_at != "2020-04-07T07:00+08:00"]
    assert not response_of(resolve(), "P1", treated)


def test_without_any_word_on_bleeding_a_response_is_not_claimed(resolve: Any, treated: Any) -> None:
    respond(treated, 3, 4)
    treated.facts = [f for f in treated.facts if f.content.get("instrument") != "bleeding"]
    assert response_of(resolve(), "P1", treated).best is None


def test_counts_beyond_the_period_of_the_outcome_do_not_count(resolve: Any, treated: Any) -> None:
    for day in ("2020-10-20", "2020-10-30"):
        treated.add("LabResultReported", day, analyte="platelets", value="200", unit="10*9/L")
    found = response_of(resolve(), "P1", treated)
    assert found.best == "NR"
    assert {why for _, why in found.left_out} == {"taken after the period of the outcome"}


def test_a_count_that_may_lie_before_treatment_is_left_out(resolve: Any, treated: Any) -> None:
    treated.add("LabResultReported", "2020-03-10", analyte="platelets", value="200", unit="10*9/L")
    found = response_of(resolve(), "P1", treated)
    assert "whether it lies after the start of treatment is not known" in {why for _, why in found.left_out}


def test_counts_in_another_unit_are_the_same_counts(resolve: Any, treated: Any) -> None:
    for week in (3, 4):
        treated.change("LabResultReported", {"planned": f"PLT.{week}"}, value="60000", unit="/uL")
    assert response_of(resolve(), "P1", treated).best == "R"
    treated.change("LabResultReported", {"planned": "PLT.4"}, unit="mg/dL")
    assert response_of(resolve(), "P1", treated).best == "NR"


def test_without_an_interpretation_there_is_no_response_to_speak_of(seed: Any, treated: Any) -> None:
    found = response_of(seed.resolved(), "P1", treated)
    assert found.best is None and "does not say what counts" in found.because


def test_before_treatment_there_is_no_response(resolve: Any, patient: Any) -> None:
    found = response_of(resolve(), "P1", patient)
    assert found.best is None and found.baseline is None


def test_an_outcome_that_is_no_response_is_not_read_as_one(resolve: Any, patient: Any) -> None:
    with pytest.raises(KeyError):
        response_of(resolve(), "S1", patient)
