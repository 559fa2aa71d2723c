"""The trail marks what was recorded late beyond doubt, and nothing else: a week is the limit."""

from __future__ import annotations

from uuid import UUID

import pytest

from ledger.domain.aggregate import Subject
from projections.audit_trail.definition import DEFINITION, ENTRIES
from projections.engine.stored import empty
from tests.unit.projections.test_handlers import PEOPLE, _statement

LATE = ENTRIES.names.index("late")


def late(occurred_at: str, recorded_at: str) -> bool | None:
    subject = empty(Subject, UUID(PEOPLE[0]))
    content = {"document_id": "ICF", "version": "1", "language": "en", "occurred_at": occurred_at}
    told = _statement(0, "ConsentGiven", f"subject/{PEOPLE[0]}", content=content)
    records = subject.fold(told, 0, recorded_at)
    ((_, values),) = DEFINITION.rows(subject, records)
    found: bool | None = values[LATE]
    return found


@pytest.mark.parametrize(
    "occurred_at",
    [
        "2030-01-01T12:00:00+00:00",
        "2030-01-01T13:00:00+01:00",
        "2030-01-01T12:00+00:00",  # any second of that minute
        "2030-01-01T12:00:00Z",
        "2030-01-01T12:00:00",  # somewhere on earth
        "2030-01-01",
        "2030-01",
        "2031-01-01T12:00:00+00:00",  # after it was recorded
    ],
)
def test_what_may_have_been_within_a_week_is_not_late(occurred_at: str) -> None:
    assert late(occurred_at, "2030-01-08T12:00:00.000000Z") is None


@pytest.mark.parametrize(
    "occurred_at",
    [
        "2030-01-01T11:59:59+00:00",
        "2030-01-01T12:59:59.999999+01:00",
        "2030-01-01T11:59+00:00",
        "2030-01-01T11:59:59Z",
        "2029-12-31",
        "2029",
    ],
)
def test_what_was_recorded_after_a_week_is_late(occurred_at: str) -> None:
    assert late(occurred_at, "2030-01-08T12:00:00.000000Z") is True
