"""`trial-ledger init`: make the home and the database ready, and open a study."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, Json, give, talk
from ledger.domain.refusals import Refusal
from ledger.settings import Settings
from ledger.signing.errors import Malformed

if TYPE_CHECKING:
    from ledger.application import Ledger


class Ceremony(StrEnum):
    """Whether electronic signatures take a ceremony."""

    REQUIRED = "required"
    UNAVAILABLE = "unavailable"


STUDY_ID = re.compile(r"[A-Z0-9-]{3,32}")


def study_id(value: str | None) -> str | None:
    """A study's id, in the form that every study's has."""
    if value is not None and not STUDY_ID.fullmatch(value):
        raise typer.BadParameter(f"{value!r} is not a study's id: 3 to 32 of A-Z, 0-9 and -")
    return value


def _text_of(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read().strip() if str(file) == "-" else file.read_bytes().strip()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read ({error.strerror})") from None


def _set_up(settings: Settings) -> None:
    """Make roles and tables in somebody's own PostgreSQL; ends with the grants that only an administrator gives.

    They are not given here: which login acts in which role is the one thing that an installation decides itself.
    """
    if settings.admin_url is None or settings.database_url is None or settings.projector_url is None:
        return
    from ledger.store.migrations import migrate
    from ledger.store.roles import missing_grants

    migrate(settings.admin_url)
    grants = missing_grants(settings.database_url, settings.projector_url)
    if grants:
        talk(
            "Roles and tables are there. What is missing is said by an administrator of the database, once; "
            "then run this command again:\n" + "\n".join(grants)
        )
        raise typer.Exit(EXIT_UNDECIDED)


def _refuse_unprotected(ledger: Ledger, synthetic: bool) -> None:
    """Real data in an installation that lasts, under keys whose passphrase lies beside them, are a mistake."""
    if synthetic or ledger.home.secrets.protects:
        return
    because = "The keys of this home are encrypted under a passphrase that was generated beside them, which protects "
    because += "nothing. Run `trial-ledger keys change-passphrase`, set TRIAL_LEDGER_PASSPHRASE_FILE"
    if ledger.embedded is None:
        talk(f"A study with real data was not opened. {because} and run this again; or state --synthetic.")
        raise typer.Exit(EXIT_REFUSED)
    talk(f"{because} before real data are recorded.")


ALONE = (
    "This study has one registrar, whose key lies in this home: whoever has both can, alone and on record, revoke "
    "somebody's key and give out another in that person's name. Where a false signature must take two people (21 CFR "
    "11.200(a)(3)), open the study with --second-registrar."
)
"""Said when a study that asks for ceremonies is opened with one registrar."""


def _second(file: Path | None, origin: str) -> dict[str, Any] | None:
    """The second registrar, as asked for in a file; who asks proves to have the key."""
    from api.cli.key_acts import WrongKey, check_request, read_request

    if file is None:
        return None
    try:
        request = read_request(file)
        check_request(request, origin)
    except WrongKey as wrong:
        raise typer.BadParameter(str(wrong)) from None
    return request


def init(
    study: Annotated[
        str | None, typer.Option(callback=study_id, help="Open this study, with the registrar key of this home.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="The study's title.")] = None,
    registrar: Annotated[str, typer.Option(help="Actor id of the registrar.")] = "registrar-1",
    synthetic: Annotated[bool, typer.Option(help="The data are synthetic.")] = False,
    ceremony: Annotated[
        Ceremony | None,
        typer.Option(
            help="Whether electronic signatures take a signing ceremony (accounts, passphrases). Without it: required, "
            "and for synthetic data unavailable. It can be required later (CeremonyRequired), never lifted."
        ),
    ] = None,
    second_registrar: Annotated[
        Path | None,
        typer.Option(
            help="What a second registrar printed with `keys request`, whose key is kept elsewhere: new keys and roles "
            "then take both, and nobody alone can sign as somebody else."
        ),
    ] = None,
    genesis_file: Annotated[
        Path | None, typer.Option("--genesis", help="Open a study with this signed StudyOpened; - for stdin.")
    ] = None,
    json_: Json = False,
) -> None:
    """Make the home and the database ready; with --study or --genesis, open a study."""
    from api.client.genesis import genesis
    from ledger.application import Ledger
    from ledger.signer_state import SignerAlarm

    if second_registrar is not None and study is None:
        raise typer.BadParameter("--second-registrar goes with --study; a genesis names its registrars itself")
    if study is not None and genesis_file is not None:
        raise typer.BadParameter("--study makes a genesis and --genesis brings one; give one of the two")
    asked = (ceremony or (Ceremony.UNAVAILABLE if synthetic else Ceremony.REQUIRED)).value
    given = None if genesis_file is None else _text_of(genesis_file)
    settings = Settings.read()
    _set_up(settings)
    try:
        moved = Ledger(settings).share_signer_state()
    except SignerAlarm as alarm:
        talk(str(alarm))
        raise typer.Exit(EXIT_REFUSED) from None
    if moved:
        talk(f"The signer's state of {', '.join(moved)} is now in the shared store.")
    with Ledger(settings) as ledger:
        key = ledger.home.key("registrar")
        ledger.allow_genesis(key.kid)
        made: dict[str, Any] = {"home": str(ledger.home.path), "host": ledger.host, "registrar_key": key.kid}
        try:
            if study is not None and ledger.has_study(study):
                made |= {"study": study, "origin": ledger.origin(study), "repeat": True}
            elif study is not None:
                _refuse_unprotected(ledger, synthetic)
                second = _second(second_registrar, ledger.log_keys(study)["origin"])
                if second is None and asked == Ceremony.REQUIRED.value:
                    talk(ALONE)
                text = genesis(
                    ledger,
                    study,
                    registrar=registrar,
                    title=title,
                    synthetic=synthetic,
                    clock="real",
                    ceremony=asked,
                    second=second,
                )
                answer = ledger.open_study(text)
                made |= {"study": study, "origin": ledger.origin(study), "repeat": answer.repeat}
            elif given is not None:
                answer = ledger.open_study(given)
                made |= {"jti": answer.jti, "repeat": answer.repeat}
        except Refusal as refusal:
            talk(f"{refusal.rule}: {refusal.title} {refusal.because}. {refusal.remedy}")
            raise typer.Exit(EXIT_REFUSED) from None
        except Malformed as wrong:  # a registrar's id, a title
            raise typer.BadParameter(str(wrong)) from None
    opened = f", the study {study} is open as {made.get('origin')}" if study else ""
    give(made, json_, f"{made['home']} is ready{opened}.")
