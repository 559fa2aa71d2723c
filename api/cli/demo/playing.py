"""The demo once its server starts: play the course, sum it up, serve it."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import typer

from api.cli.demo.cast import STUDY
from api.cli.demo.command import Progress
from api.cli.demo.course import run_course
from api.cli.demo.evidence import EvidenceBroken, show_evidence
from api.cli.demo.play import CourseBroken
from api.cli.demo.summary import read_summary, tell
from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, give, talk
from api.cli.serve import Served, wait_until_ended
from api.client.http import Refused, StudyClient
from ledger.home import Home
from ledger.settings import Settings


def play(served: Served, home: Path, progress: Progress, begun: float, json_: bool, serve: bool) -> None:
    """Play everything over HTTP and print the summary; with `serve`, wait until the server is ended.

    Exit status 1: the course could not be played as written; 2: the server did not answer as it should.
    """
    registrar = Home(home, Settings.read().passphrase_file).key("registrar")
    client = StudyClient(served.url, STUDY)
    try:
        course = run_course(client, registrar, progress)
        progress("Exporting and verifying the evidence", course.events)
        progress.end()  # its thread too: the verifier's workers are then forked
        shown = show_evidence(served.url, STUDY, client.log_keys()["log_keys"], home)
        summary = read_summary(client)  # with the export, which is on record
    except EvidenceBroken as broken:
        progress.end()
        talk(f"The evidence is not what it should be: {broken}")
        raise typer.Exit(EXIT_REFUSED) from None
    except CourseBroken as broken:
        progress.end()
        talk(f"The course could not be played as written: {broken}")
        raise typer.Exit(EXIT_REFUSED) from None
    except (Refused, httpx.HTTPError) as problem:
        progress.end()
        talk(f"The demo's own server did not answer as it should: {problem}. Start the demo again.")
        raise typer.Exit(EXIT_UNDECIDED) from None
    finally:
        client.close()
    progress.end()
    took = time.monotonic() - begun
    told = tell(summary, course, shown.lines(), served.url if serve else None, took)
    give({**summary.as_dict(), "evidence": shown.as_dict()}, json_, told)
    if serve:
        talk(f"The bundle: {shown.bundle}; `trial-ledger verify` reads it while this demo runs.")
        talk(f"Serving on {served.url} until Ctrl-C.")
        wait_until_ended(served.process)
