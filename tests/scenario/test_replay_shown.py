"""A replay from end to end: its differences are shown, approved, certified, and forget what is redacted."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger.store.embedded import DatabaseUrls
from projections.definitions import known_models
from projections.engine import outbox, replay, switching
from projections.engine.definition import Row
from projections.engine.errors import ReplayNotThere
from projections.engine.replays import Replay
from projections.engine.runner import Runner
from projections.patient.definition import DEFINITION as PATIENT
from projections.reports import stories
from projections.reports.comparison import compared
from tests.conftest import urls_of
from tests.integration.projections.two_versions import release
from tests.scenario.fixtures import ledger_of
from tests.scenario.residue import residue_in_tables
from tests.scenario.simulator import Simulator, Told

NAME = "Wilhelmina Synthetic-Person"


def louder(state: Any, touched: Sequence[Any]) -> Iterator[Row]:
    """Version 1, with a name in capitals that nothing declares."""
    for table, values in PATIENT.changed(state, touched):
        yield table, tuple(one.replace(NAME, NAME.upper()) if isinstance(one, str) else one for one in values)


SECOND = replace(PATIENT, version=2, changed=louder)


@pytest.fixture
def named(trial: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """A screening whose comment holds a name, in a release that has both versions of the patient projection; what was
    replayed is given up afterwards, for the checker knows one version."""
    told = trial.screen(trial.subject("001"), comment=f"called herself {NAME}")
    follow(trial)
    release(monkeypatch, SECOND, PATIENT)
    yield told
    with ledger_of(trial).projector_database() as database, contextlib.suppress(ReplayNotThere):
        switching.cancel(database, trial.plan.study, "patient", "synthetic data manager", "the test is over")


def follow(trial: Simulator) -> None:
    """The projections take in what is signed, in all their versions."""
    with ledger_of(trial).projector_database() as database:
        Runner(database, known_models()).catch_up()


def replayed(trial: Simulator) -> Replay:
    """Version 2 of the patient projection, built and compared, on record."""
    with ledger_of(trial).projector_database() as database:
        (made,) = replay.rebuild(
            database, trial.plan.study, ["patient"], replay.Terms(by="synthetic data manager", reason="louder names")
        )
    outbox.flush(ledger_of(trial))
    return made


def run(trial: Simulator, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command about projections, by a release that has version 1 alone."""
    ledger = ledger_of(trial)
    own = {
        "TRIAL_LEDGER_HOME": str(ledger.home.path),
        "TRIAL_LEDGER_DATABASE_URL": ledger.urls.app,
        "TRIAL_LEDGER_PROJECTOR_URL": ledger.urls.projector,
    }
    command = [sys.executable, "-m", "api.cli", "projections", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **own}, timeout=120, check=False)


def test_the_difference_is_found_by_its_path_and_waits_for_a_person(trial: Simulator, named: Told) -> None:
    made = replayed(trial)
    assert made.state == "awaiting approval"
    done = run(trial, "diff", "patient")
    assert done.returncode == 0, done.stderr
    assert "record.content.comment" in done.stdout
    assert "UNEXPLAINED" in done.stdout
    assert NAME not in json.dumps(made.report)
    lines = list(csv.DictReader(io.StringIO(run(trial, "diff", "patient", "--format", "csv").stdout)))
    assert {(line["column"], line["path"], line["intended"]) for line in lines} == {
        ("record.content.comment", "record.content.comment", "false")
    }
    assert NAME.upper() in lines[0]["after"]


