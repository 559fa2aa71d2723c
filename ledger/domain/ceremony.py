"""Signing ceremonies: what authenticated the person who signs (21 CFR 11.100, 11.200, 11.300).

A ceremony is held by the server: the person sees exactly what will be signed, gives user id and passphrase (or,
later in the same session, the passphrase), and the statement signed then names the ceremony. What the server keeps
of it is looked up by the writer and given to the rules as `Held`; the rules are asked under the log's lock.

 SIGNATURE-4  where ceremonies are required, every electronic signature names one
 SIGNATURE-6  nobody signs electronically before having accepted to be accountable for it
 CEREMONY-1   the ceremony was held here, and authenticated the person by every component that it had to; the key is
              the custodial one that it opened
 CEREMONY-2   it was held for this person and for exactly this statement
 CEREMONY-3   it has not run out
 CEREMONY-4   no other statement names it
 CEREMONY-5   the person's account is not locked
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.domain.account import lock_of
from ledger.domain.context import Context
from ledger.domain.record import Record
from ledger.domain.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Held:
    """A ceremony as this server knows it: for whom, for which statement (digest of its JWT), whether it ran out
    by this server's clock, and the index of the statement that names it, if one is recorded."""

    actor: str
    digest: str
    ran_out: bool = False
    used_at: int | None = None


class CeremonyMissing(Refusal):
    """This study asks for a signing ceremony with every electronic signature."""

    rule, status = "SIGNATURE-4", 422
    remedy = (
        "Sign through a ceremony (POST /v1/studies/{study}/ceremonies) with the custodial key; a key of one's own "
        "makes entries and records facts, which carry no `meaning`."
    )
    source = "21 CFR 11.200(a)"


class NotAccountable(Refusal):
    """Nobody signs electronically before having accepted to be accountable for it."""

    rule, status = "SIGNATURE-6", 403
    remedy = "Read the statement on accountability and accept it (AccountabilityAccepted), then sign again."
    source = "21 CFR 11.10(j)"


class CeremonyUnknown(Refusal):
    """No ceremony of this id was held here with everything that it takes."""

    rule, status = "CEREMONY-1", 403
    remedy = "Begin a ceremony at this server and sign through it; a key of one's own cannot name one."
    source = "21 CFR 11.200(a)(1)"


class CeremonyForAnother(Refusal):
    """The ceremony was held for another statement."""

    rule, status = "CEREMONY-2", 403
    remedy = "Begin a ceremony for this statement; each statement has one of its own."
    source = "21 CFR 11.70, 11.200(a)(2)"


class CeremonyRanOut(Refusal):
    """The ceremony has run out."""

    rule = "CEREMONY-3"
    remedy = "Look at the state as it is now and begin another ceremony."
    source = "21 CFR 11.200(a)(1)"


class CeremonyUsed(Refusal):
    """Another statement names this ceremony."""

    rule = "CEREMONY-4"
    remedy = "Begin a ceremony for this statement; each is used once."
    source = "21 CFR 11.70"


class SignerLocked(Refusal):
    """The person's account is locked."""

    rule, status = "CEREMONY-5", 403
    remedy = "Have a registrar find out what happened and unlock the account (AccountUnlocked), then sign again."
    source = "21 CFR 11.300(d)"


def _second_of_a_decision(ctx: Context, record: Record) -> bool:
    """Whether it is the second signature of a decision, which is one as much as the first."""
    if record.event != "Countersigned":
        return False
    first = ctx.records.get(record.claims["countersigns"]["jti"])
    return first is not None and first.kind == "decision"


def is_held(ctx: Context, record: Record) -> None:
    """SIGNATURE-4, SIGNATURE-6, CEREMONY-1 to CEREMONY-5, asked of every statement, in whatever mode."""
    authority = ctx.study.authority
    named = record.claims.get("ceremony")
    signs = record.meaning is not None and record.event != "AccountabilityAccepted"
    if signs and record.iss not in authority.accepted_accountability:
        raise NotAccountable(f"{record.iss!r} has not accepted to be accountable")
    if named is None:
        if authority.ceremony == "required" and (record.meaning is not None or _second_of_a_decision(ctx, record)):
            raise CeremonyMissing("`ceremony` is missing")
        return
    held = ctx.ceremony(named)
    if held is None:
        raise CeremonyUnknown(f"no ceremony {named} was held here")
    if held.used_at is not None:
        raise CeremonyUsed(f"the statement at index {held.used_at} names it", (held.used_at,))
    if held.actor != record.iss or held.digest != record.digest:
        raise CeremonyForAnother(f"it was held for {held.actor!r} and the statement {held.digest}")
    if held.ran_out:
        raise CeremonyRanOut("it is older than a ceremony may be")
    key = authority.key(record.kid)
    if key is None or not key.custodial:
        raise CeremonyUnknown(f"the key {record.kid} is one of the person's own: no passphrase given here opens it")
    lock = lock_of(ctx.study.records, record.iss)
    if lock is not None:
        raise SignerLocked(f"it was locked at index {lock.index}", (lock.index,))
