"""`trial-ledger import`: bring other systems' files in, row by row, as sealed events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE, Json, console, give, talk
from ledger.domain.refusals import Refusal
from ledger.settings import Settings

imports = typer.Typer(help="Bring files of other systems in.", no_args_is_help=True)


@imports.callback()
def _group() -> None:
    """Bring files of other systems in."""


@imports.command()
def sdtm(
    folder: Annotated[Path, typer.Argument(help="Folder with SAS XPORT files.")],
    study: Annotated[str, typer.Option(help="The study's id; opened when it does not exist.")],
    json_: Json = False,
) -> None:
    """Import a study in CDISC SDTM (SAS XPORT files)."""
    from api.intake.errors import ImportStopped, UnreadableInput
    from api.intake.sdtm.importing import import_sdtm
    from api.intake.talk import Talk
    from ledger.application import Ledger

    with Ledger(Settings.read()) as ledger, Talk(console) as progress:
        ledger.allow_genesis(ledger.home.key("registrar").kid)
        try:
            report = import_sdtm(folder, study, ledger, ledger.home, progress)
        except ValueError as wrong:
            talk(str(wrong))
            raise typer.Exit(EXIT_USAGE) from None
        except (UnreadableInput, ImportStopped) as stopped:
            talk(str(stopped))
            raise typer.Exit(EXIT_UNDECIDED) from None
        except Refusal as refusal:
            talk(f"{refusal.rule}: {refusal.title} {refusal.because}. {refusal.remedy}")
            raise typer.Exit(EXIT_REFUSED) from None
    give(report.as_dict(), json_, str(report))
