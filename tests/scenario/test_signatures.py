"""Signatures wherever they are shown: whose, when, what for, and whether they still hold for what is there now."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from api.client.signing import Actor
from ledger.signing.keys import SigningKey
from projections.audit_trail import view as audit_trail
from projections.engine.errors import ReadingMalformed
from projections.patient import view as patient
from projections.signatures import view as signatures
from tests.integration.projections.pages import reading
from tests.scenario import cast
from tests.scenario.simulator import Simulator, Subject, Told, refused

CHANGED = "changed since signed"
SUSPECT = "disputed: key under suspicion until reaffirmed"


@pytest.fixture
def ada(trial: Simulator) -> Subject:
    """A subject with two results that nobody has signed yet."""
    subject = trial.subject("001")
    trial.screen(subject)
    return subject


@pytest.fixture
def results(trial: Simulator, ada: Subject) -> list[Told]:
    """Two adverse events, entered by the coordinator."""
    return [trial.adverse_event(ada, term) for term in ("cough", "rash")]


def sign(trial: Simulator, subject: Subject, told: list[Told], by: Actor | None = None, **more: Any) -> Told:
    """The principal investigator signs these records."""
    fields = {"records": [one.target for one in told], "meaning": "responsibility", **more}
    return trial.decide(by or trial.staff().pi, "RecordsSigned", subject, **fields)


def listed(trial: Simulator, as_of: int | None = None, **asked: Any) -> list[dict[str, Any]]:
    """The worklist."""
    with reading(trial, "signatures", as_of) as reader:
        found: list[dict[str, Any]] = signatures.signatures(reader, **asked)["signatures"]
        return found


def of(trial: Simulator, told: Told, as_of: int | None = None) -> dict[str, Any]:
    """One signature of the worklist."""
    return next(one for one in listed(trial, as_of) if one["index"] == told.index)


def again(trial: Simulator, **asked: Any) -> list[dict[str, Any]]:
    """What is to be signed again."""
    with reading(trial, "signatures") as reader:
        found: list[dict[str, Any]] = signatures.to_sign_again(reader, **asked)["to_sign_again"]
        return found


def entry(trial: Simulator, subject: Subject, told: Told) -> dict[str, Any]:
    """A record as its history shows it."""
    with reading(trial, "patient") as reader:
        found: dict[str, Any] = patient.history(reader, subject.number, told.jti)["record"]
        return found


def trail(trial: Simulator, told: Told) -> list[dict[str, Any]]:
    """The lines of one statement in the audit trail."""
    with reading(trial, "audit_trail") as reader:
        lines: list[dict[str, Any]] = audit_trail.event(reader, told.index)["rows"]
        return lines


def dispute(trial: Simulator, told: Told, subject: Subject, event: str, by: Actor) -> Told:
    """An actor withdraws an own signature, or says that a statement is not the own."""
    return trial.record(by, event, subject, record=told.target, reason="it was not me")


def test_a_signature_shows_name_time_and_meaning_on_every_record_that_it_covers(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    pi = trial.staff().pi
    signed = sign(trial, ada, results)
    for told in results:
        (shown,) = entry(trial, ada, told)["signatures"]
        assert (shown["printed_name"], shown["meaning"], shown["actor"]) == (pi.name, "responsibility", pi.id)
        assert (shown["role"], shown["index"], shown["standing"]) == (pi.role, signed.index, "stands")
        assert shown["signed_at"].endswith("+00:00")
    (own,) = entry(trial, ada, signed)["signatures"]
    assert (own["printed_name"], own["index"]) == (pi.name, signed.index)


def test_the_audit_trail_shows_the_signature_in_every_form(trial: Simulator, ada: Subject, results: list[Told]) -> None:
    name = trial.staff().pi.name
    signed = sign(trial, ada, results)
    (line, *_) = trail(trial, signed)
    assert (line["printed_name"], line["meaning"], line["in_doubt"]) == (name, "responsibility", None)
    assert line["signature"]["signed_at"] == line["signed_at"]
    assert f"Signed electronically by {name}, {line['signed_at']}: responsibility." in line["sentence"]
    with reading(trial, "audit_trail") as reader:
        rows = list(csv.DictReader(io.StringIO(b"".join(audit_trail.csv(reader, audit_trail.Filters())).decode())))
    own = [row for row in rows if row["index"] == str(signed.index)]
    assert {(row["printed_name"], row["signed_at"], row["meaning"]) for row in own} == {
        (name, line["signed_at"], "responsibility")
    }
    over = f"{name}, {line['signed_at']}: responsibility (index {signed.index})"
    for told in (*results, signed):
        assert {row["signatures"] for row in rows if row["index"] == str(told.index)} == {over}
    entered = [row for row in rows if row["index"] == str(results[0].index)]
    assert {(row["printed_name"], row["meaning"]) for row in entered} == {("", "entry")}, "an entry is no signature"


def test_every_line_of_a_signed_record_says_by_whom_it_was_signed_as_of_the_state_that_is_read(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    pi = trial.staff().pi
    before = results[-1].index + 1
    signed = sign(trial, ada, results[:1])
    again = sign(trial, ada, results[:1])
    dispute(trial, signed, ada, "SignatureWithdrawn", pi)
    lines = trail(trial, results[0])
    assert len(lines) > 1
    for line in lines:
        one, other = line["signatures"]
        assert (one["printed_name"], one["meaning"], one["index"]) == (pi.name, "responsibility", signed.index)
        assert one["signed_at"].endswith("+00:00") and one["actor"] == pi.id
        assert (one["in_doubt"], other["in_doubt"], other["index"]) == ("withdrawn", None, again.index)
        assert line["signature"] is None, "the entry itself is no signature"
    assert trail(trial, results[1])[0]["signatures"] == [], "which nobody signed"
    for size, standing in ((before, []), (signed.index + 1, [None]), (again.index + 1, [None, None])):
        with reading(trial, "audit_trail", as_of=size) as reader:
            then = audit_trail.event(reader, results[0].index)["rows"]
        assert [one["in_doubt"] for one in then[0]["signatures"]] == standing, size


def test_a_corrected_record_is_changed_since_signed_until_it_is_signed_again(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    signed = sign(trial, ada, results)
    assert again(trial) == []
    act = trial.correct(results[1], "term", "itch")
    assert of(trial, signed)["standing"] == CHANGED
    assert entry(trial, ada, results[1])["signatures"][0]["standing"] == CHANGED
    assert entry(trial, ada, results[0])["signatures"][0]["standing"] == "stands"
    (work,) = again(trial)
    assert (work["actor"], work["printed_name"]) == (trial.staff().pi.id, trial.staff().pi.name)
    assert (work["subject"], work["subject_number"]) == (ada.label, "001")
    (record,) = work["records"]
    assert {"jti": record["event_id"], "digest": record["digest"]} == results[1].target
    assert [(one["what"], one["fields"], one["index"]) for one in record["changes"]] == [
        ("corrected", ["term"], act.index)
    ]
    renewed = sign(trial, ada, [results[1]])
    assert again(trial) == []
    assert of(trial, signed)["standing"] == "signed again"
    assert of(trial, signed)["changes"][0]["signed_again"] == [renewed.index]
    assert of(trial, renewed)["standing"] == "stands"
    assert of(trial, signed, as_of=signed.index + 1)["standing"] == "stands", "as it was known then"
    assert of(trial, signed, as_of=act.index + 1)["standing"] == CHANGED


def test_a_change_that_the_signer_could_not_have_seen_is_told_at_once(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    looked = trial.door.cut()
    act = trial.correct(results[0], "term", "wheeze")
    signed = sign(trial, ada, results, cut=looked)
    assert act.index < signed.index
    assert of(trial, signed)["standing"] == CHANGED
    assert [record["index"] for record in again(trial)[0]["records"]] == [results[0].index]


def test_a_correction_that_waits_for_the_site_is_told_as_waiting(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    signed = sign(trial, ada, results)
    waiting = trial.correct(results[0], "term", "wheeze", by=trial.cast.data_manager)
    shown = of(trial, signed)
    assert (shown["standing"], [one["index"] for one in shown["change_waits"]]) == ("stands", [waiting.index])
    assert again(trial) == []
    trial.countersign(waiting, trial.staff().coordinator)
    assert of(trial, signed)["standing"] == CHANGED
    (second,) = entry(trial, ada, waiting)["signatures"]
    assert second["printed_name"] == trial.staff().coordinator.name, "who countersigned with a meaning is shown"


def test_a_withdrawn_and_a_disputed_signature_say_so_everywhere(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    pi = trial.staff().pi
    one, other = sign(trial, ada, results), sign(trial, ada, results, meaning="review")
    trial.correct(results[0], "term", "wheeze")
    dispute(trial, one, ada, "SignatureWithdrawn", pi)
    dispute(trial, other, ada, "AttributionDisputed", pi)
    assert [of(trial, told)["standing"] for told in (one, other)] == ["withdrawn", "disputed"]
    assert [shown["standing"] for shown in entry(trial, ada, results[0])["signatures"]] == ["withdrawn", "disputed"]
    assert [trail(trial, told)[0]["in_doubt"] for told in (one, other)] == ["withdrawn", "disputed"]
    assert of(trial, one)["because"] != []
    assert again(trial) == [], "what was withdrawn or disputed is not renewed by itself"


def test_a_disputed_entry_is_shown_and_changes_what_was_signed(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    signed = sign(trial, ada, results)
    act = dispute(trial, results[0], ada, "AttributionDisputed", trial.staff().coordinator)
    shown = entry(trial, ada, results[0])
    assert shown["disputed"] == {"because": "attribution disputed", "indexes": [act.index]}
    assert shown["fields"]["term"] == "cough", "it is not hidden"
    assert of(trial, signed)["standing"] == CHANGED
    assert "disputes having made this statement" in trail(trial, results[0])[0]["sentence"]


def revoked(trial: Simulator, by: Actor, since: Told) -> Actor:
    """A person's key is revoked, under suspicion from an entry on; the person with a new key."""
    registrar, about = trial.cast.registrar, f"actor/{by.id}"
    key = cast.key_of(by).kid
    trial.record(registrar, "KeyRevoked", about, kid=key, suspect_since=since.index, reason="stolen")
    fresh = SigningKey.generate()
    trial.send(registrar.enrol_key(by.id, fresh, fresh.public_jwk))
    return replace(by, key=fresh)


