"""The writer under hostile or unlucky input: it stays within its limits, keeps the order, and never forks."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import psycopg
import pytest

from ledger import application, writer
from ledger.application import Ledger
from ledger.domain.refusals import Refusal
from ledger.signer_state import SLOT_BYTES
from ledger.signing.statement import make
from ledger.store import evidence, statements
from ledger.store.embedded import DatabaseUrls
from ledger.writer import Answer, StudyWriter
from tests.crash.faults import put
from tests.scenario.cast import genesis_fields
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of, opened, subject_of
from tests.scenario.simulator import Simulator, Subject, Told, refused
from tests.scenario.waiting import wait_until


def screenings(trial: Simulator, count: int, comment: str = "") -> list[str]:
    """Statements about as many people."""
    fields: dict[str, Any] = {"comment": comment} if comment else {}
    by = trial.staff().coordinator
    return [trial.sign(by, "SubjectScreened", trial.subject(f"{n}"), number=f"{n}", **fields) for n in range(count)]


def size_of(trial: Simulator) -> int:
    """How many entries are signed."""
    return trial.door.cut().size


# -- limits -------------------------------------------------------------------------------------------------


def test_the_queue_is_bounded_by_its_bytes(trial: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement is always taken when nothing waits; what would be too much is told to come back."""
    monkeypatch.setattr(writer, "MAX_QUEUED_BYTES", 20_000)
    held, released = threading.Event(), threading.Event()
    begin = statements.begin_append

    def waiting(*given: Any) -> Any:
        held.set()
        released.wait()
        return begin(*given)

    monkeypatch.setattr(statements, "begin_append", waiting)
    ledger, size = ledger_of(trial), size_of(trial)
    outcomes: list[list[Any]] = []
    texts = screenings(trial, 12, "x" * 4_000)
    first = threading.Thread(target=lambda: outcomes.append(list(ledger.append_many(trial.plan.study, texts[:1]))))
    first.start()
    assert held.wait(60)  # the first is in its transaction, and no longer in the queue
    rest = threading.Thread(target=lambda: outcomes.append(list(ledger.append_many(trial.plan.study, texts[1:]))))
    rest.start()
    wait_until(lambda: ledger.writer(trial.plan.study).queued == 3, "a full queue")
    released.set()
    first.join()
    rest.join()
    told = [outcome for part in outcomes for outcome in part]
    busy = [outcome for outcome in told if isinstance(outcome, Refusal)]
    assert {outcome.rule for outcome in busy} == {"WRITER-1"}
    assert size_of(trial) == size + 12 - len(busy)
    assert [trial.send(text).answer.repeat for text in texts].count(False) == len(busy)


