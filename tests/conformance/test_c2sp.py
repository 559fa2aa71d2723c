"""Notes, checkpoints, cosignatures, tiles and receipts agree byte for byte with what others published.

Vectors, entered as figures: C2SP specifications at commit 5ba5ee8; golang.org/x/mod sumdb/note (the key of
PeterNeumann); sum.golang.org; transparency-dev/formats (proof texts, the remora key).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from ledger.merkle.checkpoint import Checkpoint, open_checkpoint
from ledger.merkle.cosignature import Ed25519Cosigner, Mldsa44Cosigner, verifier_of
from ledger.merkle.note import Ed25519Signer, Verifier, VerifierKey, make_note, parse_note, verify_note
from ledger.merkle.tiles import tile_path, tile_width
from ledger.merkle.tlog_proof import TlogProof
from ledger.merkle.tree import EMPTY_ROOT, NotProven

FOO_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""

SUM_VKEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
SUM_NOTE = """go.sum database tree
35225469
vt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=

— sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=
"""

PETER_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_TEXT = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.
"""
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def signer_of(skey: str) -> Ed25519Signer:
    """The signer of a Go signer key: PRIVATE+KEY+<name>+<id>+<base64(type || seed)>."""
    _, _, name, _, material = skey.split("+", 4)
    return Ed25519Signer(name, b64decode(material)[1:])


def test_the_specifications_example_note_verifies() -> None:
    note = parse_note(FOO_NOTE.encode())
    good = verify_note(note, [verifier_of(VerifierKey.parse(FOO_VKEY))])
    assert note.text == b"This is an example message.\n"
    assert [signature.name for signature in good] == ["example.com/foo"]
    with pytest.raises(NotProven):
        verify_note(parse_note(FOO_NOTE.replace("example m", "Example m").encode()), [_verifier(FOO_VKEY)])


def test_a_checkpoint_of_the_go_checksum_database_verifies() -> None:
    opened = open_checkpoint(SUM_NOTE.encode(), [_verifier(SUM_VKEY)], "go.sum database tree")
    assert opened.checkpoint.size == 35_225_469
    assert opened.note.to_bytes() == SUM_NOTE.encode()
    with pytest.raises(NotProven):
        open_checkpoint(
            SUM_NOTE.replace("35225469", "35225468").encode(), [_verifier(SUM_VKEY)], "go.sum database tree"
        )


def test_a_note_signed_here_is_the_one_signed_in_go() -> None:
    signer = signer_of(PETER_SKEY)
    assert str(signer.key) == PETER_VKEY
    assert make_note(PETER_TEXT.encode(), [signer.sign(PETER_TEXT.encode())]).decode() == f"{PETER_TEXT}\n{PETER_LINE}"


@pytest.mark.parametrize(
    "vkey",
    [
        FOO_VKEY,
        SUM_VKEY,
        PETER_VKEY,
        "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop",
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    ],
)
def test_the_id_in_a_published_key_is_that_of_the_formula(vkey: str) -> None:
    name, key_id, material = vkey.split("+", 2)
    assert sha256(name.encode() + b"\n" + b64decode(material)).hexdigest()[:8] == key_id
    assert str(VerifierKey.parse(vkey)) == vkey


@pytest.mark.parametrize(
    "vkey",
    [
        # golang.org/x/mod sumdb/note: a key of the wrong length, and one of an unknown algorithm
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_a_key_that_go_refuses_is_refused(vkey: str) -> None:
    with pytest.raises(ValueError):
        VerifierKey.parse(vkey)


def test_tiles_of_the_specifications_examples() -> None:
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    # A tree of 70,000: 273 full tiles and a partial one of 112; one full and a partial one of 17; one of 1.
    assert [tile_width(0, n, 70_000) for n in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tile_width(1, n, 70_000) for n in (0, 1, 2)] == [256, 17, 0]
    assert [tile_width(2, n, 70_000) for n in (0, 1)] == [1, 0]
    assert tile_width(3, 0, 70_000) == 0
    # A tree of 256: one full tile, and one of width 1 above it.
    assert [tile_width(0, 0, 256), tile_width(0, 1, 256), tile_width(1, 0, 256)] == [256, 0, 1]


CHECKPOINT = Checkpoint(
    "example.com/behind-the-sofa", 20_852_163, b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
)


def test_an_ed25519_cosignature_signs_the_text_of_the_specification() -> None:
    message = (
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    cosigner = Ed25519Cosigner("witness.example.com/w1", bytes(32))
    blob = cosigner.cosign(CHECKPOINT, 1_679_315_147).signature
    assert blob[:8] == bytes.fromhex("00000000 641850cb")
    Ed25519PublicKey.from_public_bytes(cosigner.key.public).verify(blob[8:], message)


def test_an_ml_dsa_cosignature_signs_the_structure_of_the_specification() -> None:
    cosigner = Mldsa44Cosigner("witness.example.com/w1", bytes(32))
    message = (
        b"subtree/v1\n\0"
        + b"\x16witness.example.com/w1"
        + bytes.fromhex("00000000 641850cb")
        + b"\x1bexample.com/behind-the-sofa"
        + bytes(8)
        + bytes.fromhex("00000000 013e2dc3")
        + CHECKPOINT.root
    )
    assert int.from_bytes(message[-40:-32], "big") == 20_852_163
    blob = cosigner.cosign(CHECKPOINT, 1_679_315_147).signature
    assert len(blob) == 8 + 2420
    MLDSA44PublicKey.from_public_bytes(cosigner.key.public).verify(blob[8:], message)
    assert cosigner.key.key_id == sha256(b"witness.example.com/w1\n\x06" + cosigner.key.public).digest()[:4]


H1, H2 = sha256(b"hash1").digest(), sha256(b"hash2").digest()


@pytest.mark.parametrize(
    ("proof", "text"),
    [
        (
            TlogProof(5, (H1, H2), b"test checkpoint\n"),
            f"c2sp.org/tlog-proof@v1\nindex 5\n{b64encode(H1).decode()}\n{b64encode(H2).decode()}\n\ntest checkpoint\n",
        ),
        (
            TlogProof(10, (H1,), b"checkpoint data\n", b"extra information"),
            "c2sp.org/tlog-proof@v1\nextra ZXh0cmEgaW5mb3JtYXRpb24=\nindex 10\n"
            f"{b64encode(H1).decode()}\n\ncheckpoint data\n",
        ),
        (TlogProof(0, (), b"checkpoint\n"), "c2sp.org/tlog-proof@v1\nindex 0\n\ncheckpoint\n"),
    ],
)
def test_receipts_read_like_those_of_the_reference_writer(proof: TlogProof, text: str) -> None:
    assert proof.to_bytes().decode() == text
    assert TlogProof.parse(text.encode()) == proof


def test_the_root_of_an_empty_log() -> None:
    assert b64encode(EMPTY_ROOT).decode() == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def _verifier(vkey: str) -> Verifier:
    return verifier_of(VerifierKey.parse(vkey))
