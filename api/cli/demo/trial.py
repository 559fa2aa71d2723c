"""The course itself: cohorts opened, filled, reviewed on cuts; the amendment; the dose; the expansion.

Published facts (Chen Y, et al. Signal Transduct Target Ther 2024;9): escalation of 12 = 3 + 3 + 6, three of them
added at the top dose after a dose-limiting toxicity, expansion of 6 at 2.0. Everything else here is invented.
"""

from __future__ import annotations

from datetime import date, datetime

from api.cli.demo import follow_up, safety, screening, setup, treatment
from api.cli.demo.cast import SITE
from api.cli.demo.play import Line, Sent
from api.cli.demo.screening import Findings
from api.cli.demo.stage import Case, Stage, at
from api.cli.demo.subjects import CONTROLS, PATIENTS, SCREEN_FAILURES, Control, Patient, ScreenFailure

WEIGHT_TYPOS = {"SYN-005": "45.0"}
"""Weights entered wrongly at first."""


def trial(stage: Stage) -> Line:
    """The main line, from the first cohort to the last subject's first infusion."""
    yield from setup.set_up(stage)
    yield at(date(2019, 11, 21), "09:00")
    open_cohort(stage, "A", "Group A opens at 0.5")
    send_in(stage, "A")
    for control in CONTROLS:
        stage.play.follow(control_line(stage, control))
    for failure in SCREEN_FAILURES:
        stage.play.follow(screen_failure(stage, failure))
    yield from review_of_a(stage)
    yield at(date(2020, 4, 27), "09:00")
    open_cohort(stage, "B", "Group B opens at 1.0")
    send_in(stage, "B")
    yield at(date(2020, 9, 9), "15:00")
    review(stage, "B", "escalate", "No dose-limiting toxicity in three patients; counts rise in two")
    yield at(date(2020, 9, 14), "09:00")
    open_cohort(stage, "C", "The third group opens at 2.0")
    send_in(stage, "C", up_to=3)
    yield from toxicity_and_amendment(stage)
    yield at(date(2021, 8, 3), "16:00")
    adjudicate(stage, "SYN-013", False, "Bleeding explained by the platelet count; outside the 28 days")
    yield at(date(2021, 8, 4), "15:00")
    review(stage, "C", "complete", "One of six patients with a dose-limiting toxicity: the dose is accepted")
    yield at(date(2021, 8, 25), "11:00")
    stage.play.tell("The dose for the expansion is selected: 2.0")
    stage.play.decide(
        stage.cast.pi,
        "DoseSelected",
        "study",
        cohort="EXP",
        dose_level="C",
        reason="Counts rise in three of six patients at 2.0 against two of three at 1.0 and none at 0.5; tolerated",
    )
    yield at(date(2021, 9, 1), "09:00")
    open_cohort(stage, "EXP", "Expansion of six at 2.0")
    send_in(stage, "EXP")


def open_cohort(stage: Stage, cohort: str, chapter: str) -> None:
    """An investigator opens a cohort for enrolment."""
    stage.play.tell(chapter)
    stage.play.decide(stage.cast.pi, "CohortOpened", f"cohort/{cohort}", site=SITE)


def send_in(stage: Stage, cohort: str, after: int = 0, up_to: int | None = None) -> None:
    """Subjects of a cohort come, each at the own time."""
    for patient in [p for p in PATIENTS if p.cohort == cohort][after:up_to]:
        stage.play.follow(patient_line(stage, patient))


def review(stage: Stage, cohort: str, conclusion: str, reason: str) -> Sent:
    """The review board concludes on a cohort, on everything recorded so far."""
    stage.play.tell(f"Safety review of cohort {cohort}: {conclusion}")
    return stage.play.decide(
        stage.cast.review,
        "SafetyReviewConcluded",
        f"cohort/{cohort}",
        meaning="review",
        conclusion=conclusion,
        reason=reason,
        members=["Synthetic haematologist", "Synthetic statistician", "Synthetic cell therapist"],
    )


