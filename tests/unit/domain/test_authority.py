"""Who may do what at an index: keys, roles and delegations as the governance events say, in the order of the log."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.authority import Authority, Denial

ORIGIN = "ledger.test/study/COAST-07"
TODAY = "2026-03-02T08:00:00.000000Z"


class Log:
    """A log of clear claims, folded as it grows."""

    def __init__(self, registrars: int = 1) -> None:
        self.authority = Authority()
        self.size = 0
        people = [{"actor": f"registrar-{n}", "kid": f"K-registrar-{n}", "alg": "Ed25519", "jwk": {}} for n in (1, 2)]
        body = {
            "origin": ORIGIN,
            "log_keys": ["log"],
            "registrars": people,
            "registrars_required": registrars,
            "ceremony": "unavailable",
            "roles": ["registrar", "principal-investigator", "coordinator", "sponsor", "monitor", "system"],
            "ledger": {"kid": "K-ledger", "jwk": {}},
        }
        self.say("StudyOpened", "study", "registrar-1", "registrar", body)

    def claims(self, event: str, sub: str, iss: str, role: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """Claims of a statement that is not recorded yet."""
        jti = f"{self.size:08}-0000-4000-8000-000000000000"
        base = {"event": event, "sub": sub, "iss": iss, "role": role, "aud": ORIGIN, "jti": jti, "body": body or {}}
        return {**base, **more}

    def say(self, *given: Any, **more: Any) -> str:
        """Record a statement; returns its event id."""
        claims = self.claims(*given, **more)
        self.authority.apply(claims, self.size)
        self.size += 1
        return str(claims["jti"])

    def enrol(self, actor: str, role: str, kind: str = "person", by: str = "registrar-1", **rights: Any) -> str:
        """An actor with a key and a role; returns the delegation's event id."""
        self.say("ActorEnrolled", f"actor/{actor}", "registrar-1", "registrar", {"actor_kind": kind})
        body = {"kid": f"K-{actor}", "jwk": {}, "alg": "Ed25519"}
        self.say("KeyEnrolled", f"actor/{actor}", "registrar-1", "registrar", body)
        own = "registrar" if by.startswith("registrar") else "principal-investigator"
        return self.say("DelegationGranted", f"actor/{actor}", by, own, {"role": role, **rights})

    def ask(self, actor: str, role: str, site: str | None = None, at: str = TODAY, **more: Any) -> Denial | None:
        """Whether an actor may record something now."""
        kid, event = more.pop("kid", f"K-{actor}"), more.pop("event", "VisitRecorded")
        where = {"site": site} if site else {}
        return self.authority.check(self.claims(event, "study", actor, role, **where, **more), kid, at)


@pytest.fixture
def log() -> Log:
    """An open study with a principal investigator and a coordinator in the north."""
    log = Log()
    log.enrol("pi", "principal-investigator", sites=["NORTH"])
    log.enrol("nurse", "coordinator", by="pi", sites=["NORTH"])
    return log


def rule(denial: Denial | None) -> str | None:
    """The rule of a denial, whose words are looked at."""
    if denial is None:
        return None
    assert denial.because
    assert denial.remedy.endswith(".")
    return denial.rule


def test_genesis_gives_registrars_and_the_ledger_their_rights(log: Log) -> None:
    assert log.ask("registrar-1", "registrar") is None
    assert log.ask("registrar-2", "registrar") is None
    assert log.ask("ledger", "system") is None
    assert rule(log.ask("registrar-1", "sponsor")) == "AUTHORITY-5"


def test_a_statement_for_another_log_has_no_authority_here(log: Log) -> None:
    assert rule(log.ask("nurse", "coordinator", "NORTH", aud="ledger.test/study/OTHER")) == "AUTHORITY-1"


def test_a_key_counts_from_its_enrolment_and_for_its_actor_alone(log: Log) -> None:
    assert rule(log.ask("nurse", "coordinator", "NORTH", kid="K-unknown")) == "AUTHORITY-2"
    assert rule(log.ask("nurse", "coordinator", "NORTH", kid="K-pi")) == "AUTHORITY-4"


