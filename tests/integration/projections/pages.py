"""Pages of a played trial: follows what was told, then reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from projections.definitions import read_models
from projections.engine.reading import Reader, open_reader
from projections.engine.runner import Runner
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator


@contextmanager
def reading(sim: Simulator, name: str, as_of: int | str | None = None) -> Iterator[Reader]:
    """A reader of one projection of a played trial, as far as it was told."""
    ledger = ledger_of(sim)
    with ledger.projector_database() as projector:
        Runner(projector, read_models()).catch_up()
    with open_reader(ledger.database, sim.plan.study, name, as_of, None, sim.clock()) as reader:
        yield reader
