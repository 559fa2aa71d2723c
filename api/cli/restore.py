"""`trial-ledger restore entries`: what an older database lacks, put back from what others hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, Json, give, talk
from ledger.settings import Settings

restore = typer.Typer(help="Put back what a restored database lacks.", no_args_is_help=True)


@restore.callback()
def group() -> None:
    """Put back what a restored database lacks."""


@restore.command()
def entries(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Evidence bundles, and files of lines of the change feed (NDJSON); as many as needed."),
    ],
    study: Annotated[str, typer.Option(help="The study's id.")],
    reason: Annotated[
        str, typer.Option(help="Why; goes on record.")
    ] = "The database was restored from a backup that lacked signed entries; they were put back.",
    json_: Json = False,
) -> None:
    """Put the signed entries that the database lacks back: all of them, byte for byte, or nothing."""
    from api.v1.reading import study_id
    from ledger.application import Ledger
    from ledger.domain.refusals import Refusal
    from ledger.restoring.entries import restore_entries
    from ledger.signer_state import SignerAlarm

    try:
        with Ledger(Settings.read()) as ledger:
            restored = restore_entries(ledger, study_id(study), sources, reason)
            alarm = ledger.check_log(study)
    except Refusal as refusal:
        talk(f"{refusal.title} {refusal.because}. {refusal.remedy} ({refusal.rule})")
        raise typer.Exit(EXIT_UNDECIDED if refusal.status >= 500 else EXIT_REFUSED) from None
    except SignerAlarm as alarm:
        talk(str(alarm))
        raise typer.Exit(EXIT_UNDECIDED) from None
    said = [f"{restored.size - restored.before} entries of {study} are back, from index {restored.before} on."]
    if restored.recorded is None:
        said.append(f"That could not be recorded: {restored.because} Run the same command again then.")
    else:
        said.append(f"Recorded as RestorePerformed at index {restored.recorded}.")
    if alarm is not None:
        said.append(str(alarm))
    facts = {"before": restored.before, "size": restored.size, "recorded_at_index": restored.recorded}
    give({"study": study, **facts, "alarm": None if alarm is None else str(alarm)}, json_, "\n".join(said))
    if alarm is not None or restored.recorded is None:
        raise typer.Exit(EXIT_UNDECIDED)
