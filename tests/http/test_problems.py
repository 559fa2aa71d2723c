"""Every error of every route has one shape, and says rule, cause and remedy in plain words."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ledger.domain.study import b64_sha256
from ledger.signing.keys import SigningKey
from ledger.signing.wire import STATEMENT_LIMIT
from ledger.store.embedded import DatabaseUrls
from tests.http.conftest import Server, follow, listening
from tests.scenario.checker import check_everything
from tests.scenario.clock import TurnedClock
from tests.scenario.fixtures import Opened, copied_trial, ledger_of
from tests.scenario.simulator import Simulator
from tests.scenario.test_refusals import raw


@pytest.fixture(scope="module")
def trial(
    embedded_server: DatabaseUrls,
    opened_trial: Opened,
    tmp_path_factory: pytest.TempPathFactory,
    turned_clock: TurnedClock,
) -> Iterator[Simulator]:
    """One trial for the whole file: hardly anything here is recorded."""
    home = tmp_path_factory.mktemp("problems") / "home"
    with copied_trial(embedded_server, opened_trial, home, turned_clock) as sim:
        yield sim
        check_everything(ledger_of(sim), sim.acknowledged)


@pytest.fixture(scope="module")
def server(trial: Simulator) -> Iterator[Server]:
    """And one server."""
    ledger = ledger_of(trial)
    with listening(ledger, trial.plan.study) as server:
        follow(ledger)
        yield server


MEMBERS = {"type", "title", "status", "detail", "rule", "because", "remedy", "indexes", "request_id"}


def problem(answer: httpx.Response, status: int, rule: str) -> dict[str, Any]:
    """The problem object of an answer, whose shape is looked at first."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text[:500]
    read: dict[str, Any] = answer.json()
    assert MEMBERS <= read.keys(), MEMBERS - read.keys()
    assert (answer.status_code, read["status"], read["rule"]) == (status, status, rule), read
    for member in ("title", "detail", "rule", "because", "remedy", "request_id"):
        assert str(read[member]).strip(), f"{member} is blank"
    assert read["type"].startswith("urn:trial-ledger:")
    assert answer.headers["X-Request-Id"] == read["request_id"]
    assert "Traceback" not in answer.text
    assert ("Retry-After" in answer.headers) == (status in (503, 507))
    return read


# -- addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_an_address_that_is_not_there(server: Server, method: str) -> None:
    problem(server.http.request(method, "/v1/nothing/here"), 404, "HTTP-404")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_method_that_the_address_does_not_know(server: Server, method: str) -> None:
    """Nothing is edited or deleted, whatever somebody asks for."""
    for path in ("", "/events", "/events/0", "/subjects", "/audit-trail"):
        answer = server.http.request(method, server.path(path))
        problem(answer, 405, "HTTP-405")
        assert answer.headers["Allow"]


NO_EVENT = "00000000-0000-4000-8000-000000000000"

READS = (
    "",
    "/events",
    "/events/0",
    f"/receipts/{NO_EVENT}",
    "/proofs/inclusion?index=0",
    "/proofs/consistency?old=1",
    "/subjects",
    "/subjects/001",
    f"/subjects/001/history/{NO_EVENT}",
    "/findings",
    "/signatures",
    "/signatures/to-sign-again",
    "/cohorts",
    "/cohorts/LOW",
    "/schedule",
    "/safety",
    "/outcomes",
    "/protocol",
    "/refusals",
    "/audit-trail",
    "/audit-trail?format=csv",
    "/audit-trail?format=ndjson",
    "/exports/evidence",
    "/exports/cut",
    "/changes?from=0",
    "/event-versions",
    "/credentials",
    "/sessions",
    "/witnesses",
    "/redactions",
)
SERVED_UNKNOWN = ("/log-keys", "/catalogue")
"""What is said of a study before it is there: genesis needs it."""


@pytest.mark.parametrize("path", READS)
def test_a_study_that_is_not_here(server: Server, path: str) -> None:
    answer = server.http.get(f"/v1/studies/NOWHERE-1{path}")
    assert answer.status_code == 404
    problem(answer, 404, answer.json()["rule"])
    assert "NOWHERE-1" in answer.text


@pytest.mark.parametrize("path", [*READS, *SERVED_UNKNOWN])
@pytest.mark.parametrize("study", ["nowhere", "A", "A" * 33, "A_B-1", "%20%20%20", "..%2F..%2Fetc"])
def test_an_id_that_no_study_can_have(server: Server, study: str, path: str) -> None:
    answer = server.http.get(f"/v1/studies/{study}{path}")
    problem(answer, 400 if "%00" in study else 404, answer.json()["rule"])


