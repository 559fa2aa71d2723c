"""Response read from a series of counts by configurable criteria.

Rules (RESPONSE): a class is reached on an occasion when the count is high enough, absolutely and against the
baseline, without bleeding; it is confirmed by as many occasions as the criteria ask for, the first and last
of them far enough apart, in one run where the criteria ask for an uninterrupted one. Counts under rescue are
shown and not used. What is not known (bleeding, a bound, the baseline) makes the answer unknown only where it
would change it: the series is read at its worst and at its best, and the two must agree.

The criteria come from the protocol file (for IWG 2009: Rodeghiero, Blood 2009;113:2386).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from ledger.protocol.dates import parse_duration
from ledger.protocol.model.course import ResponseClass, ResponseCriteria
from ledger.protocol.quantities import Interval, decimal, is_at_most


@dataclass(frozen=True, slots=True)
class Count:
    """One count after treatment began: its day, its value in the unit of the criteria, bleeding then."""

    day: date | None
    value: Interval | None
    bleeding: bool | None = None
    rescue: bool = False
    index: int = -1
    jti: str = ""
    left_out: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A subject's response; true in a condition exactly where it is known to be one.

    `best`: the id of a class, the criteria's word for none, or None where unknown. `first_on` and
    `confirmed_on`: first and last day of the run that confirms it; `lost_on`: the first later day on which
    the class did not hold. `left_out`: counts not used, and why.
    """

    best: str | None
    responder: bool | None
    because: str
    baseline: Interval | None = None
    first_on: date | None = None
    confirmed_on: date | None = None
    lost_on: date | None = None
    used: tuple[Count, ...] = ()
    left_out: tuple[tuple[Count, str], ...] = ()

    def __bool__(self) -> bool:
        return self.responder is True


def assess(criteria: ResponseCriteria, baseline: Interval | None, counts: Iterable[Count]) -> Response:
    """The best confirmed class over a series; counts may come in any order."""
    used, left_out = _sorted_out(counts)
    common = Response(None, None, "", baseline, used=used, left_out=left_out)
    if not used:
        return replace(common, because="no count after the start of treatment can be used")
    worst, best = (_best(criteria, baseline, used, unknown) for unknown in (False, True))
    if worst != best:
        names = (worst or criteria.otherwise, best or criteria.otherwise)
        alike = {name in criteria.responders for name in names}
        because = f"what is not known about the counts decides between {names[0]} and {names[1]}"
        return replace(common, responder=alike.pop() if len(alike) == 1 else None, because=because)
    if best is None:
        return replace(common, best=criteria.otherwise, responder=False, because="no class was confirmed")
    wanted = criteria.classes[best]
    first, confirmed = _confirmed(criteria, wanted, baseline, used, unknown=False) or (None, None)
    later = (count for count in used if confirmed and count.day and count.day > confirmed)
    lost = next((count.day for count in later if _holds(wanted, baseline, count) is False), None)
    return replace(
        common,
        best=best,
        responder=best in criteria.responders,
        because=f"{wanted.label} from {first}, confirmed on {confirmed}" + (f", lost on {lost}" if lost else ""),
        first_on=first,
        confirmed_on=confirmed,
        lost_on=lost,
    )


def _sorted_out(counts: Iterable[Count]) -> tuple[tuple[Count, ...], tuple[tuple[Count, str], ...]]:
    used: list[Count] = []
    left_out: list[tuple[Count, str]] = []
    for count in counts:
        reasons = (
            count.left_out,
            "taken under rescue treatment" if count.rescue else None,
            "its day is not known" if count.day is None else None,
            "it states no value that can be used" if count.value is None else None,
        )
        reason = next(filter(None, reasons), None)
        if reason is None:
            used.append(count)
        else:
            left_out.append((count, reason))
    return tuple(sorted(used, key=lambda count: (count.day or date.min, count.index))), tuple(left_out)


def _holds(wanted: ResponseClass, baseline: Interval | None, count: Count) -> bool | None:
    """Whether one count is of a class; None where what is not known decides."""
    assert count.value is not None
    answers = [is_at_most(Interval.exactly(decimal(wanted.at_least)), count.value)]
    if wanted.times_baseline is not None:
        needed = None if baseline is None else baseline.times(decimal(wanted.times_baseline))
        answers.append(None if needed is None else is_at_most(needed, count.value))
    if wanted.without_bleeding:
        answers.append(None if count.bleeding is None else not count.bleeding)
    if False in answers:
        return False
    return None if None in answers else True


def _best(criteria: ResponseCriteria, baseline: Interval | None, counts: Sequence[Count], unknown: bool) -> str | None:
    confirmed = (
        key for key, wanted in criteria.classes.items() if _confirmed(criteria, wanted, baseline, counts, unknown)
    )
    return next(confirmed, None)


def _confirmed(
    criteria: ResponseCriteria,
    wanted: ResponseClass,
    baseline: Interval | None,
    counts: Sequence[Count],
    unknown: bool,
) -> tuple[date, date] | None:
    """First and confirming day of the run that confirms a class, reading what is unknown as `unknown`."""
    apart = parse_duration(criteria.apart)
    run: list[date] = []
    for count in counts:
        answer = _holds(wanted, baseline, count)
        if (unknown if answer is None else answer) and count.day is not None:
            run.append(count.day)
            far_enough = apart.after(datetime.combine(run[0], datetime.min.time())).date() <= count.day
            if far_enough and len(set(run)) >= criteria.occasions:
                return run[0], count.day
        elif criteria.uninterrupted:
            run = []
    return None
