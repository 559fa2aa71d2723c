"""The first look at 256 entries: hashes, strict form, times, disclosures. Runs in any process, in any order.

What does not depend on the entries before is decided here (V2 and V7 of these entries, the form of V5, part of
V6); what does is handed on in short form, so that the fold in `rights.py` has little left to do for an entry.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID
from zlib import crc32

from ledger.merkle.tiles import WIDTH, parse_bundle, tile_root
from ledger.merkle.tree import HASH_BYTES, leaf_hash, split_entry
from ledger.signing.errors import Malformed
from ledger.signing.statement import Statement, parse
from ledger.verify.bundle import Bundle, disclosures_path, log_path, read_disclosures_line
from ledger.verify.known import KNOWN
from ledger.verify.recorders import unsigned

CLOCK_LEEWAY_SECONDS = 300
"""How far `iat` may lie after `recorded_at`: the writer's own limit (rule TIME-1)."""

LATE_SECONDS = 24 * 60 * 60
"""What was recorded longer after it happened, or after it was signed, is listed as late."""

ACTS = frozenset(
    {
        *("StudyOpened", "ActorEnrolled", "KeyEnrolled", "KeyRevoked", "DelegationGranted", "DelegationEnded"),
        *("LogKeyRotated", "CeremonyRequired", "AccountabilityAccepted", "SignatureReaffirmed"),
        *("AccountabilityStated", "PersonRenamed"),
        *("Countersigned", "FieldsRedacted"),
    }
)
"""Events that change who may do what, or what may be missing: the fold reads all their clear claims."""

TARGETS = ("corrects", "voids", "answers", "reverses", "countersigns")

LISTING = frozenset(
    {"RecordsSigned", "SourceVerified", "SignatureReaffirmed", "AttributionDisputed", "SignatureWithdrawn"}
)
"""Events that name what they are about in `body.records`, or one in `body.record`."""

OWN = frozenset({"AttributionDisputed", "SignatureReaffirmed", "SignatureWithdrawn"})
"""Of these, what people say about statements of their own alone."""

Who = tuple[str, str, str, str, str | None, str, str | None, str, bool, bool]
"""kid, aud, iss, role, site, event, meaning, day of recording, whether it names a ceremony, whether transcribed."""


@dataclass(slots=True)
class Part:
    """What one entry bundle holds. `who[i]` is the place in `people` of entry i, 255 past a broken one."""

    n: int
    count: int = 0
    problems: list[tuple[str, int, str]] = field(default_factory=list)
    broken: str | None = None
    root: bytes | None = None
    leaves: bytes = b""
    jtis: bytes = b""
    digests: bytes = b""
    times: bytes = b""
    people: list[Who] = field(default_factory=list)
    who: array[int] = field(default_factory=lambda: array("H"))
    about: list[tuple[str, str | None]] = field(default_factory=list)
    """`sub` and `site` of the entries, each pair once."""
    places: array[int] = field(default_factory=lambda: array("H"))
    """For each entry its place in `about`, or NOBODY."""
    acts: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    targets: list[tuple[int, str, str, str]] = field(default_factory=list)
    own: set[int] = field(default_factory=set)
    """Entries by which people say something about statements of their own, and of nobody else."""
    states: list[tuple[int, str, int, str, int]] = field(default_factory=list)
    ceremonies: list[tuple[int, str]] = field(default_factory=list)
    missing: list[tuple[int, str]] = field(default_factory=list)
    disclosed: int = 0
    withheld: int = 0
    others: dict[str, int] = field(default_factory=dict)
    """Whom statements are about of which something is withheld as another subject's: `sub` to the first index."""
    late: list[tuple[int, str]] = field(default_factory=list)
    members: dict[str, tuple[str, bool]] = field(default_factory=dict)
    strange: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """Events and versions that this verifier does not know: the first index, and how many there are."""


NOBODY = WIDTH
"""In `Part.who` and `Part.places`: an entry that could not be read."""

Withheld = tuple[tuple[int, tuple[str, ...], bool], ...]
"""(index, digests, whether on the ground that it is another subject's) of the lines of withheld.ndjson that fall to
an entry bundle, an entry once, in their order."""


