"""As it happened: what had occurred by a moment, according to everything that is known at a cut.

The other sense of time travel. `as_of` leaves out what was not yet recorded; `occurred_by` leaves out what had not yet
happened, whenever it was recorded. Rules:
- a fact occurred at its `occurred_at` as corrected; where that is not stated, at its own time (`started_at`, a start or
  onset date), which also counts where it only says more precisely when within `occurred_at` it was;
- what is not dated occurred at the latest when it was recorded; a partial date is every moment that it may mean, up to
  that one. What surely occurred by the moment is in; what may have is left out and counted (`uncertain`);
- a decision occurred when it was recorded, a transcribed one at its `occurred_at`; what needs a second signature waits
  for it until that was recorded;
- corrections, voids, disputes and redactions have no moment: they are what is known now of a fact that is in. Every
  other act (a reversal, a query, a signature) occurred when it was recorded, and is in where what it is about is;
- the rules for reading are not cut, whenever they were recorded: protocol, sites, delegations, keys, interpretations.
  What happened to the study is: holds, closing, cohorts, products, locks, cuts;
- a field that says when something ended is not known yet where that is not surely by then, with what it led to;
- a subject is there once something of the trial happened to it: its history alone is nobody's entry into a trial. A
  screening without a date is in as soon as the course that follows it is;
- a day means its end where the record was made, in the site's zone; a time is the same everywhere, and means all of the
  second or minute that it names.
Pure: no clock, no database.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any, NamedTuple

from ledger.domain.moments import at, happened
from ledger.domain.record import Record, Records
from ledger.protocol.dates import PartialTime, local_dates

KNOWLEDGE = frozenset({"EntryCorrected", "EntryVoided", "AttributionDisputed", "FieldsRedacted"})
"""Acts without a moment of their own: what is known of the record that they are about."""

OCCURRENCES = frozenset({"StudyHeld", "StudyResumed", "StudyClosed", "SiteClosed"})
"""Governance that happens to a study, and is no rule for reading it."""

PRIOR = frozenset({"HistoryRecorded", "MedicationRecorded", "ProcedureRecorded"})
"""Facts that may lie long before a subject's part in the trial."""

SCREENED = "SubjectScreened"

FOLLOWING = frozenset(
    {
        "EligibilityDecided",
        "SubjectEnrolled",
        "InfusionGiven",
        "TreatmentAdministered",
        "TreatmentDiscontinued",
        "SubjectWithdrawn",
        "SubjectCompleted",
        "DispositionRecorded",
    }
)
"""Nobody comes to these without having been screened; every view of subjects reads them."""

ENTRY_TIMES = ("consented_at", "reference_started_at", "first_treated_at")
"""Fields of a screening that say the same, in transferred data."""

LATER: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    SCREENED: {
        "died_at": ("died",),
        "consented_at": (),
        "reference_started_at": (),
        "reference_ended_at": (),
        "first_treated_at": (),
        "last_treated_at": (),
        "participation_ended_at": (),
    },
    "HistoryRecorded": {"end_date": ()},
    "MedicationRecorded": {"end_date": ()},
    "ProcedureRecorded": {"end_date": ("outcome",)},
    "VisitRecorded": {"ended_at": ()},
    "InfusionGiven": {"ended_at": ("outcome",)},
    "TreatmentAdministered": {"ended_at": ()},
    "AdverseEventReported": {"ended_at": ("outcome",)},
    "AdverseEventFollowedUp": {"ended_at": ("outcome",)},
    "PregnancyReported": {"outcome_at": ("outcome",)},
    "SafetyReportSubmitted": {"acknowledged_at": ()},
    "DeviationRecorded": {"ended_at": ()},
}
"""Times within a record that may come after it, each with the fields that say what happened then."""

Zones = Callable[[str | None], tzinfo | None]
"""The zone of a site; None where it is not known."""


@dataclass(frozen=True, slots=True)
class OccurredBy:
    """A moment of the world, to the precision given: `begins` and `moment` are its first and last in UTC. A `day` ends
    in each site's own zone. `text` as it was asked for."""

    text: str
    begins: datetime
    moment: datetime
    day: date | None = None

    def surely(self, text: str | None, recorded_at: str, zone: tzinfo | None) -> bool | None:
        """Whether what is dated like this, and was recorded then, had occurred; None where that is uncertain."""
        said, recorded = at(text), at(recorded_at)
        assert recorded is not None, "the ledger's own times can be read"
        known = self._span(recorded, zone)[1]
        if said is None:
            return True if known <= self._limit else None
        first, last = self._span(said, zone)
        if first <= known < last:
            last = known
        return True if last <= self._limit else False if first > self._limit else None

    @property
    def _limit(self) -> Any:
        return self.moment if self.day is None else self.day

    def _span(self, said: PartialTime, zone: tzinfo | None) -> tuple[Any, Any]:
        return said.instants(zone) if self.day is None else local_dates(said, zone)


class Told(NamedTuple):
    """What a statement says about when it occurred: its event, kind and mode; `occurred_at` as corrected, `own` the
    time that its event has of its own."""

    event: str
    kind: str
    mode: str
    recorded_at: str
    occurred_at: str | None
    own: str | None = None


