"""What others hold of a log: evidence bundles, and lines of the change feed. Read, and not believed.

A bundle gives entries and disclosures by index; a line of the feed is a JSON object with `index`, `recorded_at` and
`statement`. Whether they are what was signed is for the root to say (`entries.py`): where sources tell an entry
differently all of it is kept, so that one that lies does not keep an honest one from being used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.merkle.tiles import WIDTH, parse_bundle, tile_width
from ledger.merkle.tree import entry_leaf_hash, split_entry
from ledger.restoring.refusals import SourceUnusable
from ledger.signing.errors import Malformed
from ledger.signing.statement import Statement, parse
from ledger.verify.bundle import (
    MANIFEST,
    Bundle,
    Refused,
    Unreadable,
    disclosures_path,
    log_path,
    open_bundle,
    read_disclosures_line,
)

LONGEST_LINE = 1_000_000
"""Bytes of a line of the feed: a statement has 256 KiB at most."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry as sources tell it: the statement with the fields that any of them has, the ledger's time as the leaf
    holds it, the leaf's hash, and which sources tell it so."""

    statement: Statement
    recorded_at: str
    leaf: bytes
    sources: frozenset[str]


@dataclass(slots=True)
class Missing:
    """What is looked for, and what of it was found: for each index every entry that a source tells."""

    origin: str
    start: int
    stop: int
    found: dict[int, list[Found]] = field(default_factory=dict)

    def wants(self, index: int) -> bool:
        """Whether the entry is missing."""
        return self.start <= index < self.stop

    def take(self, index: int, jwt: str, recorded_at: str, disclosures: Sequence[str], source: str) -> None:
        """Keep an entry; of the same one told twice the fields of both."""
        told = self.found.setdefault(index, [])
        try:
            statement, leaf = _parsed(jwt, disclosures), entry_leaf_hash(jwt, recorded_at)
            if statement.claims["aud"] != self.origin:
                raise ValueError(f"it is of the log {statement.claims['aud']}, and {self.origin} is restored")
            place = next((at for at, one in enumerate(told) if one.leaf == leaf), None)
            if place is None:
                told.append(Found(statement, recorded_at, leaf, frozenset({source})))
                return
            known = told[place]
            fuller, other = sorted((known.statement, statement), key=lambda one: -len(one.disclosures))
            besides = [one for one in other.disclosures if one not in fuller.disclosures]
            whole = _parsed(jwt, (*fuller.disclosures, *besides)) if besides else fuller
        except (Malformed, ValueError) as wrong:
            raise SourceUnusable(f"{source}: the entry {index} cannot be used ({wrong})") from None
        told[place] = Found(whole, recorded_at, leaf, known.sources | {source})


def _parsed(jwt: str, disclosures: Sequence[str]) -> Statement:
    return parse("~".join((jwt, *disclosures, "")), partial=True)


def read_source(path: Path, missing: Missing) -> None:
    """Take from a bundle or a file of the feed what of the missing entries it has; raises SourceUnusable."""
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"PK"
        if zipped:
            with open_bundle(path) as bundle:
                _read_bundle(bundle, missing)
        else:
            _read_feed(path, missing)
    except (OSError, Refused, Unreadable, ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise SourceUnusable(f"{path}: {wrong}") from None


def _read_bundle(bundle: Bundle, missing: Missing) -> None:
    size = json.loads(bundle.read(MANIFEST))["size"]
    if type(size) is not int or size < 0:
        raise ValueError("its manifest states no size")
    for n in range(missing.start // WIDTH, -(-min(size, missing.stop) // WIDTH)):
        first = n * WIDTH
        shown: dict[int, list[str]] = {}
        if disclosures_path(n) in bundle:
            for line in bundle.read(disclosures_path(n)).splitlines(keepends=True):
                index, parts = read_disclosures_line(line)
                shown[index] = [part.decode("ascii") for part in parts]
        entries = parse_bundle(bundle.read(log_path("entries", n, tile_width(0, n, size))))
        for index, entry in enumerate(entries, first):
            if missing.wants(index):
                jwt, recorded_at = split_entry(entry)
                missing.take(index, jwt, recorded_at, shown.get(index, ()), str(bundle.path))


def _read_feed(path: Path, missing: Missing) -> None:
    with open(path, "rb") as file:
        while line := file.readline(LONGEST_LINE):
            if not line.strip():
                continue
            entry = json.loads(line)
            if type(entry) is not dict or not {"index", "recorded_at", "statement"} <= entry.keys():
                raise ValueError("a line has no index, recorded_at and statement")
            if type(entry["index"]) is int and missing.wants(entry["index"]):
                jwt, *disclosures = str(entry["statement"]).removesuffix("~").split("~")
                missing.take(entry["index"], jwt, str(entry["recorded_at"]), disclosures, str(path))
