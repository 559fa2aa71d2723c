"""The patient's page and the list of patients.

A page is made from the subject's records in the rows and the study at the same size: whatever is derived is derived by
the domain, as it is for the decisions themselves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from ledger.domain import findings as finding_rules
from ledger.domain.aggregate import Subject
from ledger.domain.context import ROSTER_EVENTS, Roster
from ledger.domain.participation import number, site_of
from ledger.domain.refusals import Finding
from projections.engine.errors import ReadingMalformed, RecordNotFound, SubjectNotFound, one_of
from projections.engine.reading import Reader
from projections.engine.rows import Asked, Where, every
from projections.entries import Entries, masked
from projections.naming import the_only
from projections.patient import clinical, sections
from projections.patient.definition import COUNTS
from projections.patient.page import Page
from projections.schedule.plan import due, occasions
from projections.subjects import STATUSES, Line, line, subject_of

MAX_LIMIT = 1_000
"""Lines of one page of the list."""

PLAIN = (
    "pregnancies",
    "medications",
    "history",
    "procedures",
    "assessments",
    "visits",
    "deviations",
    "acts",
    "freezes",
    "reviews",
)
"""Sections that are their entries and no more."""

NUMBERING = frozenset({"SubjectScreened", "SubjectRescreened"})
"""Events that give a subject its number."""

_ORDER = ("name", "partition")
_SEPARATOR = "\n"  # stands in no subject number


def subjects(
    reader: Reader,
    site: str | None = None,
    population: str | None = None,
    status: str | None = None,
    cohort: str | None = None,
    search: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> dict[str, Any]:
    """A page of the list of subjects, in order of their numbers; `search`: a part of the number, `after`: the `next`
    of the page before. Raises ReadingMalformed."""
    one_of("status", status, STATUSES)
    given = {"site": site, "population": population, "status": status, "cohort": cohort}
    where = [Where(name, "=", value) for name, value in given.items() if value is not None]
    if search:
        where.append(Where("name", "says", search))
    limit = max(1, min(limit, MAX_LIMIT))
    place = None if after is None else tuple(after.split(_SEPARATOR))
    if place is not None and len(place) != len(_ORDER):
        raise ReadingMalformed("`after` is not one that this list handed out")
    found = reader.rows.select("subjects", Asked(tuple(where), _ORDER, after=place, limit=limit + 1))
    shown, more = found[:limit], len(found) > limit
    return {
        "subjects": [_listed(row) for row in shown],
        "next": _SEPARATOR.join((shown[-1].name, shown[-1].partition)) if more else None,
        "total": sum(reader.rows.counts("subjects", (), where).values()),
        "cut": reader.cut(),
    }


def _listed(row: Any) -> dict[str, Any]:
    names = (*(name for name in Line.__slots__ if name != "name"), *COUNTS)
    return {"id": row.partition, **{name: getattr(row, name) for name in names}}


def subject(reader: Reader, subject: str) -> dict[str, Any]:
    """Everything about one subject, named by UUID or number; raises SubjectNotFound, SubjectAmbiguous."""
    found = load(reader, subject)
    order = reader.enrolment_order(found.label)
    hidden = masked(reader.study, found)
    shown = replace(line(found), site=site_of(found))
    page = Page(reader.study, found, shown, order, reader.at, Entries(reader.study, found.records, hidden))
    listed = occasions(reader.study, found, order, reader.at)
    return {
        "subject": sections.identity(page),
        "consent": sections.consents(page),
        "eligibility": sections.criteria(page),
        "enrolment": sections.enrolment(page),
        "treatment": clinical.treatment(page),
        "specimens": clinical.specimens(page),
        "labs": clinical.labs(page),
        "adverse_events": clinical.adverse_events(page),
        "queries": sections.queries(page),
        "signatures": sections.signatures(page),
        **{name: page.listed(name) for name in PLAIN},
        "schedule": listed,
        "due": due(listed),
        "findings": [_finding(one) for one in finding_rules.of_subject(reader.study, found, order)],
        "masked": sorted(hidden),
        "cut": reader.cut(),
    }


def history(reader: Reader, subject: str, jti: str, field: str | None = None) -> dict[str, Any]:
    """One record of a subject with every value of its fields, or of one; raises SubjectNotFound, SubjectAmbiguous,
    RecordNotFound."""
    found = load(reader, subject)
    record = found.records.get(jti)
    if record is None:
        raise RecordNotFound(f"the subject has no record {jti!r}")
    entry = Entries(reader.study, found.records, masked(reader.study, found)).of(record)
    entry["history"] = {
        name: entry["corrected"].get(name) or [_first(entry, name)]
        for name in ([field] if field is not None else {**entry["fields"], **entry["corrected"]})
    }
    return {"record": entry, "cut": reader.cut()}


def _first(entry: dict[str, Any], name: str) -> dict[str, Any]:
    """The only value of a field that nobody corrected."""
    who = {key: entry[key] for key in ("index", "recorded_at", "actor", "role")}
    return {"value": entry["fields"].get(name), **who, "reason": None}


def findings(reader: Reader) -> dict[str, Any]:
    """Every finding of the study, subject by subject, then those that no subject shows alone."""
    people = {one.label: one for one in _everybody(reader)}
    seats = {label: place for place, label in enumerate(reader.seats, start=1)}
    listed = []
    for label, one in people.items():
        for finding in finding_rules.of_subject(reader.study, one, seats.get(label)):
            listed.append({**_finding(finding), "number": number(one)})
    for finding in finding_rules.study_findings(reader.study, _roster(people.values()), people.get):
        listed.append({**_finding(finding), "number": None})
    return {"findings": listed, "cut": reader.cut()}


def load(reader: Reader, subject: str) -> Subject:
    """A subject of the study, named by UUID or number; raises SubjectNotFound, SubjectAmbiguous."""
    partition = _partition(reader, subject)
    rows = list(every(reader.rows, "records", (Where("partition", "=", partition),), ("idx",)))
    if not rows:
        raise SubjectNotFound(f"the study has no subject {subject!r} at size {reader.size}")
    return subject_of(partition, rows)


def _partition(reader: Reader, subject: str) -> str:
    try:
        return str(UUID(subject))
    except ValueError:
        pass
    if reader.rows is reader.newest:
        rows = reader.rows.select("subjects", Asked((Where("number", "=", subject),), ("partition",)))
        return the_only(subject, (row.partition for row in rows), reader.size)
    having = (str(one.id) for one in reader.subjects_from(NUMBERING) if number(one) == subject)
    return the_only(subject, having, reader.size)  # numbers as they were: one may have been corrected since


def _everybody(reader: Reader) -> list[Subject]:
    """Every subject of the study, by UUID."""
    rows: dict[str, list[Any]] = {}
    for row in every(reader.rows, "records", order=("partition", "idx")):
        rows.setdefault(row.partition, []).append(row)
    return [subject_of(partition, found) for partition, found in rows.items()]


def _roster(people: Any) -> Roster:
    """Who sits where, and who named which number or unit, from the subjects' records."""
    records = [record for one in people for record in one.records if record.event in ROSTER_EVENTS]
    roster = Roster()
    for record in sorted(records, key=lambda record: record.index):
        roster.apply(record)
    return roster


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "title": finding.title,
        "because": finding.because,
        "indexes": list(finding.indexes),
        "subject": finding.subject,
        "site": finding.site,
        **({"details": finding.details} if finding.details else {}),
    }
