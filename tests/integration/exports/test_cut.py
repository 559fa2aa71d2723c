"""A materialised cut: the same bytes whenever and wherever it is made, and words for what changes them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ledger.domain.refusals import Refusal
from projections.definitions import DEFINITIONS
from projections.engine import digest as digests
from projections.exports import cut_rows
from projections.exports.cut import ExportedCut, WantedCut, export_cut
from tests.integration.exports.bundles import digest_in, digest_of, follow
from tests.integration.exports.test_export_command import run_export
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator


def cut(sim: Simulator, output: Path, **wanted: str) -> ExportedCut:
    """Export a cut of the trial."""
    return export_cut(ledger_of(sim), WantedCut(sim.plan.study, **wanted), output)


def manifest(path: Path) -> dict[str, Any]:
    """A cut's manifest."""
    with zipfile.ZipFile(path) as found:
        read: dict[str, Any] = json.loads(found.read("MANIFEST.json"))
        return read


def rows(path: Path, projection: str, table: str) -> list[dict[str, Any]]:
    """The rows of a table."""
    with zipfile.ZipFile(path) as found:
        return [json.loads(line) for line in found.read(f"projections/{projection}/{table}.ndjson").splitlines()]


def treated(sim: Simulator) -> Any:
    """A course with a correction and a void in it."""
    sim.open_cohort("LOW")
    ada = sim.admit(sim.subject("001"), "LOW")
    event = sim.adverse_event(ada, "quartan ague", 2)
    sim.correct(event, "grade", 1)
    sim.void(sim.result(ada, "FERR", "50", "ug/L"))
    return ada, event


def test_rows_that_are_shown_and_rows_that_are_folded_give_the_same_bytes(trial: Simulator, tmp_path: Path) -> None:
    treated(trial)
    folded = cut(trial, tmp_path / "folded.zip")
    size = str(folded.manifest["size"])
    later = tmp_path / "later.zip"
    follow(trial)
    trial.screen(trial.subject("002"))
    shown = cut(trial, tmp_path / "unlike.zip")
    assert shown.digest != folded.digest
    assert cut(trial, later, as_of=size).digest == folded.digest
    follow(trial)
    newest = cut(trial, tmp_path / "shown.zip")
    position = str(newest.manifest["size"])
    assert digest_of(tmp_path / "shown.zip") != digest_of(later)
    again = cut(trial, tmp_path / "again.zip", as_of=position)
    assert (again.digest, again.repeats, again.same) == (newest.digest, newest.index, True)


