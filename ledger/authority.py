"""Who may do what at an index: folds keys, roles and delegations from the governance events.

Standard library only: the writer decides with it, and the offline verifier folds the same from a bundle
(check V4 and V5). It reads clear claims alone, so that a redaction never changes who had which right.

Rules it keeps:
 AUTHORITY-1  a statement is addressed to this study's log (`aud`)
 AUTHORITY-2  its key is enrolled in this study, by order of the log
 AUTHORITY-3  its key is not revoked below its index (so a key can revoke itself)
 AUTHORITY-4  its key is the actor's own; one key has one actor
 AUTHORITY-5  the actor holds the role it acts in, by a delegation in force at the index
 AUTHORITY-6  that delegation covers the site
 AUTHORITY-7  a system records only the events delegated to it, and never signs (no `meaning`)
 AUTHORITY-8  roles outside a site, principal investigators and systems are granted by a registrar; a site's
              other roles by its principal investigator; only roles that genesis lists
 AUTHORITY-9  an actor id or key once used is never given to another, nor an id that looks like a known one
 AUTHORITY-10 where genesis says two registrars, an enrolment or a rotation of the log's key takes effect at the second
              one's countersignature
 AUTHORITY-11 what a key signed from `suspect_since` on until it was revoked is disputed, until its actor reaffirms it
              with a key that is not under suspicion itself
 AUTHORITY-12 the actor `ledger` is the system for as long as there is a log: genesis makes it so, and no delegation of
              its role is ended; its key is revoked and enrolled anew like any other
 AUTHORITY-13 where the study states the text by which people answer for their signatures, they accept that text in its
              newest version, and whoever accepted an earlier one accepts anew; a version has one text
A revocation stops, so it is never refused for its `suspect_since`: below the key's enrolment it counts from there, and
beyond the revocation nothing is suspect.
Validity goes by the order of the log, never by clock; a delegation's own dates are read against `recorded_at`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SITE_ROLES = frozenset({"investigator", "coordinator", "laboratory", "pharmacy"})
"""Granted by a principal investigator for the own sites; every other role is granted by a registrar."""

LEDGER_ACTOR = "ledger"
"""The actor that records the system's own events; enrolled by genesis."""

TWO_REGISTRARS = frozenset({"KeyEnrolled", "DelegationGranted", "LogKeyRotated"})
"""What takes two registrars where genesis asks for two: new keys, the log's as well, and the roles that registrars
grant."""


_SAME = str.maketrans({"0": "o", "1": "l", "m": "rn", "w": "vv", "d": "cl"})
"""ASCII characters that look alike in common typefaces (from the confusables of Unicode TS 39)."""

_CAPITAL_I = str.maketrans({"I": "l"})


def looks_like(one: str, other: str) -> bool:
    """Whether a person who reads them would take two actor ids for each other: they differ only by case, or by
    characters that look alike (0 O, 1 l I, m rn, w vv, d cl). Ids are ASCII."""
    return not _looks(one).isdisjoint(_looks(other))


def _looks(name: str) -> frozenset[str]:
    """How it looks: as it is read without regard to case, and with a capital I read as a small l."""
    return frozenset(form.lower().translate(_SAME) for form in (name, name.translate(_CAPITAL_I)))


@dataclass(frozen=True, slots=True)
class Denial:
    """Why authority is lacking: the rule's id, the cause in plain words, the indexes that show it."""

    rule: str
    because: str
    remedy: str
    indexes: tuple[int, ...] = ()


@dataclass(slots=True)
class Key:
    """An enrolled key; `since`, `revoked` and `suspect_since` are indexes. `custodial`: a server keeps it, sealed under
    its owner's passphrase; such keys alone sign in ceremonies."""

    kid: str
    actor: str
    jwk: dict[str, Any]
    since: int
    revoked: int | None = None
    suspect_since: int | None = None
    custodial: bool = False

    def suspect_at(self, index: int) -> bool:
        """Whether what it signed at this index is under suspicion; its revocation itself never is."""
        return (
            self.revoked is not None and self.suspect_since is not None and self.suspect_since <= index < self.revoked
        )


@dataclass(frozen=True, slots=True)
class Reaffirmation:
    """An actor stands by a statement with this digest (base64url SHA-256 of its JWT), and said so at `index`."""

    actor: str
    digest: str
    index: int


@dataclass(slots=True)
class Actor:
    """A person or a system."""

    id: str
    kind: str
    since: int
    organisation: str | None = None


