"""People sign over HTTP: a code, a passphrase, a session, a ceremony, its signature."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ledger.settings import Settings, SettingsError
from tests.http.conftest import Server
from tests.scenario.signers import PASSPHRASE, enrol, offer
from tests.scenario.simulator import Simulator

REVIEW = {"scope": {}, "first": 0, "last": 1, "rule_version": "1", "findings": "nothing strange"}
ASKED = {"event": "AuditTrailReviewed", "sub": "study", "role": "monitor", "meaning": "review", "fields": REVIEW}


@pytest.fixture
def token(server: Server, trial: Simulator) -> str:
    """A monitor's session, in a study that asks for ceremonies."""
    trial.record(trial.cast.registrar, "CeremonyRequired", "study")
    code = offer(trial, "monitor")
    chosen = {"user_id": "monitor", "code": code, "passphrase": PASSPHRASE}
    made = server.http.post(server.path("/credentials"), json=chosen)
    assert made.status_code == 201
    waiting = server.http.get(server.path("/credentials")).json()["credentials"]
    assert [(one["kid"], one["state"]) for one in waiting] == [(made.json()["kid"], "waiting")]
    enrol(trial, waiting[0])
    begun = server.http.post(server.path("/sessions"), json={"user_id": "monitor", "passphrase": PASSPHRASE})
    assert begun.status_code == 201
    assert begun.headers["Cache-Control"] == "no-store"
    return str(begun.json()["token"])


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def ceremony(server: Server, token: str, **changed: Any) -> httpx.Response:
    return server.http.post(server.path("/ceremonies"), json={**ASKED, **changed}, headers=bearing(token))


def signature(server: Server, token: str, shown: dict[str, Any], **components: Any) -> httpx.Response:
    address = server.path(f"/ceremonies/{shown['ceremony']}/signature")
    return server.http.post(address, json={"draft": shown["draft"], **components}, headers=bearing(token))


def test_a_person_signs_from_the_code_to_the_receipt_and_signs_out(server: Server, token: str) -> None:
    shown = ceremony(server, token).json()
    assert shown["components"] == ["user_id", "passphrase"]
    first = signature(server, token, shown, user_id="monitor", passphrase=PASSPHRASE)
    assert first.status_code == 201
    assert first.json()["receipt"].startswith("c2sp.org/tlog-proof@v1\n")
    again = signature(server, token, shown, user_id="monitor", passphrase=PASSPHRASE)
    assert (again.status_code, again.json()["index"]) == (200, first.json()["index"])
    assert server.http.get(server.path("/sessions"), headers=bearing(token)).json()["components"] == ["passphrase"]
    assert server.http.delete(server.path("/sessions"), headers=bearing(token)).status_code == 204
    assert ceremony(server, token).json()["rule"] == "ACCOUNT-2"


@pytest.mark.parametrize("stated", [{"iss": "sponsor"}, {"on_behalf_of": "sponsor"}, {"mode": "transcribed"}])
def test_nobody_signs_for_another(server: Server, token: str, stated: dict[str, Any]) -> None:
    answer = ceremony(server, token, **stated)
    assert (answer.status_code, answer.json()["rule"]) == (400, "REQUEST-1")


def test_a_session_alone_and_one_component_sign_nothing(server: Server, token: str) -> None:
    shown = ceremony(server, token).json()
    assert signature(server, token, shown).json()["rule"] == "REQUEST-1"
    assert signature(server, token, shown, passphrase=PASSPHRASE).json()["rule"] == "ACCOUNT-3"
    assert signature(server, token, shown, user_id="monitor", passphrase="").json()["rule"] == "ACCOUNT-1"
    assert signature(server, "", shown, user_id="monitor", passphrase=PASSPHRASE).json()["rule"] == "ACCOUNT-2"


def test_a_refusal_repeats_no_passphrase(server: Server, token: str) -> None:
    secret = "a passphrase that nobody prints"
    wrong: tuple[Any, ...] = (
        {"user_id": "monitor", "passphrase": secret},
        {"user_id": "monitor", "passphrase": secret, "more": secret},
        {"user_id": "monitor", "passphrase": [secret]},
        {"user_id": 1, "passphrase": secret},
    )
    for body in wrong:
        answer = server.http.post(server.path("/sessions"), json=body)
        assert answer.status_code in (400, 401)
        assert secret not in answer.text


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"null", b'{"user_id":"a","user_id":"b","passphrase":"c"}', b"\xff"]
)
def test_a_body_that_is_not_what_is_asked_for_is_refused(server: Server, token: str, body: bytes) -> None:
    for path in ("/sessions", "/credentials", "/ceremonies", "/ceremonies/x/signature"):
        answer = server.http.post(server.path(path), content=body, headers=bearing(token))
        assert (answer.status_code, answer.json()["rule"]) == (400, "REQUEST-1"), answer.text


@pytest.mark.parametrize(
    "draft", [{}, {"claims": {}}, {"expires_at": "x"}, {"claims": None, "content": 1, "expires_at": 0}]
)
def test_a_draft_that_nobody_showed_is_refused(server: Server, token: str, draft: dict[str, Any]) -> None:
    shown = ceremony(server, token).json()
    answer = signature(server, token, {**shown, "draft": draft}, user_id="monitor", passphrase=PASSPHRASE)
    assert (answer.status_code, answer.json()["rule"]) == (403, "CEREMONY-1")


@pytest.mark.parametrize("minutes", ["0", "31", "-1", "1.5", "x", "99999999"])
def test_an_idle_time_outside_its_bounds_is_refused(minutes: str) -> None:
    with pytest.raises(SettingsError):
        Settings.read({"TRIAL_LEDGER_SESSION_IDLE_MINUTES": minutes})
