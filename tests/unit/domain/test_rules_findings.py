"""Every finding: facts that break a rule are recorded all the same, and the finding appears with its rule.

Each case is a short story that yields, again and again, about whom (a subject, or None for the study) and
whether the rule is broken at that point; most begin with facts that keep it and end with a correction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from ledger.domain import findings
from ledger.domain.record import Record
from ledger.domain.refusals import FindingRule, all_rules
from tests.scenario.plans import COAST
from tests.unit.domain.conftest import GENESIS, Trial

Point = tuple[str | None, bool]
Story = Callable[[Trial], Iterator[Point]]
CASES: list[tuple[str, str, Story]] = []

CLOCKS = """
safety:
  starts: first_dose
  captured_from: first_dose
  captured_until: P12W
  clocks:
    site-serious:
      {text: serious events within a day, reporter: site, when: serious, due_within: PT24H, source: invented}
    unexpected:
      text: unexpected serious reactions within fifteen days
      reporter: sponsor
      when: [serious, related, unexpected]
      due_within: P15D
      source: invented
"""


def case(rule: str) -> Callable[[Story], Story]:
    """Register a story about a rule."""

    def register(story: Story) -> Story:
        CASES.append((rule, story.__name__.replace("_", " "), story))
        return story

    return register


def with_clocks(t: Trial) -> None:
    """The same study, with reporting clocks in its protocol."""
    before, _, after = COAST.protocol.partition("\nsafety:")
    text = before + CLOCKS + after[after.index("\ntime_zone") :]
    t.__dict__.update(Trial(protocol=text).open().__dict__)


def changed(t: Trial, old: str, new: str) -> None:
    """The same study, with another text in its protocol."""
    assert old in COAST.protocol
    t.__dict__.update(Trial(protocol=COAST.protocol.replace(old, new)).open().__dict__)


CELLS_PER_KG = "10*6.{cells}/kg"


def dosed_in_cells(t: Trial) -> None:
    """The same study, with a dose in million cells per kilogram."""
    changed(t, "dose_unit: mg/kg", f'dose_unit: "{CELLS_PER_KG}"')


def weigh(t: Trial, subject: str, weight: object, **fields: object) -> Record:
    """The subject is weighed."""
    return t.fact("AssessmentRecorded", subject, instrument="scales", items={"weight": weight}, **fields)


# -- consent ------------------------------------------------------------------------------------------------


@case("CONSENT-5")
def a_specimen_drawn_before_consent(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada)
    yield ada, False
    early = t.fact("SpecimenDrawn", ada, specimen="S1", occurred_at=t.ago(days=1))
    yield ada, True
    t.correct(early, "occurred_at", t.stamp)
    yield ada, False


@case("CONSENT-5")
def a_specimen_drawn_without_any_consent(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.fact("SpecimenDrawn", ada, specimen="S1")
    yield ada, True
    t.consent(ada, occurred_at=t.ago(days=1))
    yield ada, False


@case("CONSENT-5")
def an_optional_consent_covers_no_procedure(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada, purpose="optional", occurred_at=t.ago(days=1))
    t.fact("SpecimenDrawn", ada, specimen="S1")
    yield ada, True


@case("CONSENT-5")
def a_draw_on_the_day_of_consent_may_have_come_after_it(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada)
    t.fact("SpecimenDrawn", ada, specimen="S1", occurred_at=t.stamp[:10])
    yield ada, False


@case("CONSENT-5")
def a_specimen_that_was_not_drawn_needs_no_consent(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.fact("SpecimenDrawn", ada, specimen="S1", status="not done", status_reason="not yet asked")
    yield ada, False


@case("CONSENT-6")
def a_consent_to_a_version_that_was_not_approved(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada)
    yield ada, False
    t.consent(ada, version="0")
    yield ada, True


@case("CONSENT-6")
def a_consent_to_a_version_that_was_replaced_already(t: Trial) -> Iterator[Point]:
    t.later(days=1)
    t.approve("2")
    t.later(days=1)
    ada = t.screened()
    given = t.consent(ada, version="1")
    yield ada, True
    t.correct(given, "version", "2")
    yield ada, False


@case("CONSENT-7")
def a_new_version_was_approved_since(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada)
    yield ada, False
    t.later(days=1)
    t.approve("2")
    yield ada, True
    t.consent(ada, version="2", purpose="reconsent")
    yield ada, False


@case("CONSENT-7")
def who_has_left_is_not_asked_again(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada)
    t.fact("SubjectCompleted", ada)
    t.approve("2")
    yield ada, False


@case("CONSENT-8")
def a_specimen_drawn_after_the_withdrawal(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada)
    withdrawn = t.fact("ConsentWithdrawn", ada, scope=["specimens"])
    t.later(days=1)
    t.fact("AssessmentRecorded", ada, instrument="weight", items={"kg": "70"})
    yield ada, False
    t.fact("SpecimenDrawn", ada, specimen="S1")
    yield ada, True
    t.correct(withdrawn, "scope", ["contact"])
    yield ada, False


@case("CONSENT-8")
def safety_is_followed_after_a_withdrawal(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada)
    t.fact("ConsentWithdrawn", ada, scope=["treatment", "procedures", "data", "specimens"])
    t.later(days=1)
    t.fact("AdverseEventReported", ada, term="rash")
    yield ada, False


@case("CONSENT-8")
def a_new_consent_to_a_version_nobody_approved_lifts_no_withdrawal(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada)
    t.fact("ConsentWithdrawn", ada, scope=["treatment"])
    t.later(days=1)
    again = t.consent(ada, version="99", purpose="reconsent")
    t.later(days=1)
    t.give(ada, 1, t.unit())
    yield ada, True
    t.correct(again, "version", "1")
    yield ada, False
    t.later(days=1)
    t.approve("2")
    yield ada, False


@case("CONSENT-8")
def a_new_consent_lifts_a_withdrawal(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.consent(ada)
    t.fact("ConsentWithdrawn", ada, scope=["procedures"])
    t.later(days=1)
    t.consent(ada)
    t.later(days=1)
    t.fact("SpecimenDrawn", ada, specimen="S1")
    yield ada, False
    t.fact("SpecimenDrawn", ada, specimen="S2", occurred_at=t.ago(hours=36))
    yield ada, True


@case("CONSENT-9")
def a_consent_whose_date_is_unknown(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    given = t.consent(ada, occurred_at=None, occurred_at_status="unknown", verification="not verified")
    yield ada, True
    t.correct(given, "verification", "verified")
    yield ada, True
    t.correct(given, "occurred_at", "2024-02")
    yield ada, False


# -- eligibility, enrolment, basis --------------------------------------------------------------------------


@case("ELIGIBILITY-3")
def investigator_and_facts_differ(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    yield ada, False
    answers = {"other_reason": False}
    t.fact("EligibilityAssessed", ada, attestations=answers, criteria={"I2": {"verdict": "not met"}})
    yield ada, True


@case("ELIGIBILITY-3")
def an_investigator_who_does_not_know_differs_from_nobody(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    t.fact("EligibilityAssessed", ada, criteria={"I2": {"verdict": "unknown"}})
    yield ada, False


@case("ELIGIBILITY-4")
def somebody_smokes_during_the_study(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.later(days=1)
    yield ada, False
    smoking = t.fact("AssessmentRecorded", ada, instrument="smoking", items={"now": True})
    yield ada, True
    t.void(smoking)
    yield ada, False


@case("ELIGIBILITY-5")
def a_correction_shows_that_the_subject_was_not_eligible(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    result = t.subject(ada).records.last("LabResultReported")
    decision = t.eligible(ada)
    yield ada, False
    t.correct(result, "value", "8.5")
    yield ada, True
    t.reverse(decision)
    yield ada, False


@case("ELIGIBILITY-5")
def a_result_from_after_the_decision_says_nothing_about_it(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    t.eligible(ada)
    t.later(days=1)
    t.fact("LabResultReported", ada, analyte="ferritin", value="8", unit="ug/L")
    yield ada, False


@case("ELIGIBILITY-5")
def a_consent_document_approved_later_says_nothing_about_it(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    t.eligible(ada)
    t.approve("2")
    yield ada, False


@case("ENROL-6")
def an_enrolment_outlives_its_decision_on_eligibility(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    yield ada, False
    t.reverse(t.subject(ada).records.last("EligibilityDecided"))
    yield ada, True


@case("ENROL-6")
def an_enrolment_transcribed_from_paper_lacks_its_ground(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.enrol(ada, mode="transcribed", occurred_at=t.stamp)
    yield ada, True


@case("BASIS-1")
def a_corrected_result_changes_the_basis_of_a_decision(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    result = t.subject(ada).records.last("LabResultReported")
    decision = t.eligible(ada)
    yield ada, False
    t.correct(result, "value", "84")
    yield ada, True
    t.reverse(decision)
    yield ada, False


@case("BASIS-1")
def a_correction_of_a_later_fact_does_not(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    t.eligible(ada)
    t.later(days=1)
    later = t.fact("LabResultReported", ada, analyte="ferritin", value="84", unit="ug/L")
    t.correct(later, "value", "83")
    yield ada, False


@case("BASIS-1")
def a_late_entry_changes_the_basis_of_a_decision(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    t.eligible(ada)
    t.fact("HistoryRecorded", ada, term="gout", onset_date="2020")
    yield ada, True


@case("BASIS-1")
def what_was_recorded_between_cut_and_decision_was_not_seen(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    seen = t.size
    t.fact("HistoryRecorded", ada, term="gout")
    t.eligible(ada, cut=seen)
    yield ada, True


@case("BASIS-1")
def a_revoked_release_changes_the_basis_of_an_authorisation(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.authorise(ada, 1, unit)
    yield ada, False
    t.say("ProductReleaseRevoked", f"product/{unit}", role="manufacturer-quality", reason="particles")
    yield ada, True


@case("BASIS-1")
def a_corrected_adverse_event_changes_the_basis_of_a_review(t: Trial) -> Iterator[Point]:
    ada, *_ = t.full_cohort()
    rash = t.fact("AdverseEventReported", ada, term="rash", grade=2)
    t.review()
    yield None, False
    t.correct(rash, "grade", 4)
    yield None, True
    t.review()
    yield None, False


@case("BASIS-1")
def a_reversed_enrolment_changes_the_basis_of_a_review(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.enrolled("002")
    t.review(conclusion="hold")
    yield None, False
    t.reverse(t.subject(ada).records.last("SubjectEnrolled"))
    yield None, True
    t.review(conclusion="hold")
    yield None, False


@case("BASIS-1")
def an_enrolment_reversed_before_a_review_is_none_of_it(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.enrolled("002")
    t.reverse(t.subject(ada).records.last("SubjectEnrolled"))
    t.review(conclusion="hold")
    t.fact("SubjectWithdrawn", ada, reason="moved", occurred_at=t.ago(hours=1))
    yield None, False


@case("BASIS-1")
def a_corrected_or_voided_adverse_event_changes_the_basis_of_its_adjudication(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    rash = t.fact("AdverseEventReported", ada, term="rash", grade=3)
    fever = t.fact("AdverseEventReported", ada, term="fever", grade=1)
    judged = t.adjudicate(ada, rash.jti)
    t.void(fever)
    yield ada, False
    t.correct(rash, "grade", 1)
    yield ada, True
    t.reverse(judged)
    yield ada, False
    t.adjudicate(ada, rash.jti, False)
    yield ada, False
    t.void(rash)
    yield ada, True


@case("BASIS-1")
def a_reversed_review_changes_the_basis_of_the_opening_that_it_permitted(t: Trial) -> Iterator[Point]:
    t.full_cohort()
    first = t.review()
    second = t.review()
    opening = t.open_cohort("HIGH")
    yield None, False
    t.reverse(first)
    yield None, False
    t.reverse(second)
    yield None, True
    t.review()
    yield None, True
    t.reverse(opening)
    yield None, False
    t.open_cohort("HIGH")
    yield None, False


@case("BASIS-1")
def a_reversed_selection_changes_the_basis_of_the_opening_at_that_dose(t: Trial) -> Iterator[Point]:
    t.full_cohort()
    t.review()
    t.open_cohort("HIGH")
    t.full_cohort("HIGH", "4.5")
    t.review("HIGH", "complete")
    chosen = t.say("DoseSelected", "study", cohort="MAIN", dose_level="LOW", reason="best tolerated")
    t.open_cohort("MAIN")
    yield None, False
    t.reverse(chosen)
    yield None, True


# -- what was given -----------------------------------------------------------------------------------------


@case("INFUSION-11")
def an_infusion_without_authorisation(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.treat(ada, 1)
    yield ada, False
    t.later(days=14)
    t.give(ada, 2, t.unit())
    yield ada, True


@case("INFUSION-11")
def an_authorisation_that_came_after_the_infusion(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.later(hours=2)
    t.authorise(ada, 1, unit)
    given = t.give(ada, 1, unit, started_at=t.ago(hours=1))
    yield ada, True
    t.correct(given, "started_at", t.stamp)
    yield ada, False


@case("INFUSION-11")
def another_unit_than_the_authorised_one(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.authorise(ada, 1)
    t.give(ada, 1, t.unit())
    yield ada, True


@case("INFUSION-11")
def an_authorisation_that_was_reversed(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.reverse(t.subject(ada).records.last("InfusionAuthorised"))
    yield ada, True


@case("INFUSION-12")
def identity_was_checked_by_one_person(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.authorise(ada, 1, unit)
    check = t.check(ada, 1, unit, checked_by=["Kim", "kim "])
    t.give(ada, 1, unit)
    yield ada, True
    t.correct(check, "checked_by", ["Kim", "Lee"])
    yield ada, False
    t.correct(check, "matched", False)
    yield ada, True


@case("INFUSION-12")
def identity_was_checked_after_the_infusion(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.authorise(ada, 1, unit)
    t.give(ada, 1, unit)
    yield ada, True
    t.later(hours=1)
    t.check(ada, 1, unit)
    yield ada, True


@case("INFUSION-12")
def another_unit_was_checked(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.authorise(ada, 1, unit)
    t.check(ada, 1, t.unit())
    t.give(ada, 1, unit)
    yield ada, True


@case("INFUSION-13")
def a_number_given_twice(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=14)
    twice = t.give(ada, 1, t.unit())
    yield ada, True
    t.correct(twice, "number", 2)
    yield ada, False


@case("INFUSION-13")
def more_infusions_than_the_protocol_has(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    for number in (1, 2, 3):
        yield ada, False
        t.give(ada, number, t.unit())
        t.later(days=14)
    yield ada, True


@case("INFUSION-14")
def an_infusion_given_too_early(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=13)
    early = t.give(ada, 2, t.unit())
    yield ada, False
    t.correct(early, "started_at", t.ago(days=1))
    yield ada, True


@case("INFUSION-14")
def an_infusion_given_too_late_without_having_been_withheld(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=17)
    t.give(ada, 2, t.unit())
    yield ada, True
    t.fact("InfusionWithheld", ada, number=2, reason="had a cold", occurred_at=t.ago(days=2))
    yield ada, False


@case("INFUSION-14")
def an_infusion_given_the_next_day_under_the_number_of_the_last(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=1)
    again = t.give(ada, 1, t.unit())
    yield ada, True
    t.later(days=14)
    t.correct(again, "started_at", t.ago(days=1))
    yield ada, False


@case("INFUSION-14")
def an_infusion_given_the_next_day_under_a_lower_number(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.give(ada, 2, t.unit())
    t.later(days=1)
    t.give(ada, 1, t.unit())
    yield ada, True


@case("INFUSION-15")
def another_dose_than_the_cohort_s(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.authorise(ada, 1, unit)
    given = t.give(ada, 1, unit, dose="1.65")
    yield ada, False  # ten percent more is the protocol's tolerance
    t.correct(given, "dose", "1.66")
    yield ada, True
    t.correct(given, "dose", "1.5")
    t.correct(given, "dose_unit", "g/kg")
    yield ada, True


@case("INFUSION-15")
def an_infusion_that_was_stopped_gave_less(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.authorise(ada, 1, unit)
    given = t.give(ada, 1, unit, dose="0.4", outcome="stopped")
    yield ada, False
    t.correct(given, "outcome", "completed")
    yield ada, True


@case("INFUSION-21")
def a_dose_that_is_stated_twice_and_differently(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    given = t.give(ada, 1, t.unit(), cells_per_kg="1.65")
    yield ada, False  # the protocol's tolerance is ten percent
    t.correct(given, "cells_per_kg", "15")
    yield ada, True
    t.correct(given, "dose", "15")
    yield ada, False


@case("INFUSION-21")
def more_was_given_than_dose_times_weight(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    given = t.give(ada, 1, t.unit(), weight="70", cells="115.5", cells_unit="mg")
    yield ada, False
    t.correct(given, "cells", "115.6")
    yield ada, True
    t.correct(given, "cells", "94.4")
    yield ada, True
    t.correct(given, "outcome", "stopped")
    yield ada, False  # less was given because it was stopped
    t.correct(given, "cells", "9999")
    yield ada, True


@case("INFUSION-21")
def the_weight_that_was_authorised_counts_where_none_is_stated(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.authorise(ada, 1, unit)
    given = t.give(ada, 1, unit, cells="210")
    yield ada, True
    t.correct(given, "cells", "105")
    yield ada, False


@case("INFUSION-21")
def the_weight_that_is_recorded_counts_where_none_is_stated_or_authorised(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.give(ada, 1, t.unit(), cells="210")
    yield ada, False  # nobody knows the weight
    weigh(t, ada, "140", occurred_at=t.ago(days=1))
    yield ada, False
    weigh(t, ada, "70", occurred_at=t.ago(hours=1))
    yield ada, True


@case("INFUSION-21")
def cells_are_counted_in_any_power_of_ten(t: Trial) -> Iterator[Point]:
    dosed_in_cells(t)
    ada = t.enrolled()
    dose = {"dose": "1.5", "dose_unit": CELLS_PER_KG, "weight": "70"}
    given = t.give(ada, 1, t.unit(), cells="105000000", cells_unit="{cells}", **dose)
    yield ada, False
    t.correct(given, "cells_unit", "10*6.{cells}")
    yield ada, True
    t.correct(given, "cells", "105")
    yield ada, False
    t.correct(given, "cells", "0.1")
    t.correct(given, "cells_unit", "10*9")
    yield ada, False  # in two figures: 105 is nearer to 100 than five percent
    t.correct(given, "cells", "1")
    yield ada, True


@case("INFUSION-21")
def cells_in_a_unit_that_counts_no_cells(t: Trial) -> Iterator[Point]:
    dosed_in_cells(t)
    ada = t.enrolled()
    dose = {"dose": "1.5", "dose_unit": CELLS_PER_KG, "weight": "70"}
    given = t.give(ada, 1, t.unit(), cells="105", cells_unit="furlongs", **dose)
    yield ada, True
    t.correct(given, "cells_unit", None)
    yield ada, False


@case("INFUSION-21")
def a_dose_in_milligrams_says_nothing_about_cells(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.give(ada, 1, t.unit(), weight="70", cells="9999", cells_unit="10*6.{cells}")
    yield ada, False


@case("INFUSION-22")
def another_weight_than_the_authorised_one(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.authorise(ada, 1, unit)
    given = t.give(ada, 1, unit, weight="77")
    yield ada, False  # as near as the dose has to be
    t.correct(given, "weight", "20")
    yield ada, True
    t.correct(given, "weight", "70.0")
    yield ada, False


@case("INFUSION-22")
def another_weight_than_the_subject_has(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    weighed = weigh(t, ada, "50")
    t.later(hours=1)
    t.give(ada, 1, t.unit(), weight="70")
    yield ada, True
    t.correct(weighed, "items", {"weight": "69"})
    yield ada, False
    weigh(t, ada, "154.3", units={"weight": "[lb_av]"})
    yield ada, False
    t.later(days=1)
    weigh(t, ada, "90")
    yield ada, False  # taken afterwards


@case("INFUSION-22")
def a_weight_that_cannot_be_read_says_nothing(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    weigh(t, ada, "50", units={"weight": "stone"})
    weigh(t, ada, "fifty")
    weigh(t, ada, "-50")
    weigh(t, ada, None, status="not done", status_reason="no scales")
    t.fact("AssessmentRecorded", ada, instrument="weight", items={"kg": True})
    t.fact("AssessmentRecorded", ada, instrument="grip", items={"kg": "50"})
    t.give(ada, 1, t.unit(), weight="70")
    yield ada, False
    body_weight = {"system": "http://loinc.org", "code": "29463-7"}
    t.fact(
        "AssessmentRecorded", ada, instrument="scales", code=body_weight, items={"kg": 50}, occurred_at=t.ago(days=1)
    )
    yield ada, True


@case("INFUSION-22")
def the_weight_at_screening_counts_where_the_protocol_says_so(t: Trial) -> Iterator[Point]:
    changed(t, "  per_kilogram: true\n", "  per_kilogram: true\n  weight: screening\n")
    ada = t.candidate()
    weigh(t, ada, "50")
    t.eligible(ada)
    t.open_cohort("LOW")
    t.later(days=1)
    t.enrol(ada)
    t.later(days=1)
    weigh(t, ada, "70")
    given = t.give(ada, 1, t.unit(), weight="70")
    yield ada, True
    t.correct(given, "weight", "50")
    yield ada, False


@case("INFUSION-14")
def an_amendment_does_not_mend_what_was_done_before_it(t: Trial) -> Iterator[Point]:
    ada, bea = t.enrolled("001"), t.enrolled("002")
    for person in (ada, bea):
        t.treat(person, 1)
    t.later(days=18)
    t.give(ada, 2, t.unit())
    t.adopt("2.0")
    t.give(bea, 2, t.unit())
    yield ada, True
    yield bea, False


@case("INFUSION-16")
def an_infusion_after_the_withdrawal(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.treat(ada, 1)
    left = t.fact("SubjectWithdrawn", ada, reason="no time", occurred_at=t.ago(days=1))
    yield ada, True
    t.correct(left, "occurred_at", t.stamp)
    yield ada, False


@case("INFUSION-17")
def an_infusion_without_a_pregnancy_test(t: Trial) -> Iterator[Point]:
    ada = t.enrolled(sex="female", childbearing_potential=True)
    t.give(ada, 1, t.unit())
    yield ada, True
    t.fact("LabResultReported", ada, analyte="hcg", text="negative", occurred_at=t.ago(hours=2))
    yield ada, False


@case("INFUSION-17")
def a_test_from_before_the_last_infusion_does_not_count(t: Trial) -> Iterator[Point]:
    ada = t.enrolled(sex="female")
    t.fact("LabResultReported", ada, analyte="hcg", text="negative")
    t.treat(ada, 1)
    yield ada, False
    t.later(days=5)
    t.give(ada, 2, t.unit())
    yield ada, True


@case("INFUSION-17")
def who_cannot_bear_children_is_not_tested(t: Trial) -> Iterator[Point]:
    ada = t.enrolled(sex="female", childbearing_potential=False)
    t.treat(ada, 1)
    yield ada, False


@case("INFUSION-18")
def an_infusion_of_somebody_who_is_not_enrolled(t: Trial) -> Iterator[Point]:
    ada = t.candidate()
    t.give(ada, 1, t.unit())
    yield ada, True


@case("INFUSION-18")
def an_infusion_after_the_enrolment_was_reversed(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.reverse(t.subject(ada).records.last("SubjectEnrolled"))
    yield ada, False
    t.give(ada, 1, t.unit())
    yield ada, True


@case("INFUSION-19")
def a_healthy_control_was_treated(t: Trial) -> Iterator[Point]:
    eve = t.candidate(population="healthy-control")
    given = t.give(eve, 1, t.unit())
    yield eve, True
    t.void(given)
    yield eve, False


@case("INFUSION-20")
def an_infusion_while_the_cohort_was_held(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.authorise(ada, 1, unit)
    t.say("CohortHeld", "cohort/LOW", reason="a batch is in doubt")
    t.later(hours=1)
    given = t.give(ada, 1, unit)
    yield ada, True
    t.say("CohortResumed", "cohort/LOW", reason="it is not")
    yield ada, True
    t.correct(given, "started_at", t.ago(hours=2))
    yield ada, False


@case("INFUSION-20")
def an_infusion_while_the_study_was_held(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.say("StudyHeld", "study", reason="a batch is in doubt")
    t.later(hours=1)
    t.give(ada, 1, unit)
    yield ada, True


@case("PRODUCT-8")
def a_unit_that_was_not_released(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit(release=False)
    t.give(ada, 1, unit)
    yield ada, True
    t.later(hours=1)
    t.release(unit)
    yield ada, True


@case("PRODUCT-8")
def a_unit_whose_release_was_revoked_before(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.later(hours=1)
    t.say("ProductReleaseRevoked", f"product/{unit}", role="manufacturer-quality", reason="particles")
    t.later(hours=1)
    given = t.give(ada, 1, unit)
    yield ada, True
    t.correct(given, "started_at", t.ago(minutes=90))
    yield ada, False


@case("PRODUCT-8")
def it_is_not_recorded_which_unit_was_given(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.give(ada, 1)
    yield ada, True


@case("PRODUCT-11")
def a_unit_that_had_been_disposed_of(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    yield ada, False
    t.fact("ProductDisposed", f"product/{unit}", reason="broken bag", role="pharmacy")
    t.later(hours=1)
    given = t.give(ada, 1, unit)
    yield ada, True
    t.correct(given, "started_at", t.ago(hours=2))
    yield ada, False


@case("PRODUCT-11")
def a_unit_that_was_disposed_of_at_a_time_nobody_knows(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    unknown = {"occurred_at": None, "occurred_at_status": "unknown"}
    gone = t.fact("ProductDisposed", f"product/{unit}", reason="broken bag", role="pharmacy", **unknown)
    t.later(hours=1)
    t.give(ada, 1, unit)
    yield ada, True
    t.void(gone)
    yield ada, False


@case("PRODUCT-11")
def what_was_left_of_a_unit_is_disposed_of_afterwards(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.give(ada, 1, unit)
    t.later(hours=1)
    t.fact("ProductDisposed", f"product/{unit}", reason="rest", role="pharmacy", occurred_at=t.stamp[:10])
    yield ada, False


@case("PRODUCT-9")
def a_unit_given_after_its_expiry(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit(expires_at=(t.now + timedelta(hours=1)).isoformat(timespec="seconds"))
    t.give(ada, 1, unit)
    yield ada, False
    t.later(hours=2)
    t.give(ada, 2, unit)
    yield ada, True


@case("PRODUCT-10")
def a_unit_given_twice_to_one_subject(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    unit = t.unit()
    t.give(ada, 1, unit)
    t.later(days=14)
    again = t.give(ada, 2, unit)
    yield ada, True
    t.correct(again, "product", t.unit())
    yield ada, False


@case("PRODUCT-10")
def a_unit_given_to_two_subjects(t: Trial) -> Iterator[Point]:
    ada, bea = t.enrolled("001"), t.enrolled("002")
    unit = t.unit()
    t.give(ada, 1, unit)
    yield None, False
    again = t.give(bea, 1, unit)
    yield None, True
    t.void(again)
    yield None, False


# -- cohorts ------------------------------------------------------------------------------------------------


@case("COHORT-12")
def more_subjects_than_seats(t: Trial) -> Iterator[Point]:
    for number in range(3):
        t.enrolled(f"00{number}")
    yield None, False
    ada = t.candidate("009")
    t.enrol(ada, mode="transcribed", occurred_at=t.stamp)
    yield None, True


@case("COHORT-12")
def subjects_in_a_cohort_whose_opening_was_reversed(t: Trial) -> Iterator[Point]:
    t.enrolled()
    t.reverse(t.study.records.last("CohortOpened"))
    yield None, True


# -- specimens and results ----------------------------------------------------------------------------------


@case("SPECIMEN-1")
def a_specimen_drawn_out_of_window(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.treat(ada, 1)
    t.later(days=8)
    drawn = t.fact("SpecimenDrawn", ada, specimen="S1", planned="FERR")
    yield ada, False
    t.later(days=1)
    t.correct(drawn, "occurred_at", t.stamp)
    yield ada, True


@case("SPECIMEN-1")
def a_specimen_drawn_before_there_is_a_plan(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.fact("SpecimenDrawn", ada, specimen="S1", planned="FERR")
    yield ada, False


@case("SPECIMEN-2")
def a_time_point_that_the_protocol_does_not_have(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    drawn = t.fact("SpecimenDrawn", ada, specimen="S1", planned="FERRITIN")
    yield ada, True
    t.correct(drawn, "planned", "FERR")
    yield ada, False


@case("SPECIMEN-3")
def a_time_point_of_another_population(t: Trial) -> Iterator[Point]:
    eve = t.candidate(population="healthy-control")
    t.fact("SpecimenDrawn", eve, specimen="S1", planned="FERR")
    yield eve, True


@case("SPECIMEN-4")
def two_draws_under_one_id(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.fact("SpecimenDrawn", ada, specimen="S1")
    yield ada, False
    second = t.fact("SpecimenDrawn", ada, specimen="S1")
    yield ada, True
    t.correct(second, "specimen", "S2")
    yield ada, False


@case("SPECIMEN-5")
def a_specimen_processed_that_nobody_drew(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.fact("SpecimenProcessed", ada, specimen="S1", method="centrifuged", parts=["S1-A"])
    yield ada, True
    t.fact("SpecimenDrawn", ada, specimen="S1")
    yield ada, False


@case("LAB-1")
def a_result_without_specimen(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    result = t.fact("LabResultReported", ada, analyte="ferritin", value="80", unit="ug/L")
    yield ada, True
    t.correct(result, "specimen", "S1")
    yield ada, True
    t.fact("SpecimenDrawn", ada, specimen="S1")
    yield ada, False


@case("LAB-1")
def a_result_of_a_part_of_a_specimen(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.fact("SpecimenDrawn", ada, specimen="S1")
    t.fact("SpecimenProcessed", ada, specimen="S1", parts=["S1-A"])
    t.fact("LabResultReported", ada, analyte="ferritin", value="80", unit="ug/L", specimen="S1-A")
    yield ada, False


@case("LAB-2")
def a_result_measured_after_the_specimen_was_discarded(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    drawn = t.stamp
    t.fact("SpecimenDrawn", ada, specimen="S1")
    t.later(hours=1)
    t.fact("SpecimenDiscarded", ada, specimen="S1", reason="haemolysed")
    t.later(hours=1)
    fields = {"analyte": "ferritin", "value": "80", "unit": "ug/L", "specimen": "S1", "occurred_at": drawn}
    result = t.fact("LabResultReported", ada, **fields, captured_at=t.stamp)
    yield ada, True
    t.correct(result, "captured_at", drawn)
    yield ada, False


@case("LAB-3")
def a_result_in_a_unit_that_the_protocol_cannot_read(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    result = t.fact("LabResultReported", ada, analyte="FERR", value="80", unit="furlongs")
    yield ada, True
    t.correct(result, "unit", "ug/L")
    yield ada, False


@case("LAB-3")
def an_analyte_that_the_protocol_does_not_know_may_have_any_unit(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.fact("LabResultReported", ada, analyte="sodium", value="140", unit="mmol/L")
    yield ada, False


# -- safety -------------------------------------------------------------------------------------------------


@case("SAFETY-1")
def a_serious_event_reported_late(t: Trial) -> Iterator[Point]:
    with_clocks(t)
    ada = t.enrolled()
    # a statement is recorded a second after the clock was read
    t.fact("AdverseEventReported", ada, term="syncope", serious=True, aware_at=t.ago(hours=23, minutes=59, seconds=58))
    yield ada, False
    t.fact("AdverseEventReported", ada, term="stroke", serious=True, aware_at=t.ago(hours=24, seconds=1))
    yield ada, True


@case("SAFETY-1")
def an_event_that_became_serious_has_a_clock_of_its_own(t: Trial) -> Iterator[Point]:
    with_clocks(t)
    ada = t.enrolled()
    mild = t.fact("AdverseEventReported", ada, term="rash", serious=False, aware_at=t.ago(days=3))
    yield ada, False
    up = {"adverse_event": mild.jti, "serious": True, "seriousness": ["hospitalisation"]}
    grave = t.fact("AdverseEventFollowedUp", ada, aware_at=t.ago(hours=30), **up)
    yield ada, True
    t.correct(grave, "aware_at", t.ago(hours=2))
    yield ada, False


@case("SAFETY-1")
def what_is_transcribed_was_reported_on_paper(t: Trial) -> Iterator[Point]:
    with_clocks(t)
    ada = t.enrolled()
    fields = {"term": "stroke", "serious": True, "aware_at": t.ago(days=30)}
    t.fact("AdverseEventReported", ada, mode="transcribed", **fields)
    yield ada, False


@case("SAFETY-2")
def an_expedited_report_submitted_late(t: Trial) -> Iterator[Point]:
    with_clocks(t)
    ada = t.enrolled()
    event = t.fact("AdverseEventReported", ada, term="stroke", serious=True, aware_at=t.stamp)
    judged = {"adverse_event": event.jti, "related": True, "expectedness": "unexpected"}
    t.fact("AdverseEventAssessed", ada, role="sponsor-safety", **judged)
    t.later(days=16)
    yield ada, False
    report = {"adverse_event": event.jti, "recipient": "authority", "report_type": "initial"}
    sent = t.fact("SafetyReportSubmitted", ada, role="sponsor-safety", **report)
    yield ada, True
    t.countersign(t.correct(sent, "occurred_at", t.ago(days=2)), "coordinator")
    yield ada, False


@case("SAFETY-3")
def a_hospitalisation_that_is_not_called_serious(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    event = t.fact("AdverseEventReported", ada, term="stroke", serious=False, seriousness=["hospitalisation"])
    yield ada, True
    t.correct(event, "serious", True)
    yield ada, False


@case("SAFETY-4")
def a_fatal_event_without_a_death(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    t.fact("AdverseEventReported", ada, term="stroke", outcome="Fatal")
    yield ada, True
    t.fact("SubjectDied", ada, cause="stroke")
    yield ada, False


# -- how records were made ----------------------------------------------------------------------------------


@case("TIME-3")
def a_fact_dated_tomorrow(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    drawn = t.fact("SpecimenDrawn", ada, specimen="S1", occurred_at="2024-03")
    yield ada, False
    t.correct(drawn, "occurred_at", "2024-04")
    yield ada, True


@case("TIME-4")
def a_late_entry_without_a_reason(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.later(days=30)
    t.fact("VisitRecorded", ada, visit="week 1", occurred_at=t.ago(days=6))
    yield ada, False
    late = t.fact("VisitRecorded", ada, visit="week 2", occurred_at=t.ago(days=8))
    yield ada, True
    t.correct(late, "late_reason", "the paper was lost and found")
    yield ada, False


@case("TIME-4")
def an_old_history_is_not_a_late_entry(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.fact("HistoryRecorded", ada, term="measles", onset_date="1986")
    t.fact("MedicationRecorded", ada, name="aspirin", start_date="2010-05")
    t.say("SpecimenDrawn", ada, specimen="S1", occurred_at="2023-03-01", mode="transcribed")
    yield ada, False


@case("TIME-5")
def an_event_that_ended_before_it_began(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    event = t.fact("AdverseEventReported", ada, term="rash", started_at="2024-03-02", ended_at="2024-03")
    yield ada, False
    t.correct(event, "ended_at", "2024-02")
    yield ada, True


@case("SITE-3")
def facts_at_a_site_that_was_closed(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    yield ada, False
    t.say("SiteClosed", "site/NORTH", site="NORTH", reason="no room")
    t.fact("VisitRecorded", ada, visit="week 1")
    yield ada, True


@case("SITE-3")
def facts_at_a_site_that_nobody_activated(t: Trial) -> Iterator[Point]:
    ada = t.screened(site="WEST")
    yield ada, True
    t.correct(t.subject(ada).records.last("SubjectScreened"), "site", "NORTH")
    yield ada, False


@case("SITE-4")
def a_fact_at_another_site_than_the_subject_s(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.fact("VisitRecorded", ada, visit="week 1", site="SOUTH")
    yield ada, True
    t.fact("SubjectTransferred", ada, from_site="NORTH", to_site="SOUTH", reason="moved house")
    yield ada, False


@case("PERSON-1")
def somebody_who_was_not_delegated(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.say("ActorEnrolled", "actor/kim", role="registrar", actor_kind="person")
    drawn = t.fact("SpecimenDrawn", ada, specimen="S1", performed_by="kim")
    yield ada, True
    t.later(days=1)
    granted = {"role": "coordinator", "sites": ["NORTH"]}
    grant = t.say("DelegationGranted", "actor/kim", role="principal-investigator", fields_besides=granted)
    yield ada, True
    t.later(days=1)
    t.correct(drawn, "occurred_at", t.stamp)
    yield ada, False
    t.say("DelegationEnded", "actor/kim", role="principal-investigator", delegation=grant.jti, reason="left")
    yield ada, False
    t.later(days=1)
    t.correct(drawn, "occurred_at", t.stamp)
    yield ada, True


@case("PERSON-1")
def a_person_whom_the_study_does_not_know_is_not_judged(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    t.fact("SpecimenDrawn", ada, specimen="S1", performed_by="a nurse of the ward")
    yield ada, False


@case("REFERENCE-1")
def a_record_that_names_nothing(t: Trial) -> Iterator[Point]:
    ada = t.enrolled()
    event = t.fact("AdverseEventReported", ada, term="rash")
    t.fact("AdverseEventFollowedUp", ada, adverse_event=event.jti, outcome="recovered")
    yield ada, False
    voided = t.void(event)
    yield ada, True
    t.void(voided)
    yield ada, False
    t.fact("ResultReviewed", ada, result=event.jti, role="investigator")
    yield ada, True


@case("SUBJECT-2")
def somebody_whom_nobody_screened(t: Trial) -> Iterator[Point]:
    ada = "subject/0b6fb8e5-2d0f-4b5c-9d57-8f1c1c5f2d10"
    t.consent(ada)
    yield ada, True
    t.screened(label=ada)
    yield ada, False


@case("SUBJECT-3")
def somebody_screened_under_two_numbers(t: Trial) -> Iterator[Point]:
    ada = t.screened("001")
    yield ada, False
    t.screened("002", label=ada)
    yield ada, True


@case("SUBJECT-4")
def a_visit_after_death(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    death = t.fact("SubjectDied", ada, occurred_at="2024-03")
    t.later(days=10)
    visit = t.fact("VisitRecorded", ada, visit="week 1")
    yield ada, False
    t.correct(death, "occurred_at", "2024-03-05")
    yield ada, True
    t.void(visit)
    yield ada, False


@case("SUBJECT-5")
def two_subjects_with_one_number(t: Trial) -> Iterator[Point]:
    t.screened("001")
    yield None, False
    bea = t.screened("001")
    yield None, True
    t.correct(t.subject(bea).records.last("SubjectScreened"), "number", "002")
    yield None, False


@case("MEDICATION-1")
def a_prohibited_medication(t: Trial) -> Iterator[Point]:
    ada = t.screened()
    taken = t.fact("MedicationRecorded", ada, name="aspirin", category="prohibited")
    yield ada, True
    t.correct(taken, "category", "concomitant")
    yield ada, False


# -- the tests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "story"), [(r, s) for r, _, s in CASES], ids=[f"{r}: {n}" for r, n, _ in CASES])
def test_a_finding_appears_where_facts_break_its_rule_and_nowhere_else(trial: Trial, rule: str, story: Story) -> None:
    for step, (about, broken) in enumerate(story(trial), start=1):
        found = [finding for finding in trial.findings(about) if finding.rule == rule]
        assert bool(found) == broken, f"step {step}: {found or 'no such finding'}"
        for finding in found:
            assert finding.because and finding.indexes and finding.title.endswith(".")
            assert all(0 <= index < trial.size for index in finding.indexes)


def test_every_finding_rule_has_a_story() -> None:
    assert findings.FINDINGS
    rules = {cls.rule for cls in all_rules(FindingRule)}
    assert rules == {rule for rule, _, _ in CASES} and len(rules) > 40


def test_findings_say_whom_and_where_they_are_about(trial: Trial) -> None:
    ada = trial.screened(site="SOUTH")
    trial.fact("SpecimenDrawn", ada, specimen="S1", site="SOUTH")
    for finding in trial.findings(ada):
        assert finding.subject == ada and finding.site == "SOUTH"


def test_a_correction_that_misdates_or_misplaces_a_fact_is_shown_beside_it(trial: Trial) -> None:
    ada = trial.screened()
    drawn = trial.fact("SpecimenDrawn", ada, specimen="S1")
    dated = trial.correct(drawn, "occurred_at", "2031-01")
    moved = trial.correct(drawn, "site", "SOUTH")
    shown = {f.rule: f.indexes for f in trial.findings(ada)}
    assert shown["TIME-3"] == (drawn.index, dated.index)
    assert shown["SITE-4"] == (drawn.index, moved.index)
    closed = trial.correct(drawn, "site", "WEST")
    shown = {f.rule: f.indexes for f in trial.findings(ada)}
    assert shown["SITE-3"] == shown["SITE-4"] == (drawn.index, closed.index)


def test_a_subject_s_usual_course_breaks_no_rule(trial: Trial) -> None:
    ada = trial.screened()
    trial.consent(ada)
    trial.fact("SpecimenDrawn", ada, specimen="S1")
    for event, fields in COAST.eligible:
        specimen = {"specimen": "S1"} if event == "LabResultReported" else {}
        trial.fact(event, ada, **fields, **specimen)
    trial.eligible(ada)
    trial.open_cohort("LOW")
    trial.enrol(ada)
    trial.treat(ada, 1)
    trial.later(days=14)
    trial.treat(ada, 2)
    trial.fact("SubjectCompleted", ada)
    assert trial.findings(ada) == []
    assert trial.findings() == []


def test_without_a_protocol_only_general_rules_find_anything() -> None:
    trial = Trial()
    trial.say("StudyOpened", "study", role="registrar", **GENESIS)
    ada = trial.screened()
    trial.give(ada, 7, "U1", dose="1000")
    trial.fact("LabResultReported", ada, analyte="ferritin", value="1", unit="furlongs", planned="NEVER")
    trial.fact("MedicationRecorded", ada, name="aspirin", start_date="2024-03-01", end_date="2024-02-01")
    assert trial.rules(ada) == {"TIME-5"}
