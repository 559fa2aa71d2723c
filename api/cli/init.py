"""`trial-ledger init`: make the home and the database ready, and open a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.output import EXIT_REFUSED, Json, give, talk
from ledger.domain.refusals import Refusal
from ledger.settings import Settings


def init(
    study: Annotated[str | None, typer.Option(help="Open this study, with the registrar key of this home.")] = None,
    title: Annotated[str | None, typer.Option(help="The study's title.")] = None,
    registrar: Annotated[str, typer.Option(help="Actor id of the registrar.")] = "registrar-1",
    synthetic: Annotated[bool, typer.Option(help="The data are synthetic.")] = False,
    genesis_file: Annotated[
        Path | None, typer.Option("--genesis", help="Open a study with this signed StudyOpened; - for stdin.")
    ] = None,
    json_: Json = False,
) -> None:
    """Make the home and the database ready; with --study or --genesis, open a study."""
    from api.client.genesis import genesis
    from ledger.application import Ledger

    with Ledger(Settings.read()) as ledger:
        key = ledger.home.key("registrar")
        ledger.allow_genesis(key.kid)
        made: dict[str, Any] = {"home": str(ledger.home.path), "host": ledger.host, "registrar_key": key.kid}
        try:
            if study is not None and ledger.has_study(study):
                made |= {"study": study, "origin": ledger.origin(study), "repeat": True}
            elif study is not None:
                text = genesis(ledger, study, registrar=registrar, title=title, synthetic=synthetic, clock="real")
                answer = ledger.open_study(text)
                made |= {"study": study, "origin": ledger.origin(study), "repeat": answer.repeat}
            elif genesis_file is not None:
                given = sys.stdin.read() if str(genesis_file) == "-" else genesis_file.read_text("ascii")
                answer = ledger.open_study(given.strip())
                made |= {"jti": answer.jti, "repeat": answer.repeat}
        except Refusal as refusal:
            talk(f"{refusal.rule}: {refusal.title} {refusal.because}. {refusal.remedy}")
            raise typer.Exit(EXIT_REFUSED) from None
    opened = f", the study {study} is open as {made.get('origin')}" if study else ""
    give(made, json_, f"{made['home']} is ready{opened}.")