def review_of_a(stage: Stage) -> Line:
    """The first review: the next group is not opened without it, and not on a state that has moved on."""
    play, cast = stage.play, stage.cast
    yield at(date(2020, 4, 8), "09:00")
    play.attempt(
        "COHORT-6", "to open group B before group A is reviewed", cast.pi, "CohortOpened", "cohort/B", site=SITE
    )
    yield at(date(2020, 4, 14), "17:00")
    adjudicate(stage, "SYN-002", False, "Bleeding explained by the platelet count; outside the 28 days")
    play.flush()
    seen = play.client.cut
    yield at(date(2020, 4, 16), "15:00")
    conclusion = {"conclusion": "escalate", "reason": "No dose-limiting toxicity in three patients"}
    play.attempt(
        "REVIEW-2",
        "to conclude the review of group A on a state two days old, with results behind it",
        cast.review,
        "SafetyReviewConcluded",
        "cohort/A",
        meaning="review",
        cut=seen,
        **conclusion,
    )
    review(stage, "A", **conclusion)
    play.attempt("COHORT-6", "to open the third group before group B", cast.pi, "CohortOpened", "cohort/C", site=SITE)


def toxicity_and_amendment(stage: Stage) -> Line:
    """One of three at 2.0 has a dose-limiting toxicity: held, adjudicated, amended to 3+3, three more."""
    play, cast = stage.play, stage.cast
    yield at(date(2021, 1, 29), "10:00")
    play.tell("A dose-limiting toxicity at 2.0; the group is held")
    case = stage.case("SYN-011")
    held = "Acute myocardial infarction after the third infusion of SYN-011"
    play.decide(cast.pi, "CohortHeld", "cohort/C", site=SITE, reason=held)
    yield at(date(2021, 2, 2), "16:00")
    patient = next(p for p in PATIENTS if p.number == case.number)
    wanted = treatment.authorisation(patient, 4)
    tried = "to authorise the fourth infusion of SYN-011 while the group is held"
    case.attempt("COHORT-10", tried, cast.investigator, "InfusionAuthorised", **wanted)
    yield at(date(2021, 2, 3), "09:30")
    reason = "Acute myocardial infarction, possibly related"
    treatment.withhold_last(stage, case, patient, reason, case.kept["serious"].jti)
    yield at(date(2021, 2, 5), "16:00")
    adjudicate(stage, "SYN-011", True, "Grade 4, possibly related, within 28 days of the first infusion")
    yield at(date(2021, 2, 17), "15:00")
    review(stage, "C", "hold", "One of three patients with a dose-limiting toxicity; the protocol has no rule for it")
    yield from amend(stage)
    yield at(date(2021, 3, 15), "15:00")
    review(stage, "C", "expand-cohort", "One of three: three more at the same dose, by version 3+3")
    yield at(date(2021, 3, 16), "09:00")
    resumed = "Amendment in force; the board lets three more patients in"
    play.decide(cast.pi, "CohortResumed", "cohort/C", site=SITE, reason=resumed)
    play.tell("Three more at 2.0")
    send_in(stage, "C", after=3)


def amend(stage: Stage) -> Line:
    """Version 3+3: approved, adopted, in force at the site, with a new consent document for those still there."""
    play = stage.play
    yield at(date(2021, 3, 8), "10:00")
    play.tell("A signed amendment: traditional 3+3, 18 patients")
    setup.approve(stage, "EC-2021-03", "protocol version 3+3 and consent document version 2", date(2021, 3, 5))
    setup.adopt_protocol(stage, setup.AMENDED, "Dose-limiting toxicity in one of three patients at 2.0")
    setup.approve_consent(stage, setup.CONSENT, "2", "EC-2021-03")
    yield at(date(2021, 3, 10), "09:00")
    setup.activate_protocol(stage, setup.AMENDED, "EC-2021-03")
    stage.protocol_version, stage.consent_version = setup.AMENDED, "2"
    for number, day in (("SYN-009", 17), ("SYN-010", 17), ("SYN-011", 24)):
        play.follow(renew_consent(stage, number, at(date(2021, 3, day), "10:30")))


def renew_consent(stage: Stage, number: str, moment: datetime) -> Line:
    """A subject in follow-up consents to the new version at the next visit."""
    yield moment
    screening.consent(stage, stage.case(number), "reconsent")


def adjudicate(stage: Stage, number: str, dose_limiting: bool, reason: str) -> None:
    """The board judges a serious event."""
    case = stage.case(number)
    case.decide(
        stage.cast.review,
        "DoseLimitingToxicityAdjudicated",
        adverse_event=case.kept["serious"].jti,
        dose_limiting=dose_limiting,
        reason=reason,
        meaning="review",
    )


