"""Two server processes write one study at the same time, and nobody can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from api.cli.serve import server_process
from api.client.http import Recorded as Line
from api.client.http import StudyClient
from ledger.application import Ledger
from ledger.settings import Settings
from tests.scenario.checker import check_everything
from tests.scenario.served import SD_JWT, Sender, Town, at_once, trial_over_http
from tests.scenario.simulator import Simulator, Subject, Told

pytestmark = pytest.mark.xdist_group("servers")

EVENTS = 5_000
TO_BOTH = EVENTS // 5
ONE_BY_ONE = 1_200
IN_A_REQUEST = 250
SEATS = 3
APPLICANTS = 12


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Two servers of one home."""
    with ExitStack() as stack:
        servers = [stack.enter_context(server_process(tmp_path / "home")) for _ in range(2)]
        yield Town([server.url for server in servers])


@pytest.fixture
def sim(town: Town, tmp_path: Path) -> Simulator:
    """A trial with an open cohort, whose people speak to the first server."""
    sim = trial_over_http(town.urls[0], tmp_path / "home")
    sim.open()
    sim.open_cohort("LOW")
    return sim


def results(sim: Simulator, subjects: list[Subject], count: int) -> list[tuple[str, str]]:
    """Signed laboratory results, spread over the subjects."""
    by = sim.cast.analyser
    return [
        (
            "LabResultReported",
            sim.sign(by, "LabResultReported", subjects[n % len(subjects)], analyte="ferritin", value=str(n)),
        )
        for n in range(count)
    ]


def send_lines(url: str, study: str, texts: list[tuple[str, str]], told: list[Told]) -> None:
    """Send statements as NDJSON, some hundred a request."""
    client = StudyClient(url, study)
    for start in range(0, len(texts), IN_A_REQUEST):
        part = texts[start : start + IN_A_REQUEST]
        answers = list(client.append_many(text for _, text in part))
        assert len(answers) == len(part)
        for (event, text), answer in zip(part, answers, strict=True):
            assert isinstance(answer, Line), answer
            told.append(Told(event, text, answer))
    client.close()


def test_five_thousand_events_a_fifth_sent_twice_and_twelve_people_racing_for_three_seats(
    town: Town, sim: Simulator, tmp_path: Path
) -> None:
    patients = [sim.admit(sim.subject(f"{n:03}")) for n in range(APPLICANTS)]
    cut = sim.door.cut()
    investigator = sim.staff().investigator
    race = [
        ("SubjectEnrolled", sim.sign(investigator, "SubjectEnrolled", person, cut, cohort="LOW")) for person in patients
    ]
    facts = results(sim, patients, EVENTS)
    both, rest = facts[:TO_BOTH], facts[TO_BOTH:]
    singles, bulk = rest[:ONE_BY_ONE], rest[ONE_BY_ONE:]
    half = len(bulk) // 2

    sender, lines = Sender(town), [[], [], [], []]
    tasks = [partial(sender.send, race[n::4], n) for n in range(4)]
    tasks += [partial(sender.send, singles[n::8], n) for n in range(8)]
    tasks += [
        partial(send_lines, town.urls[0], sim.plan.study, both, lines[0]),
        partial(send_lines, town.urls[1], sim.plan.study, both[::-1], lines[1]),
        partial(send_lines, town.urls[0], sim.plan.study, bulk[:half], lines[2]),
        partial(send_lines, town.urls[1], sim.plan.study, bulk[half:], lines[3]),
    ]
    at_once(tasks)

    enrolled = [told for told in sender.told if told.event == "SubjectEnrolled"]
    assert len(enrolled) == SEATS
    assert Counter(problem["rule"] for problem in sender.refusals) == {"COHORT-3": APPLICANTS - SEATS}
    for problem in sender.refusals:
        assert sorted(problem["indexes"]) == sorted(told.index for told in enrolled)
    there, again = ({told.jti: told.answer for told in part} for part in lines[:2])
    assert {jti: answer.index for jti, answer in there.items()} == {jti: a.index for jti, a in again.items()}
    assert all(there[jti].repeat != again[jti].repeat for jti in there), "each was recorded by exactly one of the two"
    told = [*sim.acknowledged, *sender.told, *(one for part in lines for one in part)]
    with Ledger(Settings(tmp_path / "home")) as ledger:
        check_everything(ledger, told)
        (size,) = (ledger.entries(study, 0, 1)[1].size for study in ledger.studies())
    assert size == len({one.jti for one in told}) == len(sim.acknowledged) + EVENTS + SEATS


def test_a_repeat_at_the_other_server_gives_the_index_and_other_bytes_are_refused(
    town: Town, sim: Simulator, tmp_path: Path
) -> None:
    ada = sim.subject("001")
    told = sim.screen(ada)
    other = httpx.Client(base_url=town.urls[1])
    address = f"/v1/studies/{sim.plan.study}/events"

    again = other.post(address, content=told.text, headers=SD_JWT)
    assert (again.status_code, again.json()["index"], again.json()["repeat"]) == (200, told.index, True)
    assert again.json()["leaf_hash"]
    assert again.json()["receipt"]

    forged = sim.sign(sim.staff().coordinator, "SubjectScreened", ada, number="666", claims={"jti": told.jti})
    refused = other.post(address, content=forged, headers=SD_JWT)
    assert (refused.status_code, refused.json()["rule"]) == (409, "IDEMPOTENCY-1")
    assert refused.json()["indexes"] == [told.index]
    other.close()
    with Ledger(Settings(tmp_path / "home")) as ledger:
        check_everything(ledger, sim.acknowledged)
