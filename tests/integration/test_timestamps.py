"""Checkpoints are stamped by others: a good token is kept and proves a time; whatever else comes is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from ledger.settings import Settings, SettingsError
from ledger.store import evidence
from ledger.timestamps import STAMP_SECONDS, Timestamping, stamped_text, verify_token
from ledger.verify import rfc3161
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of
from tests.scenario.histories import History
from tests.scenario.simulator import Simulator
from tests.scenario.stamping import StampingAuthority, der, integer, sequence
from tests.scenario.witnesses import impostor

STUDY = "COAST-07"
AUTHORITY = StampingAuthority()
TEXT = stamped_text(History().grow(3).signed())
QUERY = TimestampRequestBuilder().data(TEXT).hash_algorithm(HashAlgorithm.SHA256).build()
TOKEN = AUTHORITY.answer(QUERY.as_bytes())
REPLY = "application/timestamp-reply"


def test_what_is_stamped_is_the_three_lines_of_the_checkpoint() -> None:
    assert stamped_text(History().grow(3).signed()) == History().grow(3).checkpoint().body()


def test_a_token_is_good_under_its_root_and_read_alike_by_the_verifier() -> None:
    result = verify_token(TOKEN, TEXT, [AUTHORITY.root], QUERY.nonce)
    assert result and result.decided and result.authority == "Synthetic Time Authority"
    assert result.at is not None and rfc3161.reader([AUTHORITY.root])(TOKEN, TEXT)[0] == int(result.at.timestamp())


def test_without_roots_nobody_vouches_for_it() -> None:
    result = verify_token(TOKEN, TEXT, [])
    assert not result and not result.decided and "nobody vouches" in result.because


def test_a_token_outlives_its_certificates() -> None:
    old = StampingAuthority(began_days_ago=60)
    old.at = datetime.now(UTC) - timedelta(days=45)
    assert verify_token(old.answer(QUERY.as_bytes()), TEXT, [old.root])
    old.at = datetime.now(UTC) - timedelta(days=10)
    assert not verify_token(old.answer(QUERY.as_bytes()), TEXT, [old.root]), "stamped after the certificate had ended"


OTHER = TimestampRequestBuilder().data(b"something else").hash_algorithm(HashAlgorithm.SHA256).build()
BAD: dict[str, bytes] = {
    "nothing": b"",
    "garbage": bytes(range(256)),
    "cut short": TOKEN[:-10],
    "with more behind": TOKEN + b"\0",
    "of another message": AUTHORITY.answer(OTHER.as_bytes()),
    "refused": sequence(sequence(integer(2))),
    "a refusal with a token": TOKEN.replace(sequence(integer(0)), sequence(integer(2)), 1),
    "of another root": StampingAuthority().answer(QUERY.as_bytes()),
    "a page": b"<html></html>",
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
def test_what_is_no_good_token_is_refused_in_words(token: bytes) -> None:
    result = verify_token(token, TEXT, [AUTHORITY.root])
    assert not result and result.decided and result.because


def test_a_token_for_another_request_is_refused() -> None:
    assert QUERY.nonce is not None
    assert "another request" in verify_token(TOKEN, TEXT, [AUTHORITY.root], QUERY.nonce + 1).because
    without = AUTHORITY.answer(QUERY.as_bytes(), lambda info: info.update(nonce=b""))
    assert "another request" in verify_token(without, TEXT, [AUTHORITY.root], QUERY.nonce).because


def test_a_time_that_was_changed_after_signing_is_refused() -> None:
    at = verify_token(TOKEN, TEXT, [AUTHORITY.root]).at
    assert at is not None
    stated = at.strftime("%Y%m%d%H%M%SZ").encode()
    earlier = TOKEN.replace(der(0x18, stated), der(0x18, b"2001" + stated[4:]), 1)
    assert earlier != TOKEN
    assert not verify_token(earlier, TEXT, [AUTHORITY.root])


def test_no_flipped_bit_of_the_signed_part_passes() -> None:
    start = TOKEN.index(QUERY.message_imprint.message)
    for at in range(start - 40, start + 60):
        flipped = TOKEN[:at] + bytes([TOKEN[at] ^ 1]) + TOKEN[at + 1 :]
        result = verify_token(flipped, TEXT, [AUTHORITY.root])
        assert not result, at


# --- the ledger asks -------------------------------------------------------------------------------------


@contextmanager
def asking(trial: Simulator, folder: Path, answer: Callable[[bytes], tuple[int, str, bytes]]) -> Iterator[Timestamping]:
    """The trial's ledger with one authority that answers so."""
    ledger = ledger_of(trial)
    roots = folder / "roots.pem"
    roots.write_bytes(AUTHORITY.root.public_bytes(Encoding.PEM))
    with impostor(answer) as url:
        made = Timestamping([url], roots, lambda: ledger.database, ledger.studies, folder)
        yield made


