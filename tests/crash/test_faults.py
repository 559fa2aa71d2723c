"""Where it fails, crossed with whether the work was done all the same: an event is there once, or not at all.

The table stands for the moments at which a connection, a disk or a database can fail in a statement's life. In
each the sender is told the truth (recorded, or ask again), repeating the same bytes ends with the same index,
and the signer catches up by itself. The universal checker looks at the ledger after each.
"""

from __future__ import annotations

import errno
import threading
import time
from typing import Any

import psycopg
import pytest

from api.client.http import Refused
from ledger.application import Ledger
from ledger.store import statements
from ledger.store.rows import EventRow, Head
from tests.crash.faults import PLACES, cut_off, put
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator, Told, refused
from tests.scenario.waiting import wait_until

BEFORE_THE_COMMIT = {"taking the head's lock", "loading a subject", "inserting and committing"}
"""Where a fault means that nothing was recorded, unless the work was done all the same."""


def signed(trial: Simulator) -> int:
    """The size that readers see."""
    return trial.door.cut().size


@pytest.mark.parametrize("persisted", [False, True], ids=["not done", "done all the same"])
@pytest.mark.parametrize("where", PLACES)
def test_a_fault_while(where: str, persisted: bool, trial: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = trial.subject("001")
    size = signed(trial)
    text = trial.sign(trial.staff().coordinator, "SubjectScreened", ada, number="001", population="patient")
    wait_until(lambda: ledger_of(trial).writer(trial.plan.study).signed_size == size, "signing at the start")
    fault = put(monkeypatch, where, persisted)

    try:
        told = trial.send(text)
    except Refused as problem:
        assert where in BEFORE_THE_COMMIT, problem
        assert problem.rule == "WRITER-2"
        assert (problem.problem["status"], bool(problem.problem["remedy"])) == (503, True)
        assert not (persisted and where == "inserting and committing"), "it was recorded, and denied"
        told = trial.send(text)
        assert not told.answer.repeat
    assert fault.happened == 1
    assert told.index == size

    again = trial.send(text)
    assert (again.index, again.answer.repeat) == (size, True)
    wait_until(lambda: signed(trial) == size + 1, "a checkpoint")
    assert trial.screen(trial.subject("002")).index == size + 1


def test_an_acknowledgement_of_the_commit_is_lost_and_the_old_transaction_is_still_under_way(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks, and the server commits only later: the writer waits for it under the lock."""
    committed: list[threading.Thread] = []

    def lost(connection: Any, study: str, rows: list[EventRow], head: Head, *more: Any) -> None:
        monkeypatch.undo()
        connection.rollback()
        other = psycopg.connect(ledger_of(trial).database.url, autocommit=True)
        statements.begin_append(other, study, [])
        statements.insert_events(other, study, rows)
        statements.store_head(other, study, head)

        def later() -> None:
            time.sleep(1.0)
            other.commit()
            other.close()

        committed.append(threading.Thread(target=later))
        committed[0].start()
        raise cut_off()

    monkeypatch.setattr(statements, "finish_append", lost)
    size = signed(trial)
    told = trial.screen(trial.subject("001"))
    committed[0].join()
    assert (told.index, told.answer.repeat) == (size, False)


def test_the_old_transaction_is_rolled_back_after_the_connection_broke(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(connection: Any, study: str, rows: list[EventRow], head: Head, *more: Any) -> None:
        monkeypatch.undo()
        statements.insert_events(connection, study, rows)
        connection.close()
        raise cut_off()

    monkeypatch.setattr(statements, "finish_append", lost)
    ada = trial.subject("001")
    with refused("WRITER-2"):
        trial.screen(ada)
    trial.screen(ada)


def test_a_batch_whose_commit_was_lost_answers_everybody_in_it(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals of the batch stay refusals, repeats repeats, recorded ones are found."""
    ada = trial.subject("001")
    first = trial.screen(ada)
    by = trial.staff().coordinator
    forged = trial.sign(by, "SubjectScreened", ada, number="9", claims={"jti": first.jti})
    fresh = [trial.sign(by, "SubjectScreened", trial.subject(f"{n}"), number=f"{n}") for n in range(3)]
    put(monkeypatch, "inserting and committing", True)
    door: Any = trial.door
    outcomes = list(door.ledger.append_many(trial.plan.study, [fresh[0], first.text, forged, *fresh[1:]]))
    kinds = [getattr(outcome, "rule", None) or outcome.index for outcome in outcomes]
    start = first.index + 1
    assert kinds == [start, first.index, "IDEMPOTENCY-1", start + 1, start + 2]


@pytest.mark.parametrize("persisted", [False, True])
def test_the_disk_of_the_signers_state_is_full(
    persisted: bool, trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded all the same, without a receipt; the checkpoint follows when there is room again."""
    size = signed(trial)
    wait_until(lambda: ledger_of(trial).writer(trial.plan.study).signed_size == size, "signing at the start")
    full = OSError(errno.ENOSPC, "No space left on device")
    put(monkeypatch, "writing the signer's state", persisted, error=lambda: full)
    told = trial.screen(trial.subject("001"))
    assert told.answer.receipt is None
    wait_until(lambda: signed(trial) == size + 1, "a checkpoint")
    ledger = ledger_of(trial)
    with ledger.database.snapshot() as connection:
        newest = ledger.checkpoint(connection, trial.plan.study)
        assert ledger.receipt(connection, trial.plan.study, told.jti, newest)


def test_the_database_is_away_for_longer_than_one_try(trial: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Committed, then everything fails for a while: the checkpoint comes without anybody sending anything."""
    size = signed(trial)
    wait_until(lambda: ledger_of(trial).writer(trial.plan.study).signed_size == size, "signing at the start")
    put(monkeypatch, "reading what to sign", False, times=3)
    told = trial.screen(trial.subject("001"))
    assert told.answer.receipt is None
    wait_until(lambda: signed(trial) == size + 1, "a checkpoint")


def test_another_process_committed_and_did_not_live_to_sign(trial: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process finds what the first one left, and signs it."""
    first = ledger_of(trial)
    with Ledger(first.settings, trial.clock) as second:
        second.resume()
        other = second.writer(trial.plan.study)
        size = signed(trial)
        wait_until(lambda: other.signed_size == size, "signing at the start")
        writer: Any = first.writer(trial.plan.study)
        monkeypatch.setattr(writer, "_sign", lambda waiting: writer._answer(waiting) or False)
        told = trial.screen(trial.subject("001"))
        assert told.answer.receipt is None
        wait_until(lambda: signed(trial) == size + 1, "a checkpoint by the second process")


def test_a_receipt_is_repeated_with_the_index_and_leaf_that_stand(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the signer is down a repeat says where the event stands, as the first answer did."""
    told: Told = trial.screen(trial.subject("001"))
    put(monkeypatch, "reading what to sign", False)
    door: Any = trial.door
    answer = door.ledger.append(trial.plan.study, told.text)
    assert (answer.index, answer.repeat, answer.receipt) == (told.index, True, None)
