"""GET of the projections: subjects, cohorts, schedule, safety, outcomes, signatures, audit trail, findings, protocol.

Every answer stands for one state: `as_of` (a size or a time) chooses it as it was known then, `occurred_by` (a date or
a time) as it happened, `wait_for` (a size, 10 s at most) waits for it; `Ledger-Index`, `Ledger-Root` and
`Projection-Version` name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from api.v1.problems import BadRequest
from api.v1.reading import StateAsked, answered, known_parameters, state_of, stated_times, study_id
from api.v1.refused import refused
from ledger.application import Ledger
from ledger.domain import study as study_rules
from ledger.signing.wire import STATEMENT_LIMIT
from ledger.store import evidence
from projections.audit_trail import view as audit_trail
from projections.changes import files as changes_as
from projections.changes import view as changes
from projections.cohort import view as cohort
from projections.engine import operations
from projections.engine.reading import Reader, open_reader
from projections.engine.studies import cache_of
from projections.outcomes import view as outcomes
from projections.patient import view as patient
from projections.safety import view as safety
from projections.schedule import view as schedule
from projections.signatures import view as signatures

MAX_ROWS = 1_000
"""Rows of a page."""


@dataclass(frozen=True)
class When(StateAsked):
    """Which state a reading is of: the parameters that every view takes."""

    wait_for: Annotated[
        int | None, Query(ge=0, description="Answer once the projection has reached this size; 503 after 10 s.")
    ] = None


Cut = Annotated[When, Depends()]


def view_router(ledger: Ledger) -> APIRouter:
    """The routes below /v1/studies that read projections."""
    router = APIRouter(prefix="/v1/studies/{study}", tags=["views"], dependencies=[Depends(known_parameters)])

    def reading(study: str, name: str, when: When) -> Any:
        return open_reader(
            ledger.database,
            study_id(study),
            name,
            as_of=when.as_of,
            wait_for=when.wait_for,
            now=datetime.now(UTC),
            occurred_by=when.occurred_by,
        )

    def shown(study: str, name: str, when: When, view: Callable[[Reader], Any]) -> Response:
        with reading(study, name, when) as reader:
            value = view(reader)
            return Response(msgspec.json.encode(value), headers=_headers(reader), media_type="application/json")

    @router.get("/subjects")
    def subjects(
        study: str,
        when: Cut,
        site: str | None = None,
        population: str | None = None,
        status: str | None = None,
        cohort: str | None = None,
        search: str | None = None,
        after: str | None = None,
        limit: int = Query(100, ge=1, le=MAX_ROWS),
    ) -> Response:
        """Subjects with number, site, population, status and cohort."""
        return shown(
            study,
            "patient",
            when,
            lambda r: patient.subjects(
                r,
                site=site,
                population=population,
                status=status,
                cohort=cohort,
                search=search,
                after=after,
                limit=limit,
            ),
        )

    @router.get("/subjects/{subject}")
    def subject(study: str, subject: str, when: Cut) -> Response:
        """The whole state of a subject, named by UUID or number."""
        return shown(study, "patient", when, lambda r: patient.subject(r, subject))

    @router.get("/subjects/{subject}/history/{jti}")
    def history(
        study: str,
        subject: str,
        jti: str,
        when: Cut,
        field: str | None = None,
    ) -> Response:
        """Every value that a record, or one field of it, has had, in order."""
        return shown(study, "patient", when, lambda r: patient.history(r, subject, jti, field))

    @router.get("/findings")
    def findings(study: str, when: Cut) -> Response:
        """The rules that recorded facts break."""
        return shown(study, "patient", when, patient.findings)

    @router.get("/cohorts")
    def cohorts(study: str, when: Cut) -> Response:
        """Cohorts: seats, dose, reviews, what blocks the next step."""
        return shown(study, "cohort", when, cohort.cohorts)

    @router.get("/cohorts/{name}")
    def one_cohort(study: str, name: str, when: Cut) -> Response:
        """One cohort."""
        return shown(study, "cohort", when, lambda r: cohort.cohort(r, name))

    @router.get("/schedule")
    def planned(
        study: str,
        when: Cut,
        subject: str | None = None,
        site: str | None = None,
        standing: str | None = None,
        after: str | None = None,
        limit: int = Query(50, ge=1, le=MAX_ROWS),
    ) -> Response:
        """Planned against actual for every time point."""
        return shown(
            study,
            "schedule",
            when,
            lambda r: schedule.schedule(r, subject=subject, site=site, standing=standing, after=after, limit=limit),
        )

    @router.get("/safety")
    def adverse(study: str, when: Cut) -> Response:
        """Adverse events, dose-limiting toxicities, reporting clocks."""
        return shown(study, "safety", when, safety.safety)

    @router.get("/outcomes")
    def measured(study: str, when: Cut) -> Response:
        """The protocol's outcome measures."""
        return shown(study, "outcomes", when, outcomes.outcomes)

    @router.get("/signatures")
    def signed(
        study: str,
        when: Cut,
        standing: str | None = None,
        signer: str | None = None,
        subject: str | None = None,
        site: str | None = None,
        after: int = Query(0, ge=0),
        limit: int = Query(100, ge=1, le=MAX_ROWS),
    ) -> Response:
        """Every electronic signature with its manifestation and standing, in order of the log from index `after` on."""
        return shown(
            study,
            "signatures",
            when,
            lambda r: signatures.signatures(r, standing, signer, subject, site, after, limit),
        )

    @router.get("/signatures/to-sign-again")
    def to_sign_again(
        study: str,
        when: Cut,
        signer: str | None = None,
        subject: str | None = None,
        site: str | None = None,
    ) -> Response:
        """The signed records that changed since, by investigator: to be reviewed and signed again."""
        return shown(study, "signatures", when, lambda r: signatures.to_sign_again(r, signer, subject, site))

    @router.get("/event-versions")
    def event_versions(study: str) -> Response:
        """How many events of each version there are up to the signed size, and what this release makes of them."""
        found = operations.event_versions(ledger.database, study_id(study))
        return answered(found, state_of(ledger, study, str(found["size"]), None))

    @router.get("/protocol")
    def protocol(study: str, when: Cut) -> Response:
        """Adopted versions, the interpretations that stand, open ambiguities, the newest file."""
        return shown(study, "cohort", when, _protocol)

    @router.get("/changes")
    def changed(
        request: Request,
        study: str,
        since: str = Query(
            alias="from",
            description="The earlier cut: a size, a time with its offset, a date, an event's id, `index:N`, or an "
            "event of the study such as `CohortOpened:HIGH` (the newest that stands; itself included).",
        ),
        until: str | None = Query(None, alias="to", description="The later cut, likewise. Left out: the newest."),
        subject: str | None = Query(None, description="One subject alone, by number or UUID."),
        projection: str | None = Query(None, description="The rows of this projection that differ, too."),
        after: str | None = Query(None, description="The `next` of the page before."),
        limit: int = Query(100, ge=1, le=MAX_ROWS, description="Subjects of a page."),
        format: str | None = Query(None, description="json or csv."),
    ) -> Response:
        """What changed between two cuts, per subject and for the study: recorded, corrected, voided, reversed,
        redacted, and what it changed in what people look at; each with the entries responsible. CSV is whole."""
        wanted = changes.Wanted(since, until, subject, projection, after, limit)
        kind = _format(request, format, ("json", "csv"))
        if kind == "csv":
            found = changes.whole(ledger.database, study_id(study), wanted)
            content, media = b"".join(changes_as.csv(found)), "text/csv; charset=utf-8"
        else:
            found = changes.changes(ledger.database, study_id(study), wanted)
            content, media = msgspec.json.encode(found), "application/json"
        cut = found["cut"]
        headers = {
            "Ledger-Index": str(cut["size"]),
            "Ledger-Root": cut["root"],
            "Projection-Version": str(cut["version"]),
        }
        return Response(content, headers=headers, media_type=media)

    @router.get("/refusals")
    def refusals(
        study: str,
        after: int = Query(0, ge=0),
        limit: int = Query(100, ge=1, le=MAX_ROWS),
        wait_for: int | None = Query(None, ge=0),
    ) -> Response:
        """Refused statements: rule, cause, what it said it was, who, when; not the bytes. No part of the log, so that
        there is no earlier state of it to ask for; the headers name the newest one signed."""
        state = state_of(ledger, study, None, wait_for)
        with ledger.database.connection() as connection:
            keys = cache_of(ledger.database).study_at(connection, study, state.size).authority.keys
            rows = evidence.select_refusals(connection, study, after, limit, STATEMENT_LIMIT)
            found = [refused(row, keys) for row in rows]
            count = evidence.count_refusals(connection, study)
        following = found[-1]["refusal"] if len(found) == limit else None
        return answered({"refusals": found, "next": following, "count": count, "size": state.size}, state)

    @router.get("/audit-trail")
    def trail(
        request: Request,
        study: str,
        when: Cut,
        subject: str | None = None,
        site: str | None = None,
        actor: str | None = None,
        role: str | None = None,
        event: str | None = None,
        field: str | None = None,
        since: str | None = Query(None, alias="from"),
        until: str | None = Query(None, alias="to"),
        reason: str | None = None,
        late: bool | None = None,
        sort: str = "index",
        cursor: str | None = None,
        limit: int = Query(100, ge=1, le=MAX_ROWS),
        format: str | None = None,
    ) -> Response:
        """One row per changed data point; JSON by page, NDJSON and CSV whole."""
        stated_times(**{"from": since, "to": until})
        filters = audit_trail.Filters(
            subject=subject,
            site=site,
            actor=actor,
            role=role,
            event=event,
            field=field,
            since=since,
            until=until,
            reason=reason,
            late=late,
            sort=sort,
        )
        kind = _format(request, format)
        if kind == "json":
            return shown(study, "audit_trail", when, lambda r: audit_trail.page(r, filters, cursor, limit))
        with ExitStack() as stack:
            reader = stack.enter_context(reading(study, "audit_trail", when))
            write = audit_trail.csv if kind == "csv" else audit_trail.ndjson
            lines = write(reader, filters)  # a refusal comes before the answer begins
            parts = _held(stack.pop_all(), lines)
        media = "text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson"
        return StreamingResponse(parts, headers=_headers(reader), media_type=media)

    return router


