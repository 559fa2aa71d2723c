"""The claims of a statement: which exist, which are always there, and the grammar of each.

Rules STATEMENT-9 and -10, CLAIM-1 to CLAIM-20 (`errors.py`), from DESIGN section 4. Grammar only: whether the
actor exists, the role is held or the cut was ever signed is decided elsewhere, against the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ledger.signing.errors import Malformed

LATEST_TIME = 253_402_300_799
"""The last second of the year 9999: no calendar in use here can write a later one."""

LONGEST_VALIDITY_SECONDS = 24 * 60 * 60
"""`exp` at most this long after `iat`, so that a refused decision cannot be replayed later."""

LONGEST_FIELD_NAME = 128
"""Longer than any field of the catalogue; a bound for indexes and error messages."""

_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
# 43 characters hold 258 bits: the last one carries four bits of the digest and two that must be zero.
DIGEST = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")

Check = Callable[[Any], bool]


def _text(pattern: str) -> Check:
    match = re.compile(pattern, re.ASCII).fullmatch
    return lambda value: type(value) is str and match(value) is not None


def _integer(least: int, most: int | None = None) -> Check:
    # `type is int`, not isinstance: true and false are integers in Python.
    return lambda value: type(value) is int and value >= least and (most is None or value <= most)


def _exactly(**members: Check) -> Check:
    return lambda value: (
        type(value) is dict
        and value.keys() == members.keys()
        and all(check(value[name]) for name, check in members.items())
    )


_uuid = _text(_UUID)
_digest = _text(DIGEST.pattern)
_words = _text(r"(?=.{1,64}\Z)[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_identifier = _text(_ID)
_act = _exactly(jti=_uuid, digest=_digest)
_state = _exactly(size=_integer(0), root=_digest)
_field_name = _text(rf"(?s:.{{1,{LONGEST_FIELD_NAME}}})")

CLAIMS: Mapping[str, tuple[str, Check]] = {
    "iss": ("CLAIM-1", _identifier),
    "role": ("CLAIM-2", _words),
    "aud": ("CLAIM-3", _text(r"[!-*,-~]{1,255}")),
    "sub": ("CLAIM-4", _text(rf"study|(?:site|actor|cohort|product)/{_ID}|subject/{_UUID4}")),
    "jti": ("CLAIM-5", _uuid),
    "iat": ("CLAIM-6", _integer(0, LATEST_TIME)),
    "event": ("CLAIM-7", _text(r"(?=.*[a-z])[A-Z][A-Za-z0-9]{1,63}")),
    "v": ("CLAIM-8", _integer(1)),
    "_sd_alg": ("CLAIM-9", lambda value: value == "sha-256"),
    "_sd": ("CLAIM-10", lambda value: type(value) is list and value != [] and all(map(_digest, value))),
    "site": ("CLAIM-11", _identifier),
    "body": ("CLAIM-12", lambda value: type(value) is dict),
    "corrects": ("CLAIM-13", _exactly(jti=_uuid, digest=_digest, field=_field_name)),
    "voids": ("CLAIM-14", _act),
    "answers": ("CLAIM-14", _act),
    "reverses": ("CLAIM-14", _act),
    "countersigns": ("CLAIM-14", _act),
    "meaning": ("CLAIM-15", _words),
    "ceremony": ("CLAIM-16", _text(r"[A-Za-z0-9_-]{1,128}")),
    "cut": ("CLAIM-17", _state),
    "seen": ("CLAIM-17", _state),
    "exp": ("CLAIM-18", _integer(0, LATEST_TIME)),
    "mode": ("CLAIM-19", lambda value: value == "direct" or value == "transcribed"),
    "expected_version": ("CLAIM-20", _integer(0)),
}
ALWAYS = frozenset({"iss", "role", "aud", "sub", "jti", "iat", "event", "v", "_sd_alg"})

# A disclosed field of such a name would, to a reader that merges fields and claims (RFC 9901 section 7.1),
# look like a claim that was never signed in the clear. `nbf` and `cnf` mean something to every JWT reader.
RESERVED = frozenset(CLAIMS) | {"...", "nbf", "cnf"}

_NESTED = frozenset({"_sd", "_sd_alg", "..."})


def check_claims(claims: Any) -> None:
    """Raise `Malformed` unless `claims`, a parsed payload, has known claims of the right grammar."""
    if type(claims) is not dict:
        raise Malformed("STATEMENT-9", "the payload is not an object")
    for name, value in claims.items():
        rule, check = CLAIMS.get(name, _UNKNOWN)
        if not check(value):
            if rule == "STATEMENT-9":
                raise Malformed(rule, f"the claim {name[:40]!r} is unknown")
            raise Malformed(rule, f"`{name}` is {repr(value)[:80]}")
    if not claims.keys() >= ALWAYS:
        raise Malformed("STATEMENT-10", f"{', '.join(sorted(ALWAYS - claims.keys()))} missing")
    if "exp" in claims and not 0 < claims["exp"] - claims["iat"] <= LONGEST_VALIDITY_SECONDS:
        raise Malformed("CLAIM-18", f"`exp` is {claims['exp'] - claims['iat']} seconds after `iat`")
    if "body" in claims:
        check_whole(claims["body"], "`body`")


def check_field_name(name: Any) -> None:
    """Raise `Malformed` unless `name` may name a disclosed field."""
    if not _field_name(name):
        raise Malformed("DISCLOSURE-3", f"the field name is {repr(name)[:80]}")
    if name in RESERVED:
        raise Malformed("DISCLOSURE-3", f"a field is named {name!r}")


def check_whole(value: Any, what: str) -> None:
    """Raise `Malformed` if selective disclosure goes on inside `value` (DISCLOSURE-8)."""
    if type(value) is dict:
        if not _NESTED.isdisjoint(value):
            raise Malformed("DISCLOSURE-8", f"{what} contains {min(_NESTED & value.keys())!r}")
        for item in value.values():
            check_whole(item, what)
    elif type(value) is list:
        for item in value:
            check_whole(item, what)


def _never(value: Any) -> bool:
    return False


_UNKNOWN = ("STATEMENT-9", _never)
