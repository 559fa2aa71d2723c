"""What `trial-ledger keys` does with a ledger: who signs, what is enrolled, what is disputed.

Everything goes through the ledger's own way in: the same rules decide as over HTTP. A registrar's acts are signed with
this home's registrar key, or with a key file (a second registrar's, an actor's own).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from api.client.signing import Actor, target
from ledger.application import MAX_PAGE, Ledger
from ledger.authority import LEDGER_ACTOR, Authority, Key
from ledger.domain.aggregate import Study
from ledger.domain.manifestation import enrolled_name
from ledger.domain.refusals import Refusal
from ledger.signing.encoding import read_json
from ledger.signing.errors import BadSignature, Malformed
from ledger.signing.keys import PublicKey, SigningKey
from ledger.signing.proofs import check_proof, make_proof
from ledger.signing.statement import read_stored
from ledger.writer import Answer

REQUEST_FORMAT = "trial-ledger-key-request/1"
LONGEST_REQUEST = 16_384
"""Bytes of a request file: one has about a thousand."""
REAFFIRMED_AT_ONCE = 200
"""Statements in one SignatureReaffirmed: a third of what fits into a statement."""


class WrongKey(Exception):
    """The key, or the file, is not one that this can be done with; the message says why and what to do."""


def study_of(ledger: Ledger, study: str) -> Study:
    """The study as it is now; raises StudyNotFound."""
    ledger.writer(study)
    found: Any = ledger.application(study).repository.get(ledger.study_aggregate_id(study))
    assert isinstance(found, Study)
    return found


def key_request(key: SigningKey, origin: str, actor: str) -> dict[str, Any]:
    """What the holder of a new key sends to a registrar: the public key, and the proof that the holder has it. The
    private key stays where it is."""
    jti = str(uuid.uuid4())
    return {
        "format": REQUEST_FORMAT,
        "origin": origin,
        "actor": actor,
        "jti": jti,
        "kid": key.kid,
        "alg": key.alg,
        "jwk": key.public_jwk,
        "proof": make_proof(key, aud=origin, iss=actor, jti=jti),
    }


def read_request(path: Path) -> dict[str, Any]:
    """A key request as read from a file; whether it is sound is for the ledger to say. Raises WrongKey."""
    try:
        with open(path, "rb") as file:
            read = read_json(file.read(LONGEST_REQUEST), "the request")
    except (OSError, Malformed) as error:
        raise WrongKey(f"{path} cannot be read as a key request ({error})") from None
    names = {"format", "origin", "actor", "jti", "kid", "alg", "jwk", "proof"}
    if not isinstance(read, dict) or read.keys() != names or read["format"] != REQUEST_FORMAT:
        raise WrongKey(f"{path} is no key request: have the holder of the key make one with `keys request`")
    if not all(isinstance(read[name], str) for name in names - {"jwk"}) or not isinstance(read["jwk"], dict):
        raise WrongKey(f"{path} is no key request: its parts are texts, and the key a JWK")
    return read


def signer_for(ledger: Ledger, study: str, key: SigningKey | None, role: str) -> tuple[Actor, Authority]:
    """Who signs: the actor that a key was enrolled for; without a key file, this home's registrar."""
    signer = key or ledger.home.key("registrar")
    current = study_of(ledger, study)
    authority = current.authority
    known = authority.key(signer.kid)
    if known is None:
        whose = "this home's registrar key" if key is None else "the key in this file"
        raise WrongKey(f"{whose} ({signer.kid}) is not enrolled in {study}: name a key that is, with --key")
    name = enrolled_name(current, known.actor)
    return Actor(known.actor, role, signer, ledger.origin(study), name=name), authority


def record(ledger: Ledger, study: str, text: str) -> Answer:
    """Append a statement; raises the Refusal."""
    outcome = ledger.append(study, text)
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def check_request(request: Mapping[str, Any], origin: str) -> None:
    """A request is for this log, and its holder proves to have the key; raises WrongKey."""
    if request["origin"] != origin:
        raise WrongKey(f"the request is for {request['origin']!r}, this log is {origin!r}: have another one made")
    try:
        proved = PublicKey.from_jwk(request["jwk"])
        check_proof(request["proof"], proved, aud=origin, iss=request["actor"], jti=request["jti"])
    except (Malformed, BadSignature) as wrong:
        raise WrongKey(f"the proof in the request is not good ({wrong}): have another one made") from None
    if proved.kid != request["kid"]:
        raise WrongKey(f"the key in the request has the thumbprint {proved.kid}: have another one made")