def test_the_newest_state_is_written_from_the_rows_and_earlier_ones_from_the_log(
    trial: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    treated(trial)
    follow(trial)
    ways: list[str] = []
    for name in ("_write_shown", "_fold_chunk"):
        original = getattr(cut_rows, name)
        monkeypatch.setattr(
            cut_rows, name, lambda *given, name=name, original=original: (ways.append(name), original(*given))[1]
        )
    first = cut(trial, tmp_path / "1.zip")
    assert set(ways) == {"_write_shown"}
    ways.clear()
    monkeypatch.setattr(cut_rows, "EVENTS_AT_ONCE", 7)
    second = cut(trial, tmp_path / "2.zip", as_of=str(first.manifest["size"]))
    assert set(ways) == {"_fold_chunk"}
    assert digest_of(tmp_path / "1.zip") == digest_of(tmp_path / "2.zip")
    assert second.same


def test_later_corrections_do_not_change_the_bytes_of_an_earlier_cut(trial: Simulator, tmp_path: Path) -> None:
    ada, event = treated(trial)
    first = cut(trial, tmp_path / "1.zip")
    size = str(first.manifest["size"])
    trial.correct(event, "grade", 3, "graded by the other scale")
    trial.void(event)
    trial.adverse_event(ada, "cough", 1)
    assert cut(trial, tmp_path / "2.zip", as_of=size).digest == first.digest
    moment = trial.clock().isoformat()
    assert cut(trial, tmp_path / "3.zip", as_of=moment).digest != first.digest


def test_another_process_makes_the_same_bytes(trial: Simulator, tmp_path: Path) -> None:
    treated(trial)
    first = cut(trial, tmp_path / "1.zip")
    options = ("--as-of", str(first.manifest["size"]), "--output", str(tmp_path / "2.zip"), "--json")
    done = run_export(trial, "cut", *options, TZ="Asia/Kolkata", PYTHONHASHSEED="7", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert digest_in(told["sha256"]) == digest_of(tmp_path / "2.zip") == digest_of(tmp_path / "1.zip")
    assert (told["repeats_index"], told["same_bytes"]) == (first.index, True)
    again = run_export(trial, "cut", *options)
    assert again.returncode == 1 and "EXPORT-2" in again.stderr


def test_a_redaction_changes_the_bytes_and_the_manifest_says_so(trial: Simulator, tmp_path: Path) -> None:
    _, event = treated(trial)
    first = cut(trial, tmp_path / "1.zip")
    size = str(first.manifest["size"])
    trial.redact({event: ["term"]})
    second = cut(trial, tmp_path / "2.zip", as_of=size)
    assert second.digest != first.digest and second.same is False
    assert (first.manifest["redacted_disclosures"], second.manifest["redacted_disclosures"]) == (0, 1)
    assert b"quartan" in (tmp_path / "1.zip").read_bytes()
    assert b"quartan" not in (tmp_path / "2.zip").read_bytes()
    assert cut(trial, tmp_path / "3.zip", as_of=size).digest == second.digest


def test_the_manifest_states_every_file_and_digest(trial: Simulator, tmp_path: Path) -> None:
    treated(trial)
    made = cut(trial, tmp_path / "1.zip")
    told = manifest(tmp_path / "1.zip")
    assert told == made.manifest
    with zipfile.ZipFile(tmp_path / "1.zip") as found:
        names = found.namelist()
        assert names == ["README.txt", "MANIFEST.json", *(one["path"] for one in told["files"])]
        for one in told["files"]:
            content = found.read(one["path"])
            assert (len(content), hashlib.sha256(content).hexdigest()) == (one["size"], one["sha256"])
        assert {info.compress_type for info in found.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in found.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    for definition in DEFINITIONS:
        stated = told["projections"][definition.name]
        own = []
        for table in definition.tables:
            for row in rows(tmp_path / "1.zip", definition.name, table.name):
                partition, *values = row.values()
                own.append((table.name, partition, values))
        assert (digests.of_rows(definition, own).root, len(own)) == (stated["digest"], stated["rows"])


def test_long_tables_go_into_several_files(trial: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    treated(trial)
    whole = cut(trial, tmp_path / "1.zip")
    monkeypatch.setattr(cut_rows, "PART_BYTES", 4_000)
    parts = cut(trial, tmp_path / "2.zip", as_of=str(whole.manifest["size"]))
    files = parts.manifest["projections"]["patient"]["tables"]["records"]["files"]
    assert files[:2] == ["projections/patient/records.ndjson", "projections/patient/records-2.ndjson"]
    with zipfile.ZipFile(tmp_path / "1.zip") as one, zipfile.ZipFile(tmp_path / "2.zip") as several:
        assert b"".join(several.read(name) for name in files) == one.read(files[0])


def test_as_it_happened_holds_what_had_happened(trial: Simulator, tmp_path: Path) -> None:
    ada, _ = treated(trial)
    then = trial.clock().date().isoformat()
    trial.later(days=30)
    late = trial.adverse_event(ada, "cough", 1, occurred_at=then, started_at=then)
    trial.adverse_event(ada, "rash", 1)
    made = cut(trial, tmp_path / "1.zip", occurred_by=then)
    assert (made.manifest["occurred_by"], made.manifest["uncertain"]) == (then, 0)
    kept = [row["idx"] for row in rows(tmp_path / "1.zip", "safety", "records")]
    assert late.index in kept and late.index + 1 not in kept
    trail = [row["idx"] for row in rows(tmp_path / "1.zip", "audit_trail", "entries")]
    assert late.index in trail and late.index + 1 not in trail
    assert cut(trial, tmp_path / "2.zip").digest != made.digest
    size = str(made.manifest["size"])
    assert cut(trial, tmp_path / "3.zip", as_of=size, occurred_by=then).digest == made.digest


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        ({"as_of": "100000"}, "READ-3"),
        ({"as_of": "tomorrow"}, "READ-5"),
        ({"occurred_by": "7"}, "READ-5"),
        ({"occurred_by": "2026-03-04T10:00"}, "READ-5"),
        ({"occurred_by": "9999-01-01"}, "READ-14"),
        ({"as_of": "2", "occurred_by": "2026-12-01"}, "READ-14"),
    ],
)
def test_what_cannot_be_is_refused_without_a_trace(
    trial: Simulator, tmp_path: Path, wanted: dict[str, str], rule: str
) -> None:
    before = trial.door.cut().size
    with pytest.raises(Refusal) as refused:
        cut(trial, tmp_path / "1.zip", **wanted)
    assert refused.value.rule == rule
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []
    assert trial.door.cut().size == before


def test_each_export_is_recorded_with_its_digest(trial: Simulator, tmp_path: Path) -> None:
    made = export_cut(
        ledger_of(trial), WantedCut(trial.plan.study), tmp_path / "1.zip", taken_by="synthetic statistician"
    )
    entry = ledger_of(trial).entry(trial.plan.study, made.index)
    body = entry.statement.body
    assert (body["what"], body["digest"], body["as_of"]) == (
        "cut of the projections",
        made.digest,
        made.manifest["size"],
    )
    assert body["taken_by"] == "synthetic statistician"
    assert digest_in(made.digest) == digest_of(tmp_path / "1.zip")
