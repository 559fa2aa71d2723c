"""Progress is told on anything that lasts: a line now and then, never more often than every two seconds."""

from __future__ import annotations

import io

from rich.console import Console

from api.intake.talk import QUIET_SECONDS, Talk


def talk(times: list[float], terminal: bool = False) -> tuple[Talk, io.StringIO]:
    heard = io.StringIO()
    ticking = iter(times)
    return Talk(Console(file=heard, force_terminal=terminal, width=100), lambda: next(ticking)), heard


def test_what_is_done_at_once_needs_no_progress() -> None:
    teller, heard = talk([0.1, QUIET_SECONDS])
    teller.advance(10, 100)
    teller.advance(100, 100)
    assert heard.getvalue() == ""


def test_lines_say_how_far_it_is_and_how_long_it_takes() -> None:
    teller, heard = talk([0.0, 2.0, 3.0, 4.0])
    for done in (0, 200, 300, 500):
        teller.advance(done, 1_000)
    assert heard.getvalue().splitlines() == [
        "200 of 1,000 rows, 100 a second, about 8 s left",
        "500 of 1,000 rows, 125 a second, about 4 s left",
    ]


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    teller, heard = talk([], terminal=True)
    with teller:
        teller.advance(500, 1_000)
        teller.say("[bold]as it is[/bold]")
        teller.advance(1_000, 1_000)
    assert "1000/1000" in heard.getvalue()
    assert "[bold]as it is[/bold]" in heard.getvalue()
