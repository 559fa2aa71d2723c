"""`trial-ledger accounts`: what a registrar does for people who sign with custodial keys.

Each is a statement signed with the registrar key of this home. None gives access to anybody's key: a code lets its
owner choose a passphrase, and the key made is usable when the registrar has compared its thumbprint and enrolled it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.cli.init import study_id
from api.cli.output import EXIT_REFUSED, Json, give, talk
from ledger.domain.account import LONGEST_OFFER_HOURS
from ledger.domain.refusals import Refusal
from ledger.settings import Settings

SHORTEST_THUMBPRINT = 8
"""Characters of a thumbprint that a person reads out: 48 bits, while one code makes one key."""

accounts = typer.Typer(help="Offer, enrol, list and unlock people's custodial signing keys.", no_args_is_help=True)

Study = Annotated[str, typer.Option(callback=study_id, help="The study.")]
Registrar = Annotated[str, typer.Option(help="Actor id of the registrar whose key this home has.")]


@accounts.command("list")
def list_(study: Study, json_: Json = False) -> None:
    """List custodial keys: whose, in which state, by when to renew."""
    with _registrar(study, "registrar") as (book, _):
        found = book.credentials(study)
    lines = [
        f"{one['user_id']:<24} {one['kid'][:12]} {one['state']:<9} renew by {one['renew_by'][:10]}"
        + (" LOCKED" if one["locked"] else "")
        for one in found
    ]
    give({"credentials": found}, json_, "\n".join(lines) or "No custodial key was made yet.")


@accounts.command()
def code(
    user_id: str,
    study: Study,
    registrar: Registrar = "registrar-1",
    hours: Annotated[int, typer.Option(min=1, max=LONGEST_OFFER_HOURS, help="How long the code works.")] = 24,
    identified_by: Annotated[
        str | None, typer.Option(help="Record as well that the identity was verified now, by this method.")
    ] = None,
    json_: Json = False,
) -> None:
    """Offer a person a key: prints the one-time code, to be handed over in person."""
    from ledger.accounts.codes import CODE_BYTES, code_digest, code_of

    made = code_of(secrets.token_bytes(CODE_BYTES))
    with _registrar(study, registrar) as (_, say):
        if identified_by is not None:
            today = datetime.now(UTC).date().isoformat()
            say("IdentityVerified", user_id, {"method": identified_by, "verified_date": today})
        say("CredentialOffered", user_id, {"code_digest": code_digest(made), "valid_hours": hours})
    give({"user_id": user_id, "code": made, "valid_hours": hours}, json_, f"{made}  (works once, for {hours} hours)")


@accounts.command()
def enrol(
    user_id: str,
    study: Study,
    kid: Annotated[str, typer.Option(help="The key's thumbprint as the person reads it out, 8 characters at least.")],
    registrar: Registrar = "registrar-1",
    json_: Json = False,
) -> None:
    """Enrol the key that a person has made, once the person has read its thumbprint out."""
    if len(kid) < SHORTEST_THUMBPRINT:
        raise typer.BadParameter(f"give at least {SHORTEST_THUMBPRINT} characters of the thumbprint")
    with _registrar(study, registrar) as (book, say):
        waiting = [one for one in book.credentials(study) if one["user_id"] == user_id and one["state"] == "waiting"]
        fitting = [one for one in waiting if one["kid"].startswith(kid)]
        if not fitting:
            talk(f"No key of {user_id} with the thumbprint {kid} waits; the person may have read it wrongly.")
            raise typer.Exit(EXIT_REFUSED)
        enrolment = fitting[0]["enrolment"]
        index = say("KeyEnrolled", user_id, enrolment["body"], jti=enrolment["jti"])
        waits = any(one["kid"] == fitting[0]["kid"] and one["state"] == "waiting" for one in book.credentials(study))
    told = {"user_id": user_id, "kid": fitting[0]["kid"], "index": index, "jti": enrolment["jti"], "waits": waits}
    then = f", once a second registrar runs `keys countersign {told['jti']}`" if waits else ""
    give(told, json_, f"The key {told['kid']} of {user_id} is enrolled at index {index}{then}.")


@accounts.command()
def unlock(
    user_id: str,
    study: Study,
    reason: Annotated[str, typer.Option(help="What was found out.")],
    registrar: Registrar = "registrar-1",
    json_: Json = False,
) -> None:
    """Unlock an account that failures have locked."""
    with _registrar(study, registrar) as (_, say):
        index = say("AccountUnlocked", user_id, {"reason": reason})
    give({"user_id": user_id, "index": index}, json_, f"The account of {user_id} is unlocked.")


@contextmanager
def _registrar(study: str, registrar: str) -> Iterator[tuple[Any, Any]]:
    """The accounts of this installation, and a way to record a registrar's statement about an actor."""
    from api.client.signing import Actor
    from ledger.accounts.service import Accounts
    from ledger.application import Ledger

    with Ledger(Settings.read()) as ledger:
        key = ledger.home.key("registrar")
        by = Actor(registrar, "registrar", key, ledger.origin(study), now=lambda: int(ledger.now().timestamp()))

        def say(event: str, user_id: str, fields: dict[str, Any], **claims: Any) -> int:
            outcome = ledger.append(study, by.sign(event, f"actor/{user_id}", fields, **claims))
            if isinstance(outcome, Refusal):
                raise outcome
            return outcome.index

        try:
            yield Accounts(ledger), say
        except Refusal as refusal:
            talk(f"{refusal.rule}: {refusal.title} {refusal.because}. {refusal.remedy}")
            raise typer.Exit(EXIT_REFUSED) from None
