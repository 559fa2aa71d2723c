"""How records were made: in time, at an active site, by somebody entitled, about something that exists.

 TIME-3     a fact is dated after it was recorded
 TIME-4     a fact was recorded long after it happened, and nobody says why
 TIME-5     something ended before it began
 SITE-3     a fact names a site that is not active
 SITE-4     a fact names another site than the subject's
 PERSON-1   the person said to have done it was not delegated to do so then
 REFERENCE-1  a fact names an earlier record that does not stand here
 SUBJECT-2 to SUBJECT-5  findings about the subject: no screening, several numbers, a record after death, a
            number that another subject has
 MEDICATION-1  a prohibited medication was taken
A correction that made a fact break TIME-3, SITE-3 or SITE-4 is shown beside the fact.
What was transcribed (from paper, from before go-live) is late by nature: TIME-3 and TIME-4 leave it alone.
Sources: ICH E6(R3) 2.12, 4.2.2, 4.2.4; 21 CFR 11.10(f), (g); ALCOA (contemporaneous, attributable).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING

from ledger.domain.moments import (
    decided,
    elapsed,
    happened,
    is_before,
    surely_before,
    words,
)
from ledger.domain.participation import death, number, screening, site_of, zone_of
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, FindingRule
from ledger.domain.study import site_state

if TYPE_CHECKING:
    from ledger.authority import Grant
    from ledger.domain.aggregate import Study, Subject
    from ledger.domain.context import Roster

LATE_AFTER = timedelta(days=7)
"""How long after it happened a fact is still recorded in time: the week that sites' own procedures commonly give."""

_PERFORMED = frozenset(
    {
        "AssessmentRecorded",
        "EligibilityAssessed",
        "IdentityChecked",
        "InfusionGiven",
        "ProcedureRecorded",
        "ProductPrepared",
        "SpecimenDrawn",
        "SpecimenProcessed",
        "TreatmentAdministered",
        "VisitRecorded",
    }
)
"""Facts that say of something done by a person of the study."""

_OF_THE_LIVING = _PERFORMED - {"ProductPrepared", "SpecimenProcessed"} | {
    "ConsentGiven",
    "ConsentWithdrawn",
    "AdverseEventReported",
    "MedicationRecorded",
}
"""Facts that a person must be alive for."""

_HISTORY = frozenset({"HistoryRecorded", "MedicationRecorded", "ProcedureRecorded", "AdverseEventReported"})
"""Facts whose own beginning may lie long before they become known: never late by that."""

_SPANS = (("started_at", "ended_at"), ("start_date", "end_date"), ("onset_date", "end_date"), ("date", "end_date"))
"""Pairs of fields that say when something began and ended."""

_REFERENCES = {
    "adverse_event": frozenset({"AdverseEventReported"}),
    "result": frozenset({"LabResultReported", "AssessmentRecorded"}),
    "deviation": frozenset({"DeviationRecorded"}),
    "infusion": frozenset({"InfusionGiven", "TreatmentAdministered"}),
    "assessment": frozenset({"EligibilityAssessed"}),
}
"""Fields that name another record of the same subject, and what it must be."""


class DatedInTheFuture(FindingRule):
    """A fact is dated after it was recorded."""

    rule = "TIME-3"
    source = "ICH E6(R3) 2.12.2"


class RecordedLate(FindingRule):
    """A fact was recorded long after it happened, without a reason for the delay."""

    rule = "TIME-4"
    source = "ICH E6(R3) 2.12.2; ALCOA: contemporaneous"


class EndedBeforeItBegan(FindingRule):
    """Something ended before it began."""

    rule = "TIME-5"


class SiteWasNotActive(FindingRule):
    """Facts were recorded at a site that was not active."""

    rule = "SITE-3"
    source = "ICH E6(R3) 2.3"


class FactAtOtherSite(FindingRule):
    """A fact about a subject was recorded at a site that is not the subject's."""

    rule = "SITE-4"


class NotDelegated(FindingRule):
    """The person said to have done it was not delegated to do it at that time."""

    rule = "PERSON-1"
    source = "ICH E6(R3) 2.3.1, 2.3.3"


class ReferenceUnknown(FindingRule):
    """A record names another that does not stand here, or is something else."""

    rule = "REFERENCE-1"


