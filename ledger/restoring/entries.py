"""Signed entries that a restored database lacks, put back byte for byte from what others hold, and nothing else.

The only thing trusted is the signer's own state beside the database: size and root of what was signed last. Sources
are evidence bundles and lines of the change feed, as integrators and mirrors keep them; none of them is believed.
 1. every index from the database's size to the signed size is looked for in the sources;
 2. the tree over the database's own and the found entries must have the signed root, or nothing is written: so each
    entry is the signed one, in its place, with the ledger's time, and the database's own entries are the signed ones.
    Where sources tell an entry differently, each source is believed first, and each last, until the root fits;
 3. each entry's disclosures must be whole, other than those that are redacted by the register or by entries;
 4. they are appended in order, some hundred a transaction, with the redactions and ceremonies that they carry; then
    the register of redactions is applied.
Killed anywhere: whoever runs it again goes on where the database stands. Two at once take turns by the head's lock,
and the loser finds nothing missing. A writer appends nothing meanwhile: its alarm stands until the size is whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from ledger.application import Ledger, StudyNotFound
from ledger.authority import LEDGER_ACTOR
from ledger.domain.aggregate import aggregate_id, study_aggregate_id
from ledger.domain.refusals import Refusal
from ledger.keystore import write_first
from ledger.merkle.tree import entry_leaf_hash
from ledger.restoring.refusals import EntriesNotFound, FieldsMissing, NothingMissing, NotWhatWasSigned
from ledger.restoring.sources import Found, Missing, read_source
from ledger.signing.statement import Statement, disclosure_digest, make, parse, read_stored
from ledger.store import statements
from ledger.store.database import Conn
from ledger.store.rows import EventRow, Head, RedactionRow
from ledger.writer import frontier_of

AT_ONCE = 500
"""Entries in one transaction."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done: the database's size before and after, and the index of RestorePerformed, or (None) why that could
    not be recorded."""

    before: int
    size: int
    recorded: int | None
    because: str | None = None


def restore_entries(ledger: Ledger, study: str, sources: Sequence[Path], reason: str) -> Restored:
    """Put the missing entries of a study back from these files, and record it. Raises the Refusal, SignerAlarm where
    the signer's state cannot be read, and the store's errors. What is missing is held in memory, some 3 KB an entry."""
    state, origin = ledger.signed_state(study), ledger.origin(study)
    note = _Note(ledger.home.path / "signer" / f"{study}.restoring")
    with ledger.database.connection() as connection:
        if study not in statements.select_studies(connection):
            if not state.size:
                raise StudyNotFound(f"no study {study!r}")
            statements.create_study(connection, study, origin)
        head = statements.read_head(connection, study)
    if head.size >= state.size:
        begun = note.read()
        if begun is None:
            raise NothingMissing(f"the database holds {head.size} entries, and {state.size} were signed")
        return _record(ledger, study, note, begun, reason)
    missing = Missing(origin, head.size, state.size)
    for path in sources:
        read_source(path, missing)
    entries = _signed(head, _complete(missing), state.frontier.root())
    carried = _redactions(ledger, study, entries, head.size)
    _check_fields(ledger, study, entries, head.size, carried)
    begun = note.begin(head.size, state.size)
    _append(ledger, study, origin, entries, head.size, carried)
    ledger.redactions.protect()
    return _record(ledger, study, note, begun, reason)


# -- what was signed ---------------------------------------------------------------------------------------------


def _complete(missing: Missing) -> list[list[Found]]:
    absent = [index for index in range(missing.start, missing.stop) if not missing.found.get(index)]
    if absent:
        lacking = f"{len(absent)} of the {missing.stop - missing.start} missing entries are in no source"
        raise EntriesNotFound(f"{lacking}, the first at index {absent[0]}, the last at {absent[-1]}", tuple(absent))
    return [missing.found[index] for index in range(missing.start, missing.stop)]


def _signed(head: Head, told: Sequence[Sequence[Found]], root: bytes) -> list[Found]:
    """Of what is told of each entry what leads to the signed root; raises NotWhatWasSigned."""
    differing = [place for place, ways in enumerate(told) if len(ways) > 1]
    common = differing[0] if differing else len(told)
    began = frontier_of(head).extend([ways[0].leaf for ways in told[:common]])
    tried = set()
    for believed in _beliefs(told[place] for place in differing):
        entries = [min(ways, key=believed) for ways in told]
        leaves = tuple(one.leaf for one in entries[common:])
        if leaves not in tried and began.extend(leaves).root() == root:
            return entries
        tried.add(leaves)
    because = f"the {head.size} entries of the database and the {len(told)} found give another root than was signed"
    indexes = tuple(head.size + place for place in differing)
    if differing:
        among = " and ".join(sorted({name for ways in told for one in ways for name in one.sources if len(ways) > 1}))
        because += f"; the sources {among} differ at {len(indexes)} of them, the first at index {indexes[0]}"
    raise NotWhatWasSigned(because, indexes)


def _beliefs(differing: Iterable[Sequence[Found]]) -> Iterator[Callable[[Found], int]]:
    """Ways to choose where sources differ, as keys of which the smallest is chosen: all as they come, then each source
    before all others, and each behind them. One that lies is found out so, and one that is right among many."""
    names = sorted({name for ways in differing for one in ways for name in one.sources})
    yield lambda found: 0
    for name in names:
        yield lambda found, name=name: int(name not in found.sources)  # type: ignore[misc]
        yield lambda found, name=name: int(found.sources == {name})  # type: ignore[misc]


def _redactions(ledger: Ledger, study: str, entries: Sequence[Found], start: int) -> dict[int, list[RedactionRow]]:
    """What takes effect at the entries that are put back, by the index of the second signature."""
    orders: dict[str, tuple[int, Statement]] = {
        one.statement.jti: (index, one.statement) for index, one in enumerate(entries, start)
    }
    found: dict[int, list[RedactionRow]] = {}
    settled: set[str] = set()
    with ledger.database.connection() as connection:
        for index, one in enumerate(entries, start):
            named = one.statement.claims.get("countersigns")
            order = None if named is None else orders.get(named["jti"]) or _stored(connection, study, named["jti"])
            if order is None or order[1].event != "FieldsRedacted" or order[1].jti in settled:
                continue
            settled.add(order[1].jti)
            found[index] = [
                RedactionRow(record["jti"], digest, name, order[0], index)
                for record in order[1].body["records"]
                for digest, name in zip(record["disclosures"], record.get("fields", ()), strict=False)
            ]
    return found


def _stored(connection: Conn, study: str, jti: str) -> tuple[int, Statement] | None:
    row = statements.find_event(connection, study, jti)
    return None if row is None else (row.idx, parse("~".join((row.jwt, *row.disclosures, "")), partial=True))


def _check_fields(
    ledger: Ledger, study: str, entries: Sequence[Found], start: int, carried: Mapping[int, Sequence[RedactionRow]]
) -> None:
    gone = {(row.jti, row.disclosure) for rows in carried.values() for row in rows}
    gone |= {(row.jti, row.disclosure) for row in ledger.redactions.register(study).read().redacted}
    for index, one in enumerate(entries, start):
        present = {disclosure_digest(shown) for shown in one.statement.disclosures}
        lacking = [digest for digest in one.statement.claims.get("_sd", ()) if digest not in present]
        lost = [digest for digest in lacking if (one.statement.jti, digest) not in gone]
        if lost:
            raise FieldsMissing(f"{len(lost)} fields of the entry {index} ({one.statement.event})", (index,))


# -- putting back ------------------------------------------------------------------------------------------------


def _append(
    ledger: Ledger,
    study: str,
    origin: str,
    entries: Sequence[Found],
    start: int,
    carried: Mapping[int, Sequence[RedactionRow]],
) -> None:
    own = study_aggregate_id(origin)
    with ledger.database.connection() as connection:
        while True:
            begun = statements.begin_append(connection, study, set())
            place = begun.head.size - start
            some = entries[place : place + AT_ONCE] if place >= 0 else ()
            if not some:
                statements.abandon(connection)
                return
            try:
                rows = _rows(connection, study, own, begun.head.size, some)
                frontier = frontier_of(begun.head).extend([row.leaf_hash for row in rows])
                last = rows[-1].idx + 1
                head = Head(last, b"".join(frontier.peaks), frontier.root(), rows[-1].recorded_at)
                taking = [row for index in range(begun.head.size, last) for row in carried.get(index, ())]
                held = [(one.statement.ceremony, at) for at, one in enumerate(some, begun.head.size)]
                ceremonies = [(name, at) for name, at in held if name is not None]
            except BaseException:
                statements.abandon(connection)
                raise
            statements.finish_append(connection, study, rows, head, taking, ceremonies)


def _rows(connection: Conn, study: str, own: UUID, first: int, some: Iterable[Found]) -> list[EventRow]:
    found = list(some)
    about = [aggregate_id(one.statement.claims, own) for one in found]
    versions = statements.latest_versions(connection, study, set(about))
    rows = []
    for index, (one, id) in enumerate(zip(found, about, strict=True), first):
        statement, versions[id] = one.statement, versions.get(id, 0) + 1
        topic = f"{statement.event}/{statement.version}"
        leaf = entry_leaf_hash(statement.jwt, one.recorded_at)
        shown, jti, kid = tuple(statement.disclosures), statement.jti, statement.kid
        rows.append(EventRow(index, id, versions[id], topic, statement.jwt, shown, jti, kid, one.recorded_at, leaf))
    return rows


# -- on record ---------------------------------------------------------------------------------------------------


class _Note:
    """Beside the signer's state: that a restore is under way, from which size to which; gone once it is on record."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[int, int] | None:
        try:
            start, stop = self._path.read_text().split()
        except FileNotFoundError:
            return None
        return int(start), int(stop)

    def begin(self, start: int, stop: int) -> tuple[int, int]:
        """What the first run found."""
        write_first(self._path, f"{start} {stop}".encode())
        return self.read() or (start, stop)

    def end(self) -> None:
        self._path.unlink(missing_ok=True)