def test_every_route_that_reads_a_study_is_in_this_table(server: Server) -> None:
    """A route that is added is asked for a study that is not here as well."""
    paths = server.http.get("/openapi.json").json()["paths"]
    templates = {
        re.sub(r"\{[^}]*\}", "*", path.removeprefix("/v1/studies/{study}"))
        for path, methods in paths.items()
        if path.startswith("/v1/studies/{study}") and "get" in methods
    }
    assert templates, "the routes are found"
    asked = {
        re.sub(r"/(001|LOW|0|[0-9a-f-]{36})(?=/|$)", "/*", path.partition("?")[0]) for path in (*READS, *SERVED_UNKNOWN)
    }
    assert templates == asked


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/events?after=-1", 400),
        ("/events?after=abc", 400),
        ("/events?limit=0", 400),
        ("/events?limit=1001", 400),
        ("/events?limit=1e2", 400),
        ("/events?event=NoSuchEvent", 400),
        ("/events?subject=ada", 400),
        ("/events?as_of=-1", 400),
        ("/events?wait_for=soon", 400),
        ("/events/abc", 400),
        ("/events/-1", 404),
        ("/events/99999999", 404),
        ("/events/99999999999999999999999", 404),
        ("/receipts/not-a-uuid", 400),
        (f"/receipts/{uuid.UUID(int=7)}", 404),
        ("/proofs/inclusion", 400),
        ("/proofs/inclusion?index=-1", 400),
        ("/proofs/inclusion?index=0&size=99999999", 404),
        ("/proofs/inclusion?index=5&size=5", 404),
        ("/proofs/consistency?old=0", 400),
        ("/proofs/consistency?old=9&new=3", 404),
        ("/proofs/consistency?old=1&new=99999999", 404),
        ("/refusals?limit=0", 400),
        ("/audit-trail?format=pdf", 400),
        ("/audit-trail?limit=0", 400),
        ("/audit-trail?sort=colour", 400),
        ("/audit-trail?from=yesterday", 400),
        ("/subjects?limit=-5", 400),
        ("/subjects?as_of=tomorrow-ish", 400),
        ("/subjects/nobody", 404),
        ("/cohorts/NONE", 404),
    ],
)
def test_a_parameter_that_cannot_be_meant(server: Server, path: str, status: int) -> None:
    answer = server.http.get(server.path(path))
    problem(answer, status, answer.json().get("rule", ""))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/audit-trail?from=zz", "from='zz'"),
        ("/audit-trail?to=2026-13-01", "to='2026-13-01'"),
        ("/audit-trail?from=2026-01-01T00:00:00%2B08:00&to=2026-01-01T00:00:00", "no offset"),
        ("/events?subject=SYN-011", "/subjects"),
        ("/events?as_of=2021-01-01T00:00:00+08:00", "%2B"),
        ("/subjects?as_of=2021-01-01T00:00:00.5+0800", "%2B"),
        ("/audit-trail?from=2021-01-01T00:00:00+08", "%2B"),
    ],
)
def test_what_was_written_wrongly_is_named_as_it_stands_in_the_address(server: Server, path: str, words: str) -> None:
    answer = server.http.get(server.path(path))
    assert words in problem(answer, 400, answer.json()["rule"])["because"]


@pytest.mark.parametrize("stamp", ["2999-01-01T00:00:00%2B08:00", "2999-01-01T00:00:00Z", "2999-01-01"])
def test_a_time_that_is_written_rightly_is_read(server: Server, stamp: str) -> None:
    for path in (f"/events?as_of={stamp}", f"/audit-trail?from=2020-01-01&to={stamp}", f"/subjects?as_of={stamp}"):
        assert server.http.get(server.path(path)).status_code == 200, path


def test_every_operation_describes_its_problems_as_they_are_answered(server: Server) -> None:
    described = server.http.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    answer = server.http.get(server.path("/events?after=abc"))
    read = problem(answer, 400, "REQUEST-1")
    assert set(schemas["Problem"]["required"]) == MEMBERS
    assert read.keys() <= schemas["Problem"]["properties"].keys()
    assert "HTTPValidationError" not in json.dumps(described)
    operations = [one for methods in described["paths"].values() for one in methods.values()]
    assert len(operations) > 20
    for operation in operations:
        assert "422" not in operation["responses"], operation["summary"]
        content = operation["responses"]["default"]["content"]
        assert content == {answer.headers["Content-Type"]: {"schema": {"$ref": "#/components/schemas/Problem"}}}


