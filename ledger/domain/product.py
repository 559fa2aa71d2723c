"""Product units: registered with their origin, moved, prepared, released by quality, disposed of.

 PRODUCT-1  a unit that is released or authorised is registered
 PRODUCT-2  a unit is released by the manufacturer's quality before it is authorised for a subject
 PRODUCT-3  and is within its expiry
 PRODUCT-4  and is neither used nor authorised for another infusion
 PRODUCT-5  and has not been disposed of
 PRODUCT-6  a unit is released once
 PRODUCT-7  a unit is released with its identity known, as far as the protocol names what belongs to it
 PRODUCT-8 to PRODUCT-11  findings: a unit given that was not released, or expired, given twice, or disposed of
A unit is the subject `product/<id>` of its own statements; others name it by that id. Preparing it replaces
its expiry. Sources: 21 CFR 1271.265, 312.57; EU GMP Annex 16; ICH E6(R3) 2.10, 3.15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

from ledger.domain.context import Context
from ledger.domain.model import (
    Decimal,
    Decision,
    Document,
    EventModel,
    Fact,
    Label,
    PartialTime,
    Reason,
    Text,
)
from ledger.domain.moments import at, decided, happened, is_before, surely_before
from ledger.domain.participation import zone_of
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, FindingRule, Refusal
from ledger.domain.roles import (
    DATA_MANAGER,
    MANUFACTURER,
    MANUFACTURER_QUALITY,
    PHARMACY,
    SYSTEM,
)
from ledger.domain.study import protocol_for, study_runs

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.domain.context import Roster

RECORDERS = MANUFACTURER | PHARMACY | SYSTEM


class ProductFact(Fact):
    """What happened to a product unit."""

    about = ("product",)
    recorders = RECORDERS
    transcribers = DATA_MANAGER


class ProductUnitRegistered(ProductFact):
    """A unit of the product exists: donor, bank, passage, lot, viability, expiry."""

    words = "registered the unit of {product_name}, lot {lot}, expiring {expires_at}"
    rules = ("PRODUCT-1", "PRODUCT-7")

    product_name: Label | None = None
    donor: Label | None = None
    bank: Label | None = None
    passage: Label | None = None
    lot: Label | None = None
    unit_number: Label | None = None
    viability_percent: Decimal | None = None
    cells: Decimal | None = None
    cells_unit: Label | None = None
    volume: Decimal | None = None
    volume_unit: Label | None = None
    manufactured_at: PartialTime | None = None
    expires_at: PartialTime | None = None
    storage: Text | None = None


class ProductMoved(ProductFact):
    """A unit moved from one place to another."""

    words = "recorded that the unit moved from {from_place} to {to_place}"
    rules = ("PRODUCT-1",)

    from_place: Label | None = None
    to_place: Label | None = None
    temperature_min: Decimal | None = None
    temperature_max: Decimal | None = None
    temperature_unit: Label | None = None
    excursion: bool | None = None


class ProductPrepared(ProductFact):
    """A unit was prepared for use: thawed, washed, diluted. A shorter expiry begins here."""

    words = "recorded that the unit was prepared: {method}"
    rules = ("PRODUCT-3",)

    method: Text | None = None
    cells: Decimal | None = None
    cells_unit: Label | None = None
    volume: Decimal | None = None
    volume_unit: Label | None = None
    viability_percent: Decimal | None = None
    expires_at: PartialTime | None = None


class ProductDisposed(ProductFact):
    """A unit was disposed of."""

    words = "recorded that the unit was disposed of: {reason}"
    rules = ("PRODUCT-5", "PRODUCT-11")

    reason: Reason | None = None
    method: Text | None = None


class ProductReleased(Decision):
    """The manufacturer's quality released a unit for use."""

    about = ("product",)
    recorders = MANUFACTURER_QUALITY
    words = "released the unit for use"
    rules = ("STUDY-1", "PRODUCT-1", "PRODUCT-5", "PRODUCT-3", "PRODUCT-6", "PRODUCT-7")

    certificate: Document | None = None
    reason: Reason | None = None


