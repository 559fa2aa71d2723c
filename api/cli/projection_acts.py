"""`trial-ledger projections approve`, `switch`, `rollback`, `cancel` and `retire`: which version answers.

An approval is a data manager's electronic signature over the report of a comparison, an event like every other; the
rest needs no key of a person, and goes on record as what the system did, with who asked for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.output import EXIT_REFUSED, EXIT_USAGE, Json, give, talk
from api.cli.projection_rebuild import By, Reason, in_words, put_on_record, who
from api.cli.projection_reports import Study, only_study, projection, refusing
from ledger.settings import Settings

if TYPE_CHECKING:
    from ledger.application import Ledger
    from projections.engine.replays import Replay

Name = Annotated[str, typer.Argument(help="The projection.")]

DATA_MANAGER = "data-manager"


def register(projections: typer.Typer) -> None:
    """Add these commands."""
    projections.command("approve")(approve)
    projections.command("switch")(switch)
    projections.command("rollback")(rollback)
    projections.command("cancel")(cancel)
    projections.command("retire")(retire)


def switch(name: Name, study: Study = None, by: By = None, reason: Reason = None, json_: Json = False) -> None:
    """Let the version that was built and compared answer, in one step."""
    _act("switch", name, study, by, reason, json_)


def rollback(name: Name, study: Study = None, by: By = None, reason: Reason = None, json_: Json = False) -> None:
    """Let the version before answer again."""
    _act("roll_back", name, study, by, reason, json_)


def cancel(name: Name, study: Study = None, by: By = None, reason: Reason = None, json_: Json = False) -> None:
    """Give the replay up that is under way, and take away what it built."""
    _act("cancel", name, study, by, reason, json_)


def retire(name: Name, study: Study = None, by: By = None, reason: Reason = None, json_: Json = False) -> None:
    """Take the version away that no longer answers; it cannot be gone back to then."""
    _act("retire", name, study, by, reason, json_)


def _act(step: str, name: str, study: str | None, by: str | None, reason: str | None, as_json: bool) -> None:
    from ledger.application import Ledger
    from projections.engine import operations

    wanted = projection(name)
    with refusing(), Ledger(Settings.read()) as ledger:
        put_on_record(ledger)
        where = _study(ledger, study)
        with ledger.projector_database() as database:
            done: dict[str, Any] = getattr(operations, step)(database, where, wanted, by or who(), reason)
        put_on_record(ledger)
    give(done, as_json, in_words(done))


def _study(ledger: Ledger, given: str | None) -> str:
    with ledger.database.connection() as conn:
        return given or only_study(conn)


# -- approving -------------------------------------------------------------------------------------------------


def approve(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why what is unexplained is accepted; goes on record (disclosed).")],
    key: Annotated[Path, typer.Option(help="The data manager's key file: PKCS #8 in PEM.")],
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the key's passphrase, where it has one.")
    ] = None,
    report: Annotated[
        str | None, typer.Option(help="Digest of the report that was looked at; another one is not signed.")
    ] = None,
    study: Study = None,
    json_: Json = False,
) -> None:
    """Sign the approval of a comparison's report, as a data manager."""
    from api.cli import key_acts
    from ledger.application import Ledger
    from ledger.keystore import read_secret_file
    from ledger.signing.keys import KeyFileError, load_key

    wanted = projection(name)
    with refusing(), Ledger(Settings.read()) as ledger:
        put_on_record(ledger)
        where = _study(ledger, study)
        replay = _to_approve(ledger, where, wanted, report)
        try:
            signer = load_key(key, read_secret_file(passphrase_file) if passphrase_file else None)
            actor, authority = key_acts.signer_for(ledger, where, signer, DATA_MANAGER)
        except (KeyFileError, key_acts.WrongKey) as wrong:
            talk(str(wrong))
            raise typer.Exit(EXIT_USAGE) from None
        if authority.ceremony == "required":
            talk(_by_ceremony(where, replay))
            raise typer.Exit(EXIT_REFUSED)
        with ledger.database.connection() as conn:
            newest = ledger.checkpoint(conn, where)
        answer = key_acts.record(ledger, where, _signed(actor, replay, reason, newest))
    told = {"index": answer.index, "projection": wanted, "report_digest": replay.report_digest, "actor": actor.id}
    give(told, json_, f"Approved by {actor.id} at index {answer.index}: report {replay.report_digest}")


def _to_approve(ledger: Ledger, study: str, name: str, report: str | None) -> Replay:
    from projections.engine.errors import ReplayMoved, ReplayNotThere
    from projections.engine.replays import replays_of

    with ledger.database.snapshot() as conn:
        found = [one for one in replays_of(conn, study, name) if one.state == "awaiting approval"]
    if not found:
        raise ReplayNotThere(f"no replay of {name!r} in {study} awaits an approval")
    if report is not None and report != found[-1].report_digest:
        raise ReplayMoved(f"the report is {found[-1].report_digest} now, not {report}: look at it again")
    return found[-1]


def _signed(actor: Any, replay: Replay, reason: str, newest: Any) -> str:
    from api.client.signing import Cut
    from ledger.signing.encoding import b64url

    fields = {"projection": replay.name, "report_digest": replay.report_digest, "reason": reason}
    root = newest.root if isinstance(newest.root, str) else b64url(newest.root)
    text: str = actor.sign("ReplayApproved", "study", fields, meaning="approval", cut=Cut(newest.size, root))
    return text


def _by_ceremony(study: str, replay: Replay) -> str:
    """How the approval is signed where electronic signatures take a ceremony."""
    return (
        f"{study} requires signing ceremonies, so a key file alone signs nothing. The data manager signs in "
        f"(POST /v1/studies/{study}/sessions), begins a ceremony (POST .../ceremonies) for the event ReplayApproved "
        f"with sub `study`, projection `{replay.name}`, report_digest `{replay.report_digest}` and a reason, and "
        "signs it (POST .../ceremonies/{ceremony}/signature). Then: trial-ledger projections switch "
        f"{replay.name} --study {study}"
    )
