"""Keys, cosignature times and receipts are read as the reference library of these formats reads them.

The cases are those of transparency-dev/formats: `note/note_cosigv1_test.go` (keys, the time in a cosignature) and
`proof/tlog_proof_test.go` (texts that are no proof). Two of its keys are left out: one whose id its own formula
does not give, and one of a type (ECDSA) that this ledger does not read.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest

from ledger.merkle.cosignature import time_of
from ledger.merkle.note import COSIGNATURE_ED25519, ED25519, VerifierKey
from ledger.merkle.tlog_proof import TlogProof
from ledger.merkle.tree import NotProven
from tests.scenario import offline

ECDSA = (
    "AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l"
    "+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
)
FIRST = "c2sp.org/tlog-proof@v1\n"


@pytest.mark.parametrize(
    ("vkey", "kind"),
    [
        ("TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6", ED25519),
        ("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2", COSIGNATURE_ED25519),
    ],
)
def test_a_published_key_is_of_the_type_that_it_says(vkey: str, kind: int) -> None:
    assert VerifierKey.parse(vkey).kind == kind
    name, _, material = vkey.split("+", 2)
    id_of_spec = sha256(name.encode() + b"\n" + b64decode(material)).digest()[:4]
    assert VerifierKey.parse(vkey).key_id == id_of_spec


@pytest.mark.parametrize(
    "vkey",
    [
        "bananas.sigstore.dev+12344556",
        "rekor.sigstore.dev+12345678+THIS_IS_NOT_BASE64!",
        "rekor.sigstore.dev+12345678+AwEB",
        f"rekor.sigstore.dev+NOT_A_NUMBER+{ECDSA}",
        f"rekor.sigstore.dev+00000000+{ECDSA}",
    ],
)
def test_what_is_no_key_there_is_none_here(vkey: str) -> None:
    with pytest.raises(ValueError):
        VerifierKey.parse(vkey)


def test_the_time_of_a_published_cosignature() -> None:
    line = b64decode(
        "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA=="
    )
    assert len(line) == 4 + 8 + 64
    assert time_of(line[4:]) == 1_727_964_367


@pytest.mark.parametrize(
    "text",
    [
        "wrong-header\nindex 0\n\ncheckpoint\n",
        f"{FIRST}extra !!notbase64!!\nindex 0\n\ncheckpoint\n",
        f"{FIRST}\n\ncheckpoint\n",
        f"{FIRST}index notanumber\n\ncheckpoint\n",
        f"{FIRST}index -5\n\ncheckpoint\n",
        f"{FIRST}index 0\n!!notbase64!!\n\ncheckpoint\n",
        f"{FIRST}index 0\n{b64encode(bytes(64)).decode()}\n\ncheckpoint\n",
        f"{FIRST}index 0\n{'a' * 65 * 1024}\n",
    ],
    ids=["header", "extra", "no index", "index", "negative index", "hash", "length of a hash", "a line beyond 64 KiB"],
)
def test_a_text_that_is_no_proof_there_is_none_here(text: str) -> None:
    with pytest.raises(NotProven):
        TlogProof.parse(text.encode())
    with pytest.raises(offline.Wrong):
        offline.open_receipt(text, "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")


@pytest.mark.parametrize(
    ("index", "hashes", "checkpoint", "extra"),
    [
        (123, (b"a", b"b"), b"some checkpoint\n", None),
        (456, (b"c",), b"another checkpoint\n", b"some extra data"),
        (789, (), b"empty\n", None),
    ],
)
def test_a_proof_comes_back_as_it_went(
    index: int, hashes: tuple[bytes, ...], checkpoint: bytes, extra: bytes | None
) -> None:
    proof = TlogProof(index, tuple(sha256(value).digest() for value in hashes), checkpoint, extra)
    assert TlogProof.parse(proof.to_bytes()) == proof
