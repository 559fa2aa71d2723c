"""Whatever can be signed can be read: facts of every kind, with every field that its form allows, in any order.

Statements are made from the catalogue alone, by chance: each field gets one of a pool of values that its form
accepts, however little sense it makes. Nobody may fail on them: not the rules, not the findings, not a
projection, not a page as of any state. Refusals are fine; faults are not.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import uuid4

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from api.client.signing import Actor
from ledger.application import Ledger
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.model import EventModel
from ledger.domain.refusals import Refusal
from ledger.signing.errors import Malformed
from ledger.signing.statement import parse
from ledger.writer import Answer
from projections.audit_trail import view as audit_trail
from projections.cohort import view as cohort
from projections.definitions import read_models
from projections.engine.reading import open_reader
from projections.engine.runner import Runner
from projections.outcomes import view as outcomes
from projections.patient import view as patient
from projections.safety import view as safety
from projections.schedule import view as schedule
from tests.scenario.doors import Recorded
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator, Told

STATEMENTS = 400
CORRECTED = ("occurred_at", "site", "value", "started_at", "number", "population", "status", "product", "cohort")
MANIFESTED = ("printed_name", "signed_at")
"""What every signature states of itself, and nothing else may: the signer fills it in."""
SCALARS: tuple[Any, ...] = (
    *("x", "0", "1", "12.5", "-3", "0.000000000001", "999999999999999999", "LOW", "HIGH", "MAIN", "NORTH", "EAST"),
    *("2026", "2026-03", "2026-03-01", "2026-03-02T09:00", "2026-03-02T09:00:00+01:00", "1899-12-31T23:59:59Z"),
    *("0001-01-01", "9999-12-31", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+14:00", "2024-02-29"),
    *("ferritin", "hcg", "positive", "mg/kg", "ug/L", "en", "nl", "ICF", "001", "U1", "FERR", "DOSE1", "asthma"),
    *("smoking", "Ω≈ç√", "a" * 200, "A" * 43, True, False, None, 0, 1, 2, 5, 7, 200, -1, 10**6),
)
SHAPES: tuple[Any, ...] = (
    [],
    ["x"],
    ["x", "y"],
    ["treatment", "data"],
    {"now": True},
    {"now": "x", "score": 3, "none": None},
    {"other_reason": True},
    {"I1": {"verdict": "met"}, "E9": {"verdict": "unknown", "note": "?"}},
    {"other_reason": False, "made_up": True},
    {"system": "s", "code": "c"},
    {"system": "CTCAE", "version": "5.0"},
    {"low": "1", "high": "9", "unit": "ug/L"},
    {"low": "9", "high": "1"},
    {"value": "7", "unit": "ug/L"},
    {"kind": "paper"},
    {"check": "range"},
    {"digest": "A" * 43},
    {"visit_number": "1.5", "planned_day": -3, "study_day": 2},
    {"starts_at": "x"},
    [{"started_at": "2026-03-02T10:00", "ended_at": "2026-03-02T09:00"}],
    [{"level": "PT", "term": "cough"}],
)


@cache
def adapter(model: type[EventModel], name: str) -> TypeAdapter[Any]:
    """What a field's form accepts."""
    info = model.model_fields[name]
    annotated: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    try:
        return TypeAdapter(annotated, config=ConfigDict(strict=True))
    except PydanticUserError:  # a model of its own, which is strict by itself
        return TypeAdapter(annotated)


def fits(model: type[EventModel], name: str, value: Any) -> bool:
    """Whether a field's form accepts a value."""
    try:
        adapter(model, name).validate_python(value)
    except ValidationError:
        return False
    return True


@cache
def accepted(model: type[EventModel], name: str) -> tuple[Any, ...]:
    """The values of the pool that a field's form accepts."""
    pool = (*SCALARS, *SHAPES, *literals(model.model_fields[name].annotation))
    return tuple(value for value in pool if fits(model, name, value))


