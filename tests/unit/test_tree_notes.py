"""A log's word is its signed checkpoint: who signed it, over what, and that nobody else can change it."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.merkle.checkpoint import Checkpoint, NoteSigner, open_checkpoint
from ledger.merkle.cosignature import (
    Cosigner,
    CosigningAt,
    Ed25519CosignatureVerifier,
    Ed25519Cosigner,
    Mldsa44CosignatureVerifier,
    Mldsa44Cosigner,
    time_of,
    verifier_of,
)
from ledger.merkle.log_keys import derive
from ledger.merkle.note import (
    Ed25519Signer,
    Ed25519Verifier,
    Signature,
    VerifierKey,
    make_note,
    parse_note,
    unbase64,
    verify_note,
)
from ledger.merkle.tree import EMPTY_ROOT, NotProven

ORIGIN = "ledger.example.org/study/NCT04014166"
SEED = bytes(range(32))
KEYS = derive(SEED, ORIGIN)
LOG = [verifier_of(KEYS.ed25519.key), verifier_of(KEYS.mldsa44.key)]
WITNESS = Ed25519Cosigner("witness.example/w1", bytes(32))
TREE = Checkpoint(ORIGIN, 70_000, sha256(b"root").digest())
NOW = 1_760_000_000
SIGNED = TREE.sign([KEYS.ed25519])


def test_a_checkpoint_is_three_lines_signed() -> None:
    root = b64encode(TREE.root).decode()
    assert SIGNED.startswith(f"{ORIGIN}\n70000\n{root}\n\n— {ORIGIN} ".encode())
    opened = open_checkpoint(SIGNED, LOG, ORIGIN)
    assert opened.checkpoint == TREE
    assert [signature.name for signature in opened.good] == [ORIGIN]


def test_signing_again_gives_the_same_bytes() -> None:
    assert TREE.sign([KEYS.ed25519]) == SIGNED


def test_log_and_witnesses_sign_the_same_checkpoint() -> None:
    signers: list[NoteSigner] = [KEYS.ed25519, CosigningAt(KEYS.mldsa44, NOW), CosigningAt(WITNESS, NOW + 1)]
    note = TREE.sign(signers)
    opened = open_checkpoint(note, LOG, ORIGIN, [verifier_of(WITNESS.key)])
    assert len(opened.good) == 3
    assert [time_of(signature.signature) for signature in opened.good[1:]] == [NOW, NOW + 1]
    assert opened.note.to_bytes() == note


def test_unknown_signatures_are_ignored_and_a_known_bad_one_spoils_the_note() -> None:
    note = TREE.sign([KEYS.ed25519, CosigningAt(WITNESS, NOW)])
    assert len(open_checkpoint(note, LOG, ORIGIN).good) == 1
    cosignature = WITNESS.cosign(TREE, NOW)
    bad = Signature(cosignature.name, cosignature.key_id, cosignature.signature[:-1] + b"\0")
    spoiled = make_note(TREE.body(), [KEYS.ed25519.sign(TREE.body()), bad])
    assert len(open_checkpoint(spoiled, LOG, ORIGIN).good) == 1
    with pytest.raises(NotProven, match=r"witness\.example/w1"):
        open_checkpoint(spoiled, LOG, ORIGIN, [verifier_of(WITNESS.key)])


def test_a_key_of_the_same_name_or_the_same_id_is_another_key() -> None:
    good = KEYS.ed25519.sign(TREE.body())
    for signature in (
        Signature("other", good.key_id, good.signature),
        Signature(ORIGIN, b"\0\0\0\0", good.signature),
    ):
        with pytest.raises(NotProven, match="no signature of a known key"):
            open_checkpoint(make_note(TREE.body(), [signature]), LOG, ORIGIN)


def test_a_second_signature_of_a_key_is_ignored() -> None:
    good = KEYS.ed25519.sign(TREE.body())
    bad = Signature(good.name, good.key_id, bytes(64))
    assert len(verify_note(parse_note(make_note(TREE.body(), [good, bad])), LOG)) == 1
    with pytest.raises(NotProven):
        verify_note(parse_note(make_note(TREE.body(), [bad, good])), LOG)


def test_a_witness_does_not_stand_in_for_the_log() -> None:
    note = TREE.sign([CosigningAt(WITNESS, NOW)])
    with pytest.raises(NotProven, match="log itself"):
        open_checkpoint(note, LOG, ORIGIN, [verifier_of(WITNESS.key)])


def test_a_checkpoint_of_another_log_is_refused_even_under_the_right_key() -> None:
    other = Checkpoint("ledger.example.org/study/OTHER", TREE.size, TREE.root)
    with pytest.raises(NotProven, match="OTHER"):
        open_checkpoint(other.sign([KEYS.ed25519]), LOG, ORIGIN)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_no_changed_byte_of_a_checkpoint_is_accepted(at: int, difference: int) -> None:
    raw = bytearray(SIGNED)
    raw[at] ^= difference
    with pytest.raises(NotProven):
        open_checkpoint(bytes(raw), LOG, ORIGIN)


ROOT = b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n",
        f"{ORIGIN}\n5\n{ROOT}",
        f"{ORIGIN}\n5\n{ROOT}\nextension\n",
        f"{ORIGIN}\n5\n",
        f"\n5\n{ROOT}\n",
        f"{'x' * 256}\n5\n{ROOT}\n",
        f"a\tb\n5\n{ROOT}\n",
        f"{ORIGIN}\n05\n{ROOT}\n",
        f"{ORIGIN}\n-5\n{ROOT}\n",
        f"{ORIGIN}\n+5\n{ROOT}\n",
        f"{ORIGIN}\n5 \n{ROOT}\n",
        f"{ORIGIN}\n5.0\n{ROOT}\n",
        f"{ORIGIN}\n\u0665\n{ROOT}\n",
        f"{ORIGIN}\n\n{ROOT}\n",
        f"{ORIGIN}\n9223372036854775808\n{ROOT}\n",
        f"{ORIGIN}\n0\n{ROOT}\n",
        f"{ORIGIN}\n5\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n5\n{ROOT} \n",
        f"{ORIGIN}\n5\n{ROOT[:-2]}B=\n",
        f"{ORIGIN}\n5\n{b64encode(bytes(31)).decode()}\n",
        f"{ORIGIN}\r\n5\r\n{ROOT}\r\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(body: str) -> None:
    with pytest.raises(NotProven):
        Checkpoint.parse(body.encode())


def test_a_body_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(NotProven):
        Checkpoint.parse(b"\xff\n5\n" + ROOT.encode() + b"\n")


def test_an_empty_log_has_the_empty_root() -> None:
    assert Checkpoint.parse(Checkpoint(ORIGIN, 0, EMPTY_ROOT).body()).size == 0
    with pytest.raises(ValueError, match="empty log"):
        Checkpoint(ORIGIN, 0, bytes(32))


LINE = KEYS.ed25519.sign(TREE.body()).line()


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        TREE.body(),
        TREE.body() + b"\n",
        TREE.body() + LINE,
        SIGNED[:-1],
        SIGNED + b"\n",
        SIGNED + b"rubbish\n",
        SIGNED.replace("—".encode(), b"-"),
        SIGNED.replace("— ".encode(), "—".encode()),
        SIGNED.replace("— ".encode(), "—  ".encode()),
        SIGNED.replace(b"\n", b"\r\n"),
        TREE.body() + b"\n" + LINE.rstrip() + b" \n",
        TREE.body() + b"\n" + f"— a+b {b64encode(bytes(68)).decode()}\n".encode(),
        TREE.body() + b"\n" + f"— a\u00a0b {b64encode(bytes(68)).decode()}\n".encode(),
        TREE.body() + b"\n" + "— a AAAA\n".encode(),
        TREE.body() + b"\n" + "— a AAAAAA==\n".encode(),
        TREE.body() + b"\n" + "— a AAAAAAB=\n".encode(),
        TREE.body() + b"\n" + "— a AAAAAAA\n".encode(),
        TREE.body() + b"\n" + "— a AAAA_AAA\n".encode(),
        TREE.body() + b"\n" + LINE * 101,
        SIGNED[:5] + b"\0" + SIGNED[5:],
        SIGNED[:5] + b"\t" + SIGNED[5:],
        SIGNED + b"\xff\n",
        b"x" * 1_000_001,
    ],
)
def test_a_malformed_note_is_refused(note: bytes) -> None:
    with pytest.raises(NotProven):
        parse_note(note)


def test_a_text_may_have_empty_lines_and_ends_at_the_last_one() -> None:
    text = "first\n\nsecond — third\n".encode()
    signature = KEYS.ed25519.sign(text)
    assert parse_note(make_note(text, [signature])).text == text


@pytest.mark.parametrize("text", [b"", b"no line feed", b"a\tb\n", b"\xff\n"])
def test_such_a_text_cannot_be_signed(text: bytes) -> None:
    with pytest.raises(ValueError):
        make_note(text, [KEYS.ed25519.sign(text)])


def test_a_text_that_would_be_cut_elsewhere_cannot_be_signed() -> None:
    # The text's own end would be taken for the signatures, were there no signature.
    with pytest.raises(ValueError):
        make_note(SIGNED, [])
    with pytest.raises(ValueError):
        make_note(TREE.body(), [])


def test_sixteen_signatures_are_always_accepted() -> None:
    cosigners = [Ed25519Cosigner(f"witness.example/{number}", bytes([number] * 32)) for number in range(16)]
    note = TREE.sign([KEYS.ed25519, *(CosigningAt(cosigner, NOW) for cosigner in cosigners)])
    verifiers = [verifier_of(cosigner.key) for cosigner in cosigners]
    assert len(open_checkpoint(note, LOG, ORIGIN, verifiers).good) == 17


def test_a_verifier_key_carries_its_own_id() -> None:
    for key in (*KEYS.public(), WITNESS.key):
        assert VerifierKey.parse(str(key)) == key


VKEY = str(KEYS.ed25519.key)
NAME, ID, MATERIAL = VKEY.split("+", 2)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        NAME,
        f"{NAME}+{ID}",
        f"{NAME}+{ID}+",
        f"+{ID}+{MATERIAL}",
        f"{NAME}x+{ID}+{MATERIAL}",
        f"{NAME}+00000000+{MATERIAL}",
        f"{NAME}+{ID[:7]}+{MATERIAL}",
        f"{NAME}+{ID}0+{MATERIAL}",
        f"{NAME}+{ID}+{MATERIAL}+x",
        f"{NAME}+{ID}+{MATERIAL} ",
        f"{NAME}+{ID}+{MATERIAL[:-4]}",
        f"{NAME}+{ID}+!{MATERIAL[1:]}",
        f"{NAME} x+{ID}+{MATERIAL}",
        str(KEYS.ed25519.key).replace(f"+{ID}+", f"+{ID.upper()}x+"),
    ],
)
def test_a_verifier_key_that_is_not_exactly_one_is_refused(vkey: str) -> None:
    with pytest.raises(ValueError):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize("kind", [0x00, 0x02, 0x03, 0x05, 0xFF])
def test_no_other_type_of_key_is_known(kind: int) -> None:
    with pytest.raises(ValueError):
        VerifierKey("example.org/log", kind, bytes(32))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb", "a\0b", "\ud800"])
def test_a_key_has_a_name_without_spaces_and_plus(name: str) -> None:
    with pytest.raises(ValueError):
        Ed25519Signer(name, SEED)


def test_a_key_of_one_type_does_not_verify_as_another() -> None:
    with pytest.raises(ValueError, match="0x04"):
        Ed25519Verifier(WITNESS.key)
    with pytest.raises(ValueError, match="0x01"):
        Ed25519CosignatureVerifier(KEYS.ed25519.key)
    with pytest.raises(ValueError, match="0x01"):
        Mldsa44CosignatureVerifier(KEYS.ed25519.key)


COSIGNERS: dict[str, Cosigner] = {"0x04": WITNESS, "0x06": Mldsa44Cosigner("witness.example/w2", bytes(32))}


@pytest.mark.parametrize("kind", COSIGNERS)
def test_a_cosignature_is_for_one_tree_at_one_time(kind: str) -> None:
    cosigner = COSIGNERS[kind]
    blob = cosigner.cosign(TREE, NOW).signature
    verifier = verifier_of(cosigner.key)
    assert verifier.verify(TREE.body(), blob)
    assert time_of(blob) == NOW
    for other in (
        Checkpoint(ORIGIN + "x", TREE.size, TREE.root),
        Checkpoint(ORIGIN, TREE.size + 1, TREE.root),
        Checkpoint(ORIGIN, TREE.size, bytes(32)),
    ):
        assert not verifier.verify(other.body(), blob)
    for wrong in (
        b"",
        blob[:-1],
        blob + b"\0",
        blob[8:],
        (NOW + 1).to_bytes(8, "big") + blob[8:],
        b"\xff" * 8 + blob[8:],
        blob[:-1] + bytes([blob[-1] ^ 1]),
    ):
        assert not verifier.verify(TREE.body(), wrong)
    assert not verifier.verify(TREE.body() + b"extension\n", blob)
    assert not verifier.verify(b"no checkpoint\n", blob)


def test_an_ml_dsa_cosignature_names_its_cosigner_and_an_ed25519_one_does_not() -> None:
    for cosigner, same in ((WITNESS, True), (COSIGNERS["0x06"], False)):
        renamed = VerifierKey("witness.example/other", cosigner.key.kind, cosigner.key.public)
        assert verifier_of(renamed).verify(TREE.body(), cosigner.cosign(TREE, NOW).signature) is same


@pytest.mark.parametrize("kind", COSIGNERS)
@pytest.mark.parametrize("time_seconds", [-1, 2**63, 2**64])
def test_no_cosignature_is_made_for_no_time(kind: str, time_seconds: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        COSIGNERS[kind].cosign(TREE, time_seconds)


def test_the_name_of_a_post_quantum_cosigner_fits_into_a_byte() -> None:
    with pytest.raises(ValueError, match="255"):
        Mldsa44Cosigner("w" * 256, SEED)
    key = VerifierKey("w" * 256, 0x06, COSIGNERS["0x06"].key.public)
    with pytest.raises(ValueError, match="255"):
        Mldsa44CosignatureVerifier(key)


def test_a_note_signature_is_no_cosignature_and_the_other_way_round() -> None:
    as_note = Ed25519Signer("witness.example/w1", bytes(32))
    assert as_note.key.public == WITNESS.key.public
    assert not Ed25519Verifier(as_note.key).verify(TREE.body(), WITNESS.cosign(TREE, NOW).signature[8:])
    stamped = NOW.to_bytes(8, "big") + as_note.sign(TREE.body()).signature
    assert not verifier_of(WITNESS.key).verify(TREE.body(), stamped)


def test_every_log_type_and_generation_has_keys_of_its_own() -> None:
    keys = [
        key.public
        for keys in (
            derive(SEED, ORIGIN),
            derive(SEED, ORIGIN + "2"),
            derive(SEED, ORIGIN, generation=2),
            derive(bytes(32), ORIGIN),
        )
        for key in keys.public()
    ]
    assert len(set(keys)) == len(keys) == 8
    assert [key.public for key in derive(SEED, ORIGIN).public()] == keys[:2]


def test_a_logs_keys_are_named_like_the_log() -> None:
    assert [key.name for key in KEYS.public()] == [ORIGIN, ORIGIN]
    assert [key.kind for key in KEYS.public()] == [0x01, 0x06]


@pytest.mark.parametrize(
    ("seed", "origin", "generation"),
    [
        (bytes(31), ORIGIN, 1),
        (b"", ORIGIN, 1),
        (SEED, "a b", 1),
        (SEED, "", 1),
        (SEED, "a+b", 1),
        (SEED, ORIGIN, 0),
    ],
)
def test_no_keys_are_derived_from_too_little(seed: bytes, origin: str, generation: int) -> None:
    with pytest.raises(ValueError):
        derive(seed, origin, generation)


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QR==", "Q Q==", "QQ==\n", "Q_==", "QQ==QQ==", "é", "="])
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError):
        unbase64(text)