def stored(trial: Simulator) -> list[int]:
    ledger = ledger_of(trial)
    with ledger.database.connection() as connection:
        rows = evidence.select_timestamps(connection, STUDY, 1_000_000)
        for row in rows:
            checkpoint = evidence.checkpoint_at(connection, STUDY, row.size)
            assert checkpoint is not None
            result = verify_token(row.token, stamped_text(checkpoint.note), [AUTHORITY.root])
            assert result and result.at == row.stamped_at
    return [row.size for row in rows]


def granted(query: bytes) -> tuple[int, str, bytes]:
    return 200, REPLY, AUTHORITY.answer(query)


def test_the_newest_checkpoint_is_stamped_once_an_hour_while_the_log_grows(trial: Simulator, tmp_path: Path) -> None:
    with asking(trial, tmp_path, granted) as stamping:
        first = trial.screen(trial.subject("1")).index + 1
        stamping.round()
        second = trial.screen(trial.subject("2")).index + 1
        stamping.round()
        assert stored(trial) == [first], "not twice within the hour"
        assert stamping.now(STUDY) == {stamping.urls[0]: None}
        assert stored(trial) == [first, second], "unless somebody asks for it"
        assert stamping.problems(STUDY) == {}
    assert STAMP_SECONDS >= 600, "public authorities are not to be flooded"


def late(query: bytes) -> tuple[int, str, bytes]:
    slow = StampingAuthority.__new__(StampingAuthority)
    slow.__dict__.update(AUTHORITY.__dict__, at=datetime.now(UTC) - timedelta(hours=2))
    return 200, REPLY, slow.answer(query)


WRONG: dict[str, tuple[Callable[[bytes], tuple[int, str, bytes]], str]] = {
    "an old answer again": (lambda query: (200, REPLY, TOKEN), "over something else"),
    "of another root": (lambda query: (200, REPLY, StampingAuthority().answer(query)), "certificate"),
    "a clock that is late": (late, "behind ours"),
    "without the nonce": (
        lambda query: (200, REPLY, AUTHORITY.answer(query, lambda info: info.update(nonce=b""))),
        "another request",
    ),
    "an error": (lambda query: (500, "text/plain", b"boom"), "answers 500"),
    "a refusal": (lambda query: (200, REPLY, sequence(sequence(integer(2)))), "no time stamp|did not grant"),
    "garbage": (lambda query: (200, REPLY, b"\x30\x80" * 500), "no time stamp"),
    "too much": (lambda query: (200, REPLY, b"\x30" * 1_000_000), "more than"),
}


@pytest.mark.parametrize(("answer", "because"), WRONG.values(), ids=WRONG.keys())
def test_what_an_authority_should_not_answer_is_named_and_not_kept(
    trial: Simulator, tmp_path: Path, answer: Callable[[bytes], tuple[int, str, bytes]], because: str
) -> None:
    with asking(trial, tmp_path, answer) as stamping:
        [said] = stamping.now(STUDY).values()
        assert said is not None and any(part in said for part in because.split("|")), said
        assert stamping.problems(STUDY) == {stamping.urls[0]: said}
        assert stored(trial) == []


def test_settings_that_name_no_authority_or_no_roots_are_refused(tmp_path: Path) -> None:
    for name, value in (
        ("TRIAL_LEDGER_TIMESTAMP_URLS", "ftp://tsa.example"),
        ("TRIAL_LEDGER_TIMESTAMP_URLS", "tsa.example"),
        ("TRIAL_LEDGER_TIMESTAMP_ROOTS", str(tmp_path / "none.pem")),
        ("TRIAL_LEDGER_POLICY", str(tmp_path / "none")),
    ):
        with pytest.raises(SettingsError, match=name):
            Settings.read({"TRIAL_LEDGER_HOME": str(tmp_path), name: value})
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"no certificate")
    with pytest.raises(SettingsError, match="no certificates"):
        Timestamping([], empty, lambda: None, list, tmp_path)  # type: ignore[arg-type,return-value]
    both = {"TRIAL_LEDGER_HOME": str(tmp_path), "TRIAL_LEDGER_TIMESTAMP_URLS": "https://a.example, http://b.example/x"}
    assert Settings.read(both).timestamp_urls == ("https://a.example", "http://b.example/x")