class ProductReleaseRevoked(Decision):
    """The manufacturer's quality took back the release of a unit."""

    about = ("product",)
    recorders = MANUFACTURER_QUALITY
    stopping = True
    words = "revoked the release of the unit: {reason}"
    rules = ("PRODUCT-2", "PRODUCT-8")

    reason: Reason


EVENTS: tuple[type[EventModel], ...] = (
    ProductUnitRegistered,
    ProductMoved,
    ProductPrepared,
    ProductDisposed,
    ProductReleased,
    ProductReleaseRevoked,
)


class UnitUnknown(Refusal):
    """The product unit is not registered."""

    rule = "PRODUCT-1"
    remedy = "Register the unit (ProductUnitRegistered), or name the right one."
    source = "21 CFR 1271.290"


class UnitNotReleased(Refusal):
    """The product unit is not released for use."""

    rule = "PRODUCT-2"
    remedy = "Have the manufacturer's quality release the unit (ProductReleased), or name a released one."
    source = "EU GMP Annex 16; ICH E6(R3) 3.15.3"


class UnitExpired(Refusal):
    """The product unit is past its expiry, or its expiry is not known."""

    rule = "PRODUCT-3"
    remedy = "Name a unit within its expiry; where the expiry recorded is wrong or lacking, correct it."
    source = "21 CFR 312.6; EU GMP Annex 13"


class UnitTaken(Refusal):
    """The product unit is used, or authorised for another infusion."""

    rule = "PRODUCT-4"
    remedy = "Name another unit; if the other authorisation was wrong, reverse it first (DecisionReversed)."


class UnitDisposed(Refusal):
    """The product unit was disposed of."""

    rule = "PRODUCT-5"
    remedy = "Name another unit; if the disposal was recorded by mistake, void that entry."


class UnitReleasedAlready(Refusal):
    """The product unit is released already."""

    rule = "PRODUCT-6"
    remedy = "Nothing is left to do; a release that was wrong is revoked first (ProductReleaseRevoked)."


class UnitIdentityLacking(Refusal):
    """The protocol names what must be known of a unit, and some of it is not recorded."""

    rule = "PRODUCT-7"
    remedy = "Correct the unit's registration so that it says what is missing, then release it."
    source = "21 CFR 1271.290(c)"


class GivenUnreleased(FindingRule):
    """A product unit was given that was not released at that time."""

    rule = "PRODUCT-8"
    source = "EU GMP Annex 16"


class GivenExpired(FindingRule):
    """A product unit was given after its expiry."""

    rule = "PRODUCT-9"


class GivenTwice(FindingRule):
    """A product unit was given more than once."""

    rule = "PRODUCT-10"


class GivenAfterDisposal(FindingRule):
    """A product unit was given that had been disposed of."""

    rule = "PRODUCT-11"
    source = "21 CFR 312.59"


_STATES = ("ProductReleased", "ProductReleaseRevoked")


_IDENTITY = {"unit": "unit_number", "viability": "viability_percent", "expiry": "expires_at"}
"""Fields of the registration by the names that protocols use for what identifies a unit."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A product unit as recorded: its registration; disposals, and releases and revocations, in order."""

    id: str
    registered: Record | None
    disposals: tuple[Record, ...]
    releases: tuple[Record, ...]
    expires_at: str | None
    expiry: Record | None

    @property
    def disposed(self) -> Record | None:
        """What says first that it was disposed of."""
        return self.disposals[0] if self.disposals else None

    @property
    def released(self) -> Record | None:
        """The release that stands now."""
        newest = self.releases[-1] if self.releases else None
        return newest if newest is not None and newest.event == "ProductReleased" else None

    @property
    def state(self) -> str:
        """One of: unknown, registered, released, release revoked, disposed."""
        if self.disposed is not None:
            return "disposed"
        if self.releases:
            return "released" if self.released is not None else "release revoked"
        return "registered" if self.registered is not None else "unknown"

    def released_when(self, moment: str | None, zone: tzinfo | None) -> bool:
        """Whether it can have been released at a moment: some release came no later, and was not yet revoked."""
        for place, record in enumerate(self.releases):
            if record.event != "ProductReleased" or surely_before(moment, decided(record), zone):
                continue
            after = self.releases[place + 1 :]
            ended = next((r for r in after if r.event == "ProductReleaseRevoked"), None)
            if ended is None or not surely_before(decided(ended), moment, zone):
                return True
        return False


