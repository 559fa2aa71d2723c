"""Ed25519 where implementations differ: the 914 vectors of C2SP/CCTV `ed25519/ed25519vectors.json`, all of them.

A reader in Go and one in Python must agree on every signature, or a log could be accepted here and refused there.
Upstream the vectors are made from one scalar of the key, one of the commitment, the points of low order and their
encodings; entered here are those points, the number in each message, and whether Go and `cryptography` accept.
What is left of a vector, the last 32 bytes of its signature, follows from RFC 8032: S = k s + r. `FINGERPRINT` is
over all 914 as upstream writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256, sha512
from string import ascii_uppercase

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.merkle.note import ed25519_verifies
from ledger.signing import jwks
from ledger.signing.encoding import b64url
from ledger.signing.errors import Malformed
from ledger.signing.keys import PublicKey

ORDER = 2**252 + 27742317777372353535851937790883648493
KEY_SCALAR = int.from_bytes(b"\x40" + b"\x42" * 31, "little")
COMMITMENT_SCALAR = int.from_bytes(b"\x13\x37" * 32, "little")
LOW = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
)
"""The points of low order in all their encodings; the others are canonical."""
KEYS = (
    "015ff595e4e0add00dde896efa66ea4f6848c4396410c693c92232aa64861d4f",
    "10eb7c3acfb2bed3e0d6ab89bf5a3d6afddd1176ce4812e38d9fd485058fdb1f",
    "6718d0a3d58deaeaefa655eae3f119071deaa2cfebfd0ca28b670f879d657086",
    "86e72f5c2a7215151059aa151c0ee6f8e2155d301402f35d7498f078629a8f79",
    "dd1483c5304d412c1f29547640a5c2950222ee8931b7ed1c72602b7afa7024e0",
    "eca00a6a1b1f522ff2217691059915b097b73bc69bef396c36ddcd559b79e2b0",
    "ef75b20e7540e3dff77404193652ba2bd13df99c1508eee1515e27ae25f28076",
    "fe894df18abf1c20088bfbe6c9ad45d42ec20663eaf7111eaea1d851da0d7f89",
)
"""The public key plus each point of low order."""
COMMITMENTS = (
    "36684ea91032ba5b1dbab2d02f4debc74c3327f2b3802e2e4d371aa42b12b56b",
    "37d3076f21bd3bec4ee4ebee360fe0e3b288557810e7dda72edae09650d5caf9",
    "5ae36d433a7bd0efb150b6b04610d1986e3044c46b6ad69bae17aaf76b608d21",
    "931c92bcc5842f104eaf494fb9ef2e6791cfbb3b9495296451e85508949f72de",
    "b62cf890de42c413b11b1411c9f01f1c4d77aa87ef182258d1251f69af2a3506",
    "b797b156efcd45a4e2454d2fd0b21438b3ccd80d4c7fd1d1b2c8e55bd4ed4a94",
    "f36121d8b0b7df104e6576f0745d2786e8ef5bcfc3110b512062223b17e5e0ee",
    "fa9dde274f4820efb19a890f8ba2d8791710a4303ceef4aedf9dddc4e81a1f11",
)
"""The commitment plus each point of low order."""
CASES = """
A3-11+ B4-3+ C11+5- D5-1- E9- F5- G10- H0- I6-8+ J39-9- K3-10- L5-9- M2-8- N13-8- O7-3+ P17-2+ Q5- R4- S0+3-
  T0-9+ U1- V5-
A3-2+ B11-5+ C5+3- D4-1- E0- F0- G9- H9- I13-0+ J10-3- K21-5- L3-13- M14-6- N8-4- O0-10+ P2-38+ Q6- R10- S15+5-
  T3-6+ U0- V3-
A3- B30- C23+ D4- E7- F0- G4- H9- I8- J3- K5- L0- M2- N18- O5- P2- Q0- R6- S5+ T4- U4- V17-
A0- B3- C6+ D0- E7- F13- G6- H8- I13- J14- K2- L2- M0- N11- O20-5r- P13-2r- Q0-0r- R16-6r- S1+5r+ T4-4r- U2-4r-
  V37-17r-
A6-11+ B7-5+ C0+21- D3-1- E5-2+ F4-6+ G6-4+ H7-4+ I12-3+ J1-11- K5-11- L0-8- M2-5- N0-16- O5-9+ P6-0+ Q18-0+
  R21-1+ S4+15- T0-15+ U0-12+ V3-6+
