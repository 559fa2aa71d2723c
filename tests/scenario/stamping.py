"""A time stamping authority (RFC 3161) made on the spot: a root, an authority's certificate, tokens encoded by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rfc3161_client import TimeStampRequest
from rfc3161_client._rust import parse_timestamp_request

SIGNED_DATA, TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
SHA256, ECDSA_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.47"
POLICY = "1.3.6.1.4.1.99999.1"


def der(tag: int, *parts: bytes) -> bytes:
    contents = b"".join(parts)
    if len(contents) < 0x80:
        return bytes([tag, len(contents)]) + contents
    length = len(contents).to_bytes((len(contents).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + contents


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def integer(value: int) -> bytes:
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray([first * 40 + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        out += bytes(reversed(groups))
    return der(0x06, bytes(out))


class StampingAuthority:
    """Signs what it is asked to; `at` is the time it states (None: the moment)."""

    def __init__(self, name: str = "Synthetic Time Authority", began_days_ago: int = 1) -> None:
        self._start = datetime.now(UTC) - timedelta(days=began_days_ago)
        self.at: datetime | None = None
        root_key, self._key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = self._certificate(f"{name} Root", root_key, f"{name} Root", root_key, True)
        self.certificate = self._certificate(name, self._key, f"{name} Root", root_key, False)

    def _certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, ca: bool
    ) -> x509.Certificate:
        def called(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        start = self._start
        made = x509.CertificateBuilder().subject_name(called(name)).issuer_name(called(issuer))
        made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
        made = made.not_valid_before(start).not_valid_after(start + timedelta(days=30))
        made = made.add_extension(x509.BasicConstraints(ca, None), critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
        made = made.add_extension(issuer_id, critical=False)
        usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
        made = made.add_extension(usage, critical=True)
        if not ca:
            stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
            made = made.add_extension(stamping, critical=True)
        return made.sign(by, hashes.SHA256())

    def answer(self, query: bytes, spoil: Callable[[dict[str, bytes]], None] = lambda info: None) -> bytes:
        """The TimeStampResp for a TimeStampReq; `spoil` may change a field of the TSTInfo before it is signed."""
        request: TimeStampRequest = parse_timestamp_request(query)
        at = self.at or datetime.now(UTC)
        fields = {
            "version": integer(1),
            "policy": oid(POLICY),
            "imprint": sequence(sequence(oid(SHA256)), der(0x04, request.message_imprint.message)),
            "serial": integer(x509.random_serial_number()),
            "time": der(0x18, at.strftime("%Y%m%d%H%M%SZ").encode()),
            "nonce": integer(request.nonce) if request.nonce is not None else b"",
        }
        spoil(fields)
        return sequence(sequence(integer(0)), self._signed(sequence(*fields.values())))

    def _signed(self, info: bytes) -> bytes:
        certificate = self.certificate.public_bytes(serialization.Encoding.DER)
        attributes = sorted(
            sequence(oid(name), der(0x31, value))
            for name, value in (
                (CONTENT_TYPE, oid(TST_INFO)),
                (MESSAGE_DIGEST, der(0x04, sha256(info).digest())),
                (SIGNING_CERTIFICATE, sequence(sequence(sequence(der(0x04, sha256(certificate).digest()))))),
            )
        )
        signature = self._key.sign(der(0x31, *attributes), ec.ECDSA(hashes.SHA256()))
        issuer = sequence(self.certificate.issuer.public_bytes(), integer(self.certificate.serial_number))
        signer = sequence(
            integer(1),
            issuer,
            sequence(oid(SHA256)),
            der(0xA0, *attributes),
            sequence(oid(ECDSA_SHA256)),
            der(0x04, signature),
        )
        data = sequence(
            integer(3),
            der(0x31, sequence(oid(SHA256))),
            sequence(oid(TST_INFO), der(0xA0, der(0x04, info))),
            der(0xA0, certificate),
            der(0x31, signer),
        )
        return sequence(oid(SIGNED_DATA), der(0xA0, data))