def patient_line(stage: Stage, patient: Patient) -> Line:
    """One patient from screening to the end of the study."""
    case, doctor = stage.case(patient.number), getattr(stage.cast, patient.by)
    weight = WEIGHT_TYPOS.get(patient.number, patient.weight)
    found = Findings(
        patient.sex,
        patient.born,
        weight,
        str(patient.baseline + 2),
        patient.childbearing,
        patient.splenectomy,
        patient.rituximab,
    )
    yield from screening.screen(stage, case, patient.screened, found)
    yield at(patient.screened, "10:00", days=3)
    screening.assess(stage, case, doctor)
    case.decide(doctor, "EligibilityDecided", **screening.decision(stage, case, "All criteria permit"))
    yield at(patient.screened, "11:00", days=5)
    enrol(stage, case, patient)
    yield at(patient.screened, "09:00", days=6)
    treatment.register_units(stage, patient)
    yield at(patient.screened, "15:00", days=7)
    treatment.release_units(stage, patient, [1, 2, 3, 4])
    _follow(stage, case, patient)
    for number in range(1, patient.infusions + 1):
        yield from treatment.infuse(stage, case, patient, number)
    if patient.last_week == 28:
        yield at(patient.first_infusion, "11:00", days=7 * 28 + 2)
        case.record(stage.cast.investigator, "SubjectCompleted", keep="end")


def enrol(stage: Stage, case: Case, patient: Patient) -> None:
    """Enrolment; twice the ledger has to say no first."""
    doctor = getattr(stage.cast, patient.by)
    if stage.open_reading is not None:
        tried = f"to enrol {case.number} while it is open how many the expansion has"
        case.attempt("INTERPRETATION-2", tried, doctor, "SubjectEnrolled", cohort=patient.cohort)
        setup.countersign(stage, stage.open_reading)
        stage.open_reading = None
    if patient.number == "SYN-005":
        tried = "to enrol a fourth patient, SYN-005, into group A"
        case.attempt("COHORT-3", tried, doctor, "SubjectEnrolled", cohort="A")
    case.decide(doctor, "SubjectEnrolled", cohort=patient.cohort)


def _follow(stage: Stage, case: Case, patient: Patient) -> None:
    play = stage.play
    play.follow(follow_up.day_before(stage, case, patient))
    play.follow(follow_up.platelets(stage, case, patient))
    play.follow(follow_up.immune_function(stage, case, patient))
    play.follow(follow_up.viruses(stage, case, patient))
    play.follow(follow_up.bleeding(stage, case, patient))
    play.follow(safety.adverse_events(stage, case, patient))
    if patient.sex == "female":
        play.follow(follow_up.concentrations(stage, case, patient))
    if patient.number in follow_up.FIRST_NINE:
        play.follow(follow_up.antibodies(stage, case, patient))
    if patient.childbearing:
        play.follow(follow_up.pregnancy_tests(stage, case, patient))


def screen_failure(stage: Stage, person: ScreenFailure) -> Line:
    """Somebody who is screened and may not take part: the ledger says so too, where it is tried."""
    case, doctor = stage.case(person.number), stage.cast.pi
    found = Findings(person.sex, person.born, "65.0", person.platelets, alt=person.alt, hbsag=person.hbsag)
    yield from screening.screen(stage, case, person.screened, found)
    yield at(person.screened, "11:30", days=3)
    screening.assess(stage, case, doctor)
    if person is SCREEN_FAILURES[0]:
        tried = f"to declare {person.number} eligible in spite of criterion {person.criterion}"
        wanted = screening.decision(stage, case, "Seems fit to take part")
        case.attempt("ELIGIBILITY-1", tried, doctor, "EligibilityDecided", **wanted)
    refused = screening.decision(stage, case, f"{person.criterion}: {person.reason}", eligible=False)
    case.decide(doctor, "EligibilityDecided", **refused)
    case.record(
        stage.cast.coordinator,
        "DispositionRecorded",
        term="SCREEN FAILURE",
        category="DISPOSITION EVENT",
        reason=person.reason,
        criteria=[person.criterion],
    )


def control_line(stage: Stage, control: Control) -> Line:
    """A healthy control: consent, one immune panel."""
    case, cast = stage.case(control.number), stage.cast
    yield at(control.screened, "09:00")
    case.record(
        cast.investigator,
        "ConsentGiven",
        document_id=setup.CONTROL_CONSENT,
        version="1",
        language=setup.LANGUAGE,
        purpose="initial",
        given_by="subject",
    )
    yield at(control.screened, "09:30")
    case.record(
        cast.coordinator,
        "SubjectScreened",
        number=control.number,
        population="healthy-control",
        sex=control.sex,
        birth_date=control.born.isoformat(),
        country="CN",
    )
    yield from follow_up.control_panel(stage, case, "IMC", at(control.screened, "10:00"))
