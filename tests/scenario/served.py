"""Servers in processes of their own, and senders that speak to them as careful clients do.

A careful client signs a statement once and sends the same bytes until somebody answers: a lost connection, a 503
and a dead server all mean "ask again", never "sign again".
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from api.client.http import StudyClient
from ledger.home import Home
from tests.scenario.clock import Clock, WallClock
from tests.scenario.doors import OverHttp, Recorded
from tests.scenario.plans import COAST
from tests.scenario.simulator import Simulator, Told

SD_JWT = {"Content-Type": "application/sd-jwt"}
NDJSON = {"Content-Type": "application/x-ndjson"}
GIVE_UP_SECONDS = 120.0
"""A server that cannot be reached for so long does not recover by itself."""
PAUSE_SECONDS = 0.05
AGAIN = frozenset({503})
"""Status codes that ask for the same bytes again."""


def trial_over_http(url: str, home: Path, clock: Clock | None = None) -> Simulator:
    """A simulated trial of the invented study that speaks to a server of this home."""
    client = StudyClient(url, COAST.study)
    return Simulator(OverHttp(client), COAST, Home(home).key("registrar"), clock or WallClock())


@dataclass
class Town:
    """Where the servers are now: addresses change when a server is started again."""

    urls: list[str] = field(default_factory=list)

    def url(self, place: int) -> str | None:
        """The address that a sender of this number uses; None while nobody serves."""
        return self.urls[place % len(self.urls)] if self.urls else None


@dataclass
class Sender:
    """Sends statements one by one until each is answered; any number of threads may use it.

    `told` are the acknowledgements, `refusals` the problems of what was refused, `statuses` counts every answer.
    """

    town: Town
    study: str = COAST.study
    told: list[Told] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[Any] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _local: threading.local = field(default_factory=threading.local)

    def send(self, texts: Iterable[tuple[str, str]], place: int = 0) -> None:
        """Send (event, statement) pairs in order, one a request."""
        for event, text in texts:
            self._insist(place, lambda http, e=event, t=text: self._one(http, e, t))

    def send_lines(self, batches: Iterable[list[tuple[str, str]]], place: int = 0) -> None:
        """Send lists of (event, statement) pairs, one list a request, as NDJSON."""
        for batch in batches:
            left = dict.fromkeys(batch)
            self._insist(place, lambda http, left=left: self._several(http, left))

    def _insist(self, place: int, attempt: Callable[[httpx.Client], bool]) -> None:
        """Repeat until an attempt is settled; a connection is used for one settled attempt."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            assert time.monotonic() < deadline, "nobody answered for too long"
            url = self.town.url(place)
            if url is not None:
                with contextlib.suppress(httpx.TransportError):
                    if attempt(self._connection(url)):
                        return
            time.sleep(PAUSE_SECONDS)

    def _connection(self, url: str) -> httpx.Client:
        """This thread's connection to a server."""
        kept: dict[str, httpx.Client] = self._local.__dict__.setdefault("clients", {})
        if url not in kept:
            kept[url] = httpx.Client(base_url=url, timeout=60.0)
        return kept[url]

    def _one(self, http: httpx.Client, event: str, text: str) -> bool:
        answer = http.post(f"/v1/studies/{self.study}/events", content=text, headers=SD_JWT)
        return self._settled(event, text, answer.status_code, answer.json())

    def _several(self, http: httpx.Client, left: dict[tuple[str, str], None]) -> bool:
        """Send what is left of a batch, and take out what was settled."""
        sent = list(left)
        body = "".join(json.dumps(text) + "\n" for _, text in sent)
        answer = http.post(f"/v1/studies/{self.study}/events", content=body, headers=NDJSON)
        if answer.status_code != 200:
            self._settled("", "", answer.status_code, answer.json())
            return False
        for pair, line in zip(sent, answer.text.splitlines(), strict=True):
            read = json.loads(line)
            if self._settled(*pair, read.get("status", 200), read):
                del left[pair]
        return not left

    def _settled(self, event: str, text: str, status: int, read: dict[str, Any]) -> bool:
        with self._lock:
            self.statuses[status] += 1
            if status in AGAIN:
                self.problems.append(read)
                return False
            if status >= 400:
                self.refusals.append(read)
            else:
                recorded = Recorded(read["jti"], read["index"], read["receipt"], read["repeat"])
                self.told.append(Told(event, text, recorded))
            return True


def at_once(tasks: Iterable[Callable[[], None]]) -> None:
    """Run tasks in a thread each, and let the first exception out when all have ended."""
    tasks = list(tasks)
    with ThreadPoolExecutor(len(tasks)) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()
