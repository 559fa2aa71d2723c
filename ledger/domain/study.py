"""The study itself: genesis, protocol, approvals, sites, interpretations, holding, locking.

Governance is superseded by later governance, never corrected. What is in force is read from the records:
the protocol version active at a site with the interpretations that stand, the consent documents approved
there, whether study or site is held, closed, locked or frozen.

 GENESIS-6         a study's ledger is opened once
 PROTOCOL-1        an adopted protocol file can be used, is of this study, and has the version named
 PROTOCOL-2        the digest stated is the file's
 PROTOCOL-3        a version is adopted before it is activated at a site
 PROTOCOL-4        a decision at a site needs a protocol version in force there
 SITE-1            versions and decisions are for active sites
 STUDY-1           nothing is decided while the study is on hold or closed
 STUDY-2           only a hold is resumed
 INTERPRETATION-1  an ambiguity is resolved by an option of the newest protocol, with its parameters
 LOCK-2            only what is locked or frozen is unlocked
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ledger.domain.context import Context
from ledger.domain.model import (
    CLEAR,
    DISCLOSED,
    Decision,
    Digest,
    Document,
    EventModel,
    FullDate,
    Governance,
    Label,
    Part,
    PrintedName,
    Reason,
    StudyId,
    Text,
)
from ledger.domain.record import Record
from ledger.domain.refusals import Refusal
from ledger.domain.roles import DATA_MANAGER, INVESTIGATOR, SPONSOR, SYSTEM
from ledger.protocol import (
    BrokenProtocol,
    InvalidResolution,
    ProtocolFile,
    Resolution,
    ResolvedProtocol,
    UnknownVersion,
    load,
)

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study

MAX_MEMO = 2_000
"""Places and indexes for which the protocol in force is remembered: they are found again in a moment."""
MAX_PROTOCOL = 180_000  # characters: with its disclosure in base64 it still fits a statement of 256 KiB


class Registrar(Part):
    """A registrar named by genesis, with a first key."""

    actor: Label
    kid: Digest
    alg: Literal["Ed25519", "EdDSA", "ES256"]
    jwk: dict[str, str]


class LedgerKey(Part):
    """The key of the actor `ledger`, which records the system's own events."""

    kid: Digest
    alg: Literal["Ed25519", "EdDSA", "ES256"]
    jwk: dict[str, str]


class Retention(Part):
    """How long records are kept, in years, and from when."""

    years: Annotated[int, Field(ge=1, le=200)]
    starts: Label


class StudyOpened(Governance):
    """Genesis: the study's ledger is opened, with its log, its registrars and its terms."""

    about = ("study",)
    recorders = frozenset({"registrar"})
    words = "opened the study's ledger"
    rules = ("GENESIS-1", "GENESIS-2", "GENESIS-3", "GENESIS-4", "GENESIS-5", "GENESIS-6")

    study: StudyId
    origin: Label
    log_keys: Annotated[list[Text], Field(min_length=1, max_length=4)]
    registrars: Annotated[list[Registrar], Field(min_length=1, max_length=10)]
    ledger: LedgerKey
    registrars_required: Annotated[int, Field(ge=1, le=2)] = 1
    ceremony: Literal["required", "unavailable"]
    meanings: Annotated[list[Label], Field(min_length=1)]
    roles: Annotated[list[Label], Field(min_length=1)]
    retention: Retention
    clock: Literal["real", "simulated"]
    synthetic: bool
    title: Annotated[Text | None, DISCLOSED] = None
    registrar_names: Annotated[dict[str, PrintedName] | None, DISCLOSED] = None


class StudyHeld(Governance):
    """The study is on hold: no one is enrolled or treated until it resumes."""

    about = ("study",)
    recorders = SPONSOR | INVESTIGATOR
    stopping = True
    words = "put the study on hold: {reason}"

    reason: Annotated[Reason, DISCLOSED]


class StudyResumed(Governance):
    """The study goes on after a hold."""

    about = ("study",)
    recorders = SPONSOR
    words = "resumed the study: {reason}"

    reason: Annotated[Reason, DISCLOSED]


class StudyClosed(Governance):
    """The study is over: nothing more is enrolled or treated."""

    about = ("study",)
    recorders = SPONSOR
    stopping = True
    words = "closed the study: {reason}"

    reason: Annotated[Reason, DISCLOSED]


