"""What is attached to the log in a bundle: projections (V8) and RFC 3161 timestamps (V9).

Both need code that this package does not have: the projections' own, and a library that reads timestamps. They
are contributed by whoever has them, as callables; without them the checks are undecided and say so. Nothing to
check is undecided too: that a bundle has no timestamp proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.merkle.tiles import WIDTH, parse_bundle
from ledger.merkle.tree import NotProven, split_entry
from ledger.signing.encoding import read_json
from ledger.signing.errors import Malformed
from ledger.verify.bundle import (
    CHECKPOINTS,
    TIMESTAMPS,
    Bundle,
    disclosures_path,
    log_path,
    read_checkpoint_line,
    read_disclosures_line,
)
from ledger.verify.report import Check, Outcome


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry as a projection reads it."""

    index: int
    recorded_at: str
    jwt: str
    disclosures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ViewFinding:
    """What recomputing one projection of the bundle gave; `index` of the first entry concerned, where known."""

    name: str
    outcome: Outcome
    because: str
    index: int | None = None


class LibraryMissing(Exception):
    """The timestamps cannot be read here; the message says what is missing."""


Views = Callable[[Bundle, Callable[[int], Iterator[Logged]]], Iterable[ViewFinding]]
"""(bundle, entries below a size) to a finding for each member of `projections/`; and for each view that the contributor
makes and the bundle lacks a passed one, whose `because` says so."""

Timestamps = Callable[[bytes, bytes], tuple[int, str]]
"""(token, the checkpoint's text that it should be over) to time (POSIX seconds) and authority's name.

Raises `NotProven` when the token does not prove it, `LibraryMissing` when that cannot be decided here."""


def logged(bundle: Bundle, size: int) -> Iterator[Logged]:
    """The entries below a size, of a bundle whose tiles were verified."""
    whole = sum(1 for _ in bundle.paths("log/tile/entries"))
    for n, path in enumerate(bundle.paths("log/tile/entries")):
        if n * WIDTH >= size:
            return
        assert path.startswith(log_path("entries", n)) and n < whole
        present = dict(_present(bundle, n))
        for index, entry in enumerate(parse_bundle(bundle.read(path)), start=n * WIDTH):
            if index >= size:
                return
            jwt, recorded_at = split_entry(entry)
            yield Logged(index, recorded_at, jwt, present.get(index, ()))


def _present(bundle: Bundle, n: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    path = disclosures_path(n)
    for line in bundle.lines(path) if path in bundle else ():
        index, parts = read_disclosures_line(line)
        yield index, tuple(part.decode() for part in parts)


def check_views(check: Check, bundle: Bundle, views: Views | None, withheld: int, sound: bool) -> None:
    """V8; `sound`: the entries were readable and verified, so that recomputing means something."""
    names = bundle.paths("projections")
    if not names:
        check.undecided("there is no projection in this bundle")
    elif withheld:
        check.undecided(f"{withheld} disclosures are withheld from this copy, so the views cannot be recomputed")
    elif not sound:
        check.undecided("the entries themselves are not verified")
    elif views is None:
        check.undecided(
            f"recomputing the {len(names)} views takes the code of the projections, which this verifier does not "
            "carry: use `trial-ledger verify` of the whole project"
        )
    else:
        _recompute(check, bundle, views, names)


def _recompute(check: Check, bundle: Bundle, views: Views, names: Sequence[str]) -> None:
    open_ = set(names)
    for finding in views(bundle, lambda size: logged(bundle, size)):
        open_.discard(f"projections/{finding.name}.json")
        if finding.outcome == "failed":
            check.fail(f"{finding.name}: {finding.because}", finding.index)
        elif finding.outcome == "undecided":
            check.undecided(f"{finding.name}: {finding.because}")
        elif f"projections/{finding.name}.json" not in names:
            check.note(f"{finding.name}: {finding.because}")
        else:
            check.say(f"{finding.name}: {finding.because}")
    if open_:
        check.undecided(f"nobody recomputed {', '.join(sorted(open_))}")


def check_timestamps(
    check: Check, bundle: Bundle, published: Collection[int], timestamps: Timestamps | None
) -> list[tuple[int, str, int]]:
    """V9; returns (size, authority, POSIX seconds) of the good ones."""
    listed = _listed(check, bundle)
    if listed is None:
        return []
    if not listed:
        check.undecided("there is no timestamp in this bundle")
        return []
    if timestamps is None:
        check.undecided(
            f"reading {len(listed)} timestamps takes the library rfc3161-client and the certificates of the "
            "authorities that you trust (--tsa FILE)"
        )
        return []
    texts = _texts(bundle, {size for size, _, _ in listed})
    good: list[tuple[int, str, int]] = []
    for size, file, authority in listed:
        if size not in texts or size not in published:
            check.fail(f"{file} is for a checkpoint of {size} entries, which was not published", None)
            continue
        try:
            at, name = timestamps(bundle.read(file), texts[size])
        except LibraryMissing as wrong:
            check.undecided(str(wrong))
            return good
        except NotProven as wrong:
            check.fail(f"{file} ({authority}) over the checkpoint of {size} entries: {wrong}", max(0, size - 1))
            continue
        good.append((size, name, at))
        check.say(f"{name} stamped the checkpoint of {size} entries")
    return good


def _listed(check: Check, bundle: Bundle) -> list[tuple[int, str, str]] | None:
    """Size, member and authority of each timestamp; None when the list itself is broken."""
    found: list[tuple[int, str, str]] = []
    try:
        stated: Any = read_json(bundle.read(TIMESTAMPS), TIMESTAMPS) if TIMESTAMPS in bundle else []
        for one in stated:
            size, file, authority = one["size"], one["file"], one["authority"]
            if type(size) is not int or file not in bundle or not file.startswith("timestamps/"):
                raise ValueError(f"it names {str(file)[:80]!r}, which is not there")
            found.append((size, file, str(authority)))
    except (ValueError, KeyError, TypeError, AttributeError, Malformed) as wrong:
        check.fail(f"{TIMESTAMPS} is not a list of size, file and authority: {wrong}")
        return None
    for path in bundle.paths("timestamps"):
        if path not in {file for _, file, _ in found}:
            check.fail(f"{path} is not listed in {TIMESTAMPS}")
    return found


def _texts(bundle: Bundle, sizes: Collection[int]) -> dict[int, bytes]:
    """The texts of the published checkpoints of these sizes (verified in V3)."""
    texts: dict[int, bytes] = {}
    for line in bundle.lines(CHECKPOINTS) if CHECKPOINTS in bundle else ():
        try:
            text = b"\n".join(read_checkpoint_line(line).split(b"\n", 3)[:3]) + b"\n"
            size = int(text.split(b"\n")[1])
        except (ValueError, IndexError):
            continue
        if size in sizes:
            texts[size] = text
    return texts
