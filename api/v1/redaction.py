"""Redactions over HTTP: the list of them, and the search for copies of what is to be redacted.

The orders themselves are statements and go the normal way: POST /v1/studies/{study}/events.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.v1.problems import BadRequest
from api.v1.reading import answered, known_parameters, state_of, study_id
from ledger.application import Ledger
from ledger.domain.redaction import SHORTEST_QUOTE
from ledger.redaction.listing import listed
from ledger.redaction.searching import MAX_FOUND, search, search_refusals

LONGEST_TEXT = 10_000
"""Characters of a text to look for: no field holds more."""


class Sought(BaseModel):
    """What is looked for: a literal text, among everything or what is about one subject (its UUID)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(min_length=SHORTEST_QUOTE, max_length=LONGEST_TEXT)
    subject: str | None = Field(default=None, max_length=100)


def redaction_router(ledger: Ledger) -> APIRouter:
    """The routes below /v1/studies/{study}/redactions."""
    router = APIRouter(prefix="/v1/studies/{study}", tags=["redaction"], dependencies=[Depends(known_parameters)])

    @router.get("/redactions")
    def redacted(study: str, as_of: str | None = None, wait_for: int | None = Query(None, ge=0)) -> Response:
        """Orders of redaction: when, by whom, countersigned by whom, legal basis, reason, records and fields, and
        when what they name was destroyed, or what that waits for."""
        state = state_of(ledger, study, as_of, wait_for)
        registered = ledger.redactions.register(study).read().redacted if as_of is None else ()
        with ledger.database.snapshot() as connection:
            found = listed(connection, study, state.size, registered)
        return answered({"redactions": found, "size": state.size}, state)

    @router.post("/redactions/search")
    def sought(study: str, body: Sought) -> Response:
        """Fields that hold a text, each with the digest that an order of redaction names; the text itself is not
        in the answer. What stands in the clear has no digest and cannot be redacted."""
        if not body.text.strip():
            raise BadRequest("`text` is blank")
        state = state_of(ledger, study_id(study), None, None)
        subject = _subject(body.subject)
        with ledger.database.connection() as connection:
            found = [one.as_dict() for one in search(connection, study, [body.text], state.size, subject)]
            refusals = search_refusals(connection, study, [body.text])
        answer: dict[str, Any] = {"found": found, "refusals": refusals, "size": state.size}
        return answered({**answer, "complete": len(found) < MAX_FOUND}, state)

    return router


def _subject(named: str | None) -> UUID | None:
    try:
        return None if named is None else UUID(named)
    except ValueError:
        because = "`subject` is not a UUID; GET /v1/studies/{study}/subjects lists the UUID of each number"
        raise BadRequest(because) from None