def literals(annotation: Any) -> list[Any]:
    """The words of a field that takes only some."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for part in get_args(annotation) for word in literals(part)]


class Chance:
    """Makes statements by chance, about a few subjects, on whatever was recorded before."""

    def __init__(self, sim: Simulator, seed: int) -> None:
        self.sim, self.random = sim, random.Random(seed)
        self.subjects = [f"subject/{uuid4()}" for _ in range(4)]
        self.told: list[Told] = [told for told in sim.acknowledged if told.event != "StudyOpened"]
        staff = sim.staff()
        self.actors: dict[str, Actor] = {
            actor.role: actor
            for actor in (
                *sim.cast.study_people(),
                *(staff.pi, staff.investigator, staff.coordinator, staff.pharmacist, staff.technician),
            )
        }
        self.models = [
            m for m in CATALOGUE if m.kind in ("fact", "decision", "act") and m.recorders & self.actors.keys()
        ]

    def about(self, model: type[EventModel]) -> str:
        """Something that the event may be about."""
        kind = self.random.choice(model.about)
        names = {
            "study": "study",
            "site": "site/NORTH",
            "cohort": f"cohort/{self.random.choice(('LOW', 'HIGH', 'MAIN', 'NONE'))}",
            "product": f"product/U{self.random.randint(1, 3)}",
            "actor": "actor/monitor",
            "subject": self.random.choice(self.subjects),
        }
        return names[kind]

    def value(self, model: type[EventModel], name: str) -> Any:
        """A value that the field's form accepts; often the id of something recorded."""
        if self.random.random() < 0.4 and self.told:
            told = self.random.choice(self.told)
            candidates = (told.jti, told.target, [told.target])
            found = next((candidate for candidate in candidates if fits(model, name, candidate)), None)
            if found is not None:
                return found
        pool = accepted(model, name)
        return self.random.choice(pool) if pool else None

    def statement(self) -> str | None:
        """One statement, if chance made one that its form accepts."""
        model = self.random.choice(self.models)
        actor = self.actors[self.random.choice(sorted(model.recorders & self.actors.keys()))]
        density = self.random.random()
        fields = {
            name: self.value(model, name)
            for name, info in model.model_fields.items()
            if info.is_required() or (name not in MANIFESTED and self.random.random() < density)
        }
        about, claims, site = self.about(model), {}, "NORTH"
        if model.target is not None:
            if not self.told:
                return None
            target = self.random.choice(self.told)
            original = parse(target.text)
            about, site = original.sub, original.site or ""
            claims[model.target] = dict(target.target)
            if model.target == "corrects":
                claims["corrects"]["field"] = self.random.choice(
                    ["occurred_at", "site", "value", "started_at", "number"]
                )
        cut = self.sim.door.cut() if model.kind == "decision" else None
        try:
            text = actor.sign(model.__name__, about, fields, site=site or None, cut=cut, **claims)
            CATALOGUE.check_form(parse(text))
        except (Malformed, Refusal):
            return None
        return text


def play(sim: Simulator, seed: int, statements: int) -> int:
    """Send statements made by chance; returns how many were recorded. No fault among the answers."""
    chance, recorded = Chance(sim, seed), 0
    ledger = ledger_of(sim)
    while statements > 0:
        texts = [text for text in (chance.statement() for _ in range(25)) if text is not None]
        statements -= len(texts)
        for text, outcome in zip(texts, ledger.append_many(sim.plan.study, texts), strict=True):
            if isinstance(outcome, Refusal):
                assert outcome.status < 500, (outcome.rule, outcome.because, parse(text).event, parse(text).content)
                assert outcome.remedy
                continue
            assert isinstance(outcome, Answer)
            answer = Recorded(outcome.jti, outcome.index, outcome.receipt, outcome.repeat)
            told = Told(parse(text).event, text, answer)
            chance.told.append(told)
            sim.acknowledged.append(told)
            recorded += 1
        sim.later(hours=chance.random.choice((0, 1, 30)))
    return recorded


VIEWS = {
    "patient": lambda reader: (
        [patient.subject(reader, one["id"]) for one in patient.subjects(reader)["subjects"]],
        patient.findings(reader),
    ),
    "cohort": lambda reader: (cohort.cohorts(reader), cohort.cohort(reader, "LOW")),
    "audit_trail": lambda reader: list(audit_trail.rows(reader, audit_trail.Filters())),
    "schedule": schedule.schedule,
    "safety": safety.safety,
    "outcomes": outcomes.outcomes,
}


def look_at_everything(ledger: Ledger, study: str, sim: Simulator) -> None:
    """Every view, as it is now and as of earlier states."""
    with ledger.projector_database() as database:
        Runner(database, read_models()).catch_up()
    size = len(sim.acknowledged)
    for name, view in VIEWS.items():
        for as_of in (None, size // 2, size - 7):
            with open_reader(ledger.database, study, name, as_of, None, sim.clock()) as reader:
                view(reader)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nobody_fails_on_what_can_be_signed(trial: Simulator, seed: int) -> None:
    people = [trial.admit(trial.subject(f"{n:03}")) for n in range(2)]
    trial.open_cohort("LOW")
    trial.enrol(people[0], "LOW")
    trial.treat(people[0], 1)
    recorded = play(trial, seed, STATEMENTS)
    assert recorded > STATEMENTS // 4, "most of it is refused: the test says little"
    look_at_everything(ledger_of(trial), trial.plan.study, trial)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1_000, 1_040))
def test_nobody_fails_on_more_of_it(trial: Simulator, seed: int) -> None:
    trial.open_cohort("LOW")
    play(trial, seed, 4 * STATEMENTS)
    look_at_everything(ledger_of(trial), trial.plan.study, trial)
