"""`trial-ledger keys`, as a registrar and the holders of keys type it; each command a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.client.signing import Actor
from ledger.application import Ledger
from ledger.home import Home
from ledger.settings import Settings
from ledger.signing.keys import SigningKey, load_key
from ledger.writer import Answer

STUDY = "MY-STUDY-1"
ORIGIN = f"ledger.localhost/study/{STUDY}"
DONE, REFUSED, USAGE = 0, 1, 64


class Desk:
    """A folder with a home, key files and a passphrase file, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text("an invented passphrase\n")
        self.passphrase.chmod(0o600)
        self.environment: dict[str, str] = {}

    def run(self, *arguments: object, status: int = DONE) -> str:
        """What a command says on both streams, when it ends as it should."""
        done = subprocess.run(
            [sys.executable, "-m", "api.cli", *map(str, arguments)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self.environment, "TRIAL_LEDGER_HOME": str(self.home)},
            timeout=120,
            check=False,
        )
        said = (done.stdout + done.stderr).decode()
        assert "Traceback" not in said, said
        assert done.returncode == status, said
        return done.stdout.decode() if status == DONE else said

    def keys(self, *arguments: object) -> Any:
        """A command of `keys`, read as JSON."""
        return json.loads(self.run("keys", *arguments, "--json"))

    def new(self, name: str) -> Path:
        """A key file."""
        self.keys("new", self.folder / name, "--passphrase-file", self.passphrase)
        return self.folder / name

    def request(self, key: Path, actor: str, origin: str = ORIGIN) -> Path:
        """A request by the holder of a key."""
        given = ("--origin", origin, "--actor", actor, "--passphrase-file", self.passphrase)
        file = key.with_suffix(".request")
        file.write_text(self.run("keys", "request", key, *given))
        return file

    def signing(self, key: Path) -> SigningKey:
        """The key in a file."""
        return load_key(key, b"an invented passphrase")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A home with an open study; its server stays up between the commands."""
    desk = Desk(tmp_path)
    desk.run("init", "--study", STUDY, "--synthetic")
    with Ledger(Settings(desk.home)):
        yield desk


def test_a_key_is_made_enrolled_stolen_revoked_replaced_and_its_signatures_reaffirmed(desk: Desk) -> None:
    first = desk.new("first.pem")
    enrolled = desk.keys("enrol", "--study", STUDY, desk.request(first, "sponsor-1"))
    kid = desk.keys("show", first, "--passphrase-file", desk.passphrase)["kid"]
    with Ledger(Settings(desk.home)) as ledger:
        registrar = Actor("registrar-1", "registrar", Home(desk.home).key("registrar"), ORIGIN)
        granted = registrar.sign("DelegationGranted", "actor/sponsor-1", {"role": "sponsor"})
        sponsor = Actor("sponsor-1", "sponsor", desk.signing(first), ORIGIN)
        fields = {"statement": "I stand by my signature.", "version": "1"}
        signed = [sponsor.sign("AccountabilityAccepted", "actor/sponsor-1", fields) for _ in range(3)]
        told = list(ledger.append_many(STUDY, [granted, *signed]))
        assert all(isinstance(one, Answer) for one in told)
    since = enrolled["index"] + 3
    desk.keys("revoke", "--study", STUDY, kid, "--reason", "stolen", "--suspect-since", since)
    found = desk.keys("disputed", "--study", STUDY)["disputed"]
    assert [one["index"] for one in found] == [since, since + 1]

    second = desk.new("second.pem")
    desk.keys("enrol", "--study", STUDY, desk.request(second, "sponsor-1"))
    own = ("reaffirm", "--study", STUDY, "--role", "sponsor", "--passphrase-file", desk.passphrase)
    assert "AUTHORITY-3" in desk.run("keys", *own, "--key", first, "--all", status=REFUSED)
    assert "no statement" in desk.run("keys", *own, "--key", second, told[1].jti, status=REFUSED)
    desk.keys(*own, "--key", second, found[0]["jti"])
    assert [one["index"] for one in desk.keys("disputed", "--study", STUDY)["disputed"]] == [since + 1]
    desk.keys(*own, "--key", second, "--all")
    assert desk.keys("disputed", "--study", STUDY)["disputed"] == []

    listed = {one["kid"]: one for one in desk.keys("list", "--study", STUDY)["keys"]}
    assert listed[kid]["suspect_since"] == since
    assert listed[kid]["revoked"] is not None
    assert [one["actor"] for one in listed.values()].count("sponsor-1") == 2


def test_what_is_no_request_or_not_for_this_log_enrols_nothing(desk: Desk) -> None:
    key = desk.new("key.pem")
    enrol = ("keys", "enrol", "--study", STUDY)
    junk = desk.folder / "junk"
    for content in (b"", b"junk", b"{}", b"\xff\xfe", b'{"format": "trial-ledger-key-request/1"}', b"[" * 50_000):
        junk.write_bytes(content)
        assert "request" in desk.run(*enrol, junk, status=REFUSED)
    elsewhere = desk.request(key, "sponsor-1", "ledger.localhost/study/OTHER-1")
    assert "OTHER-1" in desk.run(*enrol, elsewhere, status=REFUSED)
    request = json.loads(desk.request(key, "sponsor-1").read_text())
    junk.write_text(json.dumps({**request, "actor": "somebody-else"}))
    assert "proof" in desk.run(*enrol, junk, status=REFUSED)
    junk.write_text(json.dumps({**request, "jwk": {}}))
    assert "proof" in desk.run(*enrol, junk, status=REFUSED)
    alike = desk.request(key, "Registrar-1")
    assert "AUTHORITY-9" in desk.run(*enrol, alike, status=REFUSED)
    assert {one["actor"] for one in desk.keys("list", "--study", STUDY)["keys"]} == {"registrar-1", "ledger"}


def test_a_key_file_is_never_replaced_and_its_passphrase_is_long_and_private(desk: Desk) -> None:
    key = desk.new("key.pem")
    before = key.read_bytes()
    given = ("keys", "new", key, "--passphrase-file", desk.passphrase)
    assert "not replaced" in desk.run(*given, status=USAGE)
    assert key.read_bytes() == before
    assert key.stat().st_mode & 0o077 == 0
    nowhere = ("keys", "new", desk.folder / "nowhere" / "key.pem", "--passphrase-file", desk.passphrase)
    assert "Errno" not in desk.run(*nowhere, status=USAGE)
    assert "terminal" in desk.run("keys", "new", desk.folder / "other.pem", status=USAGE)
    desk.passphrase.chmod(0o644)
    assert "chmod 600" in desk.run("keys", "show", key, "--passphrase-file", desk.passphrase, status=USAGE)
    desk.passphrase.chmod(0o600)
    desk.passphrase.write_text("short\n")
    other = ("keys", "new", desk.folder / "other.pem", "--passphrase-file", desk.passphrase)
    assert "12" in desk.run(*other, status=USAGE)
    assert not (desk.folder / "other.pem").exists()


def test_the_logs_keys_are_rotated_and_their_history_is_listed(desk: Desk) -> None:
    rotated = desk.keys("rotate-log", "--study", STUDY)
    log = desk.keys("list", "--study", STUDY)["log"]
    assert [one["since"] for one in log] == [0, rotated["index"]]
    assert log[1]["log_keys"] == rotated["log_keys"]
    assert rotated["log_keys"] != log[0]["log_keys"]
    assert json.loads(desk.run("doctor", "--json"))["problems"] == []


def test_the_systems_seal_is_rotated_and_the_one_before_revoked(desk: Desk) -> None:
    [first] = [one["kid"] for one in desk.keys("list", "--study", STUDY)["keys"] if one["actor"] == "ledger"]
    desk.keys("revoke", first, "--study", STUDY, "--reason", "it may be known")
    target = ("export", "evidence", "--study", STUDY, "--output", desk.folder / "evidence.zip")
    assert "rotate-seal" in desk.run(*target, status=REFUSED)
    assert "rotate-seal" in desk.run("doctor", status=REFUSED)
    second = desk.keys("rotate-seal", "--study", STUDY)["kid"]
    assert second != first
    desk.run(*target)
    desk.run("verify", desk.folder / "evidence.zip")


def test_a_passphrase_of_ones_own_replaces_the_generated_one(desk: Desk) -> None:
    assert any("protects nothing" in note for note in json.loads(desk.run("doctor", "--json"))["notes"])
    desk.environment["TRIAL_LEDGER_PASSPHRASE_FILE"] = str(desk.passphrase)
    assert "change-passphrase" in desk.run("doctor", status=REFUSED)
    del desk.environment["TRIAL_LEDGER_PASSPHRASE_FILE"]
    desk.keys("change-passphrase", "--new-passphrase-file", desk.passphrase)
    assert "TRIAL_LEDGER_PASSPHRASE_FILE" in desk.run("keys", "list", "--study", STUDY, status=USAGE)
    desk.environment["TRIAL_LEDGER_PASSPHRASE_FILE"] = str(desk.passphrase)
    assert json.loads(desk.run("doctor", "--json")) == {"problems": [], "notes": []}
    desk.keys("rotate-log", "--study", STUDY)
