"""A trial in a test: sites, people and systems with keys, subjects, a clock, and a way to read it all back.

    sim = Simulator(InProcess(ledger, "COAST-07"), COAST, registrar_key, TurnedClock())
    sim.open()                                  # genesis, people, sites, protocol, documents, readings
    ada = sim.subject("001")
    sim.screen(ada); sim.consent(ada)
    with refused("ELIGIBILITY-2"):
        sim.decide_eligible(ada)
    print(sim.dump())

Rules:
- every statement is signed by the person whose act it is, with that person's key, at the clock's time;
- the simulator keeps no state of the trial but what it was told: `acknowledged`, in order;
- it knows nothing of any study: what a study needs comes from its `Plan`;
- verbs (`verbs.py`) are the trial's own words; `record` and `decide` sign whatever has no verb.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from api.client.http import Refused
from api.client.signing import Actor, Cut, target
from ledger.domain.study import b64_sha256
from ledger.signing.keys import SigningKey
from ledger.signing.statement import parse
from tests.scenario import cast
from tests.scenario.clock import Clock, TurnedClock
from tests.scenario.doors import Door, Recorded
from tests.scenario.verbs import CohortVerbs, CorrectionVerbs, ProductVerbs, SubjectVerbs

STUDIES = Path(__file__).parent / "studies"


@dataclass(frozen=True)
class Plan:
    """What a study needs before its first subject: its protocol, sites, consent documents, readings.

    `readings`: ambiguity -> (option, parameters); `eligible`: facts that make a screened subject eligible,
    each (event, fields), given the moment; `dose_unit` and `doses` per cohort as the protocol has them.
    """

    study: str
    protocol: str
    sites: Mapping[str, str]
    languages: tuple[str, ...]
    readings: Mapping[str, tuple[str, Mapping[str, Any]]]
    eligible: tuple[tuple[str, Mapping[str, Any]], ...]
    doses: Mapping[str, str]
    dose_unit: str
    version: str = "1.0"


@dataclass(frozen=True, slots=True)
class Told:
    """A statement that the ledger acknowledged."""

    event: str
    text: str
    answer: Recorded

    @property
    def jti(self) -> str:
        """Its event id."""
        return self.answer.jti

    @property
    def index(self) -> int:
        """Its place in the log."""
        return self.answer.index

    @property
    def target(self) -> dict[str, str]:
        """What acts on it name: `{jti, digest}`."""
        return target(self.text)


@dataclass(frozen=True, slots=True)
class Subject:
    """A person who takes part, as this trial's people know them."""

    number: str
    site: str
    label: str = field(default_factory=lambda: f"subject/{uuid4()}")


