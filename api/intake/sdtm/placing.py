"""From a row to its sealed statement, or to the reason why it cannot be placed; in a process beside, if it helps.

PLACING-1  the event id derives from study, digest of the file, domain and row: a second run makes the same ids
PLACING-2  a row is placed by what it says: its domain, its study, its subject in DM
PLACING-3  what is placed has the form that the catalogue gives its event; a row that cannot have it is kept apart
PLACING-4  nothing but this depends on the row's neighbours, so a run may begin and end anywhere
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from api.intake.opening import IMPORTS
from api.intake.sdtm import mapping, reading
from api.intake.sdtm.mapping import DOMAINS
from api.intake.sdtm.survey import Person, Source
from api.intake.sealing import Sealer, event_id
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.model import MAX_CODE
from ledger.signing.keys import SigningKey

SYSTEM = "sdtm-import"
INTERFACE = "sdtm-import/1"
"""Version of the rules of mapping.py: it changes when the same row would become another event."""
AHEAD = 3
"""Chunks sealed ahead of the ledger: it never waits, and memory holds a few megabytes."""
WORTH_A_PROCESS = 5_000
"""Rows from which a second process pays for its start."""


class Chunk(NamedTuple):
    """Rows of a source to seal: the number of the source, the first row (from 0), and lines within (from 1)."""

    source: int
    first: int
    lines: tuple[int, ...]


class Sealed(NamedTuple):
    """A row's statement, or the reason why it has none; cells are given back only with a reason."""

    line: int
    jti: str
    digest: str
    text: str | None
    reason: str | None = None
    cells: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What sealing needs to know; can be sent to another process. `key` is the system's private key in PEM form."""

    study: str
    origin: str
    key: bytes
    sources: tuple[Source, ...]
    people: dict[str, Person]
    misplaced: dict[tuple[str, int], str]
    study_id: str | None

    def jti(self, source: Source, line: int) -> str:
        """The event id of a row; `member` tells data sets of one file apart."""
        data = source.data
        part = f".{data.member}" if data.member else ""
        return event_id(IMPORTS, f"{self.study}/{data.digest}/{source.domain}{part}/{line}")


class Placer:
    """Places and seals rows."""

    def __init__(self, work: Work, now: Callable[[], float] = time.time) -> None:
        self._work = work
        self._now = now
        shared = {"iss": SYSTEM, "role": "system", "aud": work.origin, "mode": "transcribed"}
        self._sealer = Sealer(SigningKey.from_pem(work.key), shared)

    def seal(self, chunk: Chunk) -> list[Sealed]:
        """Seal the chunk's lines, in order."""
        source = self._work.sources[chunk.source]
        wanted = frozenset(chunk.lines)
        raws = source.data.read(chunk.first, max(chunk.lines) - chunk.first)
        rows = reading.rows(source.data, chunk.first, raws)
        return [self._sealed(source, row) for row in rows if row.line in wanted]

    def _sealed(self, source: Source, row: reading.Row) -> Sealed:
        jti = self._work.jti(source, row.line)
        placed = self.place(source, row)
        if isinstance(placed, str):
            return Sealed(row.line, jti, row.digest, None, placed, row.cells)
        person, content = placed
        domain = DOMAINS[source.domain]
        claims = {
            "sub": person.sub,
            "jti": jti,
            "iat": int(self._now()),
            "event": domain.event,
            "v": CATALOGUE.signed_as(domain.event).v,
            "site": person.site,
        }
        text = self._sealer.seal(claims, content)
        if text is None:
            reason = "the row is longer than one statement can be"
            return Sealed(row.line, jti, row.digest, None, reason, row.cells)
        return Sealed(row.line, jti, row.digest, text)

    def place(self, source: Source, row: reading.Row) -> tuple[Person, dict[str, Any]] | str:
        """The row's subject and content, or the reason why it has no place."""
        domain, cells = DOMAINS[source.domain], row.cells
        why = row.problem or self._foreign(domain.code, cells)
        if why:
            return why
        name = cells.get("USUBJID", "").strip()
        if not name:
            return "USUBJID is blank, so there is no subject that it says something about"
        if domain.code == "DM" and (source.data.identifier, row.line) in self._work.misplaced:
            return self._work.misplaced[source.data.identifier, row.line]
        person = self._work.people.get(name)
        if person is None:
            return f"{name} is not in DM, so neither subject nor site is known"
        content = mapping.content(domain, cells)
        content["source"] = {
            "kind": "SDTM",
            "identifier": source.data.identifier[-MAX_CODE:],
            "line": row.line,
            "digest": row.digest,
            "interface_version": INTERFACE,
        }
        if domain.code == "DM":
            content["number"] = person.number
        try:
            CATALOGUE[domain.event].model_validate(content)
        except ValidationError as error:
            return _in_words(error)
        return person, content

    def _foreign(self, code: str, cells: dict[str, str]) -> str | None:
        domain, study = cells.get("DOMAIN", "").strip().upper(), cells.get("STUDYID", "").strip()
        if domain and domain != code:
            return f"the row says that it belongs to the domain {domain}, the data set is {code}"
        if study and self._work.study_id and study != self._work.study_id:
            return f"the row says that it belongs to the study {study}, DM to {self._work.study_id}"
        return None


def _in_words(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)[:3]
    told = (
        ".".join(map(str, problem["loc"])) + ": " + problem["msg"].removeprefix("Value error, ") for problem in found
    )
    return "its event cannot have these values: " + "; ".join(told)


def sealed(chunks: Iterable[Chunk], work: Work, beside: bool) -> Iterator[tuple[Chunk, list[Sealed]]]:
    """Chunks with their rows, in order; sealed in a process beside this one, or here."""
    if not beside:
        placer = Placer(work)
        yield from ((chunk, placer.seal(chunk)) for chunk in chunks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(work,))
    waiting: deque[tuple[Chunk, Future[list[Sealed]] | None]] = deque()
    helper = _Helper(pool, work)
    try:
        for chunk in chunks:
            waiting.append((chunk, helper.send(chunk)))
            if len(waiting) > AHEAD:
                yield helper.fetch(*waiting.popleft())
        while waiting:
            yield helper.fetch(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Helper:
    """Sends chunks to the process; where that has died, they are sealed here and the import goes on."""

    def __init__(self, pool: ProcessPoolExecutor, work: Work) -> None:
        self._pool = pool
        self._work = work
        self._here: Placer | None = None

    def send(self, chunk: Chunk) -> Future[list[Sealed]] | None:
        if self._here is not None:
            return None
        try:
            return self._pool.submit(_seal, chunk)
        except BrokenProcessPool:
            return None

    def fetch(self, chunk: Chunk, future: Future[list[Sealed]] | None) -> tuple[Chunk, list[Sealed]]:
        if future is not None:
            try:
                return chunk, future.result()
            except BrokenProcessPool:
                pass
        self._here = self._here or Placer(self._work)
        return chunk, self._here.seal(chunk)


_placer: Placer


def _begin(work: Work) -> None:
    """In the process beside: be ready, leave interrupts to the parent, and end when it ends, however it ends."""
    global _placer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _placer = Placer(work)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _seal(chunk: Chunk) -> list[Sealed]:
    return _placer.seal(chunk)
