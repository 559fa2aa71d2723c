"""A registrar at the command line: a code, a thumbprint read out, a key enrolled, an account unlocked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.client.signing import Actor
from ledger.accounts.refusals import SignInRefused
from ledger.accounts.service import Accounts
from ledger.application import Ledger
from ledger.domain.refusals import Refusal
from ledger.settings import Settings
from ledger.signing.statement import parse
from tests.scenario.signers import CHEAP, PASSPHRASE

STUDY = "CLI-1"


def run(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command line on a home: status, data, talk."""
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", *arguments],
        capture_output=True,
        env={**os.environ, "TRIAL_LEDGER_HOME": str(home)},
        timeout=120,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def accounts(home: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    """Run `accounts ...`; status and data."""
    status, data, _ = run(home, "accounts", *arguments, "--study", STUDY, "--json")
    return status, json.loads(data) if data else {}


def test_a_registrar_brings_a_person_to_sign_and_unlocks_the_account(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Ledger(Settings(home)) as ledger:  # the embedded server stays while commands come and go
        status, _, talk = run(home, "init", "--study", STUDY)
        assert status == 0 and "--second-registrar" in talk
        assert ledger.entry(STUDY, 0).statement.body["ceremony"] == "required"
        registrar = Actor("registrar-1", "registrar", ledger.home.key("registrar"), ledger.origin(STUDY))
        for text in (
            registrar.sign("ActorEnrolled", "actor/mo", {"actor_kind": "person", "name": "Synthetic monitor"}),
            registrar.sign("DelegationGranted", "actor/mo", {"role": "monitor"}),
        ):
            assert not isinstance(ledger.append(STUDY, text), Refusal)
        assert accounts(home, "code", "mo")[0] == 1  # nobody verified who that is
        status, offered = accounts(home, "code", "mo", "--identified-by", "passport")
        assert status == 0
        book = Accounts(ledger, cost=CHEAP)
        made = book.redeem(STUDY, "mo", str(offered["code"]), PASSPHRASE)
        assert accounts(home, "enrol", "mo", "--kid", "AAAAAAAA")[0] == 1
        assert accounts(home, "enrol", "mo", "--kid", made["kid"][:4])[0] == 64
        assert accounts(home, "enrol", "mo", "--kid", made["kid"][:8])[0] == 0
        for _ in range(5):
            try:
                book.sign_in(STUDY, "mo", "not the passphrase at all")
            except SignInRefused:
                continue
        listed = accounts(home, "list")[1]["credentials"]
        assert isinstance(listed, list)
        assert (listed[0]["state"], listed[0]["locked"]) == ("in force", True)
        assert accounts(home, "unlock", "mo", "--reason", "we spoke on the telephone")[0] == 0
        assert book.sign_in(STUDY, "mo", PASSPHRASE)["user_id"] == "mo"


def test_with_a_second_registrar_nobody_alone_gives_out_a_key_in_somebodys_name(tmp_path: Path) -> None:
    """The server's administrator has its home, and with it the first registrar's key (21 CFR 11.200(a)(3))."""
    home, key, asked = tmp_path / "home", tmp_path / "second.key", tmp_path / "request.json"
    secret = tmp_path / "passphrase"
    secret.write_text("an invented passphrase\n")
    secret.chmod(0o600)
    origin = f"ledger.localhost/study/{STUDY}"
    opened = ("--passphrase-file", str(secret))
    assert run(home, "keys", "new", str(key), *opened)[0] == 0
    asking = ("keys", "request", str(key), "--actor", "registrar-2", *opened, "--origin")
    asked.write_text(run(home, *asking, "ledger.localhost/study/ANOTHER")[1])
    with Ledger(Settings(home)) as ledger:
        beginning = ("init", "--study", STUDY, "--second-registrar", str(asked))
        assert run(home, *beginning)[0] == 64  # it was made for another log
        asked.write_text(run(home, *asking, origin)[1])
        status, _, talk = run(home, *beginning)
        assert status == 0 and "one registrar" not in talk
        assert ledger.entry(STUDY, 0).statement.body["registrars_required"] == 2

        def both(jti: str) -> None:
            assert run(home, "keys", "countersign", jti, "--study", STUDY)[0] == 1  # the first registrar once more
            status, _, talk = run(home, "keys", "countersign", jti, "--study", STUDY, "--key", str(key), *opened)
            assert status == 0, talk

        registrar = Actor("registrar-1", "registrar", ledger.home.key("registrar"), origin)
        role = registrar.sign("DelegationGranted", "actor/mo", {"role": "monitor"})
        person = {"actor_kind": "person", "name": "Synthetic monitor"}
        for text in (registrar.sign("ActorEnrolled", "actor/mo", person), role):
            assert not isinstance(ledger.append(STUDY, text), Refusal)
        both(parse(role).jti)
        book = Accounts(ledger, cost=CHEAP)
        code = str(accounts(home, "code", "mo", "--identified-by", "passport")[1]["code"])
        made = book.redeem(STUDY, "mo", code, PASSPHRASE)
        status, enrolled = accounts(home, "enrol", "mo", "--kid", made["kid"][:8])
        assert (status, enrolled["waits"]) == (0, True)
        with pytest.raises(SignInRefused):
            book.sign_in(STUDY, "mo", PASSPHRASE)
        both(str(enrolled["jti"]))
        assert book.sign_in(STUDY, "mo", PASSPHRASE)["user_id"] == "mo"