def test_a_revoked_key_no_longer_counts_and_a_second_one_does(log: Log) -> None:
    log.say("KeyRevoked", "actor/nurse", "nurse", "coordinator", {"kid": "K-nurse", "suspect_since": 3})
    denial = log.ask("nurse", "coordinator", "NORTH")
    assert rule(denial) == "AUTHORITY-3"
    assert denial is not None
    assert log.size - 1 in denial.indexes
    log.say("KeyEnrolled", "actor/nurse", "registrar-1", "registrar", {"kid": "K-new", "jwk": {}})
    assert log.ask("nurse", "coordinator", "NORTH", kid="K-new") is None


def test_a_key_may_revoke_itself_because_it_is_good_just_below_that_index(log: Log) -> None:
    body = {"kid": "K-nurse"}
    claims = log.claims("KeyRevoked", "actor/nurse", "nurse", "coordinator", body, site="NORTH")
    assert log.authority.check(claims, "K-nurse", TODAY) is None
    assert log.authority.check_governance(claims, TODAY) is None


def test_a_second_revocation_changes_nothing_about_the_first(log: Log) -> None:
    log.say("KeyRevoked", "actor/nurse", "nurse", "coordinator", {"kid": "K-nurse", "suspect_since": 3})
    first = log.authority.key("K-nurse")
    assert first is not None
    before = (first.revoked, first.suspect_since)
    log.say("KeyRevoked", "actor/nurse", "registrar-1", "registrar", {"kid": "K-nurse", "suspect_since": 1})
    again = log.authority.key("K-nurse")
    assert again is not None
    assert (again.revoked, again.suspect_since) == before


def test_a_role_is_held_at_the_sites_named_and_no_others(log: Log) -> None:
    assert log.ask("nurse", "coordinator", "NORTH") is None
    assert rule(log.ask("nurse", "coordinator", "SOUTH")) == "AUTHORITY-6"
    assert rule(log.ask("nurse", "principal-investigator", "NORTH")) == "AUTHORITY-5"


def test_a_role_without_sites_is_held_everywhere(log: Log) -> None:
    log.enrol("watcher", "monitor")
    assert log.ask("watcher", "monitor", "NORTH") is None
    assert log.ask("watcher", "monitor") is None


@pytest.mark.parametrize(
    ("dates", "held"),
    [
        ({}, True),
        ({"valid_from": "2026-03-02"}, True),
        ({"valid_from": "2026-03-03"}, False),
        ({"valid_until": "2026-03-02"}, True),
        ({"valid_until": "2026-03-01"}, False),
        ({"valid_from": "2026-01-01", "valid_until": "2026-12-31"}, True),
    ],
)
def test_the_days_of_a_delegation_are_inclusive(log: Log, dates: dict[str, str], held: bool) -> None:
    log.enrol("watcher", "monitor", **dates)
    assert (log.ask("watcher", "monitor") is None) is held


def test_a_delegation_ends_and_another_one_may_follow(log: Log) -> None:
    granted = log.enrol("watcher", "monitor")
    log.say("DelegationEnded", "actor/watcher", "registrar-1", "registrar", {"delegation": granted})
    assert rule(log.ask("watcher", "monitor")) == "AUTHORITY-5"
    log.say("DelegationGranted", "actor/watcher", "registrar-1", "registrar", {"role": "monitor"})
    assert log.ask("watcher", "monitor") is None


def test_a_system_records_what_it_was_given_and_never_signs(log: Log) -> None:
    log.enrol("analyser", "system", kind="system", sites=["NORTH"], events=["VisitRecorded"])
    assert log.ask("analyser", "system", "NORTH") is None
    assert rule(log.ask("analyser", "system", "NORTH", event="SubjectDied")) == "AUTHORITY-7"
    assert rule(log.ask("analyser", "system", "NORTH", meaning="approval")) == "AUTHORITY-7"
    assert rule(log.ask("analyser", "system", "SOUTH")) == "AUTHORITY-6"


def governed(log: Log, event: str, sub: str, iss: str, role: str, body: Any) -> str | None:
    """The rule by which a governance event is denied."""
    return rule(log.authority.check_governance(log.claims(event, sub, iss, role, body), TODAY))


