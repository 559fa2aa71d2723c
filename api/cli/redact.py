"""`trial-ledger redact`: prepare an order of redaction, carry redactions out, say what remains where until when.

An order is a statement like every other: a privacy officer signs it, a data manager or an investigator
countersigns it, both are appended. This command finds what the order has to name; with a key file it signs it.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, EXIT_USAGE, Json, give, talk
from ledger.settings import Settings

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.redaction.preparing import Prepared
    from ledger.redaction.searching import Place

BACKUP_DAYS = 35
"""How long physical backups and archived WAL may keep the bytes; longer retention is a breach of this promise."""

LONGEST_TEXT = 10_000
"""Characters of a text to look for."""

Jtis = Annotated[list[str] | None, typer.Option("--jti", help="Event id of a record; may be repeated.")]
Fields = Annotated[list[str] | None, typer.Option("--field", help="Field of these records; all where none is named.")]


def redact(
    study: Annotated[str, typer.Option(help="The study's id.")],
    jti: Jtis = None,
    field: Fields = None,
    text: Annotated[
        str | None,
        typer.Option(
            help="Redact every field that holds this literal text; - asks for it, for others see what is typed here."
        ),
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Only what is about this subject (UUID), with --text.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; goes on record (disclosed).")] = None,
    legal_basis: Annotated[str | None, typer.Option(help="On what legal basis; goes on record in the clear.")] = None,
    actor: Annotated[str | None, typer.Option(help="The privacy officer who signs.")] = None,
    key: Annotated[Path | None, typer.Option(help="The officer's key file; without it nothing is signed.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the orders, one file each; default: print.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Carry out what is countersigned, now.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say what remains where until when.")] = False,
    json_: Json = False,
) -> None:
    """Prepare the redaction of fields, carry redactions out, or say how far they are."""
    from ledger.application import Ledger
    from ledger.domain.refusals import Refusal
    from ledger.redaction.preparing import NothingToRedact

    if apply + status + bool(jti or text) != 1:
        raise typer.BadParameter("give --jti or --text to prepare an order, or --apply, or --status")
    if text == "-":
        text = _typed()
    try:
        with Ledger(Settings.read()) as ledger:
            ledger.writer(study)  # there is such a study
            if apply:
                _apply(ledger, study, json_)
            elif status:
                found = _status(ledger, study)
                give(found, json_, _status_in_words(found))
            else:
                terms = {"reason": reason, "legal_basis": legal_basis}
                _prepare(
                    ledger, study, _wanted(ledger, study, jti, field, text, subject), terms, actor, key, output, json_
                )
    except NothingToRedact as nothing:
        talk(f"{nothing}.")
        raise typer.Exit(EXIT_REFUSED) from None
    except Refusal as refusal:
        talk(f"{refusal.title} {refusal.because}. {refusal.remedy} ({refusal.rule})")
        raise typer.Exit(EXIT_REFUSED) from None


def _typed() -> str:
    """The text, from whoever sits there or from one line of standard input: neither stands in the list of processes
    nor in a shell's history."""
    if sys.stdin.isatty():
        return str(typer.prompt("Text to redact", hide_input=True, err=True))
    return sys.stdin.readline(LONGEST_TEXT).rstrip("\r\n")


# -- preparing ------------------------------------------------------------------------------------------------


def _wanted(
    ledger: Ledger, study: str, jtis: list[str] | None, fields: list[str] | None, text: str | None, subject: str | None
) -> list[dict[str, list[str]]]:
    """What each order is to destroy, by event id: one order for each subject, and one for the study's own records."""
    if jtis:
        return [{jti: list(fields or ()) for jti in dict.fromkeys(jtis)}]
    assert text is not None
    found, clear = _search(ledger, study, [text], subject)
    for place in clear:
        talk(f"In the clear, cannot be redacted: {place.event} at index {place.index}, {place.field}")
    orders: dict[str, dict[str, list[str]]] = {}
    for place in found:
        about = place.sub if place.sub.startswith("subject/") else f"the study at {place.site or 'no site'}"
        orders.setdefault(about, {}).setdefault(place.jti, []).append(place.field)
    return list(orders.values())


