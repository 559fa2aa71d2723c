"""What a replay is measured against: `eventsourcing`'s own `ProjectionRunner`, counting and doing nothing else.

The library's own tables on the same server hold events of the same size: each carries the bytes of a statement and
its disclosures. The view is made as the library's manual makes one: position and count in one transaction an event.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner

from tests.performance.baseline import environment
from tests.performance.multiplied import SQL

SAVED_AT_ONCE = 40
"""Events of one save: with a megabyte and more in one, the library's recorder hangs."""

PATIENCE_S = 600.0
"""A runner that takes longer for a sample does not go on at all."""


class Told(Aggregate):
    """An aggregate whose events carry a text."""

    @event("Said")
    def say(self, text: str) -> None:
        pass


class Tellers(Application[UUID]):
    """The library's application: its table has the events."""

    name = "tellers"


class Count(PostgresTrackingRecorder):
    """How many events there were: one row."""

    def _create_table(self, curs: Any) -> None:
        super()._create_table(curs)
        curs.execute(SQL["make_count"])

    def increment(self, tracking: Tracking) -> None:
        """One more, and how far that is, in one transaction."""
        with self.datastore.transaction(commit=True) as curs:
            self._insert_tracking(curs, tracking)
            curs.execute(SQL["count_one"], prepare=True)


class Counter(Projection[Count]):
    """Counts events."""

    name = "counter"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Whatever it is, it counts."""
        self.view.increment(tracking)


class Library:
    """The library with its own tables in one database."""

    def __init__(self, url: str) -> None:
        self._environment = environment(url)
        self._application = Tellers(self._environment)

    def project(self, texts: Sequence[str]) -> float:
        """Save an event for each text, and let the runner take them in; returns the seconds of the latter."""
        last = self._save(texts)
        start = time.perf_counter()
        with ProjectionRunner(
            application_class=Tellers, projection_class=Counter, view_class=Count, env=self._environment
        ) as runner:
            runner.wait(last, timeout=PATIENCE_S)
            return time.perf_counter() - start

    def close(self) -> None:
        """Let go of the connections."""
        self._application.close()

    def _save(self, texts: Sequence[str]) -> int:
        """The number of the last event."""
        last = 0
        for start in range(0, len(texts), SAVED_AT_ONCE):
            one = Told()
            for text in texts[start + 1 : start + SAVED_AT_ONCE]:
                one.say(text)
            last = self._application.save(one)[-1].notification.id
        return last