@pytest.mark.parametrize(
    "path",
    ["/tile/0/000", "/tile/0/x", "/tile/9/000", "/tile/0/000.p/0", "/tile/0/000.p/999", "/tile/entries/x", "/tile/"],
)
def test_a_tile_that_is_not_there(server: Server, path: str) -> None:
    answer = server.http.get(f"/study/{server.study}{path}")
    problem(answer, 404, answer.json()["rule"])


STRANGE = ("%00", "%FF%FE", "%F0%9F%98%80", "..", "a" * 3_000, "%27%3B--", "-1", "1e400", "9" * 40, "%0A")
"""What somebody may write where a name, a number or a time belongs."""
PLACES = {
    "study": "COAST-07",
    "index": "0",
    "subject": "001",
    "name": "LOW",
    "jti": str(uuid.UUID(int=7)),
    "path": "0/0",
}


def strange_addresses(server: Server) -> Iterator[str]:
    """Every route with every parameter, in turn, written strangely."""
    for path, methods in server.http.get("/openapi.json").json()["paths"].items():
        parameters = methods.get("get", {}).get("parameters", [])
        named = [one["name"] for one in parameters if one["in"] == "path"]
        needed = "".join(f"&{one['name']}=1" for one in parameters if one["in"] == "query" and one.get("required"))
        for value in STRANGE:
            for strange in named:
                filled = path
                for name in named:
                    filled = filled.replace(f"{{{name}}}", value if name == strange else PLACES[name])
                yield f"{filled}?{needed}"
            filled = path
            for name in named:
                filled = filled.replace(f"{{{name}}}", PLACES[name])
            for one in parameters:
                if one["in"] == "query" and (one["name"], value) != ("wait_for", "9" * 40):
                    yield f"{filled}?{one['name']}={value}{needed}"


def test_no_address_makes_the_server_fail(server: Server) -> None:
    asked = 0
    for address in strange_addresses(server):
        answer = server.http.get(address)
        asked += 1
        assert answer.status_code < 500, (address[:200], answer.text[:300])
        if answer.status_code >= 400:
            problem(answer, answer.status_code, answer.json()["rule"])
    assert asked > 500


# -- statements ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "STATEMENT-2"),
        (b"hello", "STATEMENT-2"),
        (b"a.b.c~", "STATEMENT-7"),
        ("patiënt".encode(), "STATEMENT-1"),
        (b"\xff\xfe\x00", "STATEMENT-1"),
        (b"{}", "STATEMENT-2"),
    ],
)
def test_bytes_that_are_no_statement(server: Server, body: bytes, rule: str) -> None:
    answer = server.post(body)
    assert answer.status_code == 400
    read = problem(answer, 400, answer.json()["rule"])
    assert re.fullmatch(r"(STATEMENT|BASE64URL|JSON)-\d+", read["rule"]), (read["rule"], rule)


def screening(trial: Simulator, **claims: Any) -> str:
    """A statement that would be recorded."""
    return trial.sign(trial.staff().coordinator, "SubjectScreened", trial.subject("1"), number="1", claims=claims)


def test_an_unsigned_statement(server: Server, trial: Simulator) -> None:
    head, _, tail = screening(trial).partition("~")
    unsigned = f"{head.rpartition('.')[0]}.~{tail}"
    problem(server.post(unsigned), 400, "STATEMENT-4")


def test_a_wrongly_signed_statement(server: Server, trial: Simulator) -> None:
    head, _, tail = screening(trial).partition("~")
    signed, _, signature = head.rpartition(".")
    flipped = ("B" if signature[0] != "B" else "C") + signature[1:]
    problem(server.post(f"{signed}.{flipped}~{tail}"), 401, "SIGNATURE-0")


def test_a_key_that_nobody_enrolled(server: Server, trial: Simulator) -> None:
    stranger = replace(trial.staff().coordinator, key=SigningKey.generate())
    text = trial.sign(stranger, "SubjectScreened", trial.subject("1"), number="1")
    problem(server.post(text), 403, "AUTHORITY-2")


def test_a_statement_for_another_log(server: Server, trial: Simulator) -> None:
    problem(server.post(screening(trial, aud="ledger.example/study/COAST-07")), 403, "AUTHORITY-1")


