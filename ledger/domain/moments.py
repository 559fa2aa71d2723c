"""When things happened, and what can be said for certain about their order.

A time may be partial, without zone, or unknown. A rule speaks only when every moment that the texts may mean
agrees; what is uncertain is never held against anyone. A stamp without offset is read in the site's zone.
"""

from __future__ import annotations

from datetime import date, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.domain.record import Record
from ledger.protocol.dates import Duration, PartialTime, parse_duration, parse_time
from ledger.protocol.dates import is_before as _is_before
from ledger.protocol.dates import local_dates as _local_dates

OWN_TIME = {
    "InfusionGiven": "started_at",
    "TreatmentAdministered": "started_at",
    "VisitRecorded": "started_at",
    "AdverseEventReported": "started_at",
    "MedicationRecorded": "start_date",
    "ProcedureRecorded": "date",
    "HistoryRecorded": "onset_date",
}
"""Fields that say when something happened more precisely than `occurred_at`, where they are filled."""


@lru_cache(maxsize=65_536)
def at(text: str | None) -> PartialTime | None:
    """A time as far as it is known; None where it is not, or cannot be read."""
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError:
        return None


@lru_cache(maxsize=256)
def zone_named(name: str) -> tzinfo | None:
    """An IANA zone; None where there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(maxsize=256)
def length(text: str) -> Duration:
    """An ISO 8601 duration of the protocol."""
    return parse_duration(text)


def happened(record: Record) -> str | None:
    """When what a record says took place, as declared; None where unknown."""
    own = record.content.get(OWN_TIME.get(record.event, "occurred_at"))
    return own if own is not None else record.occurred_at


def decided(record: Record) -> str | None:
    """When a decision was taken: recorded, or as declared where it was transcribed."""
    return record.occurred_at if record.mode == "transcribed" else record.recorded_at


def is_before(one: str | None, other: str | None, zone: tzinfo | None) -> bool | None:
    """Whether `one` came before `other`; None where that is uncertain."""
    first, second = at(one), at(other)
    return None if first is None or second is None else _is_before(first, second, zone)


def surely_before(one: str | None, other: str | None, zone: tzinfo | None) -> bool:
    """`one` came before `other`, beyond doubt."""
    return is_before(one, other, zone) is True


def later(one: Record, other: Record, zone: tzinfo | None) -> bool:
    """Whether `one` happened after `other`; by their order in the log where the times leave it open."""
    order = is_before(happened(other), happened(one), zone)
    return order if order is not None else one.index > other.index


def elapsed(start: str | None, end: str | None, zone: tzinfo | None) -> tuple[timedelta, timedelta] | None:
    """The least and the most time that can have passed from `start` to `end`; None where one is unknown."""
    first, second = at(start), at(end)
    if first is None or second is None:
        return None
    started, ended = first.instants(zone), second.instants(zone)
    return ended[0] - started[1], ended[1] - started[0]


def local_dates(text: str | None, zone: tzinfo | None) -> tuple[date, date] | None:
    """The earliest and latest date that a time may mean, in the site's zone where that is known."""
    moment = at(text)
    return None if moment is None else _local_dates(moment, zone)


def words(gap: timedelta) -> str:
    """A length of time for a sentence: days, or hours below two days."""
    hours = gap.total_seconds() / 3600
    return f"{hours:.1f} h" if abs(hours) < 48 else f"{hours / 24:.1f} days"
