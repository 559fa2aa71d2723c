"""Checkpoints, tiles and the sealed lists: added once, never changed, and nothing hostile breaks them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from ledger.store import evidence
from ledger.store.database import Conn
from ledger.store.errors import EvidenceConflict
from ledger.store.rows import CheckpointRow, TileRow, TimestampRow
from tests.integration.store.events import STUDY

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def checkpoint(size: int) -> CheckpointRow:
    root = hashlib.sha256(str(size).encode()).digest()
    return CheckpointRow(size, root, f"ledger.example/study/{STUDY}\n{size}\n—\n", NOON)


def tile(n: int, fill: int = 0) -> TileRow:
    return TileRow(0, n, bytes([fill]) * 8192)


def test_checkpoints_are_found_by_size_and_by_what_they_cover(app: Conn) -> None:
    assert evidence.latest_checkpoint(app, STUDY) is None
    assert evidence.checkpoint_covering(app, STUDY, 0) is None
    for size in (1, 5, 9):
        assert evidence.insert_checkpoint(app, STUDY, checkpoint(size))
    assert evidence.latest_checkpoint(app, STUDY) == checkpoint(9)
    assert evidence.checkpoint_at(app, STUDY, 5) == checkpoint(5)
    assert evidence.checkpoint_at(app, STUDY, 6) is None
    covering = [evidence.checkpoint_covering(app, STUDY, idx) for idx in (0, 1, 4, 5, 8, 9)]
    assert [one and one.size for one in covering] == [1, 5, 5, 9, 9, None]


def test_a_signer_that_starts_again_may_store_the_same_checkpoint_again(app: Conn) -> None:
    assert evidence.insert_checkpoint(app, STUDY, checkpoint(1)) is True
    assert evidence.insert_checkpoint(app, STUDY, checkpoint(1)) is False


@pytest.mark.parametrize("change", [{"root": b"\x01" * 32}, {"note": "another"}])
def test_two_different_checkpoints_of_one_size_are_a_fork(app: Conn, change: dict[str, Any]) -> None:
    evidence.insert_checkpoint(app, STUDY, checkpoint(1))
    with pytest.raises(EvidenceConflict, match="size 1"):
        evidence.insert_checkpoint(app, STUDY, replace(checkpoint(1), **change))
    assert evidence.latest_checkpoint(app, STUDY) == checkpoint(1)


def test_a_checkpoint_without_a_proper_root_or_study_is_refused(app: Conn) -> None:
    for study, row in ((STUDY, replace(checkpoint(1), root=b"short")), ("NCT00000000", checkpoint(1))):
        with pytest.raises(psycopg.IntegrityError):
            evidence.insert_checkpoint(app, study, row)


def test_full_tiles_are_stored_once(app: Conn) -> None:
    evidence.insert_tiles(app, STUDY, [tile(0), tile(1, 7)])
    evidence.insert_tiles(app, STUDY, [tile(1, 7), tile(2)])
    evidence.insert_tiles(app, STUDY, [])
    assert evidence.read_tile(app, STUDY, 0, 1) == bytes([7]) * 8192
    assert evidence.read_tile(app, STUDY, 0, 3) is None
    assert evidence.read_tile(app, STUDY, 1, 0) is None


def test_a_tile_that_differs_from_the_stored_one_is_a_fork(app: Conn) -> None:
    evidence.insert_tiles(app, STUDY, [tile(0)])
    with pytest.raises(EvidenceConflict, match=r"\(0, 0\)"):
        evidence.insert_tiles(app, STUDY, [tile(0, 1), tile(1)])
    assert evidence.read_tile(app, STUDY, 0, 0) == bytes(8192)


def test_a_tile_that_is_not_full_or_nowhere_is_refused(app: Conn) -> None:
    for bad in (TileRow(0, 0, bytes(8191)), TileRow(-1, 0, bytes(8192)), TileRow(0, -1, bytes(8192))):
        with pytest.raises(psycopg.IntegrityError):
            evidence.insert_tiles(app, STUDY, [bad])


def test_each_witness_signs_a_checkpoint_once(app: Conn) -> None:
    evidence.insert_checkpoint(app, STUDY, checkpoint(3))
    assert evidence.insert_cosignature(app, STUDY, 3, "w2", "— w2 line", NOON)
    assert evidence.insert_cosignature(app, STUDY, 3, "w1", "— w1 line", NOON)
    assert not evidence.insert_cosignature(app, STUDY, 3, "w1", "— another", NOON)
    assert evidence.select_cosignatures(app, STUDY, 3) == {"w1": "— w1 line", "w2": "— w2 line"}
    with pytest.raises(psycopg.IntegrityError):
        evidence.insert_cosignature(app, STUDY, 4, "w1", "— of no checkpoint", NOON)


def test_a_witness_renews_its_line_and_the_newest_one_is_shown(app: Conn) -> None:
    evidence.insert_checkpoint(app, STUDY, checkpoint(3))
    for witness in ("w1", "w2"):
        evidence.insert_cosignature(app, STUDY, 3, witness, f"— {witness} at noon", NOON)
    for minutes, line in ((20, "— w1 at 12:20"), (10, "— w1 at 12:10")):
        evidence.renew_cosignature(app, STUDY, 3, "w1", line, NOON + timedelta(minutes=minutes))
    assert evidence.select_cosignatures(app, STUDY, 3) == {"w1": "— w1 at 12:20", "w2": "— w2 at noon"}
    newest = evidence.newest_cosignatures(app, STUDY, ["w1", "w2", "w3"])
    assert newest == {"w1": (3, NOON + timedelta(minutes=20)), "w2": (3, NOON)}
    with pytest.raises(psycopg.IntegrityError):
        evidence.renew_cosignature(app, STUDY, 4, "w1", "— of no checkpoint", NOON)


def test_who_cosigned_what_is_listed_from_the_newest(app: Conn) -> None:
    for size, witnesses in ((1, "ab"), (2, "b"), (3, "c"), (4, "a")):
        evidence.insert_checkpoint(app, STUDY, checkpoint(size))
        for witness in witnesses:
            evidence.insert_cosignature(app, STUDY, size, witness, "— line", NOON)
    assert evidence.cosigned_sizes(app, STUDY, ["a", "b"], 100, 10) == [(4, ["a"]), (2, ["b"]), (1, ["a", "b"])]
    assert evidence.cosigned_sizes(app, STUDY, ["a", "b"], 4, 1) == [(2, ["b"])]
    assert evidence.cosigned_sizes(app, STUDY, [], 100, 10) == []


def test_time_stamps_are_kept_beside_each_other(app: Conn) -> None:
    evidence.insert_checkpoint(app, STUDY, checkpoint(3))
    one = TimestampRow(3, "https://a.example", b"\x30\x00", NOON, NOON + timedelta(seconds=1))
    other = TimestampRow(3, "https://b.example", b"\x30\x01", NOON, NOON)
    for stamp in (other, one, one):
        evidence.insert_timestamp(app, STUDY, stamp)
    assert evidence.select_timestamps(app, STUDY, 3) == [one, other]
    assert evidence.select_timestamps(app, STUDY, 2) == []
    assert evidence.newest_timestamps(app, STUDY)["https://a.example"] == (3, NOON, NOON + timedelta(seconds=1))


HOSTILE = [
    b"",
    b"\x00\xff\xfe",
    b"eyJ~~~",
    b"'; DROP TABLE ledger.refusals; --",
    bytes(range(256)) * 1024,
]


def test_a_refused_statement_is_kept_as_received_whatever_it_is(app: Conn) -> None:
    kept = "SELECT study_id, because, jti, statement, digest FROM ledger.refusals WHERE refused_id = %s"
    for statement in HOSTILE:
        refused_id = evidence.insert_refusal(
            app,
            study="NOT A STUDY\x00",
            at=NOON,
            rule="STATEMENT-1",
            status=400,
            because={"jti\x00": ["\ud800", {"deep": "\udfff x \x00"}], "n": 1, "none": None},
            jti="no uuid \x00 \ud800",
            iss=None,
            statement=statement,
        )
        assert app.execute(kept, [refused_id]).fetchone() == (
            "NOT A STUDY\ufffd",
            {"jti\ufffd": ["\ufffd", {"deep": "\ufffd x \ufffd"}], "n": 1, "none": None},
            "no uuid \ufffd \ufffd",
            statement,
            hashlib.sha256(statement).digest(),
        )


def test_refusals_and_accesses_are_numbered_in_order(app: Conn) -> None:
    refusal: dict[str, Any] = {
        "at": NOON,
        "rule": "R-1",
        "status": 403,
        "because": {},
        "jti": None,
        "iss": "a",
    }
    numbers = [evidence.insert_refusal(app, study=STUDY, statement=b"x", **refusal) for _ in range(3)]
    assert numbers == sorted(set(numbers))
    access: dict[str, Any] = {
        "at": NOON,
        "actor": "actor/1",
        "role": "monitor",
        "action": "read",
        "target": "subject/1",
    }
    noted = [evidence.insert_access(app, study=None, details={"page": "\x00"}, **access) for _ in range(3)]
    assert noted == sorted(set(noted))


def test_a_refusal_that_was_none_is_not_kept(app: Conn) -> None:
    with pytest.raises(psycopg.IntegrityError):
        evidence.insert_refusal(
            app, study=STUDY, at=NOON, rule="R-1", status=201, because={}, jti=None, iss=None, statement=b"x"
        )
