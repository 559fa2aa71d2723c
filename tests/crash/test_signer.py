"""The signer trusts its own state and nothing else: whatever happens to it or to the database, it never forks.

An alarm says what was found and what to do, and nothing is signed until a person has looked. Where only the state
file is at fault, statements are recorded and answered without a receipt; where the entries are in doubt, nothing is
appended to them. When the cause is gone signer and writer go on by themselves.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ledger.application import Ledger
from ledger.signer_state import SLOT_BYTES, FileState, SignerAlarm
from ledger.store import statements
from ledger.store.embedded import DatabaseUrls
from ledger.writer import LogInDoubt
from tests.crash.faults import put
from tests.scenario.checker import check_everything
from tests.scenario.clock import TurnedClock
from tests.scenario.doors import InProcess
from tests.scenario.fixtures import Opened, copied, copied_trial, ledger_of, opened
from tests.scenario.simulator import Simulator, Told, refused
from tests.scenario.waiting import wait_until

STUDY = "COAST-07"
TILE = 256
FENCES = (
    "SELECT 'ledger.' || c.relname, t.tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid "
    "WHERE c.relnamespace = 'ledger'::regnamespace AND NOT t.tgisinternal"
)


def of(name: object) -> sql.Identifier:
    """A name, with its schema where it has one."""
    return sql.Identifier(*str(name).split("."))


def state_of(sim: Simulator) -> Path:
    """The file that holds the signer's state."""
    return ledger_of(sim).home.signer_state(STUDY)


def quiet(sim: Simulator) -> int:
    """Wait until everything is signed; returns the size."""
    writer = ledger_of(sim).writer(STUDY)
    size = sim.door.cut().size
    wait_until(lambda: writer.signed_size == size, "signing")
    return size


def record(sim: Simulator, number: str) -> Told:
    """Any statement."""
    return sim.screen(sim.subject(number))


@contextmanager
def tampering(sim: Simulator) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A superuser at work behind the triggers."""
    with psycopg.connect(superuser(sim), autocommit=True) as admin:
        admin.execute("SET session_replication_role = replica")
        fences = admin.execute(FENCES).fetchall()
        for table, name in fences:
            admin.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(of(table), of(name)))
        yield admin
        for table, name in fences:
            admin.execute(sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(of(table), of(name)))


def superuser(sim: Simulator) -> str:
    """URL of the administrator on the trial's database."""
    return str(ledger_of(sim).__dict__["admin_url"])


@pytest.fixture
def sim(doomed_trial: Simulator, embedded_server: DatabaseUrls) -> Simulator:
    """A trial that may end badly, with the administrator's way into its database at hand."""
    name = psycopg.conninfo.conninfo_to_dict(ledger_of(doomed_trial).urls.app)["dbname"]
    ledger_of(doomed_trial).__dict__["admin_url"] = psycopg.conninfo.make_conninfo(embedded_server.admin, dbname=name)
    return doomed_trial


def alarmed(sim: Simulator, words: str, remedy: str) -> SignerAlarm:
    """Statements are recorded without a receipt, nothing is signed, and the alarm says why and what to do."""
    size = sim.door.cut().size
    told = record(sim, "alarm")
    assert told.answer.receipt is None
    alarm = ledger_of(sim).writer(STUDY).alarm
    assert alarm is not None
    assert words in alarm.because
    assert remedy in alarm.remedy
    assert sim.door.cut().size == size, "something was signed all the same"
    again = sim.send(told.text)
    assert (again.index, again.answer.repeat, again.answer.receipt) == (told.index, True, None)
    return alarm


def goes_on(sim: Simulator) -> None:
    """Everything is signed again, without anybody asking, and the whole ledger is sound."""
    ledger = ledger_of(sim)
    wait_until(lambda: ledger.writer(STUDY).alarm is None, "the end of the alarm")
    check_everything(ledger, sim.acknowledged)


def test_a_lost_state_stops_signing_until_it_is_restored(sim: Simulator) -> None:
    quiet(sim)
    backup = state_of(sim).read_bytes()
    state_of(sim).unlink()
    alarmed(sim, "state is empty", "Restore the state file")
    state_of(sim).write_bytes(backup)
    goes_on(sim)


@pytest.mark.parametrize("content", [b"", b"\0" * 2 * SLOT_BYTES, b"not a state at all", b"{}" * SLOT_BYTES])
def test_an_unreadable_state_stops_signing_until_it_is_restored(sim: Simulator, content: bytes) -> None:
    quiet(sim)
    backup = state_of(sim).read_bytes()
    state_of(sim).write_bytes(content)
    alarmed(sim, "state", "Restore the")
    assert state_of(sim).read_bytes() == content, "an alarm never touches the state"
    state_of(sim).write_bytes(backup)
    goes_on(sim)