def test_registrars_grant_what_lies_outside_the_sites_and_investigators_their_sites_roles(log: Log) -> None:
    grant = ("DelegationGranted", "actor/nurse")
    registrar, pi = ("registrar-1", "registrar"), ("pi", "principal-investigator")
    assert governed(log, *grant, *registrar, {"role": "coordinator", "sites": ["NORTH"]}) == "AUTHORITY-8"
    assert governed(log, *grant, *registrar, {"role": "sponsor"}) is None
    assert governed(log, *grant, *pi, {"role": "coordinator", "sites": ["NORTH"]}) is None
    assert governed(log, *grant, *pi, {"role": "coordinator", "sites": ["SOUTH"]}) == "AUTHORITY-8"
    assert governed(log, *grant, *pi, {"role": "coordinator", "sites": ["NORTH", "SOUTH"]}) == "AUTHORITY-8"
    assert governed(log, *grant, *pi, {"role": "coordinator", "sites": None}) == "AUTHORITY-8"
    assert governed(log, *grant, *pi, {"role": "coordinator", "sites": []}) == "AUTHORITY-8"
    assert governed(log, *grant, *pi, {"role": "sponsor"}) == "AUTHORITY-8"
    assert governed(log, *grant, *registrar, {"role": "emperor"}) == "AUTHORITY-8"


def test_persons_and_systems_are_not_mixed_up(log: Log) -> None:
    log.enrol("analyser", "system", kind="system")
    registrar = ("registrar-1", "registrar")
    assert governed(log, "DelegationGranted", "actor/nurse", *registrar, {"role": "system"}) == "AUTHORITY-7"
    assert governed(log, "DelegationGranted", "actor/analyser", *registrar, {"role": "sponsor"}) == "AUTHORITY-7"


def test_the_system_keeps_its_role_and_gets_a_new_key_like_anybody(log: Log) -> None:
    registrar = ("registrar-1", "registrar")
    assert governed(log, "DelegationEnded", "actor/ledger", *registrar, {"delegation": "genesis/ledger"}) == (
        "AUTHORITY-12"
    )
    assert log.ask("ledger", "system", event="DataExported") is None
    log.say("KeyRevoked", "actor/ledger", *registrar, {"kid": "K-ledger"})
    assert rule(log.ask("ledger", "system", event="DataExported")) == "AUTHORITY-3"
    assert governed(log, "KeyEnrolled", "actor/ledger", *registrar, {"kid": "K-fresh"}) is None
    log.say("KeyEnrolled", "actor/ledger", *registrar, {"kid": "K-fresh", "jwk": {}, "alg": "Ed25519"})
    assert log.ask("ledger", "system", event="DataExported", kid="K-fresh") is None


def test_the_text_in_force_is_accepted_and_a_new_one_anew(log: Log) -> None:
    own, registrar = ("actor/nurse", "nurse", "coordinator"), ("registrar-1", "registrar")
    one, two = ({"statement": f"text {n}", "version": str(n)} for n in (1, 2))
    assert governed(log, "AccountabilityAccepted", *own, one) is None, "where none is stated, any text"
    log.say("AccountabilityAccepted", *own, one)
    assert "nurse" in log.authority.accepted_accountability
    log.say("AccountabilityStated", "study", *registrar, one)
    assert "nurse" not in log.authority.accepted_accountability
    log.say("AccountabilityAccepted", *own, one)
    assert "nurse" in log.authority.accepted_accountability
    log.say("AccountabilityStated", "study", *registrar, two)
    assert "nurse" not in log.authority.accepted_accountability
    for wrong in (one, {**two, "statement": "text 1"}, {**two, "version": "1"}, {**two, "statement": "text 2 "}):
        assert governed(log, "AccountabilityAccepted", *own, wrong) == "AUTHORITY-13"
    assert governed(log, "AccountabilityAccepted", *own, two) is None
    for again in (one, two, {**one, "statement": "another"}):
        assert governed(log, "AccountabilityStated", "study", *registrar, again) == "AUTHORITY-13"


def test_persons_alone_get_another_name(log: Log) -> None:
    registrar = ("registrar-1", "registrar")
    assert governed(log, "PersonRenamed", "actor/nurse", *registrar, {}) is None
    assert governed(log, "PersonRenamed", "actor/ledger", *registrar, {}) == "AUTHORITY-7"
    assert governed(log, "PersonRenamed", "actor/nobody", *registrar, {}) == "AUTHORITY-5"


