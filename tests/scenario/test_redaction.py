"""A field is redacted: two people say so, it is gone from every reading at once, and everything else stays.

Source: ICH E6(R3) 4.2.2(b); GDPR Art. 5(1)(d), 16, 17.
"""

from __future__ import annotations

from typing import Any

import pytest

from ledger.signing.statement import disclosures_by_digest, parse
from projections.definitions import read_models
from projections.engine.runner import Runner
from tests.scenario.checker import check_everything
from tests.scenario.fixtures import ledger_of, record_of, study_of
from tests.scenario.residue import shown
from tests.scenario.simulator import Simulator, Subject, Told, refused
from tests.scenario.verbs import redacted_fields

NAME = "Wilhelmina Synthetic-Person"


@pytest.fixture
def ada(trial: Simulator) -> Subject:
    """A subject to be screened."""
    return trial.subject("001")


@pytest.fixture
def named(trial: Simulator, ada: Subject) -> Told:
    """A screening whose comment holds a name by mistake."""
    return trial.screen(ada, comment=f"called herself {NAME}")


# -- two people ---------------------------------------------------------------------------------------------


def test_an_order_alone_redacts_nothing(trial: Simulator, named: Told) -> None:
    order = trial.order_redaction({named: ["comment"]})
    assert record_of(trial, order).pending
    assert NAME in shown(trial.door)
    assert record_of(trial, named).content["comment"].endswith(NAME)


def test_from_the_second_signature_on_the_field_is_gone_and_the_rest_stays(trial: Simulator, named: Told) -> None:
    before = record_of(trial, named)
    second = trial.redact({named: ["comment"]})
    assert NAME not in shown(trial.door)
    record = record_of(trial, named)
    assert "comment" not in record.content
    assert record.redacted == {"comment": second.index}
    assert record.gone("comment") == second.index
    assert record.gone("number") is None
    assert record.content == {name: value for name, value in before.content.items() if name != "comment"}
    assert record.claims == before.claims


def test_one_person_alone_redacts_nothing(trial: Simulator, named: Told) -> None:
    order = trial.order_redaction({named: ["comment"]})
    for by in (trial.cast.privacy_officer, trial.cast.sponsor, trial.staff().coordinator):
        with refused("COUNTERSIGN-1", "COUNTERSIGN-2"):
            trial.countersign(order, by)
    assert NAME in shown(trial.door)


@pytest.mark.parametrize("role", ["sponsor", "data_manager", "monitor"])
def test_only_the_privacy_officer_orders(trial: Simulator, named: Told, role: str) -> None:
    with refused("ROLE-1"):
        trial.order_redaction({named: ["comment"]}, by=getattr(trial.cast, role))


def test_an_investigator_may_be_the_second(trial: Simulator, named: Told) -> None:
    trial.countersign(trial.order_redaction({named: ["comment"]}), trial.staff().pi)
    assert NAME not in shown(trial.door)


@pytest.mark.parametrize("wrong", [{"reason": "  "}, {"legal_basis": " "}, {"legal_basis": None}, {"reason": None}])
def test_an_order_says_why_and_on_what_legal_basis(trial: Simulator, named: Told, wrong: dict[str, Any]) -> None:
    with refused("CATALOGUE-3"):
        trial.order_redaction({named: ["comment"]}, **wrong)


# -- what is named ------------------------------------------------------------------------------------------


def test_what_is_gone_is_not_redacted_again(trial: Simulator, named: Told) -> None:
    twice = trial.order_redaction({named: ["comment"]})
    second = trial.redact({named: ["comment"]})
    with refused("REDACTION-2") as problem:
        trial.order_redaction({named: ["comment"]})
    assert str(second.index) in problem["because"]
    with refused("REDACTION-2"):
        trial.countersign(twice, trial.staff().pi)


def test_a_field_is_named_as_its_disclosure_names_it(trial: Simulator, named: Told) -> None:
    (order,) = redacted_fields({named: ["comment"]})
    for fields in (["number"], ["nothing"]):
        with refused("REDACTION-1"):
            trial.order_redaction({named: ["comment"]}, records=[{**order, "fields": fields}])


@pytest.mark.parametrize(
    "change",
    [
        {"fields": []},
        {"fields": ["comment", "number"]},
        {"disclosures": []},
        {"fields": ["comment", "comment"], "disclosures": "twice"},
    ],
)
def test_names_and_digests_stand_side_by_side(trial: Simulator, named: Told, change: dict[str, Any]) -> None:
    (order,) = redacted_fields({named: ["comment"]})
    change = {**change, "disclosures": order["disclosures"] * 2} if change.get("disclosures") == "twice" else change
    with refused("CATALOGUE-3"):
        trial.order_redaction({named: ["comment"]}, records=[{**order, **change}])


def test_a_record_stands_once_in_an_order(trial: Simulator, named: Told) -> None:
    with refused("CATALOGUE-3"):
        trial.order_redaction({named: ["comment"]}, records=redacted_fields({named: ["comment"]}) * 2)


def test_another_subjects_record_is_not_named(trial: Simulator, named: Told) -> None:
    other = trial.screen(trial.subject("002"), comment="someone else")
    with refused("CORRECTION-1"):
        trial.order_redaction({named: ["comment"], other: ["comment"]})


