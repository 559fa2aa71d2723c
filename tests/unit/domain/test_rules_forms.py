"""The form of an event is all that a fact is ever refused for; what is known is kept, in whatever part it is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.domain import (
    adverse_event,
    cohort,
    consent,
    deviation,
    eligibility,
    infusion,
    lab,
    product,
    specimen,
    subject,
)
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.model import Decision, EventModel, Fact
from ledger.domain.refusals import FindingRule, Refusal, all_rules
from ledger.signing.claims import RESERVED

ROOMS = (adverse_event, cohort, consent, deviation, eligibility, infusion, lab, product, specimen, subject)
MODELS = [model for room in ROOMS for model in room.EVENTS]


def reads(model: type[EventModel], **fields: Any) -> EventModel:
    """The event with these fields; raises ValidationError where the form is wrong."""
    return model.model_validate(fields)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (lab.LabResultReported, {"analyte": "PLT", "value": 29.5}),
        (lab.LabResultReported, {"analyte": "PLT", "value": "29,5"}),
        (lab.LabResultReported, {"analyte": "PLT", "value": "1e3"}),
        (lab.LabResultReported, {"analyte": "PLT", "comparator": "less than"}),
        (lab.LabResultReported, {"analyte": " "}),
        (lab.LabResultReported, {}),
        (lab.LabResultReported, {"analyte": "PLT", "occurred_at": "04.03.2024"}),
        (lab.LabResultReported, {"analyte": "PLT", "occurred_at": "2024-02-30"}),
        (lab.LabResultReported, {"analyte": "PLT", "occurred_at": "0204-03-04"}),
        (lab.LabResultReported, {"analyte": "PLT", "occurred_at": "2024-03-04T25:00"}),
        (lab.LabResultReported, {"analyte": "PLT", "result": "30"}),
        (lab.LabResultReported, {"analyte": "PLT", "reference_range": {"low": "1", "from": "2"}}),
        (subject.SubjectScreened, {"population": "patient"}),
        (subject.SubjectScreened, {"number": "001/2"}),
        (subject.SubjectScreened, {"number": "001", "sex": "F"}),
        (subject.AssessmentRecorded, {"instrument": "ECOG", "items": {"score": 1.5}}),
        (consent.ConsentWithdrawn, {"scope": []}),
        (consent.ConsentWithdrawn, {"scope": ["everything"]}),
        (infusion.InfusionGiven, {"number": 0}),
        (infusion.InfusionGiven, {"number": True}),
        (infusion.InfusionAuthorised, {"number": 1, "dose": "1.5"}),
        (adverse_event.AdverseEventReported, {"term": "rash", "grade": 6}),
        (adverse_event.AdverseEventFollowedUp, {"outcome": "recovered"}),
        (eligibility.EligibilityDecided, {"eligible": "yes"}),
        (eligibility.EligibilityAssessed, {"criteria": {"I1": "met"}}),
        (cohort.CohortHeld, {"reason": "  "}),
        (cohort.SafetyReviewConcluded, {"conclusion": "go on", "reason": "seen"}),
        (product.ProductReleaseRevoked, {}),
    ],
)
def test_an_event_of_the_wrong_form_is_refused(model: type[EventModel], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reads(model, **fields)


def test_what_was_not_done_needs_no_more_than_that() -> None:
    for model in MODELS:
        if issubclass(model, Fact):
            reads(model, status="not done", status_reason="the visit was missed")
            reads(model, status="unknown")


def test_a_fact_with_only_what_it_is_about_is_a_fact() -> None:
    assert reads(infusion.InfusionGiven)
    assert reads(consent.ConsentGiven, occurred_at_status="unknown", verification="not verified")
    assert reads(adverse_event.AdverseEventReported, term="rash", started_at="2012")
    assert reads(lab.LabResultReported, analyte="GLUC", text="<0.2")


def test_a_transferred_row_keeps_what_has_no_field_of_its_own() -> None:
    row = {"LBSEQ": "39", "LBBLFL": "", "LBNRIND": "NORMAL"}
    timing = {"visit_number": "3.5", "planned_day": -7, "study_day": 15, "epoch": "SCREENING"}
    kept = reads(lab.LabResultReported, analyte="ALB", sequence=39, timing=timing, as_transferred=row)
    assert kept.model_dump(exclude_none=True) == {
        "analyte": "ALB",
        "sequence": 39,
        "timing": timing,
        "as_transferred": row,
    }


def test_everything_about_a_subject_is_disclosed_never_in_the_clear() -> None:
    for model in MODELS:
        assert model.clear_fields() == frozenset(), model


def test_every_event_is_described_worded_and_has_a_schema() -> None:
    known = {cls.rule for base in (Refusal, FindingRule) for cls in all_rules(base)}
    for model in MODELS:
        assert model.__doc__ and model.__doc__.strip().endswith(".")
        assert model.words and set(re.findall(r"{(\w+)}", model.words)) <= set(model.model_fields)
        assert not set(model.model_fields) & RESERVED, "a field that looks like a signed claim"
        assert not set(model.model_fields) & set(dir(EventModel)) - set(Fact.model_fields), model
        assert model.recorders and model.rules and set(model.rules) <= known, model
        assert CATALOGUE.schema(model.__name__)["additionalProperties"] is False


def test_every_rule_of_these_rooms_stands_with_an_event() -> None:
    rooms = {"INFUSION", "PRODUCT", "SPECIMEN", "LAB", "SAFETY", "CONSENT", "ENROL", "ELIGIBILITY", "COHORT", "REVIEW"}
    named = {rule for model in MODELS for rule in model.rules}
    rules = {cls.rule for base in (Refusal, FindingRule) for cls in all_rules(base)}
    assert {rule for rule in rules if rule.partition("-")[0] in rooms} <= named


def test_systems_record_facts_and_never_decide() -> None:
    for model in MODELS:
        assert ("system" in model.recorders) == issubclass(model, Fact), model
        assert issubclass(model, Fact) or issubclass(model, Decision)
