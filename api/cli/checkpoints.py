"""`trial-ledger checkpoints compare A B`: do two signed checkpoints of one log belong to one history?

Needs neither database nor home: two files (of clients, witnesses, bundles, receipts), the log's verifier keys, and
for different sizes a consistency proof. Exit status 0 they do, 1 they prove two histories, 2 undecided.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.output import EXIT_REFUSED, EXIT_UNDECIDED, Json, give

if TYPE_CHECKING:
    from ledger.merkle.note import Verifier

checkpoints = typer.Typer(help="Compare what a log showed to different people.", no_args_is_help=True)

FILE_LIMIT = 2_000_000
"""Bytes: the largest receipt, whose last part is a checkpoint."""


@checkpoints.callback()
def group() -> None:
    """Compare what a log showed to different people."""


@checkpoints.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A signed checkpoint, or a receipt (.tlog-proof), which carries one.")],
    b: Annotated[Path, typer.Argument(help="Another one of the same log.")],
    log: Annotated[list[str] | None, typer.Option(help="Verifier key of the log; as often as needed.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file with the log's keys.")] = None,
    proof: Annotated[
        Path | None, typer.Option(help="Consistency proof: the JSON of /proofs/consistency, or one base64 hash a line.")
    ] = None,
    json_: Json = False,
) -> None:
    """Say whether two signed checkpoints are of one history."""
    from ledger.merkle.comparing import Verdict
    from ledger.merkle.comparing import compare as compared
    from ledger.merkle.tree import NotProven

    keys = _keys(log or [], policy)
    hashes = None if proof is None else _hashes(_read(proof))
    try:
        found = compared(_checkpoint(_read(a)), _checkpoint(_read(b)), keys, hashes)
    except NotProven as wrong:
        give({"verdict": "undecided", "because": str(wrong)}, json_, f"undecided: {wrong}")
        raise typer.Exit(EXIT_UNDECIDED) from None
    give({"verdict": found.verdict.value, "because": found.because}, json_, f"{found.verdict.value}: {found.because}")
    if not found:
        raise typer.Exit(EXIT_REFUSED if found.verdict is Verdict.CONFLICT else EXIT_UNDECIDED)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read ({error.strerror})") from None
    if len(data) > FILE_LIMIT:
        raise typer.BadParameter(f"{path} has more than {FILE_LIMIT} bytes")
    return data


def _checkpoint(data: bytes) -> bytes:
    """The checkpoint itself, or the one that a receipt carries."""
    from ledger.merkle.tlog_proof import FIRST_LINE, TlogProof

    return TlogProof.parse(data).checkpoint if data.startswith(FIRST_LINE) else data


def _keys(given: list[str], policy: Path | None) -> list[Verifier]:
    from ledger.merkle.cosignature import verifier_of
    from ledger.merkle.note import VerifierKey
    from ledger.merkle.policy import Policy

    try:
        keys = [VerifierKey.parse(text) for text in given]
        keys += Policy.parse(_read(policy)).logs if policy is not None else ()
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from None
    if not keys:
        raise typer.BadParameter("give the log's keys, got by another way than the checkpoints: --log VKEY or --policy")
    return [verifier_of(key) for key in keys]


def _hashes(data: bytes) -> list[bytes]:
    """The hashes of a proof, in the ledger's JSON (base64url) or as lines of standard base64."""
    from ledger.merkle.note import unbase64
    from ledger.signing.encoding import unb64url
    from ledger.signing.errors import Malformed

    try:
        text = data.decode("ascii").strip()
        if not text.startswith("{"):
            return [unbase64(line) for line in re.split(r"\r?\n", text) if line]
        read: Any = json.loads(text)
        return [unb64url(value) for value in read["hashes"]]
    except (ValueError, KeyError, TypeError, AttributeError, Malformed):
        raise typer.BadParameter("the proof is neither the JSON of /proofs/consistency nor base64 lines") from None
