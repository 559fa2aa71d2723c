"""Adverse events: reported, followed up, assessed, reported onward; pregnancies.

 SAFETY-1  a serious adverse event is reported within the time that the protocol's clock gives
 SAFETY-2  so is every report that is due because the event is related, unexpected, fatal, life-threatening
 SAFETY-3  an adverse event that meets a criterion of seriousness is called serious
 SAFETY-4  a fatal event has a death on record
 SAFETY-5  a safety review adjudicates an adverse event that stands
The clock of an urgent report runs from `aware_at`. What an event became later is a follow-up with its own
`aware_at`, which starts a new clock; an error is a correction. Each party assesses for itself: the
investigator's opinion is never overwritten. Sources: EU CTR 41, 42, Annex III 2.1; 21 CFR 312.32, 312.64(b);
ICH E2A.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ledger.domain.context import Context
from ledger.domain.model import (
    Code,
    CodedTerm,
    EventId,
    EventModel,
    Fact,
    Label,
    Part,
    PartialTime,
    Reason,
    Text,
)
from ledger.domain.moments import at, decided, elapsed, length, words
from ledger.domain.participation import death, protocol_of, site_of, zone_of
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, FindingRule
from ledger.domain.roles import (
    DATA_MANAGER,
    INVESTIGATOR,
    SITE_STAFF,
    SPONSOR,
    SPONSOR_SAFETY,
    SYSTEM,
)

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.protocol import ResolvedProtocol

RECORDERS = SITE_STAFF | SPONSOR_SAFETY | SYSTEM
Grade = Annotated[int, Field(ge=1, le=5)]
Criterion = Literal[
    "death",
    "life-threatening",
    "hospitalisation",
    "disability",
    "congenital anomaly",
    "medically important",
    "cancer",
    "overdose",
    "required intervention",
]


class Grading(Part):
    """The scale that a grade belongs to, such as CTCAE version 5.0."""

    system: Label
    version: Label | None = None


class AdverseEventFact(Fact):
    """What reports and follow-ups of an adverse event can both say."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER

    grade: Grade | None = None
    grading: Grading | None = None
    severity: Label | None = None
    serious: bool | None = None
    seriousness: Annotated[list[Criterion], Field(max_length=9)] | None = None
    relatedness: Label | None = None
    action_taken: Label | None = None
    other_action: Text | None = None
    outcome: Label | None = None
    started_at: PartialTime | None = None
    ended_at: PartialTime | None = None
    ongoing: bool | None = None
    narrative: Text | None = None


class AdverseEventReported(AdverseEventFact):
    """An untoward medical occurrence in the subject, whether or not the treatment caused it."""

    needed = ("term",)
    words = "reported the adverse event {term}, grade {grade}, serious {serious}"
    rules = ("SAFETY-1", "SAFETY-3", "SAFETY-4", "TIME-5")

    term: Text | None = None
    code: Code | None = None
    coding: list[CodedTerm] | None = None
    body_system: Label | None = None
    category: Label | None = None
    pattern: Label | None = None
    location: Label | None = None
    special_interest: bool | None = None
    infusion: EventId | None = None


class AdverseEventFollowedUp(AdverseEventFact):
    """What became of an adverse event, or what more is known of it."""

    needed = ("adverse_event",)
    words = "followed an adverse event up: outcome {outcome}, grade {grade}"
    rules = ("SAFETY-1", "SAFETY-3", "SAFETY-4", "REFERENCE-1")

    adverse_event: EventId | None = None


class AdverseEventAssessed(Fact):
    """Whether the treatment caused an adverse event, and whether that was to be expected, by one party."""

    recorders = INVESTIGATOR | SPONSOR_SAFETY | SYSTEM
    transcribers = DATA_MANAGER
    needed = ("adverse_event",)
    words = "assessed an adverse event: causality {causality}, related {related}, {expectedness}"
    rules = ("REFERENCE-1",)

    adverse_event: EventId | None = None
    party: Literal["investigator", "sponsor"] | None = None
    causality: Label | None = None
    related: bool | None = None
    expectedness: Literal["expected", "unexpected", "unknown"] | None = None
    reference_document: Label | None = None
    method: Label | None = None
    reason: Reason | None = None


class SafetyReportSubmitted(Fact):
    """A report of an adverse event was sent to sponsor, authority or ethics committee; `occurred_at` is when."""

    recorders = SITE_STAFF | SPONSOR | SPONSOR_SAFETY | SYSTEM
    transcribers = DATA_MANAGER
    needed = ("adverse_event",)
    words = "submitted a safety report ({report_type}) to {recipient}"
    rules = ("SAFETY-2", "REFERENCE-1")

    adverse_event: EventId | None = None
    recipient: Label | None = None
    jurisdiction: Label | None = None
    report_type: Literal["initial", "follow-up", "final", "nullification"] | None = None
    expedited: Literal["7 days", "15 days", "other"] | None = None
    reference: Label | None = None
    acknowledged_at: PartialTime | None = None


