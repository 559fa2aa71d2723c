"""Strict parsing, sentence by sentence: a statement that breaks one rule, and nothing else, is refused.

Every statement here is signed with a good signature over its broken bytes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.signing.encoding import unb64url
from ledger.signing.errors import RULES
from ledger.signing.keys import SigningKey
from ledger.signing.statement import Malformed, parse, verify
from tests.conformance.forging import (
    CLAIMS,
    CONTENT,
    HEADER,
    KEY,
    disclose,
    encode,
    forge,
    forge_claims,
    forge_field,
    with_digests,
)

SALT = "AAAAAAAAAAAAAAAAAAAAAA"
DIGEST = "A" * 43
UUID = "11111111-1111-4111-8111-111111111111"
DISCLOSED = disclose(CONTENT)
GOOD = forge()
JWT, _, REST = GOOD.partition("~")
HEAD, BODY, SIGNATURE = JWT.split(".")


def payload(**changed: Any) -> dict[str, Any]:
    return {**with_digests(CLAIMS, DISCLOSED), **changed}


def text_of(value: Any) -> str:
    return json.dumps(value)


def in_payload(written: str) -> str:
    """A good payload in which `body` is written as this JSON text."""
    return forge(text_of(payload(body="HERE")).replace('"HERE"', written))


def in_field(written: str) -> str:
    """A statement with one field whose value is written as this JSON text."""
    return forge_field(f'["{SALT}", "value", {written}]')


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def padded_with(characters: int) -> str:
    """A statement whose JWT is about this long."""
    return forge_claims(body={"filler": "x" * (characters * 3 // 4)})


BROKEN: list[tuple[str, str, str | bytes]] = [
    # Size
    ("LIMIT-1", "the JWT is longer than a log entry may be", padded_with(48_000)),
    ("LIMIT-2", "a statement is longer than 256 KiB", forge(disclosures=disclose({"file": "x" * 200_000}))),
    ("LIMIT-2", "a flood of separators", "~" * 300_000),
    (
        "LIMIT-3",
        "there are 257 disclosures",
        forge(disclosures=disclose({f"field_{number}": 1 for number in range(257)})),
    ),
    # Structure
    ("STATEMENT-1", "a letter beyond ASCII", GOOD.replace("~", "é~", 1)),
    ("STATEMENT-1", "a byte beyond ASCII", GOOD.encode() + b"\xff~"),
    ("STATEMENT-2", "a JWT alone", JWT),
    ("STATEMENT-2", "no ~ at the end", GOOD.removesuffix("~")),
    ("STATEMENT-2", "nothing at all", ""),
    ("STATEMENT-2", "only two parts in the JWT", f"{HEAD}.{BODY}~{REST}"),
    (
        "STATEMENT-2",
        "five parts in the JWT, as of an encrypted one",
        f"{HEAD}.{BODY}.{BODY}.{BODY}.{SIGNATURE}~",
    ),
    ("STATEMENT-2", "a disclosure with a dot", f"{JWT}~{DISCLOSED[0]}.~"),
    (
        "STATEMENT-2",
        "a dot moved from the JWT into a disclosure",
        f"{HEAD}.{BODY}{SIGNATURE}~{DISCLOSED[0]}.~",
    ),
    ("STATEMENT-3", "a key-binding JWT at the end", GOOD + JWT),
    ("STATEMENT-3", "a key-binding JWT and no disclosure", f"{JWT}~{JWT}"),
    ("STATEMENT-4", "an empty disclosure", GOOD + "~"),
    ("STATEMENT-4", "an empty disclosure between two others", GOOD.replace("~", "~~", 1)),
    ("STATEMENT-4", "an empty signature", f"{HEAD}.{BODY}.~{REST}"),
    ("STATEMENT-4", "an empty payload", f"{HEAD}..{SIGNATURE}~{REST}"),
    ("STATEMENT-4", "an empty header", f".{BODY}.{SIGNATURE}~{REST}"),
    # Header
    ("STATEMENT-5", "a header with one more member", forge(header={**HEADER, "crit": []})),
    ("STATEMENT-5", "a header with the key itself", forge(header={**HEADER, "jwk": KEY.public_jwk})),
    ("STATEMENT-5", "a header without kid", forge(header={"typ": HEADER["typ"], "alg": "Ed25519"})),
    ("STATEMENT-5", "a header without typ", forge(header={"kid": KEY.kid, "alg": "Ed25519"})),
    ("STATEMENT-5", "a header that is a list", forge(header=[HEADER])),
    ("STATEMENT-6", "another typ", forge(header={**HEADER, "typ": "JWT"})),
    ("STATEMENT-6", "typ in other letters", forge(header={**HEADER, "typ": "Trial-Event+SD-JWT"})),
    ("STATEMENT-6", "typ as a media type", forge(header={**HEADER, "typ": "application/trial-event+sd-jwt"})),
    ("STATEMENT-6", "typ that is no string", forge(header={**HEADER, "typ": ["trial-event+sd-jwt"]})),
    ("STATEMENT-7", "no algorithm at all", forge(header={**HEADER, "alg": "none"})),
    ("STATEMENT-7", "a shared-secret algorithm", forge(header={**HEADER, "alg": "HS256"})),
    ("STATEMENT-7", "an algorithm in other letters", forge(header={**HEADER, "alg": "ed25519"})),
    ("STATEMENT-7", "an algorithm that is no string", forge(header={**HEADER, "alg": {}})),
    ("STATEMENT-8", "a kid that is a name", forge(header={**HEADER, "kid": "dr-lee"})),
    ("STATEMENT-8", "a kid one character short", forge(header={**HEADER, "kid": KEY.kid[:-1]})),
    (
        "STATEMENT-8",
        "a kid in a spelling that is not canonical",
        forge(header={**HEADER, "kid": "A" * 42 + "B"}),
    ),
    ("STATEMENT-8", "a kid with padding", forge(header={**HEADER, "kid": KEY.kid + "="})),
    ("STATEMENT-8", "a kid with a line feed after it", forge(header={**HEADER, "kid": KEY.kid + "\n"})),
    ("STATEMENT-8", "a kid that is a number", forge(header={**HEADER, "kid": 43})),
    # base64url
    ("BASE64URL-1", "padding after the signature", f"{JWT}==~{REST}"),
    ("BASE64URL-1", "padding after a disclosure", f"{JWT}~{DISCLOSED[0]}=~"),
    ("BASE64URL-1", "a line feed at the end of the JWT", f"{JWT}\n~{REST}"),
    ("BASE64URL-1", "white space in a disclosure", f"{JWT}~{DISCLOSED[0]} ~"),
    ("BASE64URL-1", "the standard alphabet", f"{HEAD}+.{BODY}.{SIGNATURE}~{REST}"),
    ("BASE64URL-1", "a slash", f"{HEAD}/.{BODY}.{SIGNATURE}~{REST}"),
    ("BASE64URL-1", "a NUL byte", f"{JWT}\0~{REST}"),
    ("BASE64URL-1", "a statement as a JSON string", f'"{JWT}~{REST}"~'),
    ("BASE64URL-2", "a signature with unused bits set", f"{HEAD}.{BODY}.{SIGNATURE[:-1]}B~{REST}"),
    ("BASE64URL-2", "a header with unused bits set", f"e31.{BODY}.{SIGNATURE}~{REST}"),
    (
        "BASE64URL-2",
        "a payload of an impossible length",
        f"{HEAD}.{BODY[: len(BODY) // 4 * 4 + 1]}.{SIGNATURE}~{REST}",
    ),
    ("BASE64URL-2", "a disclosure with unused bits set", f"{JWT}~W11~"),
    # JSON
    ("JSON-1", "a byte order mark before the payload", forge(b"\xef\xbb\xbf" + text_of(payload()).encode())),
    (
        "JSON-1",
        "a payload in Latin-1",
        forge(text_of(payload(body="HERE")).replace("HERE", "\xe9").encode("latin-1")),
    ),
    ("JSON-1", "a payload in UTF-16", forge(text_of(payload()).encode("utf-16"))),
    ("JSON-1", "a surrogate encoded as if it were a character", forge(b'{"iss": "\xed\xa0\x80"}')),
    ("JSON-1", "an overlong spelling of a letter", forge(b'{"iss": "\xc1\x81"}')),
    ("JSON-2", "a comma too many", forge(text_of(payload()).replace("}", ",}"))),
    ("JSON-2", "single quotes", forge("{'iss': 'x'}")),
    ("JSON-2", "a second value after the first", forge(text_of(payload()) + "{}")),
    ("JSON-2", "a comment", forge(text_of(payload()) + "/**/")),
    ("JSON-2", "a leading zero", in_payload("007")),
    ("JSON-2", "a plus sign", in_payload("+1")),
    ("JSON-2", "a line feed inside a string", in_payload('"a\nb"')),
    ("JSON-2", "a NUL character inside a string", in_payload('"a\0b"')),
    ("JSON-2", "white space that JSON does not know", forge("\u00a0" + text_of(payload()))),
    ("JSON-2", "nothing but white space", forge("   ")),
    ("JSON-2", "a disclosure cut short", forge_field('["a", "b", ')),
    ("JSON-3", "a claim twice", forge(text_of(payload()).replace("{", '{"iss": "dr-kim", ', 1))),
    (
        "JSON-3",
        "a claim twice with the same value",
        forge(text_of(payload()).replace("{", '{"iss": "dr-lee", ', 1)),
    ),
    (
        "JSON-3",
        "a claim twice in two spellings",
        forge(text_of(payload()).replace("{", '{"\\u0069ss": "dr-kim", ', 1)),
    ),
    ("JSON-3", "a header member twice", forge(header=text_of(HEADER).replace("{", '{"alg": "none", ', 1))),
    ("JSON-3", "a key twice deep in the body", in_payload('{"a": [{"b": 1, "b": 2}]}')),
    ("JSON-3", "a key twice inside a disclosed value", in_field('{"a": 1, "a": 2}')),
    ("JSON-4", "a fraction", in_field("1.5")),
    ("JSON-4", "a fraction that is zero", in_field("1.0")),
    ("JSON-4", "an exponent", in_field("1e3")),
    ("JSON-4", "a capital exponent", in_payload("[1E-3]")),
    ("JSON-4", "an iat with a fraction", forge(text_of(payload()).replace("1760000000", "1760000000.0"))),
    ("JSON-5", "NaN", in_field("NaN")),
    ("JSON-5", "Infinity", in_field("[Infinity]")),
    ("JSON-5", "minus Infinity", in_payload("-Infinity")),
    ("JSON-6", "2 to the 53rd", in_field("9007199254740992")),
    ("JSON-6", "minus 2 to the 53rd", in_field("-9007199254740992")),
    ("JSON-6", "an integer of a hundred thousand digits", in_field("9" * 100_000)),
    ("JSON-7", "minus zero", in_field("-0")),
    ("JSON-8", "an escaped NUL in a value", in_field(r'"a\u0000b"')),
    ("JSON-8", "an escaped NUL in a key", in_payload(r'{"a\u0000": 1}')),
    ("JSON-8", "an escaped NUL in a claim", forge_claims(role="in\0vestigator")),
    ("JSON-9", "half of a surrogate pair", in_field(r'"\ud83d"')),
    ("JSON-9", "the other half of a surrogate pair", in_field(r'"\ude00x"')),
    ("JSON-9", "two halves in the wrong order", in_field(r'"\ude00\ud83d"')),
    ("JSON-9", "half of a surrogate pair in a key", in_payload(r'{"\uDBFF": 1}')),
    ("JSON-10", "nine levels in a disclosure", in_field(nested(8))),
    ("JSON-10", "nine levels in the payload", in_payload(nested(8))),
    ("JSON-10", "nine levels of objects", in_field('{"a":' * 8 + "1" + "}" * 8)),
    ("JSON-10", "a hundred thousand levels", in_field(nested(80_000))),
    ("JSON-10", "levels without end", forge("[" * 30_000)),
    ("JSON-10", "objects without end", forge('{"a":' * 6_000)),
    # Claims as a whole
    ("STATEMENT-9", "an unknown claim", forge_claims(colour="red")),
    ("STATEMENT-9", "a claim of ordinary JWTs", forge_claims(nbf=1)),
    ("STATEMENT-9", "a claim in other letters", forge_claims(Site="701")),
    ("STATEMENT-9", "a holder's key", forge_claims(cnf={"jwk": KEY.public_jwk})),
    ("STATEMENT-9", "a payload that is a list", forge([])),
    ("STATEMENT-9", "a payload that is null", forge("null")),
    *(
        ("STATEMENT-10", f"no {claim}", forge_claims(**{claim: ...}))
        for claim in ("iss", "role", "aud", "sub", "jti", "iat", "event", "v")
    ),
    ("STATEMENT-10", "no _sd_alg", forge({**CLAIMS, "_sd": [DIGEST]})),
    # Disclosures
    ("DISCLOSURE-1", "an array element disclosed", forge_field([SALT, "value"])),
    ("DISCLOSURE-1", "a disclosure of four", forge_field([SALT, "value", 1, 2])),
    ("DISCLOSURE-1", "a disclosure that is an object", forge_field({"salt": SALT, "value": 1, "x": 2})),
    ("DISCLOSURE-1", "a disclosure that is a string", forge_field('"abc"')),
    ("DISCLOSURE-2", "a short salt", forge_field(["AAAA", "value", 1])),
    ("DISCLOSURE-2", "a long salt", forge_field([SALT + "A", "value", 1])),
    ("DISCLOSURE-2", "a salt with unused bits set", forge_field([SALT[:-1] + "B", "value", 1])),
    ("DISCLOSURE-2", "a salt in the standard alphabet", forge_field(["+" + SALT[1:], "value", 1])),
    ("DISCLOSURE-2", "a salt that is a number", forge_field([1, "value", 1])),
    ("DISCLOSURE-2", "a salt with letters beyond ASCII", forge_field(["é" + SALT[1:], "value", 1])),
    ("DISCLOSURE-3", "a field without name", forge_field([SALT, "", 1])),
    ("DISCLOSURE-3", "a field named by a number", forge_field([SALT, 1, 1])),
    ("DISCLOSURE-3", "a field named by null", forge_field([SALT, None, 1])),
    ("DISCLOSURE-3", "a field with a very long name", forge_field([SALT, "x" * 129, 1])),
    ("DISCLOSURE-3", "a field named _sd", forge_field([SALT, "_sd", 1])),
    ("DISCLOSURE-3", "a field named ...", forge_field([SALT, "...", 1])),
    (
        "DISCLOSURE-3",
        "a field that hides a void",
        forge_field([SALT, "voids", {"jti": UUID, "digest": DIGEST}]),
    ),
    ("DISCLOSURE-3", "a field that hides an expiry", forge_field([SALT, "exp", 1])),
    (
        "DISCLOSURE-4",
        "a field disclosed twice with two values",
        forge(disclosures=[encode([SALT, "value", "45"]), encode([SALT, "value", "450"])]),
    ),
    (
        "DISCLOSURE-5",
        "a disclosure that nobody signed",
        forge(payload(), [*DISCLOSED, encode([SALT, "grade", 3])]),
    ),
    (
        "DISCLOSURE-5",
        "a disclosure where nothing is disclosed",
        forge(with_digests(CLAIMS, []), DISCLOSED[:1]),
    ),
    (
        "DISCLOSURE-5",
        "one disclosure exchanged for another",
        forge(payload(), [encode([SALT, "x", 1]), *DISCLOSED[1:]]),
    ),
    ("DISCLOSURE-6", "a disclosure held back", forge(payload(), DISCLOSED[1:])),
    ("DISCLOSURE-6", "all disclosures held back", forge(payload(), [])),
    ("DISCLOSURE-6", "a decoy digest", forge(payload(_sd=[*payload()["_sd"], DIGEST]))),
    ("DISCLOSURE-7", "a digest twice", forge(payload(_sd=[*payload()["_sd"], payload()["_sd"][0]]))),
    ("DISCLOSURE-7", "a disclosure sent twice", forge(payload(), [*DISCLOSED, DISCLOSED[0]])),
    ("DISCLOSURE-8", "_sd inside a disclosed value", in_field('{"_sd": []}')),
    ("DISCLOSURE-8", "_sd in another spelling", in_field(r'[{"\u005fsd": ["x"]}]')),
    ("DISCLOSURE-8", "_sd_alg inside a disclosed value", in_field('{"a": {"_sd_alg": "sha-256"}}')),
    ("DISCLOSURE-8", "an array element disclosed inside a value", in_field(f'[{{"...": "{DIGEST}"}}]')),
    ("DISCLOSURE-8", "_sd inside body", in_payload('{"a": [{"_sd": []}]}')),
    ("DISCLOSURE-8", "an array element disclosed inside body", in_payload('{"a": [{"...": "x"}]}')),
]


@pytest.mark.parametrize(("rule", "text"), [pytest.param(r, t, id=f"{r}: {name}") for r, name, t in BROKEN])
def test_it_is_refused_by_its_rule(rule: str, text: str | bytes) -> None:
    with pytest.raises(Malformed) as refused:
        parse(text)
    assert refused.value.rule == rule, str(refused.value)


TOKEN_OK = {"jti": UUID, "digest": DIGEST}
STATE_OK = {"size": 0, "root": DIGEST}
LATER = CLAIMS["iat"] + 60

CLAIM_RULES: dict[str, tuple[str, list[Any], list[Any]]] = {
    # claim: rule, values that pass, values that do not
    "iss": (
        "CLAIM-1",
        ["a", "sdtm-import", "ledger", "A.b_c:d-9", "x" * 64],
        ["", "-a", "a b", "a/b", "é", "x" * 65, "a\n", 1, None, ["a"], {"id": "a"}],
    ),
    "role": (
        "CLAIM-2",
        ["investigator", "data-manager", "data_manager", "a1"],
        ["", "Investigator", "data manager", "-a", "a-", "a--b", "x" * 65, 1, None, ["investigator"]],
    ),
    "aud": (
        "CLAIM-3",
        ["ledger.example.org/study/X", "x" * 255],
        ["", "a b", "a+b", "a\n", "é", "x" * 256, ["ledger.example.org/study/X"], None, 1],
    ),
    "sub": (
        "CLAIM-4",
        ["study", "site/701", "actor/a", "cohort/A", "product/u:1", f"subject/{UUID}"],
        [
            "",
            "Study",
            "study/",
            "study/1",
            "site/",
            "site/a/b",
            "subject/701-1001",
            f"subject/{UUID.upper().replace('1', 'A')}",
            "subject/11111111-1111-5111-8111-111111111111",
            "subject/11111111-1111-4111-c111-111111111111",
            f"subject/{UUID} ",
            f"person/{UUID}",
            1,
            None,
        ],
    ),
    "jti": (
        "CLAIM-5",
        [UUID, "6f1c1b9e-0d5c-5a57-8e0f-1f7b7a3f9c01"],
        [
            "",
            UUID.replace("-", ""),
            f"{{{UUID}}}",
            "6F1C1B9E-0D5C-5A57-8E0F-1F7B7A3F9C01",
            f"urn:uuid:{UUID}",
            1,
            None,
        ],
    ),
    "iat": (
        "CLAIM-6",
        [0, 1_760_000_000, 253_402_300_799],
        [-1, 253_402_300_800, "1760000000", None, True, [1]],
    ),
    "event": (
        "CLAIM-7",
        ["StudyOpened", "Ok", "ABc"],
        ["", "studyOpened", "STUDY", "Study_Opened", "Study Opened", "A", "A" + "b" * 64, "Étude", 1, None],
    ),
    "v": ("CLAIM-8", [1, 17], [0, -1, "1", True, None]),
    "_sd_alg": ("CLAIM-9", ["sha-256"], ["sha-512", "SHA-256", "", None, 256, ["sha-256"]]),
    "_sd": (
        "CLAIM-10",
        [],
        [[], "x", None, {}, [1], [None], [DIGEST + "="], ["A" * 42], ["A" * 42 + "B"], [[DIGEST]], [{}]],
    ),
    "site": ("CLAIM-11", ["701", "JP-01"], ["", "7 01", "a/b", 701, None]),
    "body": ("CLAIM-12", [{}, {"a": 1}], [[], "", None, 1, True]),
    "corrects": (
        "CLAIM-13",
        [{**TOKEN_OK, "field": "site"}],
        [
            TOKEN_OK,
            {**TOKEN_OK, "field": ""},
            {**TOKEN_OK, "field": 1},
            {**TOKEN_OK, "field": "a", "b": 1},
            UUID,
            None,
        ],
    ),
    **{
        act: (
            "CLAIM-14",
            [TOKEN_OK],
            [
                {"jti": UUID},
                {"digest": DIGEST},
                {**TOKEN_OK, "field": "a"},
                {"jti": UUID.upper().replace("1", "A"), "digest": DIGEST},
                {"jti": UUID, "digest": DIGEST[:-1]},
                {"jti": UUID, "digest": "A" * 42 + "B"},
                [TOKEN_OK],
                UUID,
                None,
            ],
        )
        for act in ("voids", "answers", "reverses", "countersigns")
    },
    "meaning": ("CLAIM-15", ["approval", "second-review"], ["", "I approve", "APPROVAL", 1, None]),
    "ceremony": ("CLAIM-16", ["a", "A_b-9", "x" * 128], ["", "a b", "x" * 129, "a=", 1, None]),
    **{
        state: (
            "CLAIM-17",
            [STATE_OK, {"size": 2**53 - 1, "root": DIGEST}],
            [
                {"size": -1, "root": DIGEST},
                {"size": "1", "root": DIGEST},
                {"size": True, "root": DIGEST},
                {"size": 1, "root": "A" * 43 + "="},
                {"size": 1, "root": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"},
                {"size": 1},
                {"size": 1, "root": DIGEST, "origin": "x"},
                [1, DIGEST],
                None,
            ],
        )
        for state in ("cut", "seen")
    },
    "exp": (
        "CLAIM-18",
        [CLAIMS["iat"] + 1, CLAIMS["iat"] + 86_400],
        [CLAIMS["iat"], CLAIMS["iat"] - 1, CLAIMS["iat"] + 86_401, str(LATER), True, None, 2**53 - 1],
    ),
    "mode": ("CLAIM-19", ["direct", "transcribed"], ["", "Direct", "paper", None, 1, ["direct"]]),
    "expected_version": ("CLAIM-20", [0, 12], [-1, "1", True, None]),
}


@pytest.mark.parametrize("claim", CLAIM_RULES)
def test_each_claim_has_one_form(claim: str) -> None:
    rule, passing, refused_values = CLAIM_RULES[claim]
    for value in passing:
        assert parse(forge(payload(**{claim: value}))).claims[claim] == value
    for value in refused_values:
        with pytest.raises(Malformed) as refused:
            parse(forge(payload(**{claim: value})))
        assert refused.value.rule == rule, (value, str(refused.value))


def test_every_rule_of_a_statement_is_broken_by_a_test() -> None:
    broken = {rule for rule, _, _ in BROKEN} | {rule for rule, _, _ in CLAIM_RULES.values()}
    elsewhere = {rule for rule in RULES if rule.split("-")[0] in {"KEY", "PROOF", "STORED"}}
    assert broken == set(RULES) - elsewhere


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(forge(json.dumps(payload(), indent=2)), id="white space between the tokens"),
        pytest.param(forge("\n " + json.dumps(payload()) + "\r\n\t"), id="white space around the payload"),
        pytest.param(forge(header=json.dumps(HEADER, indent=1)), id="white space in the header"),
        pytest.param(forge(header=json.dumps(HEADER) + " " * 400), id="a very long header"),
        pytest.param(forge(json.dumps(payload(), sort_keys=True)), id="claims in another order"),
        pytest.param(forge(payload(_sd=payload()["_sd"][::-1])), id="digests in another order"),
        pytest.param(forge(payload(), DISCLOSED[::-1]), id="disclosures in another order"),
        pytest.param(forge(text_of(payload()).replace('"iss"', '"\\u0069ss"')), id="an escaped letter"),
        pytest.param(in_field(r'"\ud83d\ude00"'), id="a surrogate pair"),
        pytest.param(in_field(r'"\\u0000 \\ud800"'), id="a backslash before what is no escape"),
        pytest.param(in_field('"[[[[[[[[[[{{{{"'), id="brackets in a string"),
        pytest.param(in_field(nested(7)), id="eight levels"),
        pytest.param(in_field("9007199254740991"), id="the largest integer"),
        pytest.param(in_field("-9007199254740991"), id="the smallest integer"),
        pytest.param(in_field('"\u2028\ufeff\ufffe"'), id="unusual characters"),
        pytest.param(forge(disclosures=disclose({f"f{n}": n for n in range(256)})), id="256 disclosures"),
        pytest.param(forge(disclosures=disclose({"file": "x" * 180_000})), id="a protocol file"),
    ],
)
def test_it_is_accepted_for_no_rule_forbids_it(text: str) -> None:
    verify(parse(text), KEY.public)


def test_the_longest_jwt_is_accepted_and_one_byte_more_is_not() -> None:
    lengths = {}
    for filler in range(35_400, 35_450):
        text = forge(with_digests({**CLAIMS, "body": {"a": "x" * filler}}, []), [])
        lengths[len(text) - 1] = text
    longest = max(length for length in lengths if length <= 47_900)
    assert longest >= 47_899
    parse(lengths[longest])
    with pytest.raises(Malformed, match="LIMIT-1"):
        parse(lengths[min(length for length in lengths if length > 47_900)])


def test_a_refused_header_is_refused_again() -> None:
    text = forge(header={**HEADER, "typ": "JWT"})
    for _ in range(2):
        with pytest.raises(Malformed, match="STATEMENT-6"):
            parse(text)


def test_a_key_of_each_algorithm_can_sign() -> None:
    key = SigningKey.generate("ES256")
    statement = parse(forge(header={**HEADER, "alg": "ES256", "kid": key.kid}, key=key))
    verify(statement, key.public)
    assert len(unb64url(statement.jwt.rpartition(".")[2])) == 64


HOSTILE = [
    '["' + '\\"' * 60_000,
    '["' + "\\" * 60_001,
    '"' * 60_001,
    '"[' * 40_000,
    "[" * 9 + '"' * 40_000,
    "[]" * 60_000,
    "]" * 9 + "[" * 60_000,
    "{" + ",".join(f'"k{number}": 1' for number in range(9_000)) + ', "k8999": 1}',
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_json_is_refused_and_not_pondered(number: int) -> None:
    """Each would take minutes, or a very deep stack, in a reader that goes back or recurses."""
    with pytest.raises(Malformed):
        parse(in_field(HOSTILE[number]))


@pytest.mark.parametrize("value", [[[]] * 40_000, {"[" * 100_000: 1}, ["\\" * 50_000], "[{" * 50_000])
def test_what_only_looks_hostile_is_read(value: Any) -> None:
    assert parse(forge_field([SALT, "value", value])).content["value"] == value
