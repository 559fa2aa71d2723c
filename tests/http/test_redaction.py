"""Redaction as a privacy officer meets it: the search, the list, the command, the pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ledger.signing.keys import SigningKey, save_key
from ledger.signing.statement import parse
from tests.http.conftest import Server, follow
from tests.scenario.clock import TurnedClock
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator, Told

NAME = "Wilhelmina Synthetic-Person"
DONE, REFUSED, UNDECIDED, USAGE = 0, 1, 2, 64


@pytest.fixture
def named(trial: Simulator) -> Told:
    """A screening whose comment holds a name by mistake; another subject has nothing of it."""
    trial.screen(trial.subject("002"), comment="as usual")
    told = trial.screen(trial.subject("001"), comment=f"called herself {NAME}")
    follow(ledger_of(trial))
    return told


def command(trial: Simulator, *arguments: str, typed: str = "") -> tuple[int, Any, str]:
    """Run `trial-ledger redact` on the trial's ledger: status, the JSON it gave, what it said besides."""
    ledger = ledger_of(trial)
    environment = {
        **os.environ,
        "TRIAL_LEDGER_HOME": str(ledger.home.path),
        "TRIAL_LEDGER_DATABASE_URL": ledger.urls.app,
        "TRIAL_LEDGER_PROJECTOR_URL": ledger.urls.projector,
    }
    line = [sys.executable, "-m", "api.cli", "redact", "--study", trial.plan.study, "--json", *arguments]
    ended = subprocess.run(line, env=environment, input=typed, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, json.loads(ended.stdout) if ended.stdout.strip() else None, ended.stderr


# -- searching ----------------------------------------------------------------------------------------------


def test_a_search_finds_the_field_and_never_says_the_text(server: Server, trial: Simulator, named: Told) -> None:
    query = trial.query(named, f"who is {NAME}?")
    answer = server.http.post(server.path("/redactions/search"), json={"text": NAME.lower()})
    assert answer.status_code == 200
    found = answer.json()["found"]
    assert [(one["index"], one["field"]) for one in found] == [(named.index, "comment"), (query.index, "question")]
    assert all(one["disclosure"] in parse(named.text).claims["_sd"] for one in found[:1])
    assert NAME.lower() not in answer.text.lower()


@pytest.mark.parametrize(
    "typed",
    [
        "Zoë van der Berg",
        "Zoe\u0308 van der Berg",
        "ZO\u00cb  VAN\u00a0DER\nBERG",
        "\uff3aoë van\u200b der Berg",
        "4711 0815",
    ],
)
def test_a_search_finds_a_name_however_it_was_typed(server: Server, trial: Simulator, typed: str) -> None:
    """Composed or not, in another case, with other spaces, in wide letters, with a character that does not print."""
    ada = trial.subject("001")
    told = trial.screen(ada, comment=f"this is {typed}, who called")
    query = trial.query(told, "is she Zoë van der Berg?")
    sought = "zoë van der berg" if "4711" not in typed else "4711 0815"
    found = server.http.post(server.path("/redactions/search"), json={"text": sought}).json()["found"]
    assert found[0]["index"] == told.index
    assert "4711" in typed or found[1]["index"] == query.index


def test_a_search_finds_numbers_and_names_of_parts(server: Server, trial: Simulator) -> None:
    """What somebody wrote where a value does not belong."""
    ada = trial.subject("001")
    trial.screen(ada)
    items = {"Wilhelmina Synthetic-Person": True, "telephone": 612345678}
    told = trial.fact("AssessmentRecorded", ada, instrument="ECOG", version="1", items=items)
    for sought in ("wilhelmina synthetic", "612345678"):
        found = server.http.post(server.path("/redactions/search"), json={"text": sought}).json()["found"]
        assert [(one["index"], one["field"]) for one in found] == [(told.index, "items")]


def test_a_search_is_kept_to_one_subject(server: Server, trial: Simulator, named: Told) -> None:
    other = trial.screen(trial.subject("003"), comment=NAME)
    about = parse(other.text).sub.partition("/")[2]
    found = server.http.post(server.path("/redactions/search"), json={"text": NAME, "subject": about}).json()["found"]
    assert [one["index"] for one in found] == [other.index]


def test_what_stands_in_the_clear_is_found_and_has_no_digest(server: Server, trial: Simulator, named: Told) -> None:
    found = server.http.post(server.path("/redactions/search"), json={"text": "coordinator-NORTH"}).json()["found"]
    assert {one["field"] for one in found if one["disclosure"] is None} >= {"iss"}


def test_a_refused_statement_is_found(server: Server, trial: Simulator, named: Told) -> None:
    server.post(trial.sign(trial.cast.sponsor, "VisitRecorded", parse(named.text).sub, site="NORTH", comment=NAME))
    answer = server.http.post(server.path("/redactions/search"), json={"text": NAME}).json()
    assert len(answer["refusals"]) == 1


@pytest.mark.parametrize(
    "body", [{}, {"text": ""}, {"text": "ab"}, {"text": "   "}, {"text": 3}, {"text": "abc", "more": 1}, [], "abc"]
)
def test_a_search_that_makes_no_sense_is_refused(server: Server, named: Told, body: Any) -> None:
    answer = server.http.post(server.path("/redactions/search"), json=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["remedy"]


def test_a_search_in_no_subject_is_refused(server: Server, named: Told) -> None:
    answer = server.http.post(server.path("/redactions/search"), json={"text": NAME, "subject": "001"})
    assert answer.status_code == 400


# -- the list, the pages ------------------------------------------------------------------------------------


def test_the_list_says_when_by_whom_why_and_how_far(server: Server, trial: Simulator, named: Told) -> None:
    order = trial.order_redaction({named: ["comment"]})
    (waiting,) = server.http.get(server.path("/redactions")).json()["redactions"]
    assert (waiting["state"], waiting["countersigned"]) == ("waits for a second signature", None)
    second = trial.countersign(order, trial.cast.data_manager)
    (one,) = server.http.get(server.path("/redactions")).json()["redactions"]
    assert one["order"]["actor"] == trial.cast.privacy_officer.id
    assert (one["countersigned"]["index"], one["countersigned"]["actor"]) == (
        second.index,
        trial.cast.data_manager.id,
    )
    assert (one["legal_basis"], one["reason"]) == ("GDPR Art. 16", "entered by mistake")
    assert one["records"] == [
        {"jti": named.jti, "index": named.index, "event": "SubjectScreened", "fields": ["comment"]}
    ]
    assert (one["state"], one["destroyed_at"]) == ("in effect, not destroyed yet", None)
    follow(server.ledger)
    assert command(trial, "--apply")[0] == DONE
    (one,) = server.http.get(server.path("/redactions")).json()["redactions"]
    assert one["state"] == "destroyed"
    assert one["destroyed_at"]


def test_no_page_of_any_state_shows_it_again(server: Server, trial: Simulator, named: Told) -> None:
    subject = parse(named.text).sub.partition("/")[2]
    pages = [
        *("", "/events", f"/events/{named.index}", "/subjects", f"/subjects/{subject}", "/subjects?search=Wilhelmina"),
        *(f"/subjects/{subject}/history/{named.jti}", "/findings", "/audit-trail", "/audit-trail?format=csv"),
        *("/cohorts", "/schedule", "/safety", "/outcomes", "/refusals", "/redactions"),
    ]
    before = server.http.get(server.path(f"/subjects/{subject}")).text
    assert NAME in before
    size = trial.door.cut().size
    second = trial.redact({named: ["comment"]})
    follow(server.ledger)
    for page in pages:
        for as_of in (None, size, second.index):
            parameters = {} if as_of is None or page in ("/refusals",) else {"as_of": as_of}
            answer = server.http.get(server.path(page), params=parameters)
            assert answer.status_code == 200, (page, answer.text)
            decoded = answer.text
            if page.startswith("/events"):
                entries = answer.json().get("entries", [answer.json()])
                decoded = str([parse(one["statement"], partial=True).content for one in entries])
            assert NAME not in decoded, (page, as_of)


def test_the_pages_say_that_it_was_redacted(server: Server, trial: Simulator, named: Told) -> None:
    subject = parse(named.text).sub.partition("/")[2]
    second = trial.redact({named: ["comment"]})
    follow(server.ledger)
    page = server.http.get(server.path(f"/subjects/{subject}")).json()
    (entry,) = [one for one in _entries(page) if one.get("event_id") == named.jti][:1]
    assert entry["redacted"] == {"comment": second.index}
    lines = server.http.get(server.path("/audit-trail"), params={"field": "comment"}).json()["rows"]
    mine = [line for line in lines if line["index"] == named.index]
    assert [(line["field"], line["new_value"], line["redacted_at"]) for line in mine] == [
        ("comment", None, second.index)
    ]
    ordered = [line for line in lines if line["event"] == "FieldsRedacted"]
    assert [(line["actor"], line["reason"], line["new_value"]) for line in ordered] == [
        (trial.cast.privacy_officer.id, "entered by mistake", f"redacted in SubjectScreened at index {named.index}")
    ]


def _entries(page: Any) -> list[dict[str, Any]]:
    """Every record anywhere on a page."""
    if isinstance(page, dict):
        found = [page] if "event_id" in page and "redacted" in page else []
        return found + [one for part in page.values() for one in _entries(part)]
    return [one for part in page for one in _entries(part)] if isinstance(page, list) else []


def test_while_the_pages_have_not_taken_it_in_they_show_nothing(
    server: Server, trial: Simulator, named: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.engine.reading.WAIT_S", 0.0)
    trial.redact({named: ["comment"]})
    for page in ("/subjects", "/audit-trail", "/audit-trail?format=csv"):
        answer = server.http.get(server.path(page))
        assert (answer.status_code, answer.json()["rule"]) == (503, "READ-12")
    follow(server.ledger)
    assert server.http.get(server.path("/subjects")).status_code == 200


# -- the command --------------------------------------------------------------------------------------------


def test_an_order_is_prepared_from_a_text_with_its_copies_and_candidates(trial: Simulator, named: Told) -> None:
    act = trial.correct(named, "comment", f"called herself {NAME} indeed", reason="as I said")
    query = trial.query(named, f"really? called herself {NAME}")
    elsewhere = trial.record(
        trial.staff().coordinator,
        "VisitRecorded",
        parse(named.text).sub,
        site="NORTH",
        comment=f"She called herself {NAME}",
    )
    status, given, _ = command(trial, "--jti", named.jti, "--field", "comment")
    assert status == DONE
    (order,) = given["orders"]
    destroyed = {(one["index"], one["field"]) for one in order["destroys"]}
    assert destroyed == {(named.index, "comment"), (act.index, "value"), (query.index, "question")}
    assert [(one["index"], one["field"]) for one in order["candidates"]] == [(elsewhere.index, "comment")]
    status, given, _ = command(trial, "--text", NAME)
    assert status == DONE
    (order,) = given["orders"]
    assert len(order["destroys"]) == 4
    assert NAME not in json.dumps(order)
    status, asked, _ = command(trial, "--text", "-", typed=f"{NAME}\n")
    assert status == DONE, "typed where no other user of the machine sees it"
    assert [one["destroys"] for one in asked["orders"]] == [order["destroys"]]
    assert command(trial, "--text", "-", typed="\n")[0] == USAGE


def test_a_prepared_order_is_signed_with_the_officers_key_and_recorded(
    server: Server, trial: Simulator, named: Told, tmp_path: Path
) -> None:
    officer = trial.cast.privacy_officer
    assert isinstance(officer.key, SigningKey) and isinstance(trial.clock, TurnedClock)
    trial.clock.now = datetime.now(UTC)  # the command signs now
    save_key(tmp_path / "officer.key", officer.key, None)
    signing = ("--key", str(tmp_path / "officer.key"), "--actor", officer.id)
    terms = ("--reason", "a name, entered by mistake", "--legal-basis", "GDPR Art. 17(1)")
    status, given, _ = command(trial, "--text", NAME, *signing, *terms)
    assert status == DONE
    answer = server.post(given["orders"][0]["statement"])
    assert answer.status_code == 201, answer.text
    status, _, said = command(trial, "--text", NAME, *signing)
    assert status == USAGE
    assert "--legal-basis" in said


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((), USAGE),
        (("--apply", "--status"), USAGE),
        (("--text", "ab"), USAGE),
        (("--text", "stands nowhere at all"), REFUSED),
        (("--jti", "00000000-0000-4000-8000-000000000000"), REFUSED),
        (("--text", "Wilhelmina", "--subject", "001"), USAGE),
        (("--jti", "named", "--field", "nothing"), REFUSED),
    ],
)
def test_what_cannot_be_prepared_is_said(
    trial: Simulator, named: Told, arguments: tuple[str, ...], status: int
) -> None:
    given = tuple(named.jti if one == "named" else one for one in arguments)
    ended, _, said = command(trial, *given)
    assert ended == status
    assert said.strip()


def test_the_status_says_what_remains_where_until_when(trial: Simulator, named: Told) -> None:
    trial.redact({named: ["comment"]})
    status, given, _ = command(trial, "--status")
    assert (status, given["redactions"][0]["backups_until"]) == (DONE, None)
    assert command(trial, "--apply")[0] == DONE
    _, given, _ = command(trial, "--status")
    (one,) = given["redactions"]
    assert one["state"] == "destroyed"
    assert one["backups_until"] > one["destroyed_at"]
    assert one["exported_before"] == []
    assert command(trial, "--apply")[1] == {"redactions": []}