def has_occurred(told: Told, by: OccurredBy, zone: tzinfo | None) -> bool | None:
    """Whether something had occurred; True for the rules for reading, and for acts that have no moment."""
    if timeless(told.event, told.kind):
        return True
    if told.kind == "fact":
        return by.surely(_fact_time(told.occurred_at, told.own), told.recorded_at, zone)
    if told.kind == "decision" and told.mode == "transcribed":
        return by.surely(told.occurred_at, told.recorded_at, zone)
    return by.surely(told.recorded_at, told.recorded_at, zone)


def timeless(event: str, kind: str) -> bool:
    """Whether an event has no moment: an act that is knowledge, or a rule for reading."""
    return event in KNOWLEDGE or (kind == "governance" and event not in OCCURRENCES)


def _fact_time(occurred_at: str | None, own: str | None) -> str | None:
    """`occurred_at`; the event's own time where it lies within it, or stands alone."""
    said, closer = at(occurred_at), at(own)
    if said is None or closer is None:
        return occurred_at if said is not None else own
    within = said.first <= closer.first and closer.last <= said.last
    return own if within and (said.offset is None or said.offset == closer.offset) else occurred_at


def told_of(record: Record) -> Told:
    """What a record says about when it occurred, as it stands."""
    own = happened(record)
    return Told(record.event, record.kind, record.mode, record.recorded_at, record.occurred_at, own)


class Happened(NamedTuple):
    """The records that are in, as they stood then, in index order; how many are left out that may have occurred."""

    records: list[Record]
    uncertain: int


def statements_in(records: Records, by: OccurredBy, zones: Zones) -> list[Record]:
    """The statements about what had occurred, as they are: for projections that show statements, not a state."""
    kept: set[int] = set()
    for one in records:
        if one.kind == "act":
            found = _act_is_in(records, one, kept, by, zones)
        else:
            found = bool(has_occurred(told_of(one), by, zones(one.site)))
        if found:
            kept.add(one.index)
    return [one for one in records if one.index in kept]


def as_happened(records: Records, by: OccurredBy, zones: Zones) -> Happened:
    """What of an aggregate's records had occurred. The records given are not changed."""
    verdicts = {one.index: has_occurred(told_of(one), by, zones(one.site)) for one in records if one.kind != "act"}
    _screen(records, verdicts, by, zones)
    kept = {index for index, verdict in verdicts.items() if verdict}
    for act in records:
        if act.kind == "act" and _act_is_in(records, act, kept, by, zones):
            kept.add(act.index)
    uncertain = sum(verdict is None for verdict in verdicts.values())
    found = [one for one in records if one.index in kept]
    if all(one.event in PRIOR or one.kind == "act" for one in found):
        return Happened([], uncertain)
    return Happened([_as_then(one, kept, by, zones(one.site)) for one in found], uncertain)


def _screen(records: Records, verdicts: dict[int, bool | None], by: OccurredBy, zones: Zones) -> None:
    """Screenings without a date are in where what follows them is, or their own record says so."""
    undated = [
        one for one in records.by_event.get(SCREENED, ()) if verdicts[one.index] is None and at(one.occurred_at) is None
    ]
    if not undated:
        return
    followed = any(verdicts[one.index] for event in FOLLOWING for one in records.by_event.get(event, ()) if one.stands)
    for one in undated:
        stated = (one.content.get(name) for name in ENTRY_TIMES)
        zone = zones(one.site)
        if followed or any(text is not None and by.surely(text, one.recorded_at, zone) for text in stated):
            verdicts[one.index] = True


def _act_is_in(records: Records, act: Record, kept: Collection[int], by: OccurredBy, zones: Zones) -> bool:
    """Whether an act is in: where what it is about is, and it has no moment or that had come."""
    named = act.body.get("record")
    about = records.get(named.get("jti", "")) if isinstance(named, dict) else records.target_of(act)
    if act.event == "FieldsRedacted":
        return True
    if about is None:
        return act.event not in KNOWLEDGE and bool(has_occurred(told_of(act), by, zones(act.site)))
    if about.index not in kept:
        return False
    if act.event == "Countersigned" and timeless(about.event, about.kind):
        return True
    return bool(has_occurred(told_of(act), by, zones(act.site)))


def _as_then(record: Record, kept: Collection[int], by: OccurredBy, zone: tzinfo | None) -> Record:
    """A record as it stood: without the acts that had not happened, and without what they did."""
    later = _not_yet(record, by, zone)
    acts = [index for index in record.acts if index in kept]
    if not later and len(acts) == len(record.acts):
        return record
    then = copy.copy(record)
    then.acts = acts
    if record.reversed_at not in kept:
        then.reversed_at = None
    if record.withdrawn_at not in kept:
        then.withdrawn_at = None
    if record.countersigned_at is not None and record.countersigned_at not in kept:
        then.pending, then.countersigned_at, then.effective_at = True, None, record.index
    if later:
        then.content = {name: value for name, value in record.content.items() if name not in later}
    return then


def _not_yet(record: Record, by: OccurredBy, zone: tzinfo | None) -> set[str]:
    """The fields of a record that say what had not surely happened."""
    missing: set[str] = set()
    for name, led_to in LATER.get(record.event, {}).items():
        said = [one for one in (name, *led_to) if one in record.content]
        if not said or (name not in said and name != "died_at"):
            continue
        if not by.surely(record.content.get(name), record.recorded_at, zone):
            missing.update(said)
    return missing
