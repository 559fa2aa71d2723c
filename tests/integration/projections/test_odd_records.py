"""Every page is served whatever well-formed records a study holds: the oddest values that the forms allow."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import TypeAdapter, ValidationError

from ledger.domain.catalogue import CATALOGUE
from ledger.domain.model import EventModel
from ledger.domain.study import b64_sha256
from projections.audit_trail import view as audit
from projections.cohort import view as cohort
from projections.engine.reading import Reader
from projections.outcomes import view as outcomes
from projections.patient import view as patient
from projections.safety import view as safety
from projections.schedule import view as schedule
from tests.integration.projections.book import Book, ref, subject_id
from tests.integration.projections.conftest import Read
from tests.scenario.plans import COAST

ODD: list[Any] = [
    *(None, True, False, 0, 1, 3, 5, 1_000_000),
    *("0", "-1", "0.000000000001", "999999999999999999.999999999999", "1", "x", "é 漢 \U0001f600"),
    *("LOW", "hcg", "ferritin", "FERR", "positive", "negative", "ug/L", "DOSE1", "FERR.9", "ICF", "asthma", "smoking"),
    *("0001", "1900-02", "9999-12-31", "9999-12-31T23:59:59.999999Z", "2030-01-01", "2030-01-01T00:00"),
    *("2030-01-01T09:00:00+14:00", "2030-01-01T24:00:00Z", "done", "not done", "unknown", "patient", "healthy-control"),
    *("female", "male", "rescue", "fatal", "initial", "optional", "completed", "stopped", "investigator", "sponsor"),
    *("subject", "met", "expected", "unexpected", "7 days", "escalate"),
    *([], ["x"], ["treatment", "data"], ["death", "hospitalisation"], [{"level": "PT", "term": "t"}], ["P-1"]),
    *([{"started_at": "2030-01-01T00:00"}], {}, {"now": True, "other": None}, {"other_reason": False}, {"a": "b"}),
    *({"I1": {"verdict": "met"}, "NO": {"verdict": "unknown"}}, {"low": "9", "high": "1"}, {"kind": "k"}),
    *({"system": "s", "code": "c"}, {"digest": "A" * 43}, {"code": "ARM", "name": None}),
]
"""Values of every kind; a field gets those that its form allows."""


@cache
def form_of(model: type[EventModel], name: str) -> TypeAdapter[Any]:
    """The form of one field."""
    info = model.model_fields[name]
    annotated: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return TypeAdapter(annotated)


def allowed(model: type[EventModel], name: str, jtis: list[str]) -> list[Any]:
    """The odd values that a field of an event may have."""
    found = []
    for value in [*ODD, *jtis[-3:]]:
        try:
            form_of(model, name).validate_python(value, strict=True)
        except ValidationError:
            continue
        found.append(value)
    return found


def tell_something(book: Book, model: type[EventModel], who: int, chance: random.Random) -> None:
    """One record of an event, each field filled with something that it allows, or not at all."""
    jtis = [one.jti for one in book.statements if one.sub == f"subject/{subject_id(who)}"]
    content, body = {}, {}
    for name in sorted(model.model_fields):
        values = allowed(model, name, jtis)
        if values and (model.model_fields[name].is_required() or chance.random() < 0.6):
            (body if name in model.clear_fields() else content)[name] = chance.choice(values)
    first = next(one for one in book.statements if one.sub == f"subject/{subject_id(who)}")
    if "record" in model.model_fields:
        body["record"] = ref(first)
    if "records" in model.model_fields:
        body["records"] = [ref(first)]
    claims: dict[str, Any] = {"mode": "transcribed"} if chance.random() < 0.3 else {}
    if model.target is not None:
        named = chance.choice([one for one in book.statements if one.sub == first.sub])
        claims[model.target] = ref(named)
        if model.target == "corrects":
            field = chance.choice(sorted(named.content) or ["comment"])
            claims["corrects"] = {**ref(named), "field": field}
            if named.event in CATALOGUE and field in CATALOGUE[named.event].model_fields:
                content["value"] = chance.choice(allowed(CATALOGUE[named.event], field, jtis) or [None])
    if model.kind == "decision":
        claims["cut"] = {"size": book.size, "root": "A" * 43}
    roles = sorted(model.recorders)
    book.tell(model.__name__, who, role=chance.choice(roles), claims=claims, body=body or None, **content)


def pages(reader: Callable[[str], Any]) -> dict[str, Any]:
    """Every page of the study."""
    found: dict[str, Any] = {}

    def show(name: str, view: Callable[[Reader], Any]) -> None:
        with reader(name) as opened:
            found[view.__name__] = view(opened)

    show("cohort", cohort.cohorts)
    show("schedule", schedule.schedule)
    show("safety", safety.safety)
    show("outcomes", outcomes.outcomes)
    show("patient", patient.findings)
    show("patient", patient.subjects)
    for who in (1, 2):
        with reader("patient") as opened:
            found[f"subject {who}"] = patient.subject(opened, subject_id(who))
    with reader("audit_trail") as opened:
        found["trail"] = list(audit.rows(opened, audit.Filters()))
        found["file"] = b"".join(audit.csv(opened, audit.Filters())).decode()
    return found


@pytest.mark.parametrize("seed", range(4))
def test_every_page_is_served_live_and_as_of_any_size(
    book: Book, follow: Callable[[], int], read: Read, seed: int
) -> None:
    chance = random.Random(seed)
    text = COAST.protocol
    book.tell("SiteActivated", "site/S1", "spo", "sponsor", "S1", {"time_zone": "Asia/Shanghai"})
    adopted = {"version": "1.0", "digest": b64_sha256(text.encode())}
    book.tell("ProtocolAdopted", "study", "spo", "sponsor", None, adopted, file=text)
    book.tell("ProtocolActivatedAtSite", "site/S1", "spo", "sponsor", "S1", {"version": "1.0"})
    for name in ("LOW", "HIGH"):
        book.tell("CohortOpened", f"cohort/{name}", site=None, claims={"cut": {"size": 1, "root": "A" * 43}})
    for who in (1, 2):
        book.tell("SubjectScreened", who, number=f"P-{who}", population="patient", sex="female")
        book.tell("SubjectEnrolled", who, claims={"cut": {"size": 1, "root": "A" * 43}}, cohort="LOW")
        book.tell("InfusionGiven", who, number=1, started_at="2030-01-01T09:00", outcome="completed")
    models = [model for model in CATALOGUE if "subject" in model.about and model.__name__ != "FieldsRedacted"]
    for model in chance.sample(models, len(models)):
        for who in (1, 2):
            tell_something(book, model, who, chance)
    book.sign()
    follow()
    for as_of in (None, book.size - 1, book.size // 2, 12):
        found = pages(lambda name, as_of=as_of: read(name, as_of=as_of))  # type: ignore[misc]
        assert json.loads(msgspec.json.encode(found)), "what is shown is JSON"
