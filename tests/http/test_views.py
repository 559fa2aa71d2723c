"""The pages over HTTP: what they refuse, and the list of refusals with what each statement said it was."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.signing.wire import STATEMENT_LIMIT
from tests.http.conftest import Server, follow
from tests.http.test_problems import problem
from tests.http.test_review_http import NDJSON, lines
from tests.scenario.simulator import Simulator


def listed(server: Server, **asked: Any) -> list[dict[str, Any]]:
    """The list of refusals."""
    found: list[dict[str, Any]] = server.http.get(server.path("/refusals"), params=asked).json()["refusals"]
    return found


def test_a_refused_statement_is_listed_with_what_it_said_it_was(server: Server, trial: Simulator) -> None:
    person = trial.subject("1")
    by = trial.cast.monitor
    text = trial.sign(by, "SubjectScreened", person, site="NORTH", number="1")
    problem(server.post(text), 403, "ROLE-1")
    (row,) = listed(server)
    assert {name: row[name] for name in ("event", "sub", "role", "site", "iss", "verified")} == {
        "event": "SubjectScreened",
        "sub": person.label,
        "role": by.role,
        "site": "NORTH",
        "iss": by.id,
        "verified": True,
    }
    assert not {"statement", "content"} & row.keys(), "what it said about the subject is not on the list"


def test_whoever_did_not_sign_is_not_called_the_actor(server: Server, trial: Simulator) -> None:
    text = trial.sign(trial.staff().coordinator, "SubjectScreened", trial.subject("1"), number="1")
    jwt, tilde, rest = text.partition("~")
    signed, _, signature = jwt.rpartition(".")
    forged = f"{signed}.{signature[:-6]}{'A' * 5}{signature[-1]}{tilde}{rest}"
    problem(server.post(forged), 401, "SIGNATURE-0")
    (row,) = listed(server)
    assert (row["rule"], row["event"], row["verified"]) == ("SIGNATURE-0", "SubjectScreened", False)


@pytest.mark.parametrize("junk", ["junk", "a.b.c~", "é", "x" * (STATEMENT_LIMIT + 10)])
def test_what_is_no_statement_is_listed_as_such(server: Server, trial: Simulator, junk: str) -> None:
    server.post(lines(junk), NDJSON)
    (row,) = listed(server)
    assert [row[name] for name in ("event", "sub", "role", "site", "verified")] == [None, None, None, None, False]


def test_the_list_of_refusals_names_the_newest_state_and_pages(server: Server, trial: Simulator) -> None:
    server.post(lines("one", "two", "three"), NDJSON)
    cut = trial.door.cut()
    answer = server.http.get(server.path("/refusals"), params={"limit": 2, "wait_for": cut.size})
    assert (answer.headers["Ledger-Index"], answer.headers["Ledger-Root"]) == (str(cut.size), cut.root)
    page = answer.json()
    assert (len(page["refusals"]), page["count"], page["size"]) == (2, 3, cut.size)
    assert len(listed(server, after=page["next"])) == 1
    problem(server.http.get(server.path("/refusals"), params={"as_of": cut.size}), 400, "REQUEST-1")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/schedule?standing=nonsense", "no longer planned"),
        ("/subjects?status=nonsense", "screen failed"),
        ("/audit-trail?event=nonsense", "SubjectScreened"),
        ("/audit-trail?event=nonsense&format=csv", "SubjectScreened"),
        ("/audit-trail?sort=recorded_at", "-index"),
        ("/audit-trail?sort=--index&format=ndjson", "index, subject"),
    ],
)
def test_a_value_that_there_is_not_is_refused_with_those_that_there_are(
    server: Server, trial: Simulator, path: str, says: str
) -> None:
    answer = server.http.get(server.path(path))
    problem(answer, 400, "READ-5")
    assert says in answer.json()["because"]


def test_a_refused_export_does_not_keep_its_connection(server: Server, trial: Simulator) -> None:
    for _ in range(20):
        answer = server.http.get(server.path("/audit-trail?format=csv&event=nonsense"))
        problem(answer, 400, "READ-5")
    assert server.http.get(server.path("/audit-trail?format=csv")).status_code == 200


def test_two_subjects_with_one_number_are_told_apart_by_uuid_alone(server: Server, trial: Simulator) -> None:
    people = [trial.subject("7", site) for site in ("NORTH", "SOUTH")]
    told = [trial.screen(person) for person in people]
    follow(server.ledger)
    for path in ("/subjects/7", f"/subjects/7/history/{told[0].jti}", "/schedule?subject=7", "/audit-trail?subject=7"):
        answer = server.http.get(server.path(path))
        problem(answer, 409, "READ-11")
        assert all(person.label.partition("/")[2] in answer.json()["because"] for person in people), path
        assert "UUID" in answer.json()["remedy"]
    shown = server.http.get(server.path(f"/subjects/{people[1].label.partition('/')[2]}"))
    assert shown.json()["subject"]["site"] == "SOUTH"
