"""Eligibility: the investigator's verdicts beside the machine's, and the decision on both.

 ELIGIBILITY-1  nobody is declared eligible while a criterion fails
 ELIGIBILITY-2  nobody is declared eligible while a criterion is unknown
 ENROL-1        nobody is enrolled or treated without a positive decision that stands
 ELIGIBILITY-3 to ELIGIBILITY-5  findings: investigator and machine differ, a continuing criterion fails, the
                facts known by now no longer bear out the decision
The protocol's criteria are evaluated by `ledger.protocol`; what needs a person's judgement comes from
EligibilityAssessed, and a difference between the two is shown, never resolved silently. That a subject is
*not* eligible can always be decided, at its own site. Sources: ICH E6(R3) 2.7.1; 21 CFR 312.60.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ledger.domain import consent
from ledger.domain.consent import CONSENT_RULES
from ledger.domain.context import Context
from ledger.domain.interpretation import SUBJECT_DECISION, is_of_its_site, nothing_is_open, subject_is_known
from ledger.domain.model import (
    Decision,
    EventId,
    EventModel,
    Fact,
    Label,
    Part,
    Reason,
    Text,
)
from ledger.domain.moments import decided, happened, surely_before
from ledger.domain.participation import protocol_of, screened, site_of, zone_of
from ledger.domain.record import Observation, Record
from ledger.domain.refusals import Finding, FindingRule, Refusal
from ledger.domain.roles import DATA_MANAGER, INVESTIGATOR, SYSTEM
from ledger.domain.study import consent_documents, site_runs, study_runs
from ledger.protocol import Verdict, assess_eligibility, evaluate

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject

MAX_CRITERIA = 200  # criteria of one protocol: oncology protocols have about 60


class CriterionVerdict(Part):
    """What the investigator found about one criterion; an exclusion criterion that is `met` excludes."""

    verdict: Literal["met", "not met", "not applicable", "unknown"]
    note: Text | None = None


class EligibilityAssessed(Fact):
    """An investigator assessed the criteria: own verdicts, and attestations where the protocol asks for one."""

    recorders = INVESTIGATOR | SYSTEM
    transcribers = DATA_MANAGER
    words = "assessed eligibility: {criteria} {attestations}"
    rules = ("ELIGIBILITY-3", "ELIGIBILITY-4", "PERSON-1")

    criteria: Annotated[dict[Label, CriterionVerdict], Field(max_length=MAX_CRITERIA)] | None = None
    attestations: Annotated[dict[Label, bool], Field(max_length=MAX_CRITERIA)] | None = None
    criteria_version: Label | None = None


class EligibilityDecided(Decision):
    """An investigator decided whether the subject is eligible."""

    recorders = INVESTIGATOR
    words = "decided on eligibility, eligible {eligible}: {reason}"
    rules = (
        *SUBJECT_DECISION,
        *CONSENT_RULES,
        *("ELIGIBILITY-1", "ELIGIBILITY-2", "ELIGIBILITY-5", "BASIS-1"),
    )

    eligible: bool
    criteria_version: Label | None = None
    assessment: EventId | None = None
    reason: Reason | None = None


EVENTS: tuple[type[EventModel], ...] = (EligibilityAssessed, EligibilityDecided)


class CriterionFails(Refusal):
    """A criterion of the protocol speaks against taking part."""

    rule = "ELIGIBILITY-1"
    remedy = (
        "If a fact named here is wrong, correct it, or have the investigator assess anew (EligibilityAssessed); "
        "otherwise decide that the subject is not eligible. The protocol knows no waiver."
    )
    source = "ICH E6(R3) 2.7.1; 21 CFR 312.60"


class CriterionUnknown(Refusal):
    """It is not known whether a criterion of the protocol is met."""

    rule = "ELIGIBILITY-2"
    remedy = "Record what each criterion named here needs (facts, or EligibilityAssessed), then sign again."
    source = "ICH E6(R3) 2.7.1"


class NotDeclaredEligible(Refusal):
    """Only a subject that was declared eligible, by a decision that stands, is enrolled or treated."""

    rule = "ENROL-1"
    remedy = "Decide eligibility first (EligibilityDecided, eligible), then sign again."
    source = "ICH E6(R3) 2.7.1; 21 CFR 312.60"


class VerdictsDiffer(FindingRule):
    """The investigator's verdict on a criterion is not the one that the recorded facts give."""

    rule = "ELIGIBILITY-3"
    source = "ICH E6(R3) 2.7.1"