class PregnancyReported(Fact):
    """A pregnancy of the subject, or of the subject's partner, became known."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    words = "reported a pregnancy ({of}): {outcome}"
    rules = ("INFUSION-5", "INFUSION-17")

    of: Literal["subject", "partner"] | None = None
    last_menstruation_date: PartialTime | None = None
    expected_delivery_date: PartialTime | None = None
    outcome: Label | None = None
    outcome_at: PartialTime | None = None
    narrative: Text | None = None


EVENTS: tuple[type[EventModel], ...] = (
    AdverseEventReported,
    AdverseEventFollowedUp,
    AdverseEventAssessed,
    SafetyReportSubmitted,
    PregnancyReported,
)


class SeriousReportedLate(FindingRule):
    """A serious adverse event was reported later than the protocol's clock allows after it became known."""

    rule = "SAFETY-1"
    source = "EU CTR 41(2); 21 CFR 312.64(b)"


class SafetyReportLate(FindingRule):
    """A safety report was submitted after it was due."""

    rule = "SAFETY-2"
    source = "EU CTR 42(2); 21 CFR 312.32(c)"


class SeriousnessContradicted(FindingRule):
    """An adverse event meets a criterion of seriousness and is not called serious."""

    rule = "SAFETY-3"
    source = "ICH E2A II.B"


class DeathNotRecorded(FindingRule):
    """An adverse event is fatal, and no death is recorded."""

    rule = "SAFETY-4"


FATAL = frozenset({"fatal", "death", "died", "resulted in death"})
"""Outcomes that say that the subject died of it, in lower case."""


@dataclass(frozen=True, slots=True)
class AdverseEvent:
    """An adverse event as it is known now: its report and follow-ups in order, each field's newest value.

    `records` are those that say something, the report first; `assessments` by party, in order.
    """

    report: Record
    records: tuple[Record, ...]
    assessments: Mapping[str, tuple[Record, ...]]
    submissions: tuple[Record, ...]

    def get(self, field: str) -> Any:
        """The newest value that was stated of a field; None where none was."""
        return next((r.get(field) for r in reversed(self.records) if r.get(field) is not None), None)

    def highest_grade(self) -> int | None:
        """The highest grade that it ever had."""
        return max((r.get("grade") for r in self.records if r.get("grade") is not None), default=None)

    def opinion(self, party: str) -> Record | None:
        """The newest assessment by a party, `investigator` or `sponsor`."""
        return next(reversed(self.assessments.get(party, ())), None)

    @property
    def fatal(self) -> bool:
        """By its outcome, its grade or its criteria."""
        outcome = self.get("outcome")
        said = isinstance(outcome, str) and outcome.strip().casefold() in FATAL
        return bool(said or self.get("grade") == 5 or "death" in (self.get("seriousness") or ()))

    def since(self, condition: str) -> Record | None:
        """The record that first said that a condition of a clock holds; None where none did."""
        if condition in ("related", "unexpected"):
            found = sorted((r for rs in self.assessments.values() for r in rs), key=lambda r: r.index)
            return next((r for r in found if _holds(condition, r)), None)
        said = [record for record in self.records if _holds(condition, record)]
        return said[0] if said else None


def _holds(condition: str, record: Record) -> bool:
    if condition == "serious":
        return bool(record.get("serious") or record.get("seriousness"))
    if condition == "related":
        return bool(record.get("related") is True)
    if condition == "unexpected":
        return bool(record.get("expectedness") == "unexpected")
    criteria = record.get("seriousness") or ()
    outcome = record.get("outcome")
    fatal = isinstance(outcome, str) and outcome.strip().casefold() in FATAL
    return bool(fatal or record.get("grade") == 5 or not {"death", "life-threatening"}.isdisjoint(criteria))


def party_of(record: Record) -> str:
    """Whose assessment it is: the role's own party, and for others the one that the record names."""
    if record.role in INVESTIGATOR:
        return "investigator"
    if record.role in SPONSOR_SAFETY:
        return "sponsor"
    return str(record.get("party") or "investigator")


