"""What an event of the catalogue is made of: its kind, its fields, who may record it.

An event is a pydantic model. Each field is *clear* (signed in `body`, kept for ever: what verification
needs) or *disclosed* (a salted disclosure: everything about a subject, names, free text, reasons; one field
can be redacted and the signature still verifies). Governance is clear unless a field is marked DISCLOSED;
every other kind is disclosed unless a field is marked CLEAR (DESIGN section 4).

Models check the *form* of an event and nothing else: a fact that breaks the protocol is well formed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

MAX_TEXT = 10_000  # characters of one free text: a long narrative, and 25 of them still fit one statement
MAX_COLUMNS = 100  # further columns of one transferred row: the widest SDTM domains have about 60
EARLIEST_YEAR, LATEST_YEAR = 1850, 2199  # nobody alive remembers more, no study plans further: a typing error
MAX_CODE = 200  # characters of an identifier, code or short label


class _Clear:
    """Marks a field that is signed in the clear, in `body`."""


class _Disclosed:
    """Marks a field that is a disclosure, and so can be redacted."""


CLEAR = _Clear()
DISCLOSED = _Disclosed()

_PARTIAL = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)(Z|[+-]\d{2}:\d{2})?)?)?)?",
    re.ASCII,  # other alphabets have digits too
)


def _partial_time(value: str) -> str:
    """ISO 8601, as much of it as is known: YYYY, YYYY-MM, a date, or date and time with or without offset."""
    match = _PARTIAL.fullmatch(value)
    if match is None:
        raise ValueError("is not ISO 8601: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss][offset]")
    year, month, day, clock, offset = match.groups()
    _plausible(int(year))
    date(int(year), int(month or 1), int(day or 1))
    if clock:
        datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{(offset or '').replace('Z', '+00:00')}")
    return value


def _full_date(value: str) -> str:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise ValueError("is not a date: YYYY-MM-DD")
    _plausible(date.fromisoformat(value).year)
    return value


def _plausible(year: int) -> None:
    if not EARLIEST_YEAR <= year <= LATEST_YEAR:
        raise ValueError(f"is of the year {year}; times lie between {EARLIEST_YEAR} and {LATEST_YEAR}")


_SIGNED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_WIDEST_OFFSET = timedelta(hours=14)  # of any zone on earth
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of what stands around them: one name could be made to look like another."""


def _signing_time(value: str) -> str:
    """A moment with seconds and offset: YYYY-MM-DDThh:mm:ss[.f](Z or +hh:mm)."""
    if not _SIGNED.fullmatch(value):
        raise ValueError("is not a time with offset: YYYY-MM-DDThh:mm:ss and Z or +hh:mm")
    moment = datetime.fromisoformat(value)
    _plausible(moment.year)
    if abs(moment.utcoffset() or timedelta()) > _WIDEST_OFFSET:
        raise ValueError("has an offset of more than 14 hours")
    return value


def _name_in_print(value: str) -> str:
    """A name on one line, without characters that do not print or that turn the direction of writing."""
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter in _TURNING for letter in value):
        raise ValueError("has a character that does not print or turns the direction of writing")
    if value != value.strip():
        raise ValueError("begins or ends with a space")
    return value