class ContinuingCriterionFails(FindingRule):
    """A criterion that has to hold throughout the study no longer does."""

    rule = "ELIGIBILITY-4"


class DecisionNotBorneOut(FindingRule):
    """The subject was declared eligible, and by what is known now was not."""

    rule = "ELIGIBILITY-5"
    source = "ICH E6(R3) 2.7.1"


class KnownFacts:
    """A subject's facts as the protocol's criteria see them; `of` a decision: only what bears on it.

    Current values always. Of a decision: what was recorded before it, and what happened before it and was
    recorded late.
    """

    def __init__(self, study: Study, subject: Subject, of: Record | None = None):
        self._study, self._subject, self._of = study, subject, of
        self._site = site_of(subject)
        self._zone = zone_of(study, self._site)

    def observations(self, event: str) -> Sequence[Observation]:
        """Facts of this event in index order."""
        if event == "ConsentDocumentApproved":
            approvals = consent_documents(self._study, self._site)
            if self._of is not None:  # what was approved after the decision does not bear on it
                approvals = [approval for approval in approvals if approval.index < self._of.index]
            return [Observation(r.jti, r.index, event, r.recorded_at, r.body) for r in approvals]
        found = self._subject.records.observations(event)
        return found if self._of is None else [seen for seen in found if self._bears_on(self._of, seen.jti)]

    def _bears_on(self, decision: Record, jti: str) -> bool:
        record = self._subject.records.by_jti[jti]
        return record.index < decision.index or surely_before(happened(record), decided(decision), self._zone)


@dataclass(frozen=True, slots=True)
class CriterionState:
    """One criterion: the machine's verdict, the investigator's with the index of the assessment, if any."""

    verdict: Verdict
    investigator: str | None
    assessed: int | None

    @property
    def differs(self) -> bool:
        """The investigator says something else than the facts do; `unknown` on either side says nothing."""
        sayings = {self.verdict.value, self.investigator}
        return self.investigator is not None and len(sayings) > 1 and "unknown" not in sayings

    @property
    def fails(self) -> bool:
        """By the facts, or by the investigator, this criterion speaks against taking part."""
        against = "not met" if self.verdict.category == "inclusion" else "met"
        return against in (self.verdict.value, self.investigator)

    @property
    def unknown(self) -> bool:
        """The facts do not say, and nothing speaks against taking part."""
        return self.verdict.value == "unknown" and not self.fails

    @property
    def indexes(self) -> tuple[int, ...]:
        """Records that the verdicts rest on."""
        used = (item.index for item in self.verdict.inputs if item.index is not None)
        return tuple(dict.fromkeys((*used, *(() if self.assessed is None else (self.assessed,)))))


@dataclass(frozen=True, slots=True)
class EligibilityState:
    """All criteria of a protocol version for one subject; truthy where none fails and none is unknown."""

    protocol: str
    criteria: Mapping[str, CriterionState]

    def __bool__(self) -> bool:
        return not any(state.fails or state.unknown for state in self.criteria.values())

    @property
    def failing(self) -> dict[str, CriterionState]:
        """Criteria that speak against taking part."""
        return {name: state for name, state in self.criteria.items() if state.fails}

    @property
    def unknown(self) -> dict[str, CriterionState]:
        """Criteria about which not enough is known."""
        return {name: state for name, state in self.criteria.items() if state.unknown}


def declared(study: Study, subject: Subject) -> bool:
    """Whether the protocol at the subject's site decides by criteria, and about this subject's population."""
    protocol = protocol_of(study, subject)
    if protocol is None or not protocol.definition.requires.eligibility:
        return False
    population = protocol.definition.populations.get(screened(subject, "population") or "")
    return population is None or population.enrols


def assess(
    study: Study, subject: Subject, of: Record | None = None, only: Collection[str] | None = None
) -> EligibilityState | None:
    """The criteria for this subject, as known now (`of` a decision: as it bears on that); None without protocol.

    `only`: these criteria; without it every one.
    """
    protocol = protocol_of(study, subject, None if of is None else of.index)
    if protocol is None:
        return None
    facts = KnownFacts(study, subject, of)
    zone = zone_of(study, site_of(subject))
    if only is None:
        verdicts = assess_eligibility(protocol, facts, zone).verdicts
    else:
        verdicts = {name: evaluate(protocol, name, facts, zone) for name in only}
    stated: dict[str, tuple[str, int]] = {}
    for seen in facts.observations("EligibilityAssessed"):
        for name, verdict in (seen.content.get("criteria") or {}).items():
            stated[name] = (verdict["verdict"], seen.index)
    nobody = (None, None)
    return EligibilityState(
        protocol.label,
        {name: CriterionState(verdict, *stated.get(name, nobody)) for name, verdict in verdicts.items()},
    )


