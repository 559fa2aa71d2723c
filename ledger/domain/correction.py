"""Acts that change what is current: corrections, voids, reversals, second signatures.

 CORRECTION-1  the act names an earlier record of the same subject by event id and digest
 CORRECTION-2  `sub` and `site` are the target's, as recorded
 CORRECTION-3  only facts are corrected or voided (and voids voided); decisions are reversed, governance superseded
 CORRECTION-4  the owning role's side corrects; one field that the fact has, with a value of its form
 CORRECTION-5  a decision is reversed once
 CORRECTION-6  a signature is withdrawn, an attribution disputed, by the actor in whose name it stands
 CORRECTION-7  an act is neither corrected nor reversed: the original statement is named, whatever was done about it
 CORRECTION-8  what is void is not corrected, nor voided again
 CORRECTION-9  only decisions are reversed
 CORRECTION-10 a reversal is not reversed: the decision is taken anew
 CORRECTION-11 a decision that took two signatures is lifted by none other than its own opposite
 CORRECTION-12 the enrolment of a subject to whom study treatment was given is not reversed
 COUNTERSIGN-1 what is countersigned waits for a second signature, by a role that may give it
 COUNTERSIGN-2 the second person is another than the first
 LOCK-1        after a lock or freeze nothing is corrected, voided or decided
Sources: ICH E6(R3) 3.16.1(i), 4.2.2, 4.2.4; 21 CFR 11.10(e).
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ledger.domain.context import Context
from ledger.domain.manifestation import FIELDS as MANIFESTATION
from ledger.domain.model import (
    CLEAR,
    Act,
    Digest,
    EventModel,
    FullDate,
    Governance,
    Label,
    Reason,
    Target,
    Text,
)
from ledger.domain.participation import site_of
from ledger.domain.record import CLAIM_FIELDS, Record
from ledger.domain.refusals import Refusal
from ledger.domain.roles import (
    ANYONE,
    DATA_MANAGER,
    INVESTIGATOR,
    LABORATORY,
    MANUFACTURER,
    PHARMACY,
    SITE_STAFF,
    SPONSOR,
    SPONSOR_SAFETY,
    SYSTEM,
)

TREATMENTS = ("InfusionGiven", "TreatmentAdministered")
"""Facts that say that study treatment was given."""
_OWNERS = SITE_STAFF | LABORATORY | PHARMACY | MANUFACTURER | SPONSOR_SAFETY | SYSTEM
_SIDES = (SITE_STAFF, LABORATORY, PHARMACY, MANUFACTURER, SPONSOR_SAFETY, SYSTEM)
"""Roles that answer for the same records: site staff correct each other's entries."""
_ON_A_FACT = ("CORRECTION-1", "CORRECTION-2", "CORRECTION-3", "CORRECTION-7", "CORRECTION-8")


class EntryCorrected(Act):
    """One field of a fact gets another value; every earlier value stays visible."""

    about = ("subject", "product")
    recorders = _OWNERS | SPONSOR | DATA_MANAGER
    target = "corrects"
    words = "corrected a field: {reason}"
    rules = (*_ON_A_FACT, "CORRECTION-4", "LOCK-1")

    value: Any = None
    reason: Reason


class EntryVoided(Act):
    """A fact was recorded by mistake: it counts no longer, and stays visible. A void can be voided."""

    about = ("subject", "product")
    recorders = _OWNERS | SPONSOR | DATA_MANAGER
    target = "voids"
    words = "voided an entry: {reason}"
    rules = (*_ON_A_FACT, "CORRECTION-4", "LOCK-1")

    reason: Reason


class DecisionReversed(Act):
    """A decision stands no longer; what followed from it is shown as based on a reversed decision."""

    about = ("subject", "study", "cohort", "product")
    recorders = ANYONE
    target = "reverses"
    words = "reversed a decision: {reason}"
    rules = (
        *("CORRECTION-1", "CORRECTION-2", "CORRECTION-4", "CORRECTION-5"),
        *("CORRECTION-7", "CORRECTION-9", "CORRECTION-10", "CORRECTION-11", "CORRECTION-12", "LOCK-1"),
    )

    reason: Reason


class AttributionDisputed(Act):
    """An actor says that a statement under the own name is not the own."""

    recorders = ANYONE
    stopping = True
    words = "disputed the attribution of a record: {reason}"
    rules = ("CORRECTION-1", "CORRECTION-6")

    record: Annotated[Target, CLEAR]
    reason: Reason


class SignatureWithdrawn(Act):
    """A person withdraws an own electronic signature."""

    recorders = ANYONE
    stopping = True
    words = "withdrew a signature: {reason}"
    rules = ("CORRECTION-1", "CORRECTION-6")

    record: Annotated[Target, CLEAR]
    reason: Reason


