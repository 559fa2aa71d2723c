"""Timestamps (V9) and projections (V8): what is attached to the log, checked by code that somebody contributes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from ledger.merkle.policy import Policy
from ledger.merkle.tree import NotProven
from ledger.verify import rfc3161
from ledger.verify.attached import LibraryMissing, Logged, ViewFinding
from ledger.verify.bundle import TIMESTAMPS, Bundle, open_bundle, token_path
from ledger.verify.procedure import verify
from ledger.verify.report import VerificationReport
from tests.unit.verify.study import BEGAN, MemoryStudy, course

SIZE = 21
STAMPED = int(BEGAN.timestamp()) + 100
LISTED = [{"size": SIZE, "file": token_path(SIZE, 0), "authority": "https://time.example.org"}]


def judged(tmp_path: Path, extra: dict[str, bytes], **options: object) -> VerificationReport:
    study = course(MemoryStudy())
    path = study.write(tmp_path / "evidence.zip", study.files() | extra)
    with open_bundle(path) as bundle:
        policy = Policy.parse(study.policy())
        return verify(bundle, policy, now=STAMPED + 60, workers=1, **options)  # type: ignore[arg-type]


def stamped(listed: object = LISTED) -> dict[str, bytes]:
    return {token_path(SIZE, 0): b"token", TIMESTAMPS: json.dumps(listed).encode()}


def test_a_good_timestamp_is_told_and_bounds_the_times(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def timestamps(token: bytes, text: bytes) -> tuple[int, str]:
        asked.append(text)
        assert token == b"token"
        return STAMPED, "Synthetic Authority"

    report = judged(tmp_path, stamped(), timestamps=timestamps)
    assert report and report["V9"].outcome == "passed" and report.exit_status(("V9",)) == 0, report.text()
    assert asked[0].startswith(b"ledger.example.org/study/STUDY-1\n21\n") and asked[0].count(b"\n") == 3
    early = judged(tmp_path, stamped(), timestamps=lambda token, text: (STAMPED - 3_600, "Synthetic Authority"))
    assert early.failed == ("V6",)


def _not_proven(token: bytes, text: bytes) -> tuple[int, str]:
    raise NotProven("the stamp is over something else")


def _missing(token: bytes, text: bytes) -> tuple[int, str]:
    raise LibraryMissing("the library rfc3161-client is not installed on this machine")


def test_a_timestamp_over_something_else_fails(tmp_path: Path) -> None:
    report = judged(tmp_path, stamped(), timestamps=_not_proven)
    assert report.failed == ("V9",) and report.first_bad_index == SIZE - 1 and report.exit_status() == 1


@pytest.mark.parametrize("options", [{}, {"timestamps": _missing}], ids=["no certificates", "no library"])
def test_without_library_or_certificates_timestamps_stay_undecided(options: dict[str, object], tmp_path: Path) -> None:
    report = judged(tmp_path, stamped(), **options)
    assert report and report["V9"].outcome == "undecided" and report.exit_status(("V9",)) == 2


@pytest.mark.parametrize(
    "extra",
    [
        stamped([]),
        stamped([{"size": 20, "file": token_path(SIZE, 0), "authority": "x"}]),
        stamped([{"size": SIZE, "file": token_path(SIZE, 9), "authority": "x"}]),
        stamped([{"size": "21", "file": token_path(SIZE, 0), "authority": "x"}]),
        stamped([{"size": SIZE, "file": "policy.txt", "authority": "x"}]),
        stamped({"size": SIZE}),
        stamped([7]),
        stamped() | {TIMESTAMPS: b"{"},
    ],
    ids=["unlisted", "not published", "not there", "no number", "another member", "no list", "no object", "no JSON"],
)
def test_a_list_of_timestamps_that_does_not_fit_fails(extra: dict[str, bytes], tmp_path: Path) -> None:
    report = judged(tmp_path, extra, timestamps=lambda token, text: (STAMPED, "Synthetic Authority"))
    assert report.failed == ("V9",)


@pytest.mark.parametrize("token", [b"", b"token", b"\x30\x82\xff\xff", bytes(300)])
def test_what_is_no_token_proves_nothing(token: bytes) -> None:
    with pytest.raises(NotProven):
        rfc3161.reader([])(token, b"text")


def test_a_file_without_certificates_trusts_nobody() -> None:
    with pytest.raises(ValueError):
        rfc3161.certificates(b"nothing of the kind")
    assert x509 is not None


# -- projections ------------------------------------------------------------------------------------------------

PROJECTED = {"projections/patient.json": b"{}\n", "projections/safety.json": b"{}\n"}
Entries = Callable[[int], Iterator[Logged]]


def test_views_recomputed_equal_pass(tmp_path: Path) -> None:
    def views(bundle: Bundle, entries: Entries) -> Iterable[ViewFinding]:
        read = list(entries(15))
        assert [one.index for one in read] == list(range(15))
        assert read[8].disclosures and read[0].recorded_at == "2026-03-02T09:00:01.000000Z"
        for name in ("patient", "safety"):
            yield ViewFinding(name, "passed", "the same")

    report = judged(tmp_path, PROJECTED, views=views)
    assert report and report.exit_status(("V8",)) == 0


def test_a_view_that_lies_fails_with_its_index(tmp_path: Path) -> None:
    findings = [ViewFinding("patient", "failed", "a row differs", 9), ViewFinding("safety", "passed", "the same")]
    report = judged(tmp_path, PROJECTED, views=lambda bundle, entries: findings)
    assert report.failed == ("V8",) and report.first_bad_index == 9 and report.exit_status() == 1


def test_a_view_that_nobody_recomputed_is_undecided(tmp_path: Path) -> None:
    findings = [ViewFinding("patient", "passed", "the same")]
    report = judged(tmp_path, PROJECTED, views=lambda bundle, entries: findings)
    assert report and "nobody recomputed projections/safety.json" in report.text()


def test_views_are_not_recomputed_from_entries_that_do_not_verify(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    study.entries[9].jwt = study.entries[9].jwt[:-4] + "AAAA"
    study.published.clear()
    path = study.write(tmp_path / "evidence.zip", study.files() | PROJECTED)

    def views(bundle: Bundle, entries: Entries) -> Iterable[ViewFinding]:
        raise AssertionError("asked")

    with open_bundle(path) as bundle:
        report = verify(bundle, Policy.parse(study.policy()), now=STAMPED, workers=1, views=views)
    assert report["V8"].outcome == "undecided" and "V5" in report.failed
