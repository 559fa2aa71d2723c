"""`make bench-large`: reading at 1,000,000 events against reading at 10,000, and what the server holds in memory.

Two ledgers of the seed trial, each served by a server of its own on this machine, with every subject copied as often as
it takes (`multiplied` says what is copied and what is not). Requests go to the two in turn, so that whatever else the
machine does weighs on both alike; the same original is asked for in both, each time in another of its copies. In both:
- a patient is as large as its original: the page of any subject, chosen at random among all;
- the cohorts have the seats that they have in the original, while the study has a hundred times the subjects: it is the
  same page, of which only the counts of subjects grow;
- a page of the audit trail is 100 lines from an index chosen at random.
A number on the command line stands for the 1,000,000.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psycopg
from psycopg import sql

from api.cli.serve import Served, server_process
from ledger.application import Ledger
from ledger.domain.aggregate import study_aggregate_id
from ledger.settings import Settings
from projections.definitions import NAMES
from projections.engine import operations
from tests.performance.multiplied import SQL, multiply, play, unfollow
from tests.performance.printing import line, quiet
from tests.performance.replay import WORKERS, held_mib

SMALL, LARGE = 10_000, 1_000_000
ASKED = {"patient": 300, "audit trail": 300, "cohorts": 120}
WARMING = 12
"""Requests that are not counted: the first of a kind loads what all need."""
BUDGET_MIB, AIM_MIB = 300, 200
PLANS = {"audit_trail": ("plan_of_a_page", "entries"), "patient": ("plan_of_a_patient", "records")}


@dataclass(frozen=True)
class Place:
    """A served ledger: its study, how many events, its subjects in order of their first events, originals first."""

    study: str
    events: int
    subjects: tuple[str, ...]
    originals: int
    home: Path
    plans: tuple[str, ...]


def prepare(home: Path, events: int) -> Place:
    """Play the course, multiply it, build every projection of it."""
    study = quiet(f"the seed trial's course, for {events:,} events", lambda: play(home))
    with Ledger(Settings(home)) as ledger:
        unfollow(ledger)
        originals = len(_subjects(ledger, study))
        size = quiet("  multiplying", lambda: multiply(ledger, study, events))
        with ledger.projector_database() as database:
            quiet("  building", lambda: operations.rebuild(database, study, NAMES, WORKERS))
            found = operations.standing(database, study)
        plans = _plans(ledger, study, size, {one["name"]: one["schema"] for one in found})
        return Place(study, size, _subjects(ledger, study), originals, home, plans)


def _subjects(ledger: Ledger, study: str) -> tuple[str, ...]:
    with psycopg.connect(ledger.urls.admin) as admin:
        values = {"study": study, "own": study_aggregate_id(ledger.origin(study))}
        return tuple(str(id) for (id,) in admin.execute(SQL["subjects"], values).fetchall())


def _plans(ledger: Ledger, study: str, size: int, schemas: dict[str, str]) -> tuple[str, ...]:
    """How the database answers a page of the trail from the middle, and the rows of one patient."""
    lines: list[str] = []
    values = {"study": study, "since": size // 2, "size": size, "partition": _subjects(ledger, study)[-1]}
    with psycopg.connect(ledger.urls.admin) as admin:
        for name, (statement, table) in PLANS.items():
            query = sql.SQL(SQL[statement]).format(table=sql.Identifier(schemas[name], table))
            lines += [f"plan of {statement.removeprefix('plan_of_').replace('_', ' ')} ({name}):"]
            lines += [f"    {step}" for (step,) in admin.execute(query, values).fetchall()]
    return tuple(lines)


def measure(places: tuple[Place, Place]) -> None:
    """Ask both in turn, and print."""
    with ExitStack() as stack:
        served = [stack.enter_context(server_process(place.home)) for place in places]
        clients = [stack.enter_context(httpx.Client(base_url=one.url, timeout=60.0)) for one in served]
        for name, path in PATHS.items():
            chance = random.Random(name)
            times = quiet(name, partial(_asked, places, clients, path, ASKED[name], chance))
            _told(name, places, times)
        _memory(served[1], places[1])


def _asked(
    places: tuple[Place, Place],
    clients: list[httpx.Client],
    path: Callable[[Place, float, int], str],
    count: int,
    chance: random.Random,
) -> tuple[list[float], list[float]]:
    """Milliseconds of each answer, of the small one and of the large one."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(count + WARMING):
        where, which = chance.random(), chance.randrange(10_000)
        for place, client, taken in zip(places, clients, times, strict=True):
            url = f"/v1/studies/{place.study}/{path(place, where, which)}"
            start = time.perf_counter()
            client.get(url).raise_for_status()
            if number >= WARMING:
                taken.append(1_000 * (time.perf_counter() - start))
    return times


def _patient(place: Place, where: float, which: int) -> str:
    """The same original, in the copy that lies this far into the study."""
    copies = len(place.subjects) // place.originals
    return f"subjects/{place.subjects[int(where * copies) * place.originals + which % place.originals]}"


def _trail(place: Place, where: float, which: int) -> str:
    return f"audit-trail?limit=100&from={int(where * (place.events - 100))}"


def _cohorts(place: Place, where: float, which: int) -> str:
    return "cohorts"


PATHS: dict[str, Callable[[Place, float, int], str]] = {
    "patient": _patient,
    "audit trail": _trail,
    "cohorts": _cohorts,
}


def _told(name: str, places: tuple[Place, Place], times: tuple[list[float], list[float]]) -> None:
    small, large = (sorted(taken) for taken in times)

    def at(taken: list[float], share: float) -> float:
        return taken[min(len(taken) - 1, int(share * len(taken)))]

    ratio = at(large, 0.99) / at(small, 0.99)
    verdict = "aim" if ratio <= 1.1 else "met" if ratio <= 1.5 else "MISSED"
    figures = " ".join(f"p{share * 100:.0f} {at(small, share):.1f}/{at(large, share):.1f}" for share in (0.5, 0.99))
    sizes = "/".join(f"{place.events:,}" for place in places)
    print(
        f"{f'{name}, ms at {sizes} events':52} {figures:>34} {ratio:6.2f}x  must 1.5, aim 1.1    {verdict}", flush=True
    )


def _memory(served: Served, place: Place) -> None:
    held = held_mib(served.process.pid)
    verdict = "aim" if held <= AIM_MIB else "met" if held <= BUDGET_MIB else "MISSED"
    figure = f"{held:.0f} MiB"
    print(f"{f'memory of the server at {place.events:,} events':52} {figure:>34} {'':7}  must 300, aim 200   {verdict}")
    line("  its follower's", f"{sum(map(held_mib, _children(served.process.pid))):.0f} MiB", None, None, None)
    print("\n".join(place.plans))


def _children(pid: int) -> list[int]:
    """The followers among a process's children."""
    try:
        children = Path(f"/proc/{pid}/task").glob("*/children")
        found = [int(child) for path in children for child in path.read_text().split()]
        return [one for one in found if b"projections.engine.follow" in Path(f"/proc/{one}/cmdline").read_bytes()]
    except OSError:
        return []


if __name__ == "__main__":
    large = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        measure((prepare(Path(one), SMALL), prepare(Path(other), large)))
