"""The universal checker: what must be true of every ledger after every test, whatever the test was about.

 1. the indexes are gapless, and every statement has its own event id
 2. every statement re-parses strictly, was made for this log, and its disclosures are the ones it signed
 3. its signature is by the key that was in force for its actor just below its index, in a role then held:
    authority is folded anew from index 0; where ceremonies are required every electronic signature names one, and
    none is named twice
 4. every leaf hash is that of the statement and its time; times never run backwards
 5. every checkpoint is signed by the log's key over the root recomputed at its size; the newest covers all
 6. each checkpoint extends the one before, by a consistency proof as the ledger serves it
 7. full tiles hold the leaf and node hashes; head and signer agree with the tree
 8. one statement is one event: `eventsourcing`'s Repository gives, at every version, what folding the log gives,
    and what the writer holds in memory
 9. what was acknowledged is there exactly once, at the index stated; its receipt proves it, offline, under a
    checkpoint that the log of today extends
10. every projection follows to the end, and its digest is that of the log folded from zero; `thorough`: and that
    of a rebuild in the database

Checkpoints, proofs, hashes and receipts are checked by `offline.py`, which shares no code with the ledger.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from eventsourcing.application import Application

from ledger.application import Ledger
from ledger.authority import Authority
from ledger.domain.aggregate import LedgerAggregate, aggregate_id
from ledger.signing.keys import PublicKey
from ledger.signing.statement import Statement, parse, unmatched_disclosures, verify
from ledger.store import statements
from ledger.store.database import Conn
from ledger.store.rows import CheckpointRow, EventRow
from ledger.writer import ledger_mapper
from projections.definitions import DEFINITIONS, read_models
from projections.engine import operations
from projections.engine.definition import partition_of
from projections.engine.digest import of_rows
from projections.engine.runner import Runner
from tests.scenario.offline import Roots, leaf_of, open_checkpoint, open_receipt, roots_from_consistency
from tests.scenario.simulator import Told
from tests.scenario.tables import all_checkpoints, all_tiles
from tests.scenario.waiting import wait_until

PAGE = 1_000
EVERY_VERSION_UP_TO = 5
"""Histories are compared at every version up to here, then at ever wider steps, and at the last; `thorough`: at all."""
TILE = 256


@dataclass(frozen=True)
class Log:
    """A study's entries as stored, and what was read of them."""

    study: str
    origin: str
    rows: list[EventRow]
    read: list[Statement]
    checkpoints: list[CheckpointRow]
    authority: Authority
    leaves: list[bytes]
    roots: Roots

    def key_of(self, note: str) -> str:
        """The log's Ed25519 key that signs a checkpoint of the size that it states."""
        return self.authority.log_keys_at(int(note.split("\n")[1]))[0]


def check_everything(ledger: Ledger, acknowledged: Iterable[Told] = (), *, thorough: bool = False) -> None:
    """Check every study of a ledger; `acknowledged` is what its senders were told."""
    told = list(acknowledged)
    for study in ledger.studies():
        wait_until_signed(ledger, study)
        log = read_log(ledger, study)
        folded = check_log(ledger, log, thorough)
        check_acknowledged(log, [one for one in told if parse(one.text).aud == log.origin])
        check_projections(ledger, log, folded, thorough)


def wait_until_signed(ledger: Ledger, study: str) -> None:
    """Have the signer cover what is committed; an alarm is the test's business, not the checker's."""
    alarm = ledger.check_log(study)
    assert alarm is None, f"the signer of {study} raised an alarm: {alarm}"


def read_log(ledger: Ledger, study: str) -> Log:
    """Everything that the store holds of a study, read strictly."""
    with ledger.database.snapshot() as connection:
        rows: list[EventRow] = []
        while page := statements.select_events(connection, study, len(rows), 2**60, PAGE):
            rows += page
        checkpoints = all_checkpoints(connection, study)
    read = [parse("~".join((row.jwt, *row.disclosures, "")), partial=True) for row in rows]
    leaves = [leaf_of(f"{row.jwt}\n{row.recorded_at}\n".encode()) for row in rows]
    authority = Authority()
    for row, statement in zip(rows, read, strict=True):
        authority.apply(statement.claims, row.idx)
    return Log(study, ledger.origin(study), rows, read, checkpoints, authority, leaves, Roots(leaves))


def check_log(ledger: Ledger, log: Log, thorough: bool = False) -> dict[UUID, LedgerAggregate]:
    """1 to 8; returns the aggregates folded from the log."""
    check_order(log)
    check_signatures(log)
    with ledger.database.snapshot() as connection:
        check_tree(ledger, connection, log)
    return check_aggregates(ledger, log, thorough)


