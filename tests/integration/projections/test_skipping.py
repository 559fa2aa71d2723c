"""Passing over an event: whatever is left out of a course, every projection goes on and keeps what is left."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from ledger.domain.skipping import CHANGING
from ledger.store.database import Database
from ledger.verify.attached import Logged
from projections.definitions import DEFINITIONS, model_of
from projections.engine.definition import partition_of
from projections.engine.digest import of_rows, of_tables
from projections.engine.folding import NOTHING, Course, aggregates_below, events_of, fold_variants
from projections.engine.skips import skips_of
from projections.exports.projected import DatabaseSource, Fold
from projections.exports.recomputing import BundleSource
from projections.exports.spool import Spool
from tests.integration.projections.book import Book
from tests.integration.projections.course import write


def skip(book: Book, index: int, projection: str, event: str = "EventSkipped") -> int:
    """A data manager's decision; returns its index."""
    body = {"projection": projection, "index": index}
    book.tell(event, iss="dm", role="data-manager", site=None, body=body, reason="the release cannot read it")
    return book.size - 1


def test_whatever_is_left_out_of_a_course_every_handler_makes_rows_of_the_rest(book: Book, database: Database) -> None:
    write(book)
    book.sign()
    with database.connection() as conn:
        events = events_of(conn, book.study, 0, book.size)
        for index in range(1, book.size):
            about = events[index].originator
            own = [event for event in events if event.originator == about]
            (aggregate,) = fold_variants(own, book.own, [about], {about: (frozenset({index}),)}).values()
            assert index not in {record.index for record in aggregate.records}
            assert len(aggregate.records) == len(own) - 1
            for definition in DEFINITIONS:
                rows = list(definition.rows(aggregate, list(aggregate.records)))
                named = [one for one in rows if one[0] == "entries" and one[1][0] == index]
                assert not named, f"{definition.name} shows what it passes over"


def test_a_course_that_passes_over_an_event_ends_where_folding_at_once_ends(book: Book, database: Database) -> None:
    """By any steps: the aggregate that leaves an event out is kept beside the one that does not."""
    write(book)
    book.sign()
    index = next(row.idx for row in book.rows if row.topic.startswith("LabResultReported"))
    about = book.rows[index].originator_id
    for step in (1, 3, 100):
        with database.connection() as conn:
            course = Course(book.study, book.origin, 0, max_records=7)
            variants = {about: (NOTHING, frozenset({index}))}
            last = {}
            while course.size < book.size:
                stop = min(course.size + step, book.size)
                for one in course.advance(conn, events_of(conn, book.study, course.size, stop), stop, variants):
                    last[one.aggregate.id, one.skipped] = one.aggregate
            events = aggregates_below(conn, book.study, dict.fromkeys({key[0] for key in last}, 0), book.size)
            whole = fold_variants(events, book.own, {key[0] for key in last}, variants)
        assert last.keys() == whole.keys() and len(last) == 4
        for key, aggregate in whole.items():
            for definition in DEFINITIONS:
                digests = {
                    of_rows(definition, [(table, partition_of(state), row) for table, row in made]).root
                    for state in (aggregate, last[key])
                    for made in [list(definition.rows(state, list(state.records)))]
                }
                assert len(digests) == 1


def test_decisions_are_read_from_the_log_with_the_place_of_what_they_are_about(book: Book, database: Database) -> None:
    write(book)
    index = next(row.idx for row in book.rows if row.topic.startswith("AdverseEventReported"))
    first = skip(book, index, "safety")
    skip(book, 10_000, "safety")
    ended = skip(book, index, "safety", "SkippingEnded")
    book.sign()
    with database.connection() as conn:
        assert skips_of(conn, book.study, first).by_projection == {}
        (found,) = skips_of(conn, book.study, first + 1).by_projection["safety"]
        assert (found.index, found.event, found.decided_at) == (index, "AdverseEventReported", first)
        assert found.originator == book.rows[index].originator_id
        assert skips_of(conn, book.study, ended + 1).by_projection == {}


def test_acts_without_their_record_change_nothing(book: Book, database: Database) -> None:
    """The record is passed over and its corrections, voids and reversals are not: they have nothing to change."""
    write(book)
    book.sign()
    acts = [place for place, one in enumerate(book.statements) if one.event in CHANGING]
    assert acts
    with database.connection() as conn:
        for place in acts:
            claims = book.statements[place].claims
            named = claims[CHANGING[book.statements[place].event]]["jti"]
            target = next(n for n, one in enumerate(book.statements) if one.jti == named)
            about = book.rows[target].originator_id
            events = aggregates_below(conn, book.study, {about: 0}, book.size)
            (aggregate,) = fold_variants(events, book.own, [about], {about: (frozenset({target}),)}).values()
            assert aggregate.records.get(named) is None
            act = aggregate.records.get(book.statements[place].jti)
            assert act is not None and aggregate.records.target_of(act) is None


@pytest.mark.parametrize("cut", [0, 3], ids=["at the newest size", "as of an earlier one"])
def test_a_bundle_is_folded_without_it_by_whoever_verifies_it(
    book: Book, database: Database, follow: Callable[[], int], tmp_path: Path, cut: int
) -> None:
    """From the log in the database, from the entries of the bundle, and as a follower has it: the same bytes."""
    write(book)
    index = next(row.idx for row in book.rows if row.topic.startswith("AdverseEventReported"))
    skip(book, index, "safety")
    skip(book, index, "patient")
    skip(book, index, "patient", "SkippingEnded")
    known = book.sign()
    size = known - cut
    logged = [Logged(row.idx, row.recorded_at, row.jwt, tuple(row.disclosures)) for row in book.rows]
    models = [model_of(name) for name in ("safety", "patient", "audit_trail")]
    with database.snapshot() as conn, Spool(tmp_path) as spool:
        sources = (
            DatabaseSource(conn, book.study, book.own, size, known),
            BundleSource(lambda stop: iter(logged[:stop]), size, known),
        )
        made = []
        for source in sources:
            fold = Fold(models, spool)
            assert sum(fold.run(source)) == size
            for model in models:
                out = BytesIO()
                made.append((model.definition.name, fold.write(out, model, size), out.getvalue()))
    assert made[:3] == made[3:]
    assert f'"idx",{index}'.encode() not in made[0][2] and made[0][1].rows < made[1][1].rows
    follow()
    if not cut:
        with database.snapshot() as conn:
            for name, digest, _ in made[:3]:
                model = model_of(name)
                assert of_tables(conn, model.schema, model.definition, book.study).root == digest.root


@pytest.mark.parametrize(
    "body",
    [{}, {"projection": "patient"}, {"projection": 1, "index": 3}, {"index": True}, {"projection": "x", "index": -1}],
)
def test_a_decision_of_a_form_that_nobody_here_knows_passes_over_nothing(
    book: Book, database: Database, body: dict[str, object]
) -> None:
    book.tell("EventSkipped", iss="dm", role="data-manager", site=None, body=body, reason="later")
    book.sign()
    with database.connection() as conn:
        assert skips_of(conn, book.study, book.size).by_projection == {}
