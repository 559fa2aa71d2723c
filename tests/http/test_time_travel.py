"""Both senses of time travel on every view: as it was known then, and as it happened; each alone and together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.http.conftest import Server, follow
from tests.http.test_problems import problem
from tests.scenario.simulator import Simulator, Subject, Told

VIEWS = (
    "/subjects",
    "/subjects/001",
    "/findings",
    "/cohorts",
    "/cohorts/LOW",
    "/schedule",
    "/safety",
    "/outcomes",
    "/signatures",
    "/signatures/to-sign-again",
    "/protocol",
    "/audit-trail",
)


@dataclass
class Course:
    """What was played: `then` is ten days after treatment, when little was known; `size` is what was known then."""

    ada: Subject
    fever: Told
    cough: Told
    then: str
    size: int
    dosed_on: str


@pytest.fixture
def course(trial: Simulator, server: Server) -> Course:
    """Treated in March. In May a fever is recorded that had come after three days, a draw of then, and a cough whose
    date is corrected from March to April; and a second subject is enrolled."""
    trial.open_cohort("LOW")
    ada = trial.admit(trial.subject("001"), "LOW")
    trial.treat(ada, 1)
    dosed = trial.clock()
    trial.later(days=10)
    then, size = trial.clock().date().isoformat(), len(trial.acknowledged)
    trial.later(days=50)

    def day(days: int) -> str:
        return (dosed + timedelta(days=days)).isoformat(timespec="seconds")

    fever = trial.adverse_event(ada, "fever", 2, started_at=day(3), occurred_at=day(3))
    cough = trial.adverse_event(ada, "cough", 1, started_at=day(5), occurred_at=day(5))
    trial.correct(cough, "occurred_at", day(35), "month misread")
    trial.correct(cough, "started_at", day(35), "month misread")
    trial.draw(ada, "S-1", occurred_at=day(4))
    trial.result(ada, "FERR", "50", "ug/L", occurred_at=day(4), specimen="S-1")
    trial.admit(trial.subject("002"), "LOW")
    follow(server.ledger)
    return Course(ada, fever, cough, then, size, dosed.date().isoformat())


def got(server: Server, rest: str, **asked: Any) -> Any:
    """A view's answer."""
    answer = server.http.get(server.path(rest), params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_patient_and_the_list(server: Server, course: Course) -> None:
    def terms(**asked: Any) -> list[str]:
        events = got(server, "/subjects/001", **asked)["adverse_events"]["events"]
        return sorted(one["term"] for one in events)

    assert terms() == ["cough", "fever"]
    assert terms(as_of=course.size) == []
    assert terms(occurred_by=course.then) == ["fever"]
    assert terms(occurred_by=course.then, as_of=course.size) == []

    def listed(**asked: Any) -> list[tuple[str, int]]:
        found = got(server, "/subjects", **asked)["subjects"]
        return [(one["number"], one["adverse_events"]) for one in found]

    assert listed() == [("001", 2), ("002", 0)]
    assert listed(as_of=course.size) == [("001", 0)]
    assert listed(occurred_by=course.then) == [("001", 1)]
    assert listed(occurred_by="2026-01-01") == []
    problem(server.http.get(server.path("/subjects/002"), params={"occurred_by": course.then}), 404, "READ-6")


def test_cohorts_and_safety(server: Server, course: Course) -> None:
    assert got(server, "/cohorts/LOW")["enrolled"] == 2
    assert got(server, "/cohorts/LOW", occurred_by=course.then)["enrolled"] == 1
    before = got(server, "/cohorts", occurred_by="2026-01-01")
    assert {one["status"] for one in before["cohorts"]} == {"planned"} and before["enrolled"] == 0

    def terms(**asked: Any) -> set[str]:
        return {one["term"] for one in got(server, "/safety", **asked)["adverse_events"]}

    assert terms() == {"cough", "fever"}
    assert terms(as_of=course.size) == set()
    assert terms(occurred_by=course.then) == {"fever"}


def test_schedule_outcomes_and_signatures(server: Server, course: Course) -> None:
    now, known, happened = (
        got(server, "/schedule", subject="001", **asked)
        for asked in ({}, {"as_of": course.size}, {"as_of": course.size, "occurred_by": course.then})
    )
    assert happened["subjects"][0]["counts"] != now["subjects"][0]["counts"]
    assert known["subjects"][0]["occasions"] != now["subjects"][0]["occasions"]
    assert got(server, "/schedule", occurred_by=course.then)["subjects"][0]["number"] == "001"
    assert len(got(server, "/schedule", occurred_by=course.then)["subjects"]) == 1
    assert got(server, "/outcomes")["enrolled"] == 2
    assert got(server, "/outcomes", occurred_by=course.then)["enrolled"] == 1

    def signed(**asked: Any) -> list[int]:
        return [one["index"] for one in got(server, "/signatures", limit=1000, **asked)["signatures"]]

    later = [index for index in signed() if index >= course.size]
    assert later and signed(occurred_by=course.then) == [index for index in signed() if index < course.size]


def test_the_audit_trail_on_the_page_and_in_files(server: Server, course: Course) -> None:
    asked = {"event": "AdverseEventReported", "occurred_by": course.then}
    assert {line["index"] for line in got(server, "/audit-trail", **asked)["rows"]} == {course.fever.index}
    assert got(server, "/audit-trail", as_of=course.size, **asked)["rows"] == []
    text = server.http.get(server.path("/audit-trail"), params={**asked, "format": "csv"}).text
    assert text.count("\r\n") > 1 and all(line.startswith(f"{course.fever.index},") for line in text.splitlines()[1:])
    stream = server.http.get(server.path("/audit-trail"), params={**asked, "format": "ndjson"}).text
    assert stream.count("\n") == text.count("\r\n") - 1


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_takes_both_says_so_and_refuses_what_it_cannot_mean(
    server: Server, course: Course, view: str
) -> None:
    plain = got(server, view)
    assert "occurred_by" not in plain["cut"]
    answer = server.http.get(server.path(view), params={"as_of": course.size, "occurred_by": course.then})
    assert answer.json()["cut"]["occurred_by"] == course.then
    assert answer.headers["Ledger-Index"] == str(course.size)
    assert isinstance(answer.json()["cut"]["uncertain"], int)
    address = server.path(view)
    for wrong in ("17", "then", "2026-03-04T10:00", "2026-02-30", ""):
        problem(server.http.get(address, params={"occurred_by": wrong}), 400, "READ-5")
    problem(server.http.get(f"{address}?occurred_by=2026-03-04T10:00:00+01:00"), 400, "REQUEST-1")
    problem(server.http.get(address, params={"occurred_by": "9999-01-01"}), 422, "READ-14")
    for future in ("2500-01-01", "9999-12-31"):
        cut = got(server, view, as_of=future)["cut"]
        assert cut["size"] == plain["cut"]["size"]
        assert plain["cut"]["at"] <= cut["at"] < "2500", "nothing is known of that day, and nothing missed by it"
    problem(server.http.get(address, params={"wait_for": "-1"}), 400, "REQUEST-1")
    both = {"as_of": "2026-03-01", "occurred_by": course.then}
    problem(server.http.get(address, params=both), 422, "READ-14")


def test_the_interface_description_tells_of_both(server: Server) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]
    for view in VIEWS:
        path = "/v1/studies/{study}" + view.replace("001", "{subject}").replace("LOW", "{name}")
        said = {one["name"]: one.get("description", "") for one in paths[path]["get"]["parameters"]}
        assert "As it happened" in said["occurred_by"] and "As it was known" in said["as_of"], path


