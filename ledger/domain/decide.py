"""Whether a statement is recorded: the order of the questions, the same for every event.

 1. form: the event exists, its fields have its form (`Catalogue.check_form`, before the lock), in a version that is
    recorded
 2. authority: key, actor, role, site in force just below the index (`ledger/authority.py`)
 3. the role may record this event
 4. time: not signed in the future, not expired
 5. signature: a decision by a person has meaning, cut and end; the cut is a state this log had
 6. expected_version, if stated
 7. lock: after a lock or freeze nothing is corrected, voided or decided
 8. preconditions of the event, each a rule with an id

The ceremony behind a signature (SIGNATURE-4, SIGNATURE-6, CEREMONY-1 to CEREMONY-5) is asked about in
`ceremony.py`. Facts meet 1 to 4 and 6 alone: a fact that breaks the protocol has still happened, and is found,
not refused.

 CATALOGUE-4      the statement is about what its event is about
 CATALOGUE-5      what is about a subject or site names the site
 CATALOGUE-6      an act names its earlier statement in the claim for it, and nothing else has one
 AUTHORITY-0      stands for AUTHORITY-1 to AUTHORITY-13 of `ledger/authority.py`
 ROLE-1           the role records this event; the actor `ledger` alone records what the system did
 TIME-1, TIME-2   not signed in the future; a decision not after its end, no electronic signature after 24 hours, other
                  than of a fact or of what stops something
 SIGNATURE-2      a person's decision has meaning, cut and an end within 24 hours
 SIGNATURE-3      the meaning is one that genesis lists
 SIGNATURE-5      only decisions and electronic signatures state a cut and an end
 SIGNATURE-7      an electronic signature states the signer's printed name and the time (`manifestation.py`)
 CUT-1            the cut is a state that this log has had
 TRANSCRIPTION-1  a decision is transcribed inside a declared period, by the roles named
 VERSION-1        the count of events that the signer had seen, where stated, is the count
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import chain, islice

from ledger.authority import LEDGER_ACTOR
from ledger.domain import (
    account,
    adverse_event,
    ceremony,
    cohort,
    consent,
    correction,
    deviation,
    eligibility,
    infusion,
    lab,
    oversight,
    product,
    query,
    redaction,
    safety_review,
    signature_key,
    skipping,
    specimen,
    study,
    subject,
)
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.context import Context
from ledger.domain.correction import RecordsLocked
from ledger.domain.manifestation import check_manifestation
from ledger.domain.model import EventModel
from ledger.domain.record import Record
from ledger.domain.refusals import MAX_SHOWN, Refusal

CLOCK_LEEWAY = timedelta(minutes=5)
"""How far `iat` may lie after `recorded_at`: clocks differ, but nobody signs tomorrow."""
SIGNATURE_LIFE = timedelta(hours=24)
"""How long a signature may wait: `exp` at most this long after `iat`, so that a refused one dies."""

Precondition = Callable[[Context], None]


class NoAuthority(Refusal):
    """The signer does not have the authority to record this."""

    rule, status = "AUTHORITY-0", 403
    source = "21 CFR 11.10(d), (g)"

    def __init__(self, rule: str, because: str, remedy: str, indexes: tuple[int, ...]) -> None:
        super().__init__(because, indexes)
        self.rule, self.remedy = rule, remedy  # type: ignore[misc]


class RoleMayNot(Refusal):
    """The role does not record this event."""

    rule, status = "ROLE-1", 403
    remedy = "Have it recorded by one of the roles that the catalogue names."
    source = "21 CFR 11.10(g)"


class AboutWrong(Refusal):
    """The statement is about something that its event is not about."""

    rule, status = "CATALOGUE-4", 400
    remedy = "State in `sub` what the catalogue says that the event is about."


class SiteMissing(Refusal):
    """A statement about a subject or a site names its site."""

    rule, status = "CATALOGUE-5", 400
    remedy = "State `site`: where it was done or found; for a site's own events, that site."


class TargetClaimWrong(Refusal):
    """The event needs a claim that names the earlier statement, or must not have one."""

    rule, status = "CATALOGUE-6", 400
    remedy = "State exactly the claim (`corrects`, `voids`, `answers`, `reverses`, `countersigns`) of the event."


class SignedInTheFuture(Refusal):
    """The statement was signed in the future."""

    rule, status = "TIME-1", 400
    remedy = "Set the signing machine's clock right and sign again; the leeway is five minutes."
    source = "FDA Q&A 2024, Q14"


class SignatureExpired(Refusal):
    """The electronic signature has run out."""

    rule = "TIME-2"
    remedy = "Look at the state as it is now and sign again."


class SignatureIncomplete(Refusal):
    """A decision is an electronic signature: a person's, with meaning, cut and an end within 24 hours."""

    rule, status = "SIGNATURE-2", 422
    remedy = "State `meaning`, `cut` (size and root that you saw) and `exp`, at most 24 hours after `iat`."
    source = "21 CFR 11.50(a)"


