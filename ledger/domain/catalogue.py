"""The catalogue: every event that can stand in a ledger, with its model, kind, recorders and rules.

Names and meaning of an event never change; a new version of one has an upcaster from the version before
(`versions.py`). What is refused here is refused for its form alone: an unknown event, a version newer than this code,
a field that the event does not have in that version or that has the wrong form, one in the clear that must be
disclosed.

 CATALOGUE-1  the event exists
 CATALOGUE-2  its version is one that this release knows
 CATALOGUE-3  its fields have the form of that version, and stand in the clear or disclosed as the catalogue says
 CATALOGUE-7  new statements are in a version that is recorded: the newest or the one before, unless the event says
              otherwise. What was recorded in another one stays, is read, and its repetition is a repeat
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
from ledger.domain.versions import (
    Earlier,
    Models,
    UpcastFailed,
    accepted,
    became,
    chain,
    known,
    unreadable,
    upcast,
    version_of,
)
from ledger.signing.statement import Statement


class UnknownEvent(Refusal):
    """The catalogue has no such event."""

    rule, status = "CATALOGUE-1", 400
    remedy = "Use a name from GET /v1/studies/{study}/catalogue."


class NewerVersion(Refusal):
    """The statement uses a version of the event that this release does not know."""

    rule, status = "CATALOGUE-2", 400
    remedy = "Use a version that the catalogue lists, or upgrade the ledger first."


class VersionNotRecorded(Refusal):
    """The event is not recorded in this version, although this release reads it."""

    rule, status = "CATALOGUE-7", 400
    remedy = "Sign it in a version that the catalogue lists as accepted."


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
        self._versions = {name: chain(model) for name, model in self._models.items()}

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

    def versions(self, event: str) -> Models:
        """The models of an event, version 1 first; raises UnknownEvent."""
        return self._versions[self[event].__name__]

    def accepted(self, event: str) -> tuple[int, ...]:
        """The versions in which new statements of an event are recorded, in order; raises UnknownEvent."""
        return accepted(self.versions(event))

    def signed_as(self, event: str) -> type[EventModel]:
        """The model in which this release itself signs an event: the newest version that is recorded."""
        return self.versions(event)[self.accepted(event)[-1] - 1]

    def check_form(self, statement: Statement) -> type[EventModel]:
        """Check that a statement has the form of its event in its version; returns that version's model, raises a
        Refusal (400)."""
        models = self.versions(statement.event)
        if not 1 <= statement.version <= len(models):
            raise NewerVersion(f"{statement.event} is known up to version {len(models)}, not {statement.version}")
        model = models[statement.version - 1]
        misplaced = sorted(set(statement.body) - model.clear_fields())
        if misplaced:
            raise WrongForm(f"{', '.join(misplaced)}: not fields that {_named(statement, models)} has in `body`")
        misplaced = sorted(set(statement.content) - model.disclosed_fields())
        if misplaced:
            raise WrongForm(f"{', '.join(misplaced)}: not fields that {_named(statement, models)} discloses")
        try:
            model.model_validate({**statement.body, **statement.content})
        except ValidationError as error:
            raise WrongForm(_in_words(_named(statement, models), error)) from None
        return model

    def check_accepted(self, event: str, version: int) -> None:
        """CATALOGUE-7, for what is not recorded yet."""
        accepted = self.accepted(event)
        if version not in accepted:
            shown = " and ".join(map(str, accepted))
            raise VersionNotRecorded(f"{event} is recorded in version {shown}, not {version}")

    def current(
        self, statement: Statement, index: int | None = None
    ) -> tuple[type[EventModel], dict[str, Any], dict[str, Any], Earlier | None]:
        """Model, body and content of a stored statement in the newest version, and what to keep of an earlier one.

        History is never validated again with today's model. Raises EventUnreadable for what a later release recorded,
        UpcastFailed where an upcaster fails; `index` is where the statement stands.
        """
        models = self._versions.get(statement.event)
        if models is None:
            raise unreadable(statement.event, statement.version, None, index)
        known(models, statement.version, index)
        try:
            return (models[-1], *upcast(models, statement.version, statement.body, statement.content))
        except UpcastFailed as failed:
            where = "" if index is None else f" at index {index}"
            because = f"{statement.event} version {statement.version}{where} {failed.because}"
            raise UpcastFailed(because, () if index is None else (index,)) from failed

    def became(self, event: str, version: int, name: str) -> tuple[str, ...]:
        """What a field of a version is called in the newest one (`became`)."""
        return became(self.versions(event), version, name)

    def model_with(self, event: str, name: str, since: int) -> type[EventModel] | None:
        """The model that says which form a field has that is named of a record of version `since`: a field of that
        version or of a later one, by which a correction may name it; None where there is none."""
        models = self.versions(event)
        found = version_of(models, name, since)
        while found is not None and found < len(models) and name in models[found].model_fields:
            found += 1
        return None if found is None else models[found - 1]

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

    def schema(self, event: str, version: int | None = None) -> dict[str, Any]:
        """The JSON Schema (2020-12) of an event's fields in a version (None: the newest), each marked clear or
        disclosed."""
        model = self[event] if version is None else self.versions(event)[version - 1]
        schema = model.model_json_schema()
        for name, part in schema.get("properties", {}).items():
            part["x-stands-in"] = "body" if name in model.clear_fields() else "disclosure"
        return schema


def _named(statement: Statement, models: Models) -> str:
    return statement.event if len(models) == 1 else f"{statement.event} version {statement.version}"


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