def examine(bundle: Bundle, n: int, count: int, simulated: bool, withheld: Withheld) -> Part:
    """Look at entry bundle n, which should hold `count` entries; `simulated` turns the alarms on times off."""
    part = Part(n, count)
    data = _member(bundle, part, log_path("entries", n, count))
    tile = _member(bundle, part, log_path(0, n, count))
    if data is None:
        part.broken = f"{log_path('entries', n, count)} is missing"
        return part
    try:
        entries = parse_bundle(data)
        if len(entries) != count:
            raise ValueError(f"it holds {len(entries)} entries")
    except ValueError as wrong:
        part.broken = f"{log_path('entries', n, count)} should hold {count} entries: {wrong}"
        return part
    _hashes(part, entries, tile)
    present = _disclosures(bundle, part)
    _Reader(part, simulated, present, withheld).read(entries)
    return part


def _member(bundle: Bundle, part: Part, path: str) -> bytes | None:
    if path not in bundle:
        return None
    data = bundle.read(path)
    part.members[path] = (sha256(data).hexdigest(), crc32(data) == bundle.members[path].crc)
    return data


def _hashes(part: Part, entries: Sequence[bytes], tile: bytes | None) -> None:
    """V2: leaf hashes from the entries, equal to the tile's."""
    leaves = [leaf_hash(entry) for entry in entries]
    part.leaves = b"".join(leaves)
    path, first = log_path(0, part.n, part.count), part.n * WIDTH
    if tile is None:
        part.problems.append(("V2", first, f"the tile {path} is missing"))
    elif tile != part.leaves:
        at = next((i for i, leaf in enumerate(leaves) if tile[i * HASH_BYTES : (i + 1) * HASH_BYTES] != leaf), None)
        if at is None:
            part.problems.append(("V2", first, f"the tile {path} holds more hashes than there are entries"))
        else:
            part.problems.append(("V2", first + at, f"the hash of the entry is not the one in {path}"))
    if part.count == WIDTH:
        part.root = tile_root(part.leaves)
        part.leaves = b""


def _disclosures(bundle: Bundle, part: Part) -> dict[int, list[bytes]]:
    """Index to the disclosures present; what is wrong with the file is a failure of V7."""
    path, first = disclosures_path(part.n), part.n * WIDTH
    data = _member(bundle, part, path)
    found: dict[int, list[bytes]] = {}
    last = first - 1
    for number, line in enumerate((data or b"").splitlines(keepends=True), start=1):
        try:
            index, parts = read_disclosures_line(line)
            if not last < index < first + part.count:
                raise ValueError(f"index {index} does not belong here")
        except ValueError as wrong:
            part.problems.append(("V7", last + 1, f"line {number} of {path}: {wrong}"))
            break
        found[index] = parts
        last = index
    return found


