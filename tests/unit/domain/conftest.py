"""A trial in memory for tests of the rules: no signatures, no database; authority is decided elsewhere.

`Trial` folds statements into the real aggregates and asks the real preconditions of each decision. Its verbs
are the trial's own words; each returns the record. Every study here is the invented one, COAST-07.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.domain import findings
from ledger.domain.aggregate import LedgerAggregate, Study, Subject, record_of, study_aggregate_id
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.context import ROSTER_EVENTS, Context, Entered, Roster
from ledger.domain.decide import PRECONDITIONS
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, Refusal
from ledger.domain.study import b64_sha256
from ledger.signing.statement import Statement
from tests.scenario.plans import COAST

ORIGIN = "ledger.test/study/COAST-07"
KEY = "A" * 43
GENESIS = {
    "study": "COAST-07",
    "origin": ORIGIN,
    "log_keys": ["log"],
    "registrars": [{"actor": "registrar", "kid": KEY, "alg": "Ed25519", "jwk": {"kty": "OKP"}}],
    "ledger": {"kid": "B" * 42 + "A", "alg": "Ed25519", "jwk": {"kty": "OKP"}},
    "registrars_required": 1,
    "ceremony": "unavailable",
    "meanings": ["approval"],
    "roles": ["investigator"],
    "retention": {"years": 25, "starts": "study closed"},
    "clock": "simulated",
    "synthetic": True,
}
_CLAIMS = ("corrects", "voids", "reverses", "countersigns", "mode", "meaning")
ROLES = {"governance": "sponsor", "decision": "investigator", "fact": "coordinator", "act": "coordinator"}


def stamp(moment: datetime) -> str:
    """A time as the ledger writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Trial:
    """A study, its roster and its subjects, folded from what was said so far."""

    now: datetime = datetime(2024, 3, 4, 9, 0, tzinfo=UTC)
    protocol: str = COAST.protocol
    size: int = 0
    roster: Roster = field(default_factory=Roster)
    subjects: dict[str, Subject] = field(default_factory=dict)
    study: Study = field(init=False)
    units: int = 0
    said: list[Statement] = field(default_factory=list)

    # -- saying ---------------------------------------------------------------------------------------------

    def say(self, event: str, about: str, **fields: Any) -> Record:
        """Record a statement now. `role`, `site`, `mode`, `meaning`, `cut`, `iss`, acts' claims go where they belong;
        fields that are called like a claim stand in `fields_besides`. What has a meaning has a cut."""
        besides = fields.pop("fields_besides", {})
        claims = {k: fields.pop(k) for k in _CLAIMS if k in fields}
        version = fields.pop("v", CATALOGUE.signed_as(event).v)
        model = CATALOGUE.versions(event)[version - 1]
        role = fields.pop("role", ROLES.get(model.kind, "system"))
        cut = fields.pop("cut", self.size)
        site = fields.pop("site", "NORTH" if about.startswith("subject/") else None)
        if model.kind == "decision" and claims.get("mode") != "transcribed" and not model.stopping:
            claims["meaning"] = "approval"
        if "meaning" in claims:
            claims["cut"] = {"size": cut, "root": KEY}
        fields |= besides
        self.now += timedelta(seconds=1)
        claims |= {
            "iss": fields.pop("iss", role),
            "role": role,
            "aud": ORIGIN,
            "sub": about,
            "jti": str(uuid4()),
            "iat": int(self.now.timestamp()),
            "event": event,
            "v": version,
            **({"site": site} if site else {}),
            "body": {name: value for name, value in fields.items() if name in model.clear_fields()},
        }
        content = {name: value for name, value in fields.items() if name not in model.clear_fields()}
        digest = b64_sha256(claims["jti"].encode())
        statement = Statement(claims["jti"], (), "Ed25519", KEY, claims, content, digest)
        CATALOGUE.check_form(statement)
        self._decide(statement)
        return self._fold(statement)

    def _decide(self, statement: Statement) -> None:
        if self.size == 0 or statement.claims.get("mode") == "transcribed":
            return
        candidate = record_of(statement, self.size, stamp(self.now))
        context = Context(
            self.study,
            self.roster,
            self.subjects.get(statement.sub),
            candidate,
            stamp(self.now),
            self.size,
            lambda id: self.subjects.get(f"subject/{id}"),
            lambda size: KEY if size <= self.size else None,
            entered=self._entered,
            recorded=lambda index: self.said[index] if index < self.size else None,
        )
        for rule in PRECONDITIONS.get(statement.event, ()):
            rule(context)

    def _fold(self, statement: Statement) -> Record:
        index, at = self.size, stamp(self.now)
        if index == 0:
            made = Study.begin(study_aggregate_id(ORIGIN), statement, index, at)
            assert isinstance(made, Study)
            self.study = made
        holder: LedgerAggregate = self.study
        if statement.sub.startswith("subject/"):
            if statement.sub in self.subjects:
                self.subjects[statement.sub].record(statement, index, at)
            else:
                new = Subject.begin(UUID(statement.sub.partition("/")[2]), statement, index, at)
                assert isinstance(new, Subject)
                self.subjects[statement.sub] = new
            holder = self.subjects[statement.sub]
        elif index:
            self.study.record(statement, index, at)
        if statement.event in ROSTER_EVENTS:
            self.roster.apply(record_of(statement, index, at))
        self.size += 1
        self.said.append(statement)
        return holder.records.by_jti[statement.jti]

    def _entered(self, jti: str) -> Entered | None:
        places = [index for index, one in enumerate(self.said) if one.jti == jti]
        return Entered(jti, self.said[places[0]].iss, KEY, self.said[places[0]].digest, places[0]) if places else None

    # -- opening --------------------------------------------------------------------------------------------

    def open(self, readings: bool = True, version: str = "1.0", approved: bool = True) -> Trial:
        """Genesis, two active sites, the protocol, consent documents, interpretations."""
        self.say("StudyOpened", "study", role="registrar", **GENESIS)
        for site, zone in COAST.sites.items():
            self.say("SiteActivated", f"site/{site}", site=site, time_zone=zone)
        self.adopt(version)
        for language in COAST.languages if approved else ():
            self.approve("1", language)
        for ambiguity in COAST.readings if readings else ():
            self.resolve(ambiguity)
        return self

    def adopt(self, version: str = "1.0", text: str | None = None) -> None:
        """A protocol version is adopted, and comes into force at both sites."""
        file = text or self.protocol
        digest = b64_sha256(file.encode())
        self.say("ProtocolAdopted", "study", version=version, digest=digest, file=file)
        for site in COAST.sites:
            self.say("ProtocolActivatedAtSite", f"site/{site}", site=site, version=version)

    def approve(self, version: str, language: str = "en", document: str = "ICF") -> Record:
        """A consent document is approved."""
        digest = b64_sha256(f"{document}{version}{language}".encode())
        fields = {"document_id": document, "version": version, "language": language, "digest": digest}
        return self.say("ConsentDocumentApproved", "study", **fields)

    def resolve(self, ambiguity: str) -> None:
        """An ambiguity is resolved and countersigned."""
        option, parameters = COAST.readings[ambiguity]
        fields = {"ambiguity": ambiguity, "option": option, "parameters": dict(parameters), "reason": "read so"}
        self.countersign(self.say("InterpretationResolved", "study", **fields))

    # -- time -----------------------------------------------------------------------------------------------

    def later(self, **span: float) -> None:
        """Time passes: `days=`, `hours=`, ..."""
        self.now += timedelta(**span)

    @property
    def stamp(self) -> str:
        """Now, as people state a time."""
        return self.now.isoformat(timespec="seconds")

    def ago(self, **span: float) -> str:
        """A time before now."""
        return (self.now - timedelta(**span)).isoformat(timespec="seconds")

    # -- subjects -------------------------------------------------------------------------------------------

    def screened(self, number: str = "001", **fields: Any) -> str:
        """A new subject, screened: a man of full age, unless the fields say otherwise; returns the label."""
        label = fields.pop("label", None) or f"subject/{uuid4()}"
        usual = {"number": number, "population": "patient", "sex": "male", "birth_date": "1980-06-01"}
        self.fact("SubjectScreened", label, **usual | fields)
        return label

    def fact(self, event: str, about: str, **fields: Any) -> Record:
        """A fact, done now unless `occurred_at` says otherwise."""
        fields.setdefault("occurred_at", self.stamp)
        return self.say(event, about, **fields)

    def consent(self, subject: str, version: str = "1", **fields: Any) -> Record:
        """Consent to take part, signed now."""
        usual = {"document_id": "ICF", "version": version, "language": "en", "purpose": "initial"}
        return self.fact("ConsentGiven", subject, **usual | fields)

    def facts_for_eligibility(self, subject: str, but: str | None = None, site: str = "NORTH") -> None:
        """What the criteria of the invented study need."""
        for event, fields in COAST.eligible:
            if event != but:
                self.fact(event, subject, site=site, **fields)

    def candidate(self, number: str = "001", **fields: Any) -> str:
        """Screened, consented, every criterion known and met; nothing decided yet."""
        subject = self.screened(number, **fields)
        self.consent(subject)
        self.facts_for_eligibility(subject)
        return subject

    def eligible(self, subject: str, eligible: bool = True, **fields: Any) -> Record:
        """The decision on eligibility."""
        return self.say("EligibilityDecided", subject, eligible=eligible, **fields)

    def enrol(self, subject: str, cohort: str = "LOW", **fields: Any) -> Record:
        """Enrolment."""
        return self.say("SubjectEnrolled", subject, cohort=cohort, **fields)

    def enrolled(self, number: str = "001", cohort: str = "LOW", **fields: Any) -> str:
        """Somebody enrolled in the usual way; opens the cohort where it is not."""
        subject = self.candidate(number, **fields)
        self.eligible(subject)
        if cohort == "LOW" and not self.study.records.of("CohortOpened"):
            self.open_cohort("LOW")
        self.enrol(subject, cohort)
        return subject

    # -- product and infusions ------------------------------------------------------------------------------

    def unit(self, name: str | None = None, release: bool = True, **fields: Any) -> str:
        """A product unit, registered and released."""
        self.units += 1
        name = name or f"U{self.units}"
        expires = (self.now + timedelta(days=365)).isoformat(timespec="seconds")
        usual = {"lot": "L1", "expires_at": expires, "role": "manufacturer"}
        self.fact("ProductUnitRegistered", f"product/{name}", **usual | fields)
        if release:
            self.release(name)
        return name

    def release(self, unit: str) -> Record:
        """Quality releases a unit."""
        return self.say("ProductReleased", f"product/{unit}", role="manufacturer-quality")

    def authorise(self, subject: str, number: int = 1, unit: str | None = None, **fields: Any) -> Record:
        """The authorisation of one inhalation of the low dose."""
        usual = {
            "number": number,
            "product": unit or self.unit(),
            "dose": "1.5",
            "dose_unit": "mg/kg",
            "weight": "70",
        }
        return self.say("InfusionAuthorised", subject, **usual | fields)

    def check(self, subject: str, number: int, unit: str, **fields: Any) -> Record:
        """Two persons check identity."""
        usual = {"number": number, "product": unit, "checked_by": ["Kim", "Lee"], "matched": True}
        return self.fact("IdentityChecked", subject, **usual | fields)

    def give(self, subject: str, number: int = 1, unit: str | None = None, **fields: Any) -> Record:
        """One inhalation is given."""
        usual = {"number": number, "product": unit, "dose": "1.5", "dose_unit": "mg/kg", "started_at": self.stamp}
        given = {name: value for name, value in (usual | fields).items() if value is not None}
        return self.fact("InfusionGiven", subject, **given)

    def treat(self, subject: str, number: int = 1, **fields: Any) -> Record:
        """Authorised, checked, given."""
        unit = self.unit()
        self.authorise(subject, number, unit, **fields)
        self.check(subject, number, unit)
        return self.give(subject, number, unit, **fields)

    # -- cohorts --------------------------------------------------------------------------------------------

    def open_cohort(self, cohort: str, **fields: Any) -> Record:
        """A cohort is opened."""
        return self.say("CohortOpened", f"cohort/{cohort}", **fields)

    def review(self, cohort: str = "LOW", conclusion: str = "escalate", **fields: Any) -> Record:
        """Safety review concludes."""
        usual = {"conclusion": conclusion, "reason": "seen", "role": "safety-review"}
        return self.say("SafetyReviewConcluded", f"cohort/{cohort}", **usual | fields)

    def full_cohort(self, cohort: str = "LOW", dose: str = "1.5", toxic: int = 0, first: int = 1) -> list[str]:
        """Three subjects enrolled into an open cohort, treated twice, watched to the end; `toxic` of them had a
        dose-limiting toxicity."""
        subjects = [self.enrolled(f"{cohort}-{first + n}", cohort) for n in range(3)]
        for number in (1, 2):
            for subject in subjects:
                self.treat(subject, number, dose=dose)
            self.later(days=14)
        for subject in subjects[:toxic]:
            self.toxicity(subject)
        self.later(days=1)
        return subjects

    def toxicity(self, subject: str, dose_limiting: bool = True) -> Record:
        """An adverse event, and its adjudication."""
        event = self.fact("AdverseEventReported", subject, term="dyspnoea", grade=3, aware_at=self.stamp)
        return self.adjudicate(subject, event.jti, dose_limiting)

    def adjudicate(self, subject: str, event: str, dose_limiting: bool = True) -> Record:
        """Safety review judges an adverse event."""
        fields = {"adverse_event": event, "dose_limiting": dose_limiting, "reason": "by definition"}
        return self.say("DoseLimitingToxicityAdjudicated", subject, role="safety-review", **fields)

    # -- acts -----------------------------------------------------------------------------------------------

    def _act(self, event: str, claim: str, on: Record, named: dict[str, str], fields: dict[str, Any]) -> Record:
        target = {"jti": on.jti, "digest": on.digest, **named}
        site = on.claims.get("site")
        return self.say(
            event, on.sub, **{claim: target, "role": on.role, "site": site, "reason": "it was wrong"} | fields
        )

    def correct(self, on: Record, field: str, value: Any, **fields: Any) -> Record:
        """One field of a fact gets another value."""
        return self._act("EntryCorrected", "corrects", on, {"field": field}, {"value": value, **fields})

    def void(self, on: Record, **fields: Any) -> Record:
        """A fact was recorded by mistake."""
        return self._act("EntryVoided", "voids", on, {}, fields)

    def reverse(self, on: Record, **fields: Any) -> Record:
        """A decision stands no longer."""
        return self._act("DecisionReversed", "reverses", on, {}, fields)

    def countersign(self, on: Record, role: str = "investigator") -> Record:
        """The second signature."""
        target = {"jti": on.jti, "digest": on.digest}
        return self.say("Countersigned", on.sub, role=role, site=on.claims.get("site"), countersigns=target)

    # -- asking ---------------------------------------------------------------------------------------------

    def subject(self, label: str) -> Subject:
        """The aggregate of a subject."""
        return self.subjects[label]

    def findings(self, label: str | None = None) -> list[Finding]:
        """Findings about a subject; without one, those across the study."""
        if label is None:
            return findings.study_findings(self.study, self.roster, self.subjects.get)
        order = findings.enrolment_order(self.roster, label)
        return findings.of_subject(self.study, self.subjects[label], order)

    def rules(self, label: str | None = None) -> set[str]:
        """The rules that are broken."""
        return {finding.rule for finding in self.findings(label)}


@contextmanager
def refused(rule: str) -> Iterator[list[Refusal]]:
    """What is done inside is refused by this rule, for a cause and with a remedy in words."""
    caught: list[Refusal] = []
    with pytest.raises(Refusal) as raised:
        yield caught
    refusal = raised.value
    assert refusal.rule == rule, f"{refusal.rule}: {refusal.because}"
    assert refusal.because and refusal.remedy and refusal.title
    caught.append(refusal)


@pytest.fixture
def trial() -> Trial:
    """The invented study, open at two sites, its ambiguities resolved."""
    return Trial().open()
