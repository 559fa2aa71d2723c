"""Keys and signatures agree with the examples of the RFCs that define them."""

from __future__ import annotations

import pytest

from ledger.signing.encoding import b64url, unb64url
from ledger.signing.keys import PublicKey, SigningKey

# RFC 8032 section 7.1: seed, public key, message, signature (tests 1, 2, 3 and SHA(abc))
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_ed25519_signs_and_verifies_as_in_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey.from_seed(bytes.fromhex(seed))
    assert unb64url(key.public_jwk["x"]).hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    verifier = PublicKey.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": b64url(bytes.fromhex(public))})
    assert verifier.verify(bytes.fromhex(message), bytes.fromhex(signature), "Ed25519")
    assert not verifier.verify(bytes.fromhex(message) + b"x", bytes.fromhex(signature), "Ed25519")


# RFC 8037 appendix A: the key, its thumbprint and a JWS over "Example of Ed25519 signing"
RFC8037_D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC8037_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
RFC8037_KID = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
RFC8037_JWS = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


def test_the_key_of_rfc_8037_has_its_thumbprint_and_makes_its_signature() -> None:
    key = SigningKey.from_seed(unb64url(RFC8037_D))
    assert key.public_jwk == {"kty": "OKP", "crv": "Ed25519", "x": RFC8037_X}
    assert key.private_jwk() == {**key.public_jwk, "d": RFC8037_D}
    assert key.kid == RFC8037_KID
    signed, _, signature = RFC8037_JWS.rpartition(".")
    assert b64url(key.sign(signed.encode())) == signature
    assert key.public.verify(signed.encode(), unb64url(signature), "EdDSA")


# RFC 7515 appendix A.3: an ES256 JWS
RFC7515_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
RFC7515_JWS = (
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
    "cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)


def test_the_es256_signature_of_rfc_7515_verifies() -> None:
    key = PublicKey.from_jwk(RFC7515_KEY)
    signed, _, signature = RFC7515_JWS.rpartition(".")
    assert key.verify(signed.encode(), unb64url(signature), "ES256")
    assert not key.verify(signed.encode() + b"x", unb64url(signature), "ES256")
    assert not key.verify(signed.encode(), unb64url(signature), "Ed25519")


def test_the_thumbprint_of_a_p256_key_is_that_of_rfc_9449() -> None:
    # RFC 9449 section 6.1 prints the RFC 7638 thumbprint (jkt) of this key; RFC 7638's own example is RSA.
    key = PublicKey.from_jwk(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        }
    )
    assert key.kid == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def test_members_in_another_order_are_the_same_key() -> None:
    assert PublicKey.from_jwk(dict(reversed(RFC7515_KEY.items()))) == PublicKey.from_jwk(RFC7515_KEY)
