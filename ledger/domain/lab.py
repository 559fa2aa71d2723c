"""Laboratory results, as the laboratory gave them, and what a physician says about them.

 LAB-1  a result names the specimen that it was measured on, and that specimen was drawn
 LAB-2  a result is of a specimen that was not discarded before
 LAB-3  a result is in a unit that the protocol can read for its analyte
A value is an exact decimal with an optional comparator, or text; the range that held for it stands beside it.
Source: ICH E6(R3) 2.12, 4.2; 21 CFR 58.130 (c).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING, Literal

from ledger.domain import specimen
from ledger.domain.context import Context
from ledger.domain.model import (
    Code,
    Comparator,
    Decimal,
    EventId,
    EventModel,
    Fact,
    Label,
    Part,
    Text,
)
from ledger.domain.moments import happened, surely_before
from ledger.domain.participation import protocol_of, site_of, zone_of
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, FindingRule
from ledger.domain.roles import (
    DATA_MANAGER,
    INVESTIGATOR,
    LABORATORY,
    SITE_STAFF,
    SYSTEM,
)

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.protocol import ResolvedProtocol


class ReferenceRange(Part):
    """The range that the laboratory gave for this result, inclusive; `text` where it is not two numbers."""

    low: Decimal | None = None
    high: Decimal | None = None
    unit: Label | None = None
    text: Text | None = None


class StandardResult(Part):
    """The same result as the source converted it to its standard unit."""

    value: Decimal | None = None
    comparator: Comparator | None = None
    text: Text | None = None
    unit: Label | None = None
    reference_range: ReferenceRange | None = None


class LabResultReported(Fact):
    """A laboratory reported a result; `occurred_at` is when the specimen was drawn."""

    recorders = SITE_STAFF | LABORATORY | SYSTEM
    transcribers = DATA_MANAGER
    needed = ("analyte",)
    words = "reported {analyte}: {comparator} {value} {text} {unit}"
    rules = ("LAB-1", "LAB-2", "LAB-3", "SPECIMEN-1", "SPECIMEN-2", "SPECIMEN-3", "CONSENT-5", "CONSENT-8")

    analyte: Label | None = None
    code: Code | None = None
    name: Text | None = None
    value: Decimal | None = None
    comparator: Comparator | None = None
    text: Text | None = None
    unit: Label | None = None
    reference_range: ReferenceRange | None = None
    indicator: Label | None = None
    standard: StandardResult | None = None
    specimen: Label | None = None
    material: Label | None = None
    planned: Label | None = None
    category: Label | None = None
    subcategory: Label | None = None
    method: Label | None = None
    fasting: bool | None = None
    position: Label | None = None
    baseline: bool | None = None
    laboratory: Label | None = None
    upstream_id: Label | None = None
    upstream_status: Label | None = None


class ResultReviewed(Fact):
    """An investigator looked at a result and said whether it is clinically significant."""

    recorders = INVESTIGATOR | SYSTEM
    transcribers = DATA_MANAGER
    needed = ("result",)
    words = "reviewed a result as {significance}"
    rules = ("REFERENCE-1",)

    result: EventId | None = None
    significance: Literal["clinically significant", "not clinically significant", "unknown"] | None = None
    action: Text | None = None


EVENTS: tuple[type[EventModel], ...] = (LabResultReported, ResultReviewed)


class ResultWithoutSpecimen(FindingRule):
    """A result does not name the specimen that it was measured on, or names one that was never drawn."""

    rule = "LAB-1"
    source = "ICH E6(R3) 4.2.1; 21 CFR 58.130(c)"


class ResultOfDiscarded(FindingRule):
    """A result is of a specimen that was discarded before."""

    rule = "LAB-2"


class UnitUnreadable(FindingRule):
    """A result is in a unit that the protocol does not know for its analyte: no rule can use it."""

    rule = "LAB-3"


def findings(study: Study, subject: Subject) -> Iterator[Finding]:
    """LAB-1 to LAB-3 for one subject."""
    protocol = protocol_of(study, subject)
    if protocol is None:
        return
    results = [record for record in subject.records.of("LabResultReported") if record.done]
    if protocol.definition.requires.specimens:
        known = frozenset(specimen.drawn(subject)) | specimen.parts(subject)
        for record in results:
            name = record.get("specimen")
            if name not in known:
                because = "no specimen is named" if name is None else f"no draw of specimen {name!r} is recorded"
                yield ResultWithoutSpecimen.found(because, (record.index,), subject.label, record.site)
    yield from _discarded(study, subject, results)
    for record in results:
        if not _readable(protocol, record):
            because = f"{record.get('analyte')} in {record.get('unit') or 'no unit'}"
            yield UnitUnreadable.found(because, (record.index,), subject.label, record.site)


def _discarded(study: Study, subject: Subject, results: list[Record]) -> Iterator[Finding]:
    zone = zone_of(study, site_of(subject))
    gone = {r.get("specimen"): r for r in subject.records.of("SpecimenDiscarded") if r.done}
    draws = specimen.drawn(subject)
    for record in results:
        lost = gone.get(record.get("specimen"))
        if lost is not None and record.get("specimen") in draws and _afterwards(record, lost, zone):
            because = f"specimen {record.get('specimen')!r} was discarded on {lost.occurred_at or 'an unknown day'}"
            yield ResultOfDiscarded.found(because, (record.index, lost.index), subject.label, record.site)


def _afterwards(record: Record, lost: Record, zone: tzinfo | None) -> bool:
    """Whether a result was surely measured after its specimen was gone: `captured_at` says when it was measured."""
    measured = record.content.get("captured_at")
    return surely_before(happened(lost), measured, zone)


def _readable(protocol: ResolvedProtocol, record: Record) -> bool:
    analyte = protocol.analytes.key(record.content)
    if analyte is None or record.get("value") is None:
        return True
    wanted = protocol.definition.analytes[analyte].unit
    if wanted is None:
        return True
    stated = protocol_unit(protocol, record)
    return protocol.units.factor(stated, wanted, analyte) is not None


def protocol_unit(protocol: ResolvedProtocol, record: Record) -> str | None:
    """The unit of a result, in the protocol's notation where it knows the laboratory's own."""
    stated = record.get("unit")
    aliases = protocol.definition.units.aliases
    for laboratory in (record.get("laboratory"), "any"):
        names = aliases.get(laboratory) if laboratory is not None else None
        if names is not None and stated in names:
            return str(names[stated])
    return str(stated) if stated is not None else None


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {}
"""Results are facts."""
