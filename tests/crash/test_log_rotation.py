"""The log's own keys change hands by an event that both sign; checkpoints above it are the new keys', below the old's.

Whatever happens around it: restarts, another process, a crash between the event and the first new checkpoint, a
second registrar. And whoever has the database alone cannot make the signer change keys.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.application import Ledger
from ledger.merkle.cosignature import verifier_of
from ledger.merkle.log_keys import derive, rotation_note
from ledger.merkle.note import VerifierKey, parse_note, verify_note
from ledger.merkle.tree import NotProven, entry_leaf_hash
from ledger.signing.keys import SigningKey
from ledger.signing.statement import parse
from ledger.store import evidence
from ledger.store.embedded import DatabaseUrls
from ledger.store.rows import Head
from ledger.writer import frontier_of
from tests.crash.faults import put
from tests.crash.test_signer import quiet, record, tampering
from tests.scenario import cast
from tests.scenario.checker import all_checkpoints
from tests.scenario.doors import InProcess
from tests.scenario.fixtures import ledger_of, study_of
from tests.scenario.simulator import Simulator, Told, refused
from tests.scenario.waiting import wait_until

STUDY = "COAST-07"


@pytest.fixture
def sim(doomed_trial: Simulator, embedded_server: DatabaseUrls) -> Simulator:
    """A trial that may end badly, with the administrator's way into its database at hand."""
    name = conninfo_to_dict(ledger_of(doomed_trial).urls.app)["dbname"]
    ledger_of(doomed_trial).__dict__["admin_url"] = make_conninfo(embedded_server.admin, dbname=name)
    return doomed_trial


def rotate(sim: Simulator) -> Told:
    """The registrar rotates the log's keys."""
    return sim.record(sim.cast.registrar, "LogKeyRotated", "study", **ledger_of(sim).log_rotation(STUDY))


def signed_by(note: str, keys: tuple[str, ...]) -> bool:
    """Whether a checkpoint is signed by the Ed25519 key among these."""
    try:
        verify_note(parse_note(note.encode()), [verifier_of(VerifierKey.parse(key)) for key in keys])
    except NotProven:
        return False
    return True


def check_keys(sim: Simulator) -> int:
    """Every checkpoint is signed by the keys in force at its size, and no others; returns how many pairs there are."""
    authority = study_of(sim).authority
    with ledger_of(sim).database.connection() as connection:
        checkpoints = all_checkpoints(connection, STUDY)
    everyone = {keys for _, keys in authority.log_keys_since}
    for row in checkpoints:
        own = authority.log_keys_at(row.size)
        assert signed_by(row.note, own), f"the checkpoint of {row.size} is not signed by the keys in force there"
        assert not any(signed_by(row.note, keys) for keys in everyone - {own})
    return len(everyone)


def test_checkpoints_above_a_rotation_are_the_new_keys_and_old_entries_get_receipts_under_them(
    trial: Simulator,
) -> None:
    before = record(trial, "1")
    for number in ("2", "3", "4"):
        told = rotate(trial)
        assert told.answer.receipt is not None
        after = record(trial, number)
        assert after.answer.receipt is not None
    assert check_keys(trial) == 4
    ledger = ledger_of(trial)
    with ledger.database.snapshot() as connection:
        under = ledger.checkpoint(connection, STUDY)
        receipt = ledger.receipt(connection, STUDY, before.jti, under)
    assert receipt.endswith(under.note)
    assert signed_by(under.note, study_of(trial).authority.log_keys_at(under.size))
    history = ledger.log_key_history(STUDY)
    assert [(one["since"], tuple(one["log_keys"])) for one in history] == study_of(trial).authority.log_keys_since
    for size in (told.index, under.size):
        row = ledger.cosign_for_export(STUDY, size)
        with ledger.database.connection() as connection:
            note = evidence.full_note(connection, STUDY, row)
        known = [verifier_of(VerifierKey.parse(key)) for key in study_of(trial).authority.log_keys_at(size)]
        assert len(verify_note(parse_note(note.encode()), known)) == 2


def test_a_rotation_reaches_the_other_process_and_the_one_that_starts_later(trial: Simulator) -> None:
    first = ledger_of(trial)
    with Ledger(first.settings, trial.clock) as second:
        door = InProcess(second, STUDY)
        door.append(trial.sign(trial.staff().coordinator, "SubjectScreened", trial.subject("1"), number="1"))
        rotate(trial)
        answer = door.append(trial.sign(trial.staff().coordinator, "SubjectScreened", trial.subject("2"), number="2"))
        assert answer.receipt is not None
        record(trial, "3")
    with Ledger(first.settings, trial.clock) as third:
        third.resume()
        door = InProcess(third, STUDY)
        answer = door.append(trial.sign(trial.staff().coordinator, "SubjectScreened", trial.subject("4"), number="4"))
        assert answer.receipt is not None
        assert third.check_log(STUDY) is None
    assert check_keys(trial) == 2


@pytest.mark.parametrize(
    "where", ["reading what to sign", "writing the signer's state", "completing tiles", "releasing the checkpoint"]
)
@pytest.mark.parametrize("persisted", [False, True])
def test_a_crash_between_the_rotation_and_its_first_checkpoint_changes_nothing(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch, where: str, persisted: bool
) -> None:
    quiet(trial)
    fault = put(monkeypatch, where, persisted)
    told = rotate(trial)
    assert fault.happened
    monkeypatch.undo()
    size = told.index + 1
    wait_until(lambda: trial.door.cut().size == size, "the checkpoint")
    record(trial, "1")
    assert check_keys(trial) == 2


