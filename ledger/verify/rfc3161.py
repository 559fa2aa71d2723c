"""RFC 3161 tokens (V9), with the optional library rfc3161-client and the certificates that the caller trusts.

A token is over SHA-256 (or 384, 512) of a checkpoint's text, its three lines. A token whose chain has expired
since is still good: it is checked at the time it states.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from ledger.merkle.tree import NotProven
from ledger.verify.attached import LibraryMissing, Timestamps


def certificates(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file; ValueError when there is none."""
    return x509.load_pem_x509_certificates(pem)


def reader(trusted: Sequence[x509.Certificate]) -> Timestamps:
    """What V9 calls for each token; `trusted` are root certificates, or those of authorities themselves."""

    def read(token: bytes, text: bytes) -> tuple[int, str]:
        try:
            from rfc3161_client import VerifierBuilder, decode_timestamp_response
        except ImportError:
            raise LibraryMissing("the library rfc3161-client is not installed on this machine") from None
        try:
            response = decode_timestamp_response(token)
            VerifierBuilder(roots=list(trusted)).build().verify_message(response, text)
            at = int(response.tst_info.gen_time.timestamp())
            name = _name(response.signed_data.certificates, trusted)
        except Exception as wrong:  # whatever a library says of hostile bytes: the token proves nothing
            raise NotProven(f"the token does not stand: {str(wrong)[:200]}") from None
        return at, name

    return read


def _name(inside: object, trusted: Sequence[x509.Certificate]) -> str:
    """The authority's common name: of its own certificate in the token where there is one."""
    found = []
    for der in inside if isinstance(inside, (list, tuple, set, frozenset)) else ():
        certificate = x509.load_der_x509_certificate(bytes(der))
        if not _issues(certificate):
            found.append(certificate)
    for certificate in (*found, *trusted):
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        if names:
            return str(names[0].value)
    return "an authority without a name"


def _issues(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