def _record(ledger: Ledger, study: str, note: _Note, begun: tuple[int, int], reason: str) -> Restored:
    """RestorePerformed, once for each restore, by the actor `ledger`."""
    origin, (start, stop) = ledger.origin(study), begun
    jti = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{origin}/restored/{start}/{stop}"))
    with ledger.database.connection() as connection:
        known = statements.find_event(connection, study, jti)
        now = _now(ledger, connection, study)
    if known is not None:
        note.end()
        return Restored(start, stop, known.idx)
    claims = {
        "iss": LEDGER_ACTOR,
        "role": "system",
        "aud": origin,
        "sub": "study",
        "jti": jti,
        "iat": int(now.timestamp()),
        "event": "RestorePerformed",
        "v": 1,
        "body": {"backup_size": start},
    }
    try:
        outcome = ledger.append(study, make(ledger.seal(study), claims, {"reason": reason}))
    except Refusal as refusal:  # without a seal the entries are back all the same
        outcome = refusal
    if isinstance(outcome, Refusal):
        return Restored(start, stop, None, f"{outcome.rule}: {outcome.because}. {outcome.remedy}")
    note.end()
    return Restored(start, stop, outcome.index)


def _now(ledger: Ledger, connection: Conn, study: str) -> datetime:
    """The clock; in a study with a simulated one the time of the last entry."""
    [genesis] = statements.select_events(connection, study, 0, 1, 1)
    simulated = read_stored(genesis.jwt, genesis.disclosures).body["clock"] == "simulated"
    return (
        datetime.fromisoformat(statements.read_head(connection, study).last_recorded_at) if simulated else ledger.now()
    )
