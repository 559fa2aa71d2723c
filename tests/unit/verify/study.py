"""A study in memory and its evidence bundle, written with what a bundle is made of and nothing of the exporter.

Every actor is synthetic. Each step of making a bundle can be got at (`entries`, `files`, `published`), so that a
test can lie at exactly one place and leave the rest consistent.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from api.client.signing import Actor, Cut, target
from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import CosigningAt, Ed25519Cosigner
from ledger.merkle.log_keys import LogKeys, derive
from ledger.merkle.tiles import WIDTH, bundle_bytes, tile_root
from ledger.merkle.tree import entry_bytes, leaf_hash, root_of
from ledger.signing.encoding import b64url
from ledger.signing.keys import SigningKey
from ledger.signing.statement import parse
from ledger.verify.bundle import (
    CHECKPOINT,
    CHECKPOINTS,
    MANIFEST,
    MANIFEST_JWS,
    POLICY,
    README,
    TIMESTAMPS,
    WITHHELD,
    checkpoint_line,
    digest_of,
    disclosures_line,
    disclosures_path,
    log_path,
    manifest_bytes,
    sign_manifest,
    sort_key,
    tiles_of,
    withheld_line,
    write_zip,
)

STUDY, HOST = "STUDY-1", "ledger.example.org"
ORIGIN = f"{HOST}/study/{STUDY}"
BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ROLES = ["registrar", "sponsor", "principal-investigator", "investigator", "coordinator", "laboratory", "privacy"]
ROLES += ["data-manager", "system"]
SUBJECT = "subject/00000000-0000-4000-8000-000000000001"


def numbered(prefix: int) -> Callable[[], str]:
    """UUIDs that count up: the same in every run."""
    state = [0]

    def next_one() -> str:
        state[0] += 1
        return str(uuid.UUID(int=(prefix << 96) + (4 << 76) + (8 << 60) + state[0]))

    return next_one


def salted() -> Callable[[], str]:
    """Salts that count up: for golden files only, never where anything is to be kept secret."""
    state = [0]

    def next_one() -> str:
        state[0] += 1
        return b64url(state[0].to_bytes(16, "big"))

    return next_one


def seeded(number: int) -> SigningKey:
    """A key that is the same in every run."""
    return SigningKey.from_seed(number.to_bytes(32, "big"))


@dataclass
class Entry:
    """An entry as the store keeps it."""

    jwt: str
    recorded_at: str
    disclosures: list[str]

    @property
    def bytes(self) -> bytes:
        return entry_bytes(self.jwt, self.recorded_at)


@dataclass
class MemoryStudy:
    """Records statements without asking, publishes checkpoints, writes bundles."""

    clock: str = "real"
    registrars_required: int = 1
    ceremony: str = "unavailable"
    origin: str = ORIGIN
    entries: list[Entry] = field(default_factory=list)
    published: dict[int, str] = field(default_factory=dict)
    now: datetime = BEGAN
    log: LogKeys = field(default_factory=lambda: derive(bytes(32), ORIGIN))
    witnesses: list[Ed25519Cosigner] = field(default_factory=list)
    withheld: list[tuple[int, list[str], str]] = field(default_factory=list)
    ids: Callable[[], str] = field(default_factory=lambda: numbered(7))
    salts: Callable[[], str] = field(default_factory=salted)

    def __post_init__(self) -> None:
        self.registrar = self.actor("registrar-1", "registrar", seeded(1))
        self.second = self.actor("registrar-2", "registrar", seeded(2))
        self.ledger = self.actor("ledger", "system", seeded(3))

    def actor(self, name: str, role: str, key: SigningKey, site: str | None = None) -> Actor:
        return Actor(name, role, key, self.origin, site, self._seconds, self.ids, self.salts)

    def _seconds(self) -> int:
        return int(self.now.timestamp())

    @property
    def size(self) -> int:
        return len(self.entries)

    def cut(self) -> Cut:
        """The state as a decision names it."""
        return Cut(self.size, b64url(self.root()))

    def root(self, size: int | None = None) -> bytes:
        return root_of(leaf_hash(entry.bytes) for entry in self.entries[:size])

    # -- recording ------------------------------------------------------------------------------------------

    def record(self, text: str, seconds: float = 1) -> int:
        """Append a statement; the ledger's clock goes on by `seconds`. Returns its index."""
        self.now += timedelta(seconds=seconds)
        statement = parse(text)
        stamp = self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.entries.append(Entry(statement.jwt, stamp, list(statement.disclosures)))
        return self.size - 1

    def open(self, **changes: Any) -> MemoryStudy:
        """Genesis, by the first registrar."""

        def holder(actor: Actor) -> dict[str, Any]:
            key = actor.key
            assert isinstance(key, SigningKey)
            return {"jwk": key.public_jwk, "kid": key.kid, "alg": key.alg}

        body: dict[str, Any] = {
            "study": STUDY,
            "origin": self.origin,
            "log_keys": [str(key) for key in self.log.public()],
            "registrars": [{"actor": one.id, **holder(one)} for one in (self.registrar, self.second)],
            "ledger": holder(self.ledger),
            "registrars_required": self.registrars_required,
            "ceremony": self.ceremony,
            "meanings": ["approval", "authorship"],
            "roles": ROLES,
            "retention": {"years": 25},
            "clock": self.clock,
            "synthetic": True,
        }
        self.record(self.registrar.sign("StudyOpened", "study", body | changes))
        return self

    def enrol(self, name: str, role: str, key: SigningKey, **grant: Any) -> Actor:
        """A person with a key and a role; a site role is granted by whoever comes as `by`."""
        by = grant.pop("by", self.registrar)
        self.record(self.registrar.sign("ActorEnrolled", f"actor/{name}", {"actor_kind": grant.pop("kind", "person")}))
        self.record(self.registrar.enrol_key(name, key, key.public_jwk))
        self.record(by.sign("DelegationGranted", f"actor/{name}", {"role": role, **grant}))
        return self.actor(name, role, key, "S1")

    def publish(self, at: int | None = None, seconds: int = 1) -> str:
        """A checkpoint of the log as it is, with the log's two signatures and every witness's."""
        when = self._seconds() + seconds if at is None else at
        checkpoint = Checkpoint(self.origin, self.size, self.root())
        signers = [self.log.ed25519, *(CosigningAt(one, when) for one in self.witnesses)]
        self.published[self.size] = checkpoint.sign(signers).decode()
        return self.published[self.size]

    # -- writing --------------------------------------------------------------------------------------------

    def policy(self) -> str:
        lines = [f"log {self.log.ed25519.key}"]
        lines += [f"witness w{i} {one.key}" for i, one in enumerate(self.witnesses)]
        if not self.witnesses:
            return "\n".join([*lines, "quorum none", ""])
        members = " ".join(f"w{i}" for i in range(len(self.witnesses)))
        return "\n".join([*lines, f"group all-of-them all {members}", "quorum all-of-them", ""])

    def tiles(self) -> dict[str, bytes]:
        """Hash tiles and entry bundles of the log."""
        found: dict[str, bytes] = {}
        rows: list[list[bytes]] = [[leaf_hash(entry.bytes) for entry in self.entries]]
        while len(rows[-1]) >= WIDTH:
            row = rows[-1]
            rows.append([tile_root(b"".join(row[n * WIDTH : (n + 1) * WIDTH])) for n in range(len(row) // WIDTH)])
        for level, n, width in tiles_of(self.size):
            if isinstance(level, int):
                found[log_path(level, n, width)] = b"".join(rows[level][n * WIDTH : n * WIDTH + width])
            else:
                part = self.entries[n * WIDTH : n * WIDTH + width]
                found[log_path(level, n, width)] = bundle_bytes(entry.bytes for entry in part)
        return found

    def files(self) -> dict[str, bytes]:
        """Every member but the manifest and its signature."""
        if self.size not in self.published:
            self.publish()
        found = {README: b"synthetic evidence\n", POLICY: self.policy().encode()}
        found[CHECKPOINT] = self.published[self.size].encode()
        found |= self.tiles()
        found[CHECKPOINTS] = b"".join(checkpoint_line(self.published[size]) for size in sorted(self.published))
        for n in range(0, self.size, WIDTH):
            part = list(enumerate(self.entries[n : n + WIDTH], n))
            lines = b"".join(disclosures_line(i, entry.disclosures) for i, entry in part if entry.disclosures)
            if lines:
                found[disclosures_path(n // WIDTH)] = lines
        found[WITHHELD] = b"".join(withheld_line(*line) for line in sorted(self.withheld))
        found[TIMESTAMPS] = b"[]\n"
        return found

    def write(self, path: Path, files: dict[str, bytes] | None = None, **facts: Any) -> Path:
        """The bundle with these members, its manifest made and signed by the ledger."""
        found = self.files() if files is None else dict(files)
        found.pop(MANIFEST, None), found.pop(MANIFEST_JWS, None)
        stated = {
            "study": STUDY,
            "origin": self.origin,
            "size": self.size,
            "root": b64encode(self.root()).decode(),
            "as_of": None,
            "subject": None,
        }
        ordered = sorted(found, key=sort_key)
        manifest = manifest_bytes(stated | facts, ((name, *digest_of(found[name])) for name in ordered))
        found[MANIFEST], found[MANIFEST_JWS] = manifest, sign_manifest(manifest, self.ledger.key)
        write_zip(path, ((name, found[name]) for name in sorted(found, key=sort_key)))
        return path


def repack(path: Path, changes: dict[str, bytes | None]) -> Path:
    """The bundle again with members changed (None: left out), its manifest as it was."""
    from ledger.verify.bundle import open_bundle

    with open_bundle(path) as bundle:
        found: dict[str, bytes | None] = {name: bundle.read(name) for name in bundle.members}
    found |= changes
    members = [(name, content) for name, content in found.items() if content is not None]
    write_zip(path, sorted(members, key=lambda member: sort_key(member[0])))
    return path


def course(study: MemoryStudy, results: int = 12) -> MemoryStudy:
    """A small course: a site, its investigator and coordinator, a subject, results, a signed decision, a redaction."""
    study.open()
    investigator = study.enrol("investigator-1", "principal-investigator", seeded(11), sites=["S1"])
    coordinator = study.enrol("coordinator-1", "coordinator", seeded(12), sites=["S1"], by=investigator)
    study.publish()
    fields = {"number": "001", "population": "patient", "occurred_at": "2026-03-02"}
    study.record(coordinator.sign("SubjectScreened", SUBJECT, fields))
    for number in range(results):
        analysed = {"analyte": "PLAT", "value": str(20 + number), "unit": "10*9/L", "comment": "synthetic"}
        study.record(coordinator.sign("LabResultReported", SUBJECT, analysed))
        if number % 5 == 0:
            study.publish()
    signed = [target(study.entries[-1].jwt + "~" + "".join(f"{d}~" for d in study.entries[-1].disclosures))]
    study.record(investigator.sign("RecordsSigned", SUBJECT, {"records": signed}, cut=study.cut(), meaning="approval"))
    study.publish()
    return study


def redact(study: MemoryStudy, index: int, digests: Iterable[str], countersigned: bool = True) -> None:
    """Privacy orders the redaction, a data manager countersigns; the disclosures are then destroyed by the caller."""
    privacy = study.enrol("privacy-1", "privacy", seeded(21))
    manager = study.enrol("manager-1", "data-manager", seeded(22))
    entry = study.entries[index]
    statement = parse(entry.jwt + "~" + "".join(f"{d}~" for d in entry.disclosures))
    records = [{**target(statement), "disclosures": sorted(digests)}]
    body = {"records": records, "legal_basis": "GDPR 17", "reason": "entered by mistake"}
    text = privacy.sign("FieldsRedacted", statement.sub, body, site="S1")
    study.record(text)
    if countersigned:
        study.record(manager.sign("Countersigned", statement.sub, {}, site="S1", countersigns=target(text)))


def as_json(text: str) -> Any:
    """Data of a JSON text."""
    return json.loads(text)
