"""The catalogue: every event that can stand in a ledger, with its model, kind, recorders and rules.

Names and meaning of an event never change; a new version of one has an upcaster from the version before.
What is refused here is refused for its form alone: an unknown event, a version newer than this code, a field
that the event does not have or that has the wrong form, a field in the clear that must be disclosed.

 CATALOGUE-1  the event exists
 CATALOGUE-2  its version is one that this release knows
 CATALOGUE-3  its fields have their form, and stand in the clear or disclosed as the catalogue says
CATALOGUE-4 to CATALOGUE-6 need more than the form alone (`decide.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from ledger.domain import (
    account,
    adverse_event,
    cohort,
    consent,
    correction,
    delegation,
    deviation,
    eligibility,
    infusion,
    lab,
    oversight,
    product,
    query,
    redaction,
    signature_key,
    skipping,
    specimen,
    study,
    subject,
)
from ledger.domain.model import EventModel
from ledger.domain.refusals import Refusal
from ledger.domain.roles import SITE_STAFF, SPONSOR_SIDE
from ledger.signing.statement import Statement


class UnknownEvent(Refusal):
    """The catalogue has no such event."""

    rule, status = "CATALOGUE-1", 400
    remedy = "Use a name from GET /v1/studies/{study}/catalogue."


class NewerVersion(Refusal):
    """The statement uses a version of the event that this release does not know."""

    rule, status = "CATALOGUE-2", 400
    remedy = "Use a version that the catalogue lists, or upgrade the ledger first."


class WrongForm(Refusal):
    """The statement's fields do not have the form that its event has in the catalogue."""

    rule, status = "CATALOGUE-3", 400
    remedy = "Compare the statement with the event's JSON Schema in the catalogue, mend it and sign it again."


CORRECTING = frozenset({"EntryCorrected", "EntryVoided"})


class Catalogue:
    """Events by name."""

    def __init__(self, models: tuple[type[EventModel], ...]) -> None:
        self._models = {model.__name__: model for model in models}
        if len(self._models) != len(models):
            raise ValueError("an event stands twice in the catalogue")

    def __iter__(self) -> Iterator[type[EventModel]]:
        return iter(self._models.values())

    def __contains__(self, event: str) -> bool:
        return event in self._models

    def __getitem__(self, event: str) -> type[EventModel]:
        """The model of an event; raises UnknownEvent."""
        model = self._models.get(event)
        if model is None:
            raise UnknownEvent(f"there is no event {event!r}")
        return model

    def check_form(self, statement: Statement) -> type[EventModel]:
        """Check that a statement has the form of its event; returns the model, raises a Refusal (400)."""
        model = self[statement.event]
        if not 1 <= statement.version <= model.v:
            raise NewerVersion(f"{statement.event} is known up to version {model.v}, not {statement.version}")
        misplaced = sorted(set(statement.body) - model.clear_fields())
        if misplaced:
            raise WrongForm(f"{', '.join(misplaced)}: not fields that {statement.event} has in `body`")
        misplaced = sorted(set(statement.content) - model.disclosed_fields())
        if misplaced:
            raise WrongForm(f"{', '.join(misplaced)}: not fields that {statement.event} discloses")
        if statement.version == model.v:
            try:
                model.model_validate({**statement.body, **statement.content})
            except ValidationError as error:
                raise WrongForm(_in_words(statement.event, error)) from None
        return model

    def current(self, statement: Statement) -> tuple[type[EventModel], dict[str, Any], dict[str, Any]]:
        """Model, body and content of a stored statement, upcast to the current version.

        History is never validated again with today's model; a version newer than the code is an error.
        """
        model = self[statement.event]
        body, content = dict(statement.body), dict(statement.content)
        if statement.version > model.v:
            raise NewerVersion(f"{statement.event} version {statement.version} was written by a newer release")
        for version in range(statement.version, model.v):
            model.upcast(body, content, version)
        return model, body, content

    def countersigners(self, claims: Mapping[str, Any], registrars_required: int = 1) -> frozenset[str]:
        """Roles of which one must countersign before this statement changes anything; empty: none.

        A sponsor's correction or void of site data needs the site (ICH E6(R3) 3.16.1(i)).
        """
        event = claims["event"]
        if event in CORRECTING:
            return SITE_STAFF if claims["role"] in SPONSOR_SIDE and claims.get("site") else frozenset()
        if registrars_required > 1 and claims["role"] == "registrar" and event in delegation.TWO_REGISTRARS:
            return frozenset({"registrar"})
        return self[event].countersigners

    def schema(self, event: str) -> dict[str, Any]:
        """The JSON Schema (2020-12) of an event's fields, each marked clear or disclosed."""
        model = self[event]
        schema = model.model_json_schema()
        for name, part in schema.get("properties", {}).items():
            part["x-stands-in"] = "body" if name in model.clear_fields() else "disclosure"
        return schema


def _in_words(event: str, error: ValidationError) -> str:
    places = (
        ".".join(str(step) for step in problem["loc"]) + ": " + problem["msg"].removeprefix("Value error, ")
        for problem in error.errors(include_url=False, include_input=False, include_context=False)[:5]
    )
    return f"{event}: " + "; ".join(places)


CATALOGUE = Catalogue(
    study.EVENTS
    + delegation.EVENTS
    + signature_key.EVENTS
    + account.EVENTS
    + cohort.EVENTS
    + subject.EVENTS
    + consent.EVENTS
    + eligibility.EVENTS
    + infusion.EVENTS
    + product.EVENTS
    + specimen.EVENTS
    + lab.EVENTS
    + adverse_event.EVENTS
    + deviation.EVENTS
    + correction.EVENTS
    + redaction.EVENTS
    + query.EVENTS
    + oversight.EVENTS
    + skipping.EVENTS
)
