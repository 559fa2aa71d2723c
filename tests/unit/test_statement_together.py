"""Disclosures read together say exactly what they say one by one, and two broken ones never make a whole."""

from __future__ import annotations

import random

import pytest

from ledger.signing import wire
from ledger.signing.encoding import b64url
from ledger.signing.errors import Malformed

SALT = "A" * 22


def parts(*texts: str) -> list[bytes]:
    return [b64url(text.encode("utf-8", "surrogatepass")).encode() for text in texts]


def outcome(disclosures: list[bytes], together: bool, monkeypatch: pytest.MonkeyPatch) -> object:
    with monkeypatch.context() as patch:
        if not together:
            patch.setattr(wire, "_read_together", lambda _: None)
        try:
            return wire.read_disclosures(disclosures, [wire.digest(one) for one in disclosures], False)
        except Malformed as found:
            return found.rule, found.because


CASES = [
    (f'["{SALT}","a",1]', f'["{SALT}","b","x"]'),
    (f'["{SALT}","a",1],["{SALT}"', '"b",2]'),
    (f'["{SALT}","a","x', f'y"],["{SALT}","b",1]'),
    (f'["{SALT}","a","', '"]'),
    (f'["{SALT}","a",1', f'["{SALT}","b",1]]'),
    (f'["{SALT}","a","]"', f'["{SALT}","b","["]'),
    (f'["{SALT}","a",1] ', f' ["{SALT}","b",2]'),
    (f'["{SALT}","a",1]', f'["{SALT}","a",2]'),
    (f'["{SALT}","a",1.5]', f'["{SALT}","b",2]'),
    (f'["{SALT}","a",-0]',),
    (f'["{SALT}","a",9007199254740993]',),
    (f'["{SALT}","a","\\u0000"]', f'["{SALT}","b","\\ud800"]'),
    (f'["{SALT}","a",{{"x":1,"x":2}}]', f'["{SALT}","b",1]'),
    (f'["{SALT}","a",{{"_sd":[]}}]', f'["{SALT}","b",1]'),
    (f'["{SALT}","a",[1,[2]]]', f'["{SALT}","b",null]'),
    (f'["{SALT}","_sd",1]',),
    (f'["{SALT}","{"n" * 129}",1]',),
    (f'["{SALT}","",1]',),
    (f'["{SALT}x","a",1]',),
    (f'["{SALT}","a"]', f'["{SALT}","b",1,2]'),
    (f'["{SALT}",1,2]', '[true,"b",2]'),
    ("[]", "[ ]"),
    ("1", '"x"', "null"),
    ("\ufeff[1,2,3]",),
]


@pytest.mark.parametrize("texts", CASES, ids=range(len(CASES)))
def test_both_ways_give_the_same_fields_or_the_same_refusal(
    texts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = parts(*texts)
    assert outcome(found, True, monkeypatch) == outcome(found, False, monkeypatch)


def test_both_ways_agree_on_thousands_of_damaged_disclosures(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    whole = [f'["{SALT}","a","xé"]', f'["{SALT}","b",12]', f'["{SALT}","c",{{"low":"1"}}]', f'["{SALT}","d",null]']
    for _ in range(3_000):
        texts = [text.encode() for text in whole]
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(texts))
            text = texts[at]
            place = chance.randrange(len(text))
            kind = chance.choice("swap cut double move".split())
            if kind == "swap":
                texts[at] = text[:place] + bytes([chance.choice(b'[]{}",:\\\n 19tn\xc3')]) + text[place + 1 :]
            elif kind == "cut":
                texts[at] = text[:place] or b"["
            elif kind == "double":
                texts[at] = text + b"," + text
            else:
                other = chance.randrange(len(texts))
                texts[at], texts[other] = text[:place] or b"[", (text[place:] + texts[other]) or b"]"
        found = [b64url(text).encode() for text in texts]
        assert outcome(found, True, monkeypatch) == outcome(found, False, monkeypatch), texts


def test_what_stands_in_no_disclosure_is_never_put_together_from_two() -> None:
    broken = parts(f'["{SALT}","a",1],["{SALT}"', '"b",2]')
    with pytest.raises(Malformed):
        wire.read_disclosures(broken, [wire.digest(one) for one in broken], False)
