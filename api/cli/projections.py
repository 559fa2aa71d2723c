"""`trial-ledger projections`: what stands where, and building anew from the log."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from api.cli.output import Json, console, give
from api.cli.projection_reports import register
from ledger.settings import Settings

projections = typer.Typer(help="Projections: where they stand, rebuilding, digests.", no_args_is_help=True)

Study = Annotated[str, typer.Option(help="The study's id.")]


@projections.command("list")
def list_(study: Annotated[str | None, typer.Option(help="Only this study.")] = None, json_: Json = False) -> None:
    """Versions, positions and lag of every projection."""
    from ledger.application import Ledger
    from projections.engine import operations

    with Ledger(Settings.read()) as ledger:
        found = operations.standing(ledger.database, study)
    lines = [
        f"{p['study']} {p['name']} v{p['version']} at {p['position']} of {p['signed']}"
        + "".join(f"; {s['about']} stands still at {s['index']} ({s['event']}): {s['because']}" for s in p["stopped"])
        for p in found
    ]
    give({"projections": found}, json_, "\n".join(lines) or "No projection stands yet.")


@projections.command()
def rebuild(
    study: Study,
    names: Annotated[list[str] | None, typer.Argument(help="Which; all when none is named.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    json_: Json = False,
) -> None:
    """Build projections anew from the log."""
    from ledger.application import Ledger
    from projections.engine import operations

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Ledger(Settings.read()) as ledger, ledger.projector_database() as database:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            tasks: dict[str, object] = {}

            def show(p: operations.Progress) -> None:
                if p.name not in tasks:
                    tasks[p.name] = bar.add_task(p.name, total=p.total)
                bar.update(tasks[p.name], completed=p.done, total=p.total)  # type: ignore[arg-type]

            built = operations.rebuild(database, study, names or None, workers, show)
    give({"rebuilt": built}, json_, "\n".join(f"{b['projection']} at {b['size']}: {b['digest']}" for b in built))


register(projections)
