"""Evidence once handed out verifies for ever: real bundles of every format, as they were written then."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ledger.merkle.policy import Policy
from ledger.verify.bundle import Refused, Unreadable, open_bundle
from ledger.verify.procedure import verify
from ledger.verify.report import VerificationReport

GOLDEN = Path(__file__).parents[2] / "golden"
NOW = 1_772_442_400
"""A minute or so after the newest cosignature: 2026-03-02."""


def judged(folder: Path) -> VerificationReport:
    with open_bundle(folder / "evidence.zip") as bundle:
        return verify(bundle, Policy.parse((folder / "policy.txt").read_bytes()), now=NOW, workers=1)


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("evidence-*")), ids=lambda folder: folder.name)
def test_a_golden_bundle_verifies(folder: Path) -> None:
    report = judged(folder)
    assert report, report.text()


def test_the_first_golden_bundle_says_what_it_always_said() -> None:
    report = judged(GOLDEN / "evidence-1")
    assert report.facts["root"] == "8ac01e74695d5d0ebde7265f3827db242f8a36905af69afb98eceeecf43fdd77"
    text = report.text()
    for words in (
        "292 signatures by 6 keys were verified",
        "the quorum all-of-them is met by w0, w1",
        "rotated 1 times",
        "1086 disclosures are present, 1 were redacted by two people, 1 are withheld",
        "7 entries are disputed",
    ):
        assert words in text


def test_a_golden_bundle_with_any_bit_turned_does_not_pass_unnoticed(tmp_path: Path) -> None:
    """Only dates and attributes in the container may be others, and then the bundle is known as packed anew."""
    folder, chance = GOLDEN / "evidence-1", random.Random(7)
    data = (folder / "evidence.zip").read_bytes()
    policy = Policy.parse((folder / "policy.txt").read_bytes())
    path = tmp_path / "evidence.zip"
    for number in range(60):
        at = chance.randrange(len(data)) if number % 3 else len(data) - 1 - chance.randrange(1_500)
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        try:
            with open_bundle(path) as bundle:
                report = verify(bundle, policy, now=NOW, workers=1)
                assert report.exit_status() == 1 or (report and not bundle.plain), (at, report.text())
        except (Refused, Unreadable):
            continue
