"""A key is enrolled only for whom its holder asked: possession is proven, for one enrolment in one log."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.signing.encoding import b64url
from ledger.signing.errors import BadSignature, Malformed
from ledger.signing.keys import PublicKey, SigningKey
from ledger.signing.proofs import check_proof, make_proof
from tests.conformance.forging import KEY, ORIGIN, OTHER_KEY, encode

JTI = "6f1c1b9e-0d5c-5a57-8e0f-1f7b7a3f9c01"
ASKED = {"aud": ORIGIN, "iss": "dr-lee", "jti": JTI}
PROOF = make_proof(KEY, **ASKED)
HEADER = {"typ": "trial-key-proof+jwt", "alg": "Ed25519", "kid": KEY.kid}
PAYLOAD = {**ASKED, "kid": KEY.kid}


def forge(header: Any = HEADER, payload: Any = PAYLOAD, key: SigningKey = KEY) -> str:
    signed = f"{encode(header)}.{encode(payload)}"
    return f"{signed}.{b64url(key.sign(signed.encode()))}"


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
def test_the_holder_of_a_key_proves_it(alg: str) -> None:
    key = SigningKey.generate(alg)
    check_proof(make_proof(key, **ASKED), key.public, **ASKED)


def test_a_proof_made_by_another_library_is_accepted() -> None:
    header = json.dumps({**HEADER, "alg": "EdDSA"}, indent=2)
    check_proof(forge(header, json.dumps(PAYLOAD, indent=2)), KEY.public, **ASKED)


@pytest.mark.parametrize(
    "other",
    [{"aud": "ledger.example.org/study/OTHER"}, {"iss": "dr-kim"}, {"jti": JTI.replace("6f", "7f")}],
    ids=["another log", "another actor", "another enrolment"],
)
def test_a_proof_is_for_one_enrolment_only(other: dict[str, str]) -> None:
    with pytest.raises(Malformed, match="PROOF-4"):
        check_proof(PROOF, KEY.public, **{**ASKED, **other})


def test_a_proof_is_for_one_key_only() -> None:
    with pytest.raises(Malformed, match="PROOF-4"):
        check_proof(PROOF, OTHER_KEY.public, **ASKED)
    with pytest.raises(Malformed, match="PROOF-4"):
        check_proof(forge(header={**HEADER, "kid": OTHER_KEY.kid}), KEY.public, **ASKED)


def test_somebody_elses_signature_proves_nothing() -> None:
    with pytest.raises(BadSignature):
        check_proof(forge(key=OTHER_KEY), KEY.public, **ASKED)
    with pytest.raises(BadSignature):
        check_proof(forge(header={**HEADER, "alg": "ES256"}), KEY.public, **ASKED)


HEAD, BODY, SIGNATURE = PROOF.split(".")
BROKEN: list[tuple[str, str, Any]] = [
    ("PROOF-1", "no text", None),
    ("PROOF-1", "nothing", ""),
    ("PROOF-1", "two parts", f"{HEAD}.{BODY}"),
    ("PROOF-1", "four parts", f"{PROOF}.{SIGNATURE}"),
    ("PROOF-1", "a letter beyond ASCII", PROOF + "é"),
    ("PROOF-1", "a very long proof", forge(header=json.dumps(HEADER) + " " * 4000)),
    ("PROOF-2", "the typ of a statement", forge({**HEADER, "typ": "trial-event+sd-jwt"})),
    ("PROOF-2", "one more member in the header", forge({**HEADER, "crit": ["x"]})),
    ("PROOF-2", "no kid in the header", forge({"typ": HEADER["typ"], "alg": "Ed25519"})),
    ("PROOF-2", "a header that is a list", forge([])),
    ("PROOF-2", "no algorithm", forge({**HEADER, "alg": "none"})),
    ("PROOF-2", "an algorithm that is a list", forge({**HEADER, "alg": ["Ed25519"]})),
    ("PROOF-3", "one more member in the payload", forge(payload={**PAYLOAD, "iat": 1})),
    ("PROOF-3", "no aud", forge(payload={"iss": "dr-lee", "kid": KEY.kid, "jti": JTI})),
    ("PROOF-3", "a list of audiences", forge(payload={**PAYLOAD, "aud": [ORIGIN]})),
    ("PROOF-3", "a jti in capitals", forge(payload={**PAYLOAD, "jti": JTI.upper()})),
    ("PROOF-3", "a kid that is null", forge(payload={**PAYLOAD, "kid": None})),
    ("PROOF-3", "a payload that is a string", forge(payload='"x"')),
    ("JSON-3", "a claim twice", forge(payload=json.dumps(PAYLOAD).replace("{", '{"iss": "dr-kim", ', 1))),
    ("JSON-3", "a header member twice", forge(header=json.dumps(HEADER).replace("{", '{"alg": "none", ', 1))),
    ("JSON-2", "rubbish after the payload", forge(payload=json.dumps(PAYLOAD) + "x")),
    ("BASE64URL-1", "padding", PROOF + "=="),
    ("BASE64URL-2", "unused bits set", PROOF[:-1] + "B"),
]


@pytest.mark.parametrize(("rule", "text"), [pytest.param(r, t, id=f"{r}: {name}") for r, name, t in BROKEN])
def test_a_malformed_proof_is_refused_by_its_rule(rule: str, text: Any) -> None:
    with pytest.raises(Malformed) as refused:
        check_proof(text, KEY.public, **ASKED)
    assert refused.value.rule == rule, str(refused.value)


@pytest.mark.parametrize("wrong", [{"aud": "a b"}, {"iss": ""}, {"jti": "1"}])
def test_a_proof_that_would_be_refused_is_not_made(wrong: dict[str, str]) -> None:
    with pytest.raises(Malformed, match="PROOF-3"):
        make_proof(KEY, **{**ASKED, **wrong})


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(PROOF) - 1), st.integers(1, 127))
def test_no_changed_character_is_accepted(at: int, difference: int) -> None:
    raw = bytearray(PROOF.encode())
    raw[at] ^= difference
    public = PublicKey.from_jwk(KEY.public_jwk)
    with pytest.raises((Malformed, BadSignature)):
        check_proof(raw.decode(), public, **ASKED)
