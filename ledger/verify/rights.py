"""The fold: who may do what, entry by entry from index 0 (V4), and what of V5 to V7 depends on what came before.

Serial by nature, so it does as little as possible for each entry: entries between two governance events that
have actor, key, role, site and event in common are one question. `ledger/authority.py` is the one that the
writer decides with. For each entry the fold keeps 16 bytes of id, 32 of digest, 8 of time, its key, and what it is
about and where: an act on an earlier statement is about the same and at the same site, for a right at one site is
none over another's records.
"""

from __future__ import annotations

from array import array
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.authority import LEDGER_ACTOR, Authority, Denial
from ledger.signing.keys import PublicKey
from ledger.verify.entries import ACTS, CLOCK_LEEWAY_SECONDS, NOBODY, TARGETS, Part, Who
from ledger.verify.governance import (
    REDACTION_COUNTERSIGNERS,
    REGISTRAR,
    SYSTEM_EVENTS,
    Unsound,
    check_form,
    check_genesis,
    check_key,
    check_rotation,
)
from ledger.verify.known import KNOWN
from ledger.verify.recorders import RECORDERS, may_not
from ledger.verify.report import VerificationReport

DIGEST_BYTES = 32
MICROSECONDS = 1_000_000


@dataclass(slots=True)
class Rights:
    """State of the fold; `report` gets what does not hold."""

    report: VerificationReport
    origin: str
    authority: Authority = field(default_factory=Authority)
    size: int = 0
    genesis: Mapping[str, Any] = field(default_factory=dict)
    genesis_key: PublicKey | None = None
    places: dict[bytes, int] = field(default_factory=dict)
    digests: bytearray = field(default_factory=bytearray)
    times: array[int] = field(default_factory=lambda: array("q"))
    signers: array[int] = field(default_factory=lambda: array("L"))
    kids: dict[str, int] = field(default_factory=dict)
    about: list[tuple[str, str | None]] = field(default_factory=list)
    abouts: dict[tuple[str, str | None], int] = field(default_factory=dict)
    subjects: array[int] = field(default_factory=lambda: array("L"))
    """For each entry the place in `about` of what it is about and its site; 0 where it could not be read."""
    ceremonies: dict[str, int] = field(default_factory=dict)
    redactions: dict[str, tuple[dict[str, Any], int]] = field(default_factory=dict)
    redacted: dict[int, set[str]] = field(default_factory=dict)
    rotations: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    """Events that this release does not know, to the first index of each."""
    simulated: bool = False

    # -- asking ---------------------------------------------------------------------------------------------

    def digest_of(self, index: int) -> str:
        """base64url SHA-256 of an entry's JWT."""
        return _b64url(bytes(self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]))

    def place_of(self, jti: str) -> int | None:
        """The index of an event id."""
        try:
            return self.places.get(UUID(jti).bytes)
        except ValueError:
            return None

    def ledger_keys(self) -> dict[str, PublicKey]:
        """The keys of the actor `ledger` that are not revoked."""
        keys = self.authority.keys.values()
        return {
            key.kid: PublicKey.from_jwk(key.jwk) for key in keys if key.actor == LEDGER_ACTOR and key.revoked is None
        }

    # -- folding --------------------------------------------------------------------------------------------

    def take(self, part: Part) -> None:
        """Fold the next entry bundle; its entries follow the ones before."""
        first = self.size
        self._order(part, first)
        start = 0
        for offset, claims in part.acts:
            self._ask(part, first, start, offset + 1)
            self._act(first + offset, claims)
            start = offset + 1
        self._ask(part, first, start, part.count)
        self.size += part.count
        self._targets(part)
        self._once(part)

    def _order(self, part: Part, first: int) -> None:
        """Ids are unique (V5), times never run backwards (V6); remembers both, digests and signers."""
        self.digests += part.digests
        times = array("q", part.times)
        last = self.times[-1] if self.times else times[0] if times else 0
        for offset, time in enumerate(times):
            if time < last:
                self.report["V6"].fail("`recorded_at` lies before that of the entry before it", first + offset)
            last = max(last, time)
        self.times += times
        for offset in range(part.count):
            jti = part.jtis[16 * offset : 16 * offset + 16]
            if part.who[offset] == NOBODY:
                continue
            known = self.places.setdefault(jti, first + offset)
            if known != first + offset:
                self.report["V5"].fail(f"the event id {UUID(bytes=jti)} was used at index {known}", first + offset)
        numbers = [self.kids.setdefault(who[0], len(self.kids)) for who in part.people]
        self.signers.extend(0 if place == NOBODY else numbers[place] for place in part.who)
        for about in part.about:
            if self.abouts.setdefault(about, len(self.about)) == len(self.about):
                self.about.append(about)
        places = [self.abouts[about] for about in part.about]
        self.subjects.extend(0 if place == NOBODY else places[place] for place in part.places)

    def _ask(self, part: Part, first: int, start: int, end: int) -> None:
        """Key, role, site and event of the entries `start` to `end`, between which rights do not change."""
        if self.genesis_key is None and self.size + start > 0:
            self.report["V5"].undecided("without a sound genesis nobody's key is known")
            return
        seen: dict[int, list[int]] = {}
        for offset in range(start, end):
            seen.setdefault(part.who[offset], []).append(first + offset)
        for place, indexes in seen.items():
            if place == NOBODY or indexes[0] == 0:
                continue
            who = part.people[place]
            if who[5] not in RECORDERS:
                self.unknown.setdefault(who[5], indexes[0])
            because = self._denied(who)
            if because is not None:
                for index in indexes:
                    self.report["V5"].fail(because, index)

    def _denied(self, who: Who) -> str | None:
        kid, aud, iss, role, site, event, meaning, day, ceremony, transcribed = who
        claims = {"aud": aud, "iss": iss, "role": role, "site": site, "event": event, "meaning": meaning}
        try:
            denial: Denial | None = self.authority.check(claims, kid, day)
        except (KeyError, TypeError, AttributeError, ValueError):
            return "its authority cannot be decided, because an earlier governance event is broken"
        if denial is not None:
            return f"{denial.because} ({denial.rule})"
        if event in KNOWN and (iss == LEDGER_ACTOR) != (event in SYSTEM_EVENTS):
            return f"the actor {LEDGER_ACTOR!r} records what the system itself did, and nobody else does (ROLE-1)"
        if event not in ACTS and may_not(event, role, transcribed):
            return f"{event} is recorded by {' or '.join(sorted(RECORDERS[event]))}, not by {role!r} (ROLE-1)"
        if meaning is not None and meaning not in self.genesis.get("meanings", ()):
            return f"the meaning {meaning!r} is not one that genesis lists (SIGNATURE-3)"
        return self._unheld(kid, iss, event, meaning, ceremony) if self.authority.ceremony == "required" else None

    def _unheld(self, kid: str, iss: str, event: str, meaning: str | None, ceremony: bool) -> str | None:
        """Where ceremonies are required: what was signed in none, or in one that no server can have held, or by
        somebody who does not answer for it."""
        key = self.authority.key(kid)
        if ceremony and (key is None or not key.custodial):
            return "it names a ceremony, in which no key of a person's own can have been opened (CEREMONY-1)"
        if meaning is None:
            return None
        if not ceremony:
            return "an electronic signature without the ceremony that the study requires (SIGNATURE-4)"
        if event != "AccountabilityAccepted" and iss not in self.authority.accepted_accountability:
            return f"{iss!r} signed without having accepted to be accountable for it (SIGNATURE-6)"
        return None

    def _act(self, index: int, claims: dict[str, Any]) -> None:
        """One event that changes rights: sound, entitled, then folded; what is not is a failure of V4."""
        event = claims["event"]
        self.counts[event] = self.counts.get(event, 0) + 1
        try:
            if index == 0:
                self._genesis(claims)
            elif event == "StudyOpened":
                raise Unsound("a second genesis")
            elif event == "Countersigned":
                self._countersigned(claims, index)
            elif event == "FieldsRedacted":
                check_form(claims)
                self.redactions[claims["jti"]] = (claims, index)
            else:
                self._governance(claims, index)
        except Unsound as wrong:
            self.report["V4"].fail(str(wrong), index)
        except (KeyError, TypeError, AttributeError, ValueError):
            self.report["V4"].fail(f"{event} has not the form of its event", index)

    def _genesis(self, claims: dict[str, Any]) -> None:
        self.genesis_key = check_genesis(claims, claims["\0kid"], self.origin)
        self.genesis = claims["body"]
        self.simulated = self.genesis["clock"] == "simulated"
        self.authority.apply(claims, 0)

    def _governance(self, claims: dict[str, Any], index: int) -> None:
        self._entitled(claims, index)
        self.authority.apply(claims, index)

    def _entitled(self, claims: dict[str, Any], index: int) -> None:
        check_form(claims)
        denial = self.authority.check_governance(claims, self._day(index))
        if denial is not None:
            raise Unsound(f"{denial.because} ({denial.rule})")
        if claims["event"] == "KeyEnrolled":
            check_key(claims, self.authority.log_keys)
        elif claims["event"] == "LogKeyRotated":
            check_rotation(claims["body"], self.authority.log_keys, self.origin)
            self.rotations.append(index)

    def _day(self, index: int) -> str:
        """`recorded_at` of an entry, as `Authority` reads it."""
        return (_EPOCH + timedelta(microseconds=self.times[index])).isoformat()

    def _countersigned(self, claims: dict[str, Any], index: int) -> None:
        """The second signature: by another person, in a role that may, over this very statement."""
        named = claims["countersigns"]
        target = self.place_of(named["jti"])
        if target is None or target >= index or self.digest_of(target) != named["digest"]:
            raise Unsound("it countersigns no earlier statement of this log")
        waiting = self.authority.pending.get(named["jti"])
        if waiting is not None:
            self._second(claims, waiting[0], REGISTRAR)
            del self.authority.pending[named["jti"]]  # decided anew as if it were recorded now
            try:
                self._decided_anew(waiting[0], index)
            finally:
                self.authority.pending[named["jti"]] = waiting
            self.authority.apply(claims, index)
        elif named["jti"] in self.redactions:
            ordered, _ = self.redactions[named["jti"]]
            self._second(claims, ordered, REDACTION_COUNTERSIGNERS)
            self._decided_anew(ordered, index)
            self._redact(ordered, self.redactions.pop(named["jti"])[1])
        elif (first := self._signer_of(target)) == claims["iss"]:
            raise Unsound(f"{first!r} countersigned an own statement: two signatures need two persons")

    def _signer_of(self, index: int) -> str | None:
        """Whose key signed an earlier entry."""
        number = self.signers[index]
        kid = next((kid for kid, known in self.kids.items() if known == number), "")
        key = self.authority.key(kid)
        return None if key is None else key.actor

    def _second(self, claims: Mapping[str, Any], target: Mapping[str, Any], roles: frozenset[str]) -> None:
        if (claims["sub"], claims.get("site")) != (target["sub"], target.get("site")):
            because = f"{target['event']} about {target['sub']} at {target.get('site') or 'no site'} is countersigned"
            raise Unsound(f"{because} for {claims['sub']} at {claims.get('site') or 'no site'} (CORRECTION-2)")
        if claims["iss"] == target["iss"]:
            raise Unsound(f"{claims['iss']!r} countersigned an own statement: two signatures need two persons")
        if claims["role"] not in roles:
            raise Unsound(f"{target['event']} is countersigned by {' or '.join(sorted(roles))}, not {claims['role']!r}")
        if self.authority.is_system(claims["iss"]):
            raise Unsound(f"{claims['iss']!r} is a system and cannot be the second person")

    def _decided_anew(self, target: dict[str, Any], index: int) -> None:
        denial = self.authority.check(target, target["\0kid"], self._day(index))
        if denial is not None:
            raise Unsound(f"at the second signature the first has no authority any more: {denial.because}")
        if target["event"] != "FieldsRedacted":
            self._entitled(target, index)

    def _redact(self, claims: dict[str, Any], index: int) -> None:
        for record in claims["body"]["records"]:
            target = self.place_of(record["jti"])
            if target is None or target >= index or self.digest_of(target) != record["digest"]:
                raise Unsound(f"the redaction at index {index} names {record['jti']}, which is no earlier statement")
            about, _ = self.about[self.subjects[target]]
            if _whole(about) != _whole(claims["sub"]):
                because = f"the redaction at index {index} is about {claims['sub']} and names a record about {about}"
                raise Unsound(f"{because} (CORRECTION-1)")
            self.redacted.setdefault(target, set()).update(record["disclosures"])

    # -- references -----------------------------------------------------------------------------------------

    def _targets(self, part: Part) -> None:
        for index, name, jti, digest in part.targets:
            target = self.place_of(jti)
            if target is None or target >= index:
                self.report["V5"].fail(f"`{name}` names {jti}, which is no earlier statement of this log", index)
            elif self.digest_of(target) != digest:
                self.report["V5"].fail(f"`{name}` names another content of the statement at index {target}", index)
            elif index in part.own and self._signer_of(target) != self._signer_of(index):
                whose = f"{self._signer_of(target)!r} signed the statement at index {target}"
                self.report["V5"].fail(
                    f"{whose}, and nobody else withdraws, reaffirms or disputes it (CORRECTION-6)", index
                )
            elif name in TARGETS and self.subjects[target] != self.subjects[index]:
                about, site = self.about[self.subjects[target]]
                because = f"`{name}` names a statement about {about} at {site or 'no site'}, and it is about another"
                self.report["V5"].fail(f"{because} or at another site (CORRECTION-2)", index)

    def _once(self, part: Part) -> None:
        for index, ceremony in part.ceremonies:
            known = self.ceremonies.setdefault(ceremony, index)
            if known != index:
                self.report["V5"].fail(f"its ceremony was used for the signature at index {known} already", index)

    def stated(self, states: list[tuple[int, str, int, str, int]], roots: Mapping[int, bytes]) -> None:
        """`cut` and `seen`: whether the log ever had the state that a statement names, and when it could be known."""
        for index, name, size, root, iat in states:
            fits = size <= index and roots.get(size) is not None and _b64url(roots[size]) == root
            if not fits and name == "cut":
                self.report["V5"].fail(f"it was decided on a state of {size} entries that this log never had", index)
            elif not fits:
                self.report["V3"].note(
                    f"index {index}: its actor had seen a log of {size} entries with another root: compare the "
                    "checkpoints that the actor holds with this bundle, two histories may be shown"
                )
            elif size and not self.simulated and self.times[size - 1] / MICROSECONDS > iat + CLOCK_LEEWAY_SECONDS:
                self.report["V6"].note(
                    f"index {index}: signed at {iat} by its actor's clock, yet it names a state that was recorded "
                    "more than five minutes later: the actor's clock was slow or set back"
                )

    def disputed(self) -> Iterator[tuple[int, str]]:
        """Entries whose key was revoked later as suspect from their index on, and that nobody reaffirmed."""
        ids: dict[int, bytes] | None = None
        for key in self.authority.keys.values():
            if key.revoked is None or key.suspect_since is None or key.kid not in self.kids:
                continue
            number = self.kids[key.kid]
            found = [i for i in range(key.suspect_since, min(key.revoked, self.size)) if self.signers[i] == number]
            if found and ids is None:
                ids = {place: jti for jti, place in self.places.items()}
            for index in found:
                jti = str(UUID(bytes=(ids or {}).get(index, bytes(16))))
                if self.authority.disputed(key.kid, index, jti, self.digest_of(index)):
                    yield index, key.actor


def _whole(sub: str) -> str:
    """What a redaction's records have in common: one subject, or everything of the study that is no subject's."""
    return sub if sub.startswith("subject/") else "study"


_EPOCH = datetime.fromtimestamp(0, UTC)


def _b64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