def _said(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank: say it in words")
    return value


Text = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(_said)]
"""Free text, not blank."""
Label = Annotated[str, StringConstraints(max_length=MAX_CODE), AfterValidator(_said)]
"""A short text or identifier, not blank."""
Reason = Text
"""Why: never blank, never pre-filled (ICH E6(R3) 4.2.2; 21 CFR 11.10(e))."""
PartialTime = Annotated[str, AfterValidator(_partial_time)]
"""A time as far as it is known, ISO 8601, offset where the source has one."""
SigningTime = Annotated[str, AfterValidator(_signing_time)]
"""When somebody signed, by the signer's clock and in the signer's zone: ISO 8601 with seconds and offset."""
PrintedName = Annotated[
    str, StringConstraints(max_length=MAX_CODE), AfterValidator(_said), AfterValidator(_name_in_print)
]
"""A person's name as it is printed, on one line."""
FullDate = Annotated[str, AfterValidator(_full_date)]
"""A calendar date, YYYY-MM-DD."""
Decimal = Annotated[str, StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?$")]
"""An exact decimal number as a string; never a float."""
TransferredText = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
"""A value exactly as a source had it, in a column that has no field of its own."""
Scalar = str | int | bool | None
"""One value of an open list of items; decimal numbers are strings."""
Comparator = Literal["<", "<=", ">", ">=", "~"]
Digest = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""base64url SHA-256, without padding."""
EventId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
StudyId = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{3,32}$")]
SubjectNumber = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,40}$")]
Index = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Part(BaseModel):
    """A structured value inside a field: whole, never partly disclosed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Target(Part):
    """Which earlier statement is meant: its event id and the digest of its JWT."""

    jti: EventId
    digest: Digest


class Code(Part):
    """A coded value; a code is never matched without its system."""

    system: Label
    version: Label | None = None
    code: Label
    display: Label | None = None


class CodedTerm(Part):
    """One level of a dictionary's coding of a term, such as MedDRA's preferred term."""

    level: Label
    term: Label
    code: Label | None = None
    dictionary: Label | None = None
    version: Label | None = None


class Document(Part):
    """A document kept elsewhere, pinned by its digest."""

    digest: Digest
    media_type: Label | None = None
    title: Label | None = None


class Source(Part):
    """Where a value comes from (eSource; ICH E6(R3) 4.2.4)."""

    kind: Label
    system: Label | None = None
    identifier: Label | None = None
    line: Index | None = None
    digest: Digest | None = None
    interface_version: Label | None = None
    status: Literal["original", "certified copy", "lost"] | None = None


class Timing(Part):
    """Where the source's own calendar places a record: planned visit, planned and actual study days, epoch."""

    visit_number: Decimal | None = None
    planned_day: int | None = None
    study_day: int | None = None
    study_day_end: int | None = None
    epoch: Label | None = None
    collected_at: PartialTime | None = None


class Prompt(Part):
    """The edit check that prompted an entry, and what the person answered (FDA Q&A 2024, Q13)."""

    check: Label
    answer: Text | None = None


Kind = Literal["governance", "decision", "fact", "act", "system"]


class EventModel(BaseModel):
    """One event of the catalogue. The class name is the event's name, its docstring what it means."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    kind: ClassVar[Kind]
    v: ClassVar[int] = 1
    before: ClassVar[type[EventModel] | None] = None  # the model of the version before; what follows is about that one
    came_from: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # new fields, each with the earlier ones it is made of
    dropped: ClassVar[frozenset[str]] = frozenset()  # earlier fields that live on in none
    accepts: ClassVar[tuple[int, ...] | None] = None  # versions recorded; None: this one and the one before
    about: ClassVar[tuple[str, ...]]  # which subjects of a sentence: study, site, actor, cohort, product, subject
    recorders: ClassVar[frozenset[str]]  # roles that may record it
    transcribers: ClassVar[frozenset[str]] = frozenset()  # roles that may record it in mode transcribed besides
    countersigners: ClassVar[frozenset[str]] = frozenset()  # who must countersign before it changes anything
    target: ClassVar[str | None] = None  # the claim that names the earlier statement, for acts
    stopping: ClassVar[bool] = False  # stopping never lacks a precondition, and needs no cut
    rules: ClassVar[tuple[str, ...]] = ()  # ids of the rules that decide it or find on it
    words: ClassVar[str] = ""  # one sentence for the audit trail; {field} stands for the field's value

    @classmethod
    def upcast(cls, body: dict[str, Any], content: dict[str, Any]) -> None:
        """Bring clear and disclosed fields of the version before to this one, in place. Pure and total: any field may
        be missing, as it was never given or is redacted (`versions.py` has the rules)."""
        raise LookupError(f"{cls.__name__} has no version before {cls.v}")

    @classmethod
    @cache
    def clear_fields(cls) -> frozenset[str]:
        """Names of the fields that stand in `body`."""
        return frozenset(name for name, field in cls.model_fields.items() if _is_clear(cls, field.metadata))

    @classmethod
    @cache
    def disclosed_fields(cls) -> frozenset[str]:
        """Names of the fields that are disclosures."""
        return frozenset(cls.model_fields) - cls.clear_fields()


def _is_clear(cls: type[EventModel], metadata: list[Any]) -> bool:
    if any(isinstance(mark, _Clear) for mark in metadata):
        return True
    if any(isinstance(mark, _Disclosed) for mark in metadata):
        return False
    return cls.kind in ("governance", "system")


class Signable(EventModel):
    """What may be signed electronically: it says by whom and when beside its `meaning` (SIGNATURE-7)."""

    printed_name: Annotated[PrintedName | None, DISCLOSED] = None
    signed_at: Annotated[SigningTime | None, DISCLOSED] = None


class Governance(Signable):
    """Who, what, where and by which rules; reversed only by a later event, never corrected."""

    kind: ClassVar[Kind] = "governance"


class SystemEvent(EventModel):
    """What the ledger itself did; recorded by the actor `ledger`."""

    kind: ClassVar[Kind] = "system"
    about: ClassVar[tuple[str, ...]] = ("study",)
    recorders: ClassVar[frozenset[str]] = frozenset({"system"})


class Fact(Signable):
    """Something that happened, recorded even when it breaks the protocol."""

    kind: ClassVar[Kind] = "fact"
    about: ClassVar[tuple[str, ...]] = ("subject",)
    needed: ClassVar[tuple[str, ...]] = ()  # without these it says nothing, unless `status` says it was not done

    occurred_at: PartialTime | None = None
    occurred_at_status: Literal["known", "unknown", "zone unknown"] | None = None
    status: Literal["done", "not done", "unknown"] | None = None
    status_reason: Text | None = None
    performed_by: Label | None = None
    visit: Label | None = None
    source: Source | None = None
    captured_at: PartialTime | None = None
    transferred_at: PartialTime | None = None
    aware_at: PartialTime | None = None
    late_reason: Text | None = None
    prompt: Prompt | None = None
    document: Document | None = None
    sequence: Index | None = None
    timing: Timing | None = None
    as_transferred: dict[Label, TransferredText] | None = Field(default=None, max_length=MAX_COLUMNS)
    comment: Text | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.status in ("not done", "unknown"):
            return self
        missing = [name for name in self.needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{', '.join(missing)}: needed, unless `status` is 'not done' or 'unknown'")
        return self


class Decision(Signable):
    """An electronic signature with `meaning`, `cut` and `exp`; refused where a precondition is missing."""

    kind: ClassVar[Kind] = "decision"
    about: ClassVar[tuple[str, ...]] = ("subject",)

    occurred_at: PartialTime | None = None
    comment: Text | None = None


class Act(Signable):
    """An act on earlier records: correction, void, query, signature, redaction."""

    kind: ClassVar[Kind] = "act"
    about: ClassVar[tuple[str, ...]] = ("subject", "study", "site", "cohort", "product", "actor")
