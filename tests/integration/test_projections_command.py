"""`trial-ledger projections`, as a data manager types it; each command a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from api.cli.serve import _look_after
from api.client.signing import Actor
from ledger.application import Ledger
from ledger.home import Home
from ledger.settings import Settings
from ledger.store.statements import select_events
from projections.definitions import NAMES, known_models
from projections.engine import outbox
from projections.engine.errors import ReplayNotRecorded
from projections.engine.sql import SQL
from tests.integration.test_keys_command import DONE, ORIGIN, REFUSED, STUDY, USAGE, Desk
from tests.scenario.waiting import wait_until

UNDECIDED = 2


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A home with an open study, a data manager's key, a clinic's staff and some subjects; nobody follows it."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.run("init", "--study", STUDY, "--synthetic")
    with Ledger(Settings(desk.home)) as ledger:
        desk.keys("enrol", "--study", STUDY, desk.request(desk.new("dm.pem"), "dm-1"))
        registrar = Actor("registrar-1", "registrar", Home(desk.home).key("registrar"), ORIGIN)
        granted = registrar.sign("DelegationGranted", "actor/dm-1", {"role": "data-manager"})
        more = [registrar.sign("ActorEnrolled", f"actor/a-{n}", {"actor_kind": "person"}) for n in range(20)]
        manager = Actor("dm-1", "data-manager", desk.signing(desk.folder / "dm.pem"), ORIGIN)
        fields = {"statement": "I stand by my signature.", "version": "1"}
        more.append(manager.sign("AccountabilityAccepted", "actor/dm-1", fields))
        assert all(hasattr(one, "index") for one in ledger.append_many(STUDY, [granted, *more]))
        desk.ledger = ledger  # type: ignore[attr-defined]
        yield desk


def projections(desk: Desk, *arguments: object, status: int = DONE) -> Any:
    """A command of `projections`; read as JSON where it is done."""
    said = desk.run("projections", *arguments, *(["--json"] if status == DONE else []), status=status)
    return json.loads(said) if status == DONE else said


def concluded(desk: Desk) -> list[tuple[str, str]]:
    """What stands in the ledger of replays: step and projection."""
    ledger: Ledger = desk.ledger  # type: ignore[attr-defined]
    with ledger.database.connection() as conn:
        rows = select_events(conn, STUDY, 0, 10_000, 1_000, ["ReplayConcluded"])
    reports = [ledger.entry(STUDY, row.idx).statement.body["report"] for row in rows]
    return [(one["step"], one["projection"]) for one in reports]


def states(desk: Desk, name: str) -> dict[str, str]:
    """Schema and state of every version of a projection."""
    return {p["schema"]: p["state"] for p in projections(desk, "list")["projections"] if p["name"] == name}


def test_a_whole_change_from_the_plan_to_the_end(desk: Desk) -> None:
    ledger: Ledger = desk.ledger  # type: ignore[attr-defined]
    said = desk.run("projections", "rebuild", "patient", "--plan")
    assert "nothing yet answers, version 1" in said and "Affected: all" in said
    assert states(desk, "patient") == dict.fromkeys(states(desk, "patient"), "not begun"), "a plan does nothing"
    made = projections(desk, "rebuild", "--by", "dm", "--reason", "first build")["rebuilt"]
    assert {one["projection"]: one["state"] for one in made} == dict.fromkeys(NAMES, "switched")
    assert sorted(concluded(desk)) == sorted(("switched", name) for name in NAMES)

    live = next(one["schema"] for one in made if one["projection"] == "audit_trail")
    with ledger.projector_database() as database, database.connection() as conn:
        conn.execute(f"""UPDATE "{live}".entries SET iss = 'nobody' WHERE idx = 0""")
    assert "1 would differ" in desk.run("projections", "rebuild", "audit_trail", "--plan")
    assert "unexplained 1" in projections(desk, "rebuild", "audit_trail", "--switch", status=REFUSED)
    assert states(desk, "audit_trail")[live] == "live"
    assert "awaiting approval" in states(desk, "audit_trail").values()
    assert "REPLAY-7" in projections(desk, "switch", "audit_trail", status=REFUSED)
    assert "nobody" in desk.run("projections", "diff", "audit_trail", "--json")
    drill = ("diff", "audit_trail", "--subject", "study")
    assert "[0]" in desk.run("projections", *drill, "--table", "entries", "--key", "[ 0 ]")
    assert "is no key" in projections(desk, *drill, "--key", "[0", status=USAGE)
    assert "what differs: entries" in projections(desk, *drill, "--table", "entry", status=USAGE)
    key = ("--key", desk.folder / "dm.pem", "--passphrase-file", desk.passphrase, "--reason", "it was tampered with")
    other = projections(desk, "approve", "audit_trail", *key, "--report", "0" * 43, status=REFUSED)
    assert "REPLAY-4" in other
    approved = projections(desk, "approve", "audit_trail", *key)
    assert approved["actor"] == "dm-1"
    assert "approved" in states(desk, "audit_trail").values()
    said = desk.run("projections", "diff", "audit_trail")
    assert "is approved (" in said and "before a person has answered for it" not in said
    done = projections(desk, "switch", "audit_trail", "--by", "dm")
    assert done["state"] == "switched" and done["approval"]
    assert states(desk, "audit_trail") == {live: "standby", done["schema"]: "live"}
    assert projections(desk, "rollback", "audit_trail")["state"] == "rolled back"
    assert states(desk, "audit_trail") == {live: "live", done["schema"]: "standby"}
    projections(desk, "switch", "audit_trail")
    projections(desk, "retire", "audit_trail", "--reason", "not needed")
    assert states(desk, "audit_trail") == {done["schema"]: "live"}
    told = [step for step, name in concluded(desk) if name == "audit_trail"]
    assert told == ["switched", "compared", "switched", "rolled back", "switched", "retired"]


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (("switch", "patient"), REFUSED, "REPLAY-3"),
        (("rollback", "patient"), REFUSED, "REPLAY-3"),
        (("cancel", "patient"), REFUSED, "REPLAY-3"),
        (("retire", "patient"), REFUSED, "REPLAY-3"),
        (("rebuild", "patients"), USAGE, "there is no projection 'patients'"),
        (("switch", "patients"), USAGE, "there is no projection 'patients'"),
        (("rebuild", "patient", "--study", "NO-STUDY"), REFUSED, "READ-1"),
        (("rebuild", "patient", "--workers", "0"), USAGE, "'--workers'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    desk: Desk, arguments: tuple[str, ...], status: int, word: str
) -> None:
    assert word in projections(desk, *arguments, status=status)


def test_an_interrupted_rebuild_says_how_to_go_on_and_goes_on(desk: Desk) -> None:
    ledger: Ledger = desk.ledger  # type: ignore[attr-defined]
    projections(desk, "rebuild", "schedule")
    environment = {**os.environ, "TRIAL_LEDGER_HOME": str(desk.home)}
    with ledger.projector_database() as database, database.connection() as conn:
        conn.execute("SELECT pg_advisory_lock(7242018)")  # whoever makes a read model waits here
        command = [sys.executable, "-m", "api.cli", "projections", "rebuild", "safety", "--study", STUDY]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        deadline = time.monotonic() + 60
        while conn.execute(asked).fetchone() == (0,) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, said = process.communicate(timeout=60)
        conn.execute("SELECT pg_advisory_unlock(7242018)")
    assert process.returncode == UNDECIDED, (out, said)
    assert b"goes on" in said and b"projections cancel safety" in said and b"Traceback" not in said
    assert projections(desk, "rebuild", "safety")["rebuilt"][0]["state"] in ("ready", "switched")


def test_what_was_concluded_is_recorded_once_though_the_recorder_was_killed(desk: Desk) -> None:
    ledger: Ledger = desk.ledger  # type: ignore[attr-defined]
    before = len(concluded(desk))
    with ledger.projector_database() as database:
        with database.connection() as conn:
            row = conn.execute("SELECT replay_id, number, idx FROM projection.replay_steps LIMIT 1").fetchone()
            assert row is not None
            conn.execute("UPDATE projection.replay_steps SET idx = NULL WHERE replay_id = %s", row[:1])
        outbox.flush(ledger)
        assert outbox.flush(ledger) == []
        with database.connection() as conn:
            again = conn.execute(
                "SELECT idx FROM projection.replay_steps WHERE replay_id = %s AND number = %s", row[:2]
            ).fetchone()
            assert conn.execute(SQL["waiting_steps"]).fetchall() == []
    assert again == row[2:]
    assert len(concluded(desk)) == before


def test_a_step_that_is_another_s_words_is_not_recorded_and_holds_up_no_other(desk: Desk) -> None:
    """Whoever gets at the table of steps has the ledger state nothing about another replay, nor what is no step."""
    ledger: Ledger = desk.ledger  # type: ignore[attr-defined]
    for name in ("cohort", "outcomes"):
        if projections(desk, "rebuild", name)["rebuilt"][0]["state"] != "switched":  # something answered before
            projections(desk, "cancel", name)
    before = concluded(desk)
    sound = "SELECT replay_id FROM projection.replay_steps JOIN projection.replays USING (replay_id) WHERE name = %s"
    add = (
        "INSERT INTO projection.replay_steps (replay_id, number, step, report) "
        "SELECT %s, max(number) + 1, 'switched', %s FROM projection.replay_steps WHERE replay_id = %s"
    )
    with ledger.projector_database() as database, database.connection() as conn:
        (one,), (other,) = (conn.execute(sound, (name,)).fetchone() or () for name in ("cohort", "outcomes"))
        words = {"replay": str(other), "projection": "outcomes", "step": "switched", "by": "nobody"}
        for forged in (words, ["no report"], "words"):
            conn.execute(add, (one, Jsonb(forged), one))
            conn.execute(add, (other, Jsonb(words), other))
            try:
                with pytest.raises(ReplayNotRecorded, match="not about it"):
                    outbox.flush(ledger)
            finally:
                conn.execute("DELETE FROM projection.replay_steps WHERE idx IS NULL")
    assert concluded(desk) == [*before, *[("switched", "outcomes")] * 3]


def test_progress_without_a_terminal_is_plain_lines_and_with_json_one_object_a_line(desk: Desk) -> None:
    environment = {**os.environ, "TRIAL_LEDGER_HOME": str(desk.home)}
    command = [sys.executable, "-m", "api.cli", "projections", "rebuild", "cohort", "--study", STUDY]
    plain = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=True)
    assert "build cohort: " in plain.stderr.decode() and "cohort v1" in plain.stdout.decode()
    told = subprocess.run([*command, "--json"], env=environment, capture_output=True, timeout=120, check=True)
    lines = [json.loads(line) for line in told.stderr.decode().splitlines()]
    assert "plans" in lines[0]
    assert json.loads(told.stdout)["rebuilt"][0]["projection"] == "cohort"


def test_an_approval_needs_the_key_of_a_data_manager(desk: Desk, tmp_path: Path) -> None:
    assert "REPLAY-3" in projections(
        desk, "approve", "cohort", "--key", desk.folder / "dm.pem", "--reason", "none", status=REFUSED
    )


def test_code_that_was_changed_under_its_version_serves_follows_and_switches_nothing(desk: Desk) -> None:
    ledger: Ledger = desk.ledger  # type: ignore[attr-defined]
    changed = "UPDATE projection.definitions SET fingerprint = %s, parts = parts || %s WHERE fingerprint = %s"
    mine = next(model for model in known_models() if model.definition.name == "outcomes").fingerprint
    other = ("0" * 64, Jsonb({"handler": "of another release"}))
    with ledger.projector_database() as database, database.connection() as conn:
        projections(desk, "rebuild", "outcomes")
        conn.execute(changed, [*other, mine])
        try:
            for command in (
                ["serve", "--port", "0"],
                ["projections", "rebuild"],
                ["projections", "switch", "outcomes"],
            ):
                said = desk.run(*command, status=REFUSED)
                assert "outcomes version 1: handler" in said and "Raise its version" in said
            follower = subprocess.run(
                [sys.executable, "-m", "projections.engine.follow"],
                env={**os.environ, "TRIAL_LEDGER_PROJECTOR_URL": ledger.urls.projector},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert follower.returncode == 1 and b"outcomes version 1: handler" in follower.stderr
            assert projections(desk, "list")["projections"], "what stands where can still be seen"
        finally:
            conn.execute(changed, [mine, Jsonb({}), other[0]])


def test_whatever_the_server_meets_in_looking_after_the_others_it_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger: Ledger = desk.ledger  # type: ignore[attr-defined]
    met = []

    def never_thought_of(_: Ledger) -> None:
        met.append(1)
        raise TypeError("nobody thought of this")

    monkeypatch.setattr(outbox, "flush", never_thought_of)
    stop = threading.Event()
    watch = threading.Thread(target=_look_after, args=(ledger, stop))
    watch.start()
    try:
        wait_until(lambda: len(met) > 1 or not watch.is_alive(), "another look")
        assert watch.is_alive()
    finally:
        stop.set()
        watch.join()