def test_the_state_of_another_log_is_refused(sim: Simulator, tmp_path: Path) -> None:
    quiet(sim)
    backup = state_of(sim).read_bytes()
    state_of(sim).write_bytes(_as_if_of(backup, b"ledger.localhost/study/OTHER-07"))
    alarmed(sim, "is of the log", "right file")
    state_of(sim).write_bytes(backup)
    goes_on(sim)


def _as_if_of(state: bytes, origin: bytes) -> bytes:
    """A well-formed state of another log."""
    slots = []
    for place in (0, SLOT_BYTES):
        text = state[place : place + SLOT_BYTES].partition(b"\n")[2].rstrip(b"\0").rstrip(b"\n")
        text = text.replace(b"ledger.localhost/study/COAST-07", origin)
        digest = hashlib.sha256(text).hexdigest().encode()
        slots.append((digest + b"\n" + text + b"\n").ljust(SLOT_BYTES, b"\0"))
    return b"".join(slots)


@pytest.mark.parametrize("cut", [0, 1, 63, 64, 65, 100, 300, 600, 4_096, SLOT_BYTES - 1])
def test_a_write_of_the_state_that_was_torn_leaves_the_one_before(trial: Simulator, cut: int) -> None:
    quiet(trial)
    before = state_of(trial).read_bytes()
    told = record(trial, "1")
    after = state_of(trial).read_bytes()
    slot = next(place for place in (0, SLOT_BYTES) if before[place:][:SLOT_BYTES] != after[place:][:SLOT_BYTES])
    torn = before[:slot] + after[slot : slot + cut] + before[slot + cut :]
    state_of(trial).write_bytes(torn)

    again = record(trial, "2")
    assert again.answer.receipt is not None
    assert told.answer.receipt is not None
    assert ledger_of(trial).writer(STUDY).alarm is None


def test_a_state_from_an_older_backup_signs_the_same_bytes_again(trial: Simulator) -> None:
    quiet(trial)
    backup = state_of(trial).read_bytes()
    for number in ("1", "2", "3"):
        record(trial, number)
    state_of(trial).write_bytes(backup)
    assert record(trial, "4").answer.receipt is not None


def test_to_a_database_restored_from_an_older_backup_nothing_is_appended(
    embedded_server: DatabaseUrls, opened_trial: Opened, tmp_path: Path, turned_clock: TurnedClock
) -> None:
    """From the first statement after the start: what was acknowledged has to be put back at its indexes."""
    with copied_trial(embedded_server, opened_trial, tmp_path / "home", turned_clock) as sim:
        for number in ("1", "2", "3"):
            record(sim, number)
        signed = quiet(sim)
        home = ledger_of(sim).home.path
    with (
        copied(embedded_server, opened_trial.database) as restored,
        opened(home, restored, turned_clock) as ledger,
    ):
        sim.door = InProcess(ledger, STUDY)
        size = sim.door.cut().size
        for number in range(5):
            with refused("WRITER-6") as problem:
                record(sim, f"new-{number}")
            assert f"{signed} were signed" in problem["because"]
            assert "older backup" in problem["remedy"]
        alarm = ledger.check_log(STUDY)
        assert alarm is not None
        assert f"{signed} were signed" in alarm.because
        with ledger.database.connection() as connection:
            assert statements.read_head(connection, STUDY).size == size
        assert sim.door.cut().size == size


def break_last_row(admin: psycopg.Connection[tuple[object, ...]], size: int) -> None:
    """The newest entry gets another time."""
    changed = "UPDATE ledger.events SET recorded_at = '2026-03-02T09:09:09.000000Z' WHERE idx = %s"
    assert admin.execute(changed, [size]).rowcount == 1


def take_row_away(admin: psycopg.Connection[tuple[object, ...]], size: int) -> None:
    """The newest entry is gone, and the head still counts it."""
    assert admin.execute("DELETE FROM ledger.events WHERE idx = %s", [size]).rowcount == 1


def change_root(admin: psycopg.Connection[tuple[object, ...]], size: int) -> None:
    """The head's root is another."""
    assert admin.execute("UPDATE ledger.heads SET root = sha256('x')").rowcount == 1


@pytest.mark.parametrize(
    ("tamper", "words"),
    [(break_last_row, "not what was committed"), (take_row_away, "missing"), (change_root, "another root")],
)
def test_what_was_altered_between_commit_and_signature_is_not_signed(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, tamper: Callable[..., None], words: str
) -> None:
    size = quiet(sim)
    put(monkeypatch, "reading what to sign", False, times=1_000)
    assert record(sim, "1").answer.receipt is None
    with tampering(sim) as admin:
        tamper(admin, size)
    monkeypatch.undo()
    ledger = ledger_of(sim)
    wait_until(lambda: ledger.writer(STUDY).alarm is not None, "the alarm")
    alarm = ledger.writer(STUDY).alarm
    assert alarm is not None
    assert words in alarm.because
    assert sim.door.cut().size == size


