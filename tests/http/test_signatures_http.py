"""The worklist of signatures over HTTP, and signatures in the change feed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.conftest import Server, follow
from tests.http.test_problems import problem
from tests.scenario.simulator import Simulator, Subject, Told


@pytest.fixture
def signed(server: Server, trial: Simulator) -> tuple[Subject, Told, Told, Told]:
    """A subject, a record, a signature over it, and a correction after that."""
    ada = trial.subject("001")
    trial.screen(ada)
    told = trial.adverse_event(ada)
    fields = {"records": [told.target], "meaning": "responsibility"}
    signature = trial.decide(trial.staff().pi, "RecordsSigned", ada, **fields)
    act = trial.correct(told, "term", "wheeze")
    follow(server.ledger)
    return ada, told, signature, act


def get(server: Server, rest: str, **asked: Any) -> dict[str, Any]:
    """A page of JSON."""
    answer = server.http.get(server.path(rest), params=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_changed_signature_is_listed_with_what_changed(
    server: Server, trial: Simulator, signed: tuple[Subject, Told, Told, Told]
) -> None:
    _, told, signature, act = signed
    size = act.index + 1
    answer = server.http.get(server.path("/signatures"), params={"subject": "001", "wait_for": size})
    assert (answer.headers["Ledger-Index"], answer.headers["Projection-Version"]) == (str(size), "1")
    (shown,) = answer.json()["signatures"]
    assert (shown["standing"], shown["printed_name"]) == ("changed since signed", trial.staff().pi.name)
    (change,) = shown["changes"]
    assert (change["record"]["event_id"], change["index"], change["what"]) == (told.jti, act.index, "corrected")
    (earlier,) = get(server, "/signatures", subject="001", as_of=signature.index + 1)["signatures"]
    assert earlier["standing"] == "stands"


def test_what_is_listed_for_signing_again_can_be_signed_as_it_is_listed(
    server: Server, trial: Simulator, signed: tuple[Subject, Told, Told, Told]
) -> None:
    pi = trial.staff().pi
    (work,) = get(server, "/signatures/to-sign-again", signer=pi.id)["to_sign_again"]
    records = [{"jti": one["event_id"], "digest": one["digest"]} for one in work["records"]]
    about, site = work["subject"], work["site"]
    trial.decide(pi, "RecordsSigned", about, site=site, records=records, meaning=work["meaning"])
    follow(server.ledger)
    assert get(server, "/signatures/to-sign-again", signer=pi.id)["to_sign_again"] == []


def test_the_feed_shows_whose_an_electronic_signature_is(
    server: Server, trial: Simulator, signed: tuple[Subject, Told, Told, Told]
) -> None:
    _, told, signature, _ = signed
    pi = trial.staff().pi
    shown = get(server, f"/events/{signature.index}")["signature"]
    assert {name: shown[name] for name in ("printed_name", "meaning", "actor", "role", "index")} == {
        "printed_name": pi.name,
        "meaning": "responsibility",
        "actor": pi.id,
        "role": pi.role,
        "index": signature.index,
    }
    (entry, *_) = get(server, "/events", after=told.index, limit=1)["entries"]
    assert entry["signature"] is None, "an entry is no signature"


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ({"standing": "valid"}, "READ-5"),
        ({"subject": "nobody"}, "READ-6"),
        ({"limit": 0}, "REQUEST-1"),
        ({"after": -1}, "REQUEST-1"),
        ({"signed": "yes"}, "REQUEST-1"),
    ],
)
def test_a_list_asked_for_wrongly_is_refused(
    server: Server, trial: Simulator, asked: dict[str, Any], rule: str
) -> None:
    follow(server.ledger)
    problem(server.http.get(server.path("/signatures"), params=asked), 404 if rule == "READ-6" else 400, rule)
