"""The certificate of a replay says what the log says, and where the log says too little or contradicts."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from ledger.domain.record import Record
from projections.engine.errors import NotReplayed
from projections.reports import certificate_text
from projections.reports.certificate import certificate
from tests.unit.domain.conftest import Trial

OLD = {"version": 1, "fingerprint": "1" * 64, "schema": "rm_patient_v1_11111111"}
NEW = {"version": 2, "fingerprint": "2" * 64, "schema": "rm_patient_v2_22222222"}
REPLAY = "00000000-0000-4000-8000-000000000001"
DIGEST = "r" * 43
COUNTS = {"added": 0, "removed": 0, "changed": 2, "intended": 1, "unexplained": 1, "partitions": 1}


def root_of(size: int) -> str:
    return f"root of {size}"


@pytest.fixture
def trial() -> Trial:
    return Trial().open(readings=False)


def step(trial: Trial, name: str, iss: str = "ledger", projection: str = "patient", **said: Any) -> Record:
    """What the system concludes."""
    size = said.pop("size", 3)
    report = {
        "replay": REPLAY,
        "step": name,
        "projection": projection,
        "from": OLD,
        "to": NEW,
        "size": size,
        "root": root_of(3),
        "digests": {"before": "b" * 64, "after": "a" * 64},
        "differences": COUNTS,
        "report_digest": DIGEST,
        "approval": None,
        "by": "dm",
        "reason": "new column",
        **said,
    }
    return trial.say("ReplayConcluded", "study", role="system", iss=iss, projection=projection, report=report)


def approve(trial: Trial, **said: Any) -> Record:
    """What a data manager signs."""
    fields = {"projection": "patient", "report_digest": DIGEST, "reason": "looked at", "meaning": "approval", **said}
    named = {"printed_name": "Synthetic Manager", "signed_at": "2024-03-04T10:00:00+01:00"}
    role = fields.pop("role", "data-manager")
    return trial.say("ReplayApproved", "study", role=role, **fields, **named)


def certified(trial: Trial, replay: str | None = None, name: str = "patient") -> dict[str, Any]:
    return certificate(trial.study, name, trial.size, root_of, replay)


def whole(trial: Trial) -> Record:
    """A replay as it should be: compared, approved, switched."""
    step(trial, "compared")
    approval = approve(trial)
    return step(trial, "switched", approval=approval.jti)


def test_a_replay_that_was_compared_approved_and_switched_is_complete(trial: Trial) -> None:
    switched = whole(trial)
    found = certified(trial)
    assert (found["verdict"], found["missing"], found["contradictions"]) == ("complete", [], [])
    assert (found["from"], found["to"], found["answers"]) == (OLD, NEW, NEW)
    assert found["compared"]["differences"] == COUNTS
    approval = found["approval"]
    assert (approval["printed_name"], approval["meaning"], approval["reason"]) == (
        "Synthetic Manager",
        "approval",
        "looked at",
    )
    assert [one["step"] for one in found["steps"]] == ["compared", "switched"]
    last = found["steps"][-1]
    assert (last["index"], last["event_id"], last["digest"]) == (switched.index, switched.jti, switched.digest)
    assert found["as_of"] == {"size": trial.size, "root": root_of(trial.size)}
    json.dumps(found)


def test_what_is_rolled_back_is_answered_by_the_version_before(trial: Trial) -> None:
    whole(trial)
    step(trial, "rolled back")
    assert certified(trial)["answers"] == OLD
    step(trial, "switched", approval=trial.study.records.by_event["ReplayApproved"][0].jti)
    step(trial, "retired")
    found = certified(trial)
    assert (found["verdict"], found["answers"]) == ("complete", NEW)


def test_nothing_unexplained_needs_nobody(trial: Trial) -> None:
    fine = {**COUNTS, "unexplained": 0}
    step(trial, "compared", differences=fine)
    step(trial, "switched", differences=fine)
    found = certified(trial)
    assert (found["verdict"], found["approval"]) == ("complete", None)
    assert "not needed: nothing is unexplained" in certificate_text.text("COAST-07", found)


def test_a_first_version_had_nothing_to_be_compared_with(trial: Trial) -> None:
    none = {"differences": None, "digests": None, "report_digest": None, "root": None, "size": None}
    step(trial, "switched", **{"from": None}, **none)
    assert certified(trial)["verdict"] == "complete"


def test_what_did_not_happen_yet_is_missing_and_no_contradiction(trial: Trial) -> None:
    step(trial, "compared")
    found = certified(trial)
    assert found["verdict"] == "incomplete"
    assert found["missing"] == [
        "no switch is on record: the version before answers",
        "no approval of the unexplained differences is on record",
    ]
    approve(trial)
    assert certified(trial)["missing"] == ["no switch is on record: the version before answers"]
    assert certified(trial)["approval"] is not None


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_a_replay_that_was_given_up_is_complete_and_answers_nothing(trial: Trial, end: str) -> None:
    step(trial, end)
    found = certified(trial)
    assert (found["verdict"], found["answers"]) == ("complete", None)


def test_a_switch_without_approval_is_named(trial: Trial) -> None:
    step(trial, "compared")
    switched = step(trial, "switched")
    assert certified(trial)["contradictions"] == [
        f"C2: index {switched.index} switched without approval although 1 differences are unexplained"
    ]
    assert "by nobody" in certificate_text.text("COAST-07", certified(trial))


@pytest.mark.parametrize(
    ("said", "because"),
    [
        ({"report_digest": "x" * 43}, "is of another report"),
        ({"projection": "cohort"}, "is of another projection"),
    ],
)
def test_an_approval_of_something_else_is_none(trial: Trial, said: dict[str, Any], because: str) -> None:
    step(trial, "compared")
    step(trial, "switched", approval=approve(trial, **said).jti)
    (wrong,) = certified(trial)["contradictions"]
    assert because in wrong
    assert wrong in certificate_text.text("COAST-07", certified(trial))


def test_an_approval_without_a_meaning_is_no_signature(trial: Trial) -> None:
    step(trial, "compared")
    approval = approve(trial)
    approval.claims = {name: value for name, value in approval.claims.items() if name != "meaning"}
    step(trial, "switched", approval=approval.jti)
    assert "is no electronic signature" in certified(trial)["contradictions"][0]
    assert "none: no electronic signature" in certificate_text.text("COAST-07", certified(trial))


def test_an_approval_that_the_log_does_not_have_or_that_is_no_approval_is_named(trial: Trial) -> None:
    compared = step(trial, "compared")
    step(trial, "switched", approval=str(uuid4()))
    assert "that the log does not have" in certified(trial)["contradictions"][0]
    step(trial, "rolled back")
    step(trial, "switched", approval=compared.jti)
    assert sum("that the log does not have" in one for one in certified(trial)["contradictions"]) == 2


def test_an_approval_after_the_switch_comes_too_late(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    jti = str(uuid4())
    step(trial, "compared")
    step(trial, "switched", approval=jti)
    late = approve(trial)
    monkeypatch.setitem(trial.study.records.by_jti, jti, late)
    assert "was recorded after the switch" in certified(trial)["contradictions"][0]


def test_an_approval_withdrawn_before_the_switch_does_not_stand_and_one_withdrawn_after_it_did(trial: Trial) -> None:
    step(trial, "compared")
    approval = approve(trial)
    approval.withdrawn_at = approval.index + 1
    trial.say("SiteActivated", "site/EAST", site="EAST", time_zone="UTC")
    switched = step(trial, "switched", approval=approval.jti)
    assert "did not stand at the switch: signature withdrawn" in certified(trial)["contradictions"][0]
    approval.withdrawn_at = switched.index + 1
    found = certified(trial)
    assert found["contradictions"] == []
    assert found["approval"]["standing"] == "signature withdrawn"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 2),
        ("digests", {"before": "b" * 64, "after": "c" * 64}),
        ("differences", {**COUNTS, "unexplained": 0}),
        ("report_digest", "s" * 43),
        ("to", {**NEW, "fingerprint": "3" * 64}),
        ("from", {**OLD, "version": 3}),
    ],
)
def test_a_switch_that_says_something_else_than_its_comparison_is_named(trial: Trial, field: str, value: Any) -> None:
    step(trial, "compared")
    said = {field: value, **({"root": root_of(2)} if field == "size" else {})}
    step(trial, "switched", approval=approve(trial).jti, **said)
    wrong = certified(trial)["contradictions"]
    assert any(one.startswith("C1") and field.replace("_", " ") in one for one in wrong)


def test_a_switch_without_a_comparison_before_it_is_named(trial: Trial) -> None:
    switched = step(trial, "switched")
    step(trial, "compared")
    wrong = certified(trial)["contradictions"]
    assert f"C1: index {switched.index} switched, and no comparison is on record before it" in wrong
    assert any(one.startswith("C4") for one in wrong)


@pytest.mark.parametrize(
    ("said", "because"),
    [
        ({"root": "another"}, "a root at size 3 that is not the ledger's"),
        ({"size": 10_000}, "states the size 10000"),
        ({"size": -1}, "states the size -1"),
        ({"size": True}, "states the size True"),
        ({"size": "3"}, "states the size '3'"),
    ],
)
def test_a_step_that_misstates_the_ledger_is_named(trial: Trial, said: dict[str, Any], because: str) -> None:
    step(trial, "compared", **said)
    assert any(one.startswith("C3") and because in one for one in certified(trial)["contradictions"])


@pytest.mark.parametrize(
    "course",
    [
        ("rolled back",),
        ("retired",),
        ("compared", "rolled back"),
        ("compared", "cancelled", "compared"),
        ("compared", "failed", "switched"),
        ("compared", "mislaid"),
    ],
)
def test_steps_out_of_their_order_are_named(trial: Trial, course: tuple[str, ...]) -> None:
    fine = {**COUNTS, "unexplained": 0}
    for name in course:
        step(trial, name, differences=fine)
    found = certified(trial)
    assert found["verdict"] == "contradictory"
    assert any(one.startswith("C4") and repr(course[-1]) in one for one in found["contradictions"])


def test_a_step_by_somebody_else_is_named(trial: Trial) -> None:
    step(trial, "compared", iss="mallory")
    assert any(one.startswith("C5") and "mallory" in one for one in certified(trial)["contradictions"])


@pytest.mark.parametrize("counts", [None, {}, {"unexplained": "1"}, {"unexplained": True}, {"unexplained": -1}, [1]])
def test_a_comparison_that_does_not_say_what_is_unexplained_is_named(trial: Trial, counts: Any) -> None:
    step(trial, "compared", differences=counts)
    step(trial, "switched", differences=counts)
    assert any("does not say how much is unexplained" in one for one in certified(trial)["contradictions"])
    certificate_text.text("COAST-07", certified(trial))


def test_another_replay_is_told_apart_and_can_be_asked_for(trial: Trial) -> None:
    other = "00000000-0000-4000-8000-000000000002"
    whole(trial)
    step(trial, "compared", replay=other)
    step(trial, "compared", projection="cohort", replay=str(uuid4()))
    assert certified(trial)["replay"] == other
    found = certified(trial, REPLAY.upper())
    assert (found["replay"], found["verdict"], found["other_replays"]) == (REPLAY, "complete", [other])


NOBODYS = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(("name", "replay"), [("cohort", None), ("patient", NOBODYS), ("patient", "x" * 100)])
def test_what_was_not_replayed_has_no_certificate(trial: Trial, name: str, replay: str | None) -> None:
    whole(trial)
    with pytest.raises(NotReplayed):
        certified(trial, replay, name)


def test_what_the_projection_passes_over_is_listed(trial: Trial) -> None:
    lab = trial.fact("LabResultReported", trial.screened("P-1"), analyte="platelets", value="5")
    whole(trial)
    decided = trial.say(
        "EventSkipped",
        "study",
        role="data-manager",
        iss="dm",
        projection="patient",
        index=lab.index,
        reason="cannot be read",
    )
    (found,) = certified(trial)["passed_over"]
    assert (found["index"], found["about"], found["reason"]) == (decided.index, lab.index, "cannot be read")
    assert "passes over index" in certificate_text.text("COAST-07", certified(trial))


def test_words_and_page_say_the_same_and_escape(trial: Trial) -> None:
    step(trial, "compared", by="<b>dm\x1b[2J", reason="<script>")
    step(trial, "switched")
    found = certified(trial)
    said, page = certificate_text.text("COAST-07", found), certificate_text.html("COAST-07", found)
    assert "THE LOG CONTRADICTS ITSELF" in said
    assert "switched without approval although 1 differences are unexplained" in said
    assert "\x1b" not in said + page
    assert "<script>" not in page
    assert "<b>" not in page
    for one in found["steps"]:
        assert one["digest"] in said
        assert one["digest"] in page
