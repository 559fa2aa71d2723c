"""A redaction reaches every copy that a replay makes: what is half built, what is compared, what stands by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.store.embedded import DatabaseUrls
from projections import definitions
from projections.definitions import DEFINITIONS, known_models
from projections.engine import operations
from projections.engine.runner import Runner
from tests.scenario.fixtures import ledger_of
from tests.scenario.residue import residue_in_tables
from tests.scenario.simulator import Simulator, Told

NAME = "Wilhelmina Synthetic-Person"


class Killed(BaseException):
    """As if the process ended here."""


@pytest.fixture
def named(trial: Simulator) -> Told:
    """A record with a name in it, taken in by the projections."""
    told = trial.screen(trial.subject("001"), comment=f"called herself {NAME}")
    for number in range(2, 6):
        trial.screen(trial.subject(f"00{number}"))
    follow(trial)
    return told


@pytest.fixture
def admin_url(trial: Simulator, embedded_server: DatabaseUrls) -> str:
    """The trial's database, as its administrator sees it."""
    name = str(conninfo_to_dict(ledger_of(trial).urls.app)["dbname"])
    return make_conninfo(embedded_server.admin, dbname=name)


def follow(trial: Simulator) -> None:
    """The projections take in what is signed."""
    with ledger_of(trial).projector_database() as database:
        Runner(database, known_models()).catch_up()


def settle(trial: Simulator) -> list[str | None]:
    """Carry out what is in effect; what each waits for."""
    fingerprints = [model.fingerprint for model in known_models()]
    return [step.waits_for for step in ledger_of(trial).settle_redactions(fingerprints)]


def rebuild(trial: Simulator, **given: Any) -> dict[str, Any]:
    """Rebuild the patients' projection."""
    with ledger_of(trial).projector_database() as database:
        (made,) = operations.rebuild(database, trial.plan.study, ["patient"], 1, by="dm", **given)
        return made


def act(trial: Simulator, name: str) -> dict[str, Any]:
    """Switch, roll back, cancel or retire."""
    with ledger_of(trial).projector_database() as database:
        done: dict[str, Any] = getattr(operations, name)(database, trial.plan.study, "patient", "dm")
        return done


def test_what_is_half_built_is_emptied_and_built_anew(trial: Simulator, named: Told, admin_url: str) -> None:
    def dies(one: Any) -> None:
        if one.step == "build" and one.done == one.total:
            raise Killed

    with pytest.raises(Killed):
        rebuild(trial, progress=dies, part_events=1)
    places = residue_in_tables(admin_url, NAME)
    assert any("_g" in place for place in places), places
    trial.redact({named: ["comment"]})
    follow(trial)
    assert settle(trial) == [None]
    assert residue_in_tables(admin_url, NAME) == []
    made = rebuild(trial)
    assert (made["state"], made["changed"]) == ("ready", False)
    assert residue_in_tables(admin_url, NAME) == []
    act(trial, "cancel")


def test_a_build_of_events_beyond_the_redaction_is_left_to_go_on(trial: Simulator, named: Told, admin_url: str) -> None:
    def dies(one: Any) -> None:
        if one.step == "build" and one.done:
            raise Killed

    trial.redact({named: ["comment"]})
    with pytest.raises(Killed):
        rebuild(trial, progress=dies, part_events=1)
    follow(trial)
    assert settle(trial) == [None]
    seen: list[int] = []
    made = rebuild(trial, progress=lambda one: seen.append(one.done))
    assert seen[0] > 0, "nothing was built anew"
    assert (made["state"], residue_in_tables(admin_url, NAME)) == ("ready", [])
    act(trial, "cancel")


def test_what_stands_by_and_what_differs_is_rid_of_it(
    trial: Simulator, named: Told, admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = next(one for one in known_models() if one.definition.name == "patient")
    with ledger_of(trial).projector_database() as database, database.connection() as conn:
        table = sql.Identifier(live.schema, "records")
        conn.execute(sql.SQL("UPDATE {} SET record = replace(record, 'called', 'named')").format(table))
    made = rebuild(trial)
    assert made["differences"]["unexplained"] == 1
    places = residue_in_tables(admin_url, NAME)
    assert any("_differences" in place for place in places) and any("_g" in place for place in places)
    trial.redact({named: ["comment"]})
    follow(trial)
    assert settle(trial) == [None]
    assert residue_in_tables(admin_url, NAME) == []
    act(trial, "cancel")


def test_the_version_before_a_switch_is_rid_of_it_too(trial: Simulator, named: Told, admin_url: str) -> None:
    rebuild(trial)
    act(trial, "switch")
    trial.redact({named: ["comment"]})
    assert settle(trial) == ["the projections"], "nobody has followed yet"
    follow(trial)
    assert settle(trial) == [None]
    assert residue_in_tables(admin_url, NAME) == []
    act(trial, "roll_back")
    assert residue_in_tables(admin_url, NAME) == []


def test_a_version_that_this_release_does_not_know_is_waited_for_and_then_emptied(
    trial: Simulator, named: Told, admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(trial)
    act(trial, "switch")
    newer = [replace(one, version=9) if one.name == "patient" else one for one in DEFINITIONS]
    monkeypatch.setattr(definitions, "DEFINITIONS", tuple(newer))
    trial.redact({named: ["comment"]})
    follow(trial)
    assert settle(trial) == ["the projections"], "the release that has it may take it in at any moment"
    trial.later(minutes=2)
    assert settle(trial) == [None]
    assert not [place for place in residue_in_tables(admin_url, NAME) if place.startswith("rm_")]
    monkeypatch.undo()
    follow(trial)
