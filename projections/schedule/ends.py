"""What ended what was planned: death, withdrawal, completion, a consent withdrawn, the end of treatment or study.

From then on nothing planned of that kind is due or missed any more. What a withdrawn consent ends is what the facts
that would be recorded need consent to (`ledger.domain.consent.SCOPES`); nothing is said before the end's own moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from ledger.domain import consent
from ledger.domain.aggregate import Study, Subject
from ledger.domain.moments import at as read_time
from ledger.domain.moments import decided, happened, later
from ledger.domain.participation import death, end_of, treatment_end
from ledger.domain.record import Record
from ledger.protocol import ResolvedProtocol

KINDS = frozenset({"procedure", "specimen", "administration", "observation"})
"""Kinds of time points (`ledger.protocol.model.course.Timepoint`)."""

_OBSERVED = frozenset({"contact", "data"})
"""Scopes of consent without which nobody is asked how they are."""


@dataclass(frozen=True, slots=True)
class End:
    """The record that ended what was planned, when, and how it is said."""

    index: int
    at: datetime
    because: str


def ends(
    study: Study, subject: Subject, protocol: ResolvedProtocol, moment: datetime, zone: tzinfo | None
) -> Mapping[str, End]:
    """Of each kind of time point the first end up to a moment; kinds that go on are left out."""
    found: dict[str, End] = {}
    for record, kinds, words in _records(study, subject, protocol, zone):
        ended = _when(record, zone)
        if ended > moment:
            continue
        made = End(record.index, ended, f"{words} at index {record.index}")
        for kind in kinds:
            if kind not in found or (ended, record.index) < (found[kind].at, found[kind].index):
                found[kind] = made
    return found


def _records(
    study: Study, subject: Subject, protocol: ResolvedProtocol, zone: tzinfo | None
) -> Iterator[tuple[Record, frozenset[str], str]]:
    """Every record that ends something, with the kinds of time points that it ends."""
    died, left, stopped = death(subject), end_of(subject), treatment_end(subject)
    closed = study.records.last("StudyClosed")
    if died is not None:
        yield died[0], KINDS, f"died: {died[0].event}"
    if left is not None:
        yield left, KINDS, left.event
    if closed is not None:
        yield closed, KINDS, closed.event
    if stopped is not None:
        yield stopped, frozenset({"administration"}), stopped.event
    for record, scopes in _withdrawals(study, subject, zone):
        lost = frozenset(kind for kind, needed in _needed(protocol).items() if needed & scopes)
        yield record, lost, f"consent to {' and '.join(sorted(scopes))} withdrawn: {record.event}"


def _withdrawals(study: Study, subject: Subject, zone: tzinfo | None) -> Iterator[tuple[Record, frozenset[str]]]:
    """The withdrawals by which a scope is withdrawn now; one that a later consent lifted only where no other says so
    (a consent with a flaw lifts nothing)."""
    made = [one for one in subject.records.of("ConsentWithdrawn") if one.done]
    scopes = consent.status(study, subject).withdrawn if made else frozenset()
    given = consent.consents(subject, zone)
    lasting = [one for one in made if not any(later(consented, one, zone) for consented in given)]
    for record in lasting or made:
        named = frozenset(record.content.get("scope") or consent.NEEDED)
        yield record, named & scopes


def _needed(protocol: ResolvedProtocol) -> dict[str, frozenset[str]]:
    """The scopes of consent that each kind of time point needs."""
    treatment = protocol.definition.treatment
    return {
        "administration": consent.SCOPES["InfusionGiven" if treatment is None else treatment.event],
        "specimen": consent.SCOPES["SpecimenDrawn"],
        "procedure": consent.SCOPES["ProcedureRecorded"],
        "observation": _OBSERVED,
    }


def _when(record: Record, zone: tzinfo | None) -> datetime:
    """The first moment at which the end may have been; where that is not known, when it was recorded."""
    time = read_time(decided(record) if record.kind in ("decision", "governance") else happened(record))
    if time is not None:
        return time.instants(zone)[0].astimezone(UTC)
    return datetime.fromisoformat(record.recorded_at)