def test_answers_come_in_the_forms_and_with_the_headers_that_are_described(server: Server, course: Course) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]
    named = {"{subject}": "001", "{name}": "LOW", "{jti}": course.fever.jti, "{index}": "3", "{study}": server.study}
    asked = {"/proofs/inclusion": {"index": 1}, "/proofs/consistency": {"old": 1}, "/changes": {"from": 1}}
    seen = set()
    for path, operations in paths.items():
        if not path.startswith("/v1/studies/{study}") or "get" not in operations or path.endswith("/sessions"):
            continue  # a session is read by whoever has one
        told = operations["get"]["responses"]["200"]
        place, rest = path, path.removeprefix("/v1/studies/{study}")
        for name, value in named.items():
            place = place.replace(name, value)
        for kind in told["content"]:
            params = asked.get(rest, {})
            answer = server.http.get(place, params=params, headers={"Accept": kind})
            assert answer.status_code == 200, (path, answer.text)
            assert answer.headers["content-type"].split(";")[0] == kind, path
            said = {name for name in answer.headers if name.startswith(("ledger-", "projection-"))}
            described = {name.lower() for name in told.get("headers", {})}
            assert said <= described <= set(answer.headers), path
            seen.add(kind)
    assert seen == {"application/json", "application/x-ndjson", "text/csv", "text/plain", "application/zip"}


def test_a_host_whose_release_lacks_the_live_version_is_not_ready(server: Server, course: Course) -> None:
    assert server.http.get("/health/ready").status_code == 200
    with server.ledger.projector_database() as database, database.connection() as conn:
        conn.execute("UPDATE projection.definitions SET fingerprint = %s WHERE name = 'safety'", ("f" * 64,))
    answer = server.http.get("/health/ready")
    assert answer.status_code == 503
    assert [one["projection"] for one in answer.json()["needed"]] == ["safety"]
    problem(server.http.get(server.path("/safety")), 503, "READ-13")
    assert server.http.get(server.path("/subjects")).status_code == 200


def test_what_changed_since_a_cut_as_data_and_as_a_table(server: Server, course: Course) -> None:
    found = got(server, "/changes", **{"from": course.size})
    people = {one["number"]: one for one in found["subjects"]}
    assert people["002"]["new"] and not people["001"]["new"]
    assert [one["field"] for one in people["001"]["corrected"]] == ["occurred_at", "started_at"]
    assert found["study"]["views"] == [
        {"what": "enrolled", "cohort": "LOW", "before": 1, "after": 2, "indexes": found["study"]["views"][0]["indexes"]}
    ]
    later = got(server, "/changes", **{"from": "CohortOpened:LOW", "to": course.size, "subject": "001"})
    (only,) = later["subjects"]
    assert {one["what"]: (one["before"], one["after"]) for one in only["views"]}["status"] == (None, "treated")
    answer = server.http.get(server.path("/changes"), params={"from": course.size, "format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv") and answer.headers["Ledger-Index"]
    assert sum(",corrected," in line for line in answer.text.splitlines()) == 2
    address = server.path("/changes")
    problem(server.http.get(address), 400, "REQUEST-1")
    problem(server.http.get(address, params={"from": "9", "to": "8"}), 400, "READ-5")
    problem(server.http.get(address, params={"from": "then"}), 400, "READ-5")
    problem(server.http.get(address, params={"from": "1", "format": "xml"}), 400, "REQUEST-1")
    problem(server.http.get(address, params={"from": "1", "as_of": "2"}), 400, "REQUEST-1")
    problem(server.http.get(address, params={"from": "CohortOpened:HIGH"}), 404, "READ-8")
    problem(server.http.get(f"{address}?from=2026-03-04T10:00:00+01:00"), 400, "REQUEST-1")
