"""The log's own ML-DSA-44 line: under every exported checkpoint, under at most one a second of the others."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from ledger.application import EntryNotFound
from ledger.cosigning import LogCosigner, witness_name
from ledger.merkle.cosignature import verifier_of
from ledger.merkle.note import parse_note, verify_note
from ledger.store import evidence
from ledger.store.errors import EvidenceConflict
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator
from tests.scenario.waiting import wait_until

STUDY = "COAST-07"


def lines(sim: Simulator, size: int) -> dict[str, str]:
    """The lines that lie beside a checkpoint."""
    with ledger_of(sim).database.connection() as connection:
        return evidence.select_cosignatures(connection, STUDY, size)


def record(sim: Simulator, number: str) -> int:
    """Any statement; the size of the log with it."""
    return sim.screen(sim.subject(number)).index + 1


def test_an_exported_checkpoint_verifies_under_both_keys_of_the_log_whichever_it_is(trial: Simulator) -> None:
    ledger = ledger_of(trial)
    sizes = [record(trial, number) for number in ("1", "2", "3")]
    for size in sizes:
        row = ledger.cosign_for_export(STUDY, size)
        with ledger.database.connection() as connection:
            note = evidence.full_note(connection, STUDY, row)
        known = [verifier_of(key) for key in ledger.log_signers(STUDY).public()]
        assert len(verify_note(parse_note(note.encode()), known)) == 2
        before = lines(trial, size)
        ledger.cosign_for_export(STUDY, size)
        assert lines(trial, size) == before, "the line that went out first stays"


def test_the_newest_checkpoint_gets_the_line_without_being_asked_and_a_burst_does_not(
    trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = witness_name(ledger_of(trial).log_signers(STUDY).mldsa44)
    first = record(trial, "0")
    wait_until(lambda: name in lines(trial, first), "the line")
    monkeypatch.setattr(ledger_of(trial).writer(STUDY)._signer, "_cosigned_at", time.monotonic() + 3_600)
    later = [record(trial, number) for number in ("1", "2", "3", "4", "5")]
    assert not [size for size in later if name in lines(trial, size)]


def test_only_a_checkpoint_that_the_log_signed_is_signed_again(trial: Simulator) -> None:
    ledger = ledger_of(trial)
    size = record(trial, "1")
    keys = ledger.log_signers(STUDY)
    cosigner = LogCosigner(STUDY, ledger.origin(STUDY), lambda connection, study, size: keys, trial.clock)
    with ledger.database.connection() as connection:
        row = evidence.checkpoint_at(connection, STUDY, size)
        assert row is not None
        for forged in (
            replace(row, root=b"\x01" * 32),
            replace(row, size=size + 1),
            replace(row, note=row.note.replace("A", "B")),
            replace(row, note=row.note + "— other AAAAAAAA\n"),
        ):
            with pytest.raises(EvidenceConflict, match="not signed here"):
                cosigner.ensure(connection, forged)
    with pytest.raises(EntryNotFound):
        ledger.cosign_for_export(STUDY, size + 1_000)
    with pytest.raises(EntryNotFound):
        ledger.cosign_for_export("OTHER-07", size)


def test_a_line_that_somebody_put_there_first_is_not_exported(doomed_trial: Simulator) -> None:
    ledger = ledger_of(doomed_trial)
    keys = ledger.log_signers(STUDY)
    ledger.writer(STUDY)._signer._cosigned_at = float("inf")
    sizes = [record(doomed_trial, number) for number in ("1", "2")]
    other = ledger.cosign_for_export(STUDY, sizes[0])
    line = lines(doomed_trial, sizes[0])[witness_name(keys.mldsa44)]
    with ledger.database.connection() as connection:
        evidence.insert_cosignature(connection, STUDY, sizes[1], witness_name(keys.mldsa44), line, other.signed_at)
    with pytest.raises(EvidenceConflict, match="not good"):
        ledger.cosign_for_export(STUDY, sizes[1])
