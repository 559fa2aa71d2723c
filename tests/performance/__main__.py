"""`make bench`: append, verification, replay and import figures against the budgets of the design, as ratios within
this run.

 1. single-event appends over HTTP, 32 clients, statements signed beforehand, durable, verified, with receipt,
    against `eventsourcing`'s own in-process, unsigned `Application.save` with 16 threads
 2. bulk append over HTTP (NDJSON), receipts by GET, against one core's raw Ed25519 verification rate
 3. offline verification V1 to V7 of a bundle, against raw Ed25519 verification on all cores
 4. the demo, start to end, without serving
 5. import of an SDTM study, when the real data are at hand
 6. replay of patient, cohort and audit trail together over 200,000 events and more, against `eventsourcing`'s own
    `ProjectionRunner` that only counts; what is multiplied for it and what is not: `multiplied`
 7. single-event appends as in 1, with nothing else going on and while the same study is rebuilt
Machines differ and are shared: read the ratios. Everything runs on this machine, the database and the load too.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from api.cli.serve import server_process
from api.client.genesis import genesis
from api.client.http import Refused, StudyClient
from api.client.signing import Actor
from ledger.application import Ledger
from ledger.domain.refusals import Refusal
from ledger.settings import Settings
from ledger.signing.keys import PublicKey, SigningKey
from tests.performance import load, offline, replay
from tests.performance.baseline import save_rate
from tests.performance.multiplied import multiply, play, unfollow
from tests.performance.printing import line, quiet

STUDY = "BENCH-01"
SINGLE, BULK, BASE, VERIFIED = 6_000, 20_000, 4_000, 40_000
BESIDE, AT_ONCE = 40_000, 250
"""Statements at most for appends beside a rebuild; how many are sent before it is looked whether that still runs."""
CLIENTS, FEW_CLIENTS = 32, 8
REPLAYED, SEED_EVENTS = 220_000, 36_000
"""Events of a replay, and how many of them are the seed trial's where there is another study."""
SUBJECTS = 200
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "cdiscpilot03"


def laboratory(ledger: Ledger) -> Actor:
    """A study with one site and a laboratory's person who may report."""
    registrar = Actor("registrar-1", "registrar", ledger.home.key("registrar"), ledger.origin(STUDY))
    ledger.allow_genesis(registrar.key.kid)
    ledger.open_study(genesis(ledger, STUDY, registrar="registrar-1", title=None, synthetic=True, clock="real"))
    key = SigningKey.generate()
    steps = [
        registrar.sign("ActorEnrolled", "actor/pi-1", {"actor_kind": "person"}),
        registrar.enrol_key("pi-1", key, key.public_jwk),
        registrar.sign("DelegationGranted", "actor/pi-1", {"role": "principal-investigator"}),
    ]
    for outcome in ledger.append_many(STUDY, steps):
        if isinstance(outcome, Refusal):
            raise outcome
    return Actor("pi-1", "principal-investigator", key, ledger.origin(STUDY), "SITE-1")


def results(actor: Actor, count: int) -> list[str]:
    """Signed laboratory results with nine fields, spread over subjects."""
    subjects = [f"subject/{number:08x}-0000-4000-8000-000000000000" for number in range(SUBJECTS)]
    fields = {
        "occurred_at": "2026-01-15T08:30:00+01:00",
        "analyte": "PLAT",
        "value": "212",
        "unit": "10*9/L",
        "reference_range": {"low": "150", "high": "400", "unit": "10*9/L"},
        "specimen": "S-000123",
        "material": "blood",
        "upstream_id": "LAB-4711",
        "upstream_status": "final",
    }
    return [actor.sign("LabResultReported", subjects[n % SUBJECTS], fields) for n in range(count)]


def verification_rate(seconds: float = 1.0) -> float:
    """Raw Ed25519 verifications a second on one core, over a statement's bytes."""
    key = SigningKey.generate()
    public, message = PublicKey.from_jwk(key.public_jwk), b"x" * 1_200
    signature = key.sign(message)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(200):
            public.verify(message, signature, "Ed25519")
        done += 200
    return done / (time.perf_counter() - start)


def single(url: str, statements: list[str], clients: int = CLIENTS) -> load.Load:
    """Appends one by one by many clients."""
    place = urlsplit(url)
    path = f"/v1/studies/{STUDY}/events"
    requests = [load.post(path, text.encode(), "application/sd-jwt") for text in statements]
    assert place.hostname is not None and place.port is not None
    return load.run(place.hostname, place.port, requests, clients)


def bulk(url: str, statements: list[str]) -> float:
    """Statements a second in one NDJSON request."""
    client = StudyClient(url, STUDY)
    start = time.perf_counter()
    answers = list(client.append_many(statements))
    seconds = time.perf_counter() - start
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    if refused:
        raise refused[0]
    client.close()
    return len(answers) / seconds


