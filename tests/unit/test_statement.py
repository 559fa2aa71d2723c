"""What an actor signs is read back as it was signed, byte for byte and field by field."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from ledger.signing.statement import (
    BadSignature,
    Malformed,
    Statement,
    disclosure_digest,
    make,
    new_salt,
    parse,
    read_stored,
    unmatched_disclosures,
    verify,
)
from tests.conformance.forging import (
    CLAIMS,
    CONTENT,
    KEY,
    ORIGIN,
    OTHER_KEY,
    fixed_salts,
    forge,
    forge_claims,
)

ORIGINAL = {"jti": "11111111-1111-4111-8111-111111111111", "digest": disclosure_digest("original")}
STATE = {"size": 7, "root": disclosure_digest("root")}


def made(claims: dict[str, Any] = CLAIMS, content: dict[str, Any] = CONTENT, key: Any = KEY) -> Statement:
    return parse(make(key, claims, content, fixed_salts()))


def test_what_was_signed_is_what_is_read() -> None:
    text = make(KEY, CLAIMS, CONTENT, fixed_salts())
    statement = parse(text)
    verify(statement, KEY.public)
    assert statement.text() == text
    assert dict(statement.content) == CONTENT
    assert {name: statement.claims[name] for name in CLAIMS} == CLAIMS
    assert statement.digest == disclosure_digest(statement.jwt)
    assert (statement.alg, statement.kid) == ("Ed25519", KEY.kid)


def test_bytes_and_text_are_read_alike() -> None:
    text = forge()
    assert parse(text) == parse(text.encode())


def test_the_same_statement_in_other_bytes_is_another_statement() -> None:
    assert made() != made({**CLAIMS, "iat": CLAIMS["iat"] + 1})
    assert len({made(), made()}) == 1


def test_every_claim_can_be_asked_for_by_name() -> None:
    claims = {
        **CLAIMS,
        "body": {"arm": "A"},
        "meaning": "approval",
        "ceremony": "c-1",
        "cut": STATE,
        "seen": STATE,
        "exp": CLAIMS["iat"] + 3600,
        "mode": "transcribed",
        "expected_version": 4,
        "corrects": {**ORIGINAL, "field": "occurred_at"},
        "voids": ORIGINAL,
        "answers": ORIGINAL,
        "reverses": ORIGINAL,
        "countersigns": ORIGINAL,
    }
    statement = made(claims)
    assert statement.version == claims["v"]
    for name in claims.keys() - {"v"}:
        assert getattr(statement, name) == claims[name], name


def test_what_is_absent_has_a_plain_answer() -> None:
    statement = made({name: value for name, value in CLAIMS.items() if name != "site"}, {})
    assert statement.site is None
    assert statement.body == {}
    assert statement.mode == "direct"
    assert statement.content == {}
    assert statement.disclosures == ()
    assert "_sd" not in statement.claims
    for name in ("meaning", "ceremony", "cut", "seen", "exp", "expected_version", "corrects", "voids"):
        assert getattr(statement, name) is None
    for name in ("answers", "reverses", "countersigns"):
        assert getattr(statement, name) is None


def test_digests_are_sorted_so_that_their_order_tells_nothing() -> None:
    digests = made().claims["_sd"]
    assert digests == sorted(digests) != [disclosure_digest(d) for d in made().disclosures]


def test_every_field_has_a_salt_of_its_own() -> None:
    first, second = make(KEY, CLAIMS, CONTENT), make(KEY, CLAIMS, CONTENT)
    assert not set(parse(first).disclosures) & set(parse(second).disclosures)


def test_a_salt_is_twenty_two_characters_and_never_the_same() -> None:
    salts = {new_salt() for _ in range(200)}
    assert len(salts) == 200
    assert {len(salt) for salt in salts} == {22}


@pytest.mark.parametrize("subject", ["study", "site/701", "actor/dr-lee", "cohort/EXP", "product/LOT-1.2"])
def test_a_statement_may_be_about_each_kind_of_thing(subject: str) -> None:
    assert made({**CLAIMS, "sub": subject}).sub == subject


def test_field_values_may_be_whole_objects_lists_and_null() -> None:
    content = {"items": [{"code": 1}, [None, True, "x"]], "none": None, "largest": 2**53 - 1}
    assert made(content=content).content == content


@pytest.mark.parametrize("value", [1.0, float("nan"), float("inf"), 2**53, "a\0b", "\ud800", {"_sd": []}])
def test_what_could_not_be_parsed_is_not_signed(value: Any) -> None:
    class Refusing:
        kid, alg = KEY.kid, KEY.alg

        def sign(self, message: bytes) -> bytes:
            raise AssertionError("a malformed statement reached the signer")

    with pytest.raises(Malformed):
        make(Refusing(), CLAIMS, {"value": value}, fixed_salts())


def test_a_value_that_is_not_json_is_refused_before_signing() -> None:
    with pytest.raises(TypeError):
        make(KEY, CLAIMS, {"value": object()}, fixed_salts())


@pytest.mark.parametrize("claim", ["_sd", "_sd_alg"])
def test_the_maker_sets_the_digests_itself(claim: str) -> None:
    with pytest.raises(Malformed, match="STATEMENT-9"):
        make(KEY, {**CLAIMS, claim: "sha-256"}, CONTENT, fixed_salts())


def test_a_claim_cannot_be_slipped_in_as_a_disclosed_field() -> None:
    for name in ("voids", "exp", "meaning", "_sd", "...", "nbf", "cnf"):
        with pytest.raises(Malformed, match="DISCLOSURE-3"):
            make(KEY, CLAIMS, {name: "x"}, fixed_salts())


def test_another_key_did_not_sign_it() -> None:
    with pytest.raises(BadSignature, match="names the key"):
        verify(made(), OTHER_KEY.public)


def test_naming_a_key_is_not_having_it() -> None:
    statement = parse(forge(key=OTHER_KEY))  # the header names KEY, OTHER_KEY signed
    with pytest.raises(BadSignature):
        verify(statement, KEY.public)


def test_the_algorithm_in_the_header_must_be_the_keys() -> None:
    header = {"typ": "trial-event+sd-jwt", "alg": "ES256", "kid": KEY.kid}
    with pytest.raises(BadSignature):
        verify(parse(forge(header=header)), KEY.public)


def test_the_older_name_of_ed25519_is_accepted() -> None:
    header = {"typ": "trial-event+sd-jwt", "alg": "EdDSA", "kid": KEY.kid}
    statement = parse(forge(header=header))
    verify(statement, KEY.public)
    assert statement.alg == "EdDSA"


def test_a_signature_of_another_length_is_none() -> None:
    jwt, _, rest = forge().partition("~")
    for signature in ("AAAA", "A" * 88):
        statement = parse(f"{jwt.rpartition('.')[0]}.{signature}~{rest}")
        with pytest.raises(BadSignature):
            verify(statement, KEY.public)


def test_a_stored_statement_reads_as_it_was_received() -> None:
    statement = made()
    again = read_stored(statement.jwt, list(statement.disclosures))
    for name in ("jwt", "disclosures", "alg", "kid", "claims", "content", "digest"):
        assert getattr(again, name) == getattr(statement, name)
    verify(again, KEY.public)
    assert read_stored(made(content={}).jwt, ()).content == {}


def test_a_redacted_field_is_gone_and_the_signature_still_holds() -> None:
    statement = made()
    kept = [d for d, name in zip(statement.disclosures, CONTENT, strict=True) if name != "comment"]
    redacted = read_stored(statement.jwt, kept)
    verify(redacted, KEY.public)
    assert dict(redacted.content) == {name: value for name, value in CONTENT.items() if name != "comment"}
    assert redacted.digest == statement.digest
    assert parse(redacted.text(), partial=True) == redacted
    with pytest.raises(Malformed, match="DISCLOSURE-6"):
        parse(redacted.text())


def test_a_disclosure_altered_in_the_store_is_noticed() -> None:
    statement, other = made(), made(content={"value": "999"})
    altered = read_stored(statement.jwt, other.disclosures)
    assert unmatched_disclosures(altered) == other.disclosures
    assert unmatched_disclosures(statement) == ()
    with pytest.raises(Malformed, match="DISCLOSURE-5"):
        parse(altered.text(), partial=True)


@pytest.mark.parametrize(
    ("jwt", "disclosures"),
    [
        ("", []),
        ("a.b", []),
        ("é.b.c", []),
        (forge().partition("~")[0], ["e30"]),
        (forge().partition("~")[0], ["WyJhIl0"]),
        (forge().partition("~")[0], ["W10sW10"]),
        (forge(payload="[]", disclosures=[]).partition("~")[0], []),
    ],
)
def test_stored_bytes_that_are_no_statement_are_refused(jwt: str, disclosures: list[str]) -> None:
    with pytest.raises(Malformed, match="STORED-1"):
        read_stored(jwt, disclosures)


def test_a_signature_with_junk_in_it_is_not_good_even_from_the_store() -> None:
    jwt = forge().partition("~")[0]
    with pytest.raises(BadSignature):
        verify(read_stored(jwt + "!", ()), KEY.public)


def test_a_statement_can_be_handed_to_another_process() -> None:
    statement = made()
    assert pickle.loads(pickle.dumps(statement)) == statement


def test_a_refusal_says_rule_cause_and_remedy() -> None:
    with pytest.raises(Malformed) as refused:
        parse(forge_claims(aud=[ORIGIN]))
    assert refused.value.rule == "CLAIM-3"
    assert "`aud`" in refused.value.because
    assert "one string" in refused.value.remedy
    assert "Sign it anew" in refused.value.remedy
    assert str(refused.value).startswith("CLAIM-3: ")