def standing(subject: Subject) -> Record | None:
    """The decision on eligibility that stands: the newest not reversed."""
    return subject.records.last("EligibilityDecided")


def criteria_permit(ctx: Context) -> None:
    """ELIGIBILITY-1, ELIGIBILITY-2: no criterion fails, none is unknown."""
    assert ctx.subject is not None
    if not declared(ctx.study, ctx.subject):
        return
    found = assess(ctx.study, ctx.subject)
    if found is None:
        return
    for refusal, states in ((CriterionFails, found.failing), (CriterionUnknown, found.unknown)):
        if states:
            indexes = dict.fromkeys(index for state in states.values() for index in state.indexes)
            raise refusal(in_words(states), tuple(indexes), criteria=sorted(states))


def in_words(states: Mapping[str, CriterionState]) -> str:
    """Each criterion with the cause of its verdict, in one line."""
    said = []
    for name, state in states.items():
        because = "; ".join(state.verdict.because) or str(state.verdict.value)
        if state.differs:
            because += f"; the investigator says {state.investigator}"
        said.append(f"{name}: {because}")
    return " / ".join(said)


def is_declared(ctx: Context) -> None:
    """ENROL-1: the decision on eligibility that stands is a positive one."""
    assert ctx.subject is not None
    if not declared(ctx.study, ctx.subject):
        return
    decision = standing(ctx.subject)
    if decision is None:
        raise NotDeclaredEligible("no decision on eligibility stands")
    if not decision.get("eligible"):
        because = f"the decision that stands, at index {decision.index}, is that the subject is not eligible"
        raise NotDeclaredEligible(because, (decision.index,))


def findings(study: Study, subject: Subject) -> Iterator[Finding]:
    """ELIGIBILITY-3 to ELIGIBILITY-5 for one subject."""
    if not declared(study, subject):
        return
    decision = standing(subject)
    enrolled = subject.records.last("SubjectEnrolled")
    now = assess(study, subject)
    if now is None:
        return
    place = {"subject": subject.label, "site": site_of(subject)}
    for name, state in now.criteria.items():
        if state.differs and state.assessed is not None:
            because = f"{name}: by the facts {state.verdict.value}, by the investigator {state.investigator}"
            shown = (state.assessed, *(i for i in state.indexes if i != state.assessed))
            yield VerdictsDiffer.found(because, shown, criterion=name, **place)
    if enrolled is not None:
        for name, state in _continuing(study, subject, now).items():
            because = f"{name}: {'; '.join(state.verdict.because)}"
            yield ContinuingCriterionFails.found(because, state.indexes or (enrolled.index,), criterion=name, **place)
    if decision is not None and decision.get("eligible"):
        then = assess(study, subject, decision)
        if then is not None and not then:
            against = then.failing | then.unknown
            shown = (decision.index, *dict.fromkeys(i for state in against.values() for i in state.indexes))
            yield DecisionNotBorneOut.found(in_words(against), shown, criteria=sorted(against), **place)


def _continuing(study: Study, subject: Subject, now: EligibilityState) -> dict[str, CriterionState]:
    protocol = protocol_of(study, subject)
    criteria = protocol.definition.criteria if protocol is not None else {}
    return {name: state for name, state in now.failing.items() if criteria[name].evaluation == "continuing"}


def continuing_failures(study: Study, subject: Subject) -> dict[str, CriterionState]:
    """Criteria that have to hold throughout, and fail now."""
    protocol = protocol_of(study, subject)
    if protocol is None or not declared(study, subject):
        return {}
    criteria = protocol.definition.criteria
    now = assess(study, subject, only=[name for name in criteria if criteria[name].evaluation == "continuing"])
    return {} if now is None else now.failing


def if_eligible(rule: Callable[[Context], None]) -> Callable[[Context], None]:
    """A rule that only a positive decision asks: that a subject is not eligible can always be decided."""

    def asked(ctx: Context) -> None:
        if ctx.candidate.get("eligible"):
            rule(ctx)

    return asked


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {
    "EligibilityDecided": (
        *map(
            if_eligible,
            (study_runs, site_runs, subject_is_known, consent.must_stand, nothing_is_open, criteria_permit),
        ),
        is_of_its_site,
    )
}
