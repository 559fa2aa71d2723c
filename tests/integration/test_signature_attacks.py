"""Nobody but the person makes a person's electronic signature (21 CFR 11.200(a)(2), (3)).

As whoever administers the server, the database or the study, alone; as whoever found one component; as whoever holds
an earlier signature. Every attack ends without one more signature in the log.
"""

from __future__ import annotations

import copy
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.accounts import sealing
from ledger.accounts.attempts import MAX_FAILURES
from ledger.accounts.refusals import SessionEnded, SignInRefused, TooManyAtOnce
from ledger.accounts.sealing import bound_to, normalised, seal
from ledger.accounts.service import MAX_WAITING, Accounts
from ledger.ceremonies import mark_of
from ledger.domain.ceremony import CeremonyUnknown
from ledger.domain.refusals import Refusal
from ledger.signing.encoding import unb64url
from ledger.signing.keys import SigningKey
from ledger.signing.statement import make, parse
from ledger.store import accounts as store
from ledger.store.embedded import DatabaseUrls
from ledger.writer import Answer
from tests.scenario import cast
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of
from tests.scenario.signers import CHEAP, Signer, accounts_of, with_account
from tests.scenario.simulator import Simulator, refused
from tests.scenario.waiting import wait_until

REVIEW = {"scope": {}, "first": 0, "last": 1, "rule_version": "1", "findings": "nothing strange"}
CHOSEN = "what the attacker has chosen"
TABLES = ("credentials", "sessions", "session_uses", "ceremonies", "ceremony_uses")


@pytest.fixture
def accounts(trial: Simulator) -> Accounts:
    return accounts_of(trial)


@pytest.fixture
def monitor(trial: Simulator, accounts: Accounts) -> Signer:
    """The victim: has signed in, in a study that asks for ceremonies."""
    trial.record(trial.cast.registrar, "CeremonyRequired", "study")
    someone = with_account(trial, accounts, trial.cast.monitor)
    someone.sign_in()
    return someone