def unit(study: Study, id: str) -> Unit:
    """A product unit; with `registered` None where nobody registered it."""
    own = [
        record
        for record in study.records.of(*(model.__name__ for model in EVENTS))
        if record.sub == f"product/{id}" and record.done
    ]
    registered = next((r for r in reversed(own) if r.event == "ProductUnitRegistered"), None)
    expiring = [r for r in own if r.event in ("ProductUnitRegistered", "ProductPrepared") and r.get("expires_at")]
    expiry = expiring[-1] if expiring else None
    return Unit(
        id,
        registered,
        tuple(r for r in own if r.event == "ProductDisposed"),
        tuple(r for r in own if r.event in _STATES),
        None if expiry is None else expiry.get("expires_at"),
        expiry,
    )


def _usable(ctx: Context, found: Unit) -> None:
    """PRODUCT-1, PRODUCT-3, PRODUCT-5: registered, not disposed of, within its expiry now."""
    if found.registered is None:
        raise UnitUnknown(f"no unit {found.id!r} is registered")
    _is_there(found)
    zone = zone_of(ctx.study, ctx.candidate.site)
    if found.expiry is None or at(found.expires_at) is None:
        raise UnitExpired(f"no expiry of unit {found.id!r} is recorded", (found.registered.index,))
    if surely_before(found.expires_at, ctx.recorded_at, zone):
        raise UnitExpired(f"unit {found.id!r} expired on {found.expires_at}", (found.expiry.index,))


def _is_there(found: Unit) -> None:
    """PRODUCT-5: not disposed of."""
    if found.disposed is not None:
        raise UnitDisposed(f"unit {found.id!r} was disposed of", (found.disposed.index,))


def can_be_released(ctx: Context) -> None:
    """PRODUCT-1, 3, 5, 6, 7: registered with its identity, in date, not disposed of, not released already."""
    found = unit(ctx.study, ctx.candidate.sub.partition("/")[2])
    _usable(ctx, found)
    assert found.registered is not None
    if found.released is not None:
        raise UnitReleasedAlready(f"it is released since index {found.released.index}", (found.released.index,))
    _identity_is_known(ctx, found.registered)


def _identity_is_known(ctx: Context, registered: Record) -> None:
    """PRODUCT-7: what the protocol names of a unit's identity is recorded."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    treatment = protocol.definition.treatment if protocol is not None else None
    wanted = treatment.product_identity if treatment is not None else ()
    fields = {name: _IDENTITY.get(name, name) for name in wanted}
    lacking = [
        name
        for name, field in fields.items()
        if field in ProductUnitRegistered.model_fields and registered.get(field) is None
    ]
    if lacking:
        raise UnitIdentityLacking(f"not recorded: {', '.join(lacking)}", (registered.index,))


def can_be_authorised(ctx: Context) -> None:
    """PRODUCT-1 to PRODUCT-5: the unit named is registered, released, in date and free; never disposed of."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    name = ctx.candidate.get("product")
    if protocol is None or not protocol.definition.requires.product_release:
        if name is not None:
            _is_there(unit(ctx.study, name))
        return
    if name is None:
        raise UnitUnknown("the decision names no unit")
    found = unit(ctx.study, name)
    _usable(ctx, found)
    if found.released is None:
        raise UnitNotReleased(f"unit {name!r} is {found.state}", tuple(r.index for r in found.releases[-1:]))
    if found.released.mode == "transcribed" and found.registered is not None:
        _identity_is_known(ctx, found.registered)  # nobody asked when its release was transcribed
    taken = [record for _, record in holders(ctx.roster.who_named("product", name), name, ctx.other_subject)]
    if taken:
        what = "; ".join(f"{r.event} at index {r.index} for {r.sub}" for r in taken)
        raise UnitTaken(f"unit {name!r}: {what}", tuple(r.index for r in taken))