class Countersigned(Act):
    """A second person signs; what waited for it takes effect here."""

    recorders = ANYONE
    target = "countersigns"
    words = "countersigned"
    rules = ("CORRECTION-1", "COUNTERSIGN-1", "COUNTERSIGN-2")

    comment: Text | None = None


class TranscriptionPeriodDeclared(Governance):
    """For a while, decisions taken on paper or in downtime may be transcribed by the roles named."""

    about = ("study", "site")
    recorders = SPONSOR | DATA_MANAGER | SYSTEM
    words = "declared a transcription period from {starts_on} to {ends_on}"

    starts_on: FullDate
    ends_on: FullDate | None = None
    roles: list[Label]
    events: list[Label] | None = None
    purpose: Label


class RefusalAdopted(Act):
    """An authorised person adopts a refused statement: the fact is recorded anew under an own signature."""

    about = ("subject", "study", "site", "cohort", "product", "actor")
    recorders = DATA_MANAGER
    words = "adopted a refused statement: {reason}"

    refused_digest: Annotated[Digest, CLEAR]
    adopted: Annotated[Target | None, CLEAR] = None
    reason: Reason


EVENTS: tuple[type[EventModel], ...] = (
    EntryCorrected,
    EntryVoided,
    DecisionReversed,
    AttributionDisputed,
    SignatureWithdrawn,
    Countersigned,
    TranscriptionPeriodDeclared,
    RefusalAdopted,
)


class TargetUnknown(Refusal):
    """The act names an earlier record that does not stand here."""

    rule = "CORRECTION-1"
    remedy = "Name the original statement by its event id and digest, under the same subject."


class TargetElsewhere(Refusal):
    """The act's `sub` and `site` are not those of the record it is about."""

    rule = "CORRECTION-2"
    remedy = "State `sub` and `site` as the original statement has them."


class NotCorrectable(Refusal):
    """Only facts are corrected or voided; decisions are reversed, governance is superseded."""

    rule = "CORRECTION-3"
    remedy = "Reverse a decision (DecisionReversed), and take it anew; record governance anew."


class NotYours(Refusal):
    """The record belongs to another role's side, or the field is not one that the fact has."""

    rule = "CORRECTION-4"
    remedy = "Have the side that recorded it correct it, name one of the fact's fields, give a value of its form."
    source = "ICH E6(R3) 3.16.1(i)"


class ReversedAlready(Refusal):
    """The decision was reversed already."""

    rule = "CORRECTION-5"
    remedy = "Nothing is left to do: it stands no longer. If the decision was taken anew since, name that one."


class NotYourSignature(Refusal):
    """A signature is withdrawn, and an attribution disputed, by the actor in whose name it stands."""

    rule, status = "CORRECTION-6", 403
    remedy = "Have the actor named in the record's `iss` do it."


class ActNotCorrectable(Refusal):
    """An act is neither corrected nor reversed: the original statement is named, whatever was done about it."""

    rule = "CORRECTION-7"
    remedy = (
        "Name the original statement by its event id and digest, and correct it again; what was voided by mistake is "
        "restored by voiding the void, a query is closed (QueryClosed)."
    )


class VoidAlready(Refusal):
    """The record is void."""

    rule = "CORRECTION-8"
    remedy = "If it was right after all, void the void named here first (EntryVoided); otherwise nothing is left to do."


class NotReversible(Refusal):
    """Only decisions are reversed."""

    rule = "CORRECTION-9"
    remedy = "Correct or void a fact (EntryCorrected, EntryVoided); record governance anew."


class ReversalStands(Refusal):
    """A reversal is not reversed."""

    rule = "CORRECTION-10"
    remedy = "Take the decision anew, on the state as it is now."


class SignedByTwo(Refusal):
    """One person does not take back what two people signed."""

    rule = "CORRECTION-11"
    remedy = "Record the opposite decision where there is one (such as StudyUnlocked), which two people sign as well."


class TreatedUnderIt(Refusal):
    """Study treatment was given to the subject: the enrolment is not reversed, as if nobody had sat there."""

    rule = "CORRECTION-12"
    remedy = (
        "Record that treatment or participation ended (TreatmentDiscontinued, SubjectWithdrawn): the subject keeps the "
        "seat and stays in every count. Only if the treatment named was never given, void its record first."
    )
    source = "ICH E6(R3) 2.7.1, 4 (c)"


class NothingToCountersign(Refusal):
    """The record does not wait for a second signature of this role."""

    rule = "COUNTERSIGN-1"
    remedy = "Countersign a record that waits, in a role that may."


class SamePerson(Refusal):
    """Two signatures need two persons."""

    rule = "COUNTERSIGN-2"
    remedy = "Have another person countersign."
    source = "21 CFR 11.200(a)(3)"


