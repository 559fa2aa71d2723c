"""The clinical sections of a patient's page: treatment, specimens, results, adverse events.

Each is a function of the page's study, subject and moment, and asks the domain's own functions.
"""

from __future__ import annotations

from typing import Any

from ledger.domain import adverse_event, dose_level, dosing, pregnancy, product, specimen
from ledger.domain.administration import numbers
from ledger.domain.moments import happened
from ledger.domain.participation import given
from ledger.domain.record import Record
from projections.patient.page import Page


def treatment(page: Page) -> dict[str, Any]:
    """Each administration with its authorisation, identity check and product unit; what was withheld."""
    planned = None if page.protocol is None else page.protocol.definition.treatment
    events = ("InfusionGiven", "TreatmentAdministered") if planned is None else (planned.event,)
    doses = [record for event in events for record in given(page.subject, page.zone, event)]
    return {
        "product": None if planned is None else planned.product,
        "planned_number": None if planned is None else planned.number,
        "administrations": [
            _administration(page, record, number) for record, number in zip(doses, numbers(doses), strict=True)
        ],
        "entries": page.listed("treatment"),
    }


def _administration(page: Page, record: Record, number: int) -> dict[str, Any]:
    records = page.subject.records
    authorised = dosing.authorisation_of(page.subject, record, number, page.zone)
    checked = [r for r in records.of("IdentityChecked") if r.done and r.get("number") in (number, None)]
    checked = [r for r in checked if r.get("product") in (record.get("product"), None)]
    excluded = None
    if page.protocol is not None and pregnancy.is_asked(page.protocol, page.subject):
        excluded = pregnancy.excluded(page.protocol, page.subject, happened(record), None, page.zone)
    return {
        "number": number,
        "index": record.index,
        "event_id": record.jti,
        "given_at": happened(record),
        "dose": record.get("dose") or record.get("cells_per_kg"),
        "outcome": record.get("outcome"),
        "interruptions": record.get("interruptions") or [],
        "authorisation": None if authorised is None else authorised.index,
        "identity_check": None if not checked else {"index": checked[-1].index, "matched": checked[-1].get("matched")},
        "unit": None if record.get("product") is None else _unit(page, record.get("product")),
        "pregnancy": None
        if excluded is None
        else {"excluded": bool(excluded), "because": excluded.because, "indexes": list(excluded.indexes)},
    }


def _unit(page: Page, name: str) -> dict[str, Any]:
    found = product.unit(page.study, name)
    return {
        "id": name,
        "state": found.state,
        "registered": None if found.registered is None else found.registered.index,
        "released": None if found.released is None else found.released.index,
        "expires_at": found.expires_at,
    }


def specimens(page: Page) -> dict[str, Any]:
    """Each specimen with its way, and the results that name it."""
    by_name: dict[str, dict[str, Any]] = {}
    for record in page.records("specimens"):
        name = record.get("specimen")
        if isinstance(name, str):
            one = by_name.setdefault(name, {"specimen": name, "entries": [], "results": [], "standing": "never drawn"})
            one["entries"].append(record.index)
            if record.done:
                one["standing"] = record.event.removeprefix("Specimen").lower()
    for record in page.subject.records.of("LabResultReported"):
        name = record.get("specimen")
        if isinstance(name, str) and name in by_name:
            by_name[name]["results"].append(record.index)
    for name, records in specimen.drawn(page.subject).items():
        by_name[name]["drawn_at"] = happened(records[0])
        by_name[name]["planned"] = records[0].get("planned")
    return {"specimens": list(by_name.values()), "entries": page.listed("specimens")}


def labs(page: Page) -> dict[str, Any]:
    """Each result with the study's own name for the analyte, and what a physician said of it."""
    reviewed = {r.get("result"): r for r in page.subject.records.of("ResultReviewed") if r.done}
    listed = []
    for record in page.subject.records.by_event.get("LabResultReported", ()):
        key = None if page.protocol is None else page.protocol.analytes.key(record.content)
        review = reviewed.get(record.jti)
        listed.append(
            {
                **page.entries.of(record),
                "analyte": key,
                "analyte_label": None
                if key is None or page.protocol is None
                else page.protocol.definition.analytes[key].label,
                "significance": None if review is None else review.get("significance"),
                "reviewed": None if review is None else review.index,
            }
        )
    return {"results": listed, "reviews": page.entries.all(page.subject.records.by_event.get("ResultReviewed", ()))}


def adverse_events(page: Page) -> dict[str, Any]:
    """Each adverse event as it is known now, by party; toxicities; the reporting clocks."""
    limiting = {record.get("adverse_event"): record.index for record in dose_level.toxicities(page.subject)}
    return {
        "events": [_adverse_event(one, limiting) for one in adverse_event.adverse_events(page.subject)],
        "clocks": [_clock(page, one) for one in adverse_event.clocks(page.protocol, page.subject, page.zone)],
        "entries": page.listed("adverse_events"),
    }


def _adverse_event(one: adverse_event.AdverseEvent, limiting: dict[Any, int]) -> dict[str, Any]:
    names = ("term", "grade", "serious", "seriousness", "outcome", "started_at", "ended_at", "ongoing")
    return {
        "index": one.report.index,
        "event_id": one.report.jti,
        **{name: one.get(name) for name in names},
        "highest_grade": one.highest_grade(),
        "fatal": one.fatal,
        "follow_ups": [record.index for record in one.records[1:]],
        "assessments": {
            party: [{"index": r.index, "related": r.get("related"), "causality": r.get("causality")} for r in records]
            for party, records in one.assessments.items()
        },
        "reports": [record.index for record in one.submissions],
        "dose_limiting": limiting.get(one.report.jti),
    }


def _clock(page: Page, one: adverse_event.Clock) -> dict[str, Any]:
    overdue = one.met_by is None and one.due_at is not None and page.moment > one.due_at
    return {
        "clock": one.clock,
        "text": one.text,
        "adverse_event": one.event.report.index,
        "started": one.started.index,
        "starts_at": one.starts_at,
        "due_at": None if one.due_at is None else one.due_at.isoformat(),
        "met_by": None if one.met_by is None else one.met_by.index,
        "met_at": one.met_at,
        "late": one.late(page.zone),
        "overdue": overdue,
    }
