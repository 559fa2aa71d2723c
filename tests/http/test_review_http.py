"""What a hostile or hasty client sends over HTTP: no fault, no starvation, nothing lost, nothing unbounded."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

import httpx
import pytest

from api.v1 import appending
from ledger import writer
from ledger.signing.statement import make
from ledger.store import evidence
from tests.http.conftest import Server
from tests.http.test_problems import problem
from tests.scenario.cast import genesis_fields
from tests.scenario.simulator import Simulator

NDJSON = "application/x-ndjson"


def screenings(trial: Simulator, count: int) -> list[str]:
    """Statements about as many people."""
    by = trial.staff().coordinator
    return [trial.sign(by, "SubjectScreened", trial.subject(f"{n}"), number=f"{n}") for n in range(count)]


def lines(*texts: str) -> bytes:
    """A body of lines."""
    return b"".join(json.dumps(text).encode() + b"\n" for text in texts)


def kept(server: Server) -> int:
    """How many statements are on the refusal list."""
    with server.ledger.database.connection() as connection:
        return evidence.count_refusals(connection, server.study)


@pytest.mark.parametrize("form", ["urn:uuid:{}", "{{{}}}", "{}.tlog-proof"])
def test_a_receipt_is_asked_for_by_any_spelling_of_an_id(server: Server, trial: Simulator, form: str) -> None:
    told = trial.screen(trial.subject("1"))
    found = server.http.get(server.path("/receipts/" + form.format(told.jti)))
    assert found.status_code == 200
    lost = server.http.get(server.path("/receipts/" + form.format(uuid.uuid4())))
    assert lost.status_code == 404
    assert lost.json()["rule"] == "ENTRY-404"


def test_what_follows_genesis_is_sent_to_the_study_and_not_to_where_studies_are_opened(
    server: Server, trial: Simulator
) -> None:
    (text,) = screenings(trial, 1)
    read = problem(server.http.post("/v1/studies", content=text), 400, "GENESIS-7")
    assert "/events" in read["remedy"] and trial.plan.study in read["because"]
    assert server.post(text).status_code == 201


def test_genesis_that_was_not_signed_as_it_stands_is_refused_as_every_statement_is(
    bare_server: Server, before_trial: Simulator
) -> None:
    sim = before_trial
    fields = genesis_fields(sim.plan.study, sim.terms, sim.cast)
    text = sim.sign(sim.cast.registrar, "StudyOpened", "study", **fields)
    head, _, tail = text.partition("~")
    signed, _, signature = head.rpartition(".")
    other = ("B" if signature[0] != "B" else "C") + signature[1:]
    problem(bare_server.http.post("/v1/studies", content=f"{signed}.{other}~{tail}"), 401, "SIGNATURE-0")


def test_a_genesis_from_tomorrow_is_told_the_ledgers_time(bare_server: Server, before_trial: Simulator) -> None:
    sim = before_trial
    fields = genesis_fields(sim.plan.study, sim.terms, sim.cast)
    late = sim.sign(sim.cast.registrar, "StudyOpened", "study", **fields, claims={"iat": sim.seconds() + 86_400})
    read = problem(bare_server.http.post("/v1/studies", content=late), 400, "TIME-1")
    assert read["because"].endswith("Z")


def test_a_genesis_of_a_study_without_a_proper_name_is_no_fault(server: Server, trial: Simulator) -> None:
    by = trial.cast.registrar
    claims: dict[str, Any] = {"iss": by.id, "role": by.role, "aud": by.origin, "sub": "study", "v": 1}
    claims |= {"jti": str(uuid.uuid4()), "iat": trial.seconds(), "event": "StudyOpened", "body": {"study": "A B"}}
    answer = server.http.post("/v1/studies", content=make(by.key, claims, {}))
    assert answer.status_code == 400
    assert answer.json()["rule"] == "CATALOGUE-3"


def test_many_who_wait_for_a_size_keep_nobody_from_writing(server: Server, trial: Simulator) -> None:
    wanted = trial.door.cut().size + 1
    answers: list[int] = []

    def wait() -> None:
        with httpx.Client(base_url=server.http.base_url, timeout=60.0) as http:
            answers.append(http.get(server.path(), params={"wait_for": wanted}).status_code)

    waiting = [threading.Thread(target=wait) for _ in range(12)]
    for one in waiting:
        one.start()
    assert server.post(screenings(trial, 1)[0]).status_code == 201
    for one in waiting:
        one.join()
    assert answers == [200] * 12


def test_the_feed_of_an_earlier_state_names_that_state(server: Server, trial: Simulator) -> None:
    early = trial.door.cut()
    trial.screen(trial.subject("1"))
    answer = server.http.get(server.path("/events"), params={"as_of": early.size, "after": early.size - 2})
    assert [entry["index"] for entry in answer.json()["entries"]] == [early.size - 2, early.size - 1]
    assert (answer.headers["Ledger-Index"], answer.headers["Ledger-Root"]) == (str(early.size), early.root)
    assert answer.json()["size"] == early.size


def test_every_reading_of_the_log_is_of_the_state_that_was_asked_for(server: Server, trial: Simulator) -> None:
    early = trial.door.cut()
    told = trial.screen(trial.subject("1"))
    late = trial.door.cut()
    state = {"Ledger-Index": str(early.size), "Ledger-Root": early.root}

    def read(path: str, **parameters: Any) -> httpx.Response:
        return server.http.get(server.path(path), params=parameters)

    for path in ("", "/events", f"/events/{early.size - 1}", f"/receipts/{trial.acknowledged[0].jti}"):
        answer = read(path, as_of=early.size)
        assert {name: answer.headers[name] for name in state} == state, path
        assert read(path, wait_for=late.size).headers["Ledger-Index"] == str(late.size), path
    assert (read("", as_of=early.size).json()["size"], read("").json()["size"]) == (early.size, late.size)
    assert read("/events", as_of="2000-01-01").json()["entries"] == []
    assert read("/events", as_of="2999-12-31").json()["size"] == late.size
    problem(read(f"/events/{told.index}", as_of=early.size), 404, "ENTRY-404")
    problem(read(f"/receipts/{told.jti}", as_of=early.size), 404, "ENTRY-404")
    problem(read(f"/receipts/{told.jti}", as_of=late.size + 1), 404, "READ-10")
    problem(read("", as_of=late.size + 1), 422, "READ-3")
    problem(read("", as_of=0), 404, "ENTRY-404")


@pytest.mark.parametrize("path", ["/events?afer=3", "/subjects?subject=1", "/catalogue?as_of=3", "/safety?asof=3"])
def test_a_parameter_that_an_address_does_not_have_is_refused(server: Server, path: str) -> None:
    answer = server.http.get(server.path(path))
    problem(answer, 400, "REQUEST-1")
    assert "not a parameter" in answer.json()["because"]


def test_a_refused_statement_is_on_the_list_before_it_is_answered(server: Server, trial: Simulator) -> None:
    before = kept(server)
    text = trial.sign(trial.cast.monitor, "SubjectScreened", trial.subject("1"), site="NORTH", number="1")
    assert server.post(text).status_code == 403
    assert kept(server) == before + 1
    answer = server.post(lines(text, *screenings(trial, 2), "junk"), NDJSON)
    assert ["rule" in json.loads(line) for line in answer.text.splitlines()] == [True, False, False, True]
    assert kept(server) == before + 3
    assert server.post(text, Prefer="validate-only").status_code == 403
    assert kept(server) == before + 3


def test_lines_wait_for_room_in_a_small_queue(
    server: Server, trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_QUEUED_BYTES", 1)
    monkeypatch.setattr(appending, "CHUNK", 1)
    texts = screenings(trial, 30)
    answer = server.post(lines(*texts), NDJSON)
    read = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["index"] for one in read] == list(range(read[0]["index"], read[0]["index"] + 30))


def test_lines_beyond_what_may_be_in_flight_are_answered_on_the_way(
    server: Server, trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appending, "IN_FLIGHT_BYTES", 2_000)
    monkeypatch.setattr(appending, "MAX_HELD_BYTES", 500)
    monkeypatch.setattr(appending, "CHUNK", 3)
    texts = screenings(trial, 40)
    answer = server.post(lines(*texts, "junk", texts[0]), NDJSON)
    read = [json.loads(line) for line in answer.text.splitlines()]
    assert len(read) == 42
    assert [one["repeat"] for one in read[:40]] == [False] * 40
    assert read[40]["rule"] == "STATEMENT-2"
    assert (read[41]["repeat"], read[41]["index"]) == (True, read[0]["index"])


def test_after_a_line_that_is_too_long_nothing_is_read(server: Server, trial: Simulator) -> None:
    first, second = screenings(trial, 2)
    long = b'"' + b"a" * (appending.MAX_LINE + 10) + b'"\n'
    answer = server.post(lines(first) + long + lines(second), NDJSON)
    read = [json.loads(one) for one in answer.text.splitlines()]
    assert [one.get("rule") for one in read] == [None, "REQUEST-2"]
    assert server.post(second).status_code == 201


def test_an_alarm_about_another_history_is_shown_where_operators_look(server: Server, trial: Simulator) -> None:
    assert server.http.get("/health/ledger").status_code == 200
    trial.screen(trial.subject("1"), claims={"seen": {"size": 3, "root": "A" * 43}})
    health = server.http.get("/health/ledger")
    assert health.status_code == 503
    shown = health.json()["studies"][server.study]["alarm"]
    assert "at size 3" in shown["because"]
    assert server.http.get(server.path()).json()["alarm"] == shown


def test_health_is_told_before_the_first_checkpoint(
    server: Server, trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "latest_checkpoint", lambda *_: None)
    answer = server.http.get("/health/ledger")
    assert answer.status_code == 200
    assert answer.json()["studies"][server.study]["checkpointed"] == 0


def test_a_genesis_that_is_only_tried_opens_nothing(bare_server: Server, before_trial: Simulator) -> None:
    sim = before_trial
    text = sim.cast.registrar.sign("StudyOpened", "study", genesis_fields(sim.plan.study, sim.terms, sim.cast))
    dry = {"Prefer": "validate-only"}
    answer = bare_server.http.post("/v1/studies", content=text, headers=dry)
    assert (answer.status_code, answer.json()["index"]) == (200, 0)
    assert bare_server.http.get("/v1/studies").json() == {"studies": []}
    assert bare_server.http.post("/v1/studies", content=text).status_code == 201
    tried = bare_server.http.post("/v1/studies", content=text, headers=dry)
    assert (tried.status_code, tried.json()["repeat"]) == (200, True)


def test_a_second_genesis_is_on_the_refusal_list_once(server: Server, trial: Simulator) -> None:
    before = kept(server)
    fields = genesis_fields(trial.plan.study, trial.terms, trial.cast, synthetic=False)
    text = trial.cast.registrar.sign("StudyOpened", "study", fields)
    assert server.http.post("/v1/studies", content=text).json()["rule"] == "GENESIS-6"
    with server.ledger.database.connection() as connection:
        (count,) = connection.execute("SELECT count(*) FROM ledger.refusals").fetchone() or (0,)
    assert kept(server) == before + 1
    assert count == before + 1