@dataclass(slots=True)
class Grant:
    """A delegation: a role, for some sites or all (None), for some events or all, from an index to an index."""

    jti: str
    actor: str
    role: str
    since: int
    sites: tuple[str, ...] | None = None
    events: tuple[str, ...] | None = None
    organisation: str | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    ended: int | None = None

    def in_force(self, recorded_at: str) -> bool:
        """Not ended, and `recorded_at` (RFC 3339, UTC) within its dates, both inclusive."""
        day = recorded_at[:10]
        return (
            self.ended is None
            and (self.valid_from is None or self.valid_from <= day)
            and (self.valid_until is None or day <= self.valid_until)
        )

    def covers(self, site: str | None) -> bool:
        """Whether it reaches this site; a statement without a site needs no site."""
        return site is None or self.sites is None or site in self.sites


@dataclass(slots=True)
class Authority:
    """Rights in one study as of an index. `apply` folds one recorded statement; nothing here reads a clock."""

    origin: str = ""
    keys: dict[str, Key] = field(default_factory=dict)
    actors: dict[str, Actor] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    held: dict[str, list[Grant]] = field(default_factory=dict)
    log_keys: list[str] = field(default_factory=list)
    log_keys_since: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    roles: frozenset[str] = frozenset()
    registrars_required: int = 1
    ceremony: str = "unavailable"
    pending: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    accepted_accountability: dict[str, int] = field(default_factory=dict)
    reaffirmed: dict[str, list[Reaffirmation]] = field(default_factory=dict)
    accountability: list[tuple[str, str, int]] = field(default_factory=list)
    """The texts by which people answer for their signatures: version, text, index; the last one is in force."""

    # -- asking ---------------------------------------------------------------------------------------------

    def key(self, kid: str) -> Key | None:
        """The enrolled key of this thumbprint, revoked or not."""
        return self.keys.get(kid)

    def log_keys_at(self, size: int) -> tuple[str, ...]:
        """The vkeys that sign the checkpoint of `size` entries: those in force once the entries below it are folded."""
        return next((keys for since, keys in reversed(self.log_keys_since) if since < size), ())

    def disputed(self, kid: str, index: int, jti: str, digest: str) -> bool:
        """Whether a recorded statement is disputed (AUTHORITY-11): its key came under suspicion, and its actor has not
        reaffirmed it. `digest` is the base64url SHA-256 of its JWT, as claims name statements.

        A reaffirmation that was itself made while a key of the actor was under suspicion does not count.
        """
        key = self.keys.get(kid)
        if key is None or not key.suspect_at(index):
            return False
        return not any(
            said.actor == key.actor and said.digest == digest and not self._suspected(said.actor, said.index)
            for said in self.reaffirmed.get(jti, ())
        )

    def doubts(self) -> bool:
        """Whether any key is under suspicion, so that a statement may be disputed at all."""
        return any(key.suspect_since is not None for key in self.keys.values())

    def _suspected(self, actor: str, index: int) -> bool:
        return any(key.actor == actor and key.suspect_at(index) for key in self.keys.values())

    def check(self, claims: Mapping[str, Any], kid: str, recorded_at: str) -> Denial | None:
        """Whether a statement's key, actor, role and site are good just below its own index; None if so."""
        if claims["aud"] != self.origin:
            return Denial(
                "AUTHORITY-1",
                f"the statement is addressed to {claims['aud']!r}, this log is {self.origin!r}",
                "Sign the statement for this log: `aud` is the log's origin.",
            )
        key = self.keys.get(kid)
        if key is None:
            return Denial(
                "AUTHORITY-2",
                f"the key {kid} is not enrolled in this study",
                "Have a registrar enrol the key (KeyEnrolled), then sign again.",
            )
        if key.revoked is not None:
            return Denial(
                "AUTHORITY-3",
                f"the key {kid} was revoked at index {key.revoked}",
                "Sign with a key that is in force.",
                (key.since, key.revoked),
            )
        if key.actor != claims["iss"]:
            return Denial(
                "AUTHORITY-4",
                f"the key {kid} belongs to {key.actor!r}, not to {claims['iss']!r}",
                "Sign with a key of the actor named in `iss`.",
                (key.since,),
            )
        return self._role(claims, recorded_at)

    def _role(self, claims: Mapping[str, Any], recorded_at: str) -> Denial | None:
        actor, role, site = claims["iss"], claims["role"], claims.get("site")
        held = [grant for grant in self.held.get(actor, ()) if grant.role == role]
        live = [grant for grant in held if grant.in_force(recorded_at)]
        if not live:
            return Denial(
                "AUTHORITY-5",
                f"{actor!r} does not hold the role {role!r} at this index",
                "Have the role delegated (DelegationGranted), or act in a role that is held.",
                tuple(i for grant in held for i in (grant.since, grant.ended) if i is not None),
            )
        reaching = [grant for grant in live if grant.covers(site)]
        if not reaching:
            return Denial(
                "AUTHORITY-6",
                f"{actor!r} holds the role {role!r}, but not for the site {site!r}",
                "Have the role delegated for this site, or name the site where the actor works.",
                tuple(grant.since for grant in live),
            )
        if self.is_system(actor):
            return self._system(claims, reaching)
        return None

    def _system(self, claims: Mapping[str, Any], grants: list[Grant]) -> Denial | None:
        event = claims["event"]
        if claims.get("meaning") is not None:
            return Denial(
                "AUTHORITY-7",
                f"{claims['iss']!r} is a system, and a system never signs electronically",
                "Leave `meaning` out; a person has to sign.",
            )
        if event == "KeyRevoked" or any(grant.events is None or event in grant.events for grant in grants):
            return None  # whoever holds a key may stop it
        return Denial(
            "AUTHORITY-7",
            f"the system {claims['iss']!r} may not record {event}",
            "Have the event named in the system's delegation.",
            tuple(grant.since for grant in grants),
        )

    def is_system(self, actor: str) -> bool:
        """Whether the actor is a system; an unknown actor is not."""
        known = self.actors.get(actor)
        return known is not None and known.kind == "system"

    def roles_of(self, actor: str, recorded_at: str) -> list[Grant]:
        """The delegations of an actor in force."""
        return [grant for grant in self.held.get(actor, ()) if grant.in_force(recorded_at)]

    def check_governance(self, claims: Mapping[str, Any], recorded_at: str) -> Denial | None:
        """Whether an actor, key or delegation event is possible and its grantor entitled (AUTHORITY-8, 9)."""
        event, body, name = claims["event"], claims.get("body") or {}, claims["sub"].partition("/")[2]
        if event == "ActorEnrolled":
            return self._fresh_actor(name)
        if event == "KeyEnrolled":
            return self._fresh_key(name, body)
        if event == "KeyRevoked":
            return self._known_key(claims, name, body)
        if event == "DelegationGranted":
            if body["role"] == "system" and not body.get("events"):
                return Denial(
                    "AUTHORITY-7",
                    "the delegation of a system names no events",
                    "Name the events that the system may record.",
                )
            return self._grantor(claims, body["role"], body.get("sites"), name, recorded_at)
        if event == "DelegationEnded":
            return self._ending(claims, body["delegation"], recorded_at)
        if event == "PersonRenamed":
            return self._person(name)
        if event in ("AccountabilityStated", "AccountabilityAccepted"):
            return self._answering(event, body)
        return None

    def _person(self, actor: str) -> Denial | None:
        if actor not in self.actors:
            return Denial("AUTHORITY-5", f"no actor {actor!r} is enrolled", "Enrol the actor first (ActorEnrolled).")
        if self.is_system(actor):
            return Denial("AUTHORITY-7", f"{actor!r} is a system", "Only persons have names that they sign with.")
        return None

    def _answering(self, event: str, body: Mapping[str, Any]) -> Denial | None:
        known = {version: (text, index) for version, text, index in self.accountability}
        if event == "AccountabilityStated":
            if body["version"] not in known:
                return None
            index = known[body["version"]][1]
            because = f"the version {body['version']!r} was stated at index {index}"
            return Denial("AUTHORITY-13", because, "Give a new text a version of its own.", (index,))
        if not self.accountability:
            return None
        version, text, index = self.accountability[-1]
        if (body["version"], body["statement"]) == (version, text):
            return None
        return Denial(
            "AUTHORITY-13",
            f"the text in force is the version {version!r} of index {index}, and another was accepted",
            f"Read the text that stands at index {index}, and accept it word for word with its version.",
            (index,),
        )

    def _fresh_actor(self, actor: str) -> Denial | None:
        known = self.actors.get(actor)
        if known is not None:
            because = f"the actor id {actor!r} was given at index {known.since} and is never given again"
            return Denial("AUTHORITY-9", because, "Choose another actor id.", (known.since,))
        similar = next((one for one in self.actors.values() if looks_like(one.id, actor)), None)
        if similar is None:
            return None
        return Denial(
            "AUTHORITY-9",
            f"the actor id {actor!r} looks like {similar.id!r}, which was given at index {similar.since}",
            "Choose an actor id that differs by more than case or characters that look alike.",
            (similar.since,),
        )

    def _fresh_key(self, actor: str, body: Mapping[str, Any]) -> Denial | None:
        if actor not in self.actors:
            return Denial(
                "AUTHORITY-5",
                f"no actor {actor!r} is enrolled",
                "Enrol the actor first (ActorEnrolled).",
            )
        known = self.keys.get(body["kid"])
        if known is None:
            return None
        return Denial(
            "AUTHORITY-9",
            f"the key {body['kid']} was enrolled for {known.actor!r} at index {known.since}",
            "Make a new key; a key belongs to one actor for ever.",
            (known.since,),
        )

    def _known_key(self, claims: Mapping[str, Any], actor: str, body: Mapping[str, Any]) -> Denial | None:
        key = self.keys.get(body["kid"])
        if key is None or key.actor != actor:
            return Denial("AUTHORITY-2", f"{actor!r} has no key {body['kid']}", "Name an enrolled key.")
        if key.revoked is not None:
            return Denial(
                "AUTHORITY-3", f"the key was revoked at index {key.revoked} already", "Nothing is left to do."
            )
        if claims["role"] != "registrar" and claims["iss"] != actor:
            return Denial("AUTHORITY-8", f"{claims['iss']!r} may revoke only own keys", "Ask a registrar to revoke it.")
        return None

    def _grantor(
        self, claims: Mapping[str, Any], role: str, sites: list[str] | None, actor: str, recorded_at: str
    ) -> Denial | None:
        if actor not in self.actors:
            return Denial("AUTHORITY-5", f"no actor {actor!r} is enrolled", "Enrol the actor first.")
        if role not in self.roles:
            known = ", ".join(sorted(self.roles))
            return Denial("AUTHORITY-8", f"genesis lists no role {role!r}", f"Grant one of its roles: {known}.")
        if role == "system" and not self.is_system(actor):
            return Denial("AUTHORITY-7", f"{actor!r} is a person", "Give the role 'system' to systems only.")
        if role != "system" and self.is_system(actor):
            return Denial("AUTHORITY-7", f"{actor!r} is a system", "A system holds no role but 'system'.")
        if claims["role"] == "registrar":
            if role not in SITE_ROLES:
                return None
            return Denial(
                "AUTHORITY-8",
                f"the role {role!r} is granted by the site's principal investigator",
                "Have the principal investigator of the site grant it.",
            )
        own = [grant for grant in self.roles_of(claims["iss"], recorded_at) if grant.role == "principal-investigator"]
        if role in SITE_ROLES and sites and all(any(g.covers(site) for g in own) for site in sites):
            return None
        return Denial(
            "AUTHORITY-8",
            f"a principal investigator grants the roles of the own sites, not {role!r} at {sites or 'every site'}",
            "Name a role and sites of the principal investigator's own, or ask a registrar.",
            tuple(grant.since for grant in own),
        )

    def _ending(self, claims: Mapping[str, Any], jti: str, recorded_at: str) -> Denial | None:
        grant = self.grants.get(jti)
        if grant is None or f"actor/{grant.actor}" != claims["sub"]:
            return Denial("AUTHORITY-5", f"no delegation {jti} of this actor stands", "Name the delegation's event id.")
        if grant.actor == LEDGER_ACTOR:
            return Denial(
                "AUTHORITY-12",
                f"{LEDGER_ACTOR!r} is the system itself, and holds its role as long as there is a log",
                "To stop what is sealed with its key, revoke the key (KeyRevoked).",
                (grant.since,),
            )
        if grant.ended is not None:
            return Denial("AUTHORITY-5", f"it was ended at index {grant.ended} already", "Nothing is left to do.")
        if claims["role"] == "registrar":
            return None
        return self._grantor(claims, grant.role, list(grant.sites or ()), grant.actor, recorded_at)

    # -- folding --------------------------------------------------------------------------------------------

    def apply(self, claims: Mapping[str, Any], index: int) -> None:
        """Fold one recorded statement, in index order; events that are not about rights change nothing."""
        event = claims["event"]
        if event == "Countersigned":
            self._countersigned(claims, index)
        elif event in TWO_REGISTRARS and self.registrars_required > 1 and claims["role"] == "registrar":
            self.pending[claims["jti"]] = (dict(claims), claims["iss"])
        else:
            self._take_effect(claims, index)

    def _countersigned(self, claims: Mapping[str, Any], index: int) -> None:
        waiting = self.pending.pop(claims["countersigns"]["jti"], None)
        if waiting is not None:
            self._take_effect(waiting[0], index)

    def _take_effect(self, claims: Mapping[str, Any], index: int) -> None:
        fold = _FOLDS.get(claims["event"])
        if fold is not None:
            fold(self, claims, claims.get("body") or {}, index)

    def _genesis(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        self.origin = body["origin"]
        self._log_keys(body["log_keys"], index)
        self.roles = frozenset(body["roles"])
        self.registrars_required = body.get("registrars_required", 1)
        self.ceremony = body["ceremony"]
        for registrar in body["registrars"]:
            self._enrol(registrar["actor"], "person", registrar["jwk"], registrar["kid"], index)
            self._hold(Grant(f"genesis/{registrar['actor']}", registrar["actor"], "registrar", index))
        ledger = body["ledger"]
        self._enrol(LEDGER_ACTOR, "system", ledger["jwk"], ledger["kid"], index)
        self._hold(Grant("genesis/ledger", LEDGER_ACTOR, "system", index))

    def _hold(self, grant: Grant) -> None:
        self.grants[grant.jti] = grant
        self.held.setdefault(grant.actor, []).append(grant)

    def _enrol(self, actor: str, kind: str, jwk: dict[str, Any], kid: str, index: int) -> None:
        self.actors.setdefault(actor, Actor(actor, kind, index))
        self.keys.setdefault(kid, Key(kid, actor, dict(jwk), index))

    def _actor(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        name = claims["sub"].partition("/")[2]
        self.actors.setdefault(name, Actor(name, body["actor_kind"], index, body.get("organisation")))

    def _key(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        actor = claims["sub"].partition("/")[2]
        custodial = body.get("custody") == "custodial"
        self.keys.setdefault(body["kid"], Key(body["kid"], actor, dict(body["jwk"]), index, custodial=custodial))

    def _revoke(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        key = self.keys.get(body["kid"])
        if key is not None and key.revoked is None:
            key.revoked, suspect = index, body.get("suspect_since")
            key.suspect_since = None if suspect is None else min(max(suspect, key.since), index)

    def _grant(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        sites, events = body.get("sites"), body.get("events")
        self._hold(
            Grant(
                claims["jti"],
                claims["sub"].partition("/")[2],
                body["role"],
                index,
                None if sites is None else tuple(sites),
                None if events is None else tuple(events),
                body.get("organisation"),
                body.get("valid_from"),
                body.get("valid_until"),
            )
        )

    def _end(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        grant = self.grants.get(body["delegation"])
        if grant is not None and grant.ended is None:
            grant.ended = index

    def _rotate(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        self._log_keys(body["log_keys"], index)

    def _log_keys(self, keys: list[str], index: int) -> None:
        self.log_keys = list(keys)
        self.log_keys_since.append((index, tuple(keys)))

    def _ceremony(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        self.ceremony = "required"

    def _state_accountability(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        self.accountability.append((body["version"], body["statement"], index))
        self.accepted_accountability.clear()

    def _accountable(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        self.accepted_accountability.setdefault(claims["iss"], index)

    def _reaffirm(self, claims: Mapping[str, Any], body: Mapping[str, Any], index: int) -> None:
        for record in body["records"]:
            said = Reaffirmation(claims["iss"], record["digest"], index)
            self.reaffirmed.setdefault(record["jti"], []).append(said)


_FOLDS = {
    "StudyOpened": Authority._genesis,
    "ActorEnrolled": Authority._actor,
    "KeyEnrolled": Authority._key,
    "KeyRevoked": Authority._revoke,
    "DelegationGranted": Authority._grant,
    "DelegationEnded": Authority._end,
    "LogKeyRotated": Authority._rotate,
    "CeremonyRequired": Authority._ceremony,
    "AccountabilityStated": Authority._state_accountability,
    "AccountabilityAccepted": Authority._accountable,
    "SignatureReaffirmed": Authority._reaffirm,
}
