"""The trial's own words: what people do, each one statement by the person whose act it is.

Every verb takes further fields by name, which take the place of the usual ones, and `by` for another person
than the usual one. Mixed into the Simulator, which signs and sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from api.client.signing import Actor

if TYPE_CHECKING:
    from tests.scenario import cast
    from tests.scenario.clock import Clock
    from tests.scenario.doors import Door
    from tests.scenario.simulator import Plan, Subject, Told

EXPIRY = timedelta(days=365)


class _Trial:
    """What verbs ask of the Simulator."""

    plan: Plan
    clock: Clock
    door: Door
    cast: cast.Cast
    units: int
    record: Callable[..., Told]
    decide: Callable[..., Told]
    stamp: Callable[[], str]
    staff: Callable[..., cast.Staff]


class SubjectVerbs(_Trial):
    """What happens to a subject."""

    def screen(self, subject: Subject, **fields: Any) -> Told:
        """Screened as a male patient born in 1980, unless the fields say otherwise."""
        usual = {
            "number": subject.number,
            "population": "patient",
            "sex": "male",
            "birth_date": "1980-06-01",
            "occurred_at": self.stamp(),
        }
        return self.fact("SubjectScreened", subject, **usual | fields)

    def consent(self, subject: Subject, version: str = "1", **fields: Any) -> Told:
        """Consent to take part, signed now."""
        usual = {
            "document_id": "ICF",
            "version": version,
            "language": self.plan.languages[0],
            "purpose": "initial",
            "occurred_at": self.stamp(),
        }
        return self.fact("ConsentGiven", subject, **usual | fields)

    def withdraw_consent(self, subject: Subject, *scope: str) -> Told:
        """Consent is withdrawn, for everything that treatment needs unless scopes are named."""
        named = list(scope or ("treatment", "procedures", "data"))
        return self.fact("ConsentWithdrawn", subject, scope=named, occurred_at=self.stamp())

    def fact(self, event: str, subject: Subject, by: Actor | None = None, **fields: Any) -> Told:
        """Any fact about a subject, recorded by the site's coordinator unless the event is the investigator's."""
        fields.setdefault("occurred_at", self.stamp())
        if by is None:
            staff = self.staff(subject)
            by = staff.investigator if event in ("EligibilityAssessed", "ResultReviewed") else staff.coordinator
        return self.record(by, event, subject, **fields)

    def result(self, subject: Subject, analyte: str, value: str, unit: str | None = None, **fields: Any) -> Told:
        """A laboratory result, from the laboratory's system."""
        usual = {"analyte": analyte, "value": value, "unit": unit, "occurred_at": self.stamp()}
        return self.record(self.cast.analyser, "LabResultReported", subject, **usual | fields)

    def draw(self, subject: Subject, specimen: str, **fields: Any) -> Told:
        """A specimen is drawn."""
        return self.fact("SpecimenDrawn", subject, specimen=specimen, material="blood", **fields)

    def make_eligible(self, subject: Subject, but: str | None = None) -> list[Told]:
        """Every fact that eligibility rests on, `but` one event left out."""
        facts = [(event, fields) for event, fields in self.plan.eligible if event != but]
        return [self.fact(event, subject, **fields) for event, fields in facts]

    def decide_eligible(self, subject: Subject, eligible: bool = True, **fields: Any) -> Told:
        """The investigator decides on eligibility."""
        by = fields.pop("by", None) or self.staff(subject).investigator
        return self.decide(by, "EligibilityDecided", subject, eligible=eligible, **fields)

    def enrol(self, subject: Subject, cohort: str, **fields: Any) -> Told:
        """The investigator enrols the subject into a cohort."""
        by = fields.pop("by", None) or self.staff(subject).investigator
        return self.decide(by, "SubjectEnrolled", subject, cohort=cohort, **fields)

    def admit(self, subject: Subject, cohort: str | None = None) -> Subject:
        """The usual way in: screened, consented, eligible and, with a cohort, enrolled."""
        self.screen(subject)
        self.consent(subject)
        self.make_eligible(subject)
        self.decide_eligible(subject)
        if cohort is not None:
            self.enrol(subject, cohort)
        return subject

    def adverse_event(self, subject: Subject, term: str = "cough", grade: int = 1, **fields: Any) -> Told:
        """An adverse event, known to the site now."""
        usual = {
            "term": term,
            "grade": grade,
            "serious": False,
            "started_at": self.stamp(),
            "aware_at": self.stamp(),
        }
        return self.fact("AdverseEventReported", subject, **usual | fields)


