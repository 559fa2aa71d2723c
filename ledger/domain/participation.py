"""Where a subject stands: number, population, site, zone, and whether taking part has ended.

Read from the subject's records; the newest screening that stands counts, as corrected.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from ledger.domain.moments import later, zone_named
from ledger.domain.record import Record
from ledger.domain.study import protocol_for, site_time_zone

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.protocol import ResolvedProtocol

ENDS = ("SubjectDied", "SubjectWithdrawn", "SubjectCompleted")
TREATMENT_ENDS = (*ENDS, "TreatmentDiscontinued")


def screening(subject: Subject) -> Record | None:
    """The newest screening that stands."""
    found = [record for record in subject.records.of("SubjectScreened") if record.done]
    return found[-1] if found else None


def screened(subject: Subject, field: str) -> Any:
    """A field of the newest screening; None where it is not known."""
    record = screening(subject)
    return None if record is None else record.content.get(field)


def number(subject: Subject) -> str | None:
    """The subject number in use: of the newest screening or rescreening that states one."""
    stated = [r for r in subject.records.of("SubjectScreened", "SubjectRescreened") if r.content.get("number")]
    return stated[-1].content["number"] if stated else None


def site_of(subject: Subject) -> str | None:
    """The site that the subject belongs to now: transferred to, else screened at, else first recorded at."""
    moved = [r for r in subject.records.of("SubjectTransferred") if r.done and r.content.get("to_site")]
    if moved:
        site: str = moved[-1].content["to_site"]
        return site
    record = screening(subject) or next(iter(subject.records), None)
    return None if record is None else record.site


def zone_of(study: Study, site: str | None) -> tzinfo | None:
    """The zone in which a site's times without offset are read."""
    return zone_named(site_time_zone(study, site))


def protocol_of(study: Study, subject: Subject, below: int | None = None) -> ResolvedProtocol | None:
    """The protocol in force at the subject's site; with `below`, the one in force just below that index."""
    return protocol_for(study, site_of(subject), below)


def _since_rescreening(subject: Subject, *events: str) -> list[Record]:
    again = subject.records.last("SubjectRescreened")
    begins = again.index if again is not None and again.done else -1
    return [r for r in subject.records.of(*events) if r.done and (r.index > begins or r.event == "SubjectDied")]


def end_of(subject: Subject) -> Record | None:
    """What ended the subject's participation: death, withdrawal or completion; None while it lasts."""
    found = _since_rescreening(subject, *ENDS)
    return found[0] if found else None


def treatment_end(subject: Subject) -> Record | None:
    """What ended the subject's treatment; None while nothing did."""
    found = _since_rescreening(subject, *TREATMENT_ENDS)
    return found[0] if found else None


def death(subject: Subject) -> tuple[Record, str | None] | None:
    """The record that says that the subject died, and when, where that is known."""
    record = subject.records.last("SubjectDied")
    if record is not None and record.done:
        return record, record.occurred_at
    transferred = screening(subject)
    if transferred is not None and (transferred.content.get("died") or transferred.content.get("died_at")):
        return transferred, transferred.content.get("died_at")
    return None


def given(subject: Subject, zone: tzinfo | None, event: str = "InfusionGiven") -> list[Record]:
    """The administrations that stand, in the order in which they were given."""
    found: list[Record] = []
    for record in subject.records.of(event):
        if record.done:
            place = len(found)
            while place and not later(record, found[place - 1], zone):
                place -= 1
            found.insert(place, record)
    return found