class MeaningUnknown(Refusal):
    """The meaning is not one that genesis lists."""

    rule, status = "SIGNATURE-3", 422
    remedy = "Use one of the study's meanings."
    source = "21 CFR 11.50(a)(3)"


class CutWithoutSignature(Refusal):
    """Only a decision or an electronic signature states the cut it was made on and an end."""

    rule, status = "SIGNATURE-5", 422
    remedy = "Leave `cut` and `exp` out: an entry is no signature. Or sign it as one, with `meaning`."
    source = "21 CFR 11.50(a)"


class CutUnknown(Refusal):
    """The cut is not a state that this log has had."""

    rule = "CUT-1"
    remedy = "Read the state again and state the size and root that the answer carried."
    source = "ICH E6(R3) 4 (c)"


class NotTranscribed(Refusal):
    """A decision is transcribed only inside a declared period, by the roles it names."""

    rule = "TRANSCRIPTION-1"
    remedy = "Have a transcription period declared for these roles, or sign the decision directly."


class VersionMoved(Refusal):
    """The subject has events that the signer had not seen."""

    rule, status = "VERSION-1", 412
    remedy = "Read the events that were missed, decide again and state the new `expected_version`."


PRECONDITIONS: dict[str, tuple[Precondition, ...]] = dict(
    chain.from_iterable(
        room.PRECONDITIONS.items()
        for room in (
            study,
            signature_key,
            account,
            cohort,
            subject,
            consent,
            eligibility,
            infusion,
            product,
            specimen,
            lab,
            adverse_event,
            deviation,
            correction,
            redaction,
            query,
            oversight,
            skipping,
        )
    )
)
"""What each event asks before it is recorded, in order; what is not listed asks nothing."""


def decide(ctx: Context) -> None:
    """Decide a candidate; returns where it may be recorded, raises the Refusal of the first rule broken."""
    record = ctx.candidate
    model = CATALOGUE[record.event]
    _form(record, model)
    _authority(ctx, record)
    _role(record, model)
    _time(ctx, record)
    _signature(ctx, record, model)
    _version(ctx, record)
    _lock(ctx, record, model)
    _preconditions(ctx, record)
    if record.event == "Countersigned":
        _decide_anew(ctx, correction.target_record(ctx))


def _form(record: Record, model: type[EventModel]) -> None:
    CATALOGUE.check_accepted(record.event, record.claims["v"])
    about = record.sub.partition("/")[0]
    if about not in model.about:
        raise AboutWrong(f"{record.event} is about {' or '.join(model.about)}, not {about}")
    site = record.claims.get("site")
    if about == "site" and site != record.sub.partition("/")[2]:
        raise SiteMissing(f"the statement is about {record.sub} and states the site {site!r}")
    if about == "subject" and site is None:
        raise SiteMissing("`site` is missing")
    for claim in ("corrects", "voids", "answers", "reverses", "countersigns"):
        if (claim in record.claims) != (claim == model.target):
            wanted = f"needs `{model.target}`" if claim == model.target else f"has no `{claim}`"
            raise TargetClaimWrong(f"{record.event} {wanted}")


def _authority(ctx: Context, record: Record) -> None:
    authority = ctx.study.authority
    denial = authority.check(record.claims, record.kid, ctx.recorded_at)
    if denial is None:
        denial = authority.check_governance(record.claims, ctx.recorded_at)
    if denial is not None:
        raise NoAuthority(denial.rule, denial.because, denial.remedy, denial.indexes)


def _role(record: Record, model: type[EventModel]) -> None:
    if (record.iss == LEDGER_ACTOR) != (model.kind == "system"):
        raise RoleMayNot(f"the actor {LEDGER_ACTOR!r} records what the system itself did, and nobody else does")
    if record.role in model.recorders:
        return
    if record.mode == "transcribed" and record.role in model.transcribers:
        return
    raise RoleMayNot(f"{record.event} is recorded by {', '.join(sorted(model.recorders))}, not {record.role}")


def _time(ctx: Context, record: Record) -> None:
    now = datetime.fromisoformat(ctx.recorded_at).timestamp()
    if record.iat > now + CLOCK_LEEWAY.total_seconds():
        raise SignedInTheFuture(f"`iat` is {record.iat - now:.0f} s after the ledger's time {ctx.recorded_at}")
    expires = record.claims.get("exp")
    if expires is not None and expires < now:
        raise SignatureExpired(f"`exp` was {now - expires:.0f} s before the ledger's time {ctx.recorded_at}")
    model = CATALOGUE[record.event]
    waits = record.meaning is None or model.kind == "fact" or model.stopping
    if not waits and now - record.iat > SIGNATURE_LIFE.total_seconds():
        raise SignatureExpired(f"it was signed {now - record.iat:.0f} s before the ledger's time {ctx.recorded_at}")