class ProductVerbs(_Trial):
    """What happens to a unit of the product, and how it reaches a subject."""

    def register_unit(self, name: str | None = None, **fields: Any) -> str:
        """A unit exists; returns its id."""
        self.units += 1
        unit = name or f"U{self.units}"
        expires = (self.clock() + EXPIRY).isoformat(timespec="seconds")
        usual = {
            "lot": "L1",
            "unit_number": unit,
            "donor": "D1",
            "bank": "B1",
            "passage": "5",
            "viability_percent": "95",
            "expires_at": expires,
            "occurred_at": self.stamp(),
        }
        self.record(self.cast.manufacturer, "ProductUnitRegistered", f"product/{unit}", **usual | fields)
        return unit

    def release_unit(self, unit: str, **fields: Any) -> Told:
        """Quality releases it."""
        return self.decide(self.cast.quality, "ProductReleased", f"product/{unit}", **fields)

    def unit(self) -> str:
        """A unit that is registered and released."""
        name = self.register_unit()
        self.release_unit(name)
        return name

    def authorise(self, subject: Subject, number: int, unit: str, cohort: str = "LOW", **fields: Any) -> Told:
        """The investigator authorises one infusion, of the cohort's dose."""
        by = fields.pop("by", None) or self.staff(subject).investigator
        usual = {
            "number": number,
            "product": unit,
            "dose": self.plan.doses[cohort],
            "dose_unit": self.plan.dose_unit,
            "weight": "70",
        }
        return self.decide(by, "InfusionAuthorised", subject, **usual | fields)

    def check_identity(self, subject: Subject, number: int, unit: str, **fields: Any) -> Told:
        """Two persons compare label and subject."""
        usual = {"number": number, "product": unit, "checked_by": ["nurse 1", "nurse 2"], "matched": True}
        return self.record(
            self.staff(subject).coordinator,
            "IdentityChecked",
            subject,
            **usual | {"occurred_at": self.stamp()} | fields,
        )

    def infuse(self, subject: Subject, number: int, unit: str, cohort: str = "LOW", **fields: Any) -> Told:
        """The infusion is given."""
        usual = {
            "number": number,
            "product": unit,
            "dose": self.plan.doses.get(cohort),
            "dose_unit": self.plan.dose_unit,
            "weight": "70",
            "started_at": self.stamp(),
            "outcome": "completed",
        }
        return self.record(self.staff(subject).coordinator, "InfusionGiven", subject, **usual | fields)

    def treat(self, subject: Subject, number: int, cohort: str = "LOW") -> Told:
        """The usual way: a released unit, authorised, checked, given."""
        unit = self.unit()
        self.authorise(subject, number, unit, cohort)
        self.check_identity(subject, number, unit)
        return self.infuse(subject, number, unit, cohort)


class CohortVerbs(_Trial):
    """What is decided about cohorts."""

    def open_cohort(self, cohort: str, **fields: Any) -> Told:
        """An investigator opens a cohort."""
        return self.decide(self.staff().pi, "CohortOpened", f"cohort/{cohort}", **fields)

    def hold_cohort(self, cohort: str, reason: str = "to be on the safe side") -> Told:
        """An investigator holds a cohort: needs no cut."""
        return self.record(self.staff().pi, "CohortHeld", f"cohort/{cohort}", reason=reason)

    def resume_cohort(self, cohort: str, reason: str = "the cause is gone") -> Told:
        """An investigator resumes it."""
        return self.decide(self.staff().pi, "CohortResumed", f"cohort/{cohort}", reason=reason)

    def review(self, cohort: str, conclusion: str = "escalate", **fields: Any) -> Told:
        """Safety review concludes on the newest state, or on a `cut`."""
        usual = {"conclusion": conclusion, "reason": "reviewed", "members": ["one", "two"]}
        return self.decide(self.cast.review, "SafetyReviewConcluded", f"cohort/{cohort}", **usual | fields)

    def adjudicate(self, subject: Subject, event: Told, dose_limiting: bool) -> Told:
        """Safety review judges an adverse event."""
        return self.decide(
            self.cast.review,
            "DoseLimitingToxicityAdjudicated",
            subject,
            adverse_event=event.jti,
            dose_limiting=dose_limiting,
            reason="by the protocol's definition",
        )

    def select_dose(self, cohort: str, level: str) -> Told:
        """An investigator selects the dose of a later cohort."""
        return self.decide(
            self.staff().pi, "DoseSelected", "study", cohort=cohort, dose_level=level, reason="best tolerated"
        )


