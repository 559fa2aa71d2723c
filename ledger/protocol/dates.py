"""Times as far as they are known, and what can be said about them with certainty.

A partial time (`2019`, `2019-05`, a date, a minute) stands for every moment it may mean. A statement about it
holds only when it holds for all of them; otherwise the answer is None, which reads *unknown*. Calendar
arithmetic (years of age, months since) uses the date as written where it happened; order of moments uses UTC.

A stamp without offset is read in the site's zone. Where that is not known, two such stamps are compared as
written (one site, one clock), and against a stamp with offset every zone on earth is thought possible.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from fractions import Fraction
from functools import lru_cache

FARTHEST_EAST = timedelta(hours=14)  # UTC+14, Line Islands
FARTHEST_WEST = timedelta(hours=12)  # UTC-12
_STAMP = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?(Z|[+-]\d{2}:\d{2})?)?)?)?",
    re.A,
)
_DURATION = re.compile(
    r"(-)?P(?=[\dT])(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?"
    r"(?:(T)(?=\d)(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})S)?)?",
    re.A,
)


@dataclass(frozen=True, slots=True)
class PartialTime:
    """`first` and `last`: the earliest and latest local moment the text may mean, both included."""

    text: str
    first: datetime
    last: datetime
    offset: timedelta | None

    @property
    def has_clock_time(self) -> bool:
        """True where the text says at least the minute."""
        return "T" in self.text

    @property
    def dates(self) -> tuple[date, date]:
        """The earliest and latest local date."""
        return self.first.date(), self.last.date()

    def instants(self, zone: tzinfo | None) -> tuple[datetime, datetime]:
        """The earliest and latest moment in UTC; the offset said, else the zone, else any zone."""
        if self.offset is not None:
            own = timezone(self.offset)
            return _utc(self.first, own, 0), _utc(self.last, own, 0)
        if zone is not None:
            return _utc(self.first, zone, 0), _utc(self.last, zone, 1)
        return _shifted(self.first, -FARTHEST_EAST), _shifted(self.last, FARTHEST_WEST)


@lru_cache(maxsize=8192)
def parse_time(text: str) -> PartialTime:
    """ISO 8601 to the precision given; ValueError for anything else."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss[.f]][offset]")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    first = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0),
        int((fraction or "0").ljust(6, "0")),
    )  # fmt: skip
    if month is None:
        last = datetime(int(year), 12, 31, 23, 59, 59, 999999)
    elif day is None:
        days = calendar.monthrange(int(year), int(month))[1]
        last = datetime.combine(first.date().replace(day=days), datetime.max.time())
    elif hour is None:
        last = datetime.combine(first.date(), datetime.max.time())
    elif second is None:
        last = first.replace(second=59, microsecond=999999)
    elif fraction is None:
        last = first.replace(microsecond=999999)
    else:
        last = first
    return PartialTime(text, first, last, _offset(offset))


def local_dates(time: PartialTime, zone: tzinfo | None) -> tuple[date, date]:
    """The earliest and latest date in the zone; as written where the stamp or the zone does not say more."""
    if zone is None or time.offset is None or not time.has_clock_time:
        return time.dates
    first, last = time.instants(zone)
    return first.astimezone(zone).date(), last.astimezone(zone).date()


def _offset(text: str | None) -> timedelta | None:
    if text is None:
        return None
    if text == "Z":
        return timedelta()
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(f"{text!r} is no offset from UTC")
    return timedelta(hours=hours, minutes=minutes) * (-1 if text[0] == "-" else 1)


def _utc(local: datetime, zone: tzinfo, fold: int) -> datetime:
    try:
        return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    except OverflowError:
        return local.replace(tzinfo=UTC)


def _shifted(local: datetime, by: timedelta) -> datetime:
    try:
        return (local + by).replace(tzinfo=UTC)
    except OverflowError:
        return local.replace(tzinfo=UTC)