def test_a_long_list_of_large_statements_waits_for_itself(trial: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends many never fills the queue alone: what is on its way is bounded, in bytes too."""
    monkeypatch.setattr(application, "IN_FLIGHT_BYTES", 16_000)
    monkeypatch.setattr(writer, "MAX_QUEUED_BYTES", 64_000)
    told = trial.send_many(screenings(trial, 60, "x" * 4_000))
    assert len({one.index for one in told}) == 60


def test_what_a_transaction_has_no_time_for_comes_first_in_the_next(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "DECIDE_SECONDS", 0.0)
    committed: list[int] = []
    finish = statements.finish_append

    def counting(connection: Any, study: str, rows: Any, head: Any, *more: Any) -> None:
        committed.append(len(rows))
        finish(connection, study, rows, head, *more)

    monkeypatch.setattr(statements, "finish_append", counting)
    size = size_of(trial)
    told = trial.send_many(screenings(trial, 20))
    assert [one.index for one in told] == list(range(size, size + 20))
    assert committed == [1] * 20


def test_a_statement_that_spoils_its_transaction_fails_alone(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch, acknowledged: list[Told]
) -> None:
    """Something that no rule foresaw, in the midst of folding one of many."""
    texts = screenings(trial, 5)
    record = StudyWriter._record

    def spoiled(self: StudyWriter, state: Any, statement: Any, *more: Any) -> Answer:
        answer = record(self, state, statement, *more)
        if statement.content.get("number") == "2":
            raise RuntimeError("nobody foresaw this")
        return answer

    monkeypatch.setattr(StudyWriter, "_record", spoiled)
    size, ledger = size_of(trial), ledger_of(trial)
    outcomes = list(ledger.append_many(trial.plan.study, texts))
    assert [isinstance(outcome, Answer) for outcome in outcomes] == [True, True, False, True, True]
    assert isinstance(outcomes[2], Refusal)
    assert outcomes[2].rule == "WRITER-4"
    assert size_of(trial) == size + 4
    monkeypatch.undo()
    trial.send(texts[2])


def test_a_chain_of_voids_longer_than_a_stack_is_deep(trial: Simulator) -> None:
    ada, by = trial.subject("1"), trial.staff().coordinator
    last = trial.screen(ada)
    chain, named = [], last.target
    for _ in range(1_200):
        text = trial.sign(by, "EntryVoided", ada, reason="no, it stands", claims={"voids": named})
        named = Told("EntryVoided", text, last.answer).target
        chain.append(text)
    trial.send_many(chain)
    record = subject_of(trial, ada).records.get(last.jti)
    assert record is not None
    assert not record.void, "an even number of voids"


def test_readers_that_wait_hold_up_no_writer(trial: Simulator) -> None:
    """Whoever takes every connection of the readers still does not keep a statement from being recorded."""
    ledger = ledger_of(trial)
    ledger.writer(trial.plan.study)
    held = [ledger.database.connection() for _ in range(8)]
    for one in held:
        one.__enter__()
    try:
        told = ledger.append(trial.plan.study, screenings(trial, 1)[0])
        assert isinstance(told, Answer)
        assert told.receipt is not None
    finally:
        for one in held:
            one.__exit__(None, None, None)


# -- what was seen ------------------------------------------------------------------------------------------


def test_who_was_shown_another_history_is_recorded_and_raises_an_alarm(trial: Simulator) -> None:
    cut = trial.door.cut()
    log = ledger_of(trial).writer(trial.plan.study)
    trial.screen(trial.subject("1"), claims={"seen": {"size": cut.size, "root": cut.root}})
    assert log.alarms == []
    told = trial.screen(trial.subject("2"), claims={"seen": {"size": cut.size, "root": "A" * 43}})
    (alarm,) = log.alarms
    assert "coordinator-NORTH" in alarm.because
    assert told.jti in alarm.because
    assert cut.root in alarm.because
    assert alarm.remedy.endswith(".")


def test_a_checkpoint_that_this_log_never_signed_raises_the_alarm_too(trial: Simulator) -> None:
    trial.screen(trial.subject("1"), claims={"seen": {"size": 10_000, "root": "A" * 43}})
    (alarm,) = ledger_of(trial).writer(trial.plan.study).alarms
    assert "10000" in alarm.because


def test_a_refused_statement_raises_no_alarm(trial: Simulator) -> None:
    ada: Subject = trial.subject("1")
    with refused("ROLE-1"):
        trial.screen(ada, by=trial.cast.monitor, claims={"seen": {"size": 1, "root": "A" * 43}})
    assert ledger_of(trial).writer(trial.plan.study).alarms == []


# -- genesis ------------------------------------------------------------------------------------------------


def test_two_processes_open_one_study_at_the_same_moment(
    ledger: Ledger, ledger_database: DatabaseUrls, before_trial: Simulator, clock: Any
) -> None:
    sim = before_trial
    fields = genesis_fields(sim.plan.study, sim.terms, sim.cast)
    texts = [sim.cast.registrar.sign("StudyOpened", "study", fields) for _ in range(6)]
    outcomes: list[Any] = []

    def open_by(one: Ledger, text: str) -> None:
        try:
            outcomes.append((text, one.open_study(text)))
        except Refusal as refusal:
            outcomes.append((text, refusal))

    with opened(ledger.home.path, ledger_database, clock) as second:
        threads = [threading.Thread(target=open_by, args=((ledger, second)[n % 2], t)) for n, t in enumerate(texts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    done = [(text, outcome) for text, outcome in outcomes if isinstance(outcome, Answer)]
    assert len(outcomes) == 6
    assert len(done) == 1
    assert {outcome.rule for _, outcome in outcomes if isinstance(outcome, Refusal)} == {"GENESIS-6"}
    sim._told(done[0][0], sim.door.open_study(done[0][0]))


@pytest.mark.parametrize("study", ["A B", "x" * 300, {"a": 1}, "line\nbreak", "../../etc", None, "coast-07"])
def test_a_genesis_of_a_study_without_a_proper_name_is_refused(before_trial: Simulator, study: Any) -> None:
    by = before_trial.cast.registrar
    body: dict[str, Any] = {"study": study} if study is not None else {}
    claims: dict[str, Any] = {"iss": by.id, "role": by.role, "aud": by.origin, "sub": "study", "jti": str(uuid.uuid4())}
    claims |= {"iat": before_trial.seconds(), "event": "StudyOpened", "v": 1, "body": body}
    with refused("CATALOGUE-3"):
        before_trial.door.open_study(make(by.key, claims, {}))


# -- the signer ---------------------------------------------------------------------------------------------


def test_an_older_state_signs_past_no_checkpoint_that_is_not_its_own(
    doomed_trial: Simulator, embedded_server: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state was restored from a backup, and what was released since is not what the entries give."""
    trial, ledger = doomed_trial, ledger_of(doomed_trial)
    log = ledger.writer(trial.plan.study)
    wait_until(lambda: log.signed_size == size_of(trial), "signing")
    state = ledger.home.signer_state(trial.plan.study)
    backup = state.read_bytes()
    trial.screen(trial.subject("1"))
    size = size_of(trial)
    name = psycopg.conninfo.conninfo_to_dict(ledger.urls.app)["dbname"]
    with psycopg.connect(psycopg.conninfo.make_conninfo(embedded_server.admin, dbname=name), autocommit=True) as admin:
        admin.execute("ALTER TABLE ledger.checkpoints DISABLE TRIGGER ALL")
        forged = (
            "UPDATE ledger.checkpoints SET root = sha256('x'), note = replace(note, E'\\n', E'\\nx') WHERE size = %s"
        )
        assert admin.execute(forged, [size]).rowcount == 1
    state.write_bytes(backup)
    told = trial.screen(trial.subject("2"))
    assert told.answer.receipt is None
    (alarm, *_) = log.alarms
    assert "other evidence" in alarm.because
    assert size_of(trial) == size


def test_a_state_file_that_was_made_and_not_yet_written_is_a_first_start(
    before_trial: Simulator, ledger: Ledger
) -> None:
    """Killed between making the file and writing to it: nothing was signed, so nothing is lost."""
    state = ledger.home.signer_state(before_trial.plan.study)
    state.write_bytes(b"\0" * 2 * SLOT_BYTES)
    told = before_trial.open_study()
    assert told.answer.receipt is not None


def test_a_checkpoint_that_did_not_reach_the_database_is_put_there_with_the_next(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signer's state keeps it: whoever signs next writes it down before a newer one."""
    fault = put(monkeypatch, "releasing the checkpoint", False)
    first = trial.screen(trial.subject("1"))
    second = trial.screen(trial.subject("2"))
    assert fault.happened == 1
    with ledger_of(trial).database.connection() as connection:
        notes = [
            evidence.checkpoint_at(connection, trial.plan.study, told.answer.index + 1) for told in (first, second)
        ]
    assert None not in notes
