"""The rows of the store as the code sees them: plain values, no behaviour, no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Head:
    """Where a study's ledger stands: `size` events, the peaks of its Merkle tree concatenated (32 bytes
    each), its root (32 bytes), and the last event's `recorded_at` ("" while there is none)."""

    size: int
    frontier: bytes
    root: bytes
    last_recorded_at: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as stored. `jwt` is the ASCII text as received; `recorded_at` has 27 characters,
    `YYYY-MM-DDTHH:MM:SS.ffffffZ`; `leaf_hash` 32 bytes; `jti` is a lowercase UUID; `disclosures` are
    base64url texts, fewer than were received once some have been redacted; `redacted` then names the fields, each
    as `<index from which on it is>:<field>`."""

    idx: int
    originator_id: UUID
    originator_version: int
    topic: str
    jwt: str
    disclosures: tuple[str, ...]
    jti: str
    kid: str
    recorded_at: str
    leaf_hash: bytes
    redacted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """An event id that the study already has: its index, and the SHA-256 (32 bytes) of the stored JWT, by
    which a repeat is told from a different statement."""

    idx: int
    jwt_sha256: bytes


@dataclass(frozen=True, slots=True)
class AppendStart:
    """What the writer learns when it takes the head's lock: the head, which of the event ids it was about
    to append are known, and the database's clock (UTC) after the lock was taken."""

    head: Head
    known: dict[str, KnownEvent]
    database_time: datetime


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A signed checkpoint: the tree of the first `size` events has `root` (32 bytes); `note` is the signed
    note's exact text; `signed_at` is aware."""

    size: int
    root: bytes
    note: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class SigningStart:
    """What the signer learns at once: the newest checkpoint released, the head, and from the first entry that it
    has not signed: index, stored JWT, `recorded_at`, leaf hash; as many as were asked for, the rest by page.
    `rotated` are the indexes of all rotations of the log's key below the head, in order."""

    newest: CheckpointRow | None
    head: Head
    entries: list[tuple[int, bytes, str, bytes]]
    rotated: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TileRow:
    """A full tile: 256 hashes of 32 bytes, the n-th of its level."""

    level: int
    n: int
    hashes: bytes


@dataclass(frozen=True, slots=True)
class TimestampRow:
    """A time stamp (RFC 3161) of the checkpoint of `size`: the authority's address, its answer in DER, the time in
    it, and when it came; both times are aware."""

    size: int
    authority: str
    token: bytes
    stamped_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class RedactionRow:
    """A redacted disclosure: of the event `jti` the one with the digest `disclosure`, whose field's name is `field`;
    the order stands at `ordered_idx`, and its second signature, from which on it holds, at `effective_idx`."""

    jti: str
    disclosure: str
    field: str
    ordered_idx: int
    effective_idx: int


@dataclass(frozen=True, slots=True)
class DestructionRow:
    """Where (`log` or `projections`) and when (aware) a redaction was carried out, and how many disclosures were
    destroyed there then."""

    effective_idx: int
    place: str
    destroyed_at: datetime
    disclosures: int
