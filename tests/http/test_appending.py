"""What happens to a statement that is sent: one at a time, many at once, only to be tried, or cut off half-way."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from ledger.signing.wire import STATEMENT_LIMIT
from tests.crash.faults import put
from tests.http.conftest import Server
from tests.http.test_problems import MEMBERS, problem
from tests.scenario.cast import genesis_fields
from tests.scenario.offline import open_receipt
from tests.scenario.simulator import Simulator
from tests.scenario.waiting import wait_until

NDJSON = "application/x-ndjson"
LIMIT = STATEMENT_LIMIT + 1_024


def signed(trial: Simulator, count: int) -> list[str]:
    """Statements about as many people."""
    by = trial.staff().coordinator
    return [
        trial.sign(by, "SubjectScreened", trial.subject(f"{n}"), number=f"{n:03}", population="patient")
        for n in range(count)
    ]


def lines(*parts: str | bytes) -> bytes:
    """A body of lines: text is sent as a JSON string, bytes as they are."""
    return b"".join((json.dumps(p).encode() if isinstance(p, str) else p) + b"\n" for p in parts)


def answers(text: str) -> list[dict[str, Any]]:
    """The answer of each line."""
    return [json.loads(line) for line in text.splitlines()]


def size_of(server: Server) -> int:
    """How many entries are signed."""
    return int(server.http.get(server.path()).headers["Ledger-Index"])


# -- one ----------------------------------------------------------------------------------------------------


def test_a_recorded_statement_is_answered_with_its_place_and_a_receipt_that_proves_it(
    server: Server, trial: Simulator
) -> None:
    size = size_of(server)
    (text,) = signed(trial, 1)
    answer = server.post(text)
    read = answer.json()
    assert (answer.status_code, read["index"], read["repeat"]) == (201, size, False)
    assert answer.headers["Ledger-Index"] == str(size + 1)
    assert answer.headers["Ledger-Root"] == read["root"]
    log_key = server.http.get(server.path("/log-keys")).json()["log_keys"][0]
    checked, index, entry = open_receipt(read["receipt"], log_key)
    assert (checked.size, index) == (size + 1, size)
    assert entry.decode() == f"{text.partition('~')[0]}\n{read['recorded_at']}\n"


def test_repeating_the_same_bytes_is_harmless(server: Server, trial: Simulator) -> None:
    (text,) = signed(trial, 1)
    first = server.post(text).json()
    for _ in range(3):
        answer = server.post(text)
        assert answer.status_code == 200
        again = answer.json()
        assert again["repeat"] is True
        same = ("jti", "index", "leaf_hash", "recorded_at")
        assert [again[name] for name in same] == [first[name] for name in same]
        assert again["receipt"]


def test_the_jwt_decides_what_a_repeat_is_and_withheld_disclosures_do_not_come_back(
    server: Server, trial: Simulator
) -> None:
    """The same JWT without its disclosures is no statement: nothing is lost by it."""
    (text,) = signed(trial, 1)
    index = server.post(text).json()["index"]
    head = text.partition("~")[0] + "~"
    problem(server.post(head), 400, "DISCLOSURE-6")
    entry = server.http.get(server.path(f"/events/{index}")).json()
    assert entry["statement"] == text


def test_trying_a_statement_records_nothing(server: Server, trial: Simulator) -> None:
    size = size_of(server)
    good, other = signed(trial, 2)
    answer = server.post(good, Prefer="validate-only")
    assert (answer.status_code, answer.json()["validated_only"]) == (200, True)
    assert answer.json()["receipt"] is None
    bad = trial.sign(trial.cast.monitor, "SubjectScreened", trial.subject("9"), number="9")
    problem(server.post(bad, Prefer="respond-async, validate-only"), 403, "ROLE-1")
    tried = server.post(lines(good, other, bad), NDJSON, Prefer="validate-only")
    assert [line.get("rule", "fine") for line in answers(tried.text)] == ["fine", "fine", "ROLE-1"]
    assert size_of(server) == size
    assert server.http.get(server.path("/refusals")).json()["count"] == 0, "what was only tried was not refused"
    assert server.post(good).json()["index"] == size, "what was tried can still be recorded"


def test_a_refused_statement_is_kept_in_the_list_of_refusals(server: Server, trial: Simulator) -> None:
    bad = trial.sign(trial.cast.monitor, "SubjectScreened", trial.subject("9"), number="9")
    problem(server.post(bad), 403, "ROLE-1")
    (kept,) = wait_until(lambda: server.http.get(server.path("/refusals")).json()["refusals"], "keeping the refusal")
    assert (kept["rule"], kept["status"], kept["iss"]) == ("ROLE-1", 403, "monitor")
    assert kept["problem"]["because"]


def test_while_the_signer_is_down_statements_are_accepted_and_the_receipt_comes_later(
    server: Server, trial: Simulator
) -> None:
    size = size_of(server)
    state = server.ledger.home.signer_state(server.study)
    writer = server.ledger.writer(server.study)
    wait_until(lambda: writer.signed_size == size, "signing at the start")
    backup = state.read_bytes()
    state.write_bytes(b"scribble")

    (text,) = signed(trial, 1)
    answer = server.post(text)
    assert (answer.status_code, answer.json()["index"], answer.json()["receipt"]) == (202, size, None)
    assert server.post(text).status_code == 202
    assert size_of(server) == size
    health = server.http.get("/health/ledger")
    assert (health.status_code, health.json()["status"]) == (503, "alarm")
    alarm = health.json()["studies"][server.study]["alarm"]
    assert alarm["because"]
    assert "Restore" in alarm["remedy"]
    assert server.http.get(server.path()).json()["alarm"] == alarm
    receipt = server.http.get(server.path(f"/receipts/{answer.json()['jti']}"))
    problem(receipt, 404, "ENTRY-404")

    state.write_bytes(backup)
    wait_until(lambda: size_of(server) == size + 1, "a checkpoint")
    assert server.http.get(server.path(f"/receipts/{answer.json()['jti']}")).status_code == 200
    assert server.http.get("/health/ledger").json()["status"] == "good"


def test_while_the_database_is_away_nothing_is_recorded_and_the_sender_is_told(
    server: Server, trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = signed(trial, 1)
    put(monkeypatch, "taking the head's lock", False)
    read = problem(server.post(text), 503, "WRITER-2")
    assert "same statement again" in read["remedy"]
    assert server.post(text).status_code == 201


# -- many ---------------------------------------------------------------------------------------------------


def test_a_bad_line_in_the_middle_leaves_its_neighbours_alone(server: Server, trial: Simulator) -> None:
    size = size_of(server)
    one, two, three, four = signed(trial, 4)
    monitor = trial.sign(trial.cast.monitor, "SubjectScreened", trial.subject("9"), number="9")
    body = lines(one, "nonsense", two, b"{not json", monitor, b'{"a": 1}', b"7", three, one, b"\xff\xfe", four)
    answer = server.post(body, NDJSON)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(NDJSON)
    read = answers(answer.text)
    indexes = [line.get("index") if "rule" not in line else line["rule"] for line in read]
    assert indexes == [
        size,
        "STATEMENT-2",
        size + 1,
        "REQUEST-1",
        "ROLE-1",
        "REQUEST-1",
        "REQUEST-1",
        size + 2,
        size,
        "REQUEST-1",
        size + 3,
    ]
    assert read[8]["repeat"] is True
    for line in read:
        if "rule" in line:
            assert MEMBERS <= line.keys()
            assert line["remedy"]
    assert size_of(server) == size + 4


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_blank_lines_and_ends_of_lines_do_not_matter(server: Server, trial: Simulator, end: bytes) -> None:
    one, two = (json.dumps(text).encode() for text in signed(trial, 2))
    body = b"\n  \n\r\n" + one + b"\r\n\n\n \t \n" + two + end
    read = answers(server.post(body, NDJSON).text)
    assert [line["repeat"] for line in read] == [False, False]


def test_no_lines_at_all_are_answered_by_none(server: Server) -> None:
    answer = server.post(b"\n\n \n", NDJSON)
    assert (answer.status_code, answer.text.strip()) == (200, "")


def test_a_very_long_line_is_refused_and_what_came_before_is_recorded(server: Server, trial: Simulator) -> None:
    size = size_of(server)
    one, two = signed(trial, 2)
    body = lines(one, b'"' + b"a" * (LIMIT + 10) + b'"', two)
    read = answers(server.post(body, NDJSON).text)
    assert read[0]["index"] == size
    assert (read[1]["rule"], read[1]["status"]) == ("REQUEST-2", 413)
    assert size_of(server) in (size + 1, size + 2)
    assert len(read) == 1 + size_of(server) - size, "what is recorded is answered, and nothing else"


def test_an_endless_line_is_given_up(server: Server) -> None:
    """A sender that never ends a line is not read to the end of memory."""

    def endless() -> Any:
        yield b'"'
        for _ in range(200):
            yield b"a" * 10_000

    read = answers(server.post(endless(), NDJSON).text)
    assert [line["rule"] for line in read] == ["REQUEST-2"]


def test_hundreds_of_lines_are_recorded_in_their_order(server: Server, trial: Simulator) -> None:
    size = size_of(server)
    texts = signed(trial, 600)
    read = answers(server.post(lines(*texts), NDJSON).text)
    assert [line["index"] for line in read] == list(range(size, size + 600))
    assert read[-1]["size"] == size + 600


def test_a_decision_may_follow_in_the_same_request_the_facts_that_it_rests_on(server: Server, trial: Simulator) -> None:
    """Lines are decided in their order, each on what the lines before it left."""
    ada = trial.subject("1")
    staff, cut = trial.staff(), trial.door.cut()
    texts = [
        trial.sign(trial.cast.sponsor, "SiteActivated", "site/EAST", time_zone="UTC"),
        trial.sign(trial.cast.sponsor, "ProtocolActivatedAtSite", "site/EAST", version="1.0"),
        trial.sign(staff.coordinator, "SubjectScreened", ada, number="1", population="patient"),
        trial.sign(staff.investigator, "EligibilityDecided", ada, cut, eligible=False),
    ]
    read = answers(server.post(lines(*texts), NDJSON).text)
    assert [line.get("rule") for line in read] == [None] * 4


# -- cut off ------------------------------------------------------------------------------------------------


def test_a_sender_that_disappears_in_the_middle_of_a_line(server: Server, trial: Simulator) -> None:
    """Whole lines may have been recorded, the broken one never is, and the server goes on."""
    size = size_of(server)
    one, two, three = signed(trial, 3)
    whole, broken = lines(one, two), json.dumps(three).encode()[:-40]
    head = (
        f"POST {server.path('/events')} HTTP/1.1\r\nHost: x\r\nContent-Type: {NDJSON}\r\n"
        f"Content-Length: {len(whole) + len(broken) + 40}\r\n\r\n"
    )
    with socket.create_connection(server.address) as connection:
        connection.sendall(head.encode() + whole + broken)
        time.sleep(0.2)
    read = answers(server.post(lines(one, two, three), NDJSON).text)
    assert sorted(line["index"] for line in read) == [size, size + 1, size + 2]
    assert read[2]["repeat"] is False


def test_a_sender_that_disappears_before_the_answer(server: Server, trial: Simulator) -> None:
    """What was sent whole is recorded once, and the repeat finds it."""
    size = size_of(server)
    (text,) = signed(trial, 1)
    head = (
        f"POST {server.path('/events')} HTTP/1.1\r\nHost: x\r\nContent-Type: application/sd-jwt\r\n"
        f"Content-Length: {len(text)}\r\n\r\n"
    )
    with socket.create_connection(server.address) as connection:
        connection.sendall((head + text).encode())
    wait_until(lambda: size_of(server) == size + 1, "recording it")
    assert server.post(text).json()["index"] == size


def test_a_sender_that_disappears_in_the_middle_of_a_statement(server: Server, trial: Simulator) -> None:
    size = size_of(server)
    (text,) = signed(trial, 1)
    head = (
        f"POST {server.path('/events')} HTTP/1.1\r\nHost: x\r\nContent-Type: application/sd-jwt\r\n"
        f"Content-Length: {len(text)}\r\n\r\n"
    )
    with socket.create_connection(server.address) as connection:
        connection.sendall((head + text[:-30]).encode())
    time.sleep(0.2)
    assert size_of(server) == size
    assert server.post(text).status_code == 201


def test_many_senders_that_disappear_leave_a_server_that_answers(server: Server, trial: Simulator) -> None:
    texts = signed(trial, 20)
    for text in texts:
        with socket.create_connection(server.address) as connection:
            body = lines(text)[: len(text) // 2]
            head = (
                f"POST {server.path('/events')} HTTP/1.1\r\nHost: x\r\nContent-Type: {NDJSON}\r\n"
                "Content-Length: 9999\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
    read = answers(server.post(lines(*texts), NDJSON).text)
    assert all("rule" not in line for line in read)


# -- genesis ------------------------------------------------------------------------------------------------


def test_a_study_is_opened_over_http_and_repeating_it_is_harmless(bare_server: Server, before_trial: Simulator) -> None:
    sim = before_trial
    fields = genesis_fields(sim.plan.study, sim.terms, sim.cast)
    genesis = sim.sign(sim.cast.registrar, "StudyOpened", "study", **fields)
    first = bare_server.http.post("/v1/studies", content=genesis, headers={"Content-Type": "application/sd-jwt"})
    assert (first.status_code, first.json()["index"]) == (201, 0)
    again = bare_server.http.post("/v1/studies", content=genesis, headers={"Content-Type": "application/sd-jwt"})
    assert (again.status_code, again.json()["repeat"]) == (200, True)
    assert bare_server.http.get("/v1/studies").json() == {"studies": [sim.plan.study]}
    other = sim.sign(sim.cast.registrar, "StudyOpened", "study", **fields)
    refused = bare_server.http.post("/v1/studies", content=other, headers={"Content-Type": "application/sd-jwt"})
    problem(refused, 409, "GENESIS-6")


def test_a_genesis_that_is_refused_leaves_no_study(bare_server: Server, before_trial: Simulator) -> None:
    sim = before_trial
    fields = genesis_fields(sim.plan.study, sim.terms, sim.cast, origin="ledger.example/study/X")
    genesis = sim.sign(sim.cast.registrar, "StudyOpened", "study", **fields)
    problem(bare_server.http.post("/v1/studies", content=genesis), 422, "GENESIS-3")
    assert bare_server.http.get("/v1/studies").json() == {"studies": []}
    sim.open_study()
