"""What was transcribed from paper is shown, and opens nothing that the rules would not open."""

from __future__ import annotations

from ledger.domain import dose_level
from ledger.domain.study import protocol_for
from tests.unit.domain.conftest import Trial, refused

PAPER = "transcribed"


def test_a_review_on_paper_of_a_cohort_that_nobody_sits_in_lets_no_level_follow(trial: Trial) -> None:
    trial.open_cohort("LOW")
    trial.review(mode=PAPER, occurred_at=trial.stamp)
    with refused("COHORT-6"):
        trial.open_cohort("HIGH")


def test_a_review_on_paper_while_subjects_are_watched_lets_no_level_follow(trial: Trial) -> None:
    ada = trial.enrolled()
    trial.treat(ada)
    trial.review(mode=PAPER, occurred_at=trial.stamp)
    with refused("COHORT-6"):
        trial.open_cohort("HIGH")


def test_a_review_on_paper_against_the_policy_lets_no_level_follow(trial: Trial) -> None:
    trial.full_cohort(toxic=1)
    trial.review(mode=PAPER, occurred_at=trial.stamp)
    with refused("COHORT-6"):
        trial.open_cohort("HIGH")


def test_a_review_on_paper_that_the_rules_would_have_allowed_lets_the_next_level_follow(trial: Trial) -> None:
    trial.full_cohort()
    trial.review(mode=PAPER, occurred_at=trial.stamp)
    trial.open_cohort("HIGH")
    assert dose_level.state(trial.study, "HIGH").standing == "open"


def test_a_review_on_paper_lifts_no_hold_of_a_review(trial: Trial) -> None:
    trial.full_cohort()
    trial.review(conclusion="hold")
    trial.review(mode=PAPER, occurred_at=trial.stamp)
    assert dose_level.state(trial.study, "LOW").standing == "held"
    trial.review()
    assert dose_level.state(trial.study, "LOW").standing == "open"


def test_a_hold_on_paper_holds(trial: Trial) -> None:
    trial.open_cohort("LOW")
    trial.review(conclusion="hold", mode=PAPER, occurred_at=trial.stamp)
    assert dose_level.state(trial.study, "LOW").standing == "held"


def test_a_review_on_paper_adds_no_seats(trial: Trial) -> None:
    trial.full_cohort()
    trial.review(conclusion="expand-cohort", mode=PAPER, occurred_at=trial.stamp)
    protocol = protocol_for(trial.study)
    assert protocol is not None
    assert dose_level.added_seats(protocol, dose_level.state(trial.study, "LOW")) == 0
    fourth = trial.candidate("004")
    trial.eligible(fourth)
    with refused("COHORT-3"):
        trial.enrol(fourth)


def test_a_dose_selected_on_paper_among_levels_that_nobody_studied_opens_nothing(trial: Trial) -> None:
    trial.full_cohort()
    trial.review()
    fields = {"cohort": "MAIN", "dose_level": "HIGH", "reason": "best", "occurred_at": trial.stamp}
    trial.say("DoseSelected", "study", mode=PAPER, **fields)
    with refused("DOSE-1"):
        trial.open_cohort("MAIN")


def test_a_dose_selected_on_paper_for_a_cohort_that_has_one_stops_nobody(trial: Trial) -> None:
    trial.open_cohort("LOW")
    fields = {"cohort": "LOW", "dose_level": "HIGH", "reason": "better", "occurred_at": trial.stamp}
    trial.say("DoseSelected", "study", mode=PAPER, **fields)
    ada = trial.enrolled()
    trial.treat(ada)


def test_an_opening_on_paper_after_facts_that_the_review_did_not_see_takes_nobody_in(trial: Trial) -> None:
    ada, *_ = trial.full_cohort()
    trial.review()
    trial.fact("AdverseEventReported", ada, term="rash", grade=2)
    trial.open_cohort("HIGH", mode=PAPER, occurred_at=trial.stamp)
    eve = trial.candidate("009")
    trial.eligible(eve)
    with refused("COHORT-7"):
        trial.enrol(eve, "HIGH")


def test_what_the_first_level_suffers_after_an_opening_on_paper_stops_nobody(trial: Trial) -> None:
    ada, *_ = trial.full_cohort()
    trial.review()
    trial.open_cohort("HIGH", mode=PAPER, occurred_at=trial.stamp)
    trial.fact("AdverseEventReported", ada, term="rash", grade=2)
    eve = trial.candidate("009")
    trial.eligible(eve)
    trial.enrol(eve, "HIGH")


def test_who_was_found_eligible_and_enrolled_on_paper_alone_is_not_treated(trial: Trial) -> None:
    trial.open_cohort("LOW")
    ada = trial.screened()
    trial.consent(ada)
    trial.eligible(ada, mode=PAPER, occurred_at=trial.stamp)
    trial.enrol(ada, mode=PAPER, occurred_at=trial.stamp)
    with refused("ENROL-5"):
        trial.authorise(ada)
    trial.facts_for_eligibility(ada)
    trial.eligible(ada)
    trial.authorise(ada)


def test_who_was_enrolled_on_paper_into_a_cohort_that_is_not_open_is_not_treated(trial: Trial) -> None:
    ada = trial.candidate()
    trial.eligible(ada)
    trial.enrol(ada, mode=PAPER, occurred_at=trial.stamp)
    with refused("COHORT-2"):
        trial.authorise(ada)
    trial.open_cohort("LOW")
    trial.authorise(ada)


def test_who_was_enrolled_on_paper_beyond_the_seats_is_not_treated_and_the_others_are(trial: Trial) -> None:
    first = [trial.enrolled(f"00{n}") for n in range(3)]
    eve = trial.candidate("009")
    trial.eligible(eve)
    trial.enrol(eve, mode=PAPER, occurred_at=trial.stamp)
    with refused("COHORT-3"):
        trial.authorise(eve)
    for subject in first:
        trial.authorise(subject)


def test_a_refused_subject_found_eligible_on_paper_is_not_treated(trial: Trial) -> None:
    ada = trial.enrolled()
    trial.correct(trial.subject(ada).records.last("LabResultReported"), "value", "8.5")
    trial.eligible(ada, eligible=False)
    trial.eligible(ada, mode=PAPER, occurred_at=trial.stamp)
    with refused("ENROL-5"):
        trial.authorise(ada)


def test_a_unit_released_on_paper_without_its_identity_is_not_given(trial: Trial) -> None:
    ada = trial.enrolled()
    unit = trial.unit(release=False, lot=None)
    release = {"role": "manufacturer-quality", "mode": PAPER, "occurred_at": trial.stamp}
    trial.say("ProductReleased", f"product/{unit}", **release)
    with refused("PRODUCT-7"):
        trial.authorise(ada, unit=unit)
    registered = trial.study.records.last("ProductUnitRegistered")
    trial.correct(registered, "lot", "L1")
    trial.authorise(ada, unit=unit)
