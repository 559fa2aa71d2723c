"""A short course of a trial with everything in it that changes earlier records, for comparing ways to fold it."""

from __future__ import annotations

from tests.integration.projections.book import Book, ref


def write(book: Book) -> None:
    """Two subjects and the study itself: corrections, voids, reversals, second signatures, queries."""
    book.tell(
        "ActorEnrolled", "actor/chen", "reg", "registrar", None, {"actor_kind": "person", "organisation": "Clinic"}
    )
    book.tell("SiteActivated", "site/S1", "spo", "sponsor", "S1", {"time_zone": "Asia/Shanghai"}, name="First site")
    one = book.tell("SubjectScreened", 1, number="P-1", population="patient", sex="female", birth_date="1990-03-04")
    two = book.tell("SubjectScreened", 2, number="P-2", population="patient", sex="male", comment=None)
    given = book.tell(
        "ConsentGiven", 1, occurred_at="2030-01-01T08:00:00+08:00", document_id="ICF", version="1", language="zh"
    )
    book.sign()
    book.correct(one, "birth_date", "1990-04-03", "day and month exchanged")
    book.correct(one, "number", "P-01", "number as on the list")
    book.correct(one, "birth_date", None, "not known after all")
    book.correct(one, "birth_date", "1991", "found on the card")
    wrong = book.tell("LabResultReported", 1, role="laboratory", analyte="ferritin", value="12", unit="ug/L")
    first = book.void(wrong, "another subject's tube")
    book.void(first, "it was hers after all")
    book.sign()
    waiting = book.correct(two, "sex", "female", "site said so", iss="dm", role="data-manager")
    enrolled = book.tell("SubjectEnrolled", 1, claims={"meaning": "approval"}, cohort="LOW")
    book.sign()
    book.countersign(waiting, iss="chen", role="investigator")
    book.reverse(enrolled, "eligibility was read wrongly")
    book.tell("SubjectEnrolled", 1, claims={"meaning": "approval"}, cohort="HIGH")
    book.sign()
    asked = book.tell("QueryOpened", 2, "mon", "monitor", body={"record": ref(two), "field": "number"}, question="why?")
    book.tell("QueryAnswered", 2, "chen", "coordinator", claims={"answers": ref(asked)}, answer="as on the form")
    event = book.tell("AdverseEventReported", 1, term="Fever", grade=2, started_at="2030-01-02", aware_at="2030-01-02")
    book.tell("AdverseEventAssessed", 1, adverse_event=event.jti, causality="possible", related=True)
    book.tell("InfusionGiven", 1, number=1, product="U1", started_at="2030-01-02T09:00:00+08:00", outcome="completed")
    book.tell(
        "MedicationRecorded", 2, name="Paracetamol", category="concomitant", status="not done", status_reason="none"
    )
    book.correct(given, "site", "S2", "signed at the other site")
    book.tell("SubjectWithdrawn", 2, reason="moved away", by="subject")
    book.sign()
