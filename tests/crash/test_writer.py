"""The writer's own limits: a full queue, a clock that runs back, a defect of its own, and how it ends."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ledger import writer as writer_module
from ledger.domain.refusals import Refusal
from ledger.signing.statement import parse
from ledger.store import statements as store
from ledger.store.rows import AppendStart
from ledger.writer import Answer, Submission
from tests.scenario.clock import TurnedClock
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator, refused


def statements(trial: Simulator, count: int) -> list[str]:
    """Statements about as many people."""
    by = trial.staff().coordinator
    return [trial.sign(by, "SubjectScreened", trial.subject(f"{n}"), number=f"{n:03}") for n in range(count)]


def test_a_full_queue_takes_none_of_what_does_not_fit(trial: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """WRITER-1: whoever comes is told to come back, and nothing of it is recorded."""
    monkeypatch.setattr(writer_module, "MAX_QUEUED", 2)
    writer = ledger_of(trial).writer(trial.plan.study)
    texts = statements(trial, 3)
    size = trial.door.cut().size
    submissions = [Submission(parse(text), lambda outcome: None) for text in texts]
    with pytest.raises(Refusal) as refusal:
        writer.submit(submissions)
    assert (refusal.value.rule, refusal.value.status) == ("WRITER-1", 503)
    assert refusal.value.remedy
    assert trial.door.cut().size == size
    trial.send_many(texts[:2])


def test_a_clock_that_runs_back_stops_the_writer_until_it_is_right(trial: Simulator) -> None:
    """WRITER-3: times in the log never run backwards, so nothing is recorded in the past."""
    assert isinstance(trial.clock, TurnedClock)
    trial.screen(trial.subject("1"))
    now = trial.clock.now
    trial.clock.now = now - timedelta(hours=1)
    with refused("WRITER-3") as problem:
        trial.screen(trial.subject("2"))
    assert "clock" in problem["remedy"]
    trial.clock.now = now
    trial.screen(trial.subject("2"))


def test_a_machine_whose_clock_is_off_the_database_s_records_nothing(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, drift = store.begin_append, [timedelta(seconds=3)]

    def begun(*given: Any) -> AppendStart:
        start = begin(*given)
        return replace(start, database_time=start.database_time + drift[0])

    monkeypatch.setattr(store, "begin_append", begun)
    with refused("WRITER-3") as problem:
        trial.screen(trial.subject("1"))
    assert "the database's" in problem["because"]
    drift[0] = timedelta(seconds=-1)
    trial.screen(trial.subject("1"))


def test_catching_up_for_long_is_not_taken_for_a_clock_that_is_off(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first statement after a start loads what was recorded, in seconds where that is much."""
    monkeypatch.setattr(writer_module, "CLOCK_SKEW", timedelta(seconds=0.5))
    caught_up = writer_module.StudyWriter._caught_up

    def slowly(*given: Any) -> Any:
        time.sleep(0.7)
        return caught_up(*given)

    monkeypatch.setattr(writer_module.StudyWriter, "_caught_up", slowly)
    assert not trial.screen(trial.subject("1")).answer.repeat


def test_a_clock_that_is_a_second_behind_is_forgiven_and_time_stands_still(trial: Simulator) -> None:
    assert isinstance(trial.clock, TurnedClock)
    first = trial.screen(trial.subject("1"))
    trial.clock.now -= timedelta(seconds=2)
    second = trial.screen(trial.subject("2"))
    entries = {entry["index"]: entry["recorded_at"] for entry in trial.door.entries()}
    assert entries[second.index] == entries[first.index]


def test_a_defect_of_one_rule_refuses_its_statement_and_leaves_the_others(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WRITER-4: the loop outlives whatever one statement did; its neighbours in the batch are recorded."""
    texts = statements(trial, 5)
    victim = parse(texts[2]).jti
    decide = writer_module.decide

    def broken(ctx: Any) -> None:
        if ctx.candidate.jti == victim:
            raise ZeroDivisionError("a defect")
        decide(ctx)

    monkeypatch.setattr(writer_module, "decide", broken)
    outcomes = list(ledger_of(trial).append_many(trial.plan.study, texts))
    assert [getattr(outcome, "rule", "recorded") for outcome in outcomes] == [
        *["recorded"] * 2,
        "WRITER-4",
        *["recorded"] * 2,
    ]
    fault = outcomes[2]
    assert isinstance(fault, Refusal)
    assert fault.status == 500
    assert "ZeroDivision" not in fault.because
    monkeypatch.undo()
    trial.send(texts[2])


def test_a_defect_while_folding_discards_what_was_in_memory_and_not_what_is_stored(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = trial.door.cut().size
    texts = statements(trial, 3)
    victim = parse(texts[1]).jti
    record = writer_module.StudyWriter._record

    def broken(self: Any, state: Any, statement: Any, *more: Any) -> Any:
        answer = record(self, state, statement, *more)
        if statement.jti == victim:
            raise ZeroDivisionError("a defect after the fold")
        return answer

    monkeypatch.setattr(writer_module.StudyWriter, "_record", broken)
    outcomes = list(ledger_of(trial).append_many(trial.plan.study, texts))
    recorded = [outcome.index for outcome in outcomes if isinstance(outcome, Answer)]
    monkeypatch.undo()
    told = trial.send_many(texts)
    assert sorted(one.index for one in told) == [size, size + 1, size + 2]
    assert set(recorded) <= {one.index for one in told}, "what was acknowledged before the defect stands"


def test_whoever_waits_and_fails_to_take_the_answer_harms_nobody(trial: Simulator) -> None:
    ledger = ledger_of(trial)
    one, two = statements(trial, 2)
    answered = threading.Event()

    def rude(outcome: object) -> None:
        raise RuntimeError("gone")

    writer = ledger.writer(trial.plan.study)
    writer.submit([Submission(parse(one), rude), Submission(parse(two), lambda outcome: answered.set())])
    assert answered.wait(60)
    trial.send_many([one, two])


def test_what_is_queued_when_the_writer_is_stopped_is_recorded_first(trial: Simulator) -> None:
    ledger = ledger_of(trial)
    texts = statements(trial, 50)
    outcomes: list[object] = []
    writer = ledger.writer(trial.plan.study)
    writer.submit([Submission(parse(text), outcomes.append) for text in texts])
    ledger._writers.pop(trial.plan.study)
    writer.stop()
    assert len(outcomes) == 50
    assert all(isinstance(outcome, Answer) and outcome.receipt for outcome in outcomes)
    with pytest.raises(Refusal) as refusal:
        writer.submit([Submission(parse(texts[0]), outcomes.append)])
    assert refusal.value.rule == "WRITER-1"
    trial.send_many(texts)


def test_more_than_one_batch_holds_is_recorded_in_several(trial: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH", 7)
    size = trial.door.cut().size
    told = trial.send_many(statements(trial, 40))
    assert [one.index for one in told] == list(range(size, size + 40))


def test_subjects_beyond_what_memory_keeps_are_loaded_again(trial: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules see the same subject whether it was in memory or not."""
    monkeypatch.setattr(writer_module, "MAX_CACHED_RECORDS", 3)
    people = [trial.subject(f"{n:03}") for n in range(6)]
    for person in people:
        trial.screen(person)
        trial.consent(person)
    state: Any = ledger_of(trial).writer(trial.plan.study)._state
    assert len(state.subjects) < len(people)
    for person in people:
        trial.make_eligible(person)
        trial.decide_eligible(person)
