"""What was given to a subject: the administrations in order, their numbers and doses, and what is wrong with them.

 INFUSION-11  given without an authorisation that stood at that time
 INFUSION-12  given without two persons having compared label and subject
 INFUSION-13  given out of order, twice under one number, or beyond the protocol's number
 INFUSION-14  given outside the interval that the protocol gives
 INFUSION-16  given after treatment or participation had ended
 INFUSION-17  given without a negative pregnancy test that counts
 INFUSION-18  given to somebody who was not enrolled
 INFUSION-19  given to somebody whom the protocol does not treat, such as a healthy control
 INFUSION-20  given while the study or the cohort was held
and, of how much was given, INFUSION-15, 21 and 22 (`dosing`); of the unit, PRODUCT-8 to PRODUCT-11 (`product`).
Each applies only where the protocol declares what it is about.
Sources: ICH E6(R3) 2.10, 3.15; 21 CFR 312.60, 312.62.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, tzinfo
from typing import TYPE_CHECKING

from ledger.domain import dose_level, dosing, pregnancy, product
from ledger.domain.moments import (
    at,
    decided,
    happened,
    length,
    local_dates,
    surely_before,
)
from ledger.domain.participation import (
    TREATMENT_ENDS,
    given,
    protocol_of,
    screened,
    site_of,
    zone_of,
)
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, FindingRule

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.protocol import ResolvedProtocol
    from ledger.protocol.model.course import Treatment

GIVEN = ("InfusionGiven", "TreatmentAdministered")


class GivenUnauthorised(FindingRule):
    """Study treatment was given without an authorisation that stood at that time."""

    rule = "INFUSION-11"
    source = "ICH E6(R3) 2.3.1; 21 CFR 11.10(f)"


class IdentityNotChecked(FindingRule):
    """Study treatment was given without two persons having compared the label with the subject before."""

    rule = "INFUSION-12"


class GivenOutOfOrder(FindingRule):
    """The number of an administration does not follow from those before it."""

    rule = "INFUSION-13"


class IntervalNotKept(FindingRule):
    """Study treatment was given earlier or later after the last time than the protocol allows."""

    rule = "INFUSION-14"


class GivenAfterEnd(FindingRule):
    """Study treatment was given after the subject's treatment or participation had ended."""

    rule = "INFUSION-16"
    source = "ICH E6(R3) 2.8.10"


class PregnancyNotExcluded(FindingRule):
    """Study treatment was given without a negative pregnancy test that counts."""

    rule = "INFUSION-17"


class GivenUnenrolled(FindingRule):
    """Study treatment was given to a subject who was not enrolled."""

    rule = "INFUSION-18"


class PopulationNotTreated(FindingRule):
    """Study treatment was given to a subject of a population that the protocol does not treat."""

    rule = "INFUSION-19"


class GivenWhileHeld(FindingRule):
    """Study treatment was given while the study or the cohort was on hold."""

    rule = "INFUSION-20"


def numbers(records: Sequence[Record]) -> list[int]:
    """The number of each administration: as recorded, else one more than the one before."""
    found: list[int] = []
    for record in records:
        stated = record.get("number")
        found.append(stated if isinstance(stated, int) else (found[-1] if found else 0) + 1)
    return found


def next_numbers(treatment: Treatment, done: Sequence[int], withheld: Sequence[int]) -> set[int]:
    """Which number may come next; one that was withheld is skipped or made up for, as the protocol says."""
    number = max(done, default=0) + 1
    allowed = {number}
    while treatment.missed_dose != "shift" and number in withheld:
        number += 1
        allowed = {number} if treatment.missed_dose == "skip" else allowed | {number}
    return allowed


def withheld(subject: Subject) -> list[Record]:
    """Records that an infusion was withheld, and stands."""
    return [record for record in subject.records.of("InfusionWithheld") if record.done]


MAX_STEPS = 1_000
"""Intervals counted on from one administration: weekly for twenty years; who states a million is early anyway."""


