"""Whatever is well formed is recorded or refused with a reason; rules never fail on it, and say the same twice.

Facts with any of their fields, in any order, about anybody; decisions, corrections, voids and redactions among
them. Nothing here makes sense as a trial.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ledger.domain import basis
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.model import EventModel
from ledger.domain.record import Record
from ledger.domain.refusals import Refusal
from tests.unit.domain.conftest import Trial

ANYTHING: tuple[Any, ...] = (
    True,
    False,
    1,
    2,
    3,
    5,
    "0",
    "-1.5",
    "1.5",
    "4.5",
    "70",
    "2024",
    "2024-03",
    "2024-03-04",
    "2024-03-04T09:00",
    "2024-03-06T09:00:00+08:00",
    "1850-01-01T00:00+14:00",
    "2199-12-31T23:59:59.999999-12:00",
    "patient",
    "healthy-control",
    "female",
    "male",
    "not done",
    "unknown",
    "optional",
    "initial",
    "ICF",
    "en",
    "LOW",
    "HIGH",
    "MAIN",
    "U1",
    "U2",
    "S1",
    "ferritin",
    "hcg",
    "negative",
    "mg/kg",
    "ug/L",
    "FERR",
    "FERR.1",
    "smoking",
    "asthma",
    "NORTH",
    "SOUTH",
    "registrar",
    "fatal",
    "serious",
    "not verified",
    "investigator",
    "sponsor",
    "escalate",
    "expand-cohort",
    "complete",
    "stop",
    "completed",
    "prohibited",
    "<",
    "~",
    "unexpected",
    "00000000-0000-4000-8000-000000000000",
    "something in words",
    ["treatment"],
    ["data", "contact"],
    ["death"],
    ["Kim", "Lee"],
    ["00000000-0000-4000-8000-000000000000"],
    {"other_reason": True},
    {"now": True},
    {"now": "perhaps", "kg": "70"},
    {"I1": {"verdict": "not met"}, "E1": {"verdict": "met"}},
    {"low": "1", "high": "2", "unit": "ug/L"},
    {"system": "CTCAE", "version": "5.0"},
    {"system": "x", "code": "y"},
)
ABOUT = ("subject/0b6fb8e5-2d0f-4b5c-9d57-8f1c1c5f2d10", "subject/1b6fb8e5-2d0f-4b5c-9d57-8f1c1c5f2d11")
NAMES = {"product": "product/U1", "cohort": "cohort/LOW", "study": "study"}
ROOMS = (
    "adverse_event",
    "cohort",
    "consent",
    "deviation",
    "eligibility",
    "infusion",
    "lab",
    "product",
    "specimen",
    "subject",
)
MODELS = [model for model in CATALOGUE if model.__module__.rpartition(".")[2] in ROOMS]


@cache
def fitting(model: type[EventModel], name: str) -> tuple[Any, ...]:
    """What among anything a field may hold."""
    info = model.model_fields[name]
    annotated: Any = info.annotation
    for mark in info.metadata:
        annotated = __import__("typing").Annotated[annotated, mark]
    adapter = TypeAdapter(annotated, config=ConfigDict(strict=True))
    found = []
    for value in ANYTHING:
        try:
            adapter.validate_python(value)
        except ValidationError:
            continue
        found.append(value)
    return tuple(found)


def say_anything(t: Trial, dice: random.Random, said: list[Record]) -> None:
    """One statement of any event about anything, or an act on any record; a refusal is an answer too."""
    try:
        if said and dice.random() < 0.25:
            said.append(act(t, dice, dice.choice(said)))
            return
        model = dice.choice(MODELS)
        about = dice.choice(ABOUT) if "subject" in model.about else NAMES[model.about[0]]
        fields: dict[str, Any] = {}
        for name, info in model.model_fields.items():
            if (info.is_required() or dice.random() < 0.6) and fitting(model, name):
                fields[name] = dice.choice(fitting(model, name))
        mode = {"mode": "transcribed"} if dice.random() < 0.2 else {}
        t.later(hours=dice.choice((0, 1, 30, 400)))
        said.append(t.say(model.__name__, about, **fields, **mode))
    except Refusal as refusal:
        assert refusal.because and refusal.as_dict()["remedy"]


def act(t: Trial, dice: random.Random, on: Record) -> Record:
    """A correction, void or reversal of a record, whichever fits it; now and then a redaction."""
    if on.content and dice.random() < 0.3:
        on.content.pop(dice.choice(sorted(on.content)))
    if on.kind == "decision":
        return t.reverse(on)
    if on.kind == "fact" and dice.random() < 0.6:
        model = CATALOGUE[on.event]
        name = dice.choice(sorted(model.disclosed_fields()))
        values = fitting(model, name)
        if values:
            return t.correct(on, name, dice.choice((*values, None)))
    return t.void(on)


@pytest.mark.parametrize("seed", range(40))
def test_rules_bear_whatever_is_well_formed(seed: int) -> None:
    dice = random.Random(seed)
    trial = Trial().open(readings=seed % 3 != 0)
    said: list[Record] = []
    for _ in range(60):
        say_anything(trial, dice, said)
    for label in (*trial.subjects, None):
        first, second = trial.findings(label), trial.findings(label)
        assert first == second
        for finding in first:
            assert finding.because and all(0 <= index < trial.size for index in finding.indexes)
    for decision in said:
        if decision.kind == "decision":
            basis.basis_changed(trial.study, list(trial.subjects.values()), decision)


def test_every_fact_of_these_rooms_is_said_in_some_run() -> None:
    dice = random.Random(7)
    trial = Trial().open()
    said: list[Record] = []
    for _ in range(1500):
        say_anything(trial, dice, said)
    facts = {model.__name__ for model in MODELS if model.kind == "fact"}
    assert facts <= {record.event for record in said}
