"""base64url and JSON, read strictly: the only readers that signed bytes pass.

Rules BASE64URL-1 and -2, JSON-1 to JSON-10 (`errors.py`). Standard library only: its `json` with a pairs hook
sees every key of every object, which faster readers drop silently. Depth is counted with the outermost
array or object as 1. Reading the same bytes always gives the same value or the same refusal.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NoReturn

from ledger.signing.errors import Malformed

MAX_DEPTH = 8
"""Enough for a list of records with coded values; anything deeper is an attack or a mistake."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 7493 section 2.2)."""

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", b"", b"==", b"=")
# The last character may only carry bits that belong to the last byte (RFC 4648 section 3.5).
_LAST: tuple[frozenset[int], ...] = (
    frozenset(),
    frozenset(),
    frozenset(ALPHABET[::16]),
    frozenset(ALPHABET[::4]),
)

_LONGEST_INTEGER = len(str(-MAX_INTEGER))


def b64url(data: bytes) -> str:
    """base64url without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode()


def unb64url(text: str | bytes, what: str = "the value") -> bytes:
    """The bytes of canonical, unpadded base64url; `Malformed` (BASE64URL-1, -2) otherwise."""
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise Malformed("BASE64URL-1", f"{what} has characters beyond ASCII") from None
    foreign = raw.translate(None, ALPHABET)
    if foreign:
        raise Malformed("BASE64URL-1", f"{what} contains {foreign[:1]!r}")
    return decode_part(raw.translate(TO_STANDARD), raw, what)


def decode_part(standard: bytes, raw: bytes, what: str) -> bytes:
    """The inner half of `unb64url`, for callers that checked the alphabet of many parts at once.

    `standard` is `raw` in the standard alphabet; checks length and last bits (BASE64URL-2).
    """
    over = len(raw) & 3
    if over and (over == 1 or raw[-1] not in _LAST[over]):
        raise Malformed("BASE64URL-2", f"{what} could be written in another way, or is cut short")
    return a2b_base64(standard + _PADDING[over])


def read_json(raw: bytes, what: str) -> Any:
    """The value of JSON bytes under the rules JSON-1 to JSON-10; `what` names them in a refusal."""
    try:
        text = raw.decode("utf-8").strip(" \t\n\r")
        # Before decoding: how deep a decoder follows before it gives up differs between releases of Python.
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _check_depth(text)
        value, end = _DECODER.raw_decode(text)
        if end != len(text):
            raise Malformed("JSON-2", f"something follows after character {end}")
        # NUL and half a surrogate pair can only have been written as escapes.
        if "\\u" in text:
            _check_characters(value)
        return value
    except Malformed as found:
        raise Malformed(found.rule, f"{what}: {found.because}") from None
    except UnicodeDecodeError:
        raise Malformed("JSON-1", f"{what} is not UTF-8") from None
    except ValueError as error:
        if raw.startswith(b"\xef\xbb\xbf"):
            raise Malformed("JSON-1", f"{what} begins with a byte order mark") from None
        raise Malformed("JSON-2", f"{what} is not JSON ({error})") from None


def is_flat_array(raw: bytes) -> bool:
    """Whether the bytes, if they are JSON at all, are one array with no array, object or bracket inside."""
    ends = raw[:1] == b"[" and raw[-1:] == b"]"
    return ends and raw.count(b"[") == 1 and raw.count(b"]") == 1 and b"{" not in raw


def read_flat_arrays(raws: Sequence[bytes]) -> list[Any]:
    """The values of many texts for each of which `is_flat_array` holds: what `read_json` gives for each, in one call of
    the decoder. `Malformed` or ValueError when any breaks a rule; `read_json` one by one then tells which.

    Joining cannot make two broken texts whole: a line feed cannot stand inside a string, so each text begins and
    ends between tokens, and its only brackets are its first and last byte.
    """
    text = b"".join((b"[", b",\n".join(raws), b"]")).decode("utf-8")
    values, end = _DECODER.raw_decode(text)
    if end != len(text) or len(values) != len(raws):
        raise ValueError("the texts are not one array each")
    if "\\u" in text:
        _check_characters(values)
    return values  # type: ignore[no-any-return]


def b64url_digests(datas: Sequence[bytes]) -> list[str]:
    """base64url SHA-256 of each, as `b64url` gives it; many at once."""
    lines = b"".join([b2a_base64(sha256(data).digest()) for data in datas])
    return lines.translate(_TO_URL).decode().split("=\n")[:-1]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Malformed("JSON-3", f"the key {twice[:40]!r} occurs twice")
    return found


def _integer(digits: str) -> int:
    if digits == "-0":
        raise Malformed("JSON-7", "-0 is written")
    # The length first: turning a very long run of digits into a number is slow.
    if len(digits) > _LONGEST_INTEGER or abs(value := int(digits)) > MAX_INTEGER:
        raise Malformed("JSON-6", f"the integer {digits[:24]} is too large")
    return value


def _fraction(digits: str) -> NoReturn:
    raise Malformed("JSON-4", f"{digits[:24]} has a fraction or an exponent")


def _constant(name: str) -> NoReturn:
    raise Malformed("JSON-5", f"{name} is written")


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise Malformed("JSON-10", f"arrays and objects lie more than {MAX_DEPTH} deep")


def _check_characters(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise Malformed("JSON-8", "a string contains NUL")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise Malformed("JSON-9", "a string contains half of a surrogate pair")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_characters(key)
            _check_characters(item)
    elif isinstance(value, list):
        for item in value:
            _check_characters(item)


# A string up to its end, or to the end of a text that breaks off: it always matches, so it never goes back.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(r"[][{}]")
_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
