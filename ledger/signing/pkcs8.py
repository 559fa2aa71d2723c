"""Encrypted PKCS #8 (RFC 5958) under scrypt (RFC 7914): how a person's key lies on disk.

The library reads this form but writes only PBKDF2 with 2,048 rounds, which a stolen file does not survive. So
the few bytes around the ciphertext are written here: PBES2 (RFC 8018) with scrypt and AES-256-CBC, as
`openssl pkcs8` reads them too. Pure: salt and initialisation vector come from the caller.
"""

from __future__ import annotations

from base64 import encodebytes

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 5
"""As costly as OWASP asks (2023), within the 32 MiB that OpenSSL allows itself: 16 MiB, about 0.2 s."""

SALT_BYTES = 16
IV_BYTES = 16

_KEY_BYTES = 32
_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES256_CBC = bytes.fromhex("60864801650304012a")


def encrypted_pem(private_key: bytes, passphrase: bytes, salt: bytes, iv: bytes) -> bytes:
    """ENCRYPTED PRIVATE KEY in PEM of a private key in PKCS #8 DER."""
    key = Scrypt(salt=salt, length=_KEY_BYTES, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(passphrase)
    padder = padding.PKCS7(algorithms.AES.block_size).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    padded = padder.update(private_key) + padder.finalize()
    cost = [_integer(value) for value in (SCRYPT_N, SCRYPT_R, SCRYPT_P)]
    derivation = _der(_SEQUENCE, _der(_OID, _SCRYPT), _der(_SEQUENCE, _der(_OCTETS, salt), *cost))
    cipher = _der(_SEQUENCE, _der(_OID, _AES256_CBC), _der(_OCTETS, iv))
    scheme = _der(_SEQUENCE, _der(_OID, _PBES2), _der(_SEQUENCE, derivation, cipher))
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    body = encodebytes(_der(_SEQUENCE, scheme, _der(_OCTETS, ciphertext)))
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + body + b"-----END ENCRYPTED PRIVATE KEY-----\n"


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _der(tag: int, *parts: bytes) -> bytes:
    """One value of ASN.1 in DER: tag, length, contents (X.690)."""
    contents = b"".join(parts)
    if len(contents) < 0x80:
        return bytes([tag, len(contents)]) + contents
    length = len(contents).to_bytes((len(contents).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + contents