A35-3+ B4-8+ C10+5- D11-4- E6-3+ F8-2+ G5-14+ H1-0+ I4-12+ J10-2- K14-16- L2-1- M1-4- N1-10- O1-27+ P13-7+ Q4-1+
  R10-2+ S8+0- T3-0+ U5-10+ V10-6+
A7-5+ B11-4+ C5+12- D25-0- E0-3+ F7-1+ G0-6+ H1-10+ I1-4+ J1-0- K7-3- L7-3- M9-13- N0-16- O1-0+ P7-0+ Q2-6+
  R11-16+ S1+8- T8-16+ U8-13+ V9-17+
A14-30+ B4-3+ C8+1- D2-13- E2-6+ F1-3+ G4-0+ H1-0+ I2-3+ J0-7- K2-1- L1-4- M2-25- N5-1- O12-1+ P2-5+ Q8-6+ R6-2+
  S6+12- T1-5+ U6-1+ V13-5+
A5- B19- C14+6- D24-16- E1- F1- G2- H11- I3-5+ J0-5- K1- L1- M4-1- N4-2- O4- P14-2+ Q6- R8- S14+6- T2- U13- V14-
A2- B2- C12+0- D0-1- E14- F8- G9- H1- I1-2+ J1-8- K0- L4- M2-3- N5-3- O5-4r- P0-4+14r+2r- Q3-6r- R19-8r-
  S7+5-14r+6r- T1-2r- U3-13r- V7-14r-
A8-6+ B7-9+ C5+1- D11-4- E21- F4- G23- H14- I0-4+ J0-4- K2-15- L39-0- M15-22- N10-7- O4-0+7r-3r- P2-20+17r-2r-
  Q7-5r- R7-4r- S5+6-0r-3r- T2-9+0r-9r+ U9-1r- V0-5r-
A7-5+ B1-3+ C0+7- D0-9- E1- F4- G5- H3- I5-21+ J1-0- K5-14- L5-0- M22-5- N1-0- O11-27+0r-10r- P2-16+2r-38r+
  Q3-6r- R5-10r- S34+6-15r+5r- T2-3+3r+6r+ U3-0r- V10-3r-
A6- B5- C16+ D2- E7- F3- G0- H4- I6- J0- K17- L3- M4- N17- O2-5r- P6-2r- Q7-0r- R5-6r- S1+5r+ T5-4r- U6-4r-
  V2-17r-
A5- B7- C0+ D4- E6- F1- G1- H0- I1- J0- K3- L6- M5- N19- O25-5r- P7-2r- Q9-0r- R3-6r- S3+5r+ T1-4r- U0-4r-
  V5-17r-
A7-4+ B1-2+ C0+7- D10-9-0r-7r- E15-2+ F5-3+ G12-8+ H4-9+ I0-2+ J20-9-0r-2r- K11-12-7r-4r- L1-0-1r-2r-
  M1-5-0r-7r- N16-2-0r-7r- O2-5+ P5-18+ Q13-5+ R9-7+ S14+13- T12-4+ U3-1+ V1-3+
A7-3+ B11-10+ C13+4- D2-29-13r-4r- E1- F2- G2- H3- I7-31+ J9-1-7r-31r- K6-3-7r-3r- L0-27-11r-10r- M1-16-13r-4r-
  N0-25-13r-4r- O10-0+ P0-4+ Q5- R4- S5+3- T9-2+ U0- V4-
A5-35+ B17-0+ C25+2- D7-3-25r-2r- E0-2+ F3-15+ G24-8+ H1-41+ I7-30+ J2-4-7r-30r- K1-5-5r-35r- L2-10-17r-0r-
  M1-14-25r-2r- N7-2-25r-2r- O9-7+ P4-10+ Q1-2+ R8-41+ S4+3- T16-0+ U10-16+ V14-2+
A6-3+ B12-5+ C11+9- D1-0-11r-9r- E2-4+ F17-39+ G7-6+ H0-2+ I22-7+ J4-2-22r-7r- K1-5-6r-3r- L8-10-12r-5r-
  M7-4-11r-9r- N3-2-11r-9r- O11-9+ P15-8+ Q21-15+ R2-0+ S5+1- T2-0+ U3-5+ V3-4+
A3-1+ B6-16+ C5+1- D2-3-5r-1r- E4- F0- G3- H2- I1-10+ J1-0-1r-10r- K2-14-3r-1r- L7-4-6r-16r- M24-6-5r-1r-
  N9-11-5r-1r- O2-0+ P12-8+ Q2- R17- S14+0- T3-9+ U0- V13-
