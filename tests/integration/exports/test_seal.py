"""The key that the system seals with: revoked it seals nothing; a next one takes over, which the log vouches for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.cli.key_acts import key_request, rotate_seal
from ledger.authority import LEDGER_ACTOR
from ledger.home import Home
from ledger.merkle.log_keys import derive
from ledger.merkle.policy import Policy
from ledger.merkle.seal import seal_note
from ledger.seals import NoSeal
from ledger.signing.keys import SigningKey
from ledger.verify.bundle import open_bundle
from ledger.verify.procedure import verify
from ledger.verify.report import VerificationReport
from tests.integration.exports.bundles import exported
from tests.scenario.fixtures import ledger_of, study_of
from tests.scenario.simulator import Simulator, refused

ABOUT = f"actor/{LEDGER_ACTOR}"


def judged(path: Path) -> VerificationReport:
    with open_bundle(path) as bundle:
        return verify(bundle, Policy.parse(bundle.read("policy.txt")), now=2**33, workers=1)


def revoke(sim: Simulator, kid: str, **more: Any) -> None:
    sim.record(sim.cast.registrar, "KeyRevoked", ABOUT, kid=kid, reason="it may be known", **more)


def rotate(sim: Simulator) -> str:
    """The registrar enrols the installation's next key; returns its thumbprint."""
    _, kid = rotate_seal(ledger_of(sim), sim.plan.study, sim.cast.registrar)
    sim.later(seconds=1)
    return kid


def enrolment(sim: Simulator, key: SigningKey, **changes: Any) -> str:
    """The enrolment of a key for `ledger` as a registrar may write it."""
    request = key_request(key, sim.cast.registrar.origin, LEDGER_ACTOR)
    body = {name: request[name] for name in ("kid", "alg", "jwk", "proof")} | changes
    return sim.cast.registrar.sign("KeyEnrolled", ABOUT, body, jti=request["jti"])


def test_a_revoked_seal_stops_exports_until_the_next_key_is_enrolled_and_then_everything_verifies(
    trial: Simulator, tmp_path: Path
) -> None:
    ledger, study = ledger_of(trial), trial.plan.study
    first = ledger.seal(study)
    exported(trial, tmp_path / "before.zip")
    revoke(trial, first.kid)
    with pytest.raises(NoSeal) as none:
        exported(trial, tmp_path / "between.zip")
    assert "rotate-seal" in none.value.remedy
    assert not (tmp_path / "between.zip").exists()
    second = rotate(trial)
    assert ledger.seal(study).kid == second != first.kid
    exported(trial, tmp_path / "after.zip")
    for name in ("before.zip", "after.zip"):
        report = judged(tmp_path / name)
        assert report, report.text()
    signed = {name: _kid(tmp_path / f"{name}.zip") for name in ("before", "after")}
    assert signed == {"before": first.kid, "after": second}


def test_a_rotation_ahead_of_the_revocation_leaves_no_gap_and_both_studies_of_a_home_share_its_keys(
    trial: Simulator, tmp_path: Path
) -> None:
    ledger, study = ledger_of(trial), trial.plan.study
    first = ledger.seal(study)
    second = rotate(trial)
    revoke(trial, first.kid, suspect_since=0)
    exported(trial, tmp_path / "after.zip")
    report = judged(tmp_path / "after.zip")
    assert report, report.text()
    assert ledger.log_keys("ANOTHER-1")["ledger"]["kid"] == second, "a new study begins with the newest"
    assert [key.kid for key in Home(ledger.home.path).seals()] == [first.kid, second]
    third = rotate(trial)
    assert ledger.seal(study).kid == third


def test_a_bundle_of_an_earlier_size_is_remade_with_the_key_in_force_there(trial: Simulator, tmp_path: Path) -> None:
    made = exported(trial, tmp_path / "first.zip")
    rotate(trial)
    exported(trial, tmp_path / "again.zip", checkpoint=made.facts.checkpoint.size)
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()


def test_a_registrar_alone_gives_the_systems_voice_to_nobody(trial: Simulator) -> None:
    ledger, key, other = ledger_of(trial), SigningKey.generate(), SigningKey.generate()
    own = ledger.log_signers(trial.plan.study).ed25519
    forger = derive(bytes(32), trial.cast.registrar.origin).ed25519
    origin = trial.cast.registrar.origin
    for note in (
        None,
        "",
        "sealed",
        seal_note(origin, key.kid, forger),
        seal_note(origin, other.kid, own),
        seal_note(origin.replace("/study/", "/study/X"), key.kid, own),
        trial.door.checkpoint() if hasattr(trial.door, "checkpoint") else ledger.log_rotation(trial.plan.study)["note"],
    ):
        with refused("KEY-9" if note != "" else "CATALOGUE-3"):
            trial.send(enrolment(trial, key, **({} if note is None else {"note": note})))
    assert study_of(trial).authority.key(key.kid) is None


def test_a_note_of_the_log_stands_in_no_enrolment_of_anybody_else(trial: Simulator) -> None:
    key = SigningKey.generate()
    request = key_request(key, trial.cast.registrar.origin, trial.cast.monitor.id)
    note = seal_note(request["origin"], key.kid, ledger_of(trial).log_signers(trial.plan.study).ed25519)
    body = {name: request[name] for name in ("kid", "alg", "jwk", "proof")} | {"note": note}
    with refused("KEY-9"):
        trial.send(trial.cast.registrar.sign("KeyEnrolled", f"actor/{trial.cast.monitor.id}", body, jti=request["jti"]))


def _kid(path: Path) -> str:
    import json

    from ledger.signing.encoding import unb64url

    with open_bundle(path) as bundle:
        return str(json.loads(unb64url(bundle.read("MANIFEST.jws").decode().split(".")[0]))["kid"])
