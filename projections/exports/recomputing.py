"""V8: the projections of a bundle recomputed from its entries, digest by digest and row by row.

The definitions' own pure handlers fold the entries that V2 and V5 have verified to the position that the bundle
states, and `projected.py` writes what comes of it: the file in the bundle has to be the same. The first difference is
named by table, partition, column and, where the row belongs to an entry, by its index.
Rules:
- a projection of another version than this release's is not decided: its rows mean something else;
- one of the same version is compared whatever release made it; that it was another is said;
- a view that this release makes and the bundle lacks is named: an older release may not have had it, or somebody left
  it out;
- nothing in the file is believed: it is read line by line, and whatever is not in its one form is a difference.
"""

from __future__ import annotations

import json
import sys
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any
from uuid import UUID

from ledger.domain.aggregate import aggregate_id, study_aggregate_id
from ledger.domain.skipping import DECISIONS
from ledger.signing.statement import read_stored
from ledger.verify.attached import Logged, ViewFinding
from ledger.verify.bundle import MANIFEST, Bundle, Unreadable
from projections.definitions import NAMES, model_of
from projections.engine.collector import collecting_rarely
from projections.engine.definition import STUDY_PARTITION, ReadModel
from projections.engine.folding import FoldFailed, StoredEvent
from projections.engine.skips import Decided, Skips, Told
from projections.exports.projected import Fold, head_line, member
from projections.exports.spool import Spool

Entries = Callable[[int], Iterator[Logged]]
"""The verified entries of the bundle below a size, from the first on; may be asked for again."""

SHOWN_CHARACTERS = 80
"""Of a value that differs."""

UUID_CHARACTERS = 36

_TABLES = b',"tables":{\n'


def recompute_views(bundle: Bundle, entries: Entries) -> Iterator[ViewFinding]:
    """A finding for each projection of the bundle, in order of their names; what `ledger.verify` takes as `views`."""
    stated: list[_Stated] = []
    for path in bundle.paths("projections"):
        found = _stated(bundle, path)
        if isinstance(found, ViewFinding):
            yield found
        else:
            stated.append(found)
    if stated:
        with Spool(Path(tempfile.gettempdir())) as spool, collecting_rarely():
            yield from _compared(bundle, entries, stated, spool)
    for name in NAMES:
        if member(name) not in bundle:
            because = "this bundle does not have this view: the release that made it had none, or it was left out"
            yield ViewFinding(name, "passed", because)


@dataclass(frozen=True, slots=True)
class _Stated:
    """A projection of the bundle that can be recomputed: its member, the model, what its first line says."""

    path: str
    model: ReadModel
    size: int
    fingerprint: str

    @property
    def name(self) -> str:
        return self.model.definition.name


def _stated(bundle: Bundle, path: str) -> _Stated | ViewFinding:
    """What a member states to be, or why it is not compared."""
    name = path.removeprefix("projections/").removesuffix(".json")
    if name not in NAMES or member(name) != path:
        return ViewFinding(name, "undecided", "this release knows no such projection")
    model = model_of(name)
    try:
        first = next(bundle.lines(path), b"")
        head: Any = json.loads(first.removesuffix(_TABLES) + b"}") if first.endswith(_TABLES) else None
        manifest = json.loads(bundle.read(MANIFEST))
        as_of = manifest["size"] if manifest["as_of"] is None else manifest["as_of"]
        version, fingerprint, size = head["version"], head["fingerprint"], head["size"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ViewFinding(name, "failed", "its first line does not say what it is")
    if type(version) is not int or type(size) is not int or type(fingerprint) is not str:
        return ViewFinding(name, "failed", "its first line does not say what it is")
    if version != model.definition.version:
        return ViewFinding(
            name,
            "undecided",
            f"it is of version {version}, and this release makes version {model.definition.version}: recompute it with "
            "a release that makes its version",
        )
    if size != as_of:
        return ViewFinding(name, "failed", f"it stands for {size} entries, and the manifest says {as_of}")
    return _Stated(path, model, size, fingerprint)


def _compared(bundle: Bundle, entries: Entries, stated: Sequence[_Stated], spool: Spool) -> Iterator[ViewFinding]:
    size = stated[0].size  # of all: the manifest's
    fold = Fold([one.model for one in stated], spool)
    try:
        source = BundleSource(entries, size, int(json.loads(bundle.read(MANIFEST))["size"]))
        if source.size != size:
            for one in stated:
                yield ViewFinding(one.name, "failed", f"it stands for {size} entries, and there are {source.size}")
            return
        for _ in fold.run(source):
            pass
    except FoldFailed as failed:
        for one in stated:
            yield ViewFinding(one.name, "undecided", f"this release cannot take in {failed}", failed.index)
        return
    for one in stated:
        with spool.scratch() as (kept, out):
            digest = fold.write(out, one.model, size)
        difference = _difference(bundle, one, kept)
        if difference is not None:
            yield ViewFinding(one.name, "failed", difference.because, difference.index)
            continue
        other = "" if one.fingerprint == one.model.fingerprint else ", although another release made it"
        because = f"{digest.rows} rows at size {size} recomputed and the same{other}; digest {digest.root}"
        yield ViewFinding(one.name, "passed", because)


class BundleSource:
    """A bundle's entries below a size, for folding; reads them once for each `at_once` events. Decisions to pass over
    count below the size that is `known`."""

    at_once = 50_000

    def __init__(self, entries: Entries, size: int, known: int) -> None:
        self._entries, self._stop = entries, size
        self._decisions: list[Told] = []
        self._events: list[str] = []
        self._numbers: dict[UUID, int] = {}
        self._owners = array("q")
        self._versions = array("q")
        self.study = UUID(int=0)
        counted: Counter[int] = Counter()
        for entry in entries(known):
            claims = _claims(entry)
            if claims["event"] in DECISIONS:
                self._decisions.append((claims["event"], claims.get("body", {}), entry.index))
            if entry.index >= size:
                continue
            self._events.append(sys.intern(claims["event"]))
            if entry.index == 0:
                self.study = study_aggregate_id(claims["aud"])
            owner = self._numbers.setdefault(aggregate_id(claims, self.study), len(self._numbers))
            counted[owner] += 1
            self._owners.append(owner)
            self._versions.append(counted[owner])
        self._counted = counted

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self._owners)

    def skips(self) -> Skips:
        """By the decisions among the bundle's entries."""
        owners = {number: about for about, number in self._numbers.items()}

        def place(index: int) -> tuple[str, UUID] | None:
            known = 0 <= index < self.size
            return (self._events[index], owners[self._owners[index]]) if known else None

        decided = Decided(self._decisions, place)
        return decided.skips(max((index for _, _, index in self._decisions), default=-1) + 1)

    def aggregates(self) -> Mapping[UUID, int]:
        """Every aggregate with the number of its events."""
        return {about: self._counted[owner] for about, owner in self._numbers.items()}

    def events(self, wanted: Sequence[UUID]) -> Iterable[StoredEvent]:
        """The events of these aggregates, in order of the log."""
        owners = {self._numbers[about]: about for about in wanted}
        for entry in self._entries(self._stop):
            about = owners.get(self._owners[entry.index])
            if about is not None:
                jwt, version = entry.jwt.encode("ascii"), self._versions[entry.index]
                yield StoredEvent(entry.index, about, version, jwt, entry.disclosures, entry.recorded_at)


