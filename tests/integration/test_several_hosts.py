"""Several hosts on one database: one signer's state, or nobody starts.

A host is a home of its own here: a copy of the first one's, keys included, as somebody would make it who wants to serve
a study from two machines.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.application import Ledger
from ledger.settings import Settings
from ledger.signer_state import FileState, SignerAlarm
from ledger.store.embedded import DatabaseUrls
from ledger.store.errors import StoreError
from ledger.store.hosts import OtherSignerAtWork, state_on_this_host
from ledger.store.signer_states import SignerStates, SignerStoreUnusable, StateMoved
from tests.scenario.checker import check_everything
from tests.scenario.doors import InProcess
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator
from tests.scenario.waiting import wait_until

STUDY = "COAST-07"


def copy_of(settings: Settings, home: Path, **more: Any) -> Settings:
    """The settings of another host with the same keys."""
    if not home.exists():
        shutil.copytree(settings.home, home)
    return replace(settings, home=home, **more)


def screened(sim: Simulator, number: str) -> str:
    """Any statement."""
    return sim.sign(sim.staff().coordinator, "SubjectScreened", sim.subject(number), number=number)


def test_a_second_host_refuses_to_start_and_says_what_to_do(trial: Simulator, tmp_path: Path) -> None:
    first = ledger_of(trial)
    with pytest.raises(OtherSignerAtWork) as refused, Ledger(copy_of(first.settings, tmp_path / "copy"), trial.clock):
        pass
    assert "TRIAL_LEDGER_SIGNER_URL" in str(refused.value)
    with Ledger(first.settings, trial.clock) as again:
        assert again.check_log(STUDY) is None, "a second process of the same home is no other host"
    assert trial.screen(trial.subject("1")).answer.receipt is not None


def test_a_host_starts_when_the_other_has_ended(trial: Simulator, tmp_path: Path) -> None:
    """As after a move to another machine with the whole home."""
    first = ledger_of(trial)
    first.close()
    with Ledger(copy_of(first.settings, tmp_path / "copy"), trial.clock) as second:
        assert InProcess(second, STUDY).append(screened(trial, "1")).receipt is not None
        with pytest.raises(OtherSignerAtWork), Ledger(first.settings, trial.clock):
            pass
    first.open()


def test_of_hosts_that_start_at_the_same_moment_not_two_pass(trial: Simulator, tmp_path: Path) -> None:
    first = ledger_of(trial)
    first.close()
    hosts = [Ledger(copy_of(first.settings, tmp_path / f"copy-{n}"), trial.clock) for n in range(4)]
    barrier, passed, refused = threading.Barrier(len(hosts)), [], []

    def start(host: Ledger) -> None:
        barrier.wait()
        try:
            passed.append(host.open())
        except OtherSignerAtWork as error:
            refused.append(error)

    threads = [threading.Thread(target=start, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 1
    assert len(refused) == len(hosts) - 1
    for host in hosts:
        host.close()
    first.open()


def test_a_host_whose_database_was_away_stops_signing_where_another_took_over(
    doomed_trial: Simulator, tmp_path: Path, embedded_server: DatabaseUrls
) -> None:
    """Its sessions are gone, and with them its lock; statements are recorded, and the other host signs them."""
    first = ledger_of(doomed_trial)
    writer = first.writer(STUDY)
    name = conninfo_to_dict(first.urls.app)["dbname"]
    away = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    second = Ledger(copy_of(first.settings, tmp_path / "copy"), doomed_trial.clock)

    def taken_over() -> bool:
        """The first host's signer may be back before the other one comes: then its database goes away once more."""
        with psycopg.connect(embedded_server.admin, autocommit=True) as admin:
            admin.execute(away, [name])
        try:
            second.open()
        except OtherSignerAtWork:
            return False
        return True

    wait_until(taken_over, "the second host's turn")
    told = doomed_trial.screen(doomed_trial.subject("1"))
    assert told.answer.receipt is None
    wait_until(lambda: writer.alarm is not None, "the alarm")
    assert writer.alarm is not None
    assert "served by" in writer.alarm.because
    assert not writer.alarm.stops
    second.resume()
    wait_until(lambda: second.writer(STUDY).signed_size == told.index + 1, "the other's signature")
    second.close()
    wait_until(lambda: writer.alarm is None, "the first signing again, when the other has ended")


@pytest.fixture
def shared(other_database: str) -> Iterator[str]:
    """The URL of a shared store in another cluster."""
    states = SignerStates(other_database)
    states.make()
    states.close()
    yield other_database


