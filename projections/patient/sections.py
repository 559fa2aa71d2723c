"""Sections of a patient's page: identity, consent, eligibility, enrolment, queries, signatures.

Each is a function of the page's study, subject and moment, and asks the domain's own functions; none decides anything
anew. Where the protocol says nothing about a matter its section says so by being empty.
"""

from __future__ import annotations

from typing import Any

from ledger.domain import consent, dose_level, eligibility, query
from ledger.domain.basis import basis_changed
from ledger.domain.participation import end_of, protocol_of, screened
from ledger.domain.record import Record
from ledger.domain.signature import LISTING, covers
from ledger.domain.study import site_time_zone
from ledger.protocol import ResolvedProtocol
from projections.patient.page import Page


def identity(page: Page) -> dict[str, Any]:
    """Who the subject is in this study."""
    subject, line = page.subject, page.line
    population = None if page.protocol is None else page.protocol.definition.populations.get(line.population or "")
    return {
        "id": str(subject.id),
        "number": line.number,
        "population": line.population,
        "population_label": None if population is None else population.label,
        "sex": line.sex,
        "birth_date": screened(subject, "birth_date"),
        "childbearing_potential": screened(subject, "childbearing_potential"),
        "site": line.site,
        "time_zone": site_time_zone(page.study, line.site),
        "status": line.status,
        "protocol": None if page.protocol is None else page.protocol.label,
        "events": len(subject.records),
        "last_index": subject.records.last_index,
        "screening": page.listed("screening"),
        "participation": page.listed("participation"),
    }


def consents(page: Page) -> dict[str, Any]:
    """Whether consent to take part stands, what is withdrawn, and every consent asked for."""
    asked = consent.declared(page.protocol, page.line.population)
    found = consent.status(page.study, page.subject, page.moment.isoformat())
    return {
        "asked": asked,
        "standing": found.standing,
        "because": found.because,
        "indexes": list(found.indexes),
        "withdrawn": sorted(found.withdrawn),
        "entries": page.listed("consent"),
    }


def criteria(page: Page) -> dict[str, Any]:
    """Each criterion with the machine's verdict and the investigator's, and the decision with what changed since.

    Where a decision stands the verdicts are those that bear on it: what came to be known of its time counts, what came
    to be so later (a consent document approved since) does not. Those of now stand beside them until the subject is
    enrolled or has left: after that nobody decides by them any more. `judged` says which is shown.
    """
    decision = eligibility.standing(page.subject)
    return {
        "asked": eligibility.declared(page.study, page.subject),
        "judged": "now" if decision is None else f"as at the eligibility decision at index {decision.index}",
        **_verdicts(page, decision),
        "now": None if decision is None or _is_settled(page) else _verdicts(page, None),
        "decision": None if decision is None else _decided(page, decision),
        "entries": page.listed("eligibility"),
    }


def _is_settled(page: Page) -> bool:
    """Whether the subject was enrolled, or its part has ended."""
    return page.subject.records.last("SubjectEnrolled") is not None or end_of(page.subject) is not None


def _verdicts(page: Page, decision: Record | None) -> dict[str, Any]:
    """Every criterion as it bears on a decision, by the protocol in force then; without one as of now."""
    protocol = protocol_of(page.study, page.subject, None if decision is None else decision.index)
    state = None if protocol is None else eligibility.assess(page.study, page.subject, decision)
    if protocol is None or state is None:
        return {"permits": None, "failing": [], "unknown": [], "criteria": []}
    return {
        "permits": bool(state),
        "failing": sorted(state.failing),
        "unknown": sorted(state.unknown),
        "criteria": [_criterion(protocol, name, one) for name, one in state.criteria.items()],
    }


def _criterion(protocol: ResolvedProtocol, name: str, state: eligibility.CriterionState) -> dict[str, Any]:
    criterion, verdict = protocol.definition.criteria[name], state.verdict
    return {
        "id": name,
        "code": criterion.code,
        "category": criterion.category,
        "text": criterion.text,
        "evaluation": criterion.evaluation,
        "verdict": verdict.value.value,
        "permits": verdict.permits,
        "because": list(verdict.because),
        "inputs": [dict(one._asdict()) for one in verdict.inputs],
        "open_ambiguities": list(verdict.ambiguities),
        "read_as": dict(verdict.read_as),
        "investigator": state.investigator,
        "assessed": state.assessed,
        "differs": state.differs,
        "fails": state.fails,
    }


def _decided(page: Page, decision: Record) -> dict[str, Any]:
    """A decision with what it was made on, and what of that has changed since."""
    changed = basis_changed(page.study, page.subject, decision)
    return {**page.entries.of(decision), "cut": decision.cut, "basis_changed": changed}


def enrolment(page: Page) -> dict[str, Any] | None:
    """Cohort, dose and place; None for who is not enrolled."""
    seat = page.subject.records.last("SubjectEnrolled")
    if seat is None:
        return None
    cohort, protocol = seat.get("cohort"), page.protocol
    planned = None if protocol is None else protocol.definition.cohorts.get(cohort)
    treatment = None if protocol is None else protocol.definition.treatment
    return {
        "cohort": cohort,
        "label": None if planned is None else planned.label,
        "dose": None if protocol is None else dose_level.dose_of(page.study, protocol, cohort),
        "dose_unit": None if treatment is None else treatment.dose_unit,
        "order": page.order,
        "decision": _decided(page, seat),
    }


def queries(page: Page) -> dict[str, Any]:
    """Each query with its state."""
    records = page.subject.records
    opened = records.by_event.get("QueryOpened", ())
    return {
        "queries": [
            {
                "index": one.index,
                "event_id": one.jti,
                "state": query.state(records, one),
                "record": (one.body.get("record") or {}).get("jti"),
                "field": one.body.get("field"),
                "question": one.get("question"),
            }
            for one in opened
        ],
        "entries": page.listed("queries"),
    }


def signatures(page: Page) -> dict[str, Any]:
    """Electronic signatures: decisions and whatever else has a meaning, with its manifestation."""
    signed = [record for record in page.subject.records if record.meaning is not None]
    return {
        "signatures": [_signature(page, record) for record in signed],
        "entries": page.listed("signatures"),
    }


def _signature(page: Page, record: Record) -> dict[str, Any]:
    """One signature with everything that it covers, and how it stands now."""
    actor = page.study.authority.actors.get(record.iss)
    return {
        **page.entries.signature(record),
        "organisation": None if actor is None else actor.organisation,
        "cut": record.cut,
        "withdrawn_at": record.withdrawn_at,
        "basis_changed": basis_changed(page.study, page.subject, record),
        "records": list(covers(record)) if record.event in LISTING else [],
    }
