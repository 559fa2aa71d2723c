"""The wire form of a statement: separators, header and disclosures, each read strictly.

Rules LIMIT-1 to -3, STATEMENT-1 to -8, DISCLOSURE-1 to -7 (`errors.py`): the profile of SD-JWT (RFC 9901)
that DESIGN section 4 pins down. Claims are read in `claims.py`, base64url and JSON in `encoding.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from ledger.signing.claims import DIGEST, LONGEST_FIELD_NAME, check_field_name, check_whole
from ledger.signing.encoding import (
    ALPHABET,
    TO_STANDARD,
    b64url,
    b64url_digests,
    decode_part,
    is_flat_array,
    read_flat_arrays,
    read_json,
)
from ledger.signing.errors import Malformed
from ledger.signing.keys import ALGORITHMS

TYPE = "trial-event+sd-jwt"

JWT_LIMIT = 47_900
"""Bytes; with `recorded_at` the log entry stays under 48,000, which base64 keeps under the 64 KiB a line of a
receipt may have in the reference reader of tlog-proof."""

STATEMENT_LIMIT = 256 * 1024
"""Bytes with all disclosures: a protocol file with its digest fits, a scanned document does not."""

DISCLOSURES_LIMIT = 256
"""Several times the widest case report form; bounds the work one request can cause."""

_HEADERS_KEPT = 4096
"""Parsed headers kept: one per key and library in use. Only short ones: junk must not fill the memory."""
_LONGEST_KEPT_HEADER = 256

_NAMES_KEPT = 4096
"""Field names kept as good or bad, none too long: the catalogue has some hundreds."""

# 22 characters hold 132 bits: the last four must be zero.
_SALT = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]").fullmatch


def to_ascii(text: bytes | str) -> bytes:
    """The bytes of a statement within its limit, or `Malformed`."""
    if len(text) > STATEMENT_LIMIT:
        raise Malformed("LIMIT-2", f"the statement has {len(text)} bytes")
    if not text.isascii():
        raise Malformed("STATEMENT-1", "the statement has a character beyond ASCII")
    return text.encode("ascii") if isinstance(text, str) else text


def check_structure(raw: bytes, jwt: bytes, disclosures: list[bytes], end: bytes) -> None:
    """Lengths, separators and alphabet of the whole statement at once, before anything is decoded."""
    if end:
        if b"~" in raw and end.count(b".") == 2:
            raise Malformed("STATEMENT-3", "a key-binding JWT follows the last ~")
        raise Malformed("STATEMENT-2", "the statement does not end with ~")
    if len(jwt) > JWT_LIMIT:
        raise Malformed("LIMIT-1", f"the JWT has {len(jwt)} bytes")
    if len(disclosures) > DISCLOSURES_LIMIT:
        raise Malformed("LIMIT-3", f"there are {len(disclosures)} disclosures")
    foreign = raw.translate(None, ALPHABET + b"~.")
    if foreign:
        raise Malformed("BASE64URL-1", f"the statement contains {foreign[:1]!r}")
    if raw.count(b".") != 2 or jwt.count(b".") != 2:
        raise Malformed("STATEMENT-2", "before the first ~ there are not exactly three parts, separated by dots")
    if not all(disclosures) or not all(jwt.split(b".")):
        raise Malformed("STATEMENT-4", "a part is empty")


def read_header(part: bytes) -> tuple[str, str]:
    """`alg` and `kid` of a header; its alphabet was checked before."""
    return _kept_header(part) if len(part) <= _LONGEST_KEPT_HEADER else _new_header(part)


def _new_header(part: bytes) -> tuple[str, str]:
    header = read_json(decode_part(part.translate(TO_STANDARD), part, "the header"), "the header")
    if type(header) is not dict or header.keys() != {"typ", "alg", "kid"}:
        raise Malformed("STATEMENT-5", "the header has other members, or lacks one")
    if header["typ"] != TYPE:
        raise Malformed("STATEMENT-6", f"`typ` is {repr(header['typ'])[:60]}")
    if type(header["alg"]) is not str or header["alg"] not in ALGORITHMS:
        raise Malformed("STATEMENT-7", f"`alg` is {repr(header['alg'])[:60]}")
    if type(header["kid"]) is not str or not DIGEST.fullmatch(header["kid"]):
        raise Malformed("STATEMENT-8", f"`kid` is {repr(header['kid'])[:60]}")
    return header["alg"], header["kid"]


_kept_header = lru_cache(_HEADERS_KEPT)(_new_header)


def read_disclosures(parts: Sequence[bytes], signed: Sequence[str], partial: bool) -> dict[str, Any]:
    """Field name to value; disclosures and digests are one-to-one, or some are missing if `partial`."""
    content = _read_together(parts) if parts else {}
    if content is None:
        content = _read_one_by_one(parts)
    digests = b64url_digests(parts)
    # The usual case first: both lists hold the same digests. What follows only finds the words for a refusal.
    if sorted(digests) != sorted(signed):
        _refuse_mismatch(digests, signed, partial)
    return content


def _read_together(parts: Sequence[bytes]) -> dict[str, Any] | None:
    """The usual case, nothing wrong, with one call of the decoder for all simple values; None when there is anything
    to look at closer, and `_read_one_by_one` says what."""
    standard = b"~".join(parts).translate(TO_STANDARD).split(b"~")
    try:
        raws = [decode_part(text, part, "") for text, part in zip(standard, parts, strict=True)]
        flat = [is_flat_array(raw) for raw in raws]
        simple = iter(read_flat_arrays([raw for raw, is_flat in zip(raws, flat, strict=True) if is_flat]))
        content: dict[str, Any] = {}
        for part, is_flat in zip(parts, flat, strict=True):
            if not is_flat:
                name, value = _read_disclosure(part)
            else:
                salt, name, value = next(simple)
                if type(salt) is not str or not _SALT(salt) or not _is_name(name):
                    return None
            content[name] = value
    except (Malformed, ValueError):
        return None
    return content if len(content) == len(parts) else None


def _read_one_by_one(parts: Sequence[bytes]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for number, part in enumerate(parts, start=1):
        try:
            name, value = _read_disclosure(part)
        except Malformed as found:
            raise Malformed(found.rule, f"disclosure {number}: {found.because}") from None
        if name in content:
            if part in parts[: number - 1]:
                raise Malformed("DISCLOSURE-7", f"the disclosure of {name!r} is sent twice")
            raise Malformed("DISCLOSURE-4", f"the field {name!r} is disclosed twice")
        content[name] = value
    return content


def _is_name(name: Any) -> bool:
    return type(name) is str and len(name) <= LONGEST_FIELD_NAME and _kept_name(name)


@lru_cache(_NAMES_KEPT)
def _kept_name(name: str) -> bool:
    try:
        check_field_name(name)
    except Malformed:
        return False
    return True


def _read_disclosure(part: bytes) -> tuple[str, Any]:
    disclosure = read_json(decode_part(part.translate(TO_STANDARD), part, "its base64url"), "its JSON")
    if type(disclosure) is not list or len(disclosure) != 3:
        raise Malformed("DISCLOSURE-1", "it is not an array of three")
    salt, name, value = disclosure
    if type(salt) is not str or not _SALT(salt):
        raise Malformed("DISCLOSURE-2", "its salt is not 128 bits in 22 characters")
    check_field_name(name)
    check_whole(value, "its value")
    return name, value


def _refuse_mismatch(digests: Sequence[str], signed: Sequence[str], partial: bool) -> None:
    known = frozenset(signed)
    if len(known) != len(signed):
        raise Malformed("DISCLOSURE-7", "a digest stands in `_sd` twice")
    for number, found in enumerate(digests, start=1):
        if found not in known:
            raise Malformed("DISCLOSURE-5", f"the digest of disclosure {number} is not in `_sd`")
    if not partial:
        raise Malformed("DISCLOSURE-6", f"{len(known) - len(digests)} digests in `_sd` have no disclosure")


def digest(data: bytes) -> str:
    """base64url SHA-256."""
    return b64url(sha256(data).digest())
