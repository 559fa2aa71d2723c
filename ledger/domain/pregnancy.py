"""Pregnancy: whether a negative test counts for a subject at a moment, as the protocol asks for it.

A test counts by the analyte and the words for positive and negative that the protocol names; the newest one
decides. The protocol may ask for a test before each administration, or say how long one is valid; what it
leaves out is not asked. A pregnancy that was reported and has not ended speaks against any test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

from ledger.domain.moments import at, happened, later, length, surely_before
from ledger.domain.participation import screened
from ledger.domain.record import Record

if TYPE_CHECKING:
    from ledger.domain.aggregate import Subject
    from ledger.protocol import ResolvedProtocol


@dataclass(frozen=True, slots=True)
class PregnancyExcluded:
    """Whether pregnancy is excluded; truthy if so or not asked, else `because` says what is missing."""

    excluded: bool
    because: str
    indexes: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self.excluded


def is_asked(protocol: ResolvedProtocol, subject: Subject) -> bool:
    """Whether the protocol asks this subject for tests: of the sex named, unless childbearing is ruled out."""
    rule = protocol.definition.pregnancy
    if rule is None or screened(subject, "childbearing_potential") is False:
        return False
    return screened(subject, "sex") in (rule.sex, "unknown", None)


def tests(protocol: ResolvedProtocol, subject: Subject, zone: tzinfo | None) -> list[Record]:
    """Results of the pregnancy test that stand, oldest first."""
    rule = protocol.definition.pregnancy
    found: list[Record] = []
    if rule is None:
        return found
    for record in subject.records.of("LabResultReported"):
        if record.done and protocol.analytes.key(record.content) == rule.analyte:
            place = len(found)
            while place and not later(record, found[place - 1], zone):
                place -= 1
            found.insert(place, record)
    return found


def result(protocol: ResolvedProtocol, record: Record) -> str:
    """`negative`, `positive` or `unclear`, by the protocol's words."""
    rule = protocol.definition.pregnancy
    words = protocol.definition.analytes[rule.analyte].words if rule is not None else None
    text = " ".join(str(record.get("text") or "").casefold().split())
    for name in ("negative", "positive"):
        if words is not None and text in {" ".join(w.casefold().split()) for w in getattr(words, name)}:
            return name
    return "unclear"


def excluded(
    protocol: ResolvedProtocol, subject: Subject, when: str | None, previous: Record | None, zone: tzinfo | None
) -> PregnancyExcluded:
    """Whether pregnancy is excluded at a moment; `previous` is the administration before, if any."""
    if not is_asked(protocol, subject):
        return PregnancyExcluded(True, "no test is asked for")
    rule = protocol.definition.pregnancy
    assert rule is not None
    ongoing = _ongoing(subject, when, zone)
    if ongoing is not None:
        return PregnancyExcluded(False, "a pregnancy is reported", (ongoing.index,))
    known = [record for record in tests(protocol, subject, zone) if not surely_before(when, happened(record), zone)]
    if not known:
        return PregnancyExcluded(False, f"no result of {rule.analyte} is recorded")
    newest = known[-1]
    said = result(protocol, newest)
    if said != "negative":
        return PregnancyExcluded(False, f"the newest result of {rule.analyte} is {said}", (newest.index,))
    each = previous is not None and rule.before_each_administration
    if previous is not None and each and surely_before(happened(newest), happened(previous), zone):
        because = f"the newest result of {rule.analyte} is from before the last administration"
        return PregnancyExcluded(False, because, (newest.index, previous.index))
    if rule.valid_for is not None and _outlived(newest, when, rule.valid_for, zone):
        because = f"the newest result of {rule.analyte} is of {happened(newest)} and counts for {rule.valid_for}"
        return PregnancyExcluded(False, because, (newest.index,))
    return PregnancyExcluded(True, f"{rule.analyte} negative on {happened(newest)}", (newest.index,))


def _ongoing(subject: Subject, when: str | None, zone: tzinfo | None) -> Record | None:
    for record in subject.records.of("PregnancyReported"):
        own = record.done and record.get("of") != "partner" and record.get("outcome") is None
        if own and not surely_before(when, record.occurred_at or record.recorded_at, zone):
            return record
    return None


def _outlived(record: Record, when: str | None, valid_for: str, zone: tzinfo | None) -> bool:
    tested, moment = at(happened(record)), at(when)
    if tested is None or moment is None:
        return tested is None
    return length(valid_for).after(tested.instants(zone)[1].astimezone(UTC)) < moment.instants(zone)[0]
