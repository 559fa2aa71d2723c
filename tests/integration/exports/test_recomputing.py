"""V8: what a bundle shows is what its entries give, and whatever differs is found and named."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.store import statements
from ledger.verify.attached import ViewFinding, logged
from ledger.verify.bundle import open_bundle, write_zip
from ledger.verify.procedure import verify
from projections.definitions import NAMES
from projections.exports import recomputing
from projections.exports.recomputing import BundleSource, recompute_views
from tests.integration.exports.bundles import exported, follow
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator

Edit = Callable[[str], str]


@pytest.fixture
def bundle(trial: Simulator, tmp_path: Path) -> Path:
    """A bundle of a trial with two subjects, a correction and a void."""
    ann, bob = trial.subject("001"), trial.subject("002")
    screened = trial.screen(ann)
    trial.screen(bob)
    trial.correct(screened, "birth_date", "1981-01-02")
    wrong = trial.result(bob, "platelets", "12", "10*9/L")
    trial.void(wrong)
    follow(trial)
    exported(trial, tmp_path / "a.zip")
    return tmp_path / "a.zip"


def found(path: Path) -> dict[str, ViewFinding]:
    """What recomputing the views of a bundle gives, by name."""
    with open_bundle(path) as opened:
        return {one.name: one for one in recompute_views(opened, lambda size: logged(opened, size))}


def edited(bundle: Path, name: str, edit: Edit) -> Path:
    """A copy of a bundle with one member changed and nothing else."""
    copy = bundle.with_name("edited.zip")
    with zipfile.ZipFile(bundle) as opened:
        members = {one: opened.read(one) for one in opened.namelist()}
    changed = edit(members[name].decode())
    assert changed.encode() != members[name], "the edit changes nothing"
    write_zip(copy, [(one, changed.encode() if one == name else data) for one, data in members.items()])
    return copy


def line_with(text: str, part: str) -> str:
    """The first row of a projection that says something."""
    return next(line for line in text.splitlines() if part in line and line.startswith("["))


def test_an_untouched_bundle_passes_view_by_view(bundle: Path) -> None:
    assert {name: one.outcome for name, one in found(bundle).items()} == dict.fromkeys(NAMES, "passed")


def test_the_whole_procedure_passes_with_the_views_recomputed(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        report = verify(opened, None, now=int(time.time()), views=recompute_views)
    assert not report.failed
    assert report["V8"].outcome == "passed"


def test_an_earlier_position_and_rows_folded_at_export_pass_too(trial: Simulator, bundle: Path, tmp_path: Path) -> None:
    exported(trial, tmp_path / "b.zip", as_of="60")
    assert {one.outcome for one in found(tmp_path / "b.zip").values()} == {"passed"}


def test_few_events_at_a_time_give_the_same(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BundleSource, "at_once", 3)
    assert {one.outcome for one in found(bundle).values()} == {"passed"}


def test_what_was_redacted_is_recomputed_without_it(doomed_trial: Simulator, tmp_path: Path) -> None:
    """The same index with the same disclosures missing gives the same rows."""
    index = doomed_trial.screen(doomed_trial.subject("001")).index
    with ledger_of(doomed_trial).database.connection() as connection:
        (row,) = statements.select_events(connection, doomed_trial.plan.study, index, index + 1, 1)
        statements.redact(connection, doomed_trial.plan.study, index, row.disclosures[1:])
    exported(doomed_trial, tmp_path / "a.zip")
    assert {one.outcome for one in found(tmp_path / "a.zip").values()} == {"passed"}


@pytest.mark.parametrize(
    ("name", "edit", "said"),
    [
        ("patient", lambda text: text.replace("1981-01-02", "1971-01-02"), "it shows record = "),
        ("patient", lambda text: text.replace(line_with(text, '"LabResultReported"') + "\n", ""), "is missing"),
        (
            "patient",
            lambda text: text.replace(line_with(text, '"002"'), line_with(text, '"002"').replace('"002"', '"003"', 1)),
            'it shows name = "003", and the entries give "002"',
        ),
        (
            "audit_trail",
            lambda text: text.replace(
                '"entries":[\n', '"entries":[\n' + line_with(text, "SubjectScreened").rstrip(",") + ",\n"
            ),
            "the row of 'entries'",
        ),
        ("audit_trail", lambda text: text.replace('"points"]', '"points","more"]'), "first line"),
        ("safety", lambda text: text.replace('"size":', '"size":1'), "the manifest says"),
        ("safety", lambda text: text.replace('"version":1', '"version":"1"'), "does not say what it is"),
        ("safety", lambda text: "", "does not say what it is"),
        ("cohort", lambda text: text[:-70] + "0" * 64 + text[-6:], "digest"),
        ("cohort", lambda text: text.replace('"rows":', '"rows": '), "digest"),
        ("outcomes", lambda text: text[: len(text) // 2], ""),
        ("outcomes", lambda text: text + "{}\n", ""),
        ("schedule", lambda text: text.replace('","', '", "'), ""),
    ],
)
def test_whatever_is_changed_in_a_view_is_found(bundle: Path, name: str, edit: Edit, said: str) -> None:
    one = found(edited(bundle, f"projections/{name}.json", edit))
    assert one[name].outcome == "failed"
    assert said in one[name].because
    assert {other.outcome for other in one.values() if other.name != name} == {"passed"}


def test_the_index_of_the_row_is_named(bundle: Path) -> None:
    def edit(text: str) -> str:
        return text.replace("1981-01-02", "1971-01-02")

    changed = found(edited(bundle, "projections/audit_trail.json", edit))["audit_trail"]
    with open_bundle(bundle) as opened:
        entries = {entry.index: entry for entry in logged(opened, 10_000)}
    assert changed.index is not None
    assert any("MTk4MS0wMS0wMi" in d or "1981" in _decoded(d) for d in entries[changed.index].disclosures)


def _decoded(disclosure: str) -> str:
    from base64 import urlsafe_b64decode

    return urlsafe_b64decode(disclosure + "==").decode()


def test_a_view_of_another_version_is_not_decided(bundle: Path) -> None:
    def edit(text: str) -> str:
        return text.replace('"version":1', '"version":99', 1)

    one = found(edited(bundle, "projections/patient.json", edit))["patient"]
    assert one.outcome == "undecided"
    assert "version 99" in one.because


def test_the_same_rows_by_another_release_pass_and_say_so(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as opened:
        held: Any = json.loads(opened.read("projections/patient.json"))

    def edit(text: str) -> str:
        return text.replace(held["fingerprint"], "0" * 64)

    one = found(edited(bundle, "projections/patient.json", edit))["patient"]
    assert one.outcome == "passed"
    assert "another release" in one.because


def test_a_view_that_this_release_does_not_have_is_not_decided(bundle: Path) -> None:
    copy = bundle.with_name("more.zip")
    with zipfile.ZipFile(bundle) as opened:
        members = [(one, opened.read(one)) for one in opened.namelist()]
    write_zip(copy, [*members, ("projections/unheard.json", b"{}\n")])
    assert found(copy)["unheard"].outcome == "undecided"


def test_a_view_that_was_left_out_is_named(bundle: Path) -> None:
    left_out = bundle.with_name("fewer.zip")
    with zipfile.ZipFile(bundle) as opened:
        kept = [one for one in opened.namelist() if one != "projections/safety.json"]
        write_zip(left_out, [(one, opened.read(one)) for one in kept])
    with open_bundle(left_out) as opened_again:
        check = verify(opened_again, None, now=int(time.time()), views=recompute_views)["V8"]
    assert check.outcome == "passed"
    assert [note for note in check.notes if note.startswith("safety: ") and "left out" in note] == check.notes
    with open_bundle(bundle) as whole:
        assert not verify(whole, None, now=int(time.time()), views=recompute_views)["V8"].notes


def test_an_entry_that_cannot_be_folded_leaves_the_views_undecided(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_bundle(bundle) as opened:

        def entries(size: int) -> Any:
            for entry in logged(opened, size):
                yield replace(entry, disclosures=("AAAA",)) if entry.index == 5 else entry

        findings = list(recomputing.recompute_views(opened, entries))
    assert {one.outcome for one in findings} == {"undecided"}
    assert {one.index for one in findings} == {5}


def test_a_position_beyond_the_log_fails(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        findings = list(recompute_views(opened, lambda size: logged(opened, size - 1)))
    assert {one.outcome for one in findings} == {"failed"}