def test_a_signature_of_a_stolen_key_is_disputed_until_its_actor_reaffirms_it(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    pi = trial.staff().pi
    before, signed = sign(trial, ada, results), sign(trial, ada, results, meaning="review")
    fresh = revoked(trial, pi, signed)
    assert [of(trial, told)["standing"] for told in (before, signed)] == ["stands", SUSPECT]
    assert [one["standing"] for one in entry(trial, ada, results[0])["signatures"]] == ["stands", SUSPECT]
    assert entry(trial, ada, signed)["disputed"]["because"] == SUSPECT
    assert trail(trial, signed)[0]["in_doubt"] == SUSPECT
    assert [one["index"] for one in listed(trial, standing=SUSPECT)] == [signed.index]
    trial.record(fresh, "SignatureReaffirmed", f"actor/{pi.id}", records=[signed.target])
    assert of(trial, signed)["standing"] == "stands"
    assert listed(trial, standing=SUSPECT) == []
    assert trail(trial, signed)[0]["in_doubt"] is None


def test_a_stolen_key_settles_no_change(trial: Simulator, ada: Subject, results: list[Told]) -> None:
    pi = trial.staff().pi
    signed = sign(trial, ada, results)
    trial.correct(results[0], "term", "wheeze")
    renewed = sign(trial, ada, results)
    assert of(trial, signed)["standing"] == "signed again"
    revoked(trial, pi, renewed)
    assert of(trial, signed)["standing"] == CHANGED
    assert [record["index"] for record in again(trial)[0]["records"]] == [results[0].index]


def test_every_electronic_signature_is_listed_and_found_by_what_it_is(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    pi, other = trial.staff().pi, trial.staff().investigator
    first, second = sign(trial, ada, results), sign(trial, ada, results, by=other)
    opened = trial.open_cohort("LOW")
    trial.correct(results[0], "term", "wheeze")
    mine = [told.index for told in (first, second, opened)]
    everything = [one["index"] for one in listed(trial)]
    assert set(mine) <= set(everything)
    assert everything == sorted(everything)
    assert [one["index"] for one in listed(trial, signer=other.id)][-1] == second.index
    assert [one["index"] for one in listed(trial, subject="001")] == mine[:2]
    assert {one["subject_number"] for one in listed(trial, subject="001", as_of=second.index + 1)} == {"001"}
    assert [one["index"] for one in listed(trial, subject=ada.label.partition("/")[2])] == mine[:2]
    assert [one["index"] for one in listed(trial, standing=CHANGED)] == mine[:2]
    assert [one["index"] for one in listed(trial, site="SOUTH")] == []
    assert {work["actor"] for work in again(trial)} == {pi.id, other.id}
    assert {work["actor"] for work in again(trial, signer=pi.id)} == {pi.id}
    assert of(trial, opened)["printed_name"] is not None
    with pytest.raises(ReadingMalformed):
        listed(trial, standing="signed")


def test_the_list_is_read_page_by_page(trial: Simulator, ada: Subject, results: list[Told]) -> None:
    signed = [sign(trial, ada, results, meaning=meaning).index for meaning in ("review", "approval", "responsibility")]
    with reading(trial, "signatures") as reader:
        one = signatures.signatures(reader, subject="001", limit=2)
        two = signatures.signatures(reader, subject="001", limit=2, after=one["next"])
    assert [row["index"] for row in one["signatures"]] == signed[:2]
    assert [row["index"] for row in two["signatures"]] == signed[2:]
    assert (one["next"], two["next"]) == (signed[2], None)


def test_nobody_signs_as_if_it_had_been_long_ago(trial: Simulator) -> None:
    """The printed time is the signer's own: an act that needs no cut could otherwise be dated as one likes."""
    monitor = trial.cast.monitor
    fields = {"scope": {}, "first": 0, "last": 1, "rule_version": "1", "findings": "nothing strange"}
    trial.later(hours=48)
    now = trial.seconds()
    with refused("TIME-2"):
        trial.send(monitor.sign("AuditTrailReviewed", "study", fields, meaning="review", iat=now - 30 * 3_600))
    trial.send(monitor.sign("AuditTrailReviewed", "study", fields, meaning="review", iat=now - 23 * 3_600))


def test_a_voided_record_is_signed_off_with_its_void(trial: Simulator, ada: Subject, results: list[Told]) -> None:
    signed = sign(trial, ada, results)
    trial.void(results[0])
    assert of(trial, signed)["standing"] == CHANGED
    sign(trial, ada, [results[0]])
    assert again(trial) == []


def test_the_signers_name_can_be_redacted_and_the_signature_stands(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    name = trial.staff().pi.name
    signed = sign(trial, ada, results)
    trial.redact({signed: ["printed_name"]})
    shown = of(trial, signed)
    assert (shown["printed_name"], shown["redacted"], shown["standing"]) == (None, ["printed_name"], "stands")
    assert shown["signed_at"] is not None
    (own,) = entry(trial, ada, signed)["signatures"]
    assert (own["printed_name"], own["redacted"]) == (None, ["printed_name"])
    lines = trail(trial, signed)
    assert {line["printed_name"] for line in lines} == {None}
    assert name not in str(lines)
    assert [line["field"] for line in lines if line["redacted"]] == ["printed_name"]


def test_a_redacted_field_changes_what_was_signed_and_is_signed_again(
    trial: Simulator, ada: Subject, results: list[Told]
) -> None:
    signed = sign(trial, ada, results)
    order = trial.order_redaction({results[0]: ["term"]})
    shown = of(trial, signed)
    assert (shown["standing"], [one["what"] for one in shown["change_waits"]]) == ("stands", ["redacted"])
    trial.countersign(order, trial.cast.data_manager)
    shown = of(trial, signed)
    assert (shown["standing"], shown["changes"][0]["what"], shown["changes"][0]["fields"]) == (
        CHANGED,
        "redacted",
        ["term"],
    )
    sign(trial, ada, results)
    assert again(trial) == []