def _search(ledger: Ledger, study: str, texts: list[str], subject: str | None) -> tuple[list[Place], list[Place]]:
    """What holds these texts: in disclosures, and in the clear."""
    from uuid import UUID

    from ledger.domain.redaction import SHORTEST_QUOTE
    from ledger.redaction.searching import MAX_FOUND, search

    if any(len(text.strip()) < SHORTEST_QUOTE for text in texts):
        raise typer.BadParameter(f"a text to look for has at least {SHORTEST_QUOTE} characters")
    try:
        about = None if subject is None else UUID(subject)
    except ValueError:
        raise typer.BadParameter("--subject takes the subject's UUID; GET .../subjects lists it") from None
    with ledger.database.connection() as connection:
        size = ledger.checkpoint(connection, study).size
        found = list(search(connection, study, texts, size, about))
    if len(found) == MAX_FOUND:
        talk(f"Only the first {MAX_FOUND} places are listed: look for something longer, or in one subject.")
    return [one for one in found if one.disclosure], [one for one in found if not one.disclosure]


def _prepare(
    ledger: Ledger,
    study: str,
    wanted: list[dict[str, list[str]]],
    terms: dict[str, str | None],
    actor: str | None,
    key: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    if not wanted:
        talk("Nothing holds this text.")
        raise typer.Exit(EXIT_REFUSED)
    orders = []
    for number, fields in enumerate(wanted, start=1):
        prepared = ledger.prepare_redaction(study, fields)
        order: dict[str, Any] = {
            "sub": prepared.sub,
            "site": prepared.site,
            "destroys": [
                {"index": one.index, "event": one.event, "jti": one.jti, "field": one.field, "why": one.why}
                for one in prepared.lines
            ],
            "candidates": _candidates(ledger, study, prepared),
            "statement": _statement(ledger, study, prepared, terms, actor, key),
        }
        orders.append(order)
        if output is not None:
            order["file"] = str(_written(output, number, order["statement"]))
    give({"orders": orders}, as_json, "\n\n".join(_in_words(order) for order in orders))


def _candidates(ledger: Ledger, study: str, prepared: Prepared) -> list[dict[str, Any]]:
    """Further fields of the same subject that hold a text of the order: a person decides whether they are copies."""
    from uuid import UUID

    from ledger.redaction.searching import search

    kind, _, name = prepared.sub.partition("/")
    about = UUID(name) if kind == "subject" else ledger.study_aggregate_id(study)
    ordered = {(line.jti, line.field) for line in prepared.lines}
    with ledger.database.connection() as connection:
        size = ledger.checkpoint(connection, study).size
        found = search(connection, study, prepared.texts, size, about)
        return [one.as_dict() for one in found if (one.jti, one.field) not in ordered]


def _statement(
    ledger: Ledger,
    study: str,
    prepared: Prepared,
    terms: dict[str, str | None],
    actor: str | None,
    key: Path | None,
) -> Any:
    """The signed order where there is a key; else what is to be signed, as JSON."""
    from api.client.signing import Actor
    from ledger.signing.keys import KeyFileError, load_key

    fields = {"records": list(prepared.records), **terms}
    if key is None:
        claims = {"event": "FieldsRedacted", "sub": prepared.sub, "site": prepared.site, "aud": ledger.origin(study)}
        return {**claims, "fields": fields}
    if not (actor and terms["reason"] and terms["legal_basis"]):
        raise typer.BadParameter("to sign an order: --actor, --reason and --legal-basis")
    try:
        signer = load_key(key, None)
    except KeyFileError as error:
        talk(str(error))
        raise typer.Exit(EXIT_USAGE) from None
    officer = Actor(actor, "privacy", signer, ledger.origin(study))
    return officer.sign("FieldsRedacted", prepared.sub, fields, site=prepared.site)


def _written(folder: Path, number: int, statement: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    signed = isinstance(statement, str)
    path = folder / f"order-{number}.{'sd-jwt' if signed else 'json'}"
    path.write_text(statement if signed else json.dumps(statement, indent=1) + "\n", encoding="utf-8")
    return path


def _in_words(order: dict[str, Any]) -> str:
    lines = [f"About {order['sub']}" + (f" at {order['site']}" if order["site"] else "") + ", would be destroyed:"]
    lines += [f"  {one['event']} at index {one['index']}: {one['field']} ({one['why']})" for one in order["destroys"]]
    if order["candidates"]:
        lines.append("Hold the same text, and are not in the order (look, and name them too if they are copies):")
        for one in order["candidates"]:
            clear = "" if one["disclosure"] else ", in the clear: cannot be redacted"
            lines.append(f"  {one['event']} at index {one['index']}: {one['field']} ({one['jti']}){clear}")
    said = order.get("file") or order["statement"]
    lines.append(said if isinstance(said, str) else json.dumps(said))
    return "\n".join(lines)


# -- carrying out ---------------------------------------------------------------------------------------------


def _apply(ledger: Ledger, study: str, as_json: bool) -> None:
    """What the server does in the background, once, with the projections brought up to date."""
    from projections.definitions import known_models
    from projections.engine.runner import Runner

    models = known_models()
    alarm = ledger.check_log(study)
    if alarm is not None:
        talk(str(alarm))
    with ledger.projector_database() as database:
        Runner(database, models).catch_up()
    settled = ledger.settle_redactions([model.fingerprint for model in models])
    steps = [step for step in settled if step.study == study]
    told = [{"effective_index": step.effective_idx, "waits_for": step.waits_for} for step in steps]
    words = [
        f"Countersigned at index {step.effective_idx}: "
        + ("destroyed" if step.waits_for is None else f"waits for {step.waits_for}")
        for step in steps
    ]
    give({"redactions": told}, as_json, "\n".join(words) or "Nothing was waiting.")
    if any(step.waits_for for step in steps):
        raise typer.Exit(EXIT_UNDECIDED)


def _status(ledger: Ledger, study: str) -> dict[str, Any]:
    from ledger.redaction.listing import listed
    from ledger.store import statements

    register = ledger.redactions.register(study).read()
    with ledger.database.snapshot() as connection:
        size = ledger.checkpoint(connection, study).size
        found = listed(connection, study, size, register.redacted)
        rows = statements.select_events(connection, study, 0, size, 1_000, ["DataExported"])
    now = datetime.now(UTC)
    for one in found:
        at = one["destroyed_at"]
        until = None if at is None else datetime.fromisoformat(at) + timedelta(days=BACKUP_DAYS)
        one["backups_until"] = None if until is None else until.isoformat()
        one["backups_expired"] = until is not None and until < now
        effective = one["effective_index"]
        one["exported_before"] = [row.idx for row in rows if effective is None or row.idx < effective]
    applied = [{"at": one.at, "destroyed": one.destroyed, "unknown": one.unknown} for one in register.applied]
    return {"redactions": found, "applied_to_restored_databases": applied}


def _status_in_words(found: dict[str, Any]) -> str:
    lines = []
    for one in found["redactions"]:
        fields = "; ".join(
            f"{record['event'] or record['jti']}: {', '.join(record['fields'])}" for record in one["records"]
        )
        order = one["order"]
        lines.append(f"{'index ' + str(order['index']) if order else 'not in this log'}: {fields}: {one['state']}")
        if one["backups_until"]:
            lines.append(f"  physical backups and archived WAL may hold it until {one['backups_until']}")
        if one["exported_before"]:
            indexes = ", ".join(map(str, one["exported_before"]))
            lines.append(f"  exported before, and not recalled: DataExported at index {indexes}")
    for one in found["applied_to_restored_databases"]:
        lines.append(f"{one['at']}: a restored database held {one['destroyed']} redacted disclosures; destroyed")
    return "\n".join(lines) or "Nothing was redacted."
