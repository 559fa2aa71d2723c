"""A redaction that takes effect while an export is made: what it names does not leave with the export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from projections.exports import cut, evidence
from projections.exports.cut import WantedCut, export_cut
from projections.exports.refusals import RedactedMeanwhile
from tests.integration.exports.bundles import exported, follow
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator

NAME = "Wilhelmina Synthetic-Person"


@pytest.mark.parametrize("kind", ["evidence", "cut"])
@pytest.mark.parametrize("when", ["before it is on record", "while it goes on record"])
def test_what_is_redacted_while_an_export_is_made_is_not_handed_out(
    trial: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, when: str
) -> None:
    named = trial.screen(trial.subject("001"), comment=f"her name is {NAME}")
    follow(trial)
    module: Any = evidence if kind == "evidence" else cut
    original = {"_make": module._make, "record_export": module.record_export}
    step = "_make" if when == "before it is on record" else "record_export"

    def redacting(*given: Any, **more: Any) -> Any:
        made = original[step](*given, **more)
        trial.later(seconds=1)
        trial.redact({named: ["comment"]})
        return made

    def made(path: Path) -> None:
        if kind == "evidence":
            exported(trial, path)
        else:
            export_cut(ledger_of(trial), WantedCut(trial.plan.study), path)
            trial.later(seconds=1)

    monkeypatch.setattr(module, step, redacting)
    with pytest.raises(RedactedMeanwhile):
        made(tmp_path / "a.zip")
    trial.later(seconds=1)
    assert list(tmp_path.glob("*.zip")) == [] and list(tmp_path.glob(".*")) == []
    monkeypatch.undo()
    follow(trial)
    made(tmp_path / "a.zip")
    assert (tmp_path / "a.zip").exists()
