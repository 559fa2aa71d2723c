"""A witness that dies at the worst moment has either cosigned nothing, or remembers what it may have cosigned."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from ledger.merkle.cosignature import verifier_of
from ledger.merkle.note import parse_signature_line
from tests.scenario.histories import KEYS, History
from tests.scenario.witnesses import SiteWitness

LOGS = [KEYS.ed25519.key]


@pytest.fixture
def site(tmp_path: Path) -> SiteWitness:
    return SiteWitness(tmp_path / "site", "witness.example.org/site-1")


def ask(site: SiteWitness, body: bytes) -> httpx.Response:
    return httpx.post(f"{site.url}/add-checkpoint", content=body, timeout=20.0)


@pytest.mark.parametrize(("when", "remembered"), [("before", 4), ("after", 7)])
def test_killed_between_deciding_and_answering(
    site: SiteWitness, monkeypatch: pytest.MonkeyPatch, when: str, remembered: int
) -> None:
    history = History().grow(10)
    monkeypatch.setenv("WITNESS_DIES", f"{when}:2")
    site.start(LOGS, ("-m", "tests.crash.dying_witness"))
    assert ask(site, history.submission(0, 4)).status_code == 200
    with pytest.raises(httpx.TransportError):
        ask(site, history.submission(4, 7))
    site.kill()
    site.start(LOGS)
    try:
        told = ask(site, history.submission(0, 7))
        assert (told.status_code, told.text) == (409, f"{remembered}\n")
        # Nobody knows whether the answer got out: a fork of what may have been cosigned must not pass.
        fork = history.fork(5).grow(2, "another")
        if remembered == 7:
            assert ask(site, fork.submission(7)).status_code == 422
        again = ask(site, history.submission(remembered, 7))
        line = parse_signature_line(again.text.removesuffix("\n"))
        assert again.status_code == 200
        assert verifier_of(site.key).verify(history.checkpoint(7).body(), line.signature)
    finally:
        site.stop()
    assert list(site.folder.glob(".witness.state.*")) == []


def test_a_draft_that_a_crash_left_is_no_state(site: SiteWitness) -> None:
    site.folder.joinpath(".witness.state.0123456789abcdef").write_bytes(b"half a st")
    site.start(LOGS)
    try:
        assert ask(site, History().grow(3).submission(0)).status_code == 200
    finally:
        site.stop()