def interval_problem(
    treatment: Treatment, last: str | None, steps: int, when: str | None, made_up: bool, zone: tzinfo | None
) -> tuple[str, str] | None:
    """`early` or `late` and why, where a moment surely lies outside the window; None otherwise.

    `steps` intervals after `last`; an administration that is made up for (`made_up`) is never late. Without a
    clock part, days are counted by the calendar of the site.
    """
    if treatment.interval is None or at(last) is None or at(when) is None:
        return None
    before, after = treatment.interval_window_before, treatment.interval_window_after
    clock = any(length(text).by_clock for text in (treatment.interval, before, after) if text is not None)
    bounds = _instants if clock else _days
    started, moment = bounds(last, zone), bounds(when, zone)
    if before is None and after is None:
        return None
    due = started
    for _ in range(min(steps, MAX_STEPS)):
        due = (length(treatment.interval).after(due[0]), length(treatment.interval).after(due[1]))
    said = f"given or due {when}, the last one {last}, interval {treatment.interval} times {steps}"
    if before is not None and moment[1] < length(before).negated().after(due[0]):
        return "early", f"{said}, at most {before} earlier"
    if after is not None and not made_up and moment[0] > length(after).after(due[1]):
        return "late", f"{said}, at most {after} later"
    return None


def _instants(text: str | None, zone: tzinfo | None) -> tuple[datetime, datetime]:
    moment = at(text)
    assert moment is not None
    first, last = moment.instants(zone)
    return first.astimezone(UTC), last.astimezone(UTC)


def _days(text: str | None, zone: tzinfo | None) -> tuple[datetime, datetime]:
    days = local_dates(text, zone)
    assert days is not None
    return datetime.combine(days[0], time()), datetime.combine(days[1], time())


def findings(study: Study, subject: Subject) -> Iterator[Finding]:
    """INFUSION-11 to INFUSION-22 and PRODUCT-8 to PRODUCT-11 for one subject."""
    zone = zone_of(study, site_of(subject))
    for event in GIVEN:
        yield from _after_end(subject, given(subject, zone, event), zone)
    protocol = protocol_of(study, subject)
    treatment = protocol.definition.treatment if protocol is not None else None
    if protocol is None or treatment is None:
        return
    records = given(subject, zone, treatment.event)
    yield from _order(study, subject, treatment, records, zone)
    if protocol.definition.requires.product_release:
        yield from product.twice(subject.label, records)
    for place, (record, number) in enumerate(zip(records, numbers(records), strict=True)):
        previous = records[place - 1] if place else None
        then = protocol_of(study, subject, record.index)
        if then is not None and then.definition.treatment is not None:
            yield from _one(study, subject, then, record, number, previous, zone)


def _one(
    study: Study,
    subject: Subject,
    protocol: ResolvedProtocol,
    record: Record,
    number: int,
    previous: Record | None,
    zone: tzinfo | None,
) -> Iterator[Finding]:
    requires, when = protocol.definition.requires, happened(record)
    place = (subject.label, record.site)
    seat = subject.records.last("SubjectEnrolled")
    population = protocol.definition.populations.get(screened(subject, "population") or "")
    if population is not None and not population.treated:
        yield PopulationNotTreated.found(f"the subject is a {population.label}", (record.index,), *place)
    elif protocol.definition.cohorts and (seat is None or surely_before(when, decided(seat), zone)):
        because, shown = "no enrolment stood at that time", [record.index]
        gone = [one for one in subject.records.by_event.get("SubjectEnrolled", ()) if one.reversed_at is not None]
        if seat is not None:
            shown.append(seat.index)
        elif gone and gone[-1].reversed_at is not None:
            because = f"the enrolment at index {gone[-1].index} was reversed at index {gone[-1].reversed_at}"
            shown += [gone[-1].index, gone[-1].reversed_at]
        yield GivenUnenrolled.found(because, shown, *place)
    if requires.infusion_authorisation:
        yield from _authorised(subject, record, number, when, zone)
    if requires.identity_check:
        yield from _identity(subject, record, number, when, zone)
    if requires.product_release:
        yield from product.administration_findings(study, record, when, zone)
    yield from product.given_after_disposal(study, record, when, zone)
    yield from dosing.findings(study, subject, protocol, record, number, zone)
    test = pregnancy.excluded(protocol, subject, when, previous, zone)
    if not test:
        yield PregnancyNotExcluded.found(test.because, (record.index, *test.indexes), *place)
    holding = dose_level.held_when(study, None if seat is None else seat.get("cohort"), when, zone)
    if holding is not None:
        because = f"{holding.event} at index {holding.index} was in force on {when}"
        yield GivenWhileHeld.found(because, (record.index, holding.index), *place)