@pytest.fixture
def superuser(trial: Simulator, embedded_server: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    """PostgreSQL's superuser, with every trigger of the accounts switched off."""
    name = conninfo_to_dict(ledger_of(trial).urls.app)["dbname"]
    with psycopg.connect(make_conninfo(embedded_server.admin, dbname=str(name)), autocommit=True) as connection:
        for table in TABLES:
            connection.execute(sql.SQL("ALTER TABLE ledger.{} DISABLE TRIGGER ALL").format(sql.Identifier(table)))
        yield connection


def signatures(sim: Simulator) -> int:
    """How many electronic signatures the log has."""
    return sum("meaning" in parse(entry["statement"], partial=True).claims for entry in sim.door.entries())


@contextmanager
def nothing_signed(sim: Simulator) -> Iterator[None]:
    """What is done inside signs nothing."""
    before = signatures(sim)
    yield
    assert signatures(sim) == before


def review(signer: Signer) -> dict[str, Any]:
    """Begin to sign a review."""
    return signer.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")


def made_and_not_recorded(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A statement signed in a ceremony by a server that died before it was recorded."""
    seen: list[str] = []

    def dies(study: str, text: str) -> Answer:
        seen.append(text)
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(ledger_of(signer.sim), "append", dies)
        review(signer)
        with pytest.raises(ConnectionError):
            signer.finish(user_id=signer.id)
    return seen[0]


# -- as whoever administers the database --------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE ledger.credentials SET salt = decode(repeat('00', 16), 'hex')",
        "UPDATE ledger.credentials SET nonce = decode(repeat('00', 12), 'hex')",
        "UPDATE ledger.credentials SET sealed = decode(repeat('00', 48), 'hex')",
        "UPDATE ledger.credentials SET scrypt = '{10,8,2}'",
        "UPDATE ledger.credentials SET scrypt = '{1,1,1}'",
        "UPDATE ledger.credentials SET made_at = made_at + interval '1 day'",
        "UPDATE ledger.credentials SET mark = decode(repeat('00', 32), 'hex')",
        "UPDATE ledger.credentials SET actor = 'sponsor'",
        "UPDATE ledger.credentials SET kid = 'x' || substr(kid, 2)",
        "DELETE FROM ledger.credentials",
    ],
)
def test_an_edited_credential_opens_nothing(
    trial: Simulator, monitor: Signer, superuser: psycopg.Connection[Any], edit: Any
) -> None:
    review(monitor)
    superuser.execute(edit)
    with nothing_signed(trial):
        for name in (monitor.id, "sponsor"):
            for passphrase in (monitor.passphrase, CHOSEN):
                with pytest.raises(SignInRefused):
                    monitor.accounts.sign_in(trial.plan.study, name, passphrase)
        with pytest.raises(SignInRefused):
            monitor.finish(user_id=monitor.id)


def test_a_credential_swapped_with_another_persons_opens_nothing(
    trial: Simulator, monitor: Signer, superuser: psycopg.Connection[Any]
) -> None:
    thief = with_account(trial, monitor.accounts, trial.cast.data_manager, CHOSEN)
    superuser.execute("UPDATE ledger.credentials SET study_id = 'AWAY-1' WHERE actor = 'monitor'")
    superuser.execute("UPDATE ledger.credentials SET actor = 'monitor' WHERE actor = %s", [thief.id])
    with nothing_signed(trial):
        for name in (monitor.id, thief.id):
            with pytest.raises(SignInRefused):
                monitor.accounts.sign_in(trial.plan.study, name, CHOSEN)


@pytest.mark.parametrize("with_the_homes_secret", [False, True])
def test_a_passphrase_reset_gives_no_signature(
    trial: Simulator, monitor: Signer, superuser: psycopg.Connection[Any], with_the_homes_secret: bool
) -> None:
    """A key of the attacker's own, sealed under a passphrase of the attacker's, in the victim's row. Whoever has the
    home's secret as well can mark it; the key is still not the one that a registrar enrolled."""
    study, own = trial.plan.study, SigningKey.generate()
    secret = ledger_of(trial).home.secret("accounts") if with_the_homes_secret else secrets.token_bytes(32)
    salt, nonce = secrets.token_bytes(sealing.SALT_BYTES), secrets.token_bytes(sealing.NONCE_BYTES)
    seed = unb64url(own.private_jwk()["d"])
    box = seal(seed, normalised(CHOSEN), bound_to(study, monitor.id, monitor.kid), secret, CHEAP, salt, nonce).box
    with ledger_of(trial).database.connection() as connection:
        [row] = store.select_credentials(connection, study, monitor.id)
    forged = replace(row, salt=salt, nonce=nonce, sealed=box)
    if with_the_homes_secret:
        forged = replace(forged, mark=monitor.accounts._credential_mark(study, forged))
    change = "UPDATE ledger.credentials SET salt = %s, nonce = %s, sealed = %s, mark = %s WHERE kid = %s"
    superuser.execute(change, [salt, nonce, box, forged.mark, monitor.kid])
    with nothing_signed(trial):
        with pytest.raises(SignInRefused):
            monitor.sign_in(CHOSEN)
        review(monitor)  # in the session that the victim began
        with pytest.raises(SignInRefused):
            monitor.finish(passphrase=CHOSEN, user_id=monitor.id)


def test_a_row_of_an_own_key_is_not_enrolled_and_not_even_listed(
    trial: Simulator, monitor: Signer, superuser: psycopg.Connection[Any]
) -> None:
    study = trial.plan.study
    copy = """
        INSERT INTO ledger.credentials (study_id, actor, kid, code_digest, enrolment, scrypt, salt, nonce, sealed,
                                        made_at, mark)
        SELECT study_id, actor, %s, 'another', enrolment, scrypt, salt, nonce, sealed, made_at, mark
        FROM ledger.credentials
    """
    superuser.execute(copy, [SigningKey.generate().kid])
    assert [one["kid"] for one in monitor.accounts.credentials(study)] == [monitor.kid]
    monitor.sign_in()  # and the person's own still opens


def test_a_session_put_into_the_table_is_none(
    trial: Simulator, monitor: Signer, superuser: psycopg.Connection[Any]
) -> None:
    token = "the attacker's own token"
    put = """
        INSERT INTO ledger.sessions (token_hash, study_id, actor, kid, opened_at, mark)
        SELECT %s, study_id, actor, kid, opened_at, mark FROM ledger.sessions LIMIT 1
    """
    superuser.execute(put, [hashlib.sha256(token.encode()).digest()])
    monitor.token = token
    with nothing_signed(trial), pytest.raises(SessionEnded):
        review(monitor)


def test_a_session_that_is_opened_again_signs_nothing_without_the_passphrase(
    trial: Simulator, monitor: Signer, superuser: psycopg.Connection[Any]
) -> None:
    """Whoever deletes the row of a logout has the session back, and a session signs nothing."""
    monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
    monitor.accounts.sign_out(trial.plan.study, monitor.token)
    superuser.execute("DELETE FROM ledger.session_uses WHERE what = 'closed'")
    review(monitor)
    with nothing_signed(trial):
        for passphrase in ("", CHOSEN, monitor.token):
            with pytest.raises(SignInRefused):
                monitor.finish(passphrase=passphrase)


@pytest.mark.parametrize("marked", [False, True])
def test_a_ceremony_put_into_the_table_makes_no_signature(
    trial: Simulator, monitor: Signer, superuser: psycopg.Connection[Any], marked: bool
) -> None:
    """For a statement by a key of the attacker's own in the victim's name; `marked` with the home's secret."""
    shown, own, study = review(monitor), SigningKey.generate(), trial.plan.study
    claims = {**shown["draft"]["claims"], "ceremony": shown["ceremony"], "iat": trial.seconds()}
    claims["exp"] = claims["iat"] + 600
    content = {**REVIEW, "printed_name": "Invented monitor", "signed_at": trial.stamp()}
    content = {name: value for name, value in content.items() if name not in claims["body"]}
    text = make(own, claims, content)
    row = store.CeremonyRow(
        *(monitor.id, monitor.kid, hashlib.sha256(monitor.token.encode()).digest(), "user_id,passphrase"),
        *(claims["iat"], shown["draft"]["expires_at"], parse(text).digest, bytes(32)),
    )
    if marked:
        row = replace(row, mark=mark_of(ledger_of(trial).marks, study, shown["ceremony"], row))
    with ledger_of(trial).database.connection() as connection:
        store.insert_ceremony(connection, study, shown["ceremony"], row)
    with nothing_signed(trial), refused("AUTHORITY-2"):
        trial.send(text)


# -- as whoever holds an earlier signature, or one of two components -----------------------------------------


def test_a_ceremony_is_used_once(trial: Simulator, monitor: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    used = monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
    with nothing_signed(trial):
        other = {**monitor.shown["draft"], "expires_at": monitor.shown["draft"]["expires_at"] + 600}
        with pytest.raises(CeremonyUnknown):
            monitor.finish(draft=other)
        with refused("CEREMONY-4") as problem:
            claims = {"ceremony": monitor.shown["ceremony"]}
            trial.record(trial.cast.monitor, "AuditTrailReviewed", "study", meaning="review", claims=claims, **REVIEW)
        assert problem["indexes"] == [used.index]


def test_a_ceremony_is_for_one_statement(trial: Simulator, monitor: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    text = made_and_not_recorded(monitor, monkeypatch)
    claims = {"ceremony": monitor.shown["ceremony"]}
    with nothing_signed(trial):
        with refused("CEREMONY-2"):
            trial.record(trial.cast.monitor, "AuditTrailReviewed", "study", meaning="review", claims=claims, **REVIEW)
        with refused("CEREMONY-2"):
            by = trial.cast.data_manager
            trial.record(by, "AuditTrailReviewed", "study", meaning="review", claims=claims, **REVIEW)
    trial.send(text)


def test_a_signature_held_back_does_not_outlive_its_ceremony(
    trial: Simulator, monitor: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = made_and_not_recorded(monitor, monkeypatch)
    trial.later(minutes=5, seconds=5)
    with nothing_signed(trial), refused("CEREMONY-3"):
        trial.send(text)


def test_a_signature_held_back_is_refused_when_the_account_is_locked(
    trial: Simulator, monitor: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = made_and_not_recorded(monitor, monkeypatch)
    for _ in range(MAX_FAILURES):
        with pytest.raises(SignInRefused):
            monitor.accounts.sign_in(trial.plan.study, monitor.id, CHOSEN)
    with nothing_signed(trial), refused("CEREMONY-5"):
        trial.send(text)


def test_what_was_shown_is_what_is_signed(trial: Simulator, monitor: Signer) -> None:
    """A draft changed on its way, by whoever is between the person and the server, is not signed."""
    shown = review(monitor)["draft"]
    changed: list[Callable[[dict[str, Any]], Any]] = [
        lambda draft: draft["claims"].update(meaning="approval"),
        lambda draft: draft["claims"].update(iss="sponsor"),
        lambda draft: draft["claims"]["body"].update(last=99),
        lambda draft: draft["content"][0].__setitem__(2, "something else"),
        lambda draft: draft["content"].append(["A" * 22, "comment", "added"]),
        lambda draft: draft.update(expires_at=draft["expires_at"] + 1),
        lambda draft: draft.update(time_zone="Asia/Shanghai"),
        lambda draft: draft.clear(),
    ]
    with nothing_signed(trial):
        for change in changed:
            other = copy.deepcopy(shown)
            change(other)
            with pytest.raises(CeremonyUnknown):
                monitor.finish(draft=other, user_id=monitor.id)
        for ceremony in ("", "x", "A" * 43, monitor.shown["ceremony"][:-1], monitor.shown["ceremony"] + "A"):
            with pytest.raises(CeremonyUnknown):
                monitor.finish(ceremony=ceremony, user_id=monitor.id)


def test_a_signature_is_not_moved_to_another_statement_or_study(trial: Simulator, monitor: Signer) -> None:
    answer = monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
    signed = ledger_of(trial).entry(trial.plan.study, answer.index).statement
    own = trial.sign(trial.cast.monitor, "AuditTrailReviewed", "study", meaning="review", **REVIEW)
    head, _, rest = own.partition("~")
    moved = f"{head.rpartition('.')[0]}.{signed.jwt.rpartition('.')[2]}~{rest}"
    ledger = ledger_of(trial)
    terms = ledger.log_keys("OTHER-1")
    registrar = replace(trial.cast.registrar, origin=terms["origin"])
    ledger.open_study(registrar.sign("StudyOpened", "study", cast.genesis_fields("OTHER-1", terms, trial.cast)))
    with nothing_signed(trial):
        with refused("SIGNATURE-0"):
            trial.door.append(moved)
        elsewhere = ledger.append("OTHER-1", signed.text())
        assert isinstance(elsewhere, Refusal)
        assert elsewhere.rule == "AUTHORITY-1"
        with pytest.raises(SessionEnded):
            monitor.accounts.session("OTHER-1", monitor.token)


def test_a_session_of_one_person_signs_nothing_with_the_passphrase_of_another(
    trial: Simulator, monitor: Signer
) -> None:
    other = with_account(trial, monitor.accounts, trial.cast.data_manager, CHOSEN)
    other.sign_in()
    review(monitor)
    with nothing_signed(trial):
        with pytest.raises(SignInRefused):
            monitor.finish(passphrase=other.passphrase, user_id=monitor.id)
        with pytest.raises(SignInRefused):
            monitor.finish(passphrase=other.passphrase, user_id=other.id)
        with pytest.raises(CeremonyUnknown):
            monitor.finish(token=other.token, passphrase=other.passphrase, user_id=other.id)


# -- as whoever administers the study -----------------------------------------------------------------------


def test_a_registrar_gets_no_second_key_for_somebody_and_signs_nothing_with_an_own_one(
    trial: Simulator, monitor: Signer
) -> None:
    registrar, key = trial.cast.registrar, SigningKey.generate()
    with refused("CREDENTIAL-3"):
        fields = {"code_digest": "A" * 43, "valid_hours": 1}
        trial.record(registrar, "CredentialOffered", f"actor/{monitor.id}", **fields)
    trial.send(registrar.enrol_key(monitor.id, key, key.public_jwk))  # a key that the registrar keeps
    forged = replace(trial.cast.monitor, key=key)
    with nothing_signed(trial), refused("SIGNATURE-4"):
        trial.record(forged, "AuditTrailReviewed", "study", meaning="review", **REVIEW)


def test_whoever_has_the_whole_home_holds_no_ceremony_for_a_key_of_an_own_making(
    trial: Simulator, monitor: Signer, superuser: psycopg.Connection[Any]
) -> None:
    """The server's administrator: its registrar key enrols a key beside the victim's, its secret marks a ceremony."""
    ledger, study, key = ledger_of(trial), trial.plan.study, SigningKey.generate()
    trial.send(trial.cast.registrar.enrol_key(monitor.id, key, key.public_jwk))
    ceremony = "A" * 43
    forged = replace(trial.cast.monitor, key=key)
    text = forged.sign("AuditTrailReviewed", "study", REVIEW, meaning="review", cut=trial.door.cut(), ceremony=ceremony)
    iat = parse(text).iat
    components = "user_id,passphrase"
    [(session,)] = superuser.execute("SELECT token_hash FROM ledger.sessions").fetchall()
    row = store.CeremonyRow(monitor.id, key.kid, session, components, iat, iat + 300, parse(text).digest, b"")
    marked = replace(row, mark=mark_of(ledger.marks, study, ceremony, row))
    with ledger.database.connection() as connection:
        assert store.insert_ceremony(connection, study, ceremony, marked)
    with nothing_signed(trial), refused("CEREMONY-1"):
        trial.send(text)


def test_a_system_has_no_account(trial: Simulator, accounts: Accounts) -> None:
    with nothing_signed(trial):
        for name in ("analyser", "ledger"):
            with pytest.raises(SignInRefused):
                accounts.sign_in(trial.plan.study, name, CHOSEN)


# -- at once ------------------------------------------------------------------------------------------------


def at_once(count: int, act: Callable[[int], object]) -> list[object]:
    """Do something from several threads at once; what each returned or raised."""
    gate, found = threading.Barrier(count), [None] * count

    def run(place: int) -> None:
        gate.wait()
        try:
            found[place] = act(place)  # type: ignore[call-overload]
        except Refusal as refusal:
            found[place] = refusal  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(found)


def test_a_ceremony_signed_four_times_at_once_is_one_signature(trial: Simulator, monitor: Signer) -> None:
    before = signatures(trial)
    review(monitor)
    outcomes = at_once(4, lambda _: monitor.finish(user_id=monitor.id))
    answers = [one for one in outcomes if isinstance(one, Answer)]
    assert len({one.index for one in answers}) == 1
    assert all(isinstance(one, Answer | TooManyAtOnce) for one in outcomes), outcomes
    assert signatures(trial) == before + 1


def test_a_flood_of_sign_ins_is_turned_away_and_stops_no_append(trial: Simulator, monitor: Signer) -> None:
    book, study = monitor.accounts, trial.plan.study

    def guess() -> None:
        with suppress(Refusal):
            book.sign_in(study, "nobody", CHOSEN)

    threads = [threading.Thread(target=guess) for _ in range(MAX_WAITING)]
    with book._turn, book._turn:  # both turns are taken by somebody slow
        for thread in threads:
            thread.start()
        wait_until(lambda: book._waiting == MAX_WAITING, "everybody waits")
        with pytest.raises(TooManyAtOnce):
            monitor.sign_in()
        trial.screen(trial.subject("001"))
    for thread in threads:
        thread.join()
    assert monitor.sign_in()


def test_twenty_guesses_at_once_are_five_at_most(
    trial: Simulator, monitor: Signer, superuser: psycopg.Connection[Any]
) -> None:
    outcomes = at_once(20, lambda place: monitor.accounts.sign_in(trial.plan.study, monitor.id, f"{CHOSEN} {place}"))
    assert all(isinstance(one, SignInRefused | TooManyAtOnce) for one in outcomes), outcomes
    [(tried,)] = superuser.execute("SELECT count(*) FROM ledger.sign_in_results WHERE NOT good").fetchall()
    assert tried <= MAX_FAILURES
    names = [parse(entry["statement"], partial=True).event for entry in trial.door.entries()]
    assert names.count("AccountLocked") == (1 if tried == MAX_FAILURES else 0)
