"""`trial-ledger projections`: what stands where, building versions anew, and which of them answers."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.output import Json, give
from api.cli.projection_acts import register as register_acts
from api.cli.projection_rebuild import put_on_record, rebuild
from api.cli.projection_reports import refusing, register
from ledger.settings import Settings

projections = typer.Typer(help="Projections: where they stand, rebuilding, comparing, switching.", no_args_is_help=True)


@projections.command("list")
def list_(study: Annotated[str | None, typer.Option(help="Only this study.")] = None, json_: Json = False) -> None:
    """Every version of every projection: its state, its position, how far behind it is."""
    from ledger.application import Ledger
    from projections.engine.overview import overview

    with refusing(), Ledger(Settings.read()) as ledger:
        put_on_record(ledger)
        found = overview(ledger.database, study)
    lines = [
        f"{p['study']} {p['name']} v{p['version']} {p['state']} at {p['position']} of {p['signed']}"
        + ("" if p["known"] else ", made by another release")
        + "".join(f"; {s['about']} stands still at {s['index']} ({s['event']}): {s['because']}" for s in p["stopped"])
        for p in found
    ]
    give({"projections": found}, json_, "\n".join(lines) or "No projection stands yet.")


projections.command()(rebuild)
register_acts(projections)
register(projections)