def adverse_events(subject: Subject) -> list[AdverseEvent]:
    """The adverse events of a subject that stand, in index order, each with what followed."""
    follow: dict[str, list[Record]] = {}
    for record in subject.records.of("AdverseEventFollowedUp", "AdverseEventAssessed", "SafetyReportSubmitted"):
        if record.done and isinstance(record.get("adverse_event"), str):
            follow.setdefault(record.get("adverse_event"), []).append(record)
    return [_gathered(r, follow.get(r.jti, [])) for r in subject.records.of("AdverseEventReported") if r.done]


def _gathered(report: Record, follow: list[Record]) -> AdverseEvent:
    assessments: dict[str, list[Record]] = {}
    for record in follow:
        if record.event == "AdverseEventAssessed":
            assessments.setdefault(party_of(record), []).append(record)
    ups = (r for r in follow if r.event == "AdverseEventFollowedUp")
    submissions = tuple(r for r in follow if r.event == "SafetyReportSubmitted")
    return AdverseEvent(report, (report, *ups), {k: tuple(v) for k, v in assessments.items()}, submissions)


@dataclass(frozen=True, slots=True)
class Clock:
    """A report that is due: which clock of the protocol, from when it runs, until when, and what met it.

    `started` is the record that set it going; `starts_at` when that became known; `due_at` in UTC, None where
    the start is not known; `met_by` the first report in time or not; None while there is none.
    """

    event: AdverseEvent
    clock: str
    text: str
    started: Record
    starts_at: str | None
    due_at: datetime | None
    met_by: Record | None
    met_at: str | None

    def late(self, zone: tzinfo | None) -> bool:
        """The report came, and beyond doubt after it was due."""
        met = at(self.met_at)
        return met is not None and self.due_at is not None and met.instants(zone)[0] > self.due_at


def clocks(protocol: ResolvedProtocol | None, subject: Subject, zone: tzinfo | None) -> list[Clock]:
    """The reporting clocks that run or ran for this subject's adverse events.

    The site's clock is met by the record itself, which is the report; the sponsor's by a SafetyReportSubmitted.
    It starts when the last of its conditions became known.
    """
    if protocol is None:
        return []
    found = []
    for event in adverse_events(subject):
        for clock in protocol.definition.safety.clocks.values():
            causes = [event.since(condition) for condition in clock.when]
            known = [cause for cause in causes if cause is not None]
            if len(known) < len(causes):
                continue
            started = max(known, key=lambda record: record.index)
            by_itself = clock.reporter == "site"
            starts_at = started.get("aware_at") or (None if by_itself else decided(started))
            met = started if by_itself else next((r for r in event.submissions if r.index > started.index), None)
            met_at = None if met is None else met.recorded_at if by_itself else met.occurred_at or met.recorded_at
            due = _due(starts_at, clock.due_within, zone)
            found.append(Clock(event, clock.id, clock.text, started, starts_at, due, met, met_at))
    return found


def _due(starts_at: str | None, within: str, zone: tzinfo | None) -> datetime | None:
    """The last moment at which it is in time, whichever moment a partial start may mean."""
    start = at(starts_at)
    return None if start is None else length(within).after(start.instants(zone)[1].astimezone(UTC))


def findings(study: Study, subject: Subject) -> Iterator[Finding]:
    """SAFETY-1 to SAFETY-4 for one subject."""
    zone = zone_of(study, site_of(subject))
    for clock in clocks(protocol_of(study, subject), subject, zone):
        yield from _lateness(clock, zone)
    for event in adverse_events(subject):
        place = (event.report.sub, event.report.site)
        criteria = event.get("seriousness")
        if criteria and event.get("serious") is not True:
            because = f"{', '.join(criteria)}, and serious is {event.get('serious')}"
            yield SeriousnessContradicted.found(because, [r.index for r in event.records], *place)
        if event.fatal and death(subject) is None:
            because = f"{event.report.get('term')}: outcome {event.get('outcome')}"
            yield DeathNotRecorded.found(because, [r.index for r in event.records], *place)


def _lateness(clock: Clock, zone: tzinfo | None) -> Iterator[Finding]:
    met = clock.met_by
    if met is None or not clock.late(zone) or (met is clock.started and met.mode == "transcribed"):
        return
    gap = elapsed(clock.starts_at, clock.met_at, zone)
    took = "" if gap is None else f", {words(gap[0])} later"
    reason = met.get("late_reason")
    because = f"{clock.text}: known {clock.starts_at}, reported {clock.met_at}{took}"
    because += f"; reason given: {reason}" if reason else "; no reason is given"
    rule = SeriousReportedLate if met is clock.started else SafetyReportLate
    shown = dict.fromkeys((met.index, clock.started.index, clock.event.report.index))
    yield rule.found(because, tuple(shown), met.sub, met.site, clock=clock.clock)


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {}
"""Adverse events are facts; their adjudication is decided in `cohort`."""
