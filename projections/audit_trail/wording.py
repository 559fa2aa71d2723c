"""The audit trail in plain words: labels of events and fields, values as text, one sentence a statement.

An event brings its own words (`words` of its model, with {field} for a field's value). What an act did is said of
the record it names. A field's label is its name in words, unless it is listed here (ICH E6(R3) 4.2.2(c): the trail
is interpretable).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ledger.domain.catalogue import CATALOGUE
from ledger.domain.signature import DISPUTED, SUSPECT, WITHDRAWN

NOT_STATED = "not stated"

IN_DOUBT: Mapping[str, str] = {
    DISPUTED: "The actor disputes having made this statement.",
    WITHDRAWN: "The signature was withdrawn.",
    SUSPECT: "The key that signed it is under suspicion, and the actor has not reaffirmed it.",
}
"""What is said of a statement that does not stand unquestioned."""

_LABELS: Mapping[str, str] = {
    "occurred_at": "when it happened",
    "occurred_at_status": "whether that time is known",
    "captured_at": "when it was captured",
    "transferred_at": "when it was transferred",
    "aware_at": "when it became known",
    "as_transferred": "as transferred",
    "status": "done or not done",
    "status_reason": "why it was not done",
    "late_reason": "why it was recorded late",
    "performed_by": "done by",
    "planned": "planned time point",
    "standing": "standing of the record",
    "kid": "key (thumbprint)",
    "jwk": "key",
    "bank": "cell bank",
    "cells_per_kg": "cells per kg body weight",
    "of": "who is pregnant",
    "by": "on whose wish",
    "text": "result in words",
    "number": "number",
    "document_id": "consent document",
    "given_by": "given by",
    "site": "site",
}

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_FIELD = re.compile(r"\{([a-z_]+)\}")


def event_label(event: str) -> str:
    """`LabResultReported` -> `Lab result reported`."""
    first, *rest = _CAMEL.split(event)
    return " ".join([first, *(word.lower() for word in rest)])


def field_label(field: str) -> str:
    """The label of a field; of a part of one (`items.weight`), both."""
    name, _, part = field.partition(".")
    label = _LABELS.get(name) or name.replace("_", " ")
    return f"{label}: {part}" if part else label


def as_text(value: Any) -> str:
    """A value for reading: yes and no, lists with commas, parts with their names."""
    if value is None:
        return NOT_STATED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')} {as_text(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(as_text(part) for part in value)
    return str(value)


def as_cell(value: Any) -> str | None:
    """A value for a table: text as it is, what has parts as JSON; None stays None."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def sentence(event: str, fields: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """What one statement says. `fields` are its own; `about` is its place: `actor`, `role`, `organisation`,
    `subject_number`, `sub`, and for an act `target_event`, `target_index`, `previous`, `field`."""
    who = f"{about['actor']} ({about['role']}{_of(about.get('organisation'))})"
    special = _SENTENCES.get(event)
    said = special(fields, about) if special is not None else _own_words(event, fields)
    if fields.get("status") in ("not done", "unknown"):
        because = fields.get("status_reason")
        said = f"{event_label(event)}: {fields['status']}" + (f", because: {because}" if because else "")
    place = _place(about)
    if said[:1].islower():
        return f"{who}{place and ', for ' + place + ','} {said}."
    return f"{who} recorded{place and ' for ' + place}: {said}."


def signed(name: str | None, at: str | None, meaning: str) -> str:
    """The manifestation of an electronic signature as a sentence."""
    return f"Signed electronically by {name or 'a name that is not shown'}, {at or 'time not shown'}: {meaning}."


def _of(organisation: Any) -> str:
    return f", {organisation}" if organisation else ""


def _place(about: Mapping[str, Any]) -> str:
    if about.get("subject_number"):
        return f"subject {about['subject_number']}"
    kind, _, name = str(about["sub"]).partition("/")
    if kind == "subject":
        return "a subject without number"
    return f"{kind} {name}" if name else ""


def _own_words(event: str, fields: Mapping[str, Any]) -> str:
    words = CATALOGUE[event].words
    return _FIELD.sub(lambda found: as_text(fields.get(found[1])), words).rstrip(".")


def _result(fields: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    value = " ".join(str(fields[part]) for part in ("comparator", "value", "text", "unit") if fields.get(part))
    return f"Laboratory result {as_text(fields.get('name') or fields.get('analyte'))}: {value or 'no value'}"


def _target(about: Mapping[str, Any]) -> str:
    if about.get("target_index") is None:
        return "a record that does not stand here"
    return f"{event_label(about['target_event'])} (index {about['target_index']})"


def _corrected(fields: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    before = as_text(about.get("previous")) if not about.get("pending") else "the value that stands"
    field = about.get("field")
    return (
        f"corrected {field_label(field) if field else 'a field'} of {_target(about)} from {before} to "
        f"{as_text(fields.get('value'))}; reason: {as_text(fields.get('reason'))}{_waiting(about)}"
    )


def _act(verb: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], str]:
    def said(fields: Mapping[str, Any], about: Mapping[str, Any]) -> str:
        reason = fields.get("reason")
        return f"{verb} {_target(about)}" + (f"; reason: {reason}" if reason else "") + _waiting(about)

    return said


def _query(verb: str, text: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], str]:
    def said(fields: Mapping[str, Any], about: Mapping[str, Any]) -> str:
        words = fields.get(text)
        on = f" on {_target(about)}"
        field = fields.get("field")
        named = f", {field_label(field)}" if field else ""
        return f"{verb}{on}{named}" + (f": {words}" if words else "")

    return said


def _waiting(about: Mapping[str, Any]) -> str:
    return "; this waits for a second signature" if about.get("pending") else ""


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], str]] = {
    "LabResultReported": _result,
    "EntryCorrected": _corrected,
    "EntryVoided": _act("voided"),
    "DecisionReversed": _act("reversed"),
    "Countersigned": _act("countersigned"),
    "SignatureWithdrawn": _act("withdrew the signature of"),
    "AttributionDisputed": _act("disputed the attribution of"),
    "QueryOpened": _query("opened a query", "question"),
    "QueryAnswered": _query("answered the query", "answer"),
    "QueryClosed": _query("closed the query", "comment"),
    "QueryReopened": _query("reopened the query", "reason"),
}