def holders(
    labels: tuple[str, ...], unit_id: str, load: Callable[[str], Subject | None]
) -> Iterator[tuple[Subject, Record]]:
    """Among these subjects, who was given a unit, or is authorised for it and that infusion is still to come."""
    for label in labels:
        subject = load(label)
        if subject is None:
            continue
        over = [r for r in subject.records.of("InfusionGiven", "TreatmentAdministered", "InfusionWithheld") if r.done]
        given = (r for r in over if r.event != "InfusionWithheld" and r.get("product") == unit_id)
        yield from ((subject, r) for r in given)
        for record in subject.records.of("InfusionAuthorised"):
            settled = any(r.index > record.index and r.get("number") == record.get("number") for r in over)
            if record.get("product") == unit_id and not settled:
                yield subject, record


def administration_findings(study: Study, record: Record, when: str | None, zone: tzinfo | None) -> Iterator[Finding]:
    """PRODUCT-8, PRODUCT-9 for one administration; `when` it began."""
    place = {"subject": record.sub, "site": record.site}
    name = record.get("product")
    if name is None:
        yield GivenUnreleased.found("it is not recorded which unit was given", (record.index,), **place)
        return
    found = unit(study, name)
    if not found.released_when(when, zone):
        shown = (record.index, *(r.index for r in found.releases))
        yield GivenUnreleased.found(f"unit {name!r} is {found.state}", shown, **place)
    if found.expiry is not None and is_before(found.expires_at, when, zone):
        because = f"unit {name!r} expired on {found.expires_at}, given on {when}"
        yield GivenExpired.found(because, (record.index, found.expiry.index), **place)


def given_after_disposal(study: Study, record: Record, when: str | None, zone: tzinfo | None) -> Iterator[Finding]:
    """PRODUCT-11 for one administration; an undated disposal was made no later than it was recorded."""
    name = record.get("product")
    for gone in unit(study, name).disposals if name is not None else ():
        disposed = happened(gone) or gone.recorded_at
        if surely_before(disposed, when, zone):
            because = f"unit {name!r} was disposed of on {disposed}, given on {when}"
            yield GivenAfterDisposal.found(because, (record.index, gone.index), record.sub, record.site)
            return


def twice(subject: str, records: list[Record]) -> Iterator[Finding]:
    """PRODUCT-10: among administrations in the order in which they were given, units that came before."""
    first: dict[str, Record] = {}
    for record in records:
        name = record.get("product")
        if name is None:
            continue
        if name in first:
            because = f"unit {name!r} is recorded at indexes {first[name].index} and {record.index}"
            shown = (record.index, first[name].index)
            yield GivenTwice.found(because, shown, subject=subject, site=record.site)
        else:
            first[name] = record


def shared(roster: Roster, load: Callable[[str], Subject | None]) -> Iterator[Finding]:
    """PRODUCT-10, across the study: units that were given to several subjects."""
    for (what, name), labels in roster.named.items():
        if what != "product" or len(labels) < 2:
            continue
        given = [r for _, r in holders(tuple(labels), name, load) if r.event != "InfusionAuthorised"]
        if len({record.sub for record in given}) > 1:
            given.sort(key=lambda record: -record.index)
            because = f"unit {name!r} was given to {', '.join(sorted({record.sub for record in given}))}"
            yield GivenTwice.found(because, [r.index for r in given], given[0].sub, given[0].site)


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {
    "ProductReleased": (study_runs, can_be_released),
}
