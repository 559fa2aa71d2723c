"""Whatever is done to a statement's bytes, it is refused with a reason or read as what was signed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.signing.claims import RESERVED
from ledger.signing.encoding import MAX_INTEGER, b64url, read_json, unb64url
from ledger.signing.keys import SigningKey
from ledger.signing.statement import BadSignature, Malformed, make, parse, read_stored, verify
from tests.conformance.forging import CLAIMS, CONTENT, HEADER, KEY, encode, fixed_salts, forge, forge_field

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
GOOD = make(KEY, CLAIMS, CONTENT, fixed_salts())

clean_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
any_text = st.text(st.characters(), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | clean_text
keys = clean_text.filter(lambda key: key not in ("_sd", "_sd_alg", "..."))
values: st.SearchStrategy[Any] = scalars
for _ in range(3):
    values = scalars | st.lists(values, max_size=3) | st.dictionaries(keys, values, max_size=3)
wild = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(any_text | st.sampled_from(["_sd", "..."]), inner, max_size=3)
    ),
    max_leaves=12,
)


def accepted(text: str | bytes) -> bool:
    """Whether it parses and KEY signed it; any exception but the two refusals fails the test."""
    try:
        verify(parse(text), KEY.public)
    except (Malformed, BadSignature):
        return False
    return True


def test_the_statement_that_is_mutated_below_is_good() -> None:
    assert accepted(GOOD)


@QUICK
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_changed_byte_is_accepted(at: int, difference: int) -> None:
    raw = bytearray(GOOD.encode())
    raw[at] ^= difference
    assert not accepted(bytes(raw))


@QUICK
@given(st.integers(0, len(GOOD)), st.integers(0, 255))
@example(len(GOOD), 10)
@example(len(GOOD), 126)
@example(0, 32)
def test_no_added_byte_is_accepted(at: int, byte: int) -> None:
    raw = GOOD.encode()
    assert not accepted(raw[:at] + bytes([byte]) + raw[at:])


@QUICK
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 40))
def test_no_missing_bytes_are_accepted(at: int, count: int) -> None:
    assert not accepted(GOOD[:at] + GOOD[at + count :])


@QUICK
@given(st.data())
def test_parts_of_several_statements_make_no_new_one(data: st.DataObject) -> None:
    other = make(KEY, {**CLAIMS, "iat": CLAIMS["iat"] + 1}, {**CONTENT, "value": "46"}, fixed_salts())
    parts = [text.split("~") for text in (GOOD, other)]
    mixed = data.draw(st.lists(st.sampled_from(parts[0] + parts[1]), min_size=1, max_size=8))
    text = "~".join(mixed)
    if accepted(text):
        statement = parse(text)
        original = parse(GOOD if statement.jwt == parts[0][0] else other)
        assert statement.claims == original.claims
        assert statement.content == original.content


@QUICK
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_noise_is_refused_with_a_rule(noise: bytes | str) -> None:
    with pytest.raises(Malformed):
        parse(noise)


@QUICK
@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=40))
def test_noise_in_the_right_places_is_refused_with_a_rule(header: bytes, payload: bytes, disclosure: bytes) -> None:
    for text in (forge(payload), forge(header=header), forge_field(disclosure)):
        with pytest.raises(Malformed):
            parse(text)


@QUICK
@given(wild)
def test_any_json_in_a_signed_field_is_read_exactly_or_refused(value: Any) -> None:
    text = forge_field(json.dumps(["A" * 22, "value", value]))
    try:
        statement = parse(text)
    except Malformed:
        return
    assert statement.content["value"] == value
    assert json.dumps(statement.content["value"]) == json.dumps(value)


@QUICK
@given(st.sampled_from(sorted([*CLAIMS, "body", "cut", "exp", "_sd", "_sd_alg", "voids", "x"])), wild)
def test_any_json_in_a_claim_is_read_exactly_or_refused(claim: str, value: Any) -> None:
    text = forge(json.dumps({**CLAIMS, "_sd_alg": "sha-256", claim: value}), [])
    try:
        statement = parse(text)
    except Malformed:
        return
    assert statement.claims[claim] == value


@QUICK
@given(wild)
def test_any_json_as_header_or_payload_is_refused_or_the_right_one(value: Any) -> None:
    for text in (forge(header=json.dumps(value)), forge(json.dumps(value), [])):
        with pytest.raises(Malformed):
            parse(text)


@QUICK
@given(st.dictionaries(clean_text.filter(lambda name: name and name not in RESERVED), values, max_size=6))
def test_whatever_is_made_is_read_back(content: dict[str, Any]) -> None:
    text = make(KEY, CLAIMS, content, fixed_salts())
    statement = parse(text)
    verify(statement, KEY.public)
    assert statement.content == content
    assert read_stored(statement.jwt, statement.disclosures).content == content


@QUICK
@given(values)
def test_strict_json_reads_what_json_says(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert read_json(text.encode(), "the value") == value


@QUICK
@given(st.binary(max_size=50))
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = b64url(data)
    assert unb64url(text) == data
    for spelling in (text + "=", text + "A", text + "\n", " " + text):
        try:
            assert unb64url(spelling) != data
        except Malformed:
            continue


@QUICK
@given(st.text(max_size=12))
def test_base64url_that_is_read_is_written_back_the_same(text: str) -> None:
    try:
        data = unb64url(text)
    except Malformed:
        return
    assert b64url(data) == text


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
def test_every_single_bit_of_a_statement_counts(alg: str) -> None:
    key = KEY if alg == "Ed25519" else SigningKey.generate(alg)
    header = {**HEADER, "alg": alg, "kid": key.kid}
    raw = forge(payload={**CLAIMS, "_sd_alg": "sha-256"}, disclosures=[], header=header, key=key).encode()
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 7
        with pytest.raises((Malformed, BadSignature)):
            verify(parse(bytes(changed)), key.public)


def test_the_salt_of_the_mutated_examples_is_a_good_one() -> None:
    assert parse(forge_field(["A" * 22, "value", 1])).content == {"value": 1}
    assert encode([]) == "W10"