class CorrectionVerbs(_Trial):
    """What is done about earlier records."""

    def correct(self, told: Told, field: str, value: Any, reason: str = "typed wrongly", **more: Any) -> Told:
        """One field of a fact gets another value; None says that none is known."""
        return self._act(
            "EntryCorrected", told, {"corrects": {**told.target, "field": field}}, value=value, reason=reason, **more
        )

    def void(self, told: Told, reason: str = "wrong subject", **more: Any) -> Told:
        """A fact was recorded by mistake."""
        return self._act("EntryVoided", told, {"voids": told.target}, reason=reason, **more)

    def reverse(self, told: Told, reason: str = "decided on wrong data", **more: Any) -> Told:
        """A decision stands no longer."""
        by = more.pop("by", None) or self._signer(told)
        more.setdefault("cut", self.door.cut())
        return self._act("DecisionReversed", told, {"reverses": told.target}, by=by, reason=reason, **more)

    def countersign(self, told: Told, by: Actor, **more: Any) -> Told:
        """A second person signs."""
        return self._act("Countersigned", told, {"countersigns": told.target}, by=by, meaning="approval", **more)

    def query(self, told: Told, question: str = "Is this right?", by: Actor | None = None, **more: Any) -> Told:
        """A question about a record, by the data manager."""
        return self._act(
            "QueryOpened", told, {}, by=by or self.cast.data_manager, record=told.target, question=question, **more
        )

    def answer(self, query: Told, answer: str = "It is.", **more: Any) -> Told:
        """The site answers it."""
        return self._act("QueryAnswered", query, {"answers": query.target}, answer=answer, **more)

    def close_query(self, query: Told, **more: Any) -> Told:
        """The data manager closes it."""
        more.setdefault("by", self.cast.data_manager)
        return self._act("QueryClosed", query, {"answers": query.target}, **more)

    def reopen_query(self, query: Told, reason: str = "not settled after all", **more: Any) -> Told:
        """The data manager reopens it."""
        more.setdefault("by", self.cast.data_manager)
        return self._act("QueryReopened", query, {"answers": query.target}, reason=reason, **more)

    def order_redaction(self, fields: Mapping[Told, Sequence[str]], **more: Any) -> Told:
        """The privacy officer orders the redaction of these fields of records of one subject, site or study."""
        first = next(iter(fields))
        fixed = {"by": self.cast.privacy_officer, "legal_basis": "GDPR Art. 16", "reason": "entered by mistake"}
        return self._act("FieldsRedacted", first, {}, **{"records": redacted_fields(fields), **fixed, **more})

    def redact(self, fields: Mapping[Told, Sequence[str]], **more: Any) -> Told:
        """Such an order, which the data manager countersigns; returns the second signature."""
        return self.countersign(self.order_redaction(fields, **more), self.cast.data_manager)

    def _signer(self, told: Told) -> Actor:
        """The person who signed it."""
        from ledger.signing.statement import parse

        name = parse(told.text).iss
        people = [*self.cast.study_people()]
        for staff in self.cast.sites.values():
            people += [staff.pi, staff.investigator, staff.coordinator, staff.pharmacist, staff.technician]
        return next(person for person in people if person.id == name)

    def _act(self, event: str, told: Told, naming: dict[str, Any], by: Actor | None = None, **fields: Any) -> Told:
        """An act on a record, under the record's own `sub` and `site`, by the site's coordinator."""
        from ledger.signing.statement import parse

        original = parse(told.text)
        site = original.site
        actor = by or (self.staff(site).coordinator if site else self.cast.sponsor)
        claims = {**naming, **fields.pop("claims", {})}
        about = fields.pop("about", original.sub)
        where = {"site": site} if site is not None else {}
        return self.record(actor, event, about, claims=claims, **where | fields)


def redacted_fields(fields: Mapping[Told, Sequence[str]]) -> list[dict[str, Any]]:
    """What an order of redaction names: each record with the digests of these fields' disclosures."""
    from ledger.signing.statement import disclosures_by_digest, parse

    named = []
    for told, names in fields.items():
        digests = {name: digest for digest, name in disclosures_by_digest(parse(told.text).disclosures).items()}
        named.append({**told.target, "disclosures": [digests[name] for name in names], "fields": list(names)})
    return named