class NeverScreened(FindingRule):
    """There are records about a subject that nobody screened."""

    rule = "SUBJECT-2"


class SeveralNumbers(FindingRule):
    """A subject was screened under several numbers, or several times."""

    rule = "SUBJECT-3"


class RecordedAfterDeath(FindingRule):
    """A fact is dated after the subject's death."""

    rule = "SUBJECT-4"


class NumberOfAnother(FindingRule):
    """Two subjects have the same number."""

    rule = "SUBJECT-5"
    source = "ICH E6(R3) 4.2.6"


class ProhibitedMedication(FindingRule):
    """A medication was taken that the protocol prohibits."""

    rule = "MEDICATION-1"


def findings(study: Study, subject: Subject) -> Iterator[Finding]:
    """The rules of this file for one subject."""
    zone = zone_of(study, site_of(subject))
    facts = [record for record in subject.records if record.kind == "fact" and record.done]
    yield from _screenings(subject, facts)
    yield from _sites(study, subject, facts)
    yield from _after_death(subject, facts, zone)
    for record in facts:
        yield from _times(record, zone)
        yield from _references(subject, record)
        if record.get("performed_by") is not None and record.event in _PERFORMED:
            yield from _performer(study, record, zone)
        if record.event == "MedicationRecorded" and record.get("category") == "prohibited":
            because = f"{record.get('name') or 'a medication'} from {record.get('start_date') or 'an unknown date'}"
            yield ProhibitedMedication.found(because, (record.index,), subject.label, record.site)


def _screenings(subject: Subject, facts: list[Record]) -> Iterator[Finding]:
    records = [record for record in facts if record.event == "SubjectScreened"]
    if not records:
        if facts:
            because = f"{len(facts)} facts and no screening"
            yield NeverScreened.found(because, (facts[0].index,), subject.label, facts[0].site)
    elif len(records) > 1:
        numbers = sorted({str(record.get("number")) for record in records})
        because = f"{len(records)} screenings stand, as {', '.join(numbers)}"
        shown = [record.index for record in reversed(records)]
        yield SeveralNumbers.found(because, shown, subject.label, records[-1].site)


def _sites(study: Study, subject: Subject, facts: list[Record]) -> Iterator[Finding]:
    if not study.records.by_event.get("SiteActivated"):
        return
    by_site: dict[str, list[Record]] = {}
    for record in facts:
        by_site.setdefault(record.site or "", []).append(record)
    for site, records in by_site.items():
        wrong = [r for r in records if not _active(study, site, r.index)]
        if wrong:
            state = site_state(study, site)
            because = f"the site {site!r} was not active (it is {state} now) for {len(wrong)} facts"
            yield SiteWasNotActive.found(because, _placed(wrong), subject.label, site)
    yield from _elsewhere(subject, by_site)


def _placed(records: list[Record]) -> list[int]:
    """Facts, then the corrections that put them at their site."""
    moved = [r.values["site"][-1].index for r in records if "site" in r.values]
    return [*(r.index for r in records), *moved]


def _active(study: Study, site: str, index: int) -> bool:
    """Whether the site was active just below an index."""
    before = [r for r in study.records.of("SiteActivated", "SiteClosed") if r.sub == f"site/{site}" and r.index < index]
    return bool(before) and before[-1].event == "SiteActivated"


def _elsewhere(subject: Subject, by_site: dict[str, list[Record]]) -> Iterator[Finding]:
    own = {site_of(subject), *(r.site for r in subject.records.of("SubjectScreened"))}
    own |= {r.get("from_site") for r in subject.records.of("SubjectTransferred")}
    own |= {r.get("to_site") for r in subject.records.of("SubjectTransferred")}
    for site, records in by_site.items():
        if site not in own:
            because = f"{len(records)} facts at {site!r}, the subject belongs to {site_of(subject)!r}"
            yield FactAtOtherSite.found(because, _placed(records), subject.label, site)


def _after_death(subject: Subject, facts: list[Record], zone: tzinfo | None) -> Iterator[Finding]:
    died = death(subject)
    if died is None:
        return
    record, moment = died
    for fact in facts:
        if fact.event in _OF_THE_LIVING and surely_before(moment, happened(fact), zone):
            because = f"{fact.event} on {happened(fact)}, death on {moment}"
            yield RecordedAfterDeath.found(because, (fact.index, record.index), subject.label, fact.site)