class _Reader:
    """Reads the entries of one bundle one by one into its part."""

    def __init__(self, part: Part, simulated: bool, present: dict[int, list[bytes]], withheld: Withheld) -> None:
        self._part, self._simulated, self._present = part, simulated, present
        self._withheld = {index: digests for index, digests, _ in withheld}
        self._others = {index for index, _, other in withheld if other}
        self._places: dict[Who, int] = {}
        self._about: dict[tuple[str, str | None], int] = {}
        self._jtis: list[bytes] = []
        self._digests: list[bytes] = []
        self._times = array("q")

    def read(self, entries: Sequence[bytes]) -> None:
        part = self._part
        for index, entry in enumerate(entries, start=part.n * WIDTH):
            self._entry(index, entry)
        part.jtis, part.digests, part.times = b"".join(self._jtis), b"".join(self._digests), self._times.tobytes()
        part.people, part.about = list(self._places), list(self._about)

    def _entry(self, index: int, entry: bytes) -> None:
        part = self._part
        try:
            jwt, recorded_at = split_entry(entry)
            recorded = seconds_of(recorded_at)
        except ValueError as wrong:
            part.problems.append(("V5", index, f"the entry has not its form: {wrong}"))
            self._keep(None, bytes(16), bytes(32), self._times[-1] if self._times else 0)
            return
        statement = self._statement(index, jwt)
        digest = sha256(jwt.encode("ascii")).digest()
        if statement is None:
            self._keep(None, bytes(16), digest, recorded)
            return
        claims = statement.claims
        if index in self._others:
            part.others.setdefault(claims["sub"], index)
        meaning, ceremony = claims.get("meaning"), claims.get("ceremony")
        who = (
            *(statement.kid, claims["aud"], claims["iss"], claims["role"], claims.get("site"), claims["event"]),
            *(meaning, recorded_at[:10], ceremony is not None, claims.get("mode") == "transcribed"),
        )
        self._keep(who, UUID(claims["jti"]).bytes, digest, recorded, (claims["sub"], claims.get("site")))
        if ceremony is not None:
            part.ceremonies.append((index, ceremony))
        if KNOWN.get(claims["event"], 0) < claims["v"]:
            first, count = part.strange.get((claims["event"], claims["v"]), (index, 0))
            part.strange[claims["event"], claims["v"]] = (first, count + 1)
        if claims["event"] in ACTS:
            part.acts.append((index - part.n * WIDTH, {**claims, "\0kid": statement.kid}))
        self._references(index, claims)
        self._provable(index, claims, recorded, recorded_at)
        self._late(index, statement, recorded)

    def _keep(
        self, who: Who | None, jti: bytes, digest: bytes, recorded: int, about: tuple[str, str | None] | None = None
    ) -> None:
        place = NOBODY if who is None else self._places.setdefault(who, len(self._places))
        self._part.who.append(place)
        self._part.places.append(NOBODY if about is None else self._about.setdefault(about, len(self._about)))
        self._jtis.append(jti)
        self._digests.append(digest)
        self._times.append(recorded)

    def _statement(self, index: int, jwt: str) -> Statement | None:
        """The statement strictly parsed with what is disclosed; without it where only the disclosures are wrong."""
        part, found = self._part, self._present.get(index, ())
        part.disclosed += len(found)
        text = b"~".join((jwt.encode("ascii"), *found, b""))
        try:
            statement = parse(text, partial=True)
        except Malformed as wrong:
            if wrong.rule.startswith("DISCLOSURE") or found:
                return self._without_disclosures(index, jwt, wrong)
            part.problems.append(("V5", index, str(wrong)))
            return None
        signed = statement.claims.get("_sd", ())
        if len(signed) != len(found):
            self._missing(index, signed, found)
        elif index in self._withheld:
            part.problems.append(("V7", index, "disclosures are listed as withheld, and none is missing"))
        return statement

    def _without_disclosures(self, index: int, jwt: str, wrong: Malformed) -> Statement | None:
        try:
            statement = parse(f"{jwt}~", partial=True)
        except Malformed as worse:
            self._part.problems.append(("V5", index, str(worse)))
            return None
        self._part.problems.append(("V7", index, str(wrong)))
        return statement

    def _missing(self, index: int, signed: Sequence[str], found: Sequence[bytes]) -> None:
        """V7: digests without disclosure, less those that are listed as withheld."""
        part = self._part
        present = {statement_digest(disclosure) for disclosure in found}
        withheld = self._withheld.get(index, ())
        lacking = [digest for digest in signed if digest not in present]
        wrong = [digest for digest in withheld if digest not in lacking]
        if wrong:
            part.problems.append(
                ("V7", index, f"{wrong[0]} is listed as withheld, and is present or no digest of this statement")
            )
        part.withheld += len(withheld) - len(wrong)
        part.missing += [(index, digest) for digest in lacking if digest not in withheld]

    def _references(self, index: int, claims: Any) -> None:
        part = self._part
        for name in TARGETS:
            named = claims.get(name)
            if named is not None:
                part.targets.append((index, name, named["jti"], named["digest"]))
        if claims["event"] in LISTING:
            self._listed(index, claims["event"], claims.get("body") or {})
        for name in ("cut", "seen"):
            named = claims.get(name)
            if named is not None:
                part.states.append((index, name, named["size"], named["root"], claims["iat"]))

    def _listed(self, index: int, event: str, body: Any) -> None:
        """What a signature lists: each by event id and digest, so that it covers exactly these bytes."""
        one, many = body.get("record"), body.get("records")
        if event in OWN:
            self._part.own.add(index)
        for name, named in (("record", one), *(("records", each) for each in (many if type(many) is list else ()))):
            if named is None:
                continue
            jti, digest = (named.get("jti"), named.get("digest")) if type(named) is dict else (None, None)
            if type(jti) is str and type(digest) is str:
                self._part.targets.append((index, name, jti, digest))
            else:
                self._part.problems.append(("V5", index, f"`{name}` names something that is no event id and digest"))

    def _provable(self, index: int, claims: Any, recorded: int, recorded_at: str) -> None:
        """What the writer refuses, and what the clear claims alone can show that it did not."""
        problems, second = self._part.problems, recorded / 1_000_000
        if not self._simulated and claims["iat"] > second + CLOCK_LEEWAY_SECONDS:
            problems.append(
                ("V6", index, f"it was signed {claims['iat'] - second:.0f} s after it was recorded ({recorded_at})")
            )
        if claims.get("exp", second) < second:
            problems.append(("V6", index, f"it was recorded ({recorded_at}) after its signature had run out"))
        kind, _, name = claims["sub"].partition("/")
        site = claims.get("site")
        if (kind == "subject" and site is None) or (kind == "site" and site != name):
            problems.append(("V5", index, f"it is about {claims['sub']} and names the site {site!r} (CATALOGUE-5)"))
        lacking = unsigned(claims)
        if lacking:
            because = f"{claims['event']} is an electronic signature, and it lacks {', '.join(lacking)} (SIGNATURE-2)"
            problems.append(("V5", index, because))
        if (claims["event"] == "Countersigned") != ("countersigns" in claims):
            problems.append(("V5", index, f"{claims['event']} and the claim `countersigns` do not fit (CATALOGUE-6)"))

    def _late(self, index: int, statement: Statement, recorded: int) -> None:
        """Recorded long after it happened or was signed; transcribed records are late by nature."""
        if statement.claims.get("mode") == "transcribed":
            return
        second = recorded / 1_000_000
        occurred = statement.content.get("occurred_at")
        if isinstance(occurred, str):
            began = latest_moment(occurred)
            if began is not None and second - began > LATE_SECONDS:
                self._part.late.append((index, f"happened {occurred}"))
                return
            if began is not None and began - second > 2 * LATE_SECONDS and not self._simulated:
                self._part.late.append((index, f"is said to happen {occurred}, after it was recorded"))
                return
        if second - statement.claims["iat"] > LATE_SECONDS:
            self._part.late.append((index, "signed more than a day before it was recorded"))


def statement_digest(disclosure: bytes) -> str:
    """What stands in `_sd` for a disclosure."""
    from ledger.signing.wire import digest

    return digest(disclosure)


def seconds_of(recorded_at: str) -> int:
    """Microseconds since 1970 of `YYYY-MM-DDTHH:MM:SS.ffffffZ`; ValueError for a moment that does not exist."""
    moment = datetime.fromisoformat(recorded_at)
    return (moment - _EPOCH) // _MICROSECOND


def latest_moment(text: str) -> float | None:
    """The latest moment, seconds since 1970, that a date or time may stand for; None for a partial or other one.

    A time without zone or a whole day may lie up to twelve hours before its reading in UTC, at the far end of
    the zones: nothing is called late that may not be.
    """
    try:
        if len(text) == len("2000-01-01"):
            return (datetime.fromisoformat(text + "T00:00:00+00:00") - _EPOCH).total_seconds() + 36 * 3600
        if len(text) < len("2000-01-01T00:00"):
            return None
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return (moment.replace(tzinfo=_EPOCH.tzinfo) - _EPOCH).total_seconds() + 12 * 3600
        return (moment - _EPOCH).total_seconds()
    except (ValueError, OverflowError):
        return None


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)
