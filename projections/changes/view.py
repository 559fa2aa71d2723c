"""What changed between two cuts: "what was known when this was decided, and what has changed since".

For the study and for each subject of whom anything was recorded in between: what is new, corrected, voided, reversed,
redacted; what changed in what people look at (status, cohort, what is due); and each time the entries responsible.
Only these aggregates are folded, each once. A subject of whom nothing was recorded is not in it, although time went on.
With `projection`, the rows of that projection that differ as well, compared as two versions of it are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.domain import dose_level
from ledger.domain.aggregate import Study, Subject
from ledger.domain.context import Roster
from ledger.domain.participation import number
from ledger.domain.study import protocol_for
from ledger.store.database import Conn, Database
from projections.changes.course import Course, course_of, line_changes, rows_of, told
from projections.changes.cuts import NamedCut, named_cut
from projections.definitions import NAMES, model_of
from projections.engine.definition import STUDY_PARTITION, Definition
from projections.engine.difference import differences
from projections.engine.errors import ReadingMalformed, StudyNotKnown, SubjectNotFound, one_of
from projections.engine.expectation import lineage
from projections.engine.folding import FoldFailed, aggregates_below, new_aggregate, subjects_of
from projections.engine.lacking import cannot_fold
from projections.engine.skips import skips_of
from projections.engine.sql import SQL
from projections.engine.studies import StudyCache, cache_of
from projections.entries import masked
from projections.naming import the_only
from projections.schedule.plan import due, occasions

MAX_SUBJECTS = 1_000
"""Subjects of one page."""

PATIENT = "patient"
_NUMBERING = frozenset({"SubjectScreened", "SubjectRescreened"})


@dataclass(frozen=True)
class Wanted:
    """What is compared: two cuts as `cuts` reads them (`until` None: the newest); one subject, by number or UUID, or
    all, a page of them after that of a UUID; a projection whose rows are compared too."""

    since: str
    until: str | None = None
    subject: str | None = None
    projection: str | None = None
    after: str | None = None
    limit: int = 100


@dataclass(frozen=True)
class Sides:
    """Both states of the study: aggregate, who is enrolled, and the moment of the last entry."""

    cuts: tuple[NamedCut, NamedCut]
    studies: tuple[Study, Study]
    rosters: tuple[Roster, Roster]
    moments: tuple[datetime | None, datetime | None]


def changes(database: Database, study: str, wanted: Wanted) -> dict[str, Any]:
    """The changes, in one snapshot. Raises StudyNotKnown, ReadingMalformed, CutBeyond, RecordNotFound,
    SubjectNotFound, SubjectAmbiguous, ProjectionStopped."""
    one_of("projection", wanted.projection, NAMES)
    with database.snapshot() as conn:
        try:
            return _Page(conn, cache_of(database), study, wanted).made()
        except FoldFailed as failed:
            raise cannot_fold(failed) from failed


def whole(database: Database, study: str, wanted: Wanted) -> dict[str, Any]:
    """Every page as one answer, all of the same two cuts. Raises as `changes` does."""
    found = changes(database, study, replace(wanted, limit=MAX_SUBJECTS))
    since, until = (str(found[name]["size"]) for name in ("from", "to"))
    while found["next"] is not None:
        page = replace(wanted, since=since, until=until, after=found["next"], limit=MAX_SUBJECTS)
        more = changes(database, study, page)
        found["subjects"].extend(more["subjects"])
        found["cut"]["stopped"].extend(more["cut"]["stopped"])
        found["next"] = more["next"]
    return found


class _Page:
    """One answer in the making."""

    def __init__(self, conn: Conn, cache: StudyCache, study: str, wanted: Wanted) -> None:
        self._conn, self._study, self._wanted = conn, study, wanted
        signed = int(_one(conn.execute(SQL["signed_size"], {"study": study}).fetchone()))
        newest = cache.study_at(conn, study, signed)
        named = (("from", wanted.since), ("to", wanted.until))
        cuts = [named_cut(conn, study, newest, given, name, signed) for name, given in named]
        if cuts[0].size > cuts[1].size:
            sizes = f"from (size {cuts[0].size}) comes after to (size {cuts[1].size})"
            raise ReadingMalformed(f"{sizes}: the earlier cut comes first, exchange them")
        studies = [cache.study_at(conn, study, cut.size) for cut in cuts]
        rosters = [cache.roster_at(conn, study, cut.size) for cut in cuts]
        moments = [None if cut.at is None else datetime.fromisoformat(cut.at) for cut in cuts]
        self._sides = Sides(_two(cuts), _two(studies), _two(rosters), _two(moments))
        self._skips = skips_of(conn, study, signed)
        self._stopped: list[dict[str, Any]] = []
        self._definition = None if wanted.projection is None else model_of(wanted.projection).definition

    def made(self) -> dict[str, Any]:
        """The whole answer."""
        start, stop = (cut.size for cut in self._sides.cuts)
        values = {"study": self._study, "start": start, "stop": stop}
        counted: Counter[str] = Counter()
        for topic, count in self._conn.execute(SQL["topics_between"], values):
            counted[topic.partition("/")[0]] += count
        about, following = self._touched(values)
        own = self._sides.studies[1].id
        return {
            "from": self._sides.cuts[0].as_dict(),
            "to": self._sides.cuts[1].as_dict(),
            "entries": stop - start,
            "events": dict(sorted(counted.items())),
            "study": self._of_study(own) if self._wanted.subject is None and self._wanted.after is None else None,
            "subjects": list(self._subjects(about)),
            "next": following,
            "cut": self._cut(),
        }

    def _cut(self) -> dict[str, Any]:
        after, model = self._sides.cuts[1], model_of(self._wanted.projection or PATIENT)
        return {
            "study": self._study,
            "size": after.size,
            "root": after.root,
            "projection": model.definition.name,
            "version": model.definition.version,
            "fingerprint": model.fingerprint,
            "stopped": self._stopped,
        }

    def _subjects(self, about: Sequence[UUID]) -> Iterator[dict[str, Any]]:
        """What changed of each; who cannot be folded is named in the cut, and refused where asked for alone."""
        for one in about:
            try:
                yield self._of_subject(one)
            except FoldFailed as failed:
                if self._wanted.subject is not None:
                    raise
                said = {"index": failed.index, "event": failed.event, "because": failed.because}
                self._stopped.append({"about": f"subject/{one}", **said})

    def _touched(self, values: dict[str, Any]) -> tuple[list[UUID], str | None]:
        """The subjects of this page: of whom anything was recorded between the cuts."""
        own, wanted = self._sides.studies[1].id, self._wanted
        if wanted.subject is not None:
            about = self._named(wanted.subject)
            found = self._conn.execute(
                SQL["subjects_between"], {**values, "after": None, "only": about, "own": own, "limit": 1}
            )
            return [one for (one,) in found], None
        limit = max(1, min(wanted.limit, MAX_SUBJECTS))
        after = None if wanted.after is None else _uuid(wanted.after, "after")
        asked = {**values, "after": after, "only": None, "own": own, "limit": limit + 1}
        subjects = [one for (one,) in self._conn.execute(SQL["subjects_between"], asked)]
        return subjects[:limit], str(subjects[limit - 1]) if len(subjects) > limit else None

    def _named(self, subject: str) -> UUID:
        """The subject of a UUID or of a number that it has at the later cut."""
        own, size = self._sides.studies[1].id, self._sides.cuts[1].size
        try:
            about = UUID(subject)
        except ValueError:
            numbered = subjects_of(self._conn, self._study, own, _NUMBERING, size)
            return UUID(the_only(subject, (str(one.id) for one in numbered if number(one) == subject), size))
        if about == own or not aggregates_below(self._conn, self._study, {about: 0}, min(size, self._first(about))):
            raise SubjectNotFound(f"there is no subject {subject!r} at size {size}")
        return about

    def _first(self, about: UUID) -> int:
        """Just behind the first entry about an aggregate; 0 where there is none."""
        row = self._conn.execute(SQL["first_index"], {"study": self._study, "originator": about}).fetchone()
        return 0 if row is None or row[0] is None else int(row[0]) + 1

    # -- an aggregate --------------------------------------------------------------------------------------

    def _course(self, about: UUID) -> Course:
        start, stop = (cut.size for cut in self._sides.cuts)
        aggregate = new_aggregate(about, self._sides.studies[1].id)
        events = aggregates_below(self._conn, self._study, {about: 0}, stop)
        wanted = () if self._definition is None else (self._definition,)
        name = PATIENT if self._definition is None else self._definition.name
        skipped = self._skips.of(name, about)
        return course_of(aggregate, events, start, wanted, skipped, lambda one: self._due(one, 0))

    def _due(self, aggregate: Study | Subject, side: int) -> dict[str, dict[str, Any]]:
        """A subject's occasions by their key, as of one of the cuts."""
        moment = self._sides.moments[side]
        if not isinstance(aggregate, Subject) or not len(aggregate.records) or moment is None:
            return {}
        seats = sorted(self._sides.rosters[side].seats.values(), key=lambda seat: seat.index)
        order = next((place for place, seat in enumerate(seats, 1) if seat.subject == aggregate.label), None)
        return {one["key"]: one for one in due(occasions(self._sides.studies[side], aggregate, order, moment))}

    def _of_study(self, own: UUID) -> dict[str, Any]:
        course = self._course(own)
        return {**told(course, frozenset()), "views": self._cohorts(course), **self._rows(course, STUDY_PARTITION)}

    def _of_subject(self, about: UUID) -> dict[str, Any]:
        course = self._course(about)
        subject = course.aggregate
        assert isinstance(subject, Subject)
        return {
            "subject": str(about),
            "number": number(subject),
            "new": not course.line_before["status"],
            **told(course, masked(self._sides.studies[1], subject)),
            "views": line_changes(course),
            "due": self._due_changes(course),
            **self._rows(course, str(about)),
        }

    def _due_changes(self, course: Course) -> list[dict[str, Any]]:
        """What became due, was missed or is due no longer; the entries responsible are those about the time point,
        else it was time that went on, or the subject's course: every entry of the span about it."""
        before, after = course.at_start or {}, self._due(course.aggregate, 1)
        found = []
        for key in sorted(before.keys() | after.keys()):
            was, now = before.get(key), after.get(key)
            if was is not None and now is not None and was["standing"] == now["standing"]:
                continue
            shown = now or was
            assert shown is not None
            found.append(
                {
                    "key": key,
                    "label": shown["label"],
                    "before": None if was is None else was["standing"],
                    "after": None if now is None else now["standing"],
                    "indexes": course.indexes,
                }
            )
        return found

    def _cohorts(self, course: Course) -> list[dict[str, Any]]:
        """What changed of the cohorts: how each stands, and how many are enrolled."""
        protocol = protocol_for(self._sides.studies[1])
        found: list[dict[str, Any]] = []
        for cohort in () if protocol is None else protocol.definition.cohorts:
            standing = [dose_level.state(study, cohort).standing for study in self._sides.studies]
            own = [one.index for one in course.span if one.sub == f"cohort/{cohort}"]
            _note(found, {"what": "status", "cohort": cohort}, standing, own)
            seats = [{seat.jti: seat for seat in roster.of_cohort(cohort)} for roster in self._sides.rosters]
            came = [seat.index for jti, seat in seats[1].items() if jti not in seats[0]]
            left = [index for jti, (_, index) in self._sides.rosters[1].left.items() if jti in seats[0]]
            _note(found, {"what": "enrolled", "cohort": cohort}, [len(one) for one in seats], sorted(came + left))
        return found

    def _rows(self, course: Course, partition: str) -> dict[str, Any]:
        """The rows of the projection that is asked for, where they differ."""
        definition: Definition | None = self._definition
        if definition is None:
            return {}
        before, after = course.rows_before[definition.name], rows_of(definition, course.aggregate)
        way, rows = lineage(definition, definition), max(len(before), len(after))
        return {
            "rows": [
                {
                    "table": one.table,
                    "key": one.key,
                    "kind": one.kind,
                    "column": one.path or one.column,
                    "before": one.before,
                    "after": one.after,
                }
                for one in differences(way, partition, lambda: before, lambda: after, rows)
            ]
        }


def _note(found: list[dict[str, Any]], about: dict[str, Any], sides: Sequence[Any], indexes: list[int]) -> None:
    if sides[0] != sides[1]:
        found.append({**about, "before": sides[0], "after": sides[1], "indexes": indexes})


def _two(given: Sequence[Any]) -> tuple[Any, Any]:
    return given[0], given[1]


def _one(row: tuple[Any, ...] | None) -> Any:
    if row is None:
        raise StudyNotKnown("there is no such study")
    return row[0]


def _uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ReadingMalformed(f"{name}={text[:60]!r} is not one that this list handed out") from None