def _times(record: Record, zone: tzinfo | None) -> Iterator[Finding]:
    place = (record.sub, record.site)
    for begin, end in _SPANS:
        if surely_before(record.get(end), record.get(begin), zone):
            because = f"began {record.get(begin)}, ended {record.get(end)}"
            yield EndedBeforeItBegan.found(because, (record.index,), *place)
    if record.mode == "transcribed":
        return
    when = happened(record)
    if surely_before(record.recorded_at, when, zone):
        because = f"dated {when}, recorded at {record.recorded_at}"
        dated = [known[-1].index for known in record.values.values() if known[-1].value == when]
        yield DatedInTheFuture.found(because, tuple(dict.fromkeys((record.index, *dated))), *place)
        return
    if record.get("late_reason") is not None:
        return
    known = _known_since(record, when)
    gap = elapsed(known, record.recorded_at, zone)
    if gap is not None and gap[0] > LATE_AFTER:
        because = f"recorded {words(gap[0])} after {known}; the limit is {words(LATE_AFTER)}"
        yield RecordedLate.found(because, (record.index,), *place)


def _known_since(record: Record, when: str | None) -> str | None:
    """From when a fact could be recorded: a result from when it was captured, an event from when it was known."""
    if record.event == "LabResultReported":
        return record.content.get("captured_at")
    if record.event in _HISTORY:
        return record.content.get("aware_at") or record.occurred_at
    return record.content.get("aware_at") or when


def _references(subject: Subject, record: Record) -> Iterator[Finding]:
    named: list[tuple[str, object, frozenset[str] | None]] = [
        (field, record.get(field), events) for field, events in _REFERENCES.items()
    ]
    related = record.get("related")  # of a deviation: records; of an assessment: whether the treatment caused it
    named += [("related", jti, None) for jti in related] if isinstance(related, list) else []
    for field, jti, events in named:
        if not isinstance(jti, str):
            continue
        other = subject.records.get(jti)
        if other is None or not other.stands or (events is not None and other.event not in events):
            what = "nothing" if other is None else "a void record" if not other.stands else other.event
            shown = (record.index,) if other is None else (record.index, other.index)
            yield ReferenceUnknown.found(f"`{field}` names {what}", shown, subject.label, record.site)


def _performer(study: Study, record: Record, zone: tzinfo | None) -> Iterator[Finding]:
    actor = record.get("performed_by")
    if actor not in study.authority.actors:
        return  # a name in words, or somebody outside the study: nothing to hold it against
    when = happened(record) or decided(record)
    grants = [grant for grant in study.authority.grants.values() if grant.actor == actor and grant.covers(record.site)]
    if not any(_held(study, grant, when, zone) for grant in grants):
        shown = (record.index, *(grant.since for grant in grants))
        because = f"{actor!r} held no role at {record.site!r} on {when}"
        yield NotDelegated.found(because, shown, record.sub, record.site)


def _held(study: Study, grant: Grant, when: str | None, zone: tzinfo | None) -> bool:
    """Whether a delegation can have been in force at a moment."""
    granted = study.records.get(grant.jti)
    if granted is not None and grant.valid_from is None and surely_before(when, granted.recorded_at, zone):
        return False
    if is_before(when, grant.valid_from, zone) or is_before(grant.valid_until, when, zone):
        return False
    ends = (r for r in study.records.of("DelegationEnded") if r.body.get("delegation") == grant.jti)
    return not any(surely_before(end.recorded_at, when, zone) for end in ends)


def same_numbers(roster: Roster, load: Callable[[str], Subject | None]) -> Iterator[Finding]:
    """SUBJECT-5, across the study: subjects whose number in use another subject has too."""
    for (what, value), labels in roster.named.items():
        if what != "number" or len(labels) < 2:
            continue
        subjects = [subject for subject in map(load, labels) if subject is not None and number(subject) == value]
        records = [record for record in map(screening, subjects) if record is not None]
        if len(records) > 1:
            because = f"{value} is the number of {', '.join(record.sub for record in records)}"
            newest = sorted(records, key=lambda record: -record.index)
            shown = [record.index for record in newest]
            yield NumberOfAnother.found(because, shown, newest[0].sub, newest[0].site)
