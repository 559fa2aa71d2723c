"""`eventsourcing` is used for real: its repository, its log, its recorder, over the ledger's own store."""

from __future__ import annotations

from typing import Any

import pytest
from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import IntegrityError, StoredEvent

from ledger.domain.aggregate import Subject as SubjectAggregate
from ledger.signing.statement import parse
from ledger.store.recorder import LedgerStoredEvent
from tests.scenario.checker import check_everything
from tests.scenario.doors import uuid_of
from tests.scenario.fixtures import ledger_of, record_of, subject_of
from tests.scenario.simulator import Simulator


def test_the_repository_gives_every_aggregate_as_of_every_version(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = trial.admit(trial.subject("001"), "LOW")
    consent = trial.consent(ada, version="1")
    trial.correct(consent, "language", "nl")
    trial.treat(ada, 1)
    check_everything(ledger_of(trial), trial.acknowledged, thorough=True)
    repository = ledger_of(trial).application(trial.plan.study).repository
    for version in range(1, subject_of(trial, ada).version + 1):
        assert len(repository.get(uuid_of(ada.label), version=version).records) == version


def test_somebody_who_was_never_recorded_is_not_found(trial: Simulator) -> None:
    repository = ledger_of(trial).application(trial.plan.study).repository
    with pytest.raises(AggregateNotFoundError):
        repository.get(uuid_of(trial.subject("1").label))


def test_the_notification_log_is_the_ledger_in_its_order(trial: Simulator) -> None:
    recorder = ledger_of(trial).application(trial.plan.study).recorder
    size = len(trial.acknowledged)
    assert recorder.max_notification_id() == size
    notifications = recorder.select_notifications(start=1, limit=10_000)
    assert [n.id for n in notifications] == list(range(1, size + 1))
    assert [n.state.decode() for n in notifications] == [told.text.partition("~")[0] for told in trial.acknowledged]
    some = recorder.select_notifications(start=5, limit=3)
    assert [n.id for n in some] == [5, 6, 7]
    later = recorder.select_notifications(start=5, limit=3, inclusive_of_start=False)
    assert [n.id for n in later] == [6, 7, 8]
    only = recorder.select_notifications(start=1, limit=100, topics=["SiteActivated/1"])
    assert {n.topic for n in only} == {"SiteActivated/1"}


def test_saving_an_aggregate_goes_through_the_writer_which_decides(trial: Simulator) -> None:
    """The library's own way in is the ledger's: one event is one statement, decided under the lock."""
    ada = trial.subject("1")
    text = trial.sign(trial.staff().coordinator, "SubjectScreened", ada, number="1")
    application = ledger_of(trial).application(trial.plan.study)
    size = trial.door.cut().size
    made = SubjectAggregate.begin(uuid_of(ada.label), parse(text), size, "2026-03-02T09:00:00.000000Z")
    assert len(made.pending_events) == 1
    application.save(made)
    told = trial.send(text)
    assert (told.index, told.answer.repeat) == (size, True)
    assert record_of(trial, told).content["number"] == "1"


def test_saving_what_the_ledger_refuses_is_an_integrity_error(trial: Simulator) -> None:
    ada = trial.subject("1")
    text = trial.sign(trial.cast.monitor, "SubjectScreened", ada, number="1")
    application = ledger_of(trial).application(trial.plan.study)
    made = SubjectAggregate.begin(uuid_of(ada.label), parse(text), 0, "2026-03-02T09:00:00.000000Z")
    with pytest.raises(IntegrityError, match="ROLE-1"):
        application.save(made)


def test_only_signed_statements_are_recorded(trial: Simulator) -> None:
    recorder = ledger_of(trial).application(trial.plan.study).recorder
    unsigned = StoredEvent(uuid_of(trial.subject("1").label), 1, "SubjectScreened/1", b"{}")
    with pytest.raises(IntegrityError):
        recorder.insert_events([unsigned])


@pytest.mark.parametrize("topic", ["SubjectScreened/2", "SubjectBlessed/1", "os:system/1"])
def test_a_stored_event_that_this_release_does_not_know_fails_loudly(trial: Simulator, topic: str) -> None:
    told = trial.screen(trial.subject("1"))
    application = ledger_of(trial).application(trial.plan.study)
    (stored,) = application.recorder.select_events(uuid_of(parse(told.text).sub))
    assert isinstance(stored, LedgerStoredEvent)
    changed: dict[str, Any] = {**stored.__dict__, "topic": topic}
    with pytest.raises(Exception, match=r"recorded by a later release"):
        application.mapper.to_domain_event(LedgerStoredEvent(**changed))
