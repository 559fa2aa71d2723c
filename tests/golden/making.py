"""How the golden evidence bundles were made; run anew only to add another: those that are there stay as they are.

    python -m tests.golden.making FOLDER

Most of what a verifier has to know is in it once: a quorum of witnesses, a rotation, a suspect key, a signed
decision, a redaction, a withheld field, more than one full tile. Keys and salts count up: nothing in it is secret.
"""

from __future__ import annotations

import sys
from pathlib import Path

from api.client.signing import target
from ledger.merkle.cosignature import Ed25519Cosigner, Mldsa44Cosigner
from ledger.merkle.log_keys import derive
from ledger.merkle.note import make_note
from ledger.signing.statement import disclosure_digest, parse
from tests.unit.verify.study import SUBJECT, MemoryStudy, course, redact, seeded


def golden() -> MemoryStudy:
    """The study."""
    witnesses = [Ed25519Cosigner("site", bytes([41]) * 32), Ed25519Cosigner("sponsor", bytes([42]) * 32)]
    study = course(MemoryStudy(witnesses=witnesses), results=270)
    redacted = disclosure_digest(study.entries[20].disclosures[1])
    redact(study, 20, [redacted])
    del study.entries[20].disclosures[1]
    study.withheld.append((21, [disclosure_digest(study.entries[21].disclosures.pop(0))], "outside the request"))
    study.publish()
    _rotate(study)
    study.record(
        study.registrar.sign(
            "KeyRevoked", "actor/coordinator-1", {"kid": seeded(12).kid, "suspect_since": 270, "reason": "lost"}
        )
    )
    key = seeded(13)
    study.record(study.registrar.enrol_key("coordinator-1", key, key.public_jwk))
    person = study.actor("coordinator-1", "coordinator", key, "S1")
    entry = study.entries[271]
    stood = target(parse("~".join((entry.jwt, *entry.disclosures, ""))))
    study.record(person.sign("SignatureReaffirmed", "actor/coordinator-1", {"records": [stood]}))
    study.record(person.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-03-01"}))
    mldsa = study.log.mldsa44
    assert isinstance(mldsa, Mldsa44Cosigner)
    study.witnesses = [*witnesses, mldsa]  # type: ignore[list-item]
    study.publish()
    study.witnesses = witnesses
    return study


def _rotate(study: MemoryStudy) -> None:
    old, new = study.log, derive(bytes(32), study.origin, 2)
    keys = [str(key) for key in new.public()]
    text = "\n".join([study.origin, "rotate", *keys, ""]).encode()
    note = make_note(text, [one.ed25519.sign(text) for one in (old, new)]).decode()
    study.record(study.registrar.sign("LogKeyRotated", "study", {"log_keys": keys, "note": note}))
    study.log = new


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    made = golden()
    made.write(folder / "evidence.zip")
    (folder / "policy.txt").write_text(made.policy())