def _bounds(one: PartialTime, other: PartialTime, zone: tzinfo | None) -> tuple[datetime, datetime, datetime, datetime]:
    if zone is None and one.offset is None and other.offset is None:
        return one.first, one.last, other.first, other.last
    return (*one.instants(zone), *other.instants(zone))


def is_before(one: PartialTime, other: PartialTime, zone: tzinfo | None = None) -> bool | None:
    """Whether `one` came before `other`; None where the parts not known decide."""
    first, last, other_first, other_last = _bounds(one, other, zone)
    if last < other_first:
        return True
    return False if first >= other_last else None


def is_same_day_or_before(one: PartialTime, other: PartialTime) -> bool | None:
    """Whether `one`'s local date is `other`'s or earlier; None where the parts not known decide."""
    if one.dates[1] <= other.dates[0]:
        return True
    return False if one.dates[0] > other.dates[1] else None


def add_months(day: date, months: int) -> date:
    """The same day of a later (or earlier) month, or that month's last day where it has no such day."""
    month = day.year * 12 + day.month - 1 + months
    year, month = divmod(month, 12)
    if not 1 <= year <= 9999:
        return date.max if year > 9999 else date.min
    for last in (day.day, 30, 29, 28):
        try:
            return date(year, month + 1, last)
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def completed_years(start: date, end: date) -> int:
    """Birthdays passed from `start` to `end`; who was born on 29 February turns a year older on 1 March."""
    return end.year - start.year - ((end.month, end.day) < (start.month, start.day))


def months_between(start: date, end: date) -> Fraction:
    """Calendar months from `start` to `end`: whole months, and the part of the month that has begun.

    Six months and one day is more than 6; exactly six months is 6, whichever months these are.
    """
    if end < start:
        return -months_between(end, start)
    whole = (end.year - start.year) * 12 + end.month - start.month
    if add_months(start, whole) > end:
        whole -= 1
    begun = add_months(start, whole)
    return whole + Fraction((end - begun).days, (add_months(start, whole + 1) - begun).days or 1)


@dataclass(frozen=True, slots=True)
class Duration:
    """An ISO 8601 duration; calendar parts (years, months, weeks, days) and clock parts, of one sign."""

    text: str
    months: int
    days: int
    seconds: int
    by_clock: bool

    def after(self, moment: datetime) -> datetime:
        """The moment this long after (or before) `moment`: days by the calendar, hours by the clock."""
        day = add_months(moment.date(), self.months) if self.months else moment.date()
        try:
            moved = datetime.combine(day, moment.timetz()) + timedelta(days=self.days)
            if not self.seconds:
                return moved
            if moved.tzinfo is None:
                return moved + timedelta(seconds=self.seconds)
            return (moved.astimezone(UTC) + timedelta(seconds=self.seconds)).astimezone(moved.tzinfo)
        except OverflowError:
            return (datetime.max if self.seconds + self.days > 0 else datetime.min).replace(tzinfo=moment.tzinfo)

    def negated(self) -> Duration:
        """The same length the other way."""
        text = self.text[1:] if self.text.startswith("-") else "-" + self.text
        return Duration(text, -self.months, -self.days, -self.seconds, self.by_clock)

    @property
    def rough_seconds(self) -> int:
        """For comparing lengths: a month counted as 30 days."""
        return (self.months * 30 + self.days) * 86_400 + self.seconds


def parse_duration(text: str) -> Duration:
    """ISO 8601 duration in whole units, `P4W`, `-PT30M`; ValueError for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an ISO 8601 duration such as P4W, P1D, PT30M or -P1D")
    sign, years, months, weeks, days, clock, hours, minutes, seconds = match.groups()
    way = -1 if sign else 1
    return Duration(
        text,
        way * (int(years or 0) * 12 + int(months or 0)),
        way * (int(weeks or 0) * 7 + int(days or 0)),
        way * (int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)),
        clock is not None,
    )
