"""A rewritten or shortened log that the ledger's own keys signed: what others hold proves that it is not the same.

The bundle of such a log may verify in itself, where nobody outside was asked. It contradicts the receipts that
senders got, the checkpoints that anybody published or kept, and the witness, who does not cosign it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.merkle.policy import Policy
from ledger.merkle.tiles import parse_bundle
from ledger.store import evidence
from ledger.verify.bundle import open_bundle
from ledger.verify.procedure import verify
from tests.scenario.offline import Roots, leaf_of, open_checkpoint, open_receipt
from tests.tamper import attacks
from tests.tamper.conftest import Scene
from tests.tamper.test_database import dishonest, honest, verified, without_witness


def leaves_of(bundle: Path) -> list[bytes]:
    """The leaf hashes over the entries of a bundle."""

    with open_bundle(bundle) as opened:
        return [
            leaf_of(entry) for name in opened.paths("log/tile/entries") for entry in parse_bundle(opened.read(name))
        ]


@pytest.fixture
def rewritten(scene: Scene) -> Path:
    """The bundle of a log from which an adverse event was taken, by whoever has every key of the ledger."""
    attacks.rewrite_with_the_ledgers_key(scene)
    assert honest(scene, scene.out / "b.zip") is None, "its own signer has been deceived"
    return scene.out / "b.zip"


@pytest.fixture
def shortened(scene: Scene) -> Path:
    """The bundle of a log whose newest entries are hidden."""
    attacks.truncate_the_tail(scene)
    with scene.ledger() as ledger:
        dishonest(ledger, scene.study, scene.out / "b.zip")
    return scene.out / "b.zip"


def test_every_receipt_from_the_place_on_contradicts_the_rewritten_log(scene: Scene, rewritten: Path) -> None:
    leaves, index = leaves_of(rewritten), scene.index("adverse event")
    for told in scene.played.sim.acknowledged:
        assert told.answer.receipt is not None
        checked, at, entry = open_receipt(told.answer.receipt, scene.played.watcher.log_keys[0])
        fits = at < len(leaves) and leaves[at] == leaf_of(entry)
        assert fits == (at < index), f"the receipt of index {at}"
        if checked.size > index:
            assert checked.size > len(leaves) or Roots(leaves).at(checked.size) != checked.root


def test_every_checkpoint_kept_elsewhere_contradicts_it(scene: Scene, rewritten: Path) -> None:
    """Two checkpoints of one size with different roots, both signed by the log, prove it to anybody."""
    leaves, index, keys = leaves_of(rewritten), scene.index("adverse event"), scene.played.watcher.log_keys
    for size, note in scene.played.notes.items():
        held = open_checkpoint(note, keys[0])
        same = size <= len(leaves) and Roots(leaves).at(size) == held.root
        assert same == (size <= index)


def test_the_witness_refuses_to_cosign_it(scene: Scene, rewritten: Path) -> None:
    watcher = scene.played.watcher
    with scene.ledger() as ledger, ledger.database.connection() as connection:
        newest = ledger.checkpoint(connection, scene.study)
    seen = watcher.memory.seen
    assert seen is not None
    before = len(watcher.memory.conflicts)
    answer = watcher.shown(seen.checkpoint.size, newest.note, (bytes(32),) * 3)
    assert answer.status in (409, 422)
    assert len(watcher.memory.conflicts) == before + (answer.status == 422)


def test_an_actor_who_decided_on_the_true_log_contradicts_it_in_the_bundle_itself(scene: Scene) -> None:
    """A decision names size and root of what its signer saw: taking something from below it away fails V5."""
    rows = scene.user.rows()
    gone = scene.index("enrolled") - 1
    scene.user.put([row for row in rows if row.idx != gone])
    attacks._sign_anew(scene)
    assert honest(scene, scene.out / "b.zip") is None
    report = verified(scene, scene.out / "b.zip", witnessed=False)
    assert any("that this log never had" in str(one) for one in report["V5"].failures), report.text()


def test_whoever_asks_no_witness_is_shown_a_shortened_log_that_verifies(scene: Scene, shortened: Path) -> None:
    """What remains, said openly: a state that was true once, and older than what others hold."""
    report = verified(scene, shortened, witnessed=False)
    assert report.exit_status(()) == 0, report.text()
    leaves = leaves_of(shortened)
    newest = max(scene.played.notes)
    assert newest > len(leaves), "a checkpoint held elsewhere is of a larger log"
    beyond = [told for told in scene.played.sim.acknowledged if told.index >= len(leaves)]
    assert beyond, "senders hold receipts of entries that it does not have"


def test_whoever_asks_for_freshness_is_not_satisfied_by_a_shortened_log(scene: Scene, shortened: Path) -> None:
    with open_bundle(shortened) as opened:
        policy, now = Policy.parse(scene.played.watcher.policy), int(scene.clock().timestamp())
        report = verify(opened, policy, now=now, fresh_within=3_600, workers=1)
    assert "V1" in report.failed
    assert without_witness(scene) != scene.played.watcher.policy


def test_the_ledger_says_so_itself_as_long_as_its_signers_state_is_its_own(scene: Scene) -> None:
    """What `doctor` and /health/ledger show: the alarm with what to do."""
    attacks.truncate_the_tail(scene)
    with scene.ledger() as ledger:
        alarm = ledger.check_log(scene.study)
    assert alarm is not None
    assert "were signed" in alarm.because and "backup" in alarm.remedy
    with scene.ledger() as ledger, ledger.database.connection() as connection:
        assert evidence.latest_checkpoint(connection, scene.study) is not None