def test_ids_and_keys_are_never_given_again(log: Log) -> None:
    registrar = ("registrar-1", "registrar")
    assert governed(log, "ActorEnrolled", "actor/nurse", *registrar, {"actor_kind": "person"}) == "AUTHORITY-9"
    assert governed(log, "ActorEnrolled", "actor/ledger", *registrar, {"actor_kind": "system"}) == "AUTHORITY-9"
    log.say("KeyRevoked", "actor/nurse", "nurse", "coordinator", {"kid": "K-nurse"})
    assert governed(log, "KeyEnrolled", "actor/pi", *registrar, {"kid": "K-nurse"}) == "AUTHORITY-9"
    assert governed(log, "KeyEnrolled", "actor/ledger", *registrar, {"kid": "K-ledger"}) == "AUTHORITY-9"
    assert governed(log, "KeyEnrolled", "actor/nobody", *registrar, {"kid": "K-fresh"}) == "AUTHORITY-5"


def test_a_delegation_is_ended_by_who_could_grant_it_and_once(log: Log) -> None:
    granted = log.enrol("watcher", "monitor")
    ended = ("DelegationEnded", "actor/watcher")
    assert governed(log, *ended, "pi", "principal-investigator", {"delegation": granted}) == "AUTHORITY-8"
    assert governed(log, *ended, "registrar-1", "registrar", {"delegation": "nothing"}) == "AUTHORITY-5"
    other = ("DelegationEnded", "actor/nurse", "registrar-1", "registrar")
    assert governed(log, *other, {"delegation": granted}) == "AUTHORITY-5", "it is not this actor's"
    log.say(*ended, "registrar-1", "registrar", {"delegation": granted})
    assert governed(log, *ended, "registrar-1", "registrar", {"delegation": granted}) == "AUTHORITY-5"


def test_where_two_registrars_are_required_an_enrolment_waits_for_the_second() -> None:
    """AUTHORITY-10."""
    log = Log(registrars=2)
    log.say("ActorEnrolled", "actor/pi", "registrar-1", "registrar", {"actor_kind": "person"})
    key = log.say("KeyEnrolled", "actor/pi", "registrar-1", "registrar", {"kid": "K-pi", "jwk": {}})
    granted = log.say("DelegationGranted", "actor/pi", "registrar-1", "registrar", {"role": "principal-investigator"})
    assert rule(log.ask("pi", "principal-investigator")) == "AUTHORITY-2"
    log.say("Countersigned", "actor/pi", "registrar-2", "registrar", countersigns={"jti": key})
    assert rule(log.ask("pi", "principal-investigator")) == "AUTHORITY-5"
    log.say("Countersigned", "actor/pi", "registrar-2", "registrar", countersigns={"jti": granted})
    assert log.ask("pi", "principal-investigator") is None
    key_held = log.authority.key("K-pi")
    assert key_held is not None
    assert key_held.since == log.size - 2, "it counts from the countersignature on"


def test_what_is_not_about_rights_changes_nothing(log: Log) -> None:
    before = repr(log.authority)
    for event in ("ConsentGiven", "SubjectEnrolled", "EntryCorrected", "StudyHeld"):
        log.say(event, "study", "nurse", "coordinator", {"role": "registrar", "kid": "K-x"})
    assert repr(log.authority) == before


# -- suspicion ----------------------------------------------------------------------------------------------


def suspicious(log: Log, since: int | None, key: str = "K-nurse") -> tuple[int, int]:
    """The nurse records something under a key that is revoked afterwards; the indexes of both."""
    written = log.size
    log.say("VisitRecorded", "study", "nurse", "coordinator")
    fields = {"kid": key} if since is None else {"kid": key, "suspect_since": since}
    log.say("KeyRevoked", "actor/nurse", "registrar-1", "registrar", fields)
    return written, log.size - 1


def renewed(log: Log, key: str = "K-new") -> None:
    """The nurse gets another key."""
    log.say("KeyEnrolled", "actor/nurse", "registrar-1", "registrar", {"kid": key, "jwk": {}})


def reaffirm(log: Log, jti: str, digest: str = "D", by: str = "nurse") -> None:
    """Somebody stands by a statement."""
    log.say("SignatureReaffirmed", f"actor/{by}", by, "coordinator", {"records": [{"jti": jti, "digest": digest}]})


def test_what_a_suspect_key_signed_until_its_revocation_is_disputed_and_nothing_else(log: Log) -> None:
    written, revoked = suspicious(log, since=log.size)
    ask = log.authority.disputed
    assert ask("K-nurse", written, "J", "D")
    assert not ask("K-nurse", written - 1, "J", "D"), "signed before the suspicion"
    assert not ask("K-nurse", revoked, "J", "D"), "the revocation itself stands"
    assert not ask("K-pi", written, "J", "D"), "somebody else's key"
    assert not ask("K-unknown", written, "J", "D")


