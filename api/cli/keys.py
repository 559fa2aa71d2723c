"""`trial-ledger keys`: keys of actors, of this installation and of a study's log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.output import EXIT_REFUSED, Json, give, talk
from ledger.keystore import HomeError, read_secret_file
from ledger.settings import Settings

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.signing.keys import SigningKey
    from ledger.writer import Answer

keys = typer.Typer(help="Keys: of actors, of this installation, of a study's log.", no_args_is_help=True)

Study = Annotated[str, typer.Option(help="The study's id.")]
KeyFile = Annotated[Path, typer.Argument(help="The key file: PKCS #8 in PEM, encrypted.")]
OwnKey = Annotated[
    Path | None, typer.Option("--key", help="Sign with this key file instead of the home's registrar key.")
]
Role = Annotated[str, typer.Option(help="The role to act in.")]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="File with the key's passphrase; asked for without it.")
]


@contextmanager
def _opened() -> Iterator[Ledger]:
    """An open ledger; a refusal is one sentence and exit status 1."""
    from api.cli.key_acts import WrongKey
    from ledger.application import Ledger
    from ledger.domain.refusals import Refusal
    from ledger.signing.errors import Malformed

    try:
        with Ledger(Settings.read()) as ledger:
            yield ledger
    except Refusal as refusal:
        talk(f"{refusal.rule}: {refusal.title} {refusal.because}. {refusal.remedy}")
        raise typer.Exit(EXIT_REFUSED) from None
    except (WrongKey, Malformed) as wrong:
        talk(str(wrong))
        raise typer.Exit(EXIT_REFUSED) from None


def _passphrase(file: Path | None, confirm: bool = False) -> bytes:
    """From a file, or asked for on the terminal."""
    if file is not None:
        return read_secret_file(file)
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on: give --passphrase-file")
    return str(typer.prompt("Passphrase of the key", hide_input=True, confirmation_prompt=confirm, err=True)).encode()


def _load(path: Path, passphrase_file: Path | None) -> SigningKey:
    from ledger.signing.keys import KeyFileError, load_key

    try:
        return load_key(path, _passphrase(passphrase_file))
    except KeyFileError as error:
        raise HomeError(str(error)) from None


def _told(answer: Answer, as_json: bool, text: str, **more: Any) -> None:
    said = {"jti": answer.jti, "index": answer.index, "recorded_at": answer.recorded_at, **more}
    give(said, as_json, f"{text} (index {answer.index}).")


@keys.command()
def new(
    file: KeyFile,
    alg: Annotated[str, typer.Option(help="Ed25519 or ES256.")] = "Ed25519",
    passphrase_file: PassphraseFile = None,
    json_: Json = False,
) -> None:
    """Make a key in an encrypted file; an existing file is never replaced."""
    from api.cli.key_acts import public_of
    from ledger.keystore import check_passphrase
    from ledger.signing.keys import ALGORITHMS, KeyFileError, SigningKey, save_key

    if alg not in ALGORITHMS:
        raise typer.BadParameter(f"no key of algorithm {alg!r} can be made; ask for Ed25519 or ES256")
    passphrase = check_passphrase(_passphrase(passphrase_file, confirm=True))
    key = SigningKey.generate(alg)
    try:
        save_key(file, key, passphrase)
    except KeyFileError as error:
        raise HomeError(str(error)) from None
    except OSError as error:
        raise HomeError(f"{file} cannot be written ({error.strerror}): name a file in a folder that is there") from None
    give({"file": str(file), **public_of(key)}, json_, f"{file}: {key.alg} key {key.kid}")


@keys.command()
def show(file: KeyFile, passphrase_file: PassphraseFile = None, json_: Json = False) -> None:
    """Tell the public part of a key file: thumbprint, algorithm, JWK."""
    from api.cli.key_acts import public_of

    key = _load(file, passphrase_file)
    give(public_of(key), json_, f"{key.alg} key {key.kid}")


@keys.command()
def request(
    file: KeyFile,
    origin: Annotated[str, typer.Option(help="The log's origin, <host>/study/<study>.")],
    actor: Annotated[str, typer.Option(help="The actor id that the key is for.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Print what a registrar needs to enrol a key: its public part, and the proof that its holder has it."""
    from api.cli.key_acts import key_request
    from ledger.signing.errors import Malformed

    try:
        made = key_request(_load(file, passphrase_file), origin, actor)
    except Malformed as wrong:
        raise typer.BadParameter(str(wrong)) from None
    give(made, True, "")


