"""What the ledger exports, verified as an inspector would: from the file alone, against a policy kept beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.merkle.policy import Policy
from ledger.verify import command
from ledger.verify.bundle import POLICY, open_bundle
from tests.integration.exports.bundles import exported, follow
from tests.scenario.simulator import Simulator
from tests.unit.verify.study import repack


@pytest.fixture
def bundle(trial: Simulator, tmp_path: Path) -> Path:
    """Two subjects were screened and have results; everything was exported."""
    for number in ("001", "002"):
        subject = trial.subject(number)
        trial.screen(subject)
        trial.result(subject, "platelets", "12", "10*9/L")
    follow(trial)
    exported(trial, tmp_path / "evidence.zip")
    return tmp_path / "evidence.zip"


def status(*arguments: object) -> int:
    try:
        return command.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def test_an_exported_bundle_is_verified_against_a_policy_kept_elsewhere(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_bundle(bundle) as opened:
        assert opened.plain and opened.ordered
        kept = Policy.parse(opened.read(POLICY))
    (tmp_path / "policy.txt").write_text(str(kept))
    assert status(bundle, "--policy", tmp_path / "policy.txt", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["facts"]["policy"] == "given by whoever verifies" and found["policy_keys"] == []
    assert {check["outcome"] for check in found["checks"][:7]} == {"passed"}
    assert all(not check["notes"] for check in found["checks"] if check["check"] in ("V1", "V2", "V7"))


def test_a_bundle_about_one_subject_withholds_the_other_and_is_verified(
    bundle: Path, trial: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(trial, tmp_path / "one.zip", subject="001")
    assert status(tmp_path / "one.zip") == 0
    said = capsys.readouterr().out
    assert "other subject" in said and "0 are lost" in said
    assert status(tmp_path / "one.zip", "--require", "V8") == 2


def test_a_field_taken_out_of_an_exported_bundle_is_an_unauthorised_loss(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_bundle(bundle) as opened:
        path = next(name for name in opened.members if name.startswith("disclosures/"))
        *kept, last = opened.read(path).splitlines(keepends=True)
    index = json.loads(last)["index"]
    repack(bundle, {path: b"".join(kept)})
    assert status(bundle, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    failed = {check["check"]: check for check in found["checks"] if check["outcome"] == "failed"}
    assert set(failed) == {"V7"} and failed["V7"]["first_bad_index"] == index