def test_hosts_that_share_a_state_serve_one_study_together(trial: Simulator, tmp_path: Path, shared: str) -> None:
    """The first host's state moves there; then both append and sign, each what the other has not."""
    first = ledger_of(trial)
    size = trial.door.cut().size
    first.close()
    settings = replace(first.settings, signer_url=shared)
    mover = Ledger(settings, trial.clock)
    assert mover.share_signer_state() == [STUDY]
    assert mover.share_signer_state() == []
    other = copy_of(settings, tmp_path / "copy")
    with Ledger(settings, trial.clock) as one, Ledger(other, trial.clock) as two:
        doors = [InProcess(one, STUDY), InProcess(two, STUDY)]
        answers = [doors[n % 2].append(screened(trial, str(n))) for n in range(8)]
        assert [answer.index for answer in answers] == list(range(size, size + 8))
        assert all(answer.receipt is not None for answer in answers)
        texts = [[screened(trial, f"{who}-{n}") for n in range(40)] for who in "ab"]
        threads = [
            threading.Thread(target=door.append_many, args=(some,)) for door, some in zip(doors, texts, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check_everything(one)
        check_everything(two)
        with pytest.raises(OtherSignerAtWork), Ledger(first.settings, trial.clock):
            pass
    with Ledger(first.settings, trial.clock) as alone:
        alarm = alone.check_log(STUDY)
        assert alarm is not None, "its file was moved, and it does not go on without"
        assert "state is empty" in alarm.because
    with Ledger(settings, trial.clock) as again:
        assert again.check_log(STUDY) is None
    FileState(first.home.signer_state(STUDY), first.origin(STUDY)).path.with_suffix(".moved").rename(
        first.home.signer_state(STUDY)
    )
    first.open()


def test_a_host_that_signed_past_the_shared_store_does_not_lose_its_state_to_it(trial: Simulator, shared: str) -> None:
    """The host went back to its own file, or the store was put back from a backup: only a person can tell."""
    first = ledger_of(trial)
    first.close()
    mover = Ledger(replace(first.settings, signer_url=shared), trial.clock)
    assert mover.share_signer_state() == [STUDY]
    state = first.home.signer_state(STUDY)
    state.with_suffix(".moved").rename(state)
    with Ledger(first.settings, trial.clock) as alone:
        InProcess(alone, STUDY).append(screened(trial, "1"))
        size = alone.signed_state(STUDY).size
    with pytest.raises(SignerAlarm, match=f"up to {size} entries") as alarm:
        mover.share_signer_state()
    assert "Nothing was moved" in alarm.value.remedy
    assert state.exists(), "what was signed last is still known"
    first.open()


def test_the_shared_store_is_not_in_the_ledgers_own_cluster(trial: Simulator, embedded_server: DatabaseUrls) -> None:
    first = ledger_of(trial)
    with psycopg.connect(embedded_server.admin, autocommit=True) as admin:
        admin.execute("CREATE DATABASE signers_beside")
    try:
        url = make_conninfo(embedded_server.admin, dbname="signers_beside")
        SignerStates(url).make()
        with pytest.raises(SignerStoreUnusable, match="restored with it"):
            Ledger(replace(first.settings, signer_url=url), trial.clock).open()
    finally:
        with psycopg.connect(embedded_server.admin, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE signers_beside WITH (FORCE)"))


def test_a_shared_store_that_was_not_made_or_does_not_answer_is_named(trial: Simulator, other_database: str) -> None:
    first = ledger_of(trial)
    with pytest.raises(SignerStoreUnusable, match="trial-ledger init"):
        Ledger(replace(first.settings, signer_url=other_database), trial.clock).open()
    with pytest.raises(StoreError):
        Ledger(replace(first.settings, signer_url="host=/nonexistent dbname=x"), trial.clock).open()


def test_a_row_of_the_shared_store_is_held_by_one_and_written_by_comparison(shared: str) -> None:
    one, two = SignerStates(shared), SignerStates(shared)
    with one.held("log") as row:
        row.write(1, "first")
        with pytest.raises(StateMoved):
            row.write(1, "again")
    with two.held("log") as row:
        assert (row.sequence, row.text) == (1, "first")
        order: list[str] = []
        waiting = threading.Thread(target=lambda: _hold(one, order))
        waiting.start()
        order.append("two writes")
        row.write(2, "second")
    waiting.join()
    assert order == ["two writes", "one reads second"]
    with one.held("log") as row, pytest.raises(StateMoved):
        row.write(2, "the same sequence")
    with two.held("log") as row:
        assert (row.sequence, row.text) == (2, "second")
    assert not two.adopt("log", 1, "older")
    one.close()
    two.close()


def _hold(states: SignerStates, order: list[str]) -> None:
    with states.held("log") as row:
        order.append(f"one reads {row.text}")


def test_a_copied_folder_is_another_signers_state(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert state_on_this_host(tmp_path / "a") == state_on_this_host(tmp_path / "a")
    assert state_on_this_host(tmp_path / "a") != state_on_this_host(tmp_path / "b")


def test_a_state_in_the_shared_store_that_cannot_be_read_signs_nothing(trial: Simulator, shared: str) -> None:
    first = ledger_of(trial)
    settings = replace(first.settings, signer_url=shared)
    states = SignerStates(shared)
    first.close()
    with states.held(first.origin(STUDY)) as row:
        row.write(1, "junk")
    with Ledger(settings, trial.clock) as ledger:
        alarm = ledger.check_log(STUDY)
    assert isinstance(alarm, SignerAlarm)
    assert "cannot be read" in alarm.because
    states.close()
    first.open()
