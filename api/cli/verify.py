"""`trial-ledger verify`: checks an evidence bundle offline, with the same code as the single-file verifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.output import Json

if TYPE_CHECKING:
    from ledger.verify.attached import Logged, ViewFinding
    from ledger.verify.bundle import Bundle


def verify(
    bundle: Annotated[Path | None, typer.Argument(help="The evidence bundle, a zip file.")] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The trust policy that you hold; else the bundle's own.")
    ] = None,
    json_: Json = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page, too.")] = None,
    require: Annotated[
        str | None, typer.Option(metavar="V8,V9", help="Checks that must be decided, or the exit status is 2.")
    ] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes; by default one a core.")] = None,
    fresh_within: Annotated[
        str | None, typer.Option(metavar="24h", help="How old cosignatures of the newest checkpoint may be.")
    ] = None,
    tsa: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Certificate of a timestamping authority, PEM.")
    ] = None,
    receipt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check a single receipt against --policy, and end.")
    ] = None,
    make_standalone: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the verifier as a single file, and end.")
    ] = None,
) -> None:
    """Verify an evidence bundle offline: V1 to V9, in plain words."""
    from ledger.verify import command

    if make_standalone is not None:
        raise typer.Exit(command.make_standalone(make_standalone))
    if bundle is None and receipt is None:
        raise typer.BadParameter("name the bundle to verify")
    try:
        if receipt is not None:
            raise typer.Exit(command.run_receipt(receipt, policy))
        assert bundle is not None
        options = command.Options(
            bundle,
            policy,
            json_,
            html,
            command.required(require),
            command.workers(workers),
            command.seconds(fresh_within),
            tuple(tsa or ()),
        )
    except command.Usage as wrong:
        raise typer.BadParameter(str(wrong)) from None
    raise typer.Exit(command.run(options, _views))


def _views(bundle: Bundle, entries: Callable[[int], Iterator[Logged]]) -> Iterable[ViewFinding]:
    """V8, by the projections' own code; loaded when the bundle has come so far."""
    from projections.exports.recomputing import recompute_views

    return recompute_views(bundle, entries)
