"""A person's custodial signing key, and the account behind it (21 CFR 11.100(b), 11.300).

The key is made by the server when the person redeems a one-time code, and sealed under the person's own
passphrase. A registrar offers it (the code's digest stands here, the code nowhere) and enrols it (KeyEnrolled
with custody `custodial`); whoever runs the server or its database can do neither.

 CREDENTIAL-1  a custodial key is for a person, whose identity a registrar verified
 CREDENTIAL-2  after a custodial key was revoked, the identity is verified anew before there is another
 CREDENTIAL-3  a person has one custodial key in force
 CREDENTIAL-4  what is unlocked is locked, and another person unlocks it
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ledger.domain.context import Context
from ledger.domain.model import DISCLOSED, Digest, EventModel, Governance, PartialTime, Reason, SystemEvent
from ledger.domain.record import Record, Records
from ledger.domain.refusals import Refusal
from ledger.domain.roles import REGISTRAR

LONGEST_OFFER_HOURS = 168
"""A code lies about for a week at most: whoever finds it later finds nothing."""


class CredentialOffered(Governance):
    """A registrar offers a person a signing key: whoever has the one-time code of this digest may choose it."""

    about = ("actor",)
    recorders = REGISTRAR
    words = "offered the person a signing key, for {valid_hours} hours"
    rules = ("CREDENTIAL-1", "CREDENTIAL-2", "CREDENTIAL-3")

    code_digest: Digest
    valid_hours: Annotated[int, Field(ge=1, le=LONGEST_OFFER_HOURS)]


class AccountLocked(SystemEvent):
    """A person's account is locked after failed attempts to give user id and passphrase."""

    about: ClassVar[tuple[str, ...]] = ("actor",)
    words = "locked the account after {failures} failed attempts in a row"

    failures: Annotated[int, Field(ge=1)]
    first_at: PartialTime
    last_at: PartialTime


class AccountUnlocked(Governance):
    """A registrar unlocks a person's account, having found out what happened."""

    about = ("actor",)
    recorders = REGISTRAR
    words = "unlocked the account: {reason}"
    rules = ("CREDENTIAL-4",)

    reason: Annotated[Reason, DISCLOSED]


EVENTS: tuple[type[EventModel], ...] = (CredentialOffered, AccountLocked, AccountUnlocked)


class IdentityNotVerified(Refusal):
    """A custodial key is for a person whose identity a registrar has verified."""

    rule = "CREDENTIAL-1"
    remedy = "Verify who the person is and record it (IdentityVerified); systems keep keys of their own."
    source = "21 CFR 11.100(b)"


class IdentityNotVerifiedAnew(Refusal):
    """A revoked key is replaced only after the person's identity was verified anew."""

    rule = "CREDENTIAL-2"
    remedy = "Verify who the person is once more and record it (IdentityVerified), then offer the new key."
    source = "21 CFR 11.300(c)"


class CredentialInForce(Refusal):
    """The person has a custodial key in force."""

    rule = "CREDENTIAL-3"
    remedy = "Revoke the key that is in force (KeyRevoked) first; what it signed stays signed."
    source = "21 CFR 11.300(c)"


class NothingToUnlock(Refusal):
    """The account is not locked, or it is the own."""

    rule = "CREDENTIAL-4"
    remedy = "Have another registrar unlock an account that is locked; one that is not needs nothing."
    source = "21 CFR 11.200(a)(3), 11.300(d)"


def custodial_keys(records: Records, about: str) -> list[Record]:
    """The enrolments of custodial keys of an actor (`actor/<id>`) that stand, in order."""
    found = records.of("KeyEnrolled")
    return [record for record in found if record.sub == about and record.body.get("custody") == "custodial"]


def lock_of(records: Records, actor: str) -> Record | None:
    """The lock of an actor's account that stands; None while there is none."""
    found = [r for r in records.of("AccountLocked", "AccountUnlocked") if r.sub == f"actor/{actor}"]
    return found[-1] if found and found[-1].event == "AccountLocked" else None


def may_have_a_credential(ctx: Context) -> None:
    """CREDENTIAL-1 to CREDENTIAL-3: an identified person without a custodial key in force."""
    about, authority = ctx.candidate.sub, ctx.study.authority
    actor = about.partition("/")[2]
    if actor not in authority.actors or authority.is_system(actor):
        raise IdentityNotVerified(f"{actor!r} is not a person of this study")
    verified = [r.index for r in ctx.study.records.of("IdentityVerified") if r.sub == about]
    if not verified:
        raise IdentityNotVerified(f"nobody recorded that the identity of {actor!r} was verified")
    keys = [authority.keys[record.body["kid"]] for record in custodial_keys(ctx.study.records, about)]
    standing = [key for key in keys if key.revoked is None]
    if standing:
        raise CredentialInForce(f"the key {standing[0].kid} is in force", (standing[0].since,))
    revoked = max((key.revoked for key in keys if key.revoked is not None), default=-1)
    if verified[-1] < revoked:
        because = f"a key was revoked at index {revoked}, the identity verified at {verified[-1]} before"
        raise IdentityNotVerifiedAnew(because, (revoked, verified[-1]))


def enrols_a_credential(ctx: Context) -> None:
    """The same for the enrolment of a custodial key; keys of people's own need none of it."""
    if ctx.candidate.body.get("custody") == "custodial":
        may_have_a_credential(ctx)


def can_be_unlocked(ctx: Context) -> None:
    """CREDENTIAL-4: it is locked, and unlocked by another person."""
    actor = ctx.candidate.sub.partition("/")[2]
    lock = lock_of(ctx.study.records, actor)
    if lock is None:
        raise NothingToUnlock(f"the account of {actor!r} is not locked")
    if actor == ctx.candidate.iss:
        raise NothingToUnlock("nobody unlocks the own account", (lock.index,))


PRECONDITIONS = {
    "CredentialOffered": (may_have_a_credential,),
    "AccountUnlocked": (can_be_unlocked,),
}
