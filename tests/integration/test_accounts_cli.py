"""A registrar at the command line: a code, a thumbprint read out, a key enrolled, an account unlocked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from api.client.signing import Actor
from ledger.accounts.refusals import SignInRefused
from ledger.accounts.service import Accounts
from ledger.application import Ledger
from ledger.domain.refusals import Refusal
from ledger.settings import Settings
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
        assert run(home, "init", "--study", STUDY)[0] == 0
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
