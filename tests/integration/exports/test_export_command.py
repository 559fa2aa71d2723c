"""`trial-ledger export evidence`: the same bytes from any process, and plain words where it cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.exports.bundles import digest_in, digest_of, exported, names
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator

REFUSED, USAGE = 1, 64
SMALL_VOLUME = "size=256k,mode=700"


def run(sim: Simulator, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command that exports evidence."""
    return run_export(sim, "evidence", *arguments, **environment)


def run_export(sim: Simulator, what: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Another export."""
    return run_command(sim, ("export", what), *arguments, **environment)


def run_command(
    sim: Simulator, names: tuple[str, ...], *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, on the trial's ledger."""
    ledger = ledger_of(sim)
    own = {
        "TRIAL_LEDGER_HOME": str(ledger.home.path),
        "TRIAL_LEDGER_DATABASE_URL": ledger.urls.app,
        "TRIAL_LEDGER_PROJECTOR_URL": ledger.urls.projector,
    }
    command = [sys.executable, "-m", "api.cli", *names, "--study", sim.plan.study, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **own, **environment}, timeout=120, check=False
    )


def test_another_process_in_another_time_zone_makes_the_same_bytes(trial: Simulator, tmp_path: Path) -> None:
    trial.screen(trial.subject("001"))
    first = exported(trial, tmp_path / "first.zip")
    size = str(first.facts.checkpoint.size)
    for number, (zone, seed, language) in enumerate((("Asia/Kolkata", "1", "C"), ("America/St_Johns", "2", "de_DE"))):
        again = tmp_path / f"{number}.zip"
        options = ("--checkpoint", size, "--output", str(again), "--json")
        done = run(trial, *options, TZ=zone, PYTHONHASHSEED=seed, LC_ALL=language)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert digest_in(told["sha256"]) == digest_of(again) == digest_of(tmp_path / "first.zip")
        assert (told["repeats_index"], told["same_bytes"]) == (first.index, True)


def test_the_entry_of_the_export_itself_is_written_as_a_line_of_the_feed(trial: Simulator, tmp_path: Path) -> None:
    line = tmp_path / "own.ndjson"
    done = run(trial, "--output", str(tmp_path / "a.zip"), "--entry", str(line), "--json")
    assert done.returncode == 0, done.stderr
    told, entry = json.loads(done.stdout), json.loads(line.read_text())
    assert (entry["index"], entry["event"]) == (told["recorded_at_index"], "DataExported")
    assert entry == ledger_of(trial).entry(trial.plan.study, entry["index"]).as_dict()
    gone = run(trial, "--output", str(tmp_path / "b.zip"), "--entry", str(tmp_path / "no" / "folder"))
    assert gone.returncode == 0 and "cannot be written" in gone.stderr, "the bundle is complete all the same"


def test_it_says_in_words_what_was_handed_out(trial: Simulator, tmp_path: Path) -> None:
    trial.screen(trial.subject("001"))
    done = run(trial, "--output", str(tmp_path / "a.zip"), "--subject", "001", "--taken-by", "synthetic inspector")
    assert done.returncode == 0, done.stderr
    assert "Recorded as DataExported at index" in done.stdout
    assert "Only the content of subject/" in done.stdout
    assert oct((tmp_path / "a.zip").stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize(
    ("options", "said", "status"),
    [
        (("--subject", "nobody"), "READ-6", REFUSED),
        (("--checkpoint", "3"), "EXPORT-1", REFUSED),
        (("--checkpoint", "0"), "checkpoint", USAGE),
        (("--as-of", "tomorrow"), "READ-5", REFUSED),
    ],
)
def test_what_cannot_be_is_told_without_a_trace(
    trial: Simulator, tmp_path: Path, options: tuple[str, ...], said: str, status: int
) -> None:
    done = run(trial, "--output", str(tmp_path / "a.zip"), *options)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a.zip").exists()


def test_an_existing_file_is_left_alone(trial: Simulator, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("mine")
    done = run(trial, "--output", str(tmp_path / "a.zip"))
    assert done.returncode == REFUSED
    assert "EXPORT-2" in done.stderr and "--force" in done.stderr
    assert (tmp_path / "a.zip").read_text() == "mine"


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with less room than a bundle needs."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small volume")
    volume = tmp_path / "volume"
    volume.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", SMALL_VOLUME, "tmpfs", str(volume)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield volume
    subprocess.run(["umount", str(volume)], check=True)


def test_a_full_disk_is_told_and_leaves_nothing_behind(trial: Simulator, small_volume: Path) -> None:
    events = len(list(trial.door.entries()))
    done = run(trial, "--output", str(small_volume / "a.zip"))
    assert "EXPORT-3" in done.stderr and "full" in done.stderr, done.stderr
    assert done.returncode == 2
    assert list(small_volume.iterdir()) == []
    assert len(list(trial.door.entries())) == events, "what was not handed out is not on record"


def test_a_bundle_is_readable_by_any_zip_reader(trial: Simulator, tmp_path: Path) -> None:
    done = run(trial, "--output", str(tmp_path / "a.zip"))
    assert done.returncode == 0, done.stderr
    assert "log/checkpoint" in names(tmp_path / "a.zip")
