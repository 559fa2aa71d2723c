"""SD-JWT as in RFC 9901: its examples are read where they lie within the profile, and refused where not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.signing.encoding import unb64url
from ledger.signing.keys import PublicKey
from ledger.signing.statement import Malformed, disclosure_digest, parse, verify
from tests.conformance.forging import CLAIMS, KEY, encode, forge, forge_field, with_digests

# Section 4.2.1: one field, spelled in four ways
FAMILY_NAME = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
SPELLINGS = [
    FAMILY_NAME,
    "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNXHUwMGY2Yml1cyJd",
    "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsImZhbWlseV9uYW1lIiwiTcO2Yml1cyJd",
    "WwoiXzI2YmM0TFQtYWM2cTJLSTZjQlc1ZXMiLAoiZmFtaWx5X25hbWUiLAoiTcO2Yml1cyIKXQ",
]
# Section 4.2.2 and 4.2.4.2: an array element
ARRAY_ELEMENT = "WyJsa2x4RjVqTVlsR1RQVW92TU5JdkNBIiwgIkZSIl0"

# Appendix A.5: the issuer's key of all examples
ISSUER = PublicKey.from_jwk(
    {
        "kty": "EC",
        "crv": "P-256",
        "x": "b28d4MwZMjw8-00CG4xfnn9SLMVMM19SlqZpVb_uNtQ",
        "y": "Xv5zWwuoaTgdS6hV43yI6gBwTnjukmFQQnJ_kCxzqk8",
    }
)

# Section 5.1: the SD-JWT as issued
ISSUED = """
eyJhbGciOiAiRVMyNTYiLCAidHlwIjogImV4YW1wbGUrc2Qtand0In0.eyJfc2QiOiBb
IkNyUWU3UzVrcUJBSHQtbk1ZWGdjNmJkdDJTSDVhVFkxc1VfTS1QZ2tqUEkiLCAiSnpZ
akg0c3ZsaUgwUjNQeUVNZmVadTZKdDY5dTVxZWhabzdGN0VQWWxTRSIsICJQb3JGYnBL
dVZ1Nnh5bUphZ3ZrRnNGWEFiUm9jMkpHbEFVQTJCQTRvN2NJIiwgIlRHZjRvTGJnd2Q1
SlFhSHlLVlFaVTlVZEdFMHc1cnREc3JaemZVYW9tTG8iLCAiWFFfM2tQS3QxWHlYN0tB
TmtxVlI2eVoyVmE1TnJQSXZQWWJ5TXZSS0JNTSIsICJYekZyendzY002R242Q0pEYzZ2
Vks4QmtNbmZHOHZPU0tmcFBJWmRBZmRFIiwgImdiT3NJNEVkcTJ4Mkt3LXc1d1BFemFr
b2I5aFYxY1JEMEFUTjNvUUw5Sk0iLCAianN1OXlWdWx3UVFsaEZsTV8zSmx6TWFTRnpn
bGhRRzBEcGZheVF3TFVLNCJdLCAiaXNzIjogImh0dHBzOi8vaXNzdWVyLmV4YW1wbGUu
Y29tIiwgImlhdCI6IDE2ODMwMDAwMDAsICJleHAiOiAxODgzMDAwMDAwLCAic3ViIjog
InVzZXJfNDIiLCAibmF0aW9uYWxpdGllcyI6IFt7Ii4uLiI6ICJwRm5kamtaX1ZDem15
VGE2VWpsWm8zZGgta284YUlLUWM5RGxHemhhVllvIn0sIHsiLi4uIjogIjdDZjZKa1B1
ZHJ5M2xjYndIZ2VaOGtoQXYxVTFPU2xlclAwVmtCSnJXWjAifV0sICJfc2RfYWxnIjog
InNoYS0yNTYiLCAiY25mIjogeyJqd2siOiB7Imt0eSI6ICJFQyIsICJjcnYiOiAiUC0y
NTYiLCAieCI6ICJUQ0FFUjE5WnZ1M09IRjRqNFc0dmZTVm9ISVAxSUxpbERsczd2Q2VH
ZW1jIiwgInkiOiAiWnhqaVdXYlpNUUdIVldLVlE0aGJTSWlyc1ZmdWVjQ0U2dDRqVDlG
MkhaUSJ9fX0.1wnNkOyAsH74SYPZkhz96PS5lzhYiTwlvWBF7iULXanW0VIK--EXM1Hr
cAQyvurivQvbHQu7NMoq1_8CVnM0pw~WyIyR0xDNDJzS1F2ZUNmR2ZyeU5STjl3IiwgI
mdpdmVuX25hbWUiLCAiSm9obiJd~WyJlbHVWNU9nM2dTTklJOEVZbnN4QV9BIiwgImZh
bWlseV9uYW1lIiwgIkRvZSJd~WyI2SWo3dE0tYTVpVlBHYm9TNXRtdlZBIiwgImVtYWl
sIiwgImpvaG5kb2VAZXhhbXBsZS5jb20iXQ~WyJlSThaV205UW5LUHBOUGVOZW5IZGhR
IiwgInBob25lX251bWJlciIsICIrMS0yMDItNTU1LTAxMDEiXQ~WyJRZ19PNjR6cUF4Z
TQxMmExMDhpcm9BIiwgInBob25lX251bWJlcl92ZXJpZmllZCIsIHRydWVd~WyJBSngt
MDk1VlBycFR0TjRRTU9xUk9BIiwgImFkZHJlc3MiLCB7InN0cmVldF9hZGRyZXNzIjog
IjEyMyBNYWluIFN0IiwgImxvY2FsaXR5IjogIkFueXRvd24iLCAicmVnaW9uIjogIkFu
eXN0YXRlIiwgImNvdW50cnkiOiAiVVMifV0~WyJQYzMzSk0yTGNoY1VfbEhnZ3ZfdWZR
IiwgImJpcnRoZGF0ZSIsICIxOTQwLTAxLTAxIl0~WyJHMDJOU3JRZmpGWFE3SW8wOXN5
YWpBIiwgInVwZGF0ZWRfYXQiLCAxNTcwMDAwMDAwXQ~WyJsa2x4RjVqTVlsR1RQVW92T
U5JdkNBIiwgIlVTIl0~WyJuUHVvUW5rUkZxM0JJZUFtN0FuWEZBIiwgIkRFIl0~
""".replace("\n", "")
JWT, *DISCLOSURES, END = ISSUED.split("~")
FIELDS = {  # the eight object properties of the example, in its order
    "given_name": "John",
    "family_name": "Doe",
    "email": "johndoe@example.com",
    "phone_number": "+1-202-555-0101",
    "phone_number_verified": True,
    "address": {
        "street_address": "123 Main St",
        "locality": "Anytown",
        "region": "Anystate",
        "country": "US",
    },
    "birthdate": "1940-01-01",
    "updated_at": 1570000000,
}


def payload() -> dict[str, Any]:
    return json.loads(unb64url(JWT.split(".")[1]))  # type: ignore[no-any-return]


def test_the_digest_is_that_of_section_4_2_3() -> None:
    assert disclosure_digest(FAMILY_NAME) == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"


def test_the_digest_of_an_array_element_is_that_of_section_4_2_4_2() -> None:
    assert disclosure_digest(ARRAY_ELEMENT) == "w0I8EKcdCtUPkGCNUrfwVp2xEgNjtoIDlOxc9-PlOhs"


def test_every_disclosure_of_section_5_1_stands_in_the_payload() -> None:
    digests = [disclosure_digest(disclosure) for disclosure in DISCLOSURES]
    assert END == ""
    assert sorted(digests[:8]) == payload()["_sd"]
    assert [{"...": digest} for digest in digests[8:]] == payload()["nationalities"]


def test_the_issuers_signature_verifies() -> None:
    signed, _, signature = JWT.rpartition(".")
    assert ISSUER.verify(signed.encode(), unb64url(signature), "ES256")


def test_the_example_itself_is_no_statement_of_a_trial() -> None:
    with pytest.raises(Malformed, match="STATEMENT-5"):
        parse(ISSUED)


def test_its_flat_disclosures_are_read_within_a_statement() -> None:
    flat = DISCLOSURES[:8]
    statement = parse(forge(with_digests(CLAIMS, flat), flat))
    verify(statement, KEY.public)
    assert dict(statement.content) == FIELDS
    assert statement.disclosures == tuple(flat)


@pytest.mark.parametrize("number", [8, 9])
def test_its_array_elements_are_not(number: int) -> None:
    element = DISCLOSURES[number]
    with pytest.raises(Malformed, match="DISCLOSURE-1"):
        parse(forge(with_digests(CLAIMS, [element]), [element]))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_is_the_same_value_and_has_its_own_digest(spelling: str) -> None:
    assert json.loads(unb64url(spelling)) == ["_26bc4LT-ac6q2KI6cBW5es", "family_name", "Möbius"]
    assert len({disclosure_digest(each) for each in SPELLINGS}) == 4
    # The example's salt has 23 characters, which is no spelling of any whole number of bytes.
    with pytest.raises(Malformed, match="DISCLOSURE-2"):
        parse(forge(with_digests(CLAIMS, [spelling]), [spelling]))
    shorter = unb64url(spelling).replace(b"_26bc4LT-ac6q2KI6cBW5es", b"_26bc4LT-ac6q2KI6cBW5g")
    assert parse(forge_field(shorter)).content == {"family_name": "Möbius"}


def test_what_the_rfc_allows_beyond_the_profile_is_refused() -> None:
    example = payload()
    for claims, disclosures, rule in (
        # decoys (section 4.2.5), array elements (4.2.4.2), a holder's key (4.1.2), nested digests (6.2)
        (with_digests(CLAIMS, []) | {"_sd": example["_sd"]}, [], "DISCLOSURE-6"),
        (
            with_digests(CLAIMS, []) | {"body": {"nationalities": example["nationalities"]}},
            [],
            "DISCLOSURE-8",
        ),
        (with_digests(CLAIMS, []) | {"cnf": example["cnf"]}, [], "STATEMENT-9"),
        (with_digests(CLAIMS, []) | {"body": {"address": {"_sd": example["_sd"]}}}, [], "DISCLOSURE-8"),
    ):
        with pytest.raises(Malformed, match=rule):
            parse(forge(claims, disclosures))
    recursive = encode(["2GLC42sKQveCfGfryNRN9w", "address", {"_sd": example["_sd"]}])
    with pytest.raises(Malformed, match="DISCLOSURE-8"):
        parse(forge(with_digests(CLAIMS, [recursive]), [recursive]))


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        # Section 7.1: what every verifier must reject
        ({"_sd": ["X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"] * 2}, "DISCLOSURE-7"),
        ({"_sd_alg": "sha-512"}, "CLAIM-9"),
        ({"_sd": {}}, "CLAIM-10"),
        ({"_sd": [1]}, "CLAIM-10"),
    ],
)
def test_what_every_verifier_must_reject_is_rejected(wrong: dict[str, Any], rule: str) -> None:
    with pytest.raises(Malformed, match=rule):
        parse(forge(with_digests(CLAIMS, []) | wrong, []))
