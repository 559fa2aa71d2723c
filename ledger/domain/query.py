"""Queries: a question about a record, answered and closed (ICH E6(R3) 4.2.2(a)(iii)).

open -> answered -> closed; a closed or answered one can be reopened. `answers` names the query's opening.

 QUERY-1  a step fits the query's state: answer an open one, close an open or answered one, reopen one that is not
 QUERY-2  the field that a query is about is one that the record's event has
"""

from __future__ import annotations

from typing import Annotated

from ledger.domain.context import Context
from ledger.domain.correction import named_record, target_is_here, target_record
from ledger.domain.model import CLEAR, Act, EventModel, Label, Target, Text
from ledger.domain.record import CLAIM_FIELDS, Record, Records
from ledger.domain.refusals import Refusal
from ledger.domain.roles import (
    DATA_MANAGER,
    LABORATORY,
    MONITOR,
    PHARMACY,
    SITE_STAFF,
    SPONSOR,
    SPONSOR_SAFETY,
)

ASKERS = DATA_MANAGER | MONITOR | SPONSOR | SPONSOR_SAFETY
_STATES = {
    "QueryOpened": "open",
    "QueryReopened": "open",
    "QueryAnswered": "answered",
    "QueryClosed": "closed",
}


class QueryOpened(Act):
    """A question about a record, or about one field of it."""

    recorders = ASKERS
    words = "opened a query: {question}"
    rules = ("CORRECTION-1", "CORRECTION-2", "QUERY-2")

    record: Annotated[Target, CLEAR]
    field: Annotated[Label | None, CLEAR] = None
    question: Text


class QueryAnswered(Act):
    """The site answers a query."""

    recorders = SITE_STAFF | LABORATORY | PHARMACY
    target = "answers"
    words = "answered a query: {answer}"
    rules = ("CORRECTION-1", "CORRECTION-2", "QUERY-1")

    answer: Text


class QueryClosed(Act):
    """The question is settled."""

    recorders = ASKERS
    target = "answers"
    words = "closed a query"
    rules = ("CORRECTION-1", "CORRECTION-2", "QUERY-1")

    comment: Text | None = None


class QueryReopened(Act):
    """The question is not settled after all."""

    recorders = ASKERS
    target = "answers"
    words = "reopened a query: {reason}"
    rules = ("CORRECTION-1", "CORRECTION-2", "QUERY-1")

    reason: Text


EVENTS: tuple[type[EventModel], ...] = (QueryOpened, QueryAnswered, QueryClosed, QueryReopened)


class QueryNotThere(Refusal):
    """The query is not in a state in which this can be done."""

    rule = "QUERY-1"
    remedy = "Answer an open query, close an open or answered one, reopen an answered or closed one."


class FieldNotThere(Refusal):
    """The record in question has no such field."""

    rule = "QUERY-2"
    remedy = "Name one of the fields listed here, or leave `field` out to ask about the whole record."


def state(records: Records, opened: Record) -> str:
    """`open`, `answered` or `closed`."""
    newest = opened
    for event in ("QueryAnswered", "QueryClosed", "QueryReopened"):
        for record in records.of(event):
            if record.claims["answers"]["jti"] == opened.jti and record.index > newest.index:
                newest = record
    return _STATES[newest.event]


def asks_about_a_record(ctx: Context) -> None:
    """CORRECTION-1, CORRECTION-2, QUERY-2: the record stands under the same subject, at this site, with the field."""
    from ledger.domain.catalogue import CATALOGUE  # the catalogue lists this file's events

    about, name = named_record(ctx, ctx.candidate.body["record"]), ctx.candidate.get("field")
    models = CATALOGUE.versions(about.event)[about.claims["v"] - 1 :]
    fields = sorted(CLAIM_FIELDS.union(*(model.model_fields for model in models)))
    if name is not None and name not in fields:
        raise FieldNotThere(f"{about.event} has no field {name!r}; it has {', '.join(fields)}", (about.index,))


def follows_on(ctx: Context) -> None:
    """QUERY-1: the step fits the query's state."""
    opened = target_record(ctx)
    if opened.event != "QueryOpened":
        raise QueryNotThere(f"{opened.event} is not a query", (opened.index,))
    now = state(ctx.records, opened)
    allowed = {
        "QueryAnswered": ("open",),
        "QueryClosed": ("open", "answered"),
        "QueryReopened": ("answered", "closed"),
    }
    if now not in allowed[ctx.candidate.event]:
        raise QueryNotThere(f"the query is {now}", (opened.index,))


PRECONDITIONS = {
    "QueryOpened": (asks_about_a_record,),
    "QueryAnswered": (target_is_here, follows_on),
    "QueryClosed": (target_is_here, follows_on),
    "QueryReopened": (target_is_here, follows_on),
}
