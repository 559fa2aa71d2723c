"""What a rule sees when it decides or finds: the study, the roster, the subject, the candidate.

Everything is as of just below the candidate's own index. Rules are pure: they read this and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from ledger.domain.record import Record, Records

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.domain.ceremony import Held
    from ledger.signing.statement import Statement

NAMING = {
    "SubjectScreened": "number",
    "SubjectRescreened": "number",
    "InfusionAuthorised": "product",
    "InfusionGiven": "product",
    "TreatmentAdministered": "product",
}
"""Events that give a subject what no other subject may have: its number, a product unit."""

NAMES = frozenset(NAMING.values())

ROSTER_EVENTS = frozenset({"SubjectEnrolled", "DecisionReversed", "EntryCorrected", *NAMING})
"""What the roster is folded from: the invariants across subjects are who sits where, numbers and units."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A subject's enrolment into a cohort; `index` is the enrolment's place in the log."""

    subject: str
    cohort: str
    site: str | None
    index: int
    jti: str


@dataclass(slots=True)
class Roster:
    """Who is enrolled where, across all subjects of a study, in order of enrolment.

    `left` holds the seats whose enrolment was reversed, each with the index of the reversal.
    `named` holds, for each subject number and product unit, the subjects that ever named it: where to look,
    not what holds, because a record may have been corrected or voided since.
    """

    seats: dict[str, Seat] = field(default_factory=dict)
    named: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    left: dict[str, tuple[Seat, int]] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        """Fold one event of ROSTER_EVENTS."""
        if record.event in NAMING:
            self._name(record, NAMING[record.event], record.get(NAMING[record.event]))
        elif record.event == "EntryCorrected" and record.claims["corrects"]["field"] in NAMES:
            self._name(record, record.claims["corrects"]["field"], record.content.get("value"))
        if record.event == "SubjectEnrolled":
            cohort = record.get("cohort")
            self.seats[record.jti] = Seat(record.sub, cohort, record.claims.get("site"), record.index, record.jti)
        elif record.event == "DecisionReversed":
            seat = self.seats.pop(record.claims["reverses"]["jti"], None)
            if seat is not None:
                self.left[seat.jti] = (seat, record.index)

    def _name(self, record: Record, what: str, value: object) -> None:
        if isinstance(value, str) and record.sub.startswith("subject/"):
            self.named.setdefault((what, value), {})[record.sub] = None

    def who_named(self, what: str, value: str) -> tuple[str, ...]:
        """Subjects that ever named this `number` or `product`, in order."""
        return tuple(self.named.get((what, value), ()))

    def of_cohort(self, cohort: str) -> list[Seat]:
        """Seats taken in a cohort, in order of enrolment."""
        return [seat for seat in self.seats.values() if seat.cohort == cohort]

    def since(self, size: int, cohort: str | None = None) -> list[str]:
        """Subjects that sit in a cohort (in any, without one) or have sat there in a state of `size` or later."""
        gone = (seat for seat, left_at in self.left.values() if left_at >= size)
        seats = sorted((*self.seats.values(), *gone), key=lambda seat: seat.index)
        return list(dict.fromkeys(seat.subject for seat in seats if cohort in (None, seat.cohort)))

    def of_subject(self, subject: str) -> Seat | None:
        """Where this subject (`subject/<uuid>`) sits; None if nowhere."""
        return next((seat for seat in self.seats.values() if seat.subject == subject), None)


@dataclass(frozen=True, slots=True)
class Entered:
    """A recorded statement wherever in the study it stands: event id, actor, key, digest of its JWT, index."""

    jti: str
    iss: str
    kid: str
    digest: str
    index: int


@dataclass(slots=True)
class Context:
    """A candidate and the state it is decided in.

    `load` gives another subject of the study by its UUID, as of the same index; `root_at` the tree's root at
    a size up to the last signed one, or None beyond it; `entered` any statement recorded below this index by its
    event id; `recorded` the committed statement at an index, as the log has it; `disclosed` the disclosures of a
    record that are still there, each digest with the name of its field. `recorded_at` is the ledger's time for
    the candidate.
    `ceremony` gives what the server keeps of a signing ceremony, by its id; None of one that was not held here.
    """

    study: Study
    roster: Roster
    subject: Subject | None
    candidate: Record
    recorded_at: str
    signed_size: int
    load: Callable[[UUID], Subject | None]
    root_at: Callable[[int], str | None]
    entered: Callable[[str], Entered | None] = lambda jti: None
    disclosed: Callable[[Record], Mapping[str, str]] = lambda record: {}
    ceremony: Callable[[str], Held | None] = lambda name: None
    recorded: Callable[[int], Statement | None] = lambda index: None

    def other_subject(self, label: str) -> Subject | None:
        """Another subject by its label, `subject/<uuid>`; the candidate's own too."""
        if self.subject is not None and label == self.subject.label:
            return self.subject
        return self.load(UUID(label.partition("/")[2]))

    @property
    def records(self) -> Records:
        """Records of the aggregate that the candidate belongs to; empty before a subject's first."""
        if self.candidate.sub.startswith("subject/"):
            return self.subject.records if self.subject is not None else Records()
        return self.study.records

    def cohort_subjects(self, cohort: str) -> list[Subject]:
        """The subjects enrolled in a cohort, in order of enrolment."""
        return self._loaded(seat.subject for seat in self.roster.of_cohort(cohort))

    def subjects_since(self, cohort: str, size: int) -> list[Subject]:
        """The subjects that sit in a cohort, or have sat there in a state of `size` or later."""
        return self._loaded(self.roster.since(size, cohort))

    def _loaded(self, labels: Iterable[str]) -> list[Subject]:
        found = (self.other_subject(label) for label in labels)
        return [subject for subject in found if subject is not None]
