"""The reference implementation of SD-JWT accepts what is made here, and what it makes is accepted here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwcrypto.jwk import JWK
from sd_jwt.common import SDObj
from sd_jwt.holder import SDJWTHolder
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.verifier import SDJWTVerifier

from ledger.signing.encoding import unb64url
from ledger.signing.keys import SigningKey
from ledger.signing.statement import Malformed, make, parse, verify
from tests.conformance.forging import CLAIMS, CONTENT, fixed_salts

KEYS = {"Ed25519": SigningKey.from_seed(bytes(32)), "ES256": SigningKey.generate("ES256")}
KEYS["EdDSA"] = KEYS["Ed25519"]


def issue(alg: str, claims: dict[Any, Any], **options: Any) -> str:
    """A statement made by the reference implementation; the header's typ and kid are ours."""
    key = KEYS[alg]
    header = {"typ": "trial-event+sd-jwt", "kid": key.kid}
    private = JWK.from_json(json.dumps(key.private_jwk()))
    issuer = SDJWTIssuer(claims, private, sign_alg=alg, extra_header_parameters=header, **options)
    return str(issuer.sd_jwt_issuance)


def disclosed(content: dict[str, Any]) -> dict[Any, Any]:
    return {SDObj(name): value for name, value in content.items()}


def read_by_oracle(text: str, key: SigningKey) -> dict[str, Any]:
    public = JWK.from_json(json.dumps(key.public_jwk))
    payload: dict[str, Any] = SDJWTVerifier(text, lambda issuer, header: public).get_verified_payload()
    return payload


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
@pytest.mark.parametrize("content", [CONTENT, {}, {"only": None}], ids=["five fields", "none", "one"])
def test_the_oracle_reads_what_is_made_here(alg: str, content: dict[str, Any]) -> None:
    text = make(KEYS[alg], CLAIMS, content, fixed_salts())
    assert read_by_oracle(text, KEYS[alg]) == {**CLAIMS, **content}


def test_the_oracle_reads_a_redacted_statement_too() -> None:
    text = make(KEYS["Ed25519"], CLAIMS, CONTENT, fixed_salts())
    jwt, *disclosures, _ = text.split("~")
    kept = "~".join((jwt, *disclosures[1:], ""))
    assert read_by_oracle(kept, KEYS["Ed25519"]) == {**CLAIMS, **parse(kept, partial=True).content}


@pytest.mark.parametrize("alg", ["Ed25519", "EdDSA", "ES256"])
def test_what_the_oracle_makes_within_the_profile_is_accepted(alg: str) -> None:
    statement = parse(issue(alg, {**CLAIMS, **disclosed(CONTENT)}))
    verify(statement, KEYS[alg].public)
    assert dict(statement.content) == CONTENT
    assert {name: statement.claims[name] for name in CLAIMS} == CLAIMS


def test_what_the_oracle_makes_with_nothing_disclosed_is_accepted() -> None:
    statement = parse(issue("Ed25519", dict(CLAIMS)))
    verify(statement, KEYS["Ed25519"].public)
    assert statement.content == {}


def test_a_holder_cannot_hold_fields_back_by_the_oracle() -> None:
    holder = SDJWTHolder(issue("Ed25519", {**CLAIMS, **disclosed(CONTENT)}))
    holder.create_presentation({"value": True})
    with pytest.raises(Malformed, match="DISCLOSURE-6"):
        parse(holder.sd_jwt_presentation)


def test_what_the_oracle_makes_beyond_the_profile_is_refused() -> None:
    holder_key = JWK.generate(kty="EC", crv="P-256")
    beyond: list[tuple[str, str]] = [
        ("DISCLOSURE-6", issue("Ed25519", {**CLAIMS, **disclosed({"value": "45"})}, add_decoy_claims=True)),
        ("DISCLOSURE-1", issue("Ed25519", {**CLAIMS, SDObj("items"): [SDObj("a"), "b"]})),
        ("DISCLOSURE-8", issue("Ed25519", {**CLAIMS, "body": {SDObj("a"): 1}})),
        ("STATEMENT-9", issue("Ed25519", {**CLAIMS, **disclosed(CONTENT)}, holder_key=holder_key)),
    ]
    for rule, text in beyond:
        assert read_by_oracle(text, KEYS["Ed25519"])
        with pytest.raises(Malformed) as refused:
            parse(text)
        assert refused.value.rule == rule, str(refused.value)


def test_the_oracles_key_binding_is_refused() -> None:
    holder_key = JWK.generate(kty="EC", crv="P-256")
    holder = SDJWTHolder(issue("Ed25519", {**CLAIMS, **disclosed(CONTENT)}))
    holder.create_presentation(dict.fromkeys(CONTENT, True), nonce="n", aud="a", holder_key=holder_key)
    with pytest.raises(Malformed, match="STATEMENT-3"):
        parse(holder.sd_jwt_presentation)


def test_its_salts_are_those_of_the_profile() -> None:
    salts = [json.loads(unb64url(d))[0] for d in issue("Ed25519", disclosed(CONTENT)).split("~")[1:-1]]
    assert [len(salt) for salt in salts] == [22] * len(CONTENT)


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)
scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | text
values = (
    scalars
    | st.lists(scalars, max_size=3)
    | st.dictionaries(text.filter(lambda k: k not in ("...", "_sd", "_sd_alg")), scalars)
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=8), values, max_size=5))
def test_both_read_the_same_fields(content: dict[str, Any]) -> None:
    made = make(KEYS["Ed25519"], CLAIMS, content, fixed_salts())
    issued = issue("Ed25519", {**CLAIMS, **disclosed(content)})
    assert read_by_oracle(made, KEYS["Ed25519"]) == {**CLAIMS, **content}
    assert dict(parse(issued).content) == content
