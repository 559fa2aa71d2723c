"""`trial-ledger projections rebuild`: says what will happen, builds beside what answers, compares.

Progress is a bar with rate and remaining time on a terminal, plain lines without one, JSON lines on standard error with
`--json`. Interrupting it (Ctrl-C, SIGTERM) keeps what was built.
"""

from __future__ import annotations

import getpass
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, Json, console, give, talk
from api.cli.projection_reports import Study, only_study, projection, refusing
from ledger.settings import Settings

if TYPE_CHECKING:
    from ledger.application import Ledger
    from projections.engine import operations
    from projections.engine.planning import Plan

By = Annotated[str | None, typer.Option(help="Who asks for it; goes on record. Default: this login's name.")]
Reason = Annotated[str | None, typer.Option(help="Why; goes on record.")]

LINE_S = 2.0
"""Between two plain lines of progress: a log stays readable."""


def rebuild(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all when none is named.")] = None,
    study: Study = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; half of the cores if left out.", min=1)] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would happen, and end.")] = False,
    switch: Annotated[bool, typer.Option("--switch", help="Switch at once where nothing is unexplained.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Compare again what was compared before.")] = False,
    by: By = None,
    reason: Reason = None,
    json_: Json = False,
) -> None:
    """Build projections anew from the log, beside those that answer, and compare them."""
    from ledger.application import Ledger
    from projections.definitions import NAMES
    from projections.engine import operations
    from projections.engine.building import be_nice

    wanted = [projection(name) for name in dict.fromkeys(names or NAMES)]
    with refusing(), Ledger(Settings.read()) as ledger:
        put_on_record(ledger)
        with ledger.database.connection() as conn:
            where = study or only_study(conn)
        told = _planned(ledger, where, wanted, workers)
        if plan:
            give({"plans": [one.as_dict() for one in told]}, json_, "\n".join(_words(told)))
            return
        _say(told, json_)
        be_nice()
        asked = by or who()
        with ledger.projector_database() as database:
            with interruptible(where, wanted), shown(json_) as report:
                made = operations.rebuild(
                    database, where, wanted, workers, report, by=asked, reason=reason, compare_anew=compare
                )
            if switch:
                made = [_switched(database, one, asked, reason) for one in made]
        put_on_record(ledger)
    give({"rebuilt": made}, json_, "\n".join(in_words(one) for one in made))
    if any(one["state"] == "failed" or (switch and one["state"] != "switched") for one in made):
        raise typer.Exit(EXIT_REFUSED)


def put_on_record(ledger: Ledger) -> None:
    """Put what replays concluded into the ledger; what cannot be put there now is kept, and said."""
    from projections.engine.errors import ReplayNotRecorded
    from projections.engine.outbox import flush

    try:
        flush(ledger)
    except ReplayNotRecorded as later:
        talk(f"{later.title} {later.because}. {later.remedy} ({later.rule})")


def who() -> str:
    """The name of this login, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "an unnamed login"


def in_words(one: dict[str, Any]) -> str:
    """What became of a replay, and what comes next."""
    name, study = one["projection"], one["study"]
    head = f"{name} v{one['to']['version']} {one['state']}"
    if one["failure"] is not None:
        failure = one["failure"]
        about = f" of subject {failure['subject']}" if failure["subject"] else ""
        rule = f" ({failure['rule']})" if failure["rule"] else ""
        return (
            f"{head}: {failure['event']} at index {failure['index']}{about}: {failure['because']}{rule}. What answers "
            "is untouched. Mend the cause, or have a data manager decide that the projection passes over this event "
            "(EventSkipped), and rebuild again."
        )
    if one["state"] == "retired":
        gone = one["retired"]
        return f"{name} v{gone['version']} retired ({gone['schema']}): its rows are gone, and what answers is untouched"
    lines = [f"{head} at {one['size']}" + (f", digest {one['digest']}" if one["digest"] else "")]
    counts = one["differences"]
    if counts is not None:
        lines.append(
            f"  rows added {counts['added']}, removed {counts['removed']}, changed {counts['changed']}; differences "
            f"intended {counts['intended']}, unexplained {counts['unexplained']}"
        )
    step = f"trial-ledger projections {{}} {name} --study {study}"
    if one["state"] == "ready":
        lines.append(f"  Next: {step.format('switch')}")
    elif one["state"] == "awaiting approval":
        lines.append(f"  Next: {step.format('diff')}, then {step.format('approve')} and {step.format('switch')}")
    return "\n".join(lines)


def _planned(ledger: Ledger, study: str, names: Sequence[str], workers: int | None) -> list[Plan]:
    """What will happen."""
    from projections.definitions import model_of
    from projections.engine import operations, planning
    from projections.engine.starting import check_definitions

    with ledger.database.snapshot() as conn:
        check_definitions(conn)
        many = operations.workers_for(conn, study, workers)
        return [planning.plan(conn, study, model_of(name), many) for name in names]


def _say(told: Sequence[Plan], as_json: bool) -> None:
    """Say first what will happen, where progress is shown."""
    if as_json:
        _line({"plans": [one.as_dict() for one in told]})
    else:
        for words in _words(told):
            talk(words)


def _words(told: Sequence[Plan]) -> list[str]:
    from projections.engine.planning import in_words as planned

    return [planned(one) for one in told]


def _switched(database: Any, one: dict[str, Any], by: str, reason: str | None) -> dict[str, Any]:
    from projections.engine import operations

    if one["state"] == "ready":
        return operations.switch(database, one["study"], one["projection"], by, reason)
    return one


# -- interrupting and showing ----------------------------------------------------------------------------------


@contextmanager
def interruptible(study: str, names: Sequence[str]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end it in good order; what was built is kept."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        each = " ".join(names)
        talk(
            f"Stopped. What was built is kept: `trial-ledger projections rebuild {each} --study {study}` goes on, with "
            f"any number of workers; `trial-ledger projections cancel {names[0]} --study {study}` gives it up."
        )
        raise typer.Exit(EXIT_UNDECIDED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def shown(as_json: bool) -> Iterator[Callable[[operations.Progress], None]]:
    """What shows progress: lines of JSON, a bar, or plain lines."""
    if as_json:
        yield lambda one: _line(asdict(one))
    elif console.is_terminal:
        with _bar() as bar:
            tasks: dict[str, Any] = {}

            def show(one: operations.Progress) -> None:
                if one.name not in tasks:
                    tasks[one.name] = bar.add_task(one.name, total=one.total)
                bar.update(tasks[one.name], completed=one.done, total=one.total, rate=one.rate)

            yield show
    else:
        yield _plain()


def _line(value: dict[str, Any]) -> None:
    sys.stderr.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stderr.flush()


class _Rate(ProgressColumn):
    """Events a second."""

    def render(self, task: Task) -> Text:
        rate = task.fields.get("rate")
        return Text(f"{rate:,.0f}/s" if rate else "")


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _plain() -> Callable[[operations.Progress], None]:
    said: dict[str, float] = {}

    def show(one: operations.Progress) -> None:
        now = time.monotonic()
        if one.name in said and now - said[one.name] < LINE_S and one.done < one.total:
            return
        said[one.name] = now
        left = f", {one.rate:,.0f}/s, about {one.remaining_s or 0:.0f} s left" if one.rate else ""
        talk(f"{one.name}: {one.done:,} of {one.total:,}{left}")

    return show