@keys.command()
def enrol(
    study: Study,
    file: Annotated[Path, typer.Argument(help="What `keys request` printed.")],
    kind: Annotated[str, typer.Option(help="person or system, where the actor is new.")] = "person",
    key: OwnKey = None,
    passphrase_file: PassphraseFile = None,
    json_: Json = False,
) -> None:
    """Enrol a key for an actor, who is enrolled too where the id is new."""
    from api.cli import key_acts

    if kind not in ("person", "system"):
        raise typer.BadParameter("--kind is person or system")
    with _opened() as ledger:
        asked = key_acts.read_request(file)
        own = _load(key, passphrase_file) if key else None
        by, authority = key_acts.signer_for(ledger, study, own, "registrar")
        answer = key_acts.enrol(ledger, study, asked, by, kind, authority)
        waits = authority.registrars_required > 1
    _told(
        answer, json_, f"The key {asked['kid']} of {asked['actor']} is enrolled{_waiting(waits, answer)}", waits=waits
    )


@keys.command()
def countersign(
    study: Study,
    jti: Annotated[str, typer.Argument(help="Event id of what waits for a second registrar.")],
    key: OwnKey = None,
    passphrase_file: PassphraseFile = None,
    json_: Json = False,
) -> None:
    """Sign as the second registrar: an enrolment, a delegation, a rotation of the log's key."""
    from api.cli import key_acts

    with _opened() as ledger:
        own = _load(key, passphrase_file) if key else None
        by, _ = key_acts.signer_for(ledger, study, own, "registrar")
        answer = key_acts.countersign(ledger, study, jti, by)
    _told(answer, json_, f"{jti} is countersigned and in effect")


