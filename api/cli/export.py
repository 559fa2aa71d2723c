"""`trial-ledger export`: what leaves the ledger, each time recorded in it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, Json, give, talk
from ledger.settings import Settings

if TYPE_CHECKING:
    from ledger.application import Ledger
    from projections.exports.cut import ExportedCut
    from projections.exports.evidence import Exported

export = typer.Typer(help="Export what the ledger holds.", no_args_is_help=True)

REPORT_SECONDS = 2.0
"""Between two lines of progress; what takes less time says nothing."""


@export.callback()
def exports() -> None:
    """Export what the ledger holds."""


@export.command()
def evidence(
    study: Annotated[str, typer.Option(help="The study's id.")],
    output: Annotated[Path, typer.Option(help="The bundle's file.")],
    subject: Annotated[
        str | None, typer.Option(help="Disclose only this subject's content (number or UUID); the log is complete.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Position of the projections: a size, or a time with its offset.")
    ] = None,
    checkpoint: Annotated[
        int | None, typer.Option(help="Make an earlier bundle again: the size of its checkpoint.", min=1)
    ] = None,
    taken_by: Annotated[str | None, typer.Option(help="Who receives the bundle; goes on record.")] = None,
    entry: Annotated[
        Path | None,
        typer.Option(
            help="Write the entry by which the export is on record here, as a line of the change feed: with the bundle "
            "it holds the whole log (see `restore entries`)."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    json_: Json = False,
) -> None:
    """Write the evidence bundle of a study, for verifying it without this ledger."""
    from ledger.application import Ledger
    from ledger.domain.refusals import Refusal
    from projections.exports.evidence import Wanted, export_evidence

    wanted = Wanted(study, subject, as_of, checkpoint)
    try:
        with Ledger(Settings.read()) as ledger:
            exported = export_evidence(
                ledger, wanted, output.absolute(), force=force, taken_by=taken_by, report=Progress()
            )
            if entry is not None:
                _write_entry(ledger, study, exported.index, entry)
    except Refusal as refusal:
        talk(f"{refusal.title} {refusal.because}. {refusal.remedy} ({refusal.rule})")
        raise typer.Exit(EXIT_UNDECIDED if refusal.status >= 500 else EXIT_REFUSED) from None
    for name, because in exported.left_out.items():
        talk(f"The projection {name} could not be made of the log and is not in the bundle: {because}")
    if not exported.quorum:
        talk(
            f"This state does not have the witnesses that the policy asks for ({exported.quorum.because}): whoever "
            "verifies it sees V1 fail. See to the witnesses (`trial-ledger doctor`), wait, and export again."
        )
    give({"output": str(output), **exported.as_dict()}, json_, told(exported, output))


@export.command()
def cut(
    study: Annotated[str, typer.Option(help="The study's id.")],
    output: Annotated[Path, typer.Option(help="The file, a zip.")],
    as_of: Annotated[
        str | None, typer.Option(help="As it was known then: a size, or a time with its offset. Left out: now.")
    ] = None,
    occurred_by: Annotated[
        str | None, typer.Option(help="As it happened: only what had occurred by this date, or time with its offset.")
    ] = None,
    taken_by: Annotated[str | None, typer.Option(help="Who receives the file; goes on record.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    json_: Json = False,
) -> None:
    """Write every projection's rows at a cut; the same bytes whenever the same cut is asked for."""
    from ledger.application import Ledger
    from ledger.domain.refusals import Refusal
    from projections.exports.cut import WantedCut, export_cut

    wanted = WantedCut(study, as_of, occurred_by)
    try:
        with Ledger(Settings.read()) as ledger:
            exported = export_cut(ledger, wanted, output.absolute(), force=force, taken_by=taken_by, report=Progress())
    except Refusal as refusal:
        talk(f"{refusal.title} {refusal.because}. {refusal.remedy} ({refusal.rule})")
        raise typer.Exit(EXIT_UNDECIDED if refusal.status >= 500 else EXIT_REFUSED) from None
    give({"output": str(output), **exported.as_dict()}, json_, told_cut(exported, output))


def told_cut(exported: ExportedCut, output: Path) -> str:
    """What was exported, for people."""
    manifest = exported.manifest
    rows = sum(one["rows"] for one in manifest["projections"].values())
    lines = [
        f"{output}: {exported.bytes:,} bytes, SHA-256 {exported.digest} (base64url)",
        f"{manifest['origin']}, size {manifest['size']}, root {manifest['root']} (base64url); {rows:,} rows of "
        + ", ".join(f"{name} {one['version']}" for name, one in manifest["projections"].items()),
        f"Recorded as DataExported at index {exported.index}.",
    ]
    if manifest["occurred_by"] is not None:
        lines.insert(
            2,
            f"Only what had occurred by {manifest['occurred_by']}; {manifest['uncertain']} records may have and are "
            "left out.",
        )
    if exported.repeats is not None:
        lines.append(
            f"Byte for byte the file of the export at index {exported.repeats}."
            if exported.same
            else f"The export of this cut at index {exported.repeats} had other bytes: something was redacted or "
            "passed over since, or another version of a projection answers; the manifests say which."
        )
    return "\n".join(lines)


def _write_entry(ledger: Ledger, study: str, index: int, path: Path) -> None:
    """The entry of the export itself, which the bundle ends before."""
    from ledger.application import EntryNotFound

    try:
        path.write_text(json.dumps(ledger.entry(study, index).as_dict()) + "\n")
    except EntryNotFound:
        talk(f"The entry {index} is not under a checkpoint yet; fetch it later: GET /v1/studies/{study}/events/{index}")
    except OSError as error:
        talk(f"{path} cannot be written ({error.strerror}); the bundle is complete and on record")


class Progress:
    """A line on standard error every two seconds, with how far it is and how long it may still take."""

    def __init__(self) -> None:
        self._begun = self._said = time.monotonic()
        self._step = ""

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if step != self._step:
            self._step, self._begun = step, now
        if now - self._said < REPORT_SECONDS:
            return
        self._said = now
        left = (now - self._begun) / done * (total - done) if done else 0.0
        talk(f"{step}: {done:,} of {total:,}" + (f", about {left:.0f} s left" if done else ""))


def told(exported: Exported, output: Path) -> str:
    """What was exported, for people."""
    facts = exported.facts
    lines = [
        f"{output}: {exported.bytes:,} bytes, SHA-256 {exported.digest} (base64url)",
        f"{facts.origin}, size {facts.checkpoint.size}, root {facts.root}; projections as of {facts.as_of}",
        f"Recorded as DataExported at index {exported.index}.",
    ]
    if facts.subject is not None:
        lines.insert(2, f"Only the content of subject/{facts.subject} is disclosed.")
    if exported.repeats is not None and exported.differs:
        lines.append(
            f"The export at index {exported.repeats} had other bytes: another release of this software made it, or "
            "something was redacted since. In the latter case export the newest state instead: this older one lacks "
            "the fields, and does not hold yet what orders them gone."
        )
    elif exported.repeats is not None:
        lines.append(f"Byte for byte the bundle of the export at index {exported.repeats}.")
    return "\n".join(lines)
