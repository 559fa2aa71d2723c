"""A verifier meets what a later release recorded: it verifies what it can and says what it cannot."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from ledger.domain.aggregate import AUTHORITY_EVENTS
from ledger.domain.catalogue import CATALOGUE
from ledger.verify.entries import ACTS, LISTING
from ledger.verify.known import KNOWN
from ledger.verify.report import UNDECIDED, VERIFIED
from tests.unit.verify.study import SUBJECT, MemoryStudy, course, seeded
from tests.unit.verify.test_lies import judged


def test_the_verifier_knows_what_the_catalogue_knows() -> None:
    assert {model.__name__: model.v for model in CATALOGUE} == KNOWN
    assert AUTHORITY_EVENTS | {"FieldsRedacted"} <= ACTS


@pytest.mark.parametrize("event", sorted(ACTS | LISTING))
def test_what_verification_reads_in_the_clear_stays_in_every_version(event: str) -> None:
    """So a bundle is verified without upcasters, and an earlier verifier reads nothing wrongly."""
    versions = CATALOGUE.versions(event)
    for before, after in pairwise(versions):
        assert before.clear_fields() <= after.clear_fields()


def study_with_a_coordinator() -> MemoryStudy:
    return course(MemoryStudy())


def test_a_fact_of_a_later_version_is_verified_and_named(tmp_path: Path) -> None:
    study = study_with_a_coordinator()
    coordinator = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    index = study.record(coordinator.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-03-01"}, v=7))
    study.publish()
    report = judged(study, tmp_path)
    assert report.exit_status() == VERIFIED
    [note] = [note for note in report["V5"].notes if "SubjectCompleted" in note]
    assert note.startswith(f"1 of SubjectCompleted version 7, the first at index {index}: this verifier knows it up to")


@pytest.mark.parametrize("event", ["ActorEnrolled", "SubjectBlessed"])
def test_what_may_give_other_rights_than_were_read_is_undecided_and_nothing_is_called_false(
    tmp_path: Path, event: str
) -> None:
    study = study_with_a_coordinator()
    coordinator = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    if event == "ActorEnrolled":
        index = study.record(study.registrar.sign(event, "actor/new-1", {"actor_kind": "person"}, v=2))
    else:
        from ledger.signing.statement import make

        claims = {"iss": "coordinator-1", "role": "coordinator", "aud": study.origin, "sub": SUBJECT, "site": "S1"}
        claims |= {"jti": coordinator.new_id(), "iat": coordinator.now(), "event": event, "v": 1}
        index = study.record(make(coordinator.key, claims, {}))
    study.publish()
    report = judged(study, tmp_path)
    assert report.exit_status() == UNDECIDED
    assert not report.failed
    because = report["V4"].undecided_because
    assert because is not None
    assert f"the first at index {index}" in because
    assert "Use a later verifier" in because