def test_a_role_that_is_missing(server: Server, trial: Simulator) -> None:
    by = trial.staff().pharmacist.acting_as("coordinator")
    text = trial.sign(by, "SubjectScreened", trial.subject("1"), number="1")
    read = problem(server.post(text), 403, "AUTHORITY-5")
    assert "coordinator" in read["because"]


def test_an_unknown_event(server: Server, trial: Simulator) -> None:
    ada = trial.subject("1")
    text = raw(trial.staff().coordinator, ada.label, "SubjectBlessed", site=ada.site)
    problem(server.post(text), 400, "CATALOGUE-1")


def test_other_bytes_under_a_known_event_id(server: Server, trial: Simulator) -> None:
    told = trial.screen(trial.subject("1"))
    read = problem(server.post(screening(trial, jti=told.jti)), 409, "IDEMPOTENCY-1")
    assert read["indexes"] == [told.index]


@pytest.mark.parametrize("size", [STATEMENT_LIMIT + 1, 4 * STATEMENT_LIMIT])
def test_an_oversized_statement_declared(server: Server, size: int) -> None:
    problem(server.post(b"a" * size), 413, "REQUEST-2")


def test_an_oversized_statement_that_does_not_say_how_long_it_is(server: Server) -> None:
    problem(server.post(b"a" * 10_000 for _ in range(40)), 413, "REQUEST-2")


def test_a_statement_of_the_greatest_size_is_read(server: Server) -> None:
    answer = server.post(b"a" * STATEMENT_LIMIT)
    assert answer.status_code == 400


def test_a_refused_decision_names_the_records_that_show_it(server: Server, trial: Simulator) -> None:
    trial.open_cohort("LOW")
    again = trial.sign(trial.staff().pi, "CohortOpened", "cohort/LOW", trial.door.cut())
    read = problem(server.post(again), 409, "COHORT-5")
    assert read["indexes"]


def test_a_broken_protocol_file_is_refused_with_every_place_that_is_wrong(server: Server, trial: Simulator) -> None:
    broken = trial.plan.protocol.replace('dose: "1.5"', 'dose: "-1.5"').replace("seats: 4", "seats: many")
    fields = {"version": "1.0", "digest": b64_sha256(broken.encode()), "file": broken}
    answer = server.post(trial.sign(trial.cast.sponsor, "ProtocolAdopted", "study", **fields))
    because = problem(answer, 422, "PROTOCOL-1")["because"]
    for place in ("cohorts.LOW.dose", "cohorts.MAIN.seats", "line "):
        assert place in because


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "application/jwt", "multipart/form-data", "application/sd-jwtx", "*/*"]
)
def test_a_media_type_that_is_not_taken(server: Server, trial: Simulator, kind: str) -> None:
    problem(server.post(screening(trial), kind), 415, "REQUEST-3")
    answer = server.http.post("/v1/studies", content=b"x", headers={"Content-Type": kind})
    assert answer.status_code in (400, 415)
    problem(answer, answer.status_code, answer.json()["rule"])


@pytest.mark.parametrize("kind", ["application/sd-jwt; charset=us-ascii", "APPLICATION/SD-JWT", None])
def test_a_media_type_written_otherwise_is_taken(server: Server, trial: Simulator, kind: str | None) -> None:
    assert server.post(screening(trial), kind).status_code == 201


@pytest.mark.parametrize("kind", ["application/sd-jwt", "application/x-ndjson"])
def test_an_append_to_a_study_that_is_not_here(server: Server, trial: Simulator, kind: str) -> None:
    answer = server.http.post("/v1/studies/NOWHERE-1/events", content=b"", headers={"Content-Type": kind})
    problem(answer, 404, "STUDY-404")


# -- request ids --------------------------------------------------------------------------------------------


def test_the_callers_request_id_comes_back(server: Server) -> None:
    answer = server.http.get("/v1/nothing", headers={"X-Request-Id": "abc123"})
    assert problem(answer, 404, "HTTP-404")["request_id"] == "abc123"


@pytest.mark.parametrize("given", ["", "x" * 101, "with space", '"><script>', "a\tb"])
def test_a_request_id_that_is_none_is_replaced(server: Server, given: str) -> None:
    answer = server.http.get("/v1/nothing", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", problem(answer, 404, "HTTP-404")["request_id"])


def test_a_fault_that_nobody_foresaw_is_told_without_its_inside(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(study: str) -> None:
        raise RuntimeError("the patient is Ada Lovelace")

    monkeypatch.setattr(server.ledger, "log_keys", broken)
    answer = server.http.get(server.path("/log-keys"))
    problem(answer, 500, "FAULT")
    assert "Ada" not in answer.text