def enrol(ledger: Ledger, study: str, request: Mapping[str, Any], by: Actor, kind: str, known: Authority) -> Answer:
    """Enrol the key of a request, and its actor where that one is new: not before the proof was seen to be good, for an
    id is given once and for ever."""
    check_request(request, by.origin)
    about = f"actor/{request['actor']}"
    if request["actor"] not in known.actors:
        record(ledger, study, by.sign("ActorEnrolled", about, {"actor_kind": kind}))
    body = {name: request[name] for name in ("kid", "alg", "jwk", "proof")}
    return record(ledger, study, by.sign("KeyEnrolled", about, body, jti=request["jti"]))


def countersign(ledger: Ledger, study: str, jti: str, by: Actor) -> Answer:
    """Sign as the second person what waits for one: an entry, which takes no ceremony; a decision is not signed so."""
    first = study_of(ledger, study).records.get(jti)
    if first is None:
        raise WrongKey(f"{study} has no record {jti} that waits for a second signature")
    named = {"jti": jti, "digest": first.digest}
    return record(ledger, study, by.sign("Countersigned", first.sub, {}, countersigns=named))


def rotate_log(ledger: Ledger, study: str, by: Actor) -> tuple[Answer, list[str]]:
    """Hand the log over to its next keys, which are returned as well."""
    fields = ledger.log_rotation(study)
    return record(ledger, study, by.sign("LogKeyRotated", "study", fields)), fields["log_keys"]


def rotate_seal(ledger: Ledger, study: str, by: Actor) -> tuple[Answer, str]:
    """Enrol this installation's next key of the actor `ledger`, for which the log's own keys vouch; its thumbprint is
    returned as well. The key before stays in force until it is revoked."""
    key, note = ledger.next_seal(study)
    request = key_request(key, by.origin, LEDGER_ACTOR)
    body = {**{name: request[name] for name in ("kid", "alg", "jwk", "proof")}, "note": note}
    text = by.sign("KeyEnrolled", f"actor/{LEDGER_ACTOR}", body, jti=request["jti"])
    return record(ledger, study, text), key.kid


def disputed(ledger: Ledger, study: str, actor: str | None = None) -> Iterator[dict[str, Any]]:
    """Statements whose key came under suspicion and that are not reaffirmed, in order of the log."""
    authority = study_of(ledger, study).authority
    suspect = [key for key in authority.keys.values() if key.suspect_since is not None and actor in (None, key.actor)]
    for start, stop in _ranges(suspect):
        while start < stop:
            rows, _ = ledger.entries(study, start, MAX_PAGE, as_of=stop)
            for row in rows:
                named = target(read_stored(row.jwt, row.disclosures))
                holder = authority.key(row.kid)
                if holder in suspect and authority.disputed(row.kid, row.idx, row.jti, named["digest"]):
                    yield {"index": row.idx, "event": row.topic.partition("/")[0], "actor": holder.actor, **named}
            if not rows:
                break
            start = rows[-1].idx + 1


def _ranges(keys: list[Key]) -> list[tuple[int, int]]:
    """The indexes under suspicion, overlapping ones joined."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted((key.suspect_since or 0, key.revoked or 0) for key in keys):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found


def reaffirm(ledger: Ledger, study: str, by: Actor, records: list[dict[str, str]]) -> list[Answer]:
    """Stand by own statements, some hundred a statement."""
    answers = []
    for at in range(0, len(records), REAFFIRMED_AT_ONCE):
        some = records[at : at + REAFFIRMED_AT_ONCE]
        answers.append(record(ledger, study, by.sign("SignatureReaffirmed", f"actor/{by.id}", {"records": some})))
    return answers


def listed(authority: Authority) -> list[dict[str, Any]]:
    """Every key that was ever enrolled, in order of enrolment."""
    return [
        {
            "actor": key.actor,
            "kid": key.kid,
            "since": key.since,
            "revoked": key.revoked,
            "suspect_since": key.suspect_since,
        }
        for key in sorted(authority.keys.values(), key=lambda key: (key.since, key.actor))
    ]


def public_of(key: SigningKey) -> dict[str, Any]:
    """What may be told of a key."""
    return {"kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}