def check_order(log: Log) -> None:
    """1, 4: gapless, unique, in time."""
    assert [row.idx for row in log.rows] == list(range(len(log.rows))), "the indexes have gaps"
    repeated = [jti for jti, count in Counter(row.jti for row in log.rows).items() if count > 1]
    assert not repeated, f"recorded twice: {repeated}"
    times = [row.recorded_at for row in log.rows]
    assert times == sorted(times), "recorded_at runs backwards"
    for row, statement in zip(log.rows, log.read, strict=True):
        assert (row.jti, row.kid) == (statement.jti, statement.kid)
        assert row.topic == f"{statement.event}/{statement.version}"
        assert not unmatched_disclosures(statement), f"index {row.idx}: a disclosure that was not signed"


def check_signatures(log: Log) -> None:
    """2, 3: folded from index 0, nothing taken from the database but the statements."""
    authority, ceremonies = Authority(), set[str]()
    for row, statement in zip(log.rows, log.read, strict=True):
        signs = statement.meaning is not None and not authority.is_system(statement.iss)
        assert not signs or authority.ceremony != "required" or statement.ceremony, f"index {row.idx}: no ceremony"
        assert statement.ceremony is None or statement.ceremony not in ceremonies, f"index {row.idx}: a ceremony again"
        ceremonies |= {statement.ceremony} if statement.ceremony else set()
        if row.idx == 0:
            assert statement.event == "StudyOpened", "the log does not begin with genesis"
            keys = {holder["kid"]: holder["jwk"] for holder in statement.body["registrars"]}
            jwk = keys[statement.kid]
        else:
            denial = authority.check(statement.claims, statement.kid, row.recorded_at)
            assert denial is None, f"index {row.idx}: {denial}"
            key = authority.key(statement.kid)
            assert key is not None
            jwk = key.jwk
        verify(statement, PublicKey.from_jwk(jwk))
        assert statement.aud == log.origin
        authority.apply(statement.claims, row.idx)


def check_tree(ledger: Ledger, connection: Conn, log: Log) -> None:
    """4 to 7."""
    leaves, roots = log.leaves, log.roots
    assert [row.leaf_hash for row in log.rows] == leaves, "a stored leaf hash is not the statement's"
    head = statements.read_head(connection, log.study)
    assert (head.size, head.root) == (len(leaves), roots.at(len(leaves))), "the head is not the tree's"
    assert log.checkpoints, "nothing was signed"
    assert log.checkpoints[-1].size == len(leaves), "the newest checkpoint does not cover everything"
    before: CheckpointRow | None = None
    for row in log.checkpoints:
        checked = open_checkpoint(row.note, log.key_of(row.note))
        assert (checked.origin, checked.size) == (log.origin, row.size)
        assert checked.root == row.root == roots.at(row.size), f"the checkpoint of {row.size} has another root"
        if before is not None:
            proof = ledger.receipts(log.study).consistency_proof(connection, before.size, row.size)
            assert roots_from_consistency(before.size, row.size, proof, before.root) == (before.root, row.root)
        before = row
    check_tiles(connection, log.study, leaves)


