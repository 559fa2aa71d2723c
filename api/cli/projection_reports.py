"""`trial-ledger projections diff`, `digest` and `certificate`: what a replay changes, what stands, and the proof."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, Json, give, talk
from ledger.settings import Settings

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.store.database import Conn
    from projections.reports.comparison import Compared
    from projections.reports.stories import Story

Study = Annotated[str | None, typer.Option(help="The study's id; not needed where there is one study.")]
Output = Annotated[Path | None, typer.Option(help="Write to this file, readable by its owner alone.")]


class Format(StrEnum):
    """How a comparison is given."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


class Form(StrEnum):
    """How a certificate is given."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


def register(projections: typer.Typer) -> None:
    """Add these commands."""
    projections.command("diff")(diff)
    projections.command("digest")(digest)
    projections.command("certificate")(certificate)


def diff(
    name: Annotated[str, typer.Argument(help="The projection.")],
    study: Study = None,
    subject: Annotated[
        str | None, typer.Option(help="One subject (number or UUID), or `study`: its rows and the events behind them.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="With --subject: only this table.")] = None,
    key: Annotated[
        str | None, typer.Option(help='With --subject: only the row with this key, as JSON ("[12]").')
    ] = None,
    replay: Annotated[
        str | None, typer.Option(help="The replay's id; the last one that was compared if left out.")
    ] = None,
    format: Annotated[Format, typer.Option(help="text, csv, json or html.")] = Format.TEXT,
    output: Output = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """What a replay changes: by column, site and subject, intended or unexplained, down to the events."""
    from projections.reports import comparison, stories

    if (table or key) and subject is None:
        raise typer.BadParameter("--table and --key are about one subject: name it with --subject")
    address = None if key is None else _address(key)
    form = Format.JSON if json_ else format
    with opened() as ledger, ledger.database.snapshot() as conn:
        limit = comparison.MAX_SHOWN if form is Format.HTML else comparison.EXAMPLES
        found = comparison.compared(conn, study or only_study(conn), projection(name), replay, limit, subject)
        if subject is None or form is Format.CSV:
            write(_whole(conn, found, form), output)
        else:
            write(_drilled(found, stories.stories(conn, found, _table(found, table), address), form), output)


def _address(key: str) -> str:
    """A row's key as it is kept, however it was typed; wrong usage where it is none."""
    from projections.engine.inside import text_of

    try:
        values = json.loads(key)
    except ValueError:
        values = None
    if not isinstance(values, list):
        raise typer.BadParameter(f'{key!r} is no key: it is a JSON array, like "[12]", as the report names it')
    return text_of(values)


def _table(found: Compared, table: str | None) -> str | None:
    """A table in which something differs, or wrong usage."""
    known = sorted({str(one["table"]) for one in found.report["columns"]})
    if table is not None and table not in known:
        raise typer.BadParameter(f"nothing differs in a table {table!r}; what differs: {', '.join(known) or 'nothing'}")
    return table


def _whole(conn: Conn, found: Compared, form: Format) -> Iterator[bytes]:
    from projections.reports import comparison, comparison_page, files, text

    if form is Format.CSV:
        yield from files.csv(found, comparison.all_of(conn, found))
    elif form is Format.JSON:
        yield from files.document(found, comparison.all_of(conn, found))
    elif form is Format.HTML:
        yield comparison_page.html(found).encode()
    else:
        yield f"{text.told(found)}\n".encode()


def _drilled(found: Compared, rows: list[Story], form: Format) -> Iterator[bytes]:
    from projections.reports import comparison_page, files, text

    if form is Format.JSON:
        yield json.dumps(files.told(found, rows), ensure_ascii=False).encode() + b"\n"
    elif form is Format.HTML:
        yield comparison_page.drilled(found, rows).encode()
    else:
        yield f"{text.drilled(found, rows)}\n".encode()


def digest(
    name: Annotated[str, typer.Argument(help="The projection.")], study: Study = None, json_: Json = False
) -> None:
    """The digest of what a projection shows: equal where fingerprint, size and redactions are."""
    from projections.reports import state

    with opened() as ledger, ledger.database.snapshot() as conn:
        found = state.state(conn, study or only_study(conn), projection(name))
    give(found, json_, state.told(found))


def certificate(
    name: Annotated[str, typer.Argument(help="The projection.")],
    study: Study = None,
    replay: Annotated[
        str | None, typer.Option(help="The replay's id; the last that was concluded if left out.")
    ] = None,
    format: Annotated[Form, typer.Option(help="text, json or html.")] = Form.TEXT,
    output: Output = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """The certificate of a replay, from the log's entries alone; status 1 where they contradict."""
    from projections.reports import certificate, certificate_text, certified

    form = Form.JSON if json_ else format
    with opened() as ledger, ledger.database.snapshot() as conn:
        chosen = study or only_study(conn)
        found = certified.certified(conn, chosen, projection(name), replay)
    if form is Form.JSON:
        text = json.dumps({"study": chosen, **found}, ensure_ascii=False) + "\n"
    elif form is Form.HTML:
        text = certificate_text.html(chosen, found)
    else:
        text = certificate_text.text(chosen, found) + "\n"
    write([text.encode()], output)
    if found["verdict"] == certificate.CONTRADICTORY:
        raise typer.Exit(EXIT_REFUSED)


def projection(name: str) -> str:
    """A projection's name, or wrong usage."""
    from projections.definitions import NAMES

    if name not in NAMES:
        raise typer.BadParameter(f"there is no projection {name!r}: {', '.join(NAMES)}")
    return name


def only_study(conn: Conn) -> str:
    """The study, where there is one."""
    from projections.engine.sql import SQL

    known = [row[0] for row in conn.execute(SQL["study_ids"])]
    if len(known) != 1:
        raise typer.BadParameter(f"name the study with --study: there are {', '.join(known) or 'none'}")
    return str(known[0])


@contextmanager
def opened() -> Iterator[Ledger]:
    """The ledger, with what replays concluded put into it; refusals in words."""
    from ledger.application import Ledger
    from projections.engine.outbox import flush

    with refusing(), Ledger(Settings.read()) as ledger:
        flush(ledger)
        yield ledger


@contextmanager
def refusing() -> Iterator[None]:
    """Refusals in words, with their exit status."""
    from ledger.domain.refusals import Refusal

    try:
        yield
    except Refusal as refusal:
        talk(f"{refusal.title} {refusal.because}. {refusal.remedy} ({refusal.rule})")
        raise typer.Exit(EXIT_UNDECIDED if refusal.status >= 500 else EXIT_REFUSED) from None


def write(parts: Iterable[bytes], output: Path | None) -> None:
    """To standard output, or to a file that is there whole or not at all: it holds personal data."""
    if output is None:
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for part in parts:
                file.write(part)
        draft.replace(output)
    except OSError as error:
        raise typer.BadParameter(f"{output} cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    talk(f"written to {output}")
