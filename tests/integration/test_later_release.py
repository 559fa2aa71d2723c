"""Two releases and one ledger: the later one records an event in a new version, the earlier one meets it.

The later release is this one, with a second version of VisitRecorded in its catalogue while `a_release_with` lasts.
Whatever the earlier one cannot read it says so, with event, version and index; it passes over nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from api.client.http import Refused
from api.v1.reading import catalogue_entry
from ledger.application import Ledger
from ledger.domain.model import Label, Text
from ledger.domain.roles import SITE_STAFF
from ledger.domain.subject import VisitRecorded as Visit
from ledger.domain.versions import EventUnreadable, UpcastFailed
from ledger.store import statements
from projections.engine.folding import (
    FoldFailed,
    StoredEvent,
    events_of_topics,
    fold_one,
    new_aggregate,
    subjects_of,
    topics_of,
)
from projections.exports.evidence import export_evidence
from projections.exports.gathering import Wanted
from projections.exports.recording import ExportNotRecorded
from tests.scenario.doors import uuid_of
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator, Subject
from tests.unit.domain.invented_events import a_release_with


class VisitRecordedV1(Visit):
    """A visit took place, or did not."""


class VisitRecorded(Visit):
    """A visit took place, or did not."""

    v = 2
    before = VisitRecordedV1
    came_from = {"means": ("comment",)}
    recorders = SITE_STAFF
    words = "recorded the visit {visit}"

    means: Label | None = None
    comment: Text | None = None

    @classmethod
    def upcast(cls, body: dict[str, Any], content: dict[str, Any]) -> None:
        if "comment" in content:
            content["means"] = content["comment"][:20]


class Faulty(VisitRecorded):
    """A visit took place, or did not."""

    v = 2
    before = VisitRecordedV1
    came_from = {"means": ("comment",)}

    @classmethod
    def upcast(cls, body: dict[str, Any], content: dict[str, Any]) -> None:
        content["means"] = content["comment"][:20]


Faulty.__name__ = "VisitRecorded"


@pytest.fixture
def met(doomed_trial: Simulator) -> Iterator[tuple[Simulator, Subject, int]]:
    """A trial in which a later release has recorded one visit, and its index; this release goes on."""
    t = doomed_trial
    ada = t.subject("1")
    t.screen(ada)
    t.consent(ada)
    t.fact("VisitRecorded", ada, visit="day 1", comment="by telephone")
    with a_release_with(VisitRecorded):
        index = t.fact("VisitRecorded", ada, visit="day 8", means="by video").index
    ledger_of(t).writer(t.plan.study).forget()
    yield t, ada, index


Met = tuple[Simulator, Subject, int]


def said(index: int) -> str:
    where = f"VisitRecorded version 2 at index {index}"
    return f"{where} was recorded by a later release; this release knows it up to version 1"


def test_the_later_release_records_the_new_version_and_the_one_before_and_no_other(doomed_trial: Simulator) -> None:
    t = doomed_trial
    ada = t.subject("1")
    t.screen(ada)
    t.consent(ada)
    first = t.fact("VisitRecorded", ada, visit="day 1", comment="by telephone")
    with a_release_with(VisitRecorded):
        second = t.fact("VisitRecorded", ada, visit="day 8", means="by video")
        third = t.fact("VisitRecorded", ada, visit="day 9", comment="in person", claims={"v": 1})
        with pytest.raises(Refused) as refused:
            t.fact("VisitRecorded", ada, visit="day 10", claims={"v": 3})
        assert refused.value.problem["rule"] == "CATALOGUE-2"
        subject = ledger_of(t).application(t.plan.study).repository.get(uuid_of(ada.label))
        visits = subject.records.by_event["VisitRecorded"]
        assert [visit.get("means") for visit in visits] == [
            "by telephone",
            "by video",
            "in person",
        ]
        with ledger_of(t).database.connection() as conn:
            topics = statements.topics_of(conn, t.plan.study, ["VisitRecorded"])
        assert topics == ["VisitRecorded/1", "VisitRecorded/2"]
        t.correct(first, "comment", "in person after all")
        t.correct(second, "means", "in person")
        with pytest.raises(Refused):
            t.correct(second, "contact_by", "telephone")
        assert third.index < t.door.cut().size


def test_a_version_that_is_not_recorded_any_more_is_refused_and_its_repetition_is_a_repeat(
    doomed_trial: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = doomed_trial
    ada = t.subject("1")
    t.screen(ada)
    t.consent(ada)
    first = t.fact("VisitRecorded", ada, visit="day 1")
    monkeypatch.setattr(VisitRecorded, "accepts", (2,), raising=False)
    with a_release_with(VisitRecorded):
        with pytest.raises(Refused) as refused:
            t.fact("VisitRecorded", ada, visit="day 8", claims={"v": 1})
        assert refused.value.problem["rule"] == "CATALOGUE-7"
        assert "version 2, not 1" in refused.value.problem["because"]
        assert t.send(first.text).index == first.index


def test_the_writer_of_the_earlier_release_records_nothing_more_in_that_study(
    met: Met,
) -> None:
    t, _, index = met
    ben = t.subject("2")
    for attempt in (lambda: t.screen(ben), lambda: t.record(t.staff().coordinator, "SubjectScreened", ben, number="2")):
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.problem["status"] == 503
        assert refused.value.problem["rule"] == "CATALOGUE-8"
        assert refused.value.problem["because"] == said(index)
        assert "later one" in refused.value.problem["remedy"]
    with a_release_with(VisitRecorded):
        assert t.screen(ben).index == index + 1


def test_the_earlier_release_reads_no_half_of_the_subject(met: Met) -> None:
    t, ada, index = met
    application = ledger_of(t).application(t.plan.study)
    with pytest.raises(EventUnreadable, match=said(index)):
        application.repository.get(uuid_of(ada.label))
    assert application.repository.get(uuid_of(ada.label), version=1), "as of before, nothing is in the way"


def stored(ledger: Ledger, study: str, id: UUID) -> list[StoredEvent]:
    with ledger.database.connection() as conn:
        rows = statements.select_aggregate(conn, study, id)
    return [
        StoredEvent(r.idx, r.originator_id, r.originator_version, r.jwt.encode(), r.disclosures, r.recorded_at)
        for r in rows
    ]


def test_a_reader_that_asks_for_some_events_alone_meets_it_too(met: Met) -> None:
    """A list of topics made of what this release knows would pass over it, and look like an answer."""
    t, _, index = met
    ledger, study = ledger_of(t), t.plan.study
    own, size = ledger.study_aggregate_id(study), t.door.cut().size
    with ledger.database.connection() as conn:
        for events in (frozenset({"VisitRecorded"}), None):
            with pytest.raises(FoldFailed, match=said(index)):
                list(subjects_of(conn, study, own, events, size))
            assert list(subjects_of(conn, study, own, events, index)), "below it nothing is in the way"
        assert list(subjects_of(conn, study, own, frozenset({"SubjectScreened"}), size)), "it does not bear on these"
        topics = topics_of(conn, study, {"VisitRecorded"})
        assert [event.idx for event in events_of_topics(conn, study, topics, size)][-1] == index


def test_the_feed_serves_the_bytes_of_whatever_version_there_is(met: Met) -> None:
    t, _, index = met
    rows, _ = ledger_of(t).entries(t.plan.study, 0, 100, ["VisitRecorded"])
    assert [(row.idx, row.topic) for row in rows][-1] == (index, "VisitRecorded/2")


def test_evidence_is_not_exported_by_the_earlier_release(met: Met, tmp_path: Any) -> None:
    t, _, index = met
    with pytest.raises(ExportNotRecorded, match=said(index)):
        export_evidence(ledger_of(t), Wanted(t.plan.study), tmp_path / "evidence.zip")
    assert not (tmp_path / "evidence.zip").exists()


def test_an_upcaster_that_fails_is_told_by_writer_and_reader(doomed_trial: Simulator) -> None:
    t = doomed_trial
    ada = t.subject("1")
    t.screen(ada)
    t.consent(ada)
    t.fact("VisitRecorded", ada, visit="day 0", comment="in person")
    index = t.fact("VisitRecorded", ada, visit="day 1").index
    ledger, study = ledger_of(t), t.plan.study
    ledger.writer(study).forget()
    because = f"VisitRecorded version 1 at index {index} to version 2: KeyError: 'comment'"
    with a_release_with(Faulty):
        with pytest.raises(Refused) as refused:
            t.fact("VisitRecorded", ada, visit="day 8")
        assert (refused.value.problem["rule"], refused.value.problem["because"]) == ("CATALOGUE-9", because)
        with pytest.raises(UpcastFailed, match=because):
            ledger.application(study).repository.get(uuid_of(ada.label))
        with pytest.raises(FoldFailed, match=f"index {index} .VisitRecorded.: UpcastFailed: {because}"):
            events = stored(ledger, study, uuid_of(ada.label))
            subject = new_aggregate(uuid_of(ada.label), ledger.study_aggregate_id(study))
            for event in events:
                fold_one(subject, event)
    assert t.fact("VisitRecorded", ada, visit="day 8").index == index + 1, "the release before goes on"


def test_the_catalogue_says_which_versions_there_are_and_which_are_recorded() -> None:
    catalogue_entry.cache_clear()
    try:
        with a_release_with(VisitRecorded):
            told = catalogue_entry("VisitRecorded")
        assert (told["version"], told["accepted"]) == (2, [1, 2])
        assert [(one["version"], one["accepted"]) for one in told["versions"]] == [(1, True), (2, True)]
        assert [("means" in one["schema"]["properties"]) for one in told["versions"]] == [False, True]
        assert told["versions"][1]["came_from"] == {"means": ["comment"]}
    finally:
        catalogue_entry.cache_clear()
