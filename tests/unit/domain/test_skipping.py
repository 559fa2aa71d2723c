"""Passing over an event: what a data manager may decide, and what nobody may leave out of a page."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.domain.catalogue import CATALOGUE
from ledger.domain.model import SystemEvent
from ledger.domain.record import Record
from ledger.domain.skipping import CHANGING, PROJECTIONS, passed_over, protects
from ledger.signing.statement import Statement
from projections.definitions import NAMES
from tests.unit.domain.conftest import KEY, Trial, refused

WHY = "the release cannot read it; a mended one is being tested"


def skip(trial: Trial, record: Record | int, projection: str = "patient", **more: Any) -> Record:
    """Have a projection pass over an event."""
    index = record if isinstance(record, int) else record.index
    fields = {"role": "data-manager", "projection": projection, "index": index, "reason": WHY}
    return trial.say("EventSkipped", "study", **fields | more)


def take_in(trial: Trial, record: Record, projection: str = "patient") -> Record:
    """Have a projection take an event in again."""
    fields = {"projection": projection, "index": record.index, "reason": "the release was mended"}
    return trial.say("SkippingEnded", "study", role="data-manager", **fields)


def test_the_domain_knows_the_projections_that_there_are() -> None:
    assert PROJECTIONS == NAMES


def test_a_fact_is_passed_over_by_one_projection_and_not_by_another(trial: Trial) -> None:
    fact = trial.fact("VisitRecorded", trial.screened(), visit="V1")
    skip(trial, fact)
    skip(trial, fact, "safety")
    with refused("SKIP-6") as caught:
        skip(trial, fact)
    assert fact.index in caught[0].indexes


@pytest.mark.parametrize("beyond", [0, 1, 1_000, 2**53 - 1])
def test_what_is_not_there_is_not_passed_over(trial: Trial, beyond: int) -> None:
    with refused("SKIP-1"):
        skip(trial, trial.size + beyond if beyond < 2**53 - 1 else beyond)


def test_what_came_after_the_cut_that_was_looked_at_is_not_passed_over(trial: Trial) -> None:
    fact = trial.fact("VisitRecorded", trial.screened(), visit="V1")
    with refused("SKIP-1"):
        skip(trial, fact, meaning="approval", cut=fact.index)
    skip(trial, fact, meaning="approval", cut=fact.index + 1)


@pytest.mark.parametrize("name", ["patients", "Patient", "audit-trail", "rm_patient_v1"])
def test_a_projection_that_there_is_not_is_not_named(trial: Trial, name: str) -> None:
    fact = trial.fact("VisitRecorded", trial.screened(), visit="V1")
    with refused("SKIP-4"):
        skip(trial, fact, name)


def test_a_system_never_decides_it(trial: Trial) -> None:
    fact = trial.fact("VisitRecorded", trial.screened(), visit="V1")
    trial.say("ActorEnrolled", "actor/robot", role="registrar", actor_kind="system", organisation="Clinic")
    with refused("SKIP-5"):
        skip(trial, fact, iss="robot")


def test_what_protects_a_subject_is_never_passed_over(trial: Trial) -> None:
    ada = trial.candidate()
    withdrawn = trial.fact("ConsentWithdrawn", ada, scope=["data"])
    died = trial.fact("SubjectDied", ada, cause="unknown")
    verdict = trial.say("EligibilityDecided", ada, eligible=False, reason="changed her mind")
    held = trial.say("CohortHeld", "cohort/LOW", reason="a batch is in doubt")
    for record in (withdrawn, died, verdict, held):
        with refused("SKIP-2") as caught:
            skip(trial, record)
        assert caught[0].indexes == (record.index,)


def test_neither_genesis_nor_a_rule_of_the_study_nor_a_decision_to_skip_is_passed_over(trial: Trial) -> None:
    fact = trial.fact("VisitRecorded", trial.screened(), visit="V1")
    decided = skip(trial, fact)
    for index in (0, trial.study.records.by_event["ProtocolAdopted"][0].index, decided.index):
        with refused("SKIP-2"):
            skip(trial, index)


def test_every_event_of_the_catalogue_is_either_left_out_safely_or_never() -> None:
    """Who adds an event decides it: governance, stopping and taking away are kept without being asked."""
    free = {model.__name__ for model in CATALOGUE if not protects(_statement(model.__name__))}
    assert "ConsentWithdrawn" not in free and "FieldsRedacted" not in free and "KeyRevoked" not in free
    for model in CATALOGUE:
        assert not (model.__name__ in free and (model.kind == "governance" or model.stopping)), model.__name__
    assert {"AdverseEventReported", "LabResultReported", "VisitRecorded", "RecordsSigned", "SubjectEnrolled"} <= free
    assert {model.__name__ for model in CATALOGUE if issubclass(model, SystemEvent)} <= free
    assert free >= CHANGING.keys()


def _statement(event: str, **content: Any) -> Statement:
    claims = {"event": event, "v": 1, "jti": "x", "iss": "a", "sub": "study", "role": "sponsor"}
    return Statement("x", (), "Ed25519", KEY, claims, content, KEY)


@pytest.mark.parametrize(
    ("event", "content", "kept"),
    [
        ("SafetyReviewConcluded", {"conclusion": "stop"}, True),
        ("SafetyReviewConcluded", {"conclusion": "hold"}, True),
        ("SafetyReviewConcluded", {"conclusion": "escalate"}, False),
        ("DoseLimitingToxicityAdjudicated", {"dose_limiting": True}, True),
        ("DoseLimitingToxicityAdjudicated", {}, True),
        ("DoseLimitingToxicityAdjudicated", {"dose_limiting": False}, False),
        ("EligibilityDecided", {"eligible": True}, False),
        ("EligibilityDecided", {}, True),
        ("EventOfANewerRelease", {}, True),
    ],
)
def test_a_conclusion_against_going_on_is_kept_also_where_its_fields_are_gone(
    event: str, content: dict[str, Any], kept: bool
) -> None:
    assert protects(_statement(event, **content)) is kept


def test_a_void_is_passed_over_only_after_what_it_voids_and_taken_in_again_before_it(trial: Trial) -> None:
    fact = trial.fact("VisitRecorded", trial.screened(), visit="V1")
    void = trial.void(fact)
    with refused("SKIP-3") as caught:
        skip(trial, void)
    assert caught[0].indexes == (void.index, fact.index)
    skip(trial, fact, "safety")
    with refused("SKIP-3"):
        skip(trial, void)
    skip(trial, fact)
    skip(trial, void)
    with refused("SKIP-3"):
        take_in(trial, fact)
    take_in(trial, void)
    take_in(trial, fact)
    with refused("SKIP-6"):
        take_in(trial, fact)


def test_a_second_signature_goes_with_the_correction_and_that_with_the_record(trial: Trial) -> None:
    ada = trial.screened()
    screening = trial.subjects[ada].records.last("SubjectScreened")
    assert screening is not None
    waiting = trial.correct(screening, "sex", "female", role="data-manager")
    signed = trial.countersign(waiting)
    for record in (signed, waiting):
        with refused("SKIP-3"):
            skip(trial, record)
    skip(trial, screening)
    with refused("SKIP-3"):
        skip(trial, signed)
    skip(trial, waiting)
    skip(trial, signed)


def test_what_is_passed_over_is_what_the_last_decision_says() -> None:
    told = [("EventSkipped", 5), ("EventSkipped", 6), ("SkippingEnded", 5), ("SkippingEnded", 99), ("EventSkipped", 5)]
    decided = [(event, {"projection": "patient", "index": index}, 10 + n) for n, (event, index) in enumerate(told)]
    assert passed_over(decided) == {"patient": {6: 11, 5: 14}}
    assert passed_over(decided[:1] + [("SkippingEnded", {"projection": "patient", "index": 5}, 20)]) == {}
    assert passed_over([("SkippingEnded", {"projection": "safety", "index": 5}, 1)]) == {}