class ProtocolAdopted(Governance):
    """A version of the protocol is adopted: the file is part of the record, its digest in the clear."""

    about = ("study",)
    recorders = SPONSOR | SYSTEM
    words = "adopted protocol version {version}"
    rules = ("PROTOCOL-1", "PROTOCOL-2")

    version: Label
    digest: Digest
    reason: Annotated[Reason | None, DISCLOSED] = None
    file: Annotated[str, Field(max_length=MAX_PROTOCOL), DISCLOSED]


class ProtocolActivatedAtSite(Governance):
    """A protocol version comes into force at a site, with the site's approval."""

    about = ("site",)
    recorders = SPONSOR | SYSTEM
    words = "activated protocol version {version} at the site"
    rules = ("PROTOCOL-3", "SITE-1")

    version: Label
    approval: Label | None = None


class ApprovalRecorded(Governance):
    """An ethics committee or an authority approved something."""

    about = ("study", "site")
    recorders = SPONSOR
    words = "recorded an approval by {body_name}"

    approval: Label
    body_name: Annotated[Label, DISCLOSED]
    kind_of_body: Literal["ethics committee", "authority", "institution"]
    approved_date: FullDate
    concerns: Label | None = None
    document: Document | None = None


class ConsentDocumentApproved(Governance):
    """A consent document is approved in one version and language; it replaces earlier versions of it."""

    about = ("study", "site")
    recorders = SPONSOR
    words = "approved consent document {document_id} version {version} in {language}"

    document_id: Label
    version: Label
    language: Label
    digest: Digest
    sites: list[Label] | None = None
    approval: Label | None = None


class SiteActivated(Governance):
    """A site may take part."""

    about = ("site",)
    recorders = SPONSOR | SYSTEM
    words = "activated the site"

    time_zone: Label
    country: Label | None = None
    languages: list[Label] | None = None
    name: Annotated[Label | None, DISCLOSED] = None
    principal_investigator: Label | None = None


class SiteClosed(Governance):
    """A site takes part no longer."""

    about = ("site",)
    recorders = SPONSOR
    stopping = True
    words = "closed the site: {reason}"

    reason: Annotated[Reason, DISCLOSED]


class InterpretationResolved(Governance):
    """An ambiguity of the protocol is resolved by one of its options; stands once an investigator countersigns."""

    about = ("study",)
    recorders = SPONSOR
    countersigners = INVESTIGATOR
    words = "resolved {ambiguity} as {option}"
    rules = ("INTERPRETATION-1",)

    ambiguity: Label
    option: Label
    parameters: dict[str, Any] | None = None
    reason: Annotated[Reason, DISCLOSED]


class _Locking(Decision):
    """Data management's decisions: either the data manager or an investigator records, the other countersigns."""

    about: ClassVar[tuple[str, ...]] = ("study",)
    recorders: ClassVar[frozenset[str]] = DATA_MANAGER | INVESTIGATOR
    countersigners: ClassVar[frozenset[str]] = DATA_MANAGER | INVESTIGATOR

    reason: Reason


class RecordsFrozen(_Locking):
    """The records of a subject, a site or the study are frozen: they are corrected no longer."""

    about = ("subject", "site", "study")
    words = "froze the records: {reason}"


class RecordsUnfrozen(_Locking):
    """A freeze is lifted."""

    about = ("subject", "site", "study")
    words = "lifted the freeze: {reason}"


class StudyLocked(_Locking):
    """The study's records are locked."""

    words = "locked the study: {reason}"


class StudyUnlocked(_Locking):
    """The lock is lifted."""

    words = "unlocked the study: {reason}"
    stopping = False


class DataCutTaken(_Locking):
    """A state of the records is named, for an analysis or a review."""

    words = "took the data cut {name}"

    name: Annotated[Label, CLEAR]
    size: Annotated[int, Field(ge=1), CLEAR]


EVENTS: tuple[type[EventModel], ...] = (
    StudyOpened,
    StudyHeld,
    StudyResumed,
    StudyClosed,
    ProtocolAdopted,
    ProtocolActivatedAtSite,
    ApprovalRecorded,
    ConsentDocumentApproved,
    SiteActivated,
    SiteClosed,
    InterpretationResolved,
    RecordsFrozen,
    RecordsUnfrozen,
    StudyLocked,
    StudyUnlocked,
    DataCutTaken,
)


