"""`trial-ledger projections`: what stands where, building versions anew, and which of them answers."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.output import Json, give
from api.cli.projection_acts import register as register_acts
from api.cli.projection_rebuild import put_on_record, rebuild
from api.cli.projection_reports import Study, only_study, refusing, register
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
        + (f", {p['behind_s']:.0f} s behind" if p["behind"] and p["behind_s"] is not None else "")
        + ("" if p["known"] else ", made by another release")
        + "".join(f"; {s['about']} stands still at {s['index']} ({s['event']}): {s['because']}" for s in p["stopped"])
        for p in found
    ]
    give({"projections": found}, json_, "\n".join(lines) or "No projection stands yet.")


@projections.command()
def events(study: Study = None, json_: Json = False) -> None:
    """How many events of each version a study holds, exactly and at once."""
    from ledger.application import Ledger
    from projections.engine.counting import event_versions

    with refusing(), Ledger(Settings.read()) as ledger, ledger.database.snapshot() as conn:
        found = event_versions(conn, study or only_study(conn))
    how = {"written": "as written", "upcast": "brought to version {}", "unknown": "of a later release"}
    lines = [
        f"{e['event']}/{e['version']}: {e['count']}, {how[e['read_as']].format(e['current'])}" for e in found["events"]
    ]
    give(found, json_, "\n".join(lines) or f"{found['study']} holds nothing that is signed.")


projections.command()(rebuild)
register_acts(projections)
register(projections)