A6-2+ B31-0+ C5+15- D18-0-5r-15r- E0-9+ F13-0+ G2-10+ H8-3+ I6-4+ J6-9-6r-4r- K0-3-6r-2r- L10-4-31r-0r-
  M2-4-5r-15r- N1-6-5r-15r- O6-15+ P17-2+ Q0-6+ R9-11+ S0+2- T2-12+ U6-2+ V7-4+
A0- B8- C7+ D5-7r- E17- F6- G0- H9- I13- J0-13r- K2-0r- L19-8r- M6-7r- N6-7r- O3- P2- Q9- R5- S5+ T11- U8- V7-
A8- B2- C3+2- D5-21-3r-2r- E10- F2- G0- H3- I36-7+ J2-6-36r-7r- K0-8r- L9-2r- M0-23-3r-2r- N2-1-3r-2r- O1- P1-3+
  Q14- R1- S23+4- T12- U1- V2-
"""
"""A line (and what is indented below it) for each key, in the order of LOW and KEYS; a letter for each commitment, in
the order of LOW and COMMITMENTS; numbers of messages, `r` where k is made from the canonical encodings, `+` where
the signature is to be accepted."""
FINGERPRINT = "03151aea94281bc5e22e17e7b4708bd3555c063374b441df9b628ebdce809fb7"

_NUMBER = re.compile(r"(\d+)(r?)([+-])")


def vectors() -> Iterator[tuple[str, str, str, bool]]:
    """Key and signature in hex, message, and whether it is to be accepted."""
    lines = CASES.strip().replace("\n  ", " ").splitlines()
    for key, line in zip((*LOW, *KEYS), lines, strict=True):
        for token in line.split():
            commitment = (*LOW, *COMMITMENTS)[ascii_uppercase.index(token[0])]
            for number, canonical, verdict in _NUMBER.findall(token[1:]):
                message = f"ed25519vectors {number}" if number != "0" else "ed25519vectors"
                yield key, commitment + _s(key, commitment, message, canonical == "r"), message, verdict == "+"


def _s(key: str, commitment: str, message: str, canonical: bool) -> str:
    """The last 32 bytes of a signature: S = k s + r, where a point of low order alone has no scalar."""
    hashed = [_canonical(point) if canonical else point for point in (commitment, key)]
    digest = sha512(bytes.fromhex("".join(hashed)) + message.encode()).digest()
    scalar = int.from_bytes(digest, "little") * (key in KEYS and KEY_SCALAR)
    scalar += commitment in COMMITMENTS and COMMITMENT_SCALAR
    return (scalar % ORDER).to_bytes(32, "little").hex()


def _canonical(point: str) -> str:
    """The encoding that RFC 8032 section 5.1.2 gives a point of low order: y below the prime, x of 0 without sign."""
    value = int.from_bytes(bytes.fromhex(point), "little")
    sign, y = divmod(value, 2**255)
    y %= 2**255 - 19
    sign = 0 if y in (1, 2**255 - 20) else sign
    return (y + (sign << 255)).to_bytes(32, "little").hex() if point in LOW else point


def test_the_table_gives_every_vector_of_upstream() -> None:
    every = sorted((key, signature, message) for key, signature, message, _ in vectors())
    assert len(every) == 914
    assert sha256("".join("".join(vector) + "\n" for vector in every).encode()).hexdigest() == FINGERPRINT
    assert sum(accepted for *_, accepted in vectors()) == 208


@pytest.mark.parametrize("key", (*LOW, *KEYS))
def test_a_signature_is_accepted_where_go_accepts_it_and_nowhere_else(key: str) -> None:
    raw = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    for mine, signature, message, accepted in vectors():
        if mine != key:
            continue
        blob, text = bytes.fromhex(signature), message.encode()
        assert ed25519_verifies(raw, blob, text) is accepted, (signature, message)
        assert PublicKey(raw).verify(text, blob, "Ed25519") is accepted, (signature, message)


@pytest.mark.parametrize("point", LOW)
def test_a_key_under_which_anybody_could_sign_is_never_enrolled(point: str) -> None:
    with pytest.raises(Malformed) as refused:
        jwks.read({"kty": "OKP", "crv": "Ed25519", "x": b64url(bytes.fromhex(point))})
    assert refused.value.rule == "KEY-4"