def beside_a_rebuild(home: Path, url: str, statements: list[str]) -> tuple[tuple[float, float], tuple[float, float]]:
    """p50 and p99 of appends in milliseconds: before a rebuild of the very study, and while it runs."""
    with closing(StudyClient(url, STUDY)) as client:
        _followed(client)
    left = iter([statements[at : at + AT_ONCE] for at in range(0, len(statements), AT_ONCE)])
    quiet = _latencies(url, (next(left) for _ in range(8)))
    command = [sys.executable, "-m", "api.cli", "projections", "rebuild", "--study", STUDY, "--workers", "2", "--json"]
    environment = {**os.environ, "TRIAL_LEDGER_HOME": str(home)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    busy = _latencies(url, itertools.takewhile(lambda batch: process.poll() is None, left))
    if process.wait() != 0:
        raise RuntimeError(f"the rebuild ended with status {process.returncode}")
    return quiet, busy


def _followed(client: StudyClient) -> None:
    """Wait until what was appended before is followed."""
    client.get("events", limit=1)
    while True:
        with suppress(Refused):
            for view in ("subjects", "audit-trail", "cohorts", "schedule"):
                client.get(view, wait_for=client.cut.size)
            return


def _latencies(url: str, batches: Iterable[list[str]]) -> tuple[float, float]:
    made = load.Load({}, 0.0, [])
    for batch in batches:
        made.latencies.extend(single(url, batch, FEW_CLIENTS).latencies)
    return made.percentile(0.5), made.percentile(0.99)


def timed(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, str]:
    """Seconds and standard output of a command that must end well."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return time.perf_counter() - start, done.stdout


def appends(home: Path) -> None:
    """Rows 1, 2 and 7."""
    with Ledger(Settings(home)) as ledger:
        actor = laboratory(ledger)
        baseline = quiet("eventsourcing's Application.save", lambda: save_rate(ledger.urls.admin, BASE))
        with server_process(home, dict(os.environ)) as served:
            statements = quiet("signing", lambda: results(actor, SINGLE + BULK + BESIDE))
            single(served.url, statements[:200])
            measured = quiet("single appends", lambda: single(served.url, statements[200:SINGLE]))
            rate = quiet("bulk append", lambda: bulk(served.url, statements[SINGLE : SINGLE + BULK]))
            raw = verification_rate()
            rest = statements[SINGLE + BULK :]
            between = quiet("appends during a rebuild", lambda: beside_a_rebuild(home, served.url, rest))
    good = measured.statuses.get(201, 0) / max(1, sum(measured.statuses.values()))
    figures = f"{measured.rate:.0f}/s p50 {measured.percentile(0.5):.1f} p99 {measured.percentile(0.99):.1f} ms"
    line("eventsourcing Application.save, 16 threads", f"{baseline:.0f}/s", None, None, None)
    line(f"single appends over HTTP, 32 clients ({good:.0%} 201)", figures, measured.rate / baseline, 1.5, 2.5)
    line("raw Ed25519 verification, one core", f"{raw:.0f}/s", None, None, None)
    line("bulk append over HTTP (NDJSON)", f"{rate:.0f}/s", rate / raw, 0.3, 0.45)
    alone, beside = between
    told = "p50 {:.1f} p99 {:.1f} ms".format
    line("single appends, 8 clients, nothing else going on", told(*alone), None, None, None)
    line("the same while the study is rebuilt whole", told(*beside), None, None, None)


def offline_verification() -> None:
    """Row 3."""
    rate, raw = quiet("offline verification", lambda: offline.measure(VERIFIED))
    line("raw Ed25519 verification, all cores", f"{raw:.0f}/s", None, None, None)
    line("offline verification, V1 to V7, all cores", f"{rate:.0f}/s", rate / raw, 0.4, 0.55)


def imported_and_replayed(home: Path) -> None:
    """Rows 5 and 6."""
    studies = []
    if DATA.is_dir():
        environment = {**os.environ, "TRIAL_LEDGER_HOME": str(home)}
        command = [sys.executable, "-m", "api.cli", "import", "sdtm", str(DATA), "--study", "CDISCPILOT01", "--json"]
        seconds, out = quiet("import", lambda: timed(command, environment))
        appended = sum(domain["appended"] for domain in json.loads(out)["domains"].values())
        figures = f"{appended} in {seconds:.0f} s, {appended / seconds:.0f}/s"
        line("SDTM import, sealed and appended", figures, None, None, None)
        studies.append("CDISCPILOT01")
    else:
        line("SDTM import", "no data at hand", None, None, None)
    studies.append(quiet("the seed trial's course", lambda: play(home)))
    with Ledger(Settings(home)) as ledger:
        unfollow(ledger)
        for study in studies:
            share = SEED_EVENTS if study != studies[0] else REPLAYED - SEED_EVENTS * (len(studies) - 1)
            quiet(f"multiplying {study}", partial(multiply, ledger, study, share))
        replayed(quiet("replay", lambda: replay.measure(ledger, studies)))


def replayed(made: replay.Replayed) -> None:
    """Row 6."""
    line("eventsourcing ProjectionRunner, counting", f"{made.library:.0f}/s", None, None, None)
    figures = f"{made.events} in {made.seconds:.0f} s, {made.rate:.0f}/s"
    line("replay of patient, cohort, audit trail", figures, made.rate / made.library, 15, 30)
    line("  keys, indexes and statistics of it", f"{made.indexing:.1f} s", None, None, None)
    line("  merely reading the same rows, one connection", f"{made.reading:.0f}/s", None, None, None)
    line(f"  peak memory, {replay.WORKERS} workers included", f"{made.peak_mib:.0f} MiB", None, None, None)
    figures = f"{made.compared_events} events in {made.compared:.1f} s"
    line("  comparing a second replay with the first", figures, None, None, None)


def demo() -> None:
    """Row 4: seconds, so lower is better."""
    command = [sys.executable, "-m", "api.cli", "demo", "--no-serve", "--json"]
    seconds, out = quiet("demo", lambda: timed(command))
    events = json.loads(out)["events"]
    verdict = "aim" if seconds <= 6 else "met" if seconds <= 15 else "MISSED"
    figure = f"{events} events in {seconds:.1f} s"
    print(f"{'demo --no-serve, start to end':52} {figure:>34} {'':7}  must 15 s, aim 6 s    {verdict}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        appends(Path(folder))
    offline_verification()
    demo()
    with tempfile.TemporaryDirectory() as folder:
        imported_and_replayed(Path(folder))