def _authorised(
    subject: Subject, record: Record, number: int, when: str | None, zone: tzinfo | None
) -> Iterator[Finding]:
    known = [r for r in subject.records.of("InfusionAuthorised") if r.get("number") == number]
    place = (subject.label, record.site)
    stood = [r for r in known if not surely_before(when, decided(r), zone)]
    if not stood:
        because = f"no authorisation of number {number} stood on {when or 'that day'}"
        yield GivenUnauthorised.found(because, (record.index, *(r.index for r in known)), *place)
        return
    newest = stood[-1]
    own, allowed = record.get("product"), newest.get("product")
    if own is not None and allowed is not None and own != allowed:
        because = f"unit {allowed!r} was authorised, {own!r} was given"
        yield GivenUnauthorised.found(because, (record.index, newest.index), *place)


def _identity(
    subject: Subject, record: Record, number: int, when: str | None, zone: tzinfo | None
) -> Iterator[Finding]:
    place = (subject.label, record.site)
    checks = [
        check
        for check in subject.records.of("IdentityChecked")
        if check.done and check.get("number") in (number, None) and not surely_before(when, check.occurred_at, zone)
    ]
    own = [c for c in checks if c.get("number") == number or c.get("product") == record.get("product") is not None]
    if not own:
        yield IdentityNotChecked.found("no check before it is recorded", (record.index,), *place)
        return
    check = own[-1]
    shown = (record.index, check.index)
    if check.get("matched") is not True:
        yield IdentityNotChecked.found("label and subject did not match", shown, *place)
    elif len({str(name).casefold().strip() for name in check.get("checked_by") or ()}) < 2:
        yield IdentityNotChecked.found("fewer than two persons checked", shown, *place)
    elif None not in (check.get("product"), record.get("product")) and check.get("product") != record.get("product"):
        because = f"unit {check.get('product')!r} was checked, {record.get('product')!r} was given"
        yield IdentityNotChecked.found(because, shown, *place)


def _order(
    study: Study, subject: Subject, present: Treatment, records: list[Record], zone: tzinfo | None
) -> Iterator[Finding]:
    missed = {r.get("number"): r for r in withheld(subject)}
    done: list[int] = []
    for place, (record, number) in enumerate(zip(records, numbers(records), strict=True)):
        then = protocol_of(study, subject, record.index)
        treatment = (then.definition.treatment if then is not None else None) or present
        where = (subject.label, record.site)
        before = records[place - 1] if place else None
        shown = (record.index,) if before is None else (record.index, before.index)
        allowed = next_numbers(treatment, done, [n for n in missed if isinstance(n, int)])
        if number > treatment.number:
            because = f"number {number}; the protocol provides for {treatment.number}"
            yield GivenOutOfOrder.found(because, shown, *where)
        elif number not in allowed:
            because = f"number {number} where {' or '.join(map(str, sorted(allowed)))} was to come"
            yield GivenOutOfOrder.found(because, shown, *where)
        if before is not None:
            made_up = any(n in missed for n in range(done[-1] + 1, number + 1)) and treatment.missed_dose != "skip"
            steps = max(1, number - done[-1])  # a number that repeats comes an interval later all the same
            wrong = interval_problem(treatment, happened(before), steps, happened(record), made_up, zone)
            if wrong is not None:
                yield IntervalNotKept.found(f"{wrong[0]}: {wrong[1]}", shown, *where)
        done.append(number)


def _after_end(subject: Subject, records: list[Record], zone: tzinfo | None) -> Iterator[Finding]:
    for end in (r for r in subject.records.of(*TREATMENT_ENDS) if r.done):
        for record in records:
            if surely_before(end.occurred_at, happened(record), zone):
                because = f"{end.event} on {end.occurred_at}, given on {happened(record)}"
                yield GivenAfterEnd.found(because, (record.index, end.index), subject.label, record.site)