class RecordsLocked(Refusal):
    """The records are locked or frozen: nothing is corrected, voided or decided."""

    rule = "LOCK-1"
    remedy = "Have the lock lifted first (StudyUnlocked, RecordsUnfrozen); new facts are still recorded."
    source = "ICH E6(R3) 3.16.1(p), (r)"


def target_record(ctx: Context) -> Record:
    """CORRECTION-1: the earlier record that the candidate names, by event id and digest."""
    for claim in ("corrects", "voids", "answers", "reverses", "countersigns"):
        named = ctx.candidate.claims.get(claim)
        if named is not None:
            return find_record(ctx, named)
    raise TargetUnknown("the statement names no earlier record")


def find_record(ctx: Context, named: Any) -> Record:
    """CORRECTION-1: the record with this event id and digest, of the aggregate that the candidate belongs to."""
    found = ctx.records.get(named["jti"])
    if found is None:
        raise TargetUnknown(f"{ctx.candidate.sub} has no record {named['jti']}")
    if found.digest != named["digest"]:
        raise TargetUnknown(f"the record {named['jti']} has the digest {found.digest}", (found.index,))
    return found


def target_unknown(because: str, index: int) -> TargetUnknown:
    """CORRECTION-1, where a record stands and what is named of it does not."""
    return TargetUnknown(because, (index,))


def target_is_here(ctx: Context) -> None:
    """CORRECTION-1, CORRECTION-2: the target stands, and `sub` and `site` are its own as recorded."""
    target = target_record(ctx)
    if target.sub != ctx.candidate.sub or target.claims.get("site") != ctx.candidate.claims.get("site"):
        raise TargetElsewhere(
            f"the original is about {target.sub} at {target.claims.get('site') or 'no site'}", (target.index,)
        )


def target_is_a_fact(ctx: Context) -> None:
    """CORRECTION-3, 7, 8: a fact, not waiting; a void may be voided, a void fact corrected no more."""
    target = target_record(ctx)
    voiding = ctx.candidate.event == "EntryVoided"
    if target.kind != "fact" and not (voiding and target.event == "EntryVoided"):
        if target.kind == "act":
            raise ActNotCorrectable(*_act_in_words(ctx, target))
        raise NotCorrectable(f"{target.event} is not a fact", (target.index,))
    if target.void:
        voids = (ctx.records.by_jti[jti] for jti in target.voids)
        shown = tuple(void.index for void in voids if void.stands)
        raise VoidAlready(f"it was voided at index {', '.join(map(str, shown))}", (target.index, *shown))


def _act_in_words(ctx: Context, act: Record) -> tuple[str, tuple[int, ...]]:
    """What an act is about in the end, so that it can be named: event, index, event id."""
    original = ctx.records.original_of(act)
    if original is act:
        return f"{act.event} is an act, not a fact or decision", (act.index,)
    said = f"{act.event} is an act; the original is {original.event} at index {original.index}, {original.jti}"
    return said, (act.index, original.index)


def side_is_the_owners(ctx: Context) -> None:
    """CORRECTION-4: the side that recorded it, or the sponsor's (which the site then countersigns)."""
    target, role = target_record(ctx), ctx.candidate.role
    if role in SPONSOR | DATA_MANAGER and (role == target.role or ctx.candidate.claims.get("site")):
        return  # where there is no site, nobody could countersign it
    own = next((side for side in _SIDES if target.role in side), frozenset({target.role}))
    if target.role in SYSTEM:
        own = own | SITE_STAFF | LABORATORY
    if role not in own:
        raise NotYours(f"it was recorded by {target.role!r}, not by {role!r}'s side", (target.index,))


def field_has_that_form(ctx: Context) -> None:
    """CORRECTION-4: one field that the fact has, in the version in which it was recorded or in a later one, and a value
    of its form; null says that none is known."""
    from ledger.domain.catalogue import (
        CATALOGUE,  # the catalogue lists this file's events
    )

    target, name = target_record(ctx), ctx.candidate.claims["corrects"]["field"]
    value = ctx.candidate.content.get("value")
    if name in CLAIM_FIELDS:
        if not isinstance(value, str) or not value.strip():
            raise NotYours(f"{name!r} is corrected to a site's id", (target.index,))
        return
    model = CATALOGUE.model_with(target.event, name, target.claims["v"])
    if model is None or name not in model.disclosed_fields() or name in MANIFESTATION:
        raise NotYours(f"{target.event} has no field {name!r} to correct", (target.index,))
    if value is None and not model.model_fields[name].is_required():
        return
    try:
        _adapter(model, name).validate_python(value)
    except ValidationError as wrong:
        problem = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
        raise NotYours(f"{name}: {problem['msg'].removeprefix('Value error, ')}", (target.index,)) from None


