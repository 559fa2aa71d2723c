"""A rebuild as a process, slow enough to be killed in the middle: `python -m tests.crash.replaying URL WORKERS`.

Each part is a few events and takes a moment, here and in the worker processes, which load this file too. Says on
standard output, a JSON object a line, how far it is, and at the end what was made.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any

from ledger.store.database import PROJECTOR, Database
from projections.engine import operations, tables
from projections.engine.replay import Progress

PART_EVENTS = 2
SLOWLY_S = 0.05

_copied = tables.copy


def _slowly(*given: Any) -> None:
    time.sleep(SLOWLY_S)
    _copied(*given)


tables.copy = _slowly  # type: ignore[assignment]


def say(value: dict[str, Any]) -> None:
    """One line."""
    print(json.dumps(value), flush=True)


def main(url: str, workers: str) -> None:
    """Rebuild the patients' projection of the study of `book`."""

    def report(one: Progress) -> None:
        say(asdict(one))

    with Database(url, role=PROJECTOR) as database:
        made = operations.rebuild(
            database, "TRIAL-1", ["patient"], int(workers), report, part_events=PART_EVENTS, by="dm"
        )
    say({"made": made})


if __name__ == "__main__":
    main(*sys.argv[1:])
