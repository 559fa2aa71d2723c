"""`trial-ledger changes`: what changed between two cuts."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE, give, talk
from ledger.settings import Settings

FORMATS = ("text", "json", "csv")


def changes(
    study: Annotated[str, typer.Option(help="The study's id.")],
    since: Annotated[
        str,
        typer.Option(
            "--from",
            help="The earlier cut: a size, a time with its offset, a date, an event's id, index:N, or an event of the "
            "study such as CohortOpened:HIGH.",
        ),
    ],
    until: Annotated[str | None, typer.Option("--to", help="The later cut, likewise. Left out: now.")] = None,
    subject: Annotated[str | None, typer.Option(help="One subject alone: number or UUID.")] = None,
    projection: Annotated[str | None, typer.Option(help="Compare the rows of this projection too.")] = None,
    format_: Annotated[str, typer.Option("--format", help="text, json or csv.")] = "text",
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Say what changed between two cuts: per subject and for the study, with the entries responsible."""
    from ledger.application import Ledger
    from ledger.domain.refusals import Refusal
    from projections.changes.view import Wanted, whole

    kind = "json" if json_ else format_
    if kind not in FORMATS:
        talk(f"--format is one of {', '.join(FORMATS)}, not {kind!r}")
        raise typer.Exit(EXIT_USAGE)
    try:
        with Ledger(Settings.read()) as ledger:
            found = whole(ledger.database, study, Wanted(since, until, subject, projection))
    except Refusal as refusal:
        talk(f"{refusal.title} {refusal.because}. {refusal.remedy} ({refusal.rule})")
        raise typer.Exit(EXIT_UNDECIDED if refusal.status >= 500 else EXIT_REFUSED) from None
    _give(found, kind)


def _give(found: dict[str, Any], kind: str) -> None:
    from projections.changes import files

    if kind == "csv":
        for line in files.csv(found):
            sys.stdout.buffer.write(line)
        sys.stdout.flush()
        return
    give(found, kind == "json", "\n".join(files.text(found)))
