"""The demo's last chapter: its evidence verifies, and the copy that was tampered with does not."""

from __future__ import annotations

from pathlib import Path

from ledger.signing.statement import parse
from ledger.verify.bundle import open_bundle
from ledger.verify.procedure import verify
from projections.exports.recomputing import recompute_views
from tests.integration.demo.conftest import Played


def test_the_copy_is_caught_at_the_entry_that_was_changed(played: Played) -> None:
    shown = played.printed["evidence"]
    assert (shown["size"], shown["verified"]) == (played.printed["events"] - 1, True)
    changed = shown["tampered"]
    assert (changed["verified"], changed["check"]) == (False, "V7")
    assert "V7" in changed["failed"]
    entry = played.client.get(f"events/{changed['index']}")
    assert parse(entry["statement"], partial=True).content["analyte"] == "platelets"
    assert "index" in changed["because"]


def test_the_export_is_on_record_behind_the_course(played: Played) -> None:
    entry = played.client.get(f"events/{played.printed['evidence']['size']}")
    statement = parse(entry["statement"])
    assert (statement.event, statement.iss) == ("DataExported", "ledger")
    assert statement.body["digest"] == played.printed["evidence"]["sha256"]


def test_the_bundle_that_is_left_verifies_with_its_views(played: Played) -> None:
    bundle = Path(played.home) / "evidence.zip"
    with open_bundle(bundle) as opened:
        report = verify(opened, None, now=2_000_000_000, views=recompute_views, workers=1)
    assert not report.failed, report.text()
    assert report["V8"].outcome == "passed"
    assert not (Path(played.home) / "tampered-copy.zip").exists()
