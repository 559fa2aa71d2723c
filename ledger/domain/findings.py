"""Every finding about a subject and about the study: which rules that recorded facts break.

Derived from the records as they stand, never stored. A rule applies only where the study's protocol declares
what it is about; without a protocol only the general ones do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ledger.domain import (
    administration,
    adverse_event,
    basis,
    conduct,
    consent,
    dose_level,
    eligibility,
    enrolment,
    lab,
    product,
    specimen,
)
from ledger.domain.refusals import Finding

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.domain.context import Roster

FINDINGS: tuple[Callable[[Study, Subject], Iterator[Finding]], ...] = (
    conduct.findings,
    consent.findings,
    eligibility.findings,
    enrolment.findings,
    administration.findings,
    lab.findings,
    adverse_event.findings,
    basis.findings,
)
"""Rules about one subject; `specimen.findings` besides, which may know the subject's place among those enrolled."""


def of_subject(study: Study, subject: Subject, order: int | None = None) -> list[Finding]:
    """All findings about a subject, by the first record that shows them.

    `order`: its place among those enrolled, counted from 1, where the caller knows it: some time points are
    planned for the first subjects only.
    """
    found = [finding for rule in FINDINGS for finding in rule(study, subject)]
    found.extend(specimen.findings(study, subject, order))
    return sorted(found, key=lambda finding: (finding.indexes[:1], finding.rule, finding.because))


def study_findings(study: Study, roster: Roster, load: Callable[[str], Subject | None]) -> list[Finding]:
    """Findings that no subject shows alone: numbers and units used twice, cohorts too full, decisions outdated.

    `load` gives a subject by its label, `subject/<uuid>`.
    """
    found = [*conduct.same_numbers(roster, load), *product.shared(roster, load), *dose_level.findings(study, roster)]
    found.extend(basis.cohort_findings(study, roster, load))
    return sorted(found, key=lambda finding: (finding.indexes[:1], finding.rule, finding.because))


def enrolment_order(roster: Roster, subject: str) -> int | None:
    """A subject's place among those enrolled, counted from 1; None where it is not enrolled."""
    seats = sorted(roster.seats.values(), key=lambda seat: seat.index)
    return next((place for place, seat in enumerate(seats, start=1) if seat.subject == subject), None)
