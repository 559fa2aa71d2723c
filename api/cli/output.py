"""What every command does alike: data on stdout, talk on stderr, exit statuses."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

EXIT_DONE, EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE = 0, 1, 2, 64

Json = Annotated[bool, typer.Option("--json", help="Print data as one JSON object.")]

console = Console(stderr=True, highlight=False, soft_wrap=True)


def talk(text: str) -> None:
    """Say something to the person at the terminal."""
    console.print(text, markup=False)


def give(value: Any, as_json: bool, text: str) -> None:
    """Print a command's data: JSON for machines, words for people."""
    sys.stdout.write((json.dumps(value, ensure_ascii=False) if as_json else text) + "\n")
    sys.stdout.flush()
