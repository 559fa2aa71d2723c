"""Keys that never leave another process, as a KMS or a PKCS#11 module keeps them: for an actor, and for the log."""

from __future__ import annotations

import shlex
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from api.client.signing import Actor
from ledger import external_signer
from ledger.application import Ledger
from ledger.external_signer import ExternalKeys, ExternalSigner, ExternalSignerFailed
from ledger.merkle.checkpoint import Checkpoint
from ledger.signing.keys import PublicKey
from ledger.store.embedded import DatabaseUrls
from tests.scenario import cast
from tests.scenario.checker import check_everything
from tests.scenario.clock import TurnedClock
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of, settings_of, simulated
from tests.scenario.simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]
STUDY = "COAST-07"
ORIGIN = f"ledger.localhost/study/{STUDY}"


def command(fault: str = "") -> str:
    """The command line of the stand-in, which finds the ledger's formats where we do."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.integration.module import main; main({fault!r})"
    return shlex.join([sys.executable, "-c", code])


@pytest.fixture
def module() -> Iterator[ExternalSigner]:
    """The stand-in for a module."""
    module = ExternalSigner(command())
    yield module
    module.close()


class ActorInModule:
    """An actor's key in the module; what signs statements asks for no more than this."""

    alg = "Ed25519"

    def __init__(self, module: ExternalSigner) -> None:
        self._module = module
        raw = b64decode(module.ask(op="actor")["public"])
        self.public = PublicKey(Ed25519PublicKey.from_public_bytes(raw))
        self.kid = self.public.kid

    def sign(self, message: bytes) -> bytes:
        """The raw signature."""
        return b64decode(self._module.ask(op="actor", message=b64encode(message).decode())["signature"])


def test_an_actor_whose_key_is_in_a_module_is_enrolled_and_signs_like_any_other(
    trial: Simulator, module: ExternalSigner
) -> None:
    key, registrar = ActorInModule(module), trial.cast.registrar
    trial.record(registrar, "ActorEnrolled", "actor/keeper", actor_kind="person")
    trial.send(registrar.enrol_key("keeper", key, key.public.public_jwk))
    trial.record(registrar, "DelegationGranted", "actor/keeper", role="sponsor")
    keeper = Actor("keeper", "sponsor", key, registrar.origin, None, trial.seconds)
    fields = {"statement": "I stand by my signature.", "version": "1"}
    assert trial.record(keeper, "AccountabilityAccepted", "actor/keeper", **fields).answer.receipt is not None


@pytest.fixture
def kept_elsewhere(tmp_path: Path, ledger_database: DatabaseUrls, clock: TurnedClock) -> Iterator[Simulator]:
    """A trial before genesis whose log's keys are in the module; checked afterwards."""
    settings = replace(settings_of(tmp_path / "home", ledger_database), signer_command=command())
    with Ledger(settings, clock) as ledger:
        ledger.allow_genesis(ledger.home.key("registrar").kid)
        sim = simulated(ledger, clock)
        yield sim
        check_everything(ledger, sim.acknowledged)


def test_a_log_whose_keys_are_in_a_module_is_opened_signed_rotated_and_cosigned(kept_elsewhere: Simulator) -> None:
    sim, ledger = kept_elsewhere, ledger_of(kept_elsewhere)
    text = sim.cast.registrar.sign("StudyOpened", "study", cast.genesis_fields(sim.plan.study, sim.terms, sim.cast))
    opened = sim.door.open_study(text)
    assert opened.receipt is not None
    rotated = sim.record(sim.cast.registrar, "LogKeyRotated", "study", **ledger.log_rotation(STUDY))
    assert rotated.answer.receipt is not None
    ledger.cosign_for_export(STUDY, rotated.index + 1)
    assert len(ledger.log_key_history(STUDY)) == 2
    assert ledger.check_log(STUDY) is None
    own = Ledger(replace(ledger.settings, signer_command=None), sim.clock)
    with own:
        alarm = own.check_log(STUDY)
    assert alarm is not None, "the home's own seed is not this log's"


@pytest.mark.parametrize("fault", ["dies", "hangs", "lies", "babbles", "refuses", "mumbles"])
def test_a_module_that_fails_signs_nothing_and_is_asked_again(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_signer, "ANSWER_SECONDS", 0.5 if fault == "hangs" else 20.0)
    module = ExternalSigner(command(fault))
    checkpoint = Checkpoint(ORIGIN, 1, b"\x01" * 32)
    try:
        if fault == "hangs":
            monkeypatch.setattr(external_signer, "ANSWER_SECONDS", 20.0)
        keys = ExternalKeys(module, ORIGIN).of(1)
        first = checkpoint.sign([keys.ed25519])
        if fault == "hangs":
            monkeypatch.setattr(external_signer, "ANSWER_SECONDS", 0.2)
        with pytest.raises(ExternalSignerFailed):
            checkpoint.sign([keys.ed25519])
        monkeypatch.setattr(external_signer, "ANSWER_SECONDS", 20.0)
        if fault != "lies":  # the process was ended, and a new one answers twice
            assert checkpoint.sign([keys.ed25519]) == first
    finally:
        module.close()


@pytest.mark.parametrize("said", ["", "null", "[]", '{"keys": []}', '{"keys": ["a", "b"]}', '{"keys": 1}', "junk"])
def test_a_command_that_is_no_module_is_refused(said: str) -> None:
    code = f"import sys; sys.stdin.readline(); print({said!r})"
    module = ExternalSigner(shlex.join([sys.executable, "-c", code]))
    with pytest.raises(ExternalSignerFailed):
        ExternalKeys(module, ORIGIN).of(1)
    module.close()


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(ExternalSignerFailed, match="No such file"):
        ExternalKeys(ExternalSigner("/nonexistent/module"), ORIGIN).of(1)
