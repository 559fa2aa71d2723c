"""Every refusal of a decision: the rule refuses, names its cause, and following its remedy makes it succeed.

Each case is a short story. It brings the trial to a point, yields the decision that must be refused, does what
the remedy says, and may yield the decision that then succeeds where the remedy changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from ledger.domain import (
    cohort,
    consent,
    eligibility,
    enrolment,
    infusion,
    interpretation,
    product,
    safety_review,
)
from ledger.domain.refusals import Refusal
from tests.scenario.plans import COAST
from tests.unit.domain.conftest import Trial, refused

Attempt = Callable[[], object]
Story = Callable[[Trial], Iterator[Attempt]]
CASES: list[tuple[str, str, Story]] = []


def case(rule: str) -> Callable[[Story], Story]:
    """Register a story about a rule."""

    def register(story: Story) -> Story:
        CASES.append((rule, story.__name__.replace("_", " "), story))
        return story

    return register


# -- interpretations and the subject itself -----------------------------------------------------------------


@case("INTERPRETATION-2")
def nobody_is_declared_eligible_while_an_ambiguity_is_open(t: Trial) -> Iterator[Attempt]:
    fresh = Trial().open(readings=False)
    t.__dict__.update(fresh.__dict__)
    t.resolve("AMB-2")
    ada = t.candidate()
    yield lambda: t.eligible(ada)
    t.resolve("AMB-1")


@case("PROTOCOL-5")
def no_cohort_opens_while_dose_limiting_toxicity_is_undefined(t: Trial) -> Iterator[Attempt]:
    t.__dict__.update(Trial().open(readings=False).__dict__)
    t.resolve("AMB-1")
    yield lambda: t.open_cohort("LOW")
    t.resolve("AMB-2")


@case("SUBJECT-1")
def nobody_is_declared_eligible_who_was_never_screened(t: Trial) -> Iterator[Attempt]:
    ada = "subject/0b6fb8e5-2d0f-4b5c-9d57-8f1c1c5f2d10"
    t.consent(ada)
    t.facts_for_eligibility(ada)
    yield lambda: t.eligible(ada)
    t.screened(label=ada)


@case("SITE-2")
def another_site_does_not_decide(t: Trial) -> Iterator[Attempt]:
    ada = t.candidate()
    yield lambda: t.eligible(ada, site="SOUTH")
    t.fact("SubjectTransferred", ada, from_site="NORTH", to_site="SOUTH", reason="moved house")


# -- consent ------------------------------------------------------------------------------------------------


@case("CONSENT-1")
def nobody_is_declared_eligible_without_consent(t: Trial) -> Iterator[Attempt]:
    ada = t.screened()
    t.facts_for_eligibility(ada)
    yield lambda: t.eligible(ada)
    t.consent(ada)


@case("CONSENT-1")
def an_optional_consent_is_no_consent_to_take_part(t: Trial) -> Iterator[Attempt]:
    ada = t.screened()
    t.facts_for_eligibility(ada)
    t.consent(ada, purpose="optional")
    yield lambda: t.eligible(ada)
    t.consent(ada)


@case("CONSENT-1")
def a_consent_dated_tomorrow_does_not_count_today(t: Trial) -> Iterator[Attempt]:
    ada = t.screened()
    t.facts_for_eligibility(ada)
    tomorrow = (t.now + timedelta(days=1)).isoformat(timespec="seconds")
    given = t.consent(ada, occurred_at=tomorrow)
    yield lambda: t.eligible(ada)
    t.correct(given, "occurred_at", t.stamp)


@case("CONSENT-1")
def a_consent_that_was_not_given_does_not_count(t: Trial) -> Iterator[Attempt]:
    ada = t.screened()
    t.facts_for_eligibility(ada)
    t.consent(ada, status="not done", status_reason="asked to think about it")
    yield lambda: t.eligible(ada)
    t.consent(ada)


@case("CONSENT-1")
def a_voided_consent_does_not_count(t: Trial) -> Iterator[Attempt]:
    ada = t.candidate()
    t.void(t.subject(ada).records.last("ConsentGiven"))
    yield lambda: t.eligible(ada)
    t.consent(ada)


@case("CONSENT-2")
def a_consent_to_an_unapproved_version_does_not_count(t: Trial) -> Iterator[Attempt]:
    ada = t.screened()
    t.facts_for_eligibility(ada)
    t.consent(ada, version="9")
    yield lambda: t.eligible(ada)
    t.approve("9")


@case("CONSENT-2")
def a_consent_in_a_language_the_protocol_does_not_have_does_not_count(t: Trial) -> Iterator[Attempt]:
    t.approve("1", "fr")
    ada = t.screened()
    t.facts_for_eligibility(ada)
    t.consent(ada, language="fr")
    yield lambda: t.eligible(ada)
    t.consent(ada, language="nl")


@case("CONSENT-2")
def a_new_version_needs_a_new_consent(t: Trial) -> Iterator[Attempt]:
    ada = t.candidate()
    t.approve("2")
    yield lambda: t.eligible(ada)
    t.consent(ada, "2", purpose="reconsent")


@case("CONSENT-2")
def a_new_version_needs_a_new_consent_before_the_next_infusion_too(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    t.approve("2")
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.consent(ada, "2", purpose="reconsent")


@case("CONSENT-3")
def a_withdrawn_consent_permits_no_infusion(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    t.fact("ConsentWithdrawn", ada, scope=["treatment"])
    yield lambda: t.authorise(ada, 1, unit)
    t.later(days=1)
    t.consent(ada)


@case("CONSENT-3")
def a_consent_recorded_late_does_not_lift_a_withdrawal(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    t.later(days=3)
    withdrawn = t.fact("ConsentWithdrawn", ada, scope=["treatment", "procedures"])
    t.consent(ada, occurred_at=t.ago(days=2))
    yield lambda: t.authorise(ada, 1, unit)
    t.void(withdrawn)


@case("CONSENT-3")
def a_consent_to_a_document_that_nobody_approved_lifts_no_withdrawal(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    t.fact("ConsentWithdrawn", ada, scope=["treatment"])
    t.later(hours=1)
    strange = t.consent(ada, "99", document_id="XYZ", purpose="reconsent")
    yield lambda: t.authorise(ada, 1, unit)
    t.correct(strange, "document_id", "ICF")
    t.correct(strange, "version", "1")


@case("CONSENT-3")
def a_consent_in_a_language_without_a_document_lifts_no_withdrawal(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    t.fact("ConsentWithdrawn", ada, scope=["procedures"])
    t.later(hours=1)
    t.consent(ada, language="fr", purpose="reconsent")
    yield lambda: t.authorise(ada, 1, unit)
    t.later(hours=1)
    t.consent(ada, purpose="reconsent")


@case("CONSENT-3")
def a_consent_that_nobody_verified_lifts_no_withdrawal(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    t.fact("ConsentWithdrawn", ada, scope=["data"])
    t.later(hours=1)
    again = t.consent(ada, purpose="reconsent", verification="not verified")
    yield lambda: t.authorise(ada, 1, unit)
    t.correct(again, "verification", "verified")


@case("CONSENT-4")
def a_consent_taken_over_unverified_does_not_count(t: Trial) -> Iterator[Attempt]:
    ada = t.screened()
    t.facts_for_eligibility(ada)
    given = t.consent(ada, verification="not verified")
    yield lambda: t.eligible(ada)
    t.correct(given, "verification", "verified")


# -- eligibility --------------------------------------------------------------------------------------------


@case("ELIGIBILITY-1")
def a_failing_criterion_is_not_waived(t: Trial) -> Iterator[Attempt]:
    ada = t.candidate()
    t.later(days=1)
    low = t.fact("LabResultReported", ada, analyte="ferritin", value="12", unit="ug/L")
    yield lambda: t.eligible(ada)
    t.correct(low, "value", "112")


@case("ELIGIBILITY-1")
def the_investigator_can_speak_against_a_criterion_that_the_facts_permit(t: Trial) -> Iterator[Attempt]:
    ada = t.candidate()
    answers = {"other_reason": False}
    t.fact("EligibilityAssessed", ada, attestations=answers, criteria={"I2": {"verdict": "not met"}})
    yield lambda: t.eligible(ada)
    t.fact("EligibilityAssessed", ada, attestations=answers, criteria={"I2": {"verdict": "met"}})


@case("ELIGIBILITY-1")
def an_exclusion_criterion_that_is_attested_excludes(t: Trial) -> Iterator[Attempt]:
    ada = t.candidate()
    t.fact("EligibilityAssessed", ada, attestations={"other_reason": True})
    yield lambda: t.eligible(ada)
    t.fact("EligibilityAssessed", ada, attestations={"other_reason": False})


@case("ELIGIBILITY-2")
def an_unknown_criterion_does_not_permit(t: Trial) -> Iterator[Attempt]:
    ada = t.screened()
    t.consent(ada)
    t.facts_for_eligibility(ada, but="HistoryRecorded")
    yield lambda: t.eligible(ada)
    t.fact("HistoryRecorded", ada, term="asthma", category="asthma", present=False)


@case("ELIGIBILITY-2")
def a_voided_result_leaves_its_criterion_unknown(t: Trial) -> Iterator[Attempt]:
    ada = t.candidate()
    voided = t.void(t.subject(ada).records.last("LabResultReported"))
    yield lambda: t.eligible(ada)
    t.void(voided)


# -- enrolment ----------------------------------------------------------------------------------------------


@case("ENROL-1")
def nobody_is_enrolled_before_eligibility_is_decided(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    yield lambda: t.enrol(ada)
    t.eligible(ada)


@case("ENROL-1")
def nobody_is_enrolled_after_a_negative_decision(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    t.eligible(ada)
    t.eligible(ada, eligible=False)
    yield lambda: t.enrol(ada)
    t.eligible(ada)


@case("ENROL-1")
def a_reversed_decision_on_eligibility_does_not_count(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    t.reverse(t.eligible(ada))
    yield lambda: t.enrol(ada)
    t.eligible(ada)


@case("ENROL-1")
def nobody_is_treated_once_the_decision_on_eligibility_is_reversed(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    t.reverse(t.subject(ada).records.last("EligibilityDecided"))
    yield lambda: t.authorise(ada, 1, unit)
    t.eligible(ada)


@case("ENROL-2")
def nobody_is_enrolled_twice(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    yield lambda: t.enrol(ada)
    t.reverse(t.subject(ada).records.last("SubjectEnrolled"))


@case("ENROL-3")
def a_healthy_control_takes_no_seat(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    eve = t.candidate(population="healthy-control")
    yield lambda: t.enrol(eve)
    t.correct(t.subject(eve).records.last("SubjectScreened"), "population", "patient")
    t.eligible(eve)


@case("ENROL-3")
def a_population_that_is_not_recorded_takes_no_seat(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.screened(population=None)
    t.consent(ada)
    t.facts_for_eligibility(ada)
    t.eligible(ada)
    yield lambda: t.enrol(ada)
    t.correct(t.subject(ada).records.last("SubjectScreened"), "population", "patient")


@case("ENROL-4")
def nobody_is_enrolled_after_withdrawing(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    t.eligible(ada)
    left = t.fact("SubjectWithdrawn", ada, reason="no time")
    yield lambda: t.enrol(ada)
    t.void(left)


@case("ENROL-4")
def who_comes_back_is_screened_again(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    t.eligible(ada)
    t.fact("SubjectWithdrawn", ada, reason="no time")
    yield lambda: t.enrol(ada)
    t.fact("SubjectRescreened", ada, reason="has time now")


@case("ENROL-5")
def a_correction_after_the_decision_on_eligibility_counts_at_enrolment(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    t.eligible(ada)
    corrected = t.subject(ada).records.last("LabResultReported")
    t.correct(corrected, "value", "8.5")
    yield lambda: t.enrol(ada)
    t.correct(corrected, "value", "85")
    t.eligible(ada)


@case("ENROL-5")
def a_decision_transcribed_from_paper_is_checked_at_enrolment(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    result = t.subject(ada).records.last("LabResultReported")
    t.correct(result, "value", "8.5")
    t.eligible(ada, mode="transcribed", occurred_at=t.stamp)
    yield lambda: t.enrol(ada)
    t.correct(result, "value", "85")


@case("ENROL-7")
def who_was_treated_is_not_enrolled_at_another_dose(t: Trial) -> Iterator[Attempt]:
    subjects = t.full_cohort()
    t.review()
    t.open_cohort("HIGH")
    records = t.subject(subjects[0]).records
    voids = [t.void(dose) for dose in records.of("InfusionGiven")]
    t.reverse(records.last("SubjectEnrolled"))
    for void in voids:
        t.void(void)
    yield lambda: t.enrol(subjects[0], "HIGH")
    yield lambda: t.enrol(subjects[0], "LOW")


# -- cohorts ------------------------------------------------------------------------------------------------


@case("COHORT-1")
def a_cohort_that_the_protocol_does_not_have_is_not_opened(t: Trial) -> Iterator[Attempt]:
    yield lambda: t.open_cohort("MIDDLE")
    yield lambda: t.open_cohort("LOW")


@case("COHORT-2")
def nobody_is_enrolled_into_a_cohort_that_is_not_open(t: Trial) -> Iterator[Attempt]:
    ada = t.candidate()
    t.eligible(ada)
    yield lambda: t.enrol(ada)
    t.open_cohort("LOW")


@case("COHORT-2")
def nobody_is_enrolled_into_a_held_cohort(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    t.eligible(ada)
    t.say("CohortHeld", "cohort/LOW", reason="waiting for a result")
    yield lambda: t.enrol(ada)
    t.say("CohortResumed", "cohort/LOW", reason="the result is here")


@case("COHORT-2")
def nobody_is_enrolled_into_a_cohort_that_a_review_stopped(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    t.eligible(ada)
    stopped = t.review("LOW", "stop")
    yield lambda: t.enrol(ada)
    t.reverse(stopped)


@case("COHORT-3")
def nobody_is_enrolled_where_every_seat_is_taken(t: Trial) -> Iterator[Attempt]:
    taken = [t.enrolled(f"00{n}") for n in range(3)]
    ada = t.candidate("004")
    t.eligible(ada)
    yield lambda: t.enrol(ada)
    t.reverse(t.subject(taken[0]).records.last("SubjectEnrolled"))


@case("COHORT-3")
def one_toxicity_in_three_adds_three_seats_by_review(t: Trial) -> Iterator[Attempt]:
    t.full_cohort(toxic=1)
    ada = t.candidate("004")
    t.eligible(ada)
    yield lambda: t.enrol(ada)
    t.review("LOW", "expand-cohort")


@case("COHORT-4")
def two_toxicities_stop_a_cohort(t: Trial) -> Iterator[Attempt]:
    ada, bea = t.enrolled("001"), t.enrolled("002")
    t.toxicity(ada)
    judged = t.toxicity(bea)
    cleo = t.candidate("003")
    t.eligible(cleo)
    yield lambda: t.enrol(cleo)
    t.reverse(judged)


@case("COHORT-4")
def two_toxicities_stop_the_infusions_of_the_cohort_too(t: Trial) -> Iterator[Attempt]:
    ada, bea = t.enrolled("001"), t.enrolled("002")
    t.toxicity(ada)
    judged = t.toxicity(bea)
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.adjudicate(bea, judged.get("adverse_event"), dose_limiting=False)


@case("COHORT-5")
def a_cohort_is_opened_once(t: Trial) -> Iterator[Attempt]:
    opened = t.open_cohort("LOW")
    yield lambda: t.open_cohort("LOW")
    t.reverse(opened)


@case("COHORT-6")
def no_level_is_skipped(t: Trial) -> Iterator[Attempt]:
    yield lambda: t.open_cohort("HIGH")
    t.full_cohort()
    t.review()


@case("COHORT-6")
def a_level_opens_only_after_a_review_of_the_one_below(t: Trial) -> Iterator[Attempt]:
    t.full_cohort()
    yield lambda: t.open_cohort("HIGH")
    t.review()


@case("COHORT-6")
def a_review_that_asks_for_more_subjects_opens_no_level(t: Trial) -> Iterator[Attempt]:
    t.full_cohort(toxic=1)
    t.review("LOW", "expand-cohort")
    yield lambda: t.open_cohort("HIGH")
    t.full_cohort(first=4)
    t.review()


@case("COHORT-6")
def a_reversed_review_opens_no_level(t: Trial) -> Iterator[Attempt]:
    t.full_cohort()
    t.reverse(t.review())
    yield lambda: t.open_cohort("HIGH")
    t.review()


@case("COHORT-6")
def an_opening_transcribed_from_paper_opens_no_skipped_level(t: Trial) -> Iterator[Attempt]:
    t.full_cohort()
    t.open_cohort("HIGH", mode="transcribed", occurred_at=t.stamp)
    ada = t.candidate("009")
    t.eligible(ada)
    yield lambda: t.enrol(ada, "HIGH")
    t.review()


@case("COHORT-7")
def an_adverse_event_after_the_review_s_cut_needs_a_new_review(t: Trial) -> Iterator[Attempt]:
    ada, *_ = t.full_cohort()
    t.review()
    t.fact("AdverseEventReported", ada, term="rash", grade=2)
    yield lambda: t.open_cohort("HIGH")
    t.review()


@case("COHORT-7")
def a_correction_of_an_adverse_event_after_the_cut_needs_a_new_review(t: Trial) -> Iterator[Attempt]:
    ada, *_ = t.full_cohort()
    rash = t.fact("AdverseEventReported", ada, term="rash", grade=2)
    t.review()
    t.correct(rash, "grade", 4)
    yield lambda: t.open_cohort("HIGH")
    t.review()


@case("COHORT-7")
def a_voided_void_after_the_cut_needs_a_new_review(t: Trial) -> Iterator[Attempt]:
    ada, *_ = t.full_cohort()
    voided = t.void(t.fact("AdverseEventReported", ada, term="rash", grade=2))
    t.review()
    t.void(voided)
    yield lambda: t.open_cohort("HIGH")
    t.review()


@case("COHORT-7")
def a_correction_that_waited_for_the_site_counts_from_its_second_signature(t: Trial) -> Iterator[Attempt]:
    ada, *_ = t.full_cohort()
    rash = t.fact("AdverseEventReported", ada, term="rash", grade=2)
    waiting = t.correct(rash, "grade", 4, role="sponsor")
    t.review()
    t.countersign(waiting, role="coordinator")
    yield lambda: t.open_cohort("HIGH")
    t.review()


@case("COHORT-7")
def a_reversed_adjudication_after_the_cut_needs_a_new_review(t: Trial) -> Iterator[Attempt]:
    ada, *_ = t.full_cohort()
    judged = t.toxicity(ada, dose_limiting=False)
    t.review()
    t.reverse(judged)
    yield lambda: t.open_cohort("HIGH")
    t.review()


@case("COHORT-7")
def a_dose_is_not_selected_on_an_outdated_review(t: Trial) -> Iterator[Attempt]:
    subjects = _both_levels(t)
    t.fact(
        "AdverseEventFollowedUp", subjects[-1], adverse_event=t.subject(subjects[-1]).records.last("InfusionGiven").jti
    )
    yield lambda: _select(t, "LOW")
    t.review("HIGH", "complete")


@case("COHORT-8")
def the_expansion_opens_after_its_dose_is_selected(t: Trial) -> Iterator[Attempt]:
    _both_levels(t)
    yield lambda: t.open_cohort("MAIN")
    _select(t, "HIGH")


@case("COHORT-9")
def a_hold_by_review_is_not_lifted_by_hand(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    held = t.review("LOW", "hold")
    yield lambda: t.say("CohortResumed", "cohort/LOW", reason="seems fine")
    t.reverse(held)
    t.say("CohortHeld", "cohort/LOW", reason="by hand")


@case("COHORT-9")
def what_is_not_held_is_not_resumed(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    yield lambda: t.say("CohortResumed", "cohort/LOW", reason="seems fine")
    t.say("CohortHeld", "cohort/LOW", reason="by hand")


@case("COHORT-10")
def nobody_is_treated_in_a_held_cohort(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    t.say("CohortHeld", "cohort/LOW", reason="a batch is in doubt")
    yield lambda: t.authorise(ada, 1, unit)
    t.say("CohortResumed", "cohort/LOW", reason="it is not")


@case("COHORT-11")
def an_opening_states_its_own_level(t: Trial) -> Iterator[Attempt]:
    yield lambda: t.open_cohort("LOW", dose_level="HIGH")
    yield lambda: t.open_cohort("LOW", dose_level="LOW")


# -- review, toxicity, dose ---------------------------------------------------------------------------------


def _both_levels(t: Trial) -> list[str]:
    low = t.full_cohort()
    t.review()
    t.open_cohort("HIGH")
    high = t.full_cohort("HIGH", "4.5")
    t.review("HIGH", "complete")
    return low + high


def _select(t: Trial, level: str, cohort: str = "MAIN") -> object:
    return t.say("DoseSelected", "study", cohort=cohort, dose_level=level, reason="best tolerated")


@case("REVIEW-1")
def a_cohort_without_subjects_is_not_reviewed(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    yield lambda: t.review()
    t.full_cohort()


@case("REVIEW-2")
def a_review_on_a_cut_before_an_adverse_event_is_refused(t: Trial) -> Iterator[Attempt]:
    ada, *_ = t.full_cohort()
    seen = t.size
    t.fact("AdverseEventReported", ada, term="rash", grade=2)
    yield lambda: t.review(cut=seen)
    yield lambda: t.review()


@case("REVIEW-2")
def who_lost_the_seat_after_the_cut_was_looked_at_by_the_review(t: Trial) -> Iterator[Attempt]:
    dan = t.candidate("D")
    t.full_cohort()
    seat = t.enrol(dan, mode="transcribed", occurred_at=t.stamp)
    seen = t.size
    t.reverse(seat)
    yield lambda: t.review(cut=seen)
    yield lambda: t.review()


@case("REVIEW-3")
def no_review_lets_the_next_level_open_while_subjects_are_watched(t: Trial) -> Iterator[Attempt]:
    subjects = [t.enrolled(f"00{n}") for n in range(3)]
    for person in subjects:
        t.treat(person, 1)
    t.later(days=13)
    yield lambda: t.review()
    t.later(days=2)


@case("REVIEW-3")
def no_review_lets_the_next_level_open_while_somebody_is_untreated(t: Trial) -> Iterator[Attempt]:
    ada, bea, cleo = (t.enrolled(f"00{n}") for n in range(3))
    for person in (ada, bea):
        t.treat(person, 1)
    t.later(days=20)
    yield lambda: t.review()
    t.treat(cleo, 1)
    t.later(days=20)


@case("REVIEW-3")
def nobody_waits_for_who_has_left(t: Trial) -> Iterator[Attempt]:
    text = t.protocol.replace(
        'purpose: escalation, dose: "1.5", seats: 3', 'purpose: escalation, dose: "1.5", seats: 4'
    )
    t.__dict__.update(Trial(protocol=text).open().__dict__)
    subjects = [t.enrolled(f"00{n}") for n in range(4)]
    for person in subjects[:3]:
        t.treat(person, 1)
    t.later(days=20)
    yield lambda: t.review()
    t.fact("SubjectWithdrawn", subjects[3], reason="no time")


@case("REVIEW-4")
def one_toxicity_in_three_does_not_escalate(t: Trial) -> Iterator[Attempt]:
    t.full_cohort(toxic=1)
    yield lambda: t.review()
    yield lambda: t.review("LOW", "expand-cohort")


@case("REVIEW-4")
def two_toxicities_do_nothing_but_stop(t: Trial) -> Iterator[Attempt]:
    t.full_cohort(toxic=2)
    yield lambda: t.review("LOW", "expand-cohort")
    yield lambda: t.review("LOW", "stop")


@case("REVIEW-4")
def two_of_three_are_not_enough_to_escalate(t: Trial) -> Iterator[Attempt]:
    for number in ("001", "002"):
        t.treat(t.enrolled(number), 1)
    t.later(days=20)
    yield lambda: t.review()
    t.treat(t.enrolled("003"), 1)
    t.later(days=20)


@case("REVIEW-4")
def only_the_last_level_completes_the_escalation(t: Trial) -> Iterator[Attempt]:
    t.full_cohort()
    yield lambda: t.review("LOW", "complete")
    yield lambda: t.review("LOW", "escalate")


@case("DLT-1")
def a_voided_adverse_event_is_not_adjudicated(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    rash = t.fact("AdverseEventReported", ada, term="rash", grade=3)
    voided = t.void(rash)
    yield lambda: t.adjudicate(ada, rash.jti)
    t.void(voided)


@case("DLT-1")
def an_adverse_event_of_somebody_else_is_not_adjudicated(t: Trial) -> Iterator[Attempt]:
    ada, bea = t.enrolled("001"), t.enrolled("002")
    rash = t.fact("AdverseEventReported", bea, term="rash", grade=3)
    yield lambda: t.adjudicate(ada, rash.jti)
    yield lambda: t.adjudicate(bea, rash.jti)


@case("DOSE-1")
def no_dose_is_selected_before_the_last_level_is_reviewed(t: Trial) -> Iterator[Attempt]:
    t.full_cohort()
    t.review()
    t.open_cohort("HIGH")
    t.full_cohort("HIGH", "4.5")
    yield lambda: _select(t, "LOW")
    t.review("HIGH", "complete")


@case("DOSE-1")
def a_stopped_level_is_not_selected(t: Trial) -> Iterator[Attempt]:
    t.full_cohort()
    t.review()
    t.open_cohort("HIGH")
    t.full_cohort("HIGH", "4.5", toxic=2)
    t.review("HIGH", "stop")
    yield lambda: _select(t, "HIGH")
    yield lambda: _select(t, "LOW")


@case("DOSE-1")
def a_level_that_nobody_studied_is_not_selected(t: Trial) -> Iterator[Attempt]:
    _both_levels(t)
    yield lambda: _select(t, "MAIN")
    yield lambda: _select(t, "HIGH")


@case("DOSE-2")
def a_dose_is_selected_once(t: Trial) -> Iterator[Attempt]:
    _both_levels(t)
    chosen = _select(t, "LOW")
    yield lambda: _select(t, "HIGH")
    t.reverse(chosen)


@case("DOSE-2")
def a_dose_is_selected_only_for_the_cohort_that_waits_for_one(t: Trial) -> Iterator[Attempt]:
    _both_levels(t)
    yield lambda: _select(t, "LOW", cohort="HIGH")
    yield lambda: _select(t, "LOW")


# -- infusions ----------------------------------------------------------------------------------------------


@case("INFUSION-1")
def nobody_is_treated_who_is_not_enrolled(t: Trial) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.candidate()
    t.eligible(ada)
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.enrol(ada)


@case("INFUSION-1")
def a_healthy_control_is_not_treated(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    record = t.subject(ada).records.last("SubjectScreened")
    t.correct(record, "population", "healthy-control")
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.correct(record, "population", "patient")


@case("INFUSION-2")
def the_second_infusion_does_not_come_first(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    yield lambda: t.authorise(ada, 2, unit)
    yield lambda: t.authorise(ada, 1, unit)


@case("INFUSION-2")
def a_number_is_not_authorised_twice(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    waiting = t.authorise(ada, 1)
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.reverse(waiting)


@case("INFUSION-2")
def there_are_no_more_infusions_than_the_protocol_has(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=14)
    unit = t.unit()
    yield lambda: t.authorise(ada, 3, unit)
    yield lambda: t.authorise(ada, 2, unit)


@case("INFUSION-3")
def the_dose_is_the_cohort_s(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit, dose="4.5")
    yield lambda: t.authorise(ada, 1, unit, dose="1.50")


@case("INFUSION-3")
def every_infusion_of_a_subject_has_the_same_dose(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=14)
    unit = t.unit()
    amended = t.protocol.replace('dose: "1.5"', 'dose: "1.8"')
    t.adopt("1.0", amended)
    yield lambda: t.authorise(ada, 2, unit, dose="1.8")
    t.adopt("1.0", t.protocol)
    yield lambda: t.authorise(ada, 2, unit)


@case("INFUSION-3")
def the_dose_is_in_the_protocol_s_unit(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit, dose_unit="g/kg")
    yield lambda: t.authorise(ada, 1, unit)


@case("INFUSION-4")
def the_next_infusion_is_not_authorised_too_early(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=12)
    unit = t.unit()
    yield lambda: t.authorise(ada, 2, unit)
    t.later(days=1)


@case("INFUSION-4")
def the_next_infusion_is_not_authorised_too_late(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=17)
    unit = t.unit()
    yield lambda: t.authorise(ada, 2, unit)
    t.fact("InfusionWithheld", ada, number=2, reason="had a cold")


@case("INFUSION-4")
def an_amendment_widens_the_window(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=18)
    unit = t.unit()
    yield lambda: t.authorise(ada, 2, unit)
    t.adopt("2.0")


@case("INFUSION-5")
def who_may_be_pregnant_is_tested_first(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled(sex="female", childbearing_potential=True)
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.fact("LabResultReported", ada, analyte="hcg", text="Negative")


@case("INFUSION-5")
def a_positive_pregnancy_test_speaks_against_treatment(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled(sex="female", childbearing_potential=True)
    t.fact("LabResultReported", ada, analyte="hcg", text="negative")
    t.later(hours=1)
    positive = t.fact("LabResultReported", ada, analyte="hcg", text="positive")
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.correct(positive, "text", "negative")


@case("INFUSION-5")
def a_test_that_is_too_old_does_not_count(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled(sex="female", childbearing_potential=True)
    t.fact("LabResultReported", ada, analyte="hcg", text="negative")
    t.later(days=8)
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.fact("LabResultReported", ada, analyte="hcg", text="negative")


@case("INFUSION-5")
def a_reported_pregnancy_outweighs_a_negative_test(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled(sex="female")
    t.fact("LabResultReported", ada, analyte="hcg", text="negative")
    report = t.fact("PregnancyReported", ada, of="subject")
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.correct(report, "of", "partner")


@case("INFUSION-6")
def a_criterion_that_has_to_hold_throughout_is_asked_again(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    t.later(days=1)
    t.fact("AssessmentRecorded", ada, instrument="smoking", items={"now": True})
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.later(days=1)
    t.fact("AssessmentRecorded", ada, instrument="smoking", items={"now": False})


@case("INFUSION-7")
def nobody_is_treated_after_discontinuation(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    ended = t.fact("TreatmentDiscontinued", ada, reason="by mistake")
    yield lambda: t.authorise(ada, 1, unit)
    t.void(ended)


@case("INFUSION-8")
def a_dose_per_kilogram_needs_a_weight(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit, weight="0")
    yield lambda: t.authorise(ada, 1, unit)


@case("INFUSION-9")
def a_weight_is_not_twice_the_recorded_one(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    t.later(days=1)
    t.fact("AssessmentRecorded", ada, instrument="weight", items={"weight": "71.5"}, units={"weight": "kg"})
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit, weight="150")
    yield lambda: t.authorise(ada, 1, unit, weight="72")


@case("INFUSION-9")
def a_weight_recorded_wrongly_is_corrected_first(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    weighed = t.fact("AssessmentRecorded", ada, instrument="weight", items={"weight": "63.6"})
    unit = t.unit()
    yield lambda: t.authorise(ada, 1, unit)
    t.correct(weighed, "items", {"weight": "63.7"})


@case("INFUSION-9")
def a_weight_that_has_changed_is_recorded_first(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    t.fact("AssessmentRecorded", ada, instrument="weight", items={"weight": "90"})
    unit = t.unit()
    t.later(days=1)
    yield lambda: t.authorise(ada, 1, unit)
    t.fact("AssessmentRecorded", ada, instrument="weight", items={"weight": "70"})


# -- product ------------------------------------------------------------------------------------------------


@case("PRODUCT-1")
def an_unknown_unit_is_not_released(t: Trial) -> Iterator[Attempt]:
    yield lambda: t.release("U9")
    t.unit("U9", release=False)


@case("PRODUCT-1")
def an_authorisation_names_a_unit(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    fields = {"number": 1, "dose": "1.5", "dose_unit": "mg/kg", "weight": "70"}
    yield lambda: t.say("InfusionAuthorised", ada, **fields)
    unit = t.unit()
    yield lambda: t.say("InfusionAuthorised", ada, product=unit, **fields)


@case("PRODUCT-2")
def an_unreleased_unit_is_not_authorised(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit(release=False)
    yield lambda: t.authorise(ada, 1, unit)
    t.release(unit)


@case("PRODUCT-2")
def a_unit_whose_release_was_revoked_is_not_authorised(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    t.say("ProductReleaseRevoked", f"product/{unit}", role="manufacturer-quality", reason="particles")
    yield lambda: t.authorise(ada, 1, unit)
    t.release(unit)


@case("PRODUCT-3")
def an_expired_unit_is_not_authorised(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit(expires_at=(t.now + timedelta(days=1)).isoformat(timespec="seconds"))
    t.later(days=2)
    yield lambda: t.authorise(ada, 1, unit)
    fresh = t.unit()
    yield lambda: t.authorise(ada, 1, fresh)


@case("PRODUCT-3")
def a_unit_without_expiry_is_not_released(t: Trial) -> Iterator[Attempt]:
    unit = t.unit(release=False, expires_at=None)
    yield lambda: t.release(unit)
    registered = t.study.records.last("ProductUnitRegistered")
    t.correct(registered, "expires_at", "2030-01-01")


@case("PRODUCT-3")
def preparing_a_unit_replaces_its_expiry(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    end = (t.now + timedelta(hours=2)).isoformat(timespec="seconds")
    prepared = t.fact("ProductPrepared", f"product/{unit}", method="thawed", expires_at=end, role="pharmacy")
    t.later(hours=3)
    yield lambda: t.authorise(ada, 1, unit)
    t.void(prepared)


@case("PRODUCT-4")
def a_unit_is_for_one_subject(t: Trial) -> Iterator[Attempt]:
    ada, bea = t.enrolled("001"), t.enrolled("002")
    unit = t.unit()
    first = t.authorise(ada, 1, unit)
    yield lambda: t.authorise(bea, 1, unit)
    t.reverse(first)


@case("PRODUCT-4")
def a_unit_that_was_given_is_not_authorised_again(t: Trial) -> Iterator[Attempt]:
    ada, bea = t.enrolled("001"), t.enrolled("002")
    unit = t.unit()
    given = t.give(bea, 1, unit)
    yield lambda: t.authorise(ada, 1, unit)
    t.correct(given, "product", t.unit())


@case("PRODUCT-5")
def a_unit_that_was_disposed_of_is_not_released(t: Trial) -> Iterator[Attempt]:
    unit = t.unit(release=False)
    gone = t.fact("ProductDisposed", f"product/{unit}", reason="broken bag", role="pharmacy")
    yield lambda: t.release(unit)
    t.void(gone)


@case("PRODUCT-5")
def a_unit_that_was_disposed_of_is_not_authorised(t: Trial) -> Iterator[Attempt]:
    ada = t.enrolled()
    unit = t.unit()
    gone = t.fact("ProductDisposed", f"product/{unit}", reason="broken bag", role="pharmacy")
    yield lambda: t.authorise(ada, 1, unit)
    t.void(gone)


@case("PRODUCT-5")
def nor_is_it_where_the_protocol_asks_for_no_release(t: Trial) -> Iterator[Attempt]:
    text = COAST.protocol.replace("product_release: true", "product_release: false")
    t.__dict__.update(Trial(protocol=text).open().__dict__)
    ada = t.enrolled()
    unit = t.unit()
    gone = t.fact("ProductDisposed", f"product/{unit}", reason="broken bag", role="pharmacy")
    yield lambda: t.authorise(ada, 1, unit)
    t.void(gone)


@case("PRODUCT-6")
def a_unit_is_released_once(t: Trial) -> Iterator[Attempt]:
    unit = t.unit()
    yield lambda: t.release(unit)
    t.say("ProductReleaseRevoked", f"product/{unit}", role="manufacturer-quality", reason="released in error")


@case("PRODUCT-7")
def a_unit_is_released_with_its_identity(t: Trial) -> Iterator[Attempt]:
    unit = t.unit(release=False, lot=None)
    yield lambda: t.release(unit)
    t.correct(t.study.records.last("ProductUnitRegistered"), "lot", "L7")


# -- the tests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "story"), [(r, s) for r, _, s in CASES], ids=[f"{r}: {n}" for r, n, _ in CASES])
def test_a_decision_is_refused_and_its_remedy_makes_it_succeed(trial: Trial, rule: str, story: Story) -> None:
    steps = story(trial)
    attempt = next(steps)
    before = trial.size
    with refused(rule) as caught:
        attempt()
    assert trial.size == before, "a refused decision leaves no trace in the ledger"
    assert all(0 <= index < before for index in caught[0].indexes), "a cause names records that are there"
    then = next(steps, attempt)
    then()
    assert trial.size > before


def test_every_refusal_of_a_clinical_rule_has_a_story() -> None:
    rooms = (interpretation, consent, eligibility, enrolment, cohort, safety_review, infusion, product)
    names = {room.__name__ for room in rooms}
    rules = {cls.rule for cls in Refusal.__subclasses__() if cls.__module__ in names}
    assert rules == {rule for rule, _, _ in CASES} and len(rules) > 40


def test_every_rule_has_one_class_a_sentence_and_a_remedy() -> None:
    classes = [cls for cls in Refusal.__subclasses__() if cls.__module__.startswith("ledger.domain")]
    mine = [cls for cls in classes if cls.rule in {rule for rule, _, _ in CASES}]
    assert len({cls.rule for cls in mine}) == len(mine)
    for cls in mine:
        assert cls.__doc__ and cls.__doc__.strip().endswith(".") and cls.remedy.endswith(".")


def test_what_stops_something_never_lacks_a_precondition(trial: Trial) -> None:
    ada = trial.screened()
    trial.say("EligibilityDecided", ada, eligible=False, reason="changed her mind")
    trial.say("CohortHeld", "cohort/LOW", reason="nobody opened it, and it is held all the same")
    trial.review("LOW", "hold")
    trial.review("HIGH", "stop")
    trial.say("ProductReleaseRevoked", "product/U1", role="manufacturer-quality", reason="nobody registered it")


def test_a_study_that_is_on_hold_enrols_and_treats_nobody(trial: Trial) -> None:
    ada = trial.enrolled()
    bea = trial.candidate("002")
    trial.eligible(bea)
    trial.say("StudyHeld", "study", reason="a batch is in doubt")
    for decision in (lambda: trial.authorise(ada), lambda: trial.enrol(bea), lambda: trial.open_cohort("HIGH")):
        with refused("STUDY-1"):
            decision()


def test_without_a_protocol_at_the_site_nothing_is_decided_there() -> None:
    trial = Trial()
    trial.open(readings=False)
    trial.say("SiteActivated", "site/EAST", site="EAST", time_zone="UTC")
    ada = trial.screened(site="EAST")
    with refused("PROTOCOL-4"):
        trial.eligible(ada, site="EAST")


def test_the_invented_study_s_readings_are_those_of_the_plan() -> None:
    assert set(COAST.readings) == {"AMB-1", "AMB-2"}