class OpenedAlready(Refusal):
    """The study's ledger is open; it is opened once."""

    rule = "GENESIS-6"
    remedy = "Go on with the ledger that is there; repeat the original statement to see its answer."


class ProtocolFileBroken(Refusal):
    """The protocol file cannot be used."""

    rule, status = "PROTOCOL-1", 422
    remedy = "Mend the file at the places named and adopt it again."


class ProtocolDigestWrong(Refusal):
    """The digest in `body` is not that of the protocol file."""

    rule, status = "PROTOCOL-2", 422
    remedy = "State base64url(SHA-256) of the file's UTF-8 bytes as `digest`."


class ProtocolVersionUnknown(Refusal):
    """No such version of the protocol has been adopted."""

    rule = "PROTOCOL-3"
    remedy = "Adopt the version first (ProtocolAdopted), then activate it at the site."


class NoProtocolAtSite(Refusal):
    """No version of the protocol is in force at the site."""

    rule = "PROTOCOL-4"
    remedy = "Activate an adopted version at the site (ProtocolActivatedAtSite), then decide again."
    source = "ICH E6(R3) 4.3.5"


class SiteNotActive(Refusal):
    """The site is not active."""

    rule = "SITE-1"
    remedy = "Activate the site (SiteActivated) first."
    source = "ICH E6(R3) 2.3"


class StudyOnHold(Refusal):
    """The study is on hold or closed."""

    rule = "STUDY-1"
    remedy = "Wait until the sponsor resumes the study (StudyResumed)."


class StudyNotHeld(Refusal):
    """There is no hold to lift."""

    rule = "STUDY-2"
    remedy = "Nothing is left to do; a closed study does not resume."


class AmbiguityUnknown(Refusal):
    """The protocol has no such ambiguity, or the ambiguity no such option, or its parameters do not fit."""

    rule, status = "INTERPRETATION-1", 422
    remedy = "Choose an option that the adopted protocol lists, with the parameters that it asks for."


class NothingLocked(Refusal):
    """There is no lock or freeze to lift."""

    rule = "LOCK-2"
    remedy = "Nothing is left to do."


def b64_sha256(data: bytes) -> str:
    """base64url SHA-256 without padding."""
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@lru_cache(maxsize=16)
def _read(text: str) -> ProtocolFile | BrokenProtocol:
    try:
        return load(text)
    except BrokenProtocol as broken:
        return broken


def protocol_file(text: str) -> ProtocolFile:
    """A protocol file, parsed once, sound or broken (then BrokenProtocol is raised): that may take seconds."""
    found = _read(text)
    if isinstance(found, BrokenProtocol):
        raise found.with_traceback(None)
    return found


@lru_cache(maxsize=64)
def _resolved(text: str, version: str, interpretations: str) -> ResolvedProtocol:
    """A version as its interpretations read it; one that this version no longer knows leaves its question open."""
    protocol = protocol_file(text).version(version)
    given = {
        name: Resolution(option=chosen["option"], parameters=chosen["parameters"])
        for name, chosen in json.loads(interpretations).items()
    }
    known = {name: chosen for name, chosen in given.items() if name in protocol.definition.ambiguities}
    fitting = {name: chosen for name, chosen in known.items() if not protocol.check_resolution(name, chosen)}
    try:
        return protocol.resolved(fitting)
    except InvalidResolution:
        return protocol.resolved({})  # they exclude each other in this version: every question is open again


def adopted(study: Study) -> dict[str, Record]:
    """Adopted protocol versions by label, in order of adoption."""
    return {record.body["version"]: record for record in study.records.of("ProtocolAdopted")}


def interpretations(study: Study) -> dict[str, Record]:
    """The resolution of each ambiguity that stands: the newest one countersigned."""
    found = sorted(study.records.of("InterpretationResolved"), key=lambda record: record.effective_at)
    return {record.body["ambiguity"]: record for record in found}


def version_at(study: Study, site: str | None, below: int | None = None) -> str | None:
    """The protocol version in force at a site, just below an index where one is given.

    Without a site: the version activated last at any site, or where none was, the one adopted last.
    """
    active = [
        record
        for record in study.records.of("ProtocolActivatedAtSite")
        if (site is None or record.sub == f"site/{site}") and (below is None or record.index < below)
    ]
    if not active and site is None:
        active = study.records.of("ProtocolAdopted")
    return active[-1].body["version"] if active else None