class Simulator(SubjectVerbs, CohortVerbs, ProductVerbs, CorrectionVerbs):
    """One simulated trial. Not for several threads at once."""

    def __init__(self, door: Door, plan: Plan, registrar: SigningKey, clock: Clock) -> None:
        self.door, self.plan, self.clock = door, plan, clock
        self.terms = door.log_keys()
        self.cast = cast.gather(self.terms["origin"], registrar, tuple(plan.sites), self.seconds)
        self.home_site = next(iter(plan.sites))
        self.acknowledged: list[Told] = []
        self.units = 0

    # -- the world ------------------------------------------------------------------------------------------

    def seconds(self) -> int:
        """The clock as `iat` has it."""
        return int(self.clock().timestamp())

    def stamp(self) -> str:
        """The clock as `occurred_at` has it."""
        return self.clock().isoformat(timespec="seconds")

    def later(self, **span: Any) -> None:
        """Let time pass: `days=`, `hours=`, ..."""
        assert isinstance(self.clock, TurnedClock)
        self.clock.turn(**span)

    def subject(self, number: str, site: str | None = None) -> Subject:
        """Somebody new; nothing is recorded yet."""
        return Subject(number, site or self.home_site)

    def staff(self, at: Subject | str | None = None) -> cast.Staff:
        """The people of a subject's site, of a site, of the first site."""
        site = at.site if isinstance(at, Subject) else at or self.home_site
        return self.cast.sites[site]

    # -- opening --------------------------------------------------------------------------------------------

    def open(self, **genesis: Any) -> None:
        """Everything up to the first subject."""
        self.open_study(**genesis)
        self.open_sites()
        self.adopt()
        self.resolve_all()

    def open_study(self, **changed: Any) -> Told:
        """Genesis, then everybody's enrolment."""
        fields = cast.genesis_fields(self.plan.study, self.terms, self.cast, **changed)
        text = self.cast.registrar.sign("StudyOpened", "study", fields)
        told = self._told(text, self.door.open_study(text))
        self.send_many(list(cast.enrolment(self.cast)))
        return told

    def open_sites(self) -> None:
        """Sites active, consent document approved in each language."""
        sponsor = self.cast.sponsor
        for site, zone in self.plan.sites.items():
            self.record(sponsor, "SiteActivated", f"site/{site}", time_zone=zone)
        for language in self.plan.languages:
            self.approve_consent("1", language)

    def approve_consent(self, version: str, language: str, document: str = "ICF") -> Told:
        """A consent document's version is approved for every site."""
        fields = {"document_id": document, "version": version, "language": language}
        digest = b64_sha256(json.dumps(fields).encode())
        return self.record(self.cast.sponsor, "ConsentDocumentApproved", "study", **fields, digest=digest)

    def adopt(self, version: str | None = None) -> None:
        """A version of the protocol is adopted and activated at every site."""
        version = version or self.plan.version
        fields = {"version": version, "digest": b64_sha256(self.plan.protocol.encode()), "file": self.plan.protocol}
        self.record(self.cast.sponsor, "ProtocolAdopted", "study", **fields)
        for site in self.plan.sites:
            self.activate(site, version)

    def activate(self, site: str, version: str | None = None) -> Told:
        """A version of the protocol comes into force at a site."""
        fields = {"version": version or self.plan.version}
        return self.record(self.cast.sponsor, "ProtocolActivatedAtSite", f"site/{site}", **fields)

    def resolve_all(self) -> None:
        """Every ambiguity of the plan is resolved and countersigned."""
        for ambiguity in self.plan.readings:
            self.resolve(ambiguity)

    def resolve(self, ambiguity: str, option: str | None = None, countersigned: bool = True) -> Told:
        """One ambiguity is resolved by the sponsor, and countersigned by an investigator."""
        chosen, parameters = self.plan.readings.get(ambiguity, ("", {}))
        fields: dict[str, Any] = {"ambiguity": ambiguity, "option": option or chosen, "reason": "decided in the team"}
        if parameters and option is None:
            fields["parameters"] = dict(parameters)
        told = self.record(self.cast.sponsor, "InterpretationResolved", "study", **fields)
        if countersigned:
            self.countersign(told, self.staff().pi)
        return told

    # -- signing and sending --------------------------------------------------------------------------------

    def sign(self, by: Actor, event: str, about: Subject | str, cut: Cut | None = None, **fields: Any) -> str:
        """Sign a statement now. `site`, `meaning` and `claims` among the fields go where they belong."""
        if isinstance(self.clock, TurnedClock):
            self.clock.tick()
        claims = dict(fields.pop("claims", {}))
        site = fields.pop("site", None) or (about.site if isinstance(about, Subject) else None)
        label = about.label if isinstance(about, Subject) else about
        meaning = fields.pop("meaning", None)
        return by.sign(event, label, fields, site=site, meaning=meaning, cut=cut, **claims)

    def record(self, by: Actor, event: str, about: Subject | str, **fields: Any) -> Told:
        """Record governance, a fact or an act; raises Refused."""
        return self.send(self.sign(by, event, about, **fields))

    def decide(self, by: Actor, event: str, about: Subject | str, **fields: Any) -> Told:
        """Sign a decision on the newest state (or on `cut`) and record it; raises Refused."""
        cut = fields.pop("cut", None) or self.door.cut()
        return self.send(self.sign(by, event, about, cut, **fields))

    def send(self, text: str) -> Told:
        """Send a signed statement; raises Refused."""
        return self._told(text, self.door.append(text))

    def send_many(self, texts: list[str]) -> list[Told]:
        """Send signed statements in one request."""
        answers = self.door.append_many(texts)
        return [self._told(text, answer) for text, answer in zip(texts, answers, strict=True)]

    def _told(self, text: str, answer: Recorded) -> Told:
        told = Told(parse(text).event, text, answer)
        self.acknowledged.append(told)
        return told

    # -- reading back ---------------------------------------------------------------------------------------

    def dump(self) -> str:
        """The whole trial as text, a line an entry: for looking at, and for the message of a failing test."""
        return "\n".join(_line(entry) for entry in self.door.entries())


def _line(entry: Mapping[str, Any]) -> str:
    statement = parse(entry["statement"], partial=True)
    claims = statement.claims
    acts = {
        name: claims[name]["jti"][:8]
        for name in ("corrects", "voids", "answers", "reverses", "countersigns")
        if name in claims
    }
    about = statement.sub if not statement.sub.startswith("subject/") else statement.sub[:16]
    said = {**statement.body, **statement.content, **acts}
    said.pop("file", None)
    return (
        f"{entry['index']:>5} {entry['recorded_at'][:19]} {entry['event']:<24} {about:<18} {statement.jti[:8]} "
        f"{statement.iss}: {json.dumps(said, ensure_ascii=False, default=str)[:200]}"
    )


@contextmanager
def refused(*rules: str) -> Iterator[dict[str, Any]]:
    """What is done inside is refused by one of these rules; gives the problem object afterwards."""
    problem: dict[str, Any] = {}
    try:
        yield problem
    except Refused as refusal:
        problem.update(refusal.problem)
        assert refusal.rule in rules, f"refused by {refusal}, not by {' or '.join(rules)}"
        return
    raise AssertionError(f"it was recorded, and {' or '.join(rules)} should have refused it")