def _claims(entry: Logged) -> Mapping[str, Any]:
    return read_stored(entry.jwt, ()).claims


# -- the first difference --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Difference:
    because: str
    index: int | None = None


def _difference(bundle: Bundle, one: _Stated, kept: Path) -> _Difference | None:
    """Where the file in the bundle differs from the one that was made of the entries; None where it does not."""
    exact = True
    table = ""
    with kept.open("rb") as made:
        next(made)
        try:
            found = bundle.lines(one.path)
            if next(found) != head_line(one.model, one.size, one.fingerprint):
                return _Difference("its first line names other columns than this version has")
            for theirs, mine in zip_longest(found, made, fillvalue=b""):
                exact = exact and theirs == mine
                if _bare(theirs) != _bare(mine):
                    return _explained(one.model, table, _bare(theirs), _bare(mine))
                if mine.endswith(b":[\n"):
                    table = json.loads(mine[:-3])
        except (ValueError, Unreadable) as wrong:
            return _Difference(f"it cannot be read line by line: {wrong}")
    return None if exact else _Difference("its rows are the same, but not in the form that a bundle has")


def _bare(line: bytes) -> bytes:
    """A line without what only says that another follows."""
    return line.removesuffix(b"\n").removesuffix(b",")


def _explained(model: ReadModel, table: str, theirs: bytes, mine: bytes) -> _Difference:
    """The difference of two lines, in words."""
    their_row, my_row = _row(theirs), _row(mine)
    if table not in model.definition.by_name or (their_row is None and my_row is None):
        return _Difference("a digest that it states is not that of its rows")
    columns = ("partition", *model.definition.by_name[table].names)
    places = [0, *(place + 1 for place in model.definition.by_name[table].key_places())]
    if their_row is not None and len(their_row) != len(columns):
        return _Difference(f"a row of {table!r} has {len(their_row)} values, not {len(columns)}")
    if their_row is None or (my_row is not None and _key(their_row, places) > _key(my_row, places)):
        assert my_row is not None
        return _Difference(f"{_named(table, columns, my_row)} is missing", _index(columns, my_row))
    if my_row is None or _key(their_row, places) < _key(my_row, places):
        return _Difference(
            f"{_named(table, columns, their_row)} is not one that the entries give", _index(columns, their_row)
        )
    name, said, given = next(
        (name, said, given)
        for name, said, given in zip(columns, their_row, my_row, strict=True)
        if (type(said), said) != (type(given), given)
    )
    because = (
        f"in {_named(table, columns, my_row)} it shows {name} = {_short(said)}, and the entries give {_short(given)}"
    )
    return _Difference(because, _index(columns, my_row))


def _row(line: bytes) -> list[Any] | None:
    """A row's values, or None for a line that is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and found else None


def _key(row: Sequence[Any], places: Sequence[int]) -> list[tuple[str, Any]]:
    """What rows are ordered by; values of different kinds compare too."""
    return [(type(row[place]).__name__, row[place]) for place in places]


def _named(table: str, columns: Sequence[str], row: Sequence[Any]) -> str:
    index = _index(columns, row)
    plain = isinstance(row[0], str) and row[0].isprintable() and len(row[0]) <= UUID_CHARACTERS
    about = "the study" if row[0] == STUDY_PARTITION else f"subject/{row[0]}" if plain else _short(row[0])
    return f"the row of {table!r} about {about}" + (f", index {index}" if index is not None else "")


def _index(columns: Sequence[str], row: Sequence[Any]) -> int | None:
    found = row[columns.index("idx")] if "idx" in columns else None
    return found if type(found) is int and found >= 0 else None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