def protocol_for(study: Study, site: str | None = None, below: int | None = None) -> ResolvedProtocol | None:
    """The protocol in force at a site (without one: anywhere), with the interpretations that stand now.

    `below`: the version in force just below that index; the present one where none was in force yet.
    """
    memo = study.records.memo
    if (site, below) not in memo:
        if len(memo) >= MAX_MEMO:
            memo.clear()
        memo[site, below] = _protocol_for(study, site, below)
    found: ResolvedProtocol | None = memo[site, below]
    return found


def _protocol_for(study: Study, site: str | None, below: int | None) -> ResolvedProtocol | None:
    version = version_at(study, site, below) or version_at(study, site)
    record = adopted(study).get(version) if version is not None else None
    if record is None or "file" not in record.content:
        return None
    chosen = {
        name: {"option": r.body["option"], "parameters": r.body.get("parameters") or {}}
        for name, r in interpretations(study).items()
    }
    return _resolved(record.content["file"], record.body["version"], json.dumps(chosen, sort_keys=True))


def site_state(study: Study, site: str) -> str:
    """`active`, `closed` or `unknown`."""
    known = [r for r in study.records.of("SiteActivated", "SiteClosed") if r.sub == f"site/{site}"]
    if not known:
        return "unknown"
    return "active" if known[-1].event == "SiteActivated" else "closed"


def site_time_zone(study: Study, site: str | None) -> str:
    """The IANA zone in which a site's times without offset are read; UTC where none is known."""
    known = [r for r in study.records.of("SiteActivated") if r.sub == f"site/{site}"]
    return known[-1].body["time_zone"] if known else "UTC"


def held(study: Study) -> Record | None:
    """The record that stops enrolment and treatment now: a hold not resumed, or the study's closing."""
    newest = study.records.last("StudyHeld", "StudyResumed", "StudyClosed")
    closed = study.records.last("StudyClosed")
    if closed is not None:
        return closed
    return newest if newest is not None and newest.event == "StudyHeld" else None


def _newest_effective(found: list[Record]) -> Record | None:
    return max(found, key=lambda record: record.effective_at, default=None)


def locked(study: Study) -> Record | None:
    """The lock in force, if any."""
    newest = _newest_effective(study.records.of("StudyLocked", "StudyUnlocked"))
    return newest if newest is not None and newest.event == "StudyLocked" else None


def frozen(study: Study, records: Any, sub: str, site: str | None) -> Record | None:
    """The freeze in force for records about `sub` at `site`: of the subject, its site or the study."""
    scopes = {sub, "study"} | ({f"site/{site}"} if site else set())
    for scope in sorted(scopes):
        holder = records if scope.startswith("subject/") else study.records
        events = [r for r in holder.of("RecordsFrozen", "RecordsUnfrozen") if r.sub == scope]
        newest = _newest_effective(events)
        if newest is not None and newest.event == "RecordsFrozen":
            return newest
    return None


def consent_documents(study: Study, site: str | None) -> list[Record]:
    """Approvals of consent documents that reach a site, in order."""
    return [
        record
        for record in study.records.of("ConsentDocumentApproved")
        if (record.sub in ("study", f"site/{site}"))
        and (record.body.get("sites") is None or site in record.body["sites"])
    ]


def current_consent_document(study: Study, site: str | None, document_id: str, language: str) -> Record | None:
    """The version of a consent document approved last for a site, in one language."""
    found = [
        record
        for record in consent_documents(study, site)
        if record.body["document_id"] == document_id and record.body["language"] == language
    ]
    return found[-1] if found else None


def approved_document(study: Study, site: str | None, document_id: str, version: str, language: str) -> Record | None:
    """The approval of exactly this version and language, current or not."""
    for record in reversed(consent_documents(study, site)):
        body = record.body
        if (body["document_id"], body["version"], body["language"]) == (document_id, version, language):
            return record
    return None


# -- preconditions -----------------------------------------------------------------------------------------


def is_not_open_yet(ctx: Context) -> None:
    """GENESIS-6: genesis is the first statement and no other (`decide_genesis` looks at the first)."""
    raise OpenedAlready("genesis stands at index 0", (0,))


