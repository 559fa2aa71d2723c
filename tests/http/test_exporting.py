"""GET of the evidence bundle: the bytes that the command line writes, on record before they are sent."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from ledger.signing.encoding import b64url
from projections.exports.evidence import Wanted, export_evidence
from tests.http.conftest import Server, follow
from tests.http.test_problems import problem
from tests.scenario.simulator import Simulator


def test_the_route_sends_the_bytes_that_the_command_line_writes(
    server: Server, trial: Simulator, tmp_path: Path
) -> None:
    trial.screen(trial.subject("001"))
    follow(server.ledger)
    sent = server.http.get(server.path("/exports/evidence"))
    assert sent.status_code == 200
    assert sent.headers["content-type"] == "application/zip"
    trial.later(minutes=1)
    size = int(sent.headers["ledger-index"])
    again = export_evidence(server.ledger, Wanted(server.study, checkpoint=size), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == sent.content
    assert again.repeats == int(sent.headers["ledger-export"])
    entry = server.http.get(server.path(f"/events/{sent.headers['ledger-export']}")).json()
    assert entry["event"] == "DataExported"
    assert again.digest == b64url(sha256(sent.content).digest())


def test_nothing_stays_behind_in_the_home(server: Server, trial: Simulator) -> None:
    before = {path.name for path in server.ledger.home.path.iterdir()}
    assert server.http.get(server.path("/exports/evidence"), params={"as_of": "20"}).status_code == 200
    with server.http.stream("GET", server.path("/exports/evidence")) as broken:
        next(broken.iter_raw(1))
    assert {path.name for path in server.ledger.home.path.iterdir()} == before


@pytest.mark.parametrize(
    ("query", "status", "rule"),
    [
        ({"subject": "nobody"}, 404, "READ-6"),
        ({"as_of": "99999"}, 422, "READ-3"),
        ({"checkpoint": "4"}, 404, "EXPORT-1"),
        ({"checkpoint": "-1"}, 400, "REQUEST-1"),
        ({"output": "/etc/passwd"}, 400, "REQUEST-1"),
    ],
)
def test_what_is_not_there_is_a_problem_and_not_on_record(
    server: Server, query: dict[str, str], status: int, rule: str
) -> None:
    before = server.http.get(server.path()).json()["size"]
    answer = server.http.get(server.path("/exports/evidence"), params=query)
    assert (answer.status_code, answer.json()["rule"]) == (status, rule)
    assert answer.json()["remedy"]
    assert server.http.get(server.path()).json()["size"] == before


def test_a_study_that_is_not_there(server: Server) -> None:
    answer = server.http.get("/v1/studies/NOWHERE/exports/evidence")
    assert (answer.status_code, answer.json()["rule"]) == (404, "STUDY-404")


def test_a_cut_is_sent_as_it_is_recorded_and_is_the_same_later(server: Server, trial: Simulator) -> None:
    trial.screen(trial.subject("001"))
    size = len(trial.acknowledged)
    address = server.path("/exports/cut")
    first = server.http.get(address, params={"as_of": size})
    trial.screen(trial.subject("002"))
    second = server.http.get(address, params={"as_of": size})
    assert first.content == second.content and first.headers["Ledger-Index"] == str(size)
    assert first.headers["Content-Digest"] == second.headers["Content-Digest"]
    body = server.ledger.entry(trial.plan.study, int(second.headers["Ledger-Export"])).statement.body
    assert (body["what"], body["as_of"]) == ("cut of the projections", size)
    happened = server.http.get(address, params={"as_of": size, "occurred_by": "2026-03-02"})
    assert happened.status_code == 200 and happened.content != first.content
    problem(server.http.get(address, params={"as_of": size + 1_000}), 422, "READ-3")
    problem(server.http.get(address, params={"occurred_by": "then"}), 400, "READ-5")
    problem(server.http.get(address, params={"subject": "001"}), 400, "REQUEST-1")
    assert not [path for path in server.ledger.home.path.iterdir() if path.name.startswith(".")]