def test_a_checkpoint_that_the_database_lost_is_put_back_though_nothing_is_appended(sim: Simulator) -> None:
    """Its row commits without waiting for the disk: a database that is killed may come back without it."""
    record(sim, "1")
    size = quiet(sim)
    with tampering(sim) as admin:
        assert admin.execute("DELETE FROM ledger.checkpoints WHERE size = %s", [size]).rowcount == 1
        assert sim.door.cut().size < size
    wait_until(lambda: sim.door.cut().size == size, "the checkpoint")
    goes_on(sim)


def test_while_another_process_holds_the_state_statements_are_recorded_and_the_alarm_says_so(sim: Simulator) -> None:
    quiet(sim)
    store = ledger_of(sim).writer(STUDY)._signer._store
    assert isinstance(store, FileState)
    store._patience = 0.2
    frozen = os.open(state_of(sim), os.O_RDWR)
    fcntl.flock(frozen, fcntl.LOCK_EX)
    for number in ("1", "2", "3"):
        assert record(sim, number).answer.receipt is None
    alarm = ledger_of(sim).writer(STUDY).alarm
    assert alarm is not None
    assert "does not let it go" in alarm.because
    assert state_of(sim).name in alarm.remedy
    os.close(frozen)
    goes_on(sim)


def out_of_order(*given: object) -> None:
    """What a process does that is killed here."""
    raise OSError(errno.EIO, "Input/output error")


def test_a_checkpoint_in_the_database_that_the_signer_did_not_sign_is_an_alarm(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = quiet(sim)
    ledger = ledger_of(sim)
    signer = ledger.writer(STUDY)._signer
    monkeypatch.setattr(signer, "_release", out_of_order)
    assert record(sim, "1").answer.receipt is None
    with tampering(sim) as admin:
        forged = (
            "INSERT INTO ledger.checkpoints (study_id, size, root, note, signed_at) "
            "SELECT study_id, size + 1, sha256('x'), note, signed_at FROM ledger.checkpoints WHERE size = %s"
        )
        assert admin.execute(forged, [size]).rowcount == 1
    monkeypatch.undo()
    wait_until(lambda: ledger.writer(STUDY).alarm is not None, "the alarm")
    alarm = ledger.writer(STUDY).alarm
    assert alarm is not None
    assert "other evidence" in alarm.because
    assert "sign nothing" in alarm.remedy


def test_tiles_that_a_crash_kept_from_the_database_are_made_by_another_process(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state was durable, the tiles were not: a process that lived on puts them there with its next step."""
    size = quiet(trial)
    first = ledger_of(trial)
    with Ledger(first.settings, trial.clock) as second:
        second.resume()
        wait_until(lambda: second.writer(STUDY).signed_size == size, "signing at the start")
        monkeypatch.setattr(first.writer(STUDY)._signer, "_complete", out_of_order)
        by, ada = trial.cast.analyser, trial.subject("1")
        results = [trial.sign(by, "LabResultReported", ada, analyte="ferritin", value=str(n)) for n in range(TILE)]
        told = trial.send_many(results)
        assert told[0].answer.receipt is None
        door = InProcess(second, STUDY)
        wait_until(lambda: door.cut().size == told[-1].index + 1, "a checkpoint by the second process")
        monkeypatch.undo()


def test_a_database_that_fell_back_under_a_running_server_is_noticed_before_anything_is_promised(
    sim: Simulator,
) -> None:
    """A standby that lagged behind takes over: what was signed is gone, and its indexes are given anew."""
    ledger = ledger_of(sim)
    quiet(sim)
    with ledger.database.connection() as connection:
        old = statements.read_head(connection, STUDY)
    for number in ("1", "2", "3"):
        record(sim, number)
    signed = quiet(sim)
    with tampering(sim) as admin:
        admin.execute("DELETE FROM ledger.events WHERE idx >= %s", [old.size])
        admin.execute("DELETE FROM ledger.checkpoints WHERE size > %s", [old.size])
        values = [old.size, old.frontier, old.root, old.last_recorded_at]
        admin.execute("UPDATE ledger.heads SET size = %s, frontier = %s, root = %s, last_recorded_at = %s", values)
    for number in ("4", "5", "6", "7", "8", "9"):
        text = sim.sign(sim.staff().coordinator, "SubjectScreened", sim.subject(number), number=number)
        (answer,) = ledger.append_many(STUDY, [text])
        assert isinstance(answer, LogInDoubt), "an index given twice"
    with ledger.database.connection() as connection:
        assert statements.read_head(connection, STUDY) == old, "nothing stands in the way of what is put back"
    alarm = ledger.writer(STUDY).alarm
    assert alarm is not None
    assert str(signed) in alarm.because or "root" in alarm.because
