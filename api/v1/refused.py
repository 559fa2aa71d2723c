"""A row of the refusal list: what was refused and why, and what the statement said it was.

What a statement says of itself is no more than that: `verified` tells whether the key that it names is enrolled, is its
actor's, and signed these bytes. Where the bytes are no statement, what it said is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.authority import Key
from ledger.signing.errors import BadSignature, Malformed
from ledger.signing.keys import PublicKey
from ledger.signing.statement import Statement, parse, verify

SAID = ("event", "sub", "role", "site")


def refused(row: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
    """A row of the store without its bytes, with event, subject, role and site as stated (None where the bytes are no
    statement, and for a statement without a site), and whether its actor is verified. `keys`: enrolled, by thumbprint.
    """
    shown = {name: value for name, value in row.items() if name != "statement"}
    statement = _parsed(row["statement"])
    if statement is None:
        return {**shown, **dict.fromkeys(SAID), "verified": False}
    return {**shown, **{name: getattr(statement, name) for name in SAID}, "verified": _is_signed(statement, keys)}


def _parsed(data: bytes | None) -> Statement | None:
    if data is None:
        return None
    try:
        return parse(bytes(data))
    except Malformed:
        return None


def _is_signed(statement: Statement, keys: Mapping[str, Key]) -> bool:
    key = keys.get(statement.kid)
    if key is None or key.actor != statement.iss:
        return False
    try:
        verify(statement, PublicKey.from_jwk(key.jwk))
    except BadSignature:
        return False
    return True
