"""The people that a page of the whole study is about: each with line, records, and the protocol of the site.

Rules:
- everybody of whom anything is recorded is there, screened or not;
- a person is enrolled while a decision that stands gives a seat, whether or not its cohort can still be read;
- a site where no version was put into force goes by the study's;
- cohorts come in the order of the protocol, others that somebody sits in after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import cache, cached_property
from typing import Any

from ledger.domain.aggregate import Subject
from ledger.domain.participation import zone_of
from ledger.domain.record import Observation
from ledger.domain.study import protocol_for
from ledger.protocol import ResolvedProtocol
from projections.engine.reading import Reader
from projections.engine.rows import every
from projections.subjects import line, subject_of


class Facts:
    """The facts about one subject as a protocol reads them, those of each event gathered once."""

    def __init__(self, subject: Subject) -> None:
        self._records = subject.records
        self._gathered: dict[str, Sequence[Observation]] = {}

    def observations(self, event: str) -> Sequence[Observation]:
        """Facts of this event that stand, in index order."""
        if event not in self._gathered:
            self._gathered[event] = self._records.observations(event)
        return self._gathered[event]


@dataclass(frozen=True)
class Person:
    """A subject: its UUID as text, its line (a row of SUBJECTS), its records, and what its site goes by."""

    id: str
    line: Any
    subject: Subject
    protocol: ResolvedProtocol | None
    zone: tzinfo | None

    @cached_property
    def facts(self) -> Facts:
        """The records as a protocol reads them."""
        return Facts(self.subject)

    @property
    def enrolled(self) -> bool:
        """Whether a seat is taken."""
        return self.line.enrolled is not None

    @property
    def cohort(self) -> str | None:
        """The cohort of the seat; None for who is not enrolled."""
        cohort: str | None = self.line.cohort
        return cohort

    def about(self) -> dict[str, Any]:
        """Who it is, as every entry of a page says it."""
        return {"subject": self.id, "number": self.line.number, "site": self.line.site, "cohort": self.cohort}


def people(reader: Reader, records: Iterable[Any]) -> list[Person]:
    """Everybody by number, with these records (rows of RECORDS)."""
    held: dict[str, list[Any]] = {}
    for row in records:
        held.setdefault(row.partition, []).append(row)
    place = _places(reader)
    lines = {row.partition: row for row in every(reader.rows, "subjects", order=("name", "partition"))}
    found = []
    for partition in dict.fromkeys([*lines, *sorted(held)]):
        subject = subject_of(partition, held.get(partition, ()))
        own = lines.get(partition) or line(subject)
        found.append(Person(partition, own, subject, *place(own.site)))
    return found


def cohorts_of(protocol: ResolvedProtocol | None, everybody: Iterable[Person]) -> list[str]:
    """The cohorts of the protocol in its order, then others that somebody sits in."""
    planned = list(protocol.definition.cohorts) if protocol is not None else []
    taken = sorted({person.cohort for person in everybody if person.cohort is not None})
    return list(dict.fromkeys([*planned, *taken]))


def _places(reader: Reader) -> Callable[[str | None], tuple[ResolvedProtocol | None, tzinfo | None]]:
    """Protocol and zone of a site, each looked up once."""

    @cache
    def place(site: str | None) -> tuple[ResolvedProtocol | None, tzinfo | None]:
        return protocol_for(reader.study, site) or protocol_for(reader.study), zone_of(reader.study, site)

    return place