def test_governance_has_names_that_can_be_redacted(trial: Simulator) -> None:
    enrolled = trial.record(trial.cast.registrar, "ActorEnrolled", "actor/newcomer", actor_kind="person", name=NAME)
    second = trial.redact({enrolled: ["name"]})
    assert NAME not in shown(trial.door)
    assert study_of(trial).records.get(enrolled.jti).redacted == {"name": second.index}  # type: ignore[union-attr]
    assert "newcomer" in study_of(trial).authority.actors, "who may do what rests on clear fields alone"


def test_the_reason_of_an_order_can_be_redacted_as_well(trial: Simulator, named: Told) -> None:
    order = trial.order_redaction({named: ["comment"]}, reason=f"the comment names {NAME}")
    trial.countersign(order, trial.cast.data_manager)
    assert NAME in shown(trial.door)
    trial.redact({order: ["reason"]})
    assert NAME not in shown(trial.door)


# -- copies -------------------------------------------------------------------------------------------------


def test_corrections_of_the_field_go_with_it(trial: Simulator, named: Told) -> None:
    act = trial.correct(named, "comment", f"her name is {NAME}", reason=f"{NAME} said so")
    with refused("REDACTION-3") as problem:
        trial.order_redaction({named: ["comment"]})
    assert problem["missing"] == redacted_fields({act: ["value"]})
    trial.redact({named: ["comment"], act: ["value", "reason"]})
    assert NAME not in shown(trial.door)
    record = record_of(trial, named)
    assert "comment" not in record.content
    assert [value.value for value in record.values["comment"]] == [None, None]
    assert [value.reason for value in record.values["comment"]] == [None, None]
    assert all(value.redacted for value in record.values["comment"])


def test_a_correction_between_the_two_signatures_stops_the_redaction(trial: Simulator, named: Told) -> None:
    order = trial.order_redaction({named: ["comment"]})
    trial.correct(named, "comment", f"still {NAME}")
    with refused("REDACTION-3"):
        trial.countersign(order, trial.cast.data_manager)
    assert NAME in shown(trial.door)


def test_a_name_that_a_correction_brought_in_goes_alone(trial: Simulator, ada: Subject) -> None:
    told = trial.screen(ada, comment="as usual")
    act = trial.correct(told, "comment", NAME)
    second = trial.redact({act: ["value"]})
    record = record_of(trial, told)
    assert [value.value for value in record.values["comment"]] == ["as usual", None]
    assert "comment" not in record.content, "what stands now is not known; the value before does not come back"
    assert record.gone("comment") == second.index
    trial.correct(told, "comment", "as usual")
    assert record_of(trial, told).content["comment"] == "as usual"
    assert record_of(trial, told).gone("comment") is None


def test_a_later_value_stays_when_an_earlier_correction_is_redacted(trial: Simulator, ada: Subject) -> None:
    told = trial.screen(ada, comment="as usual")
    act = trial.correct(told, "comment", NAME)
    trial.correct(told, "comment", "nothing to say")
    trial.redact({act: ["value"]})
    record = record_of(trial, told)
    assert record.content["comment"] == "nothing to say"
    assert [value.value for value in record.values["comment"]] == ["as usual", None, "nothing to say"]


def test_queries_that_quote_the_value_go_with_it(trial: Simulator, named: Told) -> None:
    quoting = trial.query(named, f"Is {NAME.upper()} her name? It says: called herself {NAME}")
    harmless = trial.query(named, "Is this right?")
    answer = trial.answer(quoting, f"called herself {NAME}, yes")
    with refused("REDACTION-3") as problem:
        trial.order_redaction({named: ["comment"]})
    assert {one["jti"] for one in problem["missing"]} == {quoting.jti, answer.jti}
    trial.redact({named: ["comment"], quoting: ["question"], answer: ["answer"]})
    assert NAME not in shown(trial.door)
    assert record_of(trial, harmless).content["question"] == "Is this right?"


# -- what others see ----------------------------------------------------------------------------------------


def test_a_repeat_of_the_statement_brings_nothing_back(trial: Simulator, named: Told) -> None:
    trial.redact({named: ["comment"]})
    again = trial.door.append(named.text)
    assert (again.index, again.repeat) == (named.index, True)
    assert NAME not in shown(trial.door)
    trial.acknowledged.append(Told("SubjectScreened", named.text, again))


def test_who_read_it_before_reads_it_no_more(trial: Simulator, named: Told) -> None:
    ledger = ledger_of(trial)
    with ledger.projector_database() as database:
        runner = Runner(database, read_models())
        runner.catch_up()  # it holds the subject, as a follower does that runs all the time
        trial.redact({named: ["comment"]})
        runner.catch_up()
    check_everything(ledger, thorough=True)


def test_the_signatures_and_the_proofs_still_hold(trial: Simulator, named: Told) -> None:
    trial.redact({named: ["comment"]})
    check_everything(ledger_of(trial), trial.acknowledged, thorough=True)
    digests = disclosures_by_digest(parse(named.text).disclosures)
    stored = next(entry for entry in trial.door.entries() if entry["index"] == named.index)
    assert set(parse(stored["statement"], partial=True).claims["_sd"]) == set(digests)
