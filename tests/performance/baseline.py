"""What the appends are measured against: `eventsourcing`'s own `Application.save`, unsigned, in process."""

from __future__ import annotations

import threading
import time
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from psycopg.conninfo import conninfo_to_dict

THREADS = 16


class Sample(Aggregate):
    """An aggregate with one event: a laboratory value."""

    @event("Reported")
    def report(self, value: str) -> None:
        self.value = value


def environment(url: str) -> dict[str, str]:
    """The library's own settings for the same PostgreSQL."""
    parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts["dbname"],
        "POSTGRES_HOST": parts["host"],
        "POSTGRES_PORT": parts["port"],
        "POSTGRES_USER": parts["user"],
        "POSTGRES_PASSWORD": parts["password"],
        "POSTGRES_POOL_SIZE": str(THREADS),
    }


def save_rate(url: str, events: int) -> float:
    """Single-event saves a second by `THREADS` threads."""
    application: Application[UUID] = Application(environment(url))
    each = events // THREADS
    samples = [Sample() for _ in range(THREADS)]
    application.save(*samples)

    def work(sample: Sample) -> None:
        for _ in range(each):
            sample.report("12.5")
            application.save(sample)

    threads = [threading.Thread(target=work, args=(sample,)) for sample in samples]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    application.close()
    return each * THREADS / seconds