def _format(request: Request, wanted: str | None, possible: tuple[str, ...] = ("json", "ndjson", "csv")) -> str:
    accept = request.headers.get("accept", "")
    kind = wanted or ("csv" if "text/csv" in accept else "ndjson" if "application/x-ndjson" in accept else "json")
    if kind not in possible:
        raise BadRequest(f"format is one of {', '.join(possible)}, not {kind[:20]!r}")
    return kind


def _held(stack: ExitStack, parts: Iterator[bytes]) -> Iterator[bytes]:
    """Keep the reader's snapshot open while its answer is being sent."""
    with stack:
        yield from parts


def _headers(reader: Reader) -> dict[str, str]:
    return {
        "Ledger-Index": str(reader.size),
        "Ledger-Root": reader.root,
        "Projection-Version": str(reader.projection_version),
    }


def _protocol(reader: Reader) -> dict[str, Any]:
    study = reader.study
    resolved = study_rules.protocol_for(study)
    newest = study.records.last("ProtocolAdopted")
    return {
        "versions": [
            {"version": version, "index": record.index, "digest": record.body["digest"]}
            for version, record in study_rules.adopted(study).items()
        ],
        "sites": {
            record.sub.partition("/")[2]: record.body["version"]
            for record in study.records.of("ProtocolActivatedAtSite")
        },
        "interpretations": {
            name: {"option": record.body["option"], "parameters": record.body.get("parameters"), "index": record.index}
            for name, record in study_rules.interpretations(study).items()
        },
        "open": [{"id": a.id, "text": a.text, "blocks": list(a.blocks)} for a in resolved.open] if resolved else [],
        "file": newest.content.get("file") if newest else None,
        "cut": reader.cut(),
    }
