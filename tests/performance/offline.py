"""Offline verification, V1 to V7, against raw Ed25519 verification on as many cores, in the same run.

Measured over whole bundles as the command line reads them, statements with nine disclosed fields each. Raw
verification and the verifier take turns, so that whatever else the machine does weighs on both alike.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path

from ledger.merkle.policy import Policy
from ledger.signing.keys import SigningKey
from ledger.verify.bundle import open_bundle
from ledger.verify.crew import cores
from ledger.verify.procedure import verify
from tests.unit.verify.study import MemoryStudy, seeded

ROUNDS = 3
RAW_SECONDS = 1.5
SUBJECTS = 200
_FIELDS = {
    "occurred_at": "2026-03-02T08:30:00+01:00",
    "analyte": "PLAT",
    "value": "212",
    "unit": "10*9/L",
    "reference_range": {"low": "150", "high": "400", "unit": "10*9/L"},
    "specimen": "S-000123",
    "material": "blood",
    "upstream_id": "LAB-4711",
    "upstream_status": "final",
}


def bundle(entries: int, path: Path) -> Path:
    """A bundle of one site's laboratory results."""
    study = MemoryStudy().open()
    person = study.enrol("investigator-1", "principal-investigator", seeded(11), sites=["S1"])
    for number in range(entries):
        subject = f"subject/{number % SUBJECTS:08x}-0000-4000-8000-000000000000"
        study.record(person.sign("LabResultReported", subject, _FIELDS), seconds=0.01)
    return study.write(path)


def raw_rate(processes: int) -> float:
    """Raw Ed25519 verifications a second of all processes together, over a statement's bytes."""
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        return sum(pool.map(_raw, [RAW_SECONDS] * processes, chunksize=1))


def _raw(seconds: float) -> float:
    key = SigningKey.generate()
    message = b"x" * 1_200
    signature, done, start = key.sign(message), 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(200):
            key.public.verify(message, signature, "Ed25519")
        done += 200
    return done / (time.perf_counter() - start)


def measure(entries: int) -> tuple[float, float]:
    """Entries verified a second, and raw verifications a second, both on all cores: the medians of the rounds."""
    with tempfile.TemporaryDirectory() as folder:
        path = bundle(entries, Path(folder) / "evidence.zip")
        pairs = sorted((_once(path, entries), raw_rate(cores())) for _ in range(ROUNDS))
        pairs.sort(key=lambda pair: pair[0] / pair[1])
        return pairs[ROUNDS // 2]


def _once(path: Path, entries: int) -> float:
    start = time.perf_counter()
    with open_bundle(path) as opened:
        report = verify(opened, Policy.parse(opened.read("policy.txt")), now=int(time.time()))
    if not report:
        raise RuntimeError(report.text())
    return entries / (time.perf_counter() - start)
