"""Where an adverse event lies in a subject's course: before or after an anchor of the protocol, within a period of it.

Rules:
- what the protocol calls the start decides what is treatment-emergent: whatever began at that moment or after it;
- a period of days, weeks or months ends with the local day that it reaches, one by the clock at its moment;
- a stamp counts to the precision that it has; where that does not decide, the answer is None, with the reason.
"""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from typing import NamedTuple

from ledger.domain.adverse_event import AdverseEvent
from ledger.domain.moments import at
from ledger.protocol import ResolvedProtocol
from ledger.protocol.dates import Duration, PartialTime, is_before, local_dates, parse_duration
from ledger.protocol.facts import Facts, Selection


class Answer(NamedTuple):
    """True, False, or None where it cannot be decided; and why."""

    value: bool | None
    because: str


def onset(event: AdverseEvent) -> str | None:
    """When an event began, as declared: the newest start stated, else when the report says that it happened."""
    stated = event.get("started_at")
    return stated if stated is not None else event.report.occurred_at


class Course:
    """The anchors of one subject, by the protocol; `kept` are the events that the facts at hand can be of."""

    def __init__(self, protocol: ResolvedProtocol, facts: Facts, zone: tzinfo | None, kept: frozenset[str]) -> None:
        self._anchors = protocol.definition.anchors
        self._selection = Selection(protocol.definition, protocol.analytes, facts, zone)
        self._zone, self._kept = zone, kept

    def times(self, anchor: str) -> tuple[PartialTime, ...] | Answer:
        """The times that an anchor may have; an answer where it has none, or none that is known."""
        label = self._anchors[anchor].label
        if not self._kept.issuperset(self._anchors[anchor].events):
            return Answer(None, f"{label}: this page does not hold the records that it is read from")
        times = self._selection.anchor_times(anchor)
        known = tuple(time for time in times if time is not None)
        if not times:
            return Answer(False, f"{label}: has not happened")
        return known if len(known) == len(times) else Answer(None, f"{label}: its time is not known")

    def from_on(self, when: str | None, anchor: str | None) -> Answer:
        """Whether something began at an anchor or after it."""
        if anchor is None:
            return Answer(None, "the protocol does not say from when on it counts")
        times, label, own = self.times(anchor), self._anchors[anchor].label, at(when)
        if isinstance(times, Answer):
            return times
        if own is None:
            return Answer(None, "when it began is not known")
        answers = {_from_on(own, time, self._zone) for time in times}
        if answers == {True}:
            return Answer(True, f"began at or after the {label}")
        if answers == {False}:
            return Answer(False, f"began before the {label}")
        return Answer(None, f"the stamps do not decide whether it began before or after the {label}")

    def until(self, when: str | None, anchor: str | None, lasts: str | None) -> Answer:
        """Whether something began no later than so long after an anchor."""
        if anchor is None or lasts is None:
            return Answer(None, "the protocol does not say for how long")
        times, label, own = self.times(anchor), self._anchors[anchor].label, at(when)
        if isinstance(times, Answer):
            return times
        if own is None:
            return Answer(None, "when it began is not known")
        duration = parse_duration(lasts)
        answers = {_until(own, time, duration, self._zone) for time in times}
        words = f"{lasts} from the {label}"
        if answers == {True}:
            return Answer(True, f"began within {words}")
        if answers == {False}:
            return Answer(False, f"began later than {words}")
        return Answer(None, f"the stamps do not decide whether it began within {words}")


def both(one: Answer, other: Answer) -> Answer:
    """Whether both hold; the reason is that of the one which decides."""
    if one.value is False or other.value is True:
        return one
    return other if other.value is False or one.value is True else one


def _from_on(own: PartialTime, anchor: PartialTime, zone: tzinfo | None) -> bool | None:
    same = own.has_clock_time and anchor.has_clock_time and own.instants(zone) == anchor.instants(zone)
    earlier = is_before(own, anchor, zone)
    return True if same else None if earlier is None else not earlier


def _until(own: PartialTime, anchor: PartialTime, lasts: Duration, zone: tzinfo | None) -> bool | None:
    if lasts.by_clock:
        first, last = own.instants(zone)
        ends = [lasts.after(moment) for moment in anchor.instants(zone)]
    else:
        first, last = (_midnight(day) for day in local_dates(own, zone))
        ends = [lasts.after(_midnight(day)) for day in local_dates(anchor, zone)]
    if last <= ends[0]:
        return True
    return False if first > ends[1] else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time())
