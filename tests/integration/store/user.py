"""A process that uses the embedded server of a home: python -m tests.integration.store.user HOME [write]

It prints one JSON line when the server runs ({"pid", "app"}), then waits: for "stop" on its input it leaves
in order, at the end of its input it just ends. With `write` it appends events until it is killed or the
server does not answer, and prints each size that was acknowledged.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import psycopg

from ledger.store.embedded import EmbeddedPostgres
from ledger.store.statements import begin_append, finish_append
from tests.integration.store.events import STUDY, event, head_after


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
    server = EmbeddedPostgres(Path(sys.argv[1]))
    urls = server.start()
    print(json.dumps({"pid": server.pid, "app": urls.app}), flush=True)
    if "write" in sys.argv[2:]:
        write(urls.app)
    if sys.stdin.readline().strip() == "stop":
        server.stop()
        print(json.dumps({"pid": server.pid}), flush=True)


def write(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            size = begin_append(connection, STUDY, []).head.size
            rows = [event(size), event(size + 1)]
            finish_append(connection, STUDY, rows, head_after(rows))
            print(rows[-1].idx + 1, flush=True)


if __name__ == "__main__":
    main()
