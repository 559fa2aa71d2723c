"""How the bench says what it does, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from api.cli.output import console

_T = TypeVar("_T")


def line(what: str, figure: str, ratio: float | None, must: float | None, aim: float | None) -> None:
    """One row: what, the figure of this run, the ratio, the budget."""
    verdict = ""
    if ratio is not None and must is not None:
        verdict = "aim" if aim is not None and ratio >= aim else "met" if ratio >= must else "MISSED"
    shown = "" if ratio is None else f"{ratio:5.2f}x"
    budget = "" if must is None else f"must {must}, aim {aim}"
    print(f"{what:52} {figure:>34} {shown:>7}  {budget:20} {verdict}", flush=True)


def quiet(what: str, work: Callable[[], _T]) -> _T:
    """Say what is being done, and do it."""
    console.print(f"  {what} ...")
    return work()
