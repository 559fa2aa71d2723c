"""A fold reads statements of the log by a quick reader: it says what the careful one says, of good bytes and of bad."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from ledger.signing.statement import Malformed, Statement, make, read_stored
from projections.engine.decoding import read_statement
from tests.conformance.forging import CLAIMS, CONTENT, KEY, fixed_salts

AWKWARD: dict[str, Any] = {
    "comment": 'a "quoted" \\ line\nand é, ß, 漢, \U0001f9ea',
    "items": {"weight": "70.5", "codes": [{"code": "1", "system": "x"}], "none": None, "yes": True, "number": -7},
    "value": "",
}
"""Values that quick decoders have been known to get wrong."""


def stored(content: dict[str, Any]) -> tuple[bytes, list[str]]:
    jwt, *disclosures = make(KEY, CLAIMS, content, fixed_salts()).split("~")
    return jwt.encode(), disclosures[:-1]


def every_field(statement: Statement) -> list[Any]:
    return [getattr(statement, name) for name in Statement.__slots__]


def said(jwt: bytes, disclosures: Sequence[str], redacted: Sequence[str]) -> tuple[Any, Any]:
    """What the quick reader and the careful one say: every field of the statement, or the refusal."""

    def one(read: Any, bytes_: Any) -> Any:
        try:
            return every_field(read(bytes_, disclosures, redacted))
        except (Malformed, UnicodeDecodeError) as refused:
            return type(refused), str(refused)

    careful = one(lambda raw, *rest: read_stored(raw.decode("ascii"), *rest), jwt)
    return one(read_statement, jwt), careful


@pytest.mark.parametrize("content", [CONTENT, AWKWARD, {}])
def test_a_stored_statement_reads_the_same_quickly(content: dict[str, Any]) -> None:
    jwt, disclosures = stored(content)
    quick, careful = said(jwt, disclosures, [])
    assert quick == careful
    assert read_statement(jwt, disclosures).content == content


def test_what_was_redacted_is_named_and_not_given() -> None:
    jwt, disclosures = stored(AWKWARD)
    read = read_statement(jwt, disclosures[1:], ["12:comment"])
    assert (read.redacted, "comment" in read.content) == ({"comment": 12}, False)


def test_a_field_disclosed_twice_is_not_read() -> None:
    jwt, disclosures = stored(CONTENT)
    with pytest.raises(Malformed):
        read_statement(jwt, [*disclosures, disclosures[0]])


def test_bytes_beyond_ascii_are_not_read() -> None:
    jwt, disclosures = stored(CONTENT)
    quick, careful = said(jwt.replace(b".", b"\xe9.", 1), disclosures, [])
    assert quick == careful


def test_the_quick_reader_and_the_careful_one_agree_about_altered_bytes() -> None:
    chance = random.Random(4014166)
    texts = b'AZaz09-_+/=~.,[]{}"\\ \n\x00\xff'
    altered = 0
    for _ in range(3_000):
        jwt, disclosures = stored(chance.choice([CONTENT, AWKWARD]))
        parts = [jwt, *[one.encode() for one in disclosures]]
        chosen = chance.randrange(len(parts))
        part = bytearray(parts[chosen])
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(part))
            part[at : at + chance.randrange(3)] = bytes(chance.choices(texts, k=chance.randrange(3)))
        parts[chosen] = bytes(part)
        quick, careful = said(parts[0], [one.decode("latin-1") for one in parts[1:]], [])
        assert quick == careful
        altered += careful[0] is Malformed
    assert altered > 300
