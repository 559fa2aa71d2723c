"""The invented subjects fit together, whatever chance adds to them."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import pairwise

import pytest

from api.cli.demo.chance import Chance
from api.cli.demo.follow_up import FIRST_NINE
from api.cli.demo.safety import EVENTS
from api.cli.demo.subjects import CONTROLS, PATIENTS, SCREEN_FAILURES, WEEKS, Patient

RESPONDERS = [patient for patient in PATIENTS if patient.responds is not None]
OTHERS = [patient for patient in PATIENTS if patient.responds is None]
SEEDS = (0, 1, 20191121)


def by_number(patient: Patient) -> str:
    return patient.number


def test_the_cohorts_have_the_published_sizes() -> None:
    assert Counter(patient.cohort for patient in PATIENTS) == {"A": 3, "B": 3, "C": 6, "EXP": 6}


def test_patients_stand_in_the_order_of_their_enrolment() -> None:
    days = [patient.first_infusion for patient in PATIENTS]
    assert days == sorted(days)
    assert len(FIRST_NINE) == 9


def test_enrolment_ends_in_august_2022_and_begins_in_november_2019() -> None:
    assert PATIENTS[0].screened >= date(2019, 11, 21)
    assert PATIENTS[-1].first_infusion < date(2022, 9, 1)


def test_nobody_has_the_number_of_another() -> None:
    people = [*PATIENTS, *SCREEN_FAILURES, *CONTROLS]
    assert len({person.number for person in people}) == len(people)


def test_every_enrolled_patient_is_between_18_and_60_at_consent() -> None:
    for patient in PATIENTS:
        age = (patient.screened - patient.born).days / 365.25
        assert 18 <= age < 61, patient.number


@pytest.mark.parametrize("patient", OTHERS, ids=by_number)
def test_who_does_not_respond_never_has_two_high_counts_a_week_apart(patient: Patient) -> None:
    for seed in SEEDS:
        counts = patient.counts(Chance(seed), True)
        threshold = max(30, 2 * patient.baseline)
        high = [week for week, count in counts.items() if int(count) >= threshold and week not in patient.peaks]
        assert not high, seed


@pytest.mark.parametrize("patient", RESPONDERS, ids=by_number)
def test_who_responds_has_two_consecutive_high_counts(patient: Patient) -> None:
    for seed in SEEDS:
        counts = patient.counts(Chance(seed), True)
        threshold = max(30, 2 * patient.baseline)
        high = [week for week in sorted(counts) if int(counts[week]) >= threshold]
        assert any(later - earlier == 1 for earlier, later in pairwise(high)), seed


@pytest.mark.parametrize("patient", PATIENTS, ids=by_number)
def test_without_responses_no_count_is_high(patient: Patient) -> None:
    counts = patient.counts(Chance(7), False)
    assert set(counts) == set(range(1, WEEKS + 1))
    assert all(0 < int(count) < max(30, 2 * patient.baseline) for count in counts.values())


def test_the_baseline_of_everybody_permits_to_take_part() -> None:
    assert all(patient.baseline + 2 < 30 for patient in PATIENTS)


def test_thirteen_have_an_event_after_the_first_infusion_and_four_a_serious_one() -> None:
    after = {number for number, events in EVENTS.items() if any(event.day >= 0 for event in events)}
    serious = {number for number, events in EVENTS.items() if any(event.seriousness for event in events)}
    assert (len(after), len(serious)) == (13, 4)
    assert set(EVENTS) <= {patient.number for patient in PATIENTS}


def test_only_a_woman_has_a_gynaecological_event() -> None:
    sexes = {patient.number: patient.sex for patient in PATIENTS}
    having = [n for n, events in EVENTS.items() for event in events if "menstruation" in event.term.casefold()]
    assert [sexes[number] for number in having] == ["female"]


def test_events_end_before_the_subject_leaves() -> None:
    weeks = {patient.number: patient.last_week for patient in PATIENTS}
    for number, events in EVENTS.items():
        for event in events:
            assert timedelta(days=event.day + event.lasts) < timedelta(weeks=weeks[number]), number


def test_the_same_seed_draws_the_same_and_another_seed_something_else() -> None:
    first, again, other = Chance(1), Chance(1), Chance(2)
    drawn = (first.id(), first.salt(), first.key().kid)
    assert drawn == (again.id(), again.salt(), again.key().kid)
    assert drawn != (other.id(), other.salt(), other.key().kid)
    assert len(drawn[1]) == 22