@keys.command()
def revoke(
    study: Study,
    kid: Annotated[str, typer.Argument(help="Thumbprint of the key.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    suspect_since: Annotated[
        int | None, typer.Option(min=0, help="Index from which on its signatures are disputed.")
    ] = None,
    key: OwnKey = None,
    role: Role = "registrar",
    passphrase_file: PassphraseFile = None,
    json_: Json = False,
) -> None:
    """Revoke a key; what it signed from --suspect-since on is disputed until its actor reaffirms it."""
    from api.cli import key_acts

    with _opened() as ledger:
        own = _load(key, passphrase_file) if key else None
        by, authority = key_acts.signer_for(ledger, study, own, role)
        held = authority.key(kid)
        if held is None:
            raise key_acts.WrongKey(f"{study} has no key {kid}: see `trial-ledger keys list --study {study}`")
        fields = {"kid": kid, "suspect_since": suspect_since, "reason": reason}
        answer = key_acts.record(ledger, study, by.sign("KeyRevoked", f"actor/{held.actor}", fields))
    _told(answer, json_, f"The key {kid} of {held.actor} is revoked")


@keys.command()
def disputed(study: Study, json_: Json = False) -> None:
    """List statements whose key came under suspicion and that their actors have not reaffirmed."""
    from api.cli import key_acts

    with _opened() as ledger:
        found = list(key_acts.disputed(ledger, study))
    lines = [f"{one['index']:>8} {one['event']} by {one['actor']} {one['jti']}" for one in found]
    give({"disputed": found}, json_, "\n".join(lines) or "No statement is disputed.")


@keys.command()
def reaffirm(
    study: Study,
    key: Annotated[Path, typer.Option("--key", help="A key file of the actor that is in force.")],
    role: Role,
    jtis: Annotated[list[str] | None, typer.Argument(help="Event ids of own statements.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every own statement that is disputed.")] = False,
    passphrase_file: PassphraseFile = None,
    json_: Json = False,
) -> None:
    """Stand by own statements that are disputed, signed with a good key."""
    from api.cli import key_acts

    if bool(jtis) == every:
        raise typer.BadParameter("name event ids, or give --all")
    with _opened() as ledger:
        by, _ = key_acts.signer_for(ledger, study, _load(key, passphrase_file), role)
        found = {one["jti"]: one for one in key_acts.disputed(ledger, study, by.id)}
        missing = sorted(set(jtis or ()) - found.keys())
        if missing:
            raise key_acts.WrongKey(f"{missing[0]} is no statement of {by.id!r} that is disputed")
        records = [{"jti": jti, "digest": found[jti]["digest"]} for jti in dict.fromkeys(jtis or found)]
        answers = key_acts.reaffirm(ledger, study, by, records)
    said = [{"jti": answer.jti, "index": answer.index} for answer in answers]
    give({"reaffirmed": records, "recorded": said}, json_, f"{len(records)} statements are reaffirmed.")


@keys.command("list")
def list_(study: Study, json_: Json = False) -> None:
    """Keys of actors, with the indexes between which they are in force; keys of the log."""
    from api.cli import key_acts

    with _opened() as ledger:
        found = key_acts.listed(key_acts.study_of(ledger, study).authority)
        log = ledger.log_key_history(study)
    lines = []
    for one in found:
        ended = f", revoked at {one['revoked']}" if one["revoked"] is not None else ""
        doubt = f", suspect since {one['suspect_since']}" if one["suspect_since"] is not None else ""
        lines.append(f"{one['actor']} {one['kid']} since {one['since']}{ended}{doubt}")
    lines += [f"log, since {one['since']}: {' '.join(one['log_keys'])[:100]}..." for one in log]
    give({"keys": found, "log": log}, json_, "\n".join(lines))


@keys.command("rotate-log")
def rotate_log(study: Study, json_: Json = False) -> None:
    """Hand a study's log over to its next keys, by an event that the old and the new ones sign."""
    from api.cli import key_acts

    with _opened() as ledger:
        by, authority = key_acts.signer_for(ledger, study, None, "registrar")
        answer, made = key_acts.rotate_log(ledger, study, by)
        waits = authority.registrars_required > 1
    text = f"The log of {study} changes its keys{_waiting(waits, answer)}: hand the new ones to whoever keeps a policy"
    _told(answer, json_, text, waits=waits, log_keys=made)


@keys.command("rotate-seal")
def rotate_seal(study: Study, json_: Json = False) -> None:
    """Enrol the next key of the actor `ledger`, which seals exports and the system's own records."""
    from api.cli import key_acts

    with _opened() as ledger:
        by, authority = key_acts.signer_for(ledger, study, None, "registrar")
        answer, kid = key_acts.rotate_seal(ledger, study, by)
        waits = authority.registrars_required > 1
    text = f"The system seals the records of {study} with the key {kid}{_waiting(waits, answer)}"
    _told(
        answer, json_, f"{text}; revoke the one before with `keys revoke` where it may be known", waits=waits, kid=kid
    )


@keys.command("change-passphrase")
def change_passphrase(
    new_passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the new passphrase; asked for without it.")
    ] = None,
    json_: Json = False,
) -> None:
    """Encrypt this home's keys under another passphrase; the present one is read as always."""
    from ledger.home import Home

    settings = Settings.read()
    home = Home(settings.home, settings.passphrase_file)
    home.master_seed()  # opened with the present one, before a new one is asked for
    home.secrets.change_passphrase(_passphrase(new_passphrase_file, confirm=True))
    text = "The keys are under the new passphrase: let TRIAL_LEDGER_PASSPHRASE_FILE name a file that holds it."
    give({"home": str(home.path)}, json_, text)


def _waiting(waits: bool, answer: Answer) -> str:
    return f" once a second registrar runs `keys countersign {answer.jti}`" if waits else ""
