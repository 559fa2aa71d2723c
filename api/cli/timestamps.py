"""`trial-ledger timestamps now`: have the newest checkpoints stamped at once, whatever was stamped before."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.init import study_id
from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE, Json, give, talk
from ledger.settings import Settings

timestamps = typer.Typer(help="Time stamps (RFC 3161) over checkpoints.", no_args_is_help=True)


@timestamps.callback()
def group() -> None:
    """Time stamps (RFC 3161) over checkpoints."""


@timestamps.command()
def now(
    study: Annotated[str | None, typer.Option(callback=study_id, help="One study; without it all of them.")] = None,
    json_: Json = False,
) -> None:
    """Ask every authority of TRIAL_LEDGER_TIMESTAMP_URLS about the newest checkpoints."""
    from ledger.application import Ledger

    settings = Settings.read()
    if not settings.timestamp_urls:
        talk("No authority is configured: set TRIAL_LEDGER_TIMESTAMP_URLS.")
        raise typer.Exit(EXIT_USAGE)
    with Ledger(settings) as ledger:
        studies = ledger.studies()
        if study is not None and study not in studies:
            talk(f"There is no study {study} here.")
            raise typer.Exit(EXIT_REFUSED)
        for one in studies:
            ledger.check_log(one)  # so that what was committed last is signed
        ledger.timestamping.prepare()
        found = {one: ledger.timestamping.now(one) for one in ([study] if study else studies)}
    said = [f"{one} {url}: {error or 'stamped'}" for one, urls in found.items() for url, error in urls.items()]
    give(found, json_, "\n".join(said) or "There is no study yet.")
    if any(error for urls in found.values() for error in urls.values()):
        raise typer.Exit(EXIT_UNDECIDED)