def test_a_state_from_before_the_rotation_signs_the_same_bytes_again(trial: Simulator) -> None:
    quiet(trial)
    path = ledger_of(trial).home.signer_state(STUDY)
    backup = path.read_bytes()
    rotate(trial)
    record(trial, "1")
    path.write_bytes(backup)
    assert record(trial, "2").answer.receipt is not None
    assert check_keys(trial) == 2


def test_with_two_registrars_the_keys_change_at_the_countersignature(before_trial: Simulator) -> None:
    sim = before_trial
    second = replace(sim.cast.registrar, id="registrar-2", key=SigningKey.generate())
    named = cast.genesis_fields(sim.plan.study, sim.terms, sim.cast)["registrars"]
    key = cast.key_of(second)
    named = [*named, {"actor": second.id, "kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}]
    fields = cast.genesis_fields(sim.plan.study, sim.terms, sim.cast, registrars=named, registrars_required=2)
    text = sim.cast.registrar.sign("StudyOpened", "study", fields)
    sim._told(text, sim.door.open_study(text))

    sim.send_many([cast.accountable(sim.cast.registrar), cast.accountable(second)])
    old, stale = rotate(sim), rotate(sim)
    for number in range(3):
        sim.record(sim.cast.registrar, "ActorEnrolled", f"actor/person-{number}", actor_kind="person")
    assert check_keys(sim) == 1, "one registrar alone changes nothing"
    assert len(ledger_of(sim).log_key_history(STUDY)) == 1
    changed = sim.countersign(old, second)
    sim.record(sim.cast.registrar, "ActorEnrolled", "actor/person-9", actor_kind="person")
    assert check_keys(sim) == 2
    assert [one["since"] for one in ledger_of(sim).log_key_history(STUDY)] == [0, changed.index]
    with refused("KEY-5"):
        sim.countersign(stale, second)  # to the very keys that are in force by now
    again = rotate(sim)
    sim.countersign(again, second)
    assert check_keys(sim) == 3


def forged_entry(sim: Simulator, fields: dict[str, Any]) -> None:
    """As a superuser: a LogKeyRotated that no rule has seen, with a head that counts it."""
    told = parse(sim.sign(sim.cast.registrar, "LogKeyRotated", "study", **fields))
    with tampering(sim) as admin:
        [size, frontier, at] = admin.execute("SELECT size, frontier, last_recorded_at FROM ledger.heads").fetchone()  # type: ignore[misc]
        leaf = entry_leaf_hash(told.jwt, at)
        grown = frontier_of(Head(size, bytes(frontier), b"", at)).extend([leaf])
        admin.execute(
            "INSERT INTO ledger.events SELECT study_id, %s, originator_id, originator_version + 1, %s, %s, %s, %s, %s, "
            "%s, %s FROM ledger.events WHERE originator_id = (SELECT originator_id FROM ledger.events WHERE idx = 0) "
            "ORDER BY originator_version DESC LIMIT 1",
            [size, "LogKeyRotated/1", told.jwt.encode(), list(told.disclosures), told.jti, told.kid, at, leaf],
        )
        admin.execute(
            "UPDATE ledger.heads SET size = %s, frontier = %s, root = %s",
            [size + 1, b"".join(grown.peaks), grown.root()],
        )


@pytest.mark.parametrize("whose", ["the attacker's", "the log's next ones, without its signature"])
def test_whoever_has_the_database_alone_cannot_make_the_signer_change_keys(sim: Simulator, whose: str) -> None:
    size = quiet(sim)
    ledger = ledger_of(sim)
    origin, own = ledger.origin(STUDY), ledger.log_key_source(STUDY)
    foreign = derive(b"x" * 32, origin, 2)
    new = foreign if whose.startswith("the attacker") else own.of(2)
    fields = {"log_keys": [str(key) for key in new.public()], "note": rotation_note(origin, foreign, foreign)}
    forged_entry(sim, fields)
    alarm = ledger.check_log(STUDY)
    assert alarm is not None
    assert f"the rotation at index {size}" in alarm.because
    assert sim.door.cut().size == size, "something was signed all the same"


def test_a_rotation_hidden_from_the_signer_after_it_took_effect_is_noticed(sim: Simulator) -> None:
    told = rotate(sim)
    quiet(sim)
    with tampering(sim) as admin:
        admin.execute("UPDATE ledger.events SET topic = 'StudyHeld/1' WHERE idx = %s", [told.index])
    alarm = ledger_of(sim).check_log(STUDY)
    assert alarm is not None
    assert "rotations" in alarm.because


def test_a_replaced_master_seed_signs_nothing_and_says_so(trial: Simulator, embedded_server: DatabaseUrls) -> None:
    quiet(trial)
    first = ledger_of(trial)
    wrong = Ledger(first.settings, trial.clock)
    wrong.home.master_seed = lambda: b"another installation's seed....."[:32]  # type: ignore[method-assign]
    with wrong:
        alarm = wrong.check_log(STUDY)
    assert alarm is not None
    assert "keys of this installation" in alarm.because
    assert "Restore the home's keys" in alarm.remedy
    assert record(trial, "1").answer.receipt is not None, "the other installation is not disturbed"


def test_the_log_never_goes_back_to_a_key_that_it_had(trial: Simulator) -> None:
    source, origin = ledger_of(trial).log_key_source(STUDY), ledger_of(trial).origin(STUDY)
    rotate(trial)
    for generation in (1, 2):
        new = source.of(generation)
        fields = {"log_keys": [str(key) for key in new.public()], "note": rotation_note(origin, source.of(2), new)}
        with refused("KEY-5"):
            trial.record(trial.cast.registrar, "LogKeyRotated", "study", **fields)
