"""Keys: what may be enrolled, what a signature proves, and how a key lies on disk."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ledger.signing import jwks
from ledger.signing.encoding import b64url, unb64url
from ledger.signing.errors import Malformed
from ledger.signing.keys import KeyFileError, PublicKey, SigningKey, load_key, save_key

ED = SigningKey.from_seed(bytes(range(32)))
ES = SigningKey.generate("ES256")
P = 2**255 - 19


def point(y: int, sign: int = 0) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url((y | sign << 255).to_bytes(32, "little"))}


@pytest.mark.parametrize("key", [ED, ES], ids=["Ed25519", "ES256"])
def test_a_signature_is_64_bytes_and_verifies_with_the_public_key_alone(key: SigningKey) -> None:
    public = PublicKey.from_jwk(key.public_jwk)
    signature = key.sign(b"message")
    assert len(signature) == 64
    assert public.verify(b"message", signature, key.alg)
    assert (public.kid, public.alg, public) == (key.kid, key.alg, key.public)


@pytest.mark.parametrize("key", [ED, ES], ids=["Ed25519", "ES256"])
def test_nothing_else_verifies(key: SigningKey) -> None:
    signature = key.sign(b"message")
    other = SigningKey.generate(key.alg)
    assert not key.public.verify(b"Message", signature, key.alg)
    assert not other.public.verify(b"message", signature, key.alg)
    for wrong in (b"", signature[:-1], signature + b"\0", bytes(64), b"\xff" * 64, signature[::-1]):
        assert not key.public.verify(b"message", wrong, key.alg)


def test_a_key_has_one_algorithm() -> None:
    for key, others in (
        (ED, ["ES256", "none", "HS256", "", "ed25519"]),
        (ES, ["Ed25519", "EdDSA", "ES384", "none"]),
    ):
        for alg in others:
            assert not key.public.verify(b"message", key.sign(b"message"), alg)


def test_eddsa_is_the_older_name_of_ed25519() -> None:
    assert ED.public.verify(b"message", ED.sign(b"message"), "EdDSA")
    assert SigningKey.generate("EdDSA").alg == "Ed25519"


def test_a_der_signature_is_not_a_jose_signature() -> None:
    raw = ES.sign(b"message")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    assert not ES.public.verify(b"message", encode_dss_signature(r, s), "ES256")
    assert not ES.public.verify(b"message", bytes(32) + raw[32:], "ES256")
    assert not ES.public.verify(b"message", raw[:32] + bytes(32), "ES256")


def test_no_key_of_an_unknown_algorithm_is_made() -> None:
    with pytest.raises(ValueError, match="RS256"):
        SigningKey.generate("RS256")
    with pytest.raises(ValueError):
        SigningKey.from_seed(bytes(31))


REFUSED: list[tuple[str, str, Any]] = [
    ("KEY-1", "a list", ["OKP"]),
    ("KEY-1", "nothing", None),
    ("KEY-1", "a kid beside it", {**ED.public_jwk, "kid": ED.kid}),
    ("KEY-1", "an alg beside it", {**ES.public_jwk, "alg": "ES256"}),
    ("KEY-1", "the private part", ED.private_jwk()),
    ("KEY-1", "the private part", ES.private_jwk()),
    ("KEY-1", "a y that an Ed25519 key has not", {**ED.public_jwk, "y": ED.public_jwk["x"]}),
    ("KEY-1", "no x", {"kty": "OKP", "crv": "Ed25519"}),
    ("KEY-1", "no y", {"kty": "EC", "crv": "P-256", "x": ES.public_jwk["x"]}),
    ("KEY-1", "a number for x", {**ED.public_jwk, "x": 5}),
    ("KEY-1", "null for y", {**ES.public_jwk, "y": None}),
    ("KEY-2", "an RSA key", {"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
    ("KEY-2", "a secret", {"kty": "oct", "k": "AAAA"}),
    ("KEY-2", "another curve", {**ES.public_jwk, "crv": "P-384"}),
    ("KEY-2", "X25519, which cannot sign", {**ED.public_jwk, "crv": "X25519"}),
    ("KEY-2", "a curve of the other kind", {**ED.public_jwk, "kty": "EC"}),
    ("KEY-2", "nothing in it", {}),
    ("KEY-3", "padding", {**ED.public_jwk, "x": ED.public_jwk["x"] + "="}),
    ("KEY-3", "unused bits set", {**ED.public_jwk, "x": "A" * 42 + "B"}),
    ("KEY-3", "31 bytes", {**ED.public_jwk, "x": b64url(bytes(31))}),
    ("KEY-3", "33 bytes", {**ES.public_jwk, "y": b64url(bytes(33))}),
    ("KEY-3", "a character beyond ASCII", {**ED.public_jwk, "x": "é" * 43}),
    ("KEY-3", "an empty coordinate", {**ED.public_jwk, "x": ""}),
    ("KEY-4", "no point of Ed25519", point(2)),
    ("KEY-4", "a y beyond the field", point(P + 3)),
    ("KEY-4", "the largest y that can be written", point(2**255 - 1)),
    ("KEY-4", "a point of P-256 moved", {**ES.public_jwk, "x": ES.public_jwk["y"]}),
    ("KEY-4", "the point at infinity", {**ES.public_jwk, "x": b64url(bytes(32)), "y": b64url(bytes(32))}),
]


@pytest.mark.parametrize(("rule", "jwk"), [pytest.param(r, j, id=f"{r}: {name}") for r, name, j in REFUSED])
def test_such_a_key_is_never_enrolled(rule: str, jwk: Any) -> None:
    with pytest.raises(Malformed) as refused:
        PublicKey.from_jwk(jwk)
    assert refused.value.rule == rule, str(refused.value)


def doubled(x: int, y: int) -> tuple[int, int]:
    """Twice a point of Ed25519, affine (RFC 8032 section 5.1.4)."""
    d = -121665 * pow(121666, -1, P)
    k = d * x * x * y * y
    return 2 * x * y * pow(1 + k, -1, P) % P, (y * y + x * x) * pow(1 - k, -1, P) % P


def x_of(y: int) -> int:
    d = -121665 * pow(121666, -1, P)
    square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    assert root * root % P == square
    return root


@pytest.mark.parametrize("y", sorted(jwks._SMALL_ORDER_Y))
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_under_which_everybody_can_sign_is_never_enrolled(y: int, sign: int) -> None:
    at = (x_of(y), y)
    for _ in range(3):
        at = doubled(*at)
    assert at == (0, 1), "eight times the point is the neutral element, so its order is small"
    with pytest.raises(Malformed, match="KEY-4"):
        PublicKey.from_jwk(point(y, sign))


def test_under_the_neutral_element_one_signature_would_fit_every_message() -> None:
    # R = s * B needs no secret; with A neutral, R = s * B - h * A holds for every message.
    seed = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    library = ed25519.Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    base = bytes.fromhex("58" + "66" * 31)  # B itself, s = 1
    forged = base + (1).to_bytes(32, "little")
    library.verify(forged, b"any message")
    library.verify(forged, b"any other message")
    assert seed.public_key() != library


def test_a_public_key_prints_without_the_private_one() -> None:
    private = ED.private_jwk()["d"]
    assert private not in repr(ED) and private not in repr(ED.public) and "d" not in ED.public_jwk
    assert unb64url(private) == bytes(range(32))
    assert len(unb64url(ES.private_jwk()["d"])) == 32


def test_changing_the_jwk_handed_out_does_not_change_the_key() -> None:
    ED.public_jwk["x"] = "AAAA"
    assert ED.public_jwk["x"] != "AAAA"


@pytest.mark.parametrize("key", [ED, ES], ids=["Ed25519", "ES256"])
@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_key_file_gives_the_same_key_back(key: SigningKey, passphrase: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "dr-lee.pem"
    save_key(path, key, passphrase)
    again = load_key(path, passphrase)
    assert again.kid == key.kid
    assert key.public.verify(b"m", again.sign(b"m"), key.alg)
    assert [file.name for file in tmp_path.iterdir()] == ["dr-lee.pem"], "no draft is left behind"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_the_owner_can_read_a_key_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        save_key(tmp_path / "key.pem", ED, None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_a_key_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    save_key(path, ED, None)
    with pytest.raises(KeyFileError, match="not replaced"):
        save_key(path, ES, None)
    assert load_key(path, None).kid == ED.kid
    assert [file.name for file in tmp_path.iterdir()] == ["key.pem"]


def test_two_files_under_one_passphrase_have_nothing_in_common() -> None:
    first, second = ED.to_pem(b"correct horse"), ED.to_pem(b"correct horse")
    assert first != second
    assert SigningKey.from_pem(first, b"correct horse").kid == SigningKey.from_pem(second, b"correct horse").kid


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
@pytest.mark.parametrize("key", [ED, ES], ids=["Ed25519", "ES256"])
def test_an_encrypted_key_file_can_be_opened_without_this_project(key: SigningKey) -> None:
    command = ["openssl", "pkcs8", "-passin", "pass:correct horse"]
    opened = subprocess.run(command, input=key.to_pem(b"correct horse"), capture_output=True, check=True)
    assert SigningKey.from_pem(opened.stdout).kid == key.kid


def test_an_encrypted_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    save_key(path, ED, b"correct horse")
    assert b"ENCRYPTED" in path.read_bytes()
    for wrong, words in ((b"wrong", "passphrase is wrong"), (None, "give its passphrase")):
        with pytest.raises(KeyFileError, match=words):
            load_key(path, wrong)


def test_an_open_key_with_a_passphrase_is_a_mistake_that_is_told(tmp_path: Path) -> None:
    save_key(tmp_path / "key.pem", ED, None)
    with pytest.raises(KeyFileError, match="not encrypted"):
        load_key(tmp_path / "key.pem", b"correct horse")
    with pytest.raises(ValueError, match="empty passphrase"):
        save_key(tmp_path / "other.pem", ED, b"")
    assert [file.name for file in tmp_path.iterdir()] == ["key.pem"]


def test_what_is_no_key_of_ours_is_told(tmp_path: Path) -> None:
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "noise").write_bytes(b"noise")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "p384").write_bytes(ec.generate_private_key(ec.SECP384R1()).private_bytes(*pem))
    (tmp_path / "rsa").write_bytes(rsa.generate_private_key(65537, 2048).private_bytes(*pem))
    for name in ("noise", "empty", "p384", "rsa", "missing"):
        with pytest.raises(KeyFileError, match=name):
            load_key(tmp_path / name, None)
