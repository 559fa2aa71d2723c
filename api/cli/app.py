"""The command line `trial-ledger`: data on stdout, talk on stderr, `--json` everywhere.

A command imports what it needs when it runs, so that starting one does not load the others.

Exit status: 0 done or verified, 1 refused or not verified, 2 could not decide, 64 wrong usage.
"""

from __future__ import annotations

import sys
from typing import cast

import typer

from api.cli.accounts import accounts
from api.cli.changes import changes
from api.cli.checkpoints import checkpoints
from api.cli.demo.command import demo
from api.cli.doctor import doctor
from api.cli.export import export
from api.cli.imports import imports
from api.cli.init import init
from api.cli.keys import keys
from api.cli.output import EXIT_UNDECIDED, EXIT_USAGE, talk
from api.cli.projections import projections
from api.cli.redact import redact
from api.cli.restore import restore
from api.cli.serve import quiet_logs, serve
from api.cli.timestamps import timestamps
from api.cli.verify import verify
from api.cli.witness import witness
from ledger.home import HomeError
from ledger.settings import SettingsError
from ledger.store.errors import StoreError

UsageError: type[Exception] = cast(type[Exception], typer.BadParameter.__bases__[0])
"""What every wrong usage is: typer brings a click of its own, which is not the one that may be installed."""

app = typer.Typer(
    name="trial-ledger",
    help="A clinical trial as signed, immutable events, with everything else derived from them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(serve)
app.command()(init)
app.command()(doctor)
app.command()(changes)
app.command()(redact)
app.command()(witness)
app.command()(verify)
app.add_typer(accounts, name="accounts")
app.add_typer(imports, name="import")
app.add_typer(checkpoints, name="checkpoints")
app.add_typer(timestamps, name="timestamps")
app.add_typer(export, name="export")
app.add_typer(keys, name="keys")
app.add_typer(restore, name="restore")
app.add_typer(projections, name="projections")


def main() -> None:
    """Run the command line; errors that a user can mend are one sentence each, without a trace."""
    quiet_logs()  # on standard error: data alone goes to standard output
    try:
        code = app(standalone_mode=False)
    except UsageError as wrong:
        wrong.show()  # type: ignore[attr-defined]
        code = EXIT_USAGE
    except typer.Abort:
        code = EXIT_UNDECIDED
    except (SettingsError, HomeError) as wrong:
        talk(str(wrong))
        code = EXIT_USAGE
    except StoreError as error:
        talk(str(error))
        code = EXIT_UNDECIDED
    sys.exit(code or 0)