def test_it_is_told_at_which_event_the_value_came_to_be_so(trial: Simulator, named: Told) -> None:
    replayed(trial)
    with ledger_of(trial).database.snapshot() as conn:
        found = compared(conn, trial.plan.study, "patient", subject="001")
        (story,) = stories.stories(conn, found)
    for half in (story.before, story.after):
        assert half.note is None
        assert (half.because or {})["record.content.comment"].index == named.index
    done = run(trial, "diff", "patient", "--subject", "001", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["before"]["because"] == {"record.content.comment": named.index}
    assert row["after"]["note"] == stories.NO_CODE


def test_pages_and_files_are_written_for_their_owner_alone(trial: Simulator, named: Told, tmp_path: Path) -> None:
    replayed(trial)
    (out := tmp_path / "out").mkdir()
    for form in ("html", "json", "csv", "text"):
        done = run(trial, "diff", "patient", "--format", form, "--output", str(out / form))
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert oct((out / form).stat().st_mode)[-3:] == "600"
        assert NAME in (out / form).read_text()
    assert "<!doctype html>" in (out / "html").read_text()
    assert sorted(path.name for path in out.iterdir()) == ["csv", "html", "json", "text"]
    nowhere = run(trial, "diff", "patient", "--output", str(out / "missing" / "file"))
    assert (nowhere.returncode, "cannot be written" in nowhere.stderr) == (64, True)


def test_the_certificate_says_what_is_missing_until_it_was_approved_and_switched(trial: Simulator, named: Told) -> None:
    made = replayed(trial)
    done = run(trial, "certificate", "patient", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "incomplete"
    assert found["compared"]["report_digest"] == made.report_digest
    assert [one["by"] for one in found["steps"]] == ["synthetic data manager"]
    assert "no approval" in run(trial, "certificate", "patient").stdout
    assert NAME not in done.stdout
    html = run(trial, "certificate", "patient", "--format", "html")
    assert html.stdout.count("<!doctype html>") == 1


NOWHERE = "00000000-0000-4000-8000-000000000001"
REFUSED = (
    (("diff", "cohort", "--replay", NOWHERE), 1, "REPLAY-21"),
    (("diff", "patient", "--replay", "x"), 1, "REPLAY-21"),
    (("diff", "nothing"), 64, "there is no projection"),
    (("diff", "patient", "--table", "records"), 64, "--subject"),
    (("diff", "patient", "--study", "NO-STUDY"), 1, "READ-1"),
    (("certificate", "cohort", "--replay", NOWHERE), 1, "REPLAY-22"),
    (("certificate", "patient", "--study", "NO-STUDY"), 1, "READ-1"),
    (("digest", "nothing"), 64, "there is no projection"),
    (("digest", "patient", "--study", "NO-STUDY"), 1, "READ-1"),
)


def test_what_cannot_be_shown_is_said_without_a_trace(trial: Simulator, named: Told) -> None:
    for arguments, status, said in REFUSED:
        done = run(trial, *arguments)
        assert (done.returncode, done.stdout) == (status, ""), arguments
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_the_digest_states_what_it_is_of_and_does_not_depend_on_the_process(trial: Simulator, named: Told) -> None:
    done = run(trial, "digest", "patient", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["size"] == named.index + 1
    assert (found["redactions"], found["subjects"], found["version"]) == (0, 1, 1)
    assert len(found["partitions"]) == found["subjects"]
    for text in (found["digest"], found["fingerprint"], found["root"]):
        assert text in run(trial, "digest", "patient").stdout


@pytest.fixture
def admin_url(trial: Simulator, embedded_server: DatabaseUrls) -> str:
    """The trial's database for a superuser."""
    database = psycopg.conninfo.conninfo_to_dict(ledger_of(trial).urls.app)["dbname"]
    return urls_of(embedded_server, str(database)).admin


def test_nothing_of_a_redacted_value_remains_in_the_differences(trial: Simulator, named: Told, admin_url: str) -> None:
    made = replayed(trial)
    places = residue_in_tables(admin_url, NAME)
    assert f"{made.target.schema}._differences.before" in places
    trial.redact({named: ["comment"]})
    assert NAME not in run(trial, "diff", "patient", "--format", "json").stdout
    refused = run(trial, "diff", "patient", "--subject", "001")
    assert (refused.returncode, "READ-12" in refused.stderr) == (2, True)
    follow(trial)
    ledger_of(trial).settle_redactions([model.fingerprint for model in known_models()])
    for spelling in (NAME, NAME.upper()):
        assert residue_in_tables(admin_url, spelling) == []
    done = run(trial, "diff", "patient")
    assert "0 are kept" in done.stdout
    assert "state digests" in done.stdout
