"""As a PostgreSQL superuser with triggers disabled: every attack is caught, and the report says where and what.

Each row of `TABLE` says what was done (the attack's docstring), what the honest ledger says before it exports
anything, and which checks of the bundle catch it, at which index, in which words. Where the ledger itself refuses to
export, the bundle is that of a dishonest exporter, who writes out what the database holds and signs the manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.application import Ledger
from ledger.domain.refusals import Refusal
from ledger.merkle.policy import Policy
from ledger.verify.bundle import open_bundle
from ledger.verify.procedure import verify
from ledger.verify.report import VerificationReport
from projections.exports.evidence import Wanted, export_evidence
from projections.exports.gathering import patient_snapshot, settle, write_bundle
from projections.exports.recomputing import recompute_views
from tests.tamper import attacks
from tests.tamper.conftest import Scene

HERE = object()
"""The first bad index is the one that the attack names."""


@dataclass(frozen=True)
class Row:
    """One attack. `refused`: rule and words of the honest export, None where it exports; `caught`: check to first bad
    index (None: any) and words; `witnessed`: verified with the policy of an inspector who asks for the witness."""

    attack: Callable[[Scene], int | None]
    caught: dict[str, tuple[object, str]]
    refused: tuple[str, str] | None = None
    witnessed: bool = False
    passes: tuple[str, ...] = field(default=())


TABLE = (
    Row(
        attacks.flip_a_byte_of_a_statement,
        {
            "V2": (HERE, "the hash of the entry is not the one in log/tile/0/"),
            "V5": (HERE, "the signature is not one by the key"),
        },
    ),
    Row(
        attacks.flip_a_byte_of_a_signature,
        {
            "V2": (HERE, "the hash of the entry is not the one in log/tile/0/"),
            "V3": (None, "has another root than these entries"),
            "V5": (HERE, "the signature is not one by the key"),
        },
    ),
    Row(attacks.alter_a_disclosure, {"V7": (HERE, "DISCLOSURE-5")}, passes=("V2", "V3", "V5")),
    Row(attacks.take_a_disclosure_away, {"V7": (HERE, "unauthorised loss")}, passes=("V2", "V3", "V5")),
    Row(attacks.redact_alone, {"V7": (HERE, "unauthorised loss")}),
    Row(attacks.swap_the_content_of_two_results, {"V7": (HERE, "DISCLOSURE-5")}, passes=("V2", "V3", "V5")),
    Row(attacks.invent_a_redaction, {"V7": (HERE, "unauthorised loss")}, passes=("V2", "V3", "V5")),
    Row(attacks.alter_a_leaf_hash, {"V2": (HERE, "the hash of the entry is not the one in")}),
    Row(
        attacks.alter_a_time,
        {"V2": (HERE, "the hash of the entry is not the one in log/tile/0/"), "V3": (None, "another root")},
        passes=("V5",),
    ),
    Row(attacks.delete_an_entry, {}, ("EXPORT-5", "is missing")),
    Row(
        attacks.delete_an_entry_and_close_the_gap,
        {},
        ("EXPORT-6", "were signed"),
    ),
    Row(
        attacks.swap_two_entries,
        {"V2": (None, "the root over these entries is not the one"), "V3": (None, "another root")},
    ),
    Row(attacks.swap_two_entries_and_rehash, {"V2": (None, "root")}, ("EXPORT-6", "another root")),
    Row(
        attacks.truncate_the_tail, {"V1": (None, "site has not cosigned")}, ("EXPORT-6", "were signed"), witnessed=True
    ),
    Row(
        attacks.append_a_forged_entry, {"V5": (HERE, "the signature is not one by the key")}, passes=("V1", "V2", "V3")
    ),
    Row(attacks.append_an_entry_by_an_unknown_key, {"V5": (HERE, "is not enrolled in this study")}),
    Row(attacks.append_an_entry_of_another_study, {"V5": (HERE, "AUTHORITY-1")}),
    Row(attacks.repeat_an_entry, {"V5": (HERE, "was used at index")}),
    Row(attacks.grant_oneself_a_role, {"V5": (HERE, "AUTHORITY")}),
    Row(
        attacks.alter_a_key_enrolment,
        {"V2": (None, "the hash of the entry is not the one in log/tile/0/"), "V5": (HERE, "the signature is not one")},
    ),
    Row(attacks.back_date_an_entry, {"V6": (HERE, "lies before that of the entry before it"), "V2": (HERE, "hash")}),
    Row(attacks.back_date_the_clock, {"V1": (None, "site")}, witnessed=True),
    Row(attacks.put_the_clock_forward, {"V6": (HERE, "yet"), "V2": (HERE, "hash")}, witnessed=True),
    Row(attacks.rewrite_without_the_ledgers_key, {"V1": (None, "")}, ("EXPORT-6", "")),
    Row(attacks.rewrite_with_the_ledgers_key, {"V1": (None, "site")}, witnessed=True),
    Row(attacks.alter_a_projection, {"V8": (None, "999")}),
    Row(attacks.hide_a_row_of_the_audit_trail, {"V8": (HERE, "is missing")}),
    Row(attacks.exchange_a_checkpoint, {"V1": (None, "")}, ("EXPORT-6", "")),
)


def honest(scene: Scene, output: Path) -> Refusal | None:
    """Export as the ledger does; the refusal where it does not."""
    try:
        with scene.ledger() as ledger:
            export_evidence(ledger, Wanted(scene.study), output)
    except Refusal as refusal:
        return refusal
    return None


def dishonest(ledger: Ledger, study: str, output: Path) -> None:
    """A bundle of whatever the database holds, signed with the ledger's key, without a question asked."""
    with patient_snapshot(ledger) as conn, output.open("w+b") as out:
        facts = settle(ledger, conn, Wanted(study), ledger.now())
        write_bundle(ledger, conn, facts, output.parent, out, lambda step, done, total: None)


