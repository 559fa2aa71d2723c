"""A ledger for the tests of projections: real signed statements in a real database, nothing decided.

What stands in a ledger was decided before; projections must show whatever stands there. So statements are put into
the store directly, under checkpoints whose notes are not signed by a log (projections do not read them).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from ledger.domain.aggregate import aggregate_id, study_aggregate_id
from ledger.domain.catalogue import CATALOGUE
from ledger.merkle.tiles import HashTiles
from ledger.merkle.tree import Frontier, entry_leaf_hash
from ledger.signing.encoding import b64url
from ledger.signing.keys import SigningKey
from ledger.signing.statement import Statement, make, parse
from ledger.store.database import Database
from ledger.store.evidence import insert_checkpoint, insert_tiles
from ledger.store.rows import CheckpointRow, EventRow, Head, TileRow
from ledger.store.statements import begin_append, create_study, finish_append

NAMESPACE = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
BEGINNING = datetime(2030, 1, 1, 8, 0, tzinfo=UTC)

GENESIS = {
    "registrars": [],
    "registrars_required": 1,
    "ceremony": "unavailable",
    "meanings": ["approval", "authorship", "responsibility", "review"],
    "roles": ["registrar"],
    "retention": {"years": 25, "starts": "study end"},
    "synthetic": True,
}


def subject_id(number: int) -> str:
    """The UUIDv4 of a subject of the tests."""
    raw = bytearray(uuid5(NAMESPACE, f"subject {number}").bytes)
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(raw)))


@dataclass
class Book:
    """Writes one study. `tell` appends one statement; `now` moves on by a minute with each; `sign` commits what was
    told. With `after_each`, every statement is committed and followed by that call."""

    database: Database
    study: str = "TRIAL-1"
    clock: str = "simulated"
    rows: list[EventRow] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    now: datetime = BEGINNING
    after_each: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        self.origin = f"localhost/study/{self.study}"
        self.own = study_aggregate_id(self.origin)
        self.key = SigningKey.from_seed(hashlib.sha256(self.study.encode()).digest())
        self._frontier = Frontier()
        self._full: dict[tuple[int, int], bytes] = {}
        self._tiles = HashTiles(
            lambda level, n: self._full[level, n], lambda start, end: [row.leaf_hash for row in self.rows[start:end]]
        )
        self._versions: dict[UUID, int] = {}
        self._waiting: list[EventRow] = []
        with self.database.connection() as conn:
            create_study(conn, self.study, self.origin)

    @property
    def size(self) -> int:
        """How many statements there are."""
        return len(self.statements)

    def open(self) -> Statement:
        """Genesis."""
        jwk = self.key.public_jwk
        own = {"kid": self.key.kid, "alg": "Ed25519", "jwk": jwk}
        body = {
            **GENESIS,
            "study": self.study,
            "origin": self.origin,
            "log_keys": ["log"],
            "clock": self.clock,
        }
        body |= {"registrars": [{"actor": "reg", **own}], "ledger": own}
        return self.tell("StudyOpened", sub="study", iss="reg", role="registrar", site=None, body=body)

    def tell(
        self,
        event: str,
        sub: str | int = "study",
        iss: str = "chen",
        role: str = "investigator",
        site: str | None = "S1",
        body: Mapping[str, Any] | None = None,
        claims: Mapping[str, Any] | None = None,
        **content: Any,
    ) -> Statement:
        """Append one statement; a whole number as `sub` is a subject of the tests."""
        self.now += timedelta(minutes=1)
        about = f"subject/{subject_id(sub)}" if isinstance(sub, int) else sub
        made = {
            "iss": iss,
            "role": role,
            "aud": self.origin,
            "sub": about,
            "jti": str(uuid5(NAMESPACE, f"{self.study} {self.size}")),
            "iat": int(self.now.timestamp()),
            "event": event,
            "v": CATALOGUE[event].v,
            **({"site": site} if site else {}),
            **({"body": dict(body)} if body is not None else {}),
            **(claims or {}),
        }
        salts = iter(range(10_000))
        statement = parse(make(self.key, made, content, lambda: _salt(self.size, next(salts))))
        self._put(statement)
        if self.after_each is not None:
            self.sign()
            self.after_each()
        return statement

    def correct(self, target: Statement, name: str, value: Any, reason: str = "misread", **claims: Any) -> Statement:
        """Correct one field of an earlier statement."""
        named = {"corrects": {"jti": target.jti, "digest": target.digest, "field": name}}
        return self._act("EntryCorrected", target, named, value=value, reason=reason, **claims)

    def void(self, target: Statement, reason: str = "wrong subject", **claims: Any) -> Statement:
        """Void an earlier statement."""
        return self._act("EntryVoided", target, {"voids": ref(target)}, reason=reason, **claims)

    def reverse(self, target: Statement, reason: str = "decided in error", **claims: Any) -> Statement:
        """Reverse a decision."""
        return self._act("DecisionReversed", target, {"reverses": ref(target)}, reason=reason, **claims)

    def countersign(self, target: Statement, **claims: Any) -> Statement:
        """Give the second signature."""
        return self._act("Countersigned", target, {"countersigns": ref(target)}, **claims)

    def _act(self, event: str, target: Statement, named: Mapping[str, Any], **given: Any) -> Statement:
        own = {
            "sub": target.sub,
            "site": target.site,
            **{k: given.pop(k) for k in ("iss", "role") if k in given},
        }
        return self.tell(event, claims=named, **own, **given)

    def _put(self, statement: Statement) -> None:
        recorded_at = self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        originator = aggregate_id(statement.claims, self.own)
        version = self._versions[originator] = self._versions.get(originator, 0) + 1
        row = EventRow(
            len(self.rows),
            originator,
            version,
            f"{statement.event}/{statement.version}",
            statement.jwt,
            statement.disclosures,
            statement.jti,
            statement.kid,
            recorded_at,
            entry_leaf_hash(statement.jwt, recorded_at),
        )
        self.statements.append(statement)
        self.rows.append(row)
        self._waiting.append(row)

    def sign(self) -> int:
        """Commit what waits, under a checkpoint; returns the size."""
        if not self._waiting:
            return self.size
        tiles = [TileRow(*tile[:3]) for tile in self._tiles.completed(self._frontier.size, self.size)]
        self._full |= {(tile.level, tile.n): tile.hashes for tile in tiles}
        with self.database.connection() as conn:
            begin_append(conn, self.study, [])
            self._frontier = self._frontier.extend(row.leaf_hash for row in self._waiting)
            root = self._frontier.root()
            last = self.rows[-1].recorded_at
            finish_append(conn, self.study, self._waiting, Head(self.size, b"".join(self._frontier.peaks), root, last))
            insert_tiles(conn, self.study, tiles)
            insert_checkpoint(conn, self.study, CheckpointRow(self.size, root, f"{self.origin}\n", self.now))
        self._waiting = []
        return self.size


def _salt(index: int, place: int) -> str:
    """A salt that is the same in every run."""
    return b64url(index.to_bytes(8) + place.to_bytes(8))


def ref(statement: Statement) -> dict[str, str]:
    """How an act names an earlier statement."""
    return {"jti": statement.jti, "digest": statement.digest}