def _signature(ctx: Context, record: Record, model: type[EventModel]) -> None:
    claims = record.claims
    system = ctx.study.authority.is_system(record.iss)
    if record.mode == "transcribed":
        _transcription(ctx, record)
    signs = _signs(record, model)
    if system and signs:
        raise SignatureIncomplete(f"{record.iss!r} is a system, and a system never decides")
    if not (signs or model.kind == "decision" or record.event == "RecordsSigned") and record.meaning is None:
        stated = sorted({"cut", "exp"} & set(claims))
        if stated:
            raise CutWithoutSignature(f"{record.event} without `meaning` states {' and '.join(stated)}")
    if signs and not model.stopping and not {"meaning", "cut", "exp"} <= set(claims):
        raise SignatureIncomplete(f"missing: {', '.join(sorted({'meaning', 'cut', 'exp'} - set(claims)))}")
    if "exp" in claims and not 0 <= claims["exp"] - record.iat <= SIGNATURE_LIFE.total_seconds():
        raise SignatureIncomplete("`exp` lies before `iat` or more than 24 hours after it")
    if record.meaning is not None:
        _meaning(ctx, record)
    check_manifestation(ctx.study, record)
    ceremony.is_held(ctx, record)
    if record.cut is not None:
        _cut(ctx, record)
    if record.event == "DataCutTaken" and ctx.root_at(record.body["size"]) is None:
        raise CutUnknown(f"the data cut's size is {record.body['size']}, and no checkpoint covers as much")


def _signs(record: Record, model: type[EventModel]) -> bool:
    """Whether it is an electronic signature: a decision made here, the reversal of one, records signed."""
    if record.event == "RecordsSigned":
        return record.meaning is not None  # without one it is refused for just that (SIGNATURE-1)
    return record.event == "DecisionReversed" or (model.kind == "decision" and record.mode == "direct")


def _meaning(ctx: Context, record: Record) -> None:
    known = ctx.study.genesis.body["meanings"]
    if record.meaning not in known:
        raise MeaningUnknown(f"{record.meaning!r} is not one of {', '.join(known)}")


def _cut(ctx: Context, record: Record) -> None:
    size, root = record.cut["size"], record.cut["root"]
    actual = ctx.root_at(size)
    if actual is None:
        raise CutUnknown(f"the cut's size is {size}, and no checkpoint covers as much")
    if actual != root:
        raise CutUnknown(f"at size {size} the root is {actual}, not {root}")


def _transcription(ctx: Context, record: Record) -> None:
    if record.kind != "decision":
        return
    if not {"meaning", "cut", "exp"}.isdisjoint(record.claims):
        raise SignatureIncomplete("a transcribed decision carries neither `meaning` nor `cut` nor `exp`")
    day = _day(record.occurred_at) or ctx.recorded_at[:10]
    for period in ctx.study.records.of("TranscriptionPeriodDeclared"):
        body = period.body
        ends = body.get("ends_on") or "9999-12-31"
        reaches = period.sub in ("study", f"site/{record.site}")
        named = body.get("events") is None or record.event in body["events"]
        if reaches and named and record.role in body["roles"] and body["starts_on"] <= day <= ends:
            return
    raise NotTranscribed(f"no period declared covers {record.event} by {record.role!r} on {day}")


def _day(stamp: str | None) -> str | None:
    if stamp is None or len(stamp) < len("2000-01-01"):
        return None
    return date.fromisoformat(stamp[:10]).isoformat()


def _version(ctx: Context, record: Record) -> None:
    expected = record.claims.get("expected_version")
    if expected is None:
        return
    version = len(ctx.records)
    if expected != version:
        missed = [r.index for r in islice(ctx.records, expected, expected + MAX_SHOWN)]
        raise VersionMoved(f"the count of events is {version}, not {expected}", missed, missed=missed)


def _lock(ctx: Context, record: Record, model: type[EventModel]) -> None:
    stops = model.stopping or record.event in ("StudyUnlocked", "RecordsUnfrozen", "DataCutTaken", "Countersigned")
    stops = stops or (record.event == "SafetyReviewConcluded" and record.get("conclusion") in safety_review.STOPPING)
    gated = model.kind == "decision" or record.event in ("EntryCorrected", "EntryVoided", "DecisionReversed")
    if stops or not gated:
        return
    lock = study.locked(ctx.study)
    if lock is not None:
        raise RecordsLocked(f"the study is locked since index {lock.effective_at}", (lock.index,))
    if model.kind == "decision":
        return
    freeze = study.frozen(ctx.study, ctx.records, record.sub, record.site)
    if freeze is not None:
        raise RecordsLocked(f"{freeze.sub} is frozen since index {freeze.effective_at}", (freeze.index,))


def _preconditions(ctx: Context, record: Record) -> None:
    if record.mode == "transcribed" and record.kind == "decision":
        return  # shown with its findings; it opens nothing that the rules would not open
    for precondition in PRECONDITIONS.get(record.event, ()):
        precondition(ctx)


def _decide_anew(ctx: Context, target: Record) -> None:
    """At the second signature, authority and preconditions of the first are decided anew (not its `exp`)."""
    again = replace(ctx, candidate=target)
    _authority(again, target)
    _lock(again, target, CATALOGUE[target.event])
    _preconditions(again, target)