def test_a_revocation_without_suspicion_disputes_nothing(log: Log) -> None:
    written, _ = suspicious(log, since=None)
    assert not log.authority.disputed("K-nurse", written, "J", "D")


def test_a_key_that_is_in_force_is_not_under_suspicion(log: Log) -> None:
    assert not log.authority.disputed("K-nurse", 1, "J", "D")


@pytest.mark.parametrize("since", [0, -5, 1])
def test_suspicion_from_before_the_key_was_enrolled_counts_from_its_enrolment(log: Log, since: int) -> None:
    key = log.authority.key("K-nurse")
    assert key is not None
    suspicious(log, since)
    assert key.suspect_since == key.since


def test_suspicion_from_after_the_revocation_disputes_nothing_and_does_not_keep_the_key_alive(log: Log) -> None:
    written, revoked = suspicious(log, since=10_000_000)
    assert not log.authority.disputed("K-nurse", written, "J", "D")
    assert not log.authority.disputed("K-nurse", revoked, "J", "D")
    assert rule(log.ask("nurse", "coordinator", "NORTH")) == "AUTHORITY-3"


def test_a_statement_is_disputed_until_its_actor_reaffirms_these_very_bytes(log: Log) -> None:
    written, _ = suspicious(log, since=1)
    renewed(log)
    reaffirm(log, "J", "another digest")
    assert log.authority.disputed("K-nurse", written, "J", "D")
    reaffirm(log, "another event id")
    assert log.authority.disputed("K-nurse", written, "J", "D")
    reaffirm(log, "J", by="pi")
    assert log.authority.disputed("K-nurse", written, "J", "D"), "nobody reaffirms for somebody else"
    reaffirm(log, "J")
    assert not log.authority.disputed("K-nurse", written, "J", "D")


def test_a_reaffirmation_under_a_key_that_comes_under_suspicion_itself_no_longer_counts(log: Log) -> None:
    written, _ = suspicious(log, since=1)
    renewed(log, "K-second")
    stolen_since = log.size
    reaffirm(log, "J")
    log.say("KeyRevoked", "actor/nurse", "registrar-1", "registrar", {"kid": "K-second", "suspect_since": stolen_since})
    assert log.authority.disputed("K-nurse", written, "J", "D")
    renewed(log, "K-third")
    reaffirm(log, "J")
    assert not log.authority.disputed("K-nurse", written, "J", "D")


# -- ids that look alike ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ("nurse", "Nurse"),
        ("nurse", "NURSE"),
        ("registrar-1", "registrar-l"),
        ("registrar-1", "registrar-I"),
        ("registrar-1", "Registrar-1"),
        ("ledger", "Ledger"),
        ("ledger", "1edger"),
        ("ledger", "lecl ger".replace(" ", "")),
        ("team-10", "team-1O"),
        ("team-10", "tearn-10"),
        ("walter", "vvalter"),
    ],
)
def test_an_id_that_looks_like_a_known_one_is_not_given(log: Log, known: str, asked: str) -> None:
    if known not in log.authority.actors:
        log.say("ActorEnrolled", f"actor/{known}", "registrar-1", "registrar", {"actor_kind": "person"})
    assert governed(log, "ActorEnrolled", f"actor/{asked}", "registrar-1", "registrar", {}) == "AUTHORITY-9"


@pytest.mark.parametrize("asked", ["nurse-2", "registrar-3", "nurses", "pi-1", "n.urse", "purse"])
def test_an_id_that_looks_different_is_given(log: Log, asked: str) -> None:
    assert governed(log, "ActorEnrolled", f"actor/{asked}", "registrar-1", "registrar", {}) is None


def test_where_two_registrars_are_required_the_logs_key_changes_at_the_second() -> None:
    """AUTHORITY-10."""
    log = Log(registrars=2)
    body = {"log_keys": ["new"], "note": "signed by both"}
    rotation = log.say("LogKeyRotated", "study", "registrar-1", "registrar", body)
    assert log.authority.log_keys_at(log.size) == ("log",)
    log.say("Countersigned", "study", "registrar-2", "registrar", countersigns={"jti": rotation})
    assert log.authority.log_keys_at(log.size) == ("new",)
    assert log.authority.log_keys_at(log.size - 1) == ("log",), "the checkpoint just below is the old keys'"
