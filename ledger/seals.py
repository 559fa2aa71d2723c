"""The keys of the actor `ledger`: which of this installation's is in force in a study, and which comes next.

An installation has them by generation (`Home.seals`), one for all its studies. The first stands in each study's
genesis; a later one is enrolled by a registrar, with a note in which the log's own keys vouch for it. Which of them is
in force is read from the log, as of a size, so that whatever is sealed for a size gives the same bytes again. Where
none is, nothing is sealed: no bundle, no record of an export, of a restore or of a locked account, until a key is.
"""

from __future__ import annotations

from ledger.authority import LEDGER_ACTOR, Authority
from ledger.domain.aggregate import study_aggregate_id
from ledger.domain.refusals import Refusal
from ledger.home import Home
from ledger.signing.keys import SigningKey
from ledger.signing.statement import read_stored
from ledger.store import statements
from ledger.store.database import Conn

PAGE = 1_000
"""Entries read at once."""


class NoSeal(Refusal):
    """No key that this installation has seals for the study: it was revoked, or is another installation's."""

    rule, status = "SEAL-1", 409
    remedy = (
        "Run `trial-ledger keys rotate-seal --study ...`, which has a registrar enrol this installation's next key; "
        "where the key was not revoked, restore the home's keys from their backup."
    )
    source = "21 CFR 11.300(c)"


def seal_in_force(home: Home, authority: Authority) -> SigningKey:
    """The installation's key that seals: of those enrolled for `ledger` and not revoked the newest. Raises NoSeal."""
    known = [authority.key(key.kid) for key in home.seals()]
    for seal, key in reversed(list(zip(home.seals(), known, strict=True))):
        if key is not None and key.actor == LEDGER_ACTOR and key.revoked is None:
            return seal
    revoked = [key.revoked for key in known if key is not None and key.revoked is not None]
    because = (
        f"the key of the actor {LEDGER_ACTOR!r} was revoked at index {max(revoked)}" if revoked else "none is known"
    )
    raise NoSeal(because, tuple(revoked))


def next_seal(home: Home, authority: Authority) -> SigningKey:
    """The key to enrol next in this study: newer than every one that it has known; made where there is none."""
    seals = home.seals()
    newest = max((at for at, key in enumerate(seals) if authority.key(key.kid) is not None), default=-1)
    return seals[newest + 1] if newest + 1 < len(seals) else home.new_seal(len(seals) + 1)


def authority_below(connection: Conn, study: str, origin: str, size: int) -> Authority:
    """Who may do what after the entries below `size`, folded from the study's own events."""
    authority, position, own = Authority(), 0, study_aggregate_id(origin)
    while True:
        rows = statements.select_events(connection, study, position, size, PAGE, originator_id=own)
        for row in rows:
            authority.apply(read_stored(row.jwt, row.disclosures).claims, row.idx)
        if len(rows) < PAGE:
            return authority
        position = rows[-1].idx + 1