def verified(scene: Scene, bundle: Path, witnessed: bool) -> VerificationReport:
    """The report of an inspector, who has the log's keys from elsewhere."""
    text = scene.played.watcher.policy if witnessed else without_witness(scene)
    with open_bundle(bundle) as opened:
        now = int(scene.clock().timestamp())
        return verify(opened, Policy.parse(text), now=now, views=recompute_views, workers=1)


def without_witness(scene: Scene) -> str:
    """The policy of an inspector who knows the log's keys and no witness."""
    return "".join(f"log {key}\n" for key in scene.played.watcher.log_keys) + "quorum none\n"


def said(report: VerificationReport, number: str) -> str:
    """What a check says is wrong."""
    return "\n".join(str(failure) for failure in report[number].failures)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.attack.__name__)
def test_it_is_caught(scene: Scene, row: Row) -> None:
    index = row.attack(scene)
    bundle = scene.out / "bundle.zip"
    refusal = honest(scene, bundle)
    if row.refused is not None:
        assert refusal is not None, "the ledger exported what it should have refused"
        assert refusal.rule == row.refused[0], str(refusal)
        assert row.refused[1] in refusal.because
        assert refusal.remedy
        assert not bundle.exists()
        if not row.caught:
            return
        with scene.ledger() as ledger:
            dishonest(ledger, scene.study, bundle)
    else:
        assert refusal is None, f"refused: {refusal}"
    report = verified(scene, bundle, row.witnessed)
    assert report.exit_status(()) == 1, report.text()
    for number, (where, words) in row.caught.items():
        assert number in report.failed, f"{number} passes: {report.text()}"
        assert words in said(report, number), said(report, number)
        if where is HERE:
            assert report[number].first_bad_index == index, said(report, number)
    for number in row.passes:
        assert report[number].outcome == "passed", said(report, number)


def test_an_adverse_event_is_not_hidden_from_a_bundle_about_its_subject(scene: Scene) -> None:
    """The database says that it is about somebody else, so its content is withheld: what was signed says otherwise."""
    index = attacks.move_an_adverse_event_to_another_subject(scene)
    with scene.ledger() as ledger:
        export_evidence(ledger, Wanted(scene.study, "002"), scene.out / "bundle.zip")
    report = verified(scene, scene.out / "bundle.zip", witnessed=True)
    assert report.failed == ("V7",) and report["V7"].first_bad_index == index, report.text()
    assert "withheld as another subject's" in said(report, "V7")


def test_the_untouched_ledger_passes_every_check(scene: Scene) -> None:
    assert honest(scene, scene.out / "bundle.zip") is None
    report = verified(scene, scene.out / "bundle.zip", witnessed=True)
    assert not report.failed, report.text()
    assert report.exit_status(()) == 0
    assert report["V8"].outcome == "passed"