def protocol_file_is_sound(ctx: Context) -> None:
    """PROTOCOL-1, PROTOCOL-2: the adopted file has the stated digest, parses, and has the version named."""
    record = ctx.candidate
    text = record.content["file"]
    if b64_sha256(text.encode()) != record.body["digest"]:
        raise ProtocolDigestWrong(f"the file's digest is {b64_sha256(text.encode())}")
    try:
        file = protocol_file(text)
        file.version(record.body["version"])
    except (BrokenProtocol, UnknownVersion) as broken:
        raise ProtocolFileBroken(str(broken)) from None
    own = ctx.study.genesis.body["study"]
    if file.study != own:
        raise ProtocolFileBroken(f"the file is of the study {file.study}, this ledger of {own}")


def version_was_adopted(ctx: Context) -> None:
    """PROTOCOL-3, SITE-1: a version is activated at an active site after it was adopted."""
    site = ctx.candidate.sub.partition("/")[2]
    if site_state(ctx.study, site) != "active":
        raise SiteNotActive(f"the site {site!r} is {site_state(ctx.study, site)}")
    if ctx.candidate.body["version"] not in adopted(ctx.study):
        known = ", ".join(adopted(ctx.study)) or "none"
        raise ProtocolVersionUnknown(f"adopted versions: {known}")


def ambiguity_has_option(ctx: Context) -> None:
    """INTERPRETATION-1: the newest adopted protocol lists the ambiguity, the option and its parameters."""
    newest = ctx.study.records.last("ProtocolAdopted")
    if newest is None or "file" not in newest.content:
        raise AmbiguityUnknown("no protocol has been adopted, or its file was redacted")
    body = ctx.candidate.body
    protocol = protocol_file(newest.content["file"]).version(newest.body["version"])
    given = Resolution(option=body["option"], parameters=body.get("parameters") or {})
    wrong = protocol.check_resolution(body["ambiguity"], given)
    if wrong:
        raise AmbiguityUnknown("; ".join(wrong))
    chosen = {
        name: Resolution(option=r.body["option"], parameters=r.body.get("parameters") or {})
        for name, r in interpretations(ctx.study).items()
        if name in protocol.definition.ambiguities
    }
    try:
        protocol.resolved(chosen | {body["ambiguity"]: given})
    except InvalidResolution as error:
        raise AmbiguityUnknown(f"it does not go together with those that stand: {error}") from None


def study_is_held(ctx: Context) -> None:
    """STUDY-2: only a hold is resumed."""
    holding = held(ctx.study)
    if holding is None or holding.event == "StudyClosed":
        raise StudyNotHeld("the study is closed" if holding else "the study is not on hold")


def study_runs(ctx: Context) -> None:
    """STUDY-1: neither held nor closed."""
    holding = held(ctx.study)
    if holding is not None:
        raise StudyOnHold(f"{holding.event} stands since index {holding.index}", (holding.index,))


def site_runs(ctx: Context) -> None:
    """SITE-1, PROTOCOL-4: the decision's site is active, and a protocol version is in force there."""
    site = ctx.candidate.site
    if site is None:
        return
    if site_state(ctx.study, site) != "active":
        raise SiteNotActive(f"the site {site!r} is {site_state(ctx.study, site)}")
    if protocol_for(ctx.study, site) is None:
        raise NoProtocolAtSite(f"none was activated at {site!r}")


def lock_stands(ctx: Context) -> None:
    """LOCK-2: only a lock is lifted."""
    if locked(ctx.study) is None:
        raise NothingLocked("the study is not locked")


def freeze_stands(ctx: Context) -> None:
    """LOCK-2: only a freeze is lifted."""
    if frozen(ctx.study, ctx.records, ctx.candidate.sub, ctx.candidate.site) is None:
        raise NothingLocked(f"the records of {ctx.candidate.sub} are not frozen")


PRECONDITIONS = {
    "StudyOpened": (is_not_open_yet,),
    "ProtocolAdopted": (protocol_file_is_sound,),
    "ProtocolActivatedAtSite": (version_was_adopted,),
    "InterpretationResolved": (ambiguity_has_option,),
    "StudyResumed": (study_is_held,),
    "StudyUnlocked": (lock_stands,),
    "RecordsUnfrozen": (freeze_stands,),
}
