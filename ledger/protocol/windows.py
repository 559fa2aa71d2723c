"""Whether what was done lies in its window, and where what was not done stands.

Rules (SCHEDULE): any hour of a planned day is on time; a planned moment is judged by the clock. A stamp
counts to the precision it has; where that does not decide, the standing is undecided. Without a window
nothing is early, late or missed. `as_of` is passed in; nothing here has a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from enum import StrEnum

from ledger.protocol.dates import PartialTime, is_before, parse_duration, parse_time
from ledger.protocol.planning import Planned, Span, SubjectFacts, Watch, midnight, plan, span_of, toxicity_watch

__all__ = ["Planned", "Standing", "SubjectFacts", "Watch", "WindowCheck", "check", "plan", "toxicity_watch"]


class Standing(StrEnum):
    """Where a planned time point stands."""

    IN_WINDOW = "in window"
    EARLY = "early"
    LATE = "late"
    MISSED = "missed"
    DUE = "due"
    UPCOMING = "upcoming"
    ENDED = "ended"
    NOT_APPLICABLE = "not applicable"
    NOT_PLANNED_YET = "not planned yet"
    NO_WINDOW = "no window in the record"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class WindowCheck:
    """Where a planned time point stands and why; true in a condition unless something is amiss."""

    standing: Standing
    because: str

    def __bool__(self) -> bool:
        return self.standing not in (Standing.EARLY, Standing.LATE, Standing.MISSED)


def check(planned: Planned, actual: str | None, as_of: datetime, zone: tzinfo | None) -> WindowCheck:
    """Where an occasion stands at `as_of` (with offset), given when it was done, or None where it was not.

    ValueError where `actual` is no time.
    """
    if planned.applies is False:
        return WindowCheck(Standing.NOT_APPLICABLE, planned.because)
    if planned.applies is None:
        return WindowCheck(Standing.UNDECIDED, planned.because)
    if actual is None:
        return _not_done(planned, as_of, zone)
    time = parse_time(actual)
    wrong_side = _sequence(planned, time, zone)
    if wrong_side is not None:
        return wrong_side
    if planned.nominal is None:
        return WindowCheck(Standing.NO_WINDOW, planned.because or "there is no planned time to compare with")
    return _done(planned, span_of(time, planned.by_clock, zone))


def _sequence(planned: Planned, actual: PartialTime, zone: tzinfo | None) -> WindowCheck | None:
    rule = planned.timepoint.sequence
    if rule is None or planned.other is None:
        return None
    ordered = is_before(actual, planned.other, zone)
    if rule.side == "after":
        ordered = is_before(planned.other, actual, zone)
    if ordered is None:
        return WindowCheck(Standing.UNDECIDED, f"whether it was {rule.side} {rule.timepoint} is not known")
    wrong = Standing.LATE if rule.side == "before" else Standing.EARLY
    return None if ordered else WindowCheck(wrong, f"was not {rule.side} {rule.timepoint}")


def _done(planned: Planned, actual: Span) -> WindowCheck:
    assert planned.nominal is not None
    if planned.until is not None:
        return _against(actual, planned.nominal, (planned.until, planned.until), "its period")
    gap = _gap(planned.nominal, actual, planned.by_clock)
    early_side = actual[1] < planned.nominal[0] and planned.timepoint.window_before is None
    late_side = actual[0] > planned.nominal[1] and planned.timepoint.window_after is None
    if early_side or late_side or not planned.has_window:
        return WindowCheck(Standing.NO_WINDOW, gap)
    found = _against(actual, _edge(planned, back=True), _edge(planned, back=False), "its window")
    return replace(found, because=f"{found.because}: {gap}")


def _edge(planned: Planned, back: bool) -> Span:
    """The first or last moment of the window, from the earliest to the latest that it may be."""
    assert planned.nominal is not None
    text = planned.timepoint.window_before if back else planned.timepoint.window_after
    length = parse_duration(text or "P0D")
    moved = length.negated() if back else length
    return moved.after(planned.nominal[0]), moved.after(planned.nominal[1])


def _against(actual: Span, opens: Span, closes: Span, what: str) -> WindowCheck:
    if actual[1] < opens[0]:
        return WindowCheck(Standing.EARLY, f"before {what}")
    if actual[0] > closes[1]:
        return WindowCheck(Standing.LATE, f"after {what}")
    if actual[0] >= opens[1] and actual[1] <= closes[0]:
        return WindowCheck(Standing.IN_WINDOW, f"in {what}")
    return WindowCheck(Standing.UNDECIDED, f"the stamps do not decide whether it was in {what}")


def _gap(nominal: Span, actual: Span, by_clock: bool) -> str:
    """How far from the planned time, in plain words."""
    if actual[1] < nominal[0]:
        apart, side = nominal[0] - actual[1], "before"
    elif actual[0] > nominal[1]:
        apart, side = actual[0] - nominal[1], "after"
    else:
        return "at the planned time" if by_clock else "on the planned day"
    if not by_clock:
        return f"{apart.days} day{'s' if apart.days != 1 else ''} {side} the planned day"
    hours, rest = divmod(int(apart.total_seconds()), 3600)
    return f"{hours} h {rest // 60:02d} min {side} the planned time"


def _not_done(planned: Planned, as_of: datetime, zone: tzinfo | None) -> WindowCheck:
    if planned.nominal is None:
        return WindowCheck(Standing.NOT_PLANNED_YET, planned.because)
    if not planned.settled:
        return WindowCheck(Standing.NOT_PLANNED_YET, "whether the last one was the last is not known yet")
    now = as_of.astimezone(UTC) if planned.by_clock else midnight(as_of.astimezone(zone or UTC).date())
    if now < _edge(planned, back=True)[0]:
        return WindowCheck(Standing.UPCOMING, "")
    if planned.until is not None:
        return WindowCheck(Standing.DUE if now <= planned.until else Standing.ENDED, "")
    if planned.timepoint.window_after is None or now <= _edge(planned, back=False)[1]:
        return WindowCheck(Standing.DUE, "" if planned.has_window else "no window in the record")
    return WindowCheck(Standing.MISSED, "its window closed and nothing is recorded")