@cache
def _adapter(model: type[EventModel], name: str) -> TypeAdapter[Any]:
    info = model.model_fields[name]
    annotated: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return TypeAdapter(annotated, config=ConfigDict(strict=True, arbitrary_types_allowed=True))


def decision_can_be_reversed(ctx: Context) -> None:
    """CORRECTION-4, 5, 7, 9 to 11: a decision that stands, reversed by a role that may decide it."""
    from ledger.domain.catalogue import CATALOGUE

    target = target_record(ctx)
    if target.event == "DecisionReversed":
        raise ReversalStands(*_act_in_words(ctx, target))
    if target.kind == "act":
        raise ActNotCorrectable(*_act_in_words(ctx, target))
    if target.kind != "decision":
        raise NotReversible(f"{target.event} is not a decision", (target.index,))
    if target.reversed_at is not None:
        raise ReversedAlready(f"it was reversed at index {target.reversed_at}", (target.reversed_at,))
    if target.countersigned_at is not None:
        shown = (target.index, target.countersigned_at)
        raise SignedByTwo(f"the second person signed at index {target.countersigned_at}", shown)
    if ctx.candidate.role not in CATALOGUE[target.event].recorders:
        raise NotYours(f"{ctx.candidate.role!r} does not decide {target.event}", (target.index,))


def nobody_was_treated_under_it(ctx: Context) -> None:
    """CORRECTION-12: the enrolment that a treated subject's counts rest on stays; one recorded beside it may go."""
    target = target_record(ctx)
    if target.event != "SubjectEnrolled" or target is not ctx.records.of("SubjectEnrolled")[0]:
        return
    doses = [record for record in ctx.records.of(*TREATMENTS) if record.done]
    if doses:
        given = ", ".join(f"{dose.event} at index {dose.index}" for dose in doses)
        raise TreatedUnderIt(f"{given} stands", (target.index, *(dose.index for dose in doses)))


def named_record(ctx: Context, named: Any) -> Record:
    """CORRECTION-1, CORRECTION-2: a record that `body` names: it stands under this `sub`, and is of this site.

    Its site is where it was recorded, what that was corrected to, or where its subject was transferred to.
    """
    found, site = find_record(ctx, named), ctx.candidate.claims.get("site")
    places = {found.claims.get("site"), found.site}
    if ctx.subject is not None:
        places.add(site_of(ctx.subject))
    if site not in places:
        raise TargetElsewhere(f"the record is of the site {found.site!r}, the statement names {site!r}", (found.index,))
    return found


def attribution_is_own(ctx: Context) -> None:
    """CORRECTION-1, CORRECTION-6: the record stands under the actor's own name."""
    target = find_record(ctx, ctx.candidate.body["record"])
    if target.iss != ctx.candidate.iss:
        raise NotYourSignature(f"the record is by {target.iss!r}", (target.index,))


def signature_is_own(ctx: Context) -> None:
    """CORRECTION-1, CORRECTION-6: a signature (a statement with a meaning) of the same person."""
    target = find_record(ctx, ctx.candidate.body["record"])
    if target.iss != ctx.candidate.iss or target.meaning is None:
        raise NotYourSignature(f"it is {'an entry' if target.meaning is None else target.iss}", (target.index,))


def waits_for_this_role(ctx: Context) -> None:
    """COUNTERSIGN-1, COUNTERSIGN-2: it waits, this role may, and the person is another."""
    from ledger.domain.catalogue import CATALOGUE

    target = target_record(ctx)
    if not target.pending:
        raise NothingToCountersign("it does not wait for a second signature", (target.index,))
    allowed = CATALOGUE.countersigners(target.claims, ctx.study.authority.registrars_required)
    allowed = frozenset(allowed) - (_group(target.role) if target.role not in ("registrar",) else frozenset())
    if ctx.candidate.role not in allowed:
        raise NothingToCountersign(f"it waits for {' or '.join(sorted(allowed))}", (target.index,))
    if target.iss == ctx.candidate.iss:
        raise SamePerson(f"{target.iss!r} recorded it", (target.index,))


def _group(role: str) -> frozenset[str]:
    return INVESTIGATOR if role in INVESTIGATOR else frozenset({role})


PRECONDITIONS = {
    "EntryCorrected": (target_is_here, target_is_a_fact, side_is_the_owners, field_has_that_form),
    "EntryVoided": (target_is_here, target_is_a_fact, side_is_the_owners),
    "DecisionReversed": (target_is_here, decision_can_be_reversed, nobody_was_treated_under_it),
    "AttributionDisputed": (attribution_is_own,),
    "SignatureWithdrawn": (signature_is_own,),
    "Countersigned": (target_is_here, waits_for_this_role),
}