def check_tiles(connection: Conn, study: str, leaves: list[bytes]) -> None:
    """7: every full tile is there and right; levels above are hashes of 256 below."""
    level, hashes = 0, leaves
    stored = {(tile.level, tile.n): tile.hashes for tile in all_tiles(connection, study)}
    while len(hashes) >= TILE:
        for n in range(len(hashes) // TILE):
            wanted = b"".join(hashes[n * TILE : (n + 1) * TILE])
            assert stored.pop((level, n), None) == wanted, f"the tile {level}/{n} is missing or wrong"
        tops = range(0, len(hashes) - TILE + 1, TILE)
        hashes = [Roots(hashes[start : start + TILE]).at(TILE) for start in tops]
        level += 1
    assert not stored, f"tiles that are not full: {sorted(stored)}"


def check_aggregates(ledger: Ledger, log: Log, thorough: bool) -> dict[UUID, LedgerAggregate]:
    """8: versions are contiguous, and at each the library's repository gives the folded aggregate."""
    application = ledger.application(log.study)
    mapper = ledger_mapper(log.origin)
    study_id = ledger.study_aggregate_id(log.study)
    counted: Counter[UUID] = Counter()
    folded: dict[UUID, LedgerAggregate] = {}
    sampled = _sampled(Counter(aggregate_id(one.claims, study_id) for one in log.read), thorough)
    for row, statement in zip(log.rows, log.read, strict=True):
        about = aggregate_id(statement.claims, study_id)
        counted[about] += 1
        assert (row.originator_id, row.originator_version) == (about, counted[about]), f"index {row.idx}"
        event: Any = mapper.to_domain_event(_stored(row))
        folded[about] = event.mutate(folded.get(about))
        if counted[about] in sampled[about]:
            _same(application, folded[about], about, counted[about])
    assert sum(counted.values()) == len(log.rows)
    _compare_with_writer(ledger, log, folded)
    return folded


def _stored(row: EventRow) -> Any:
    from ledger.store.recorder import LedgerStoredEvent

    return LedgerStoredEvent.of_row(row)


def _sampled(sizes: Counter[UUID], thorough: bool) -> dict[UUID, set[int]]:
    found = {}
    for about, size in sizes.items():
        versions = set(range(1, size + 1 if thorough else min(size, EVERY_VERSION_UP_TO) + 1)) | {size}
        step = EVERY_VERSION_UP_TO
        while step < size:
            versions.add(step)
            step *= 2
        found[about] = versions
    return found


def _same(application: Application[UUID], mine: Any, about: UUID, version: int) -> None:
    theirs: Any = application.repository.get(about, version=version)
    assert theirs.version == version
    assert theirs.records == mine.records, f"the repository gives another {about} at version {version}"
    if hasattr(mine, "authority"):
        assert theirs.authority == mine.authority


def _compare_with_writer(ledger: Ledger, log: Log, folded: dict[UUID, LedgerAggregate]) -> None:
    """What the writer of this process holds in memory, where it holds anything and is up to date."""
    state: Any = ledger.writer(log.study)._state
    if state is None or state.position != len(log.rows):
        return
    study_id = ledger.study_aggregate_id(log.study)
    assert state.study.records == folded[study_id].records, "the writer holds another study than the log"
    assert state.study.authority == folded[study_id].authority  # type: ignore[attr-defined]
    for about, subject in state.subjects.items():
        assert subject.records == folded[about].records, f"the writer holds another {about} than the log"


def check_acknowledged(log: Log, acknowledged: Iterable[Told]) -> None:
    """9: exactly once, where it was said, with a receipt that proves it."""
    places = {row.jti: row for row in log.rows}
    for told in acknowledged:
        row = places.get(told.jti)
        assert row is not None, f"{told.event} {told.jti} was acknowledged at {told.index} and is not there"
        assert row.idx == told.index, f"{told.jti} was acknowledged at {told.index} and stands at {row.idx}"
        assert (
            hashlib.sha256(told.text.partition("~")[0].encode()).digest() == hashlib.sha256(row.jwt.encode()).digest()
        )
        if told.answer.receipt is not None:
            checked, index, entry = open_receipt(
                told.answer.receipt, log.key_of(told.answer.receipt.partition("\n\n")[2])
            )
            assert (checked.origin, index) == (log.origin, told.index)
            assert checked.root == log.roots.at(checked.size), "a checkpoint that was let out is of another tree"
            assert entry == f"{row.jwt}\n{row.recorded_at}\n".encode()


def check_projections(ledger: Ledger, log: Log, folded: dict[UUID, LedgerAggregate], thorough: bool) -> None:
    """10: nothing stops a projection, and what it shows depends on the log alone."""
    with ledger.projector_database() as database:
        runner, size = Runner(database, read_models()), len(log.rows)

        def followed() -> list[dict[str, Any]] | None:
            """Where they stand, when all have come as far as they can; a follower elsewhere may be at work too."""
            runner.catch_up()
            standing = operations.standing(database, log.study)
            return standing if all(one["position"] == size for one in standing) else None

        for one in wait_until(followed, f"following {log.study} to {size}"):
            assert not one["stopped"], f"{one['name']} stopped: {one['stopped']}"
        for definition in DEFINITIONS:
            rows = [
                (table, partition_of(aggregate), values)
                for aggregate in folded.values()
                for table, values in definition.rows(aggregate, list(aggregate.records))
            ]
            shown = operations.digest(database, log.study, definition.name)["digest"]
            assert shown == of_rows(definition, rows).root, f"{definition.name} differs from what the log gives"
        for made in operations.rebuild(database, log.study, workers=1) if thorough else ():
            assert made["changed"] is False, f"{made['projection']} differs from its rebuild at size {made['size']}"
            operations.cancel(database, log.study, made["projection"], "the checker")
