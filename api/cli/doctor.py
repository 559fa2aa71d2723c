"""`trial-ledger doctor`: is everything there that the ledger needs, and what to do where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from api.cli.output import EXIT_REFUSED, Json, give
from ledger.keystore import HomeError, KeyStore
from ledger.settings import Settings
from ledger.store.errors import StoreError

if TYPE_CHECKING:
    from ledger.application import Ledger


def doctor(json_: Json = False) -> None:
    """Check configuration, database, roles and logs."""
    from ledger.store.roles import check, check_projector

    settings = Settings.read()
    problems: list[str] = []
    if settings.database_url is not None and settings.projector_url is not None:
        # Asked before the ledger opens: it could only say that it cannot, and not what would help.
        found = [*check(settings.database_url), *check_projector(settings.projector_url)]
        problems += [str(problem) for problem in found]
    if not problems:
        problems += _within(settings)
    notes = [*_unprotected(settings), *_restored(settings)]
    said = [*problems, *notes] or ["Everything is in place."]
    give({"problems": problems, "notes": notes}, json_, "\n".join(said))
    if problems:
        raise typer.Exit(EXIT_REFUSED)


def _within(settings: Settings) -> list[str]:
    """What is wrong with what only an open ledger sees: the home's keys, the logs, an embedded database."""
    from ledger.application import Ledger
    from ledger.store.roles import check

    problems: list[str] = []
    try:
        with Ledger(settings) as ledger:
            if ledger.embedded is not None:
                problems += [str(problem) for problem in check(ledger.urls.app)]
            ledger.home.seals()
            ledger.home.key("registrar")
            ledger.home.master_seed()
            for study in ledger.studies():
                alarm = ledger.check_log(study)
                if alarm is not None:
                    problems.append(str(alarm))
                else:
                    problems += [*_of_the_seal(ledger, study), *_of_witnesses(ledger, study)]
    except (StoreError, HomeError) as error:
        problems.append(str(error))
    return problems


def _of_the_seal(ledger: Ledger, study: str) -> list[str]:
    """What is wrong with the key that the system's own records of a study are sealed with."""
    from ledger.seals import NoSeal

    try:
        ledger.seal(study)
    except NoSeal as none:
        return [f"{study}: {none.because}, so that nothing is exported. {none.remedy}"]
    return []


def _unprotected(settings: Settings) -> list[str]:
    """What is not wrong, but should be known: keys whose passphrase lies beside them."""
    if settings.passphrase_file is not None or KeyStore(settings.home / "keys").protects:
        return []
    return [
        f"The keys in {settings.home / 'keys'} are encrypted under a passphrase that was generated beside them, which "
        "protects nothing: for anything but trying out, run `trial-ledger keys change-passphrase` and set "
        "TRIAL_LEDGER_PASSPHRASE_FILE."
    ]


def _of_witnesses(ledger: Ledger, study: str) -> list[str]:
    """What is wrong with a study's policy and witnesses."""
    from api.v1.witnesses import witness_state

    found = witness_state(ledger, study)
    problems = [f"{study}: {alarm['because']}. {alarm['remedy']}" for alarm in found["alarms"]]
    for one in found["witnesses"]:
        if one["error"] and not one["alarm"]:
            behind = f"it is {one['lag_entries']} entries behind"
            problems.append(f"{study}: the witness {one['name']} gives no cosignature: {one['error']}; {behind}")
    stamps = ledger.timestamping.problems(study)
    return problems + [f"{study}: {url} gives no time stamp: {because}" for url, because in stamps.items()]


def _restored(settings: Settings) -> list[str]:
    """What was done to databases that held again what is redacted: they were restored."""
    from ledger.home import Home
    from ledger.redaction.register import Register

    notes = []
    for path in sorted(Home(settings.home).redactions("x").parent.glob("*.ndjson")):
        try:
            applied = Register(path).read().applied
        except HomeError:
            continue  # opening the ledger says so, as a problem
        for one in applied:
            notes.append(
                f"{path.stem}: at {one.at} the database held {one.destroyed} redacted disclosures, {one.unknown} of "
                "which it did not know to be redacted (it was restored, or a process was killed); they were destroyed "
                "before anything was served. Record a restore with RestorePerformed."
            )
    return notes
