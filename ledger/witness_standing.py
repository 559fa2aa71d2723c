"""Where a study's witnesses stand: its policy, which checkpoint has the quorum, how far each witness is behind.

Reads the stored cosignatures only, so that every process and command gives the same answer, whoever asks the
witnesses. What counts is the policy of now, and every line is verified with its keys before it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ledger.merkle.note import Signature, VerifierKey, parse_note, parse_signature_line
from ledger.merkle.policy import Policy, QuorumResult
from ledger.merkle.tree import NotProven
from ledger.settings import SettingsError
from ledger.store import evidence
from ledger.store.database import Conn
from ledger.store.rows import CheckpointRow
from ledger.witness_notes import WitnessNote

SIZES_AT_ONCE = 200
"""Cosigned sizes read at once when looking for the newest with the quorum: nearly always the first will do."""


def load_policy(path: Path, origin: str, log_keys: Iterable[VerifierKey]) -> Policy:
    """A study's policy; SettingsError names the file and what is wrong with it."""
    try:
        policy = Policy.parse(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None
    if not set(policy.logs) & set(log_keys):
        raise SettingsError(f"{path}: no log line has a key of {origin}; GET /v1/studies/.../log-keys states them")
    for witness in policy.witnesses.values():
        parts = urlsplit(witness.url or "https://nobody")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise SettingsError(f"{path}: the address of {witness.name} is not http(s)://host/prefix: {witness.url}")
    return policy


def row_name(key: VerifierKey) -> str:
    """What stands in the column `witness` of the cosignatures: name and key id."""
    return f"{key.name}+{key.key_id.hex()}"


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint with the quorum, and why it has it."""

    checkpoint: CheckpointRow
    result: QuorumResult


def newest_witnessed(conn: Conn, study: str, policy: Policy, below: int, at_least: int = 0) -> Witnessed | None:
    """The checkpoint of the greatest size < `below` and >= `at_least` whose stored lines meet the policy's quorum.

    The lines are verified again: what counts is the policy of now, not that of when they came.
    """
    if not policy.witnesses or policy.evaluate([]):
        newest = evidence.latest_checkpoint(conn, study)
        good = newest is not None and newest.size >= at_least
        return Witnessed(newest, policy.evaluate([])) if newest is not None and good else None
    keys = {row_name(one.key): Signature(one.key.name, one.key.key_id, b"\0") for one in policy.witnesses.values()}
    while below > at_least:
        page = evidence.cosigned_sizes(conn, study, list(keys), below, SIZES_AT_ONCE)
        for size, names in page:
            if size < at_least:
                return None
            if policy.evaluate(keys[name] for name in names):
                found = _verified(conn, study, policy, size)
                if found is not None:
                    return found
        if len(page) < SIZES_AT_ONCE:
            return None
        below = page[-1][0]
    return None


def _verified(conn: Conn, study: str, policy: Policy, size: int) -> Witnessed | None:
    """The checkpoint of a size, if its lines are good and meet the quorum."""
    checkpoint = evidence.checkpoint_at(conn, study, size)
    if checkpoint is None:
        return None
    result = policy.evaluate(good_lines(conn, study, policy, checkpoint))
    return Witnessed(checkpoint, result) if result else None


def good_lines(conn: Conn, study: str, policy: Policy, checkpoint: CheckpointRow) -> list[Signature]:
    """The stored lines under a checkpoint that a key of the policy verifies."""
    found = []
    text = parse_note(checkpoint.note.encode()).text
    verifiers = {(one.name, one.key_id): one for one in policy.witness_verifiers()}
    for line in evidence.select_cosignatures(conn, study, checkpoint.size).values():
        with suppress(NotProven):
            signature = parse_signature_line(line)
            verifier = verifiers.get((signature.name, signature.key_id))
            if verifier is not None and verifier.verify(text, signature.signature):
                found.append(signature)
    return found


def standing(
    conn: Conn, study: str, policy: Policy, newest: CheckpointRow, notes: Mapping[str, WitnessNote], now: datetime
) -> dict[str, Any]:
    """JSON: each witness of the policy with its newest size and its lag, and the newest checkpoint with the quorum."""
    rows = evidence.newest_cosignatures(conn, study, [row_name(w.key) for w in policy.witnesses.values()])
    witnesses = []
    for name, witness in policy.witnesses.items():
        size, at = rows.get(row_name(witness.key), (0, None))
        note = notes.get(name, WitnessNote())
        witnesses.append(
            {
                "name": name,
                "key": str(witness.key),
                "url": witness.url,
                "size": size,
                "at": at.isoformat() if at else None,
                **_lag(conn, study, newest, size, now),
                "error": note.error if witness.url else "it is not asked: the policy gives no address for it",
                "failing_since": _time(note.failing_since),
                "next_try_at": _time(note.next_try),
                "alarm": asdict(note.alarm) if note.alarm else None,
            }
        )
    found = newest_witnessed(conn, study, policy, newest.size + 1)
    result = found.result if found else policy.evaluate(good_lines(conn, study, policy, newest))
    size = found.checkpoint.size if found else 0
    quorum = {
        "name": policy.quorum,
        "size": size,
        **_lag(conn, study, newest, size, now),
        "because": result.because,
    }
    return {"policy": str(policy), "size": newest.size, "witnesses": witnesses, "quorum": quorum}


def _lag(conn: Conn, study: str, newest: CheckpointRow, size: int, now: datetime) -> dict[str, int]:
    """How many entries the newest checkpoint has more, and for how many seconds it has been so."""
    if size >= newest.size:
        return {"lag_entries": 0, "lag_seconds": 0}
    overtaken = evidence.checkpoint_covering(conn, study, size) or newest
    seconds = max(0, int((now - overtaken.signed_at).total_seconds()))
    return {"lag_entries": newest.size - size, "lag_seconds": seconds}


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
