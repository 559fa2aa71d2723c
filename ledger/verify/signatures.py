"""The second look at 256 entries, once all keys are known: signatures (V5), and the checkpoints of these sizes (V3).

Runs in any process, in any order. Ed25519 is most of the work of a whole verification; nothing else here costs
more than a few hundredths of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import time_of, verifier_of
from ledger.merkle.note import ED25519, Note, Verifier, VerifierKey, parse_note, verify_note
from ledger.merkle.tiles import WIDTH, parse_bundle
from ledger.merkle.tree import Frontier, NotProven, leaf_hash
from ledger.signing.encoding import unb64url
from ledger.signing.errors import Malformed
from ledger.signing.keys import PublicKey
from ledger.signing.wire import read_header
from ledger.verify.bundle import Bundle, Unreadable, log_path

ED25519_BYTES = 64
"""Of a plain signature; one with a time has more."""


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint as published: its size as its text says, the note, and the log's keys at that size."""

    size: int
    note: bytes
    log_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One entry bundle to look at again; `peaks` are those of the tree before its first entry."""

    n: int
    count: int
    keys: Mapping[str, tuple[tuple[str, str], ...]]
    peaks: tuple[bytes, ...]
    sizes: tuple[int, ...] = ()
    published: tuple[Published, ...] = ()


@dataclass(slots=True)
class Answer:
    """What came out: bad signatures, roots at the sizes asked, which checkpoints fit, times of signatures."""

    n: int
    problems: list[tuple[str, int | None, str]] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    published: list[tuple[int, bool]] = field(default_factory=list)
    times: list[tuple[int, str, int]] = field(default_factory=list)
    verified: int = 0


def verify_signatures(bundle: Bundle, origin: str, witnesses: tuple[str, ...], task: Task) -> Answer:
    """Every signature of an entry bundle by the key that its header names; keys that nobody enrolled are left out
    (the fold has reported them)."""
    answer = Answer(task.n)
    first = task.n * WIDTH
    entries = _entries(bundle, task)
    for index, entry in enumerate(entries, start=first):
        jwt = entry[: entry.find(b"\n")]
        signed, _, signature = jwt.rpartition(b".")
        try:
            alg, kid = read_header(signed.partition(b".")[0])
            known = task.keys.get(kid)
            good = known is None or _key(known).verify(signed, unb64url(signature), alg)
        except (Malformed, ValueError):
            continue  # reported with the form of the statement
        answer.verified += known is not None
        if not good:
            answer.problems.append(("V5", index, f"the signature is not one by the key {kid} over these bytes"))
    if task.sizes or task.published:
        _roots(answer, task, entries)
    for published in task.published:
        _checkpoint(answer, published, origin, witnesses)
    return answer


def _entries(bundle: Bundle, task: Task) -> list[bytes]:
    """The entries that the first look has read already."""
    try:
        return parse_bundle(bundle.read(log_path("entries", task.n, task.count)))
    except ValueError:
        raise Unreadable(f"{bundle.path} changed while it was read") from None


@lru_cache(4096)
def _key(jwk: tuple[tuple[str, str], ...]) -> PublicKey:
    return PublicKey.from_jwk(dict(jwk))


def _roots(answer: Answer, task: Task, entries: Sequence[bytes]) -> None:
    """The root at every size asked for, by growing the tree from where the entry bundle begins."""
    frontier = Frontier(task.n * WIDTH, task.peaks)
    at = task.n * WIDTH
    for size in sorted({*task.sizes, *(published.size for published in task.published)}):
        frontier = frontier.extend(leaf_hash(entry) for entry in entries[at - task.n * WIDTH : size - task.n * WIDTH])
        at = size
        answer.roots[size] = frontier.root()


def _checkpoint(answer: Answer, published: Published, origin: str, witnesses: tuple[str, ...]) -> None:
    """V3: the checkpoint's root is that of this log at its size, and the log's key of that time signed it."""
    size = published.size
    try:
        note = parse_note(published.note)
        found = Checkpoint.parse(note.text)
        good = good_signatures(note, published.log_keys, witnesses)
    except (NotProven, ValueError) as wrong:
        answer.problems.append(("V3", None, f"the published checkpoint of {size} entries: {wrong}"))
        return
    if found.origin != origin or found.size != size:
        answer.problems.append(("V3", None, f"a published checkpoint is of {found.origin!r} at {found.size}"))
        return
    for name, at in good.times:
        answer.times.append((size, name, at))
    if not good.by_log:
        answer.problems.append(("V3", None, f"the published checkpoint of {size} entries is not signed by the log"))
    answer.published.append((size, found.root == answer.roots[size]))


@dataclass(frozen=True, slots=True)
class Good:
    """The good signatures of a note: whether the log's Ed25519 key signed, who cosigned when (POSIX seconds)."""

    signatures: tuple[object, ...]
    by_log: bool
    times: tuple[tuple[str, int], ...]


def good_signatures(note: Note, log_keys: Sequence[str], witnesses: Sequence[str]) -> Good:
    """`NotProven` when a known key's signature is bad, or no known key signed."""
    log = [_verifier(key) for key in log_keys]
    good = verify_note(note, [*(verifier for verifier, _ in log), *(_verifier(key)[0] for key in witnesses)])
    plain = {(verifier.name, verifier.key_id) for verifier, kind in log if kind == ED25519}
    times = tuple((s.name, time_of(s.signature)) for s in good if len(s.signature) > ED25519_BYTES)
    return Good(good, any((s.name, s.key_id) in plain and len(s.signature) == ED25519_BYTES for s in good), times)


@lru_cache(256)
def _verifier(text: str) -> tuple[Verifier, int]:
    key = VerifierKey.parse(text)
    return verifier_of(key), key.kind
