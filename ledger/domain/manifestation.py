"""What an electronic signature says in words: the signer's printed name, when it was signed, and with which meaning.

The three stand in what is signed, so that they cannot be parted from it, and the name is a disclosed field, so that it
can be redacted (21 CFR 11.50, 11.70). They are controlled like the record: nobody corrects them.

 SIGNATURE-7  whoever states a meaning states the own printed name as enrolled, or as changed since (PersonRenamed), and
              the time with its offset, and nobody else does
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ledger.domain.refusals import Refusal

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study
    from ledger.domain.record import Record

FIELDS = ("printed_name", "signed_at")
"""The fields of a manifestation, beside the claim `meaning`."""

SIGNED_AT_LEEWAY = timedelta(seconds=60)
"""How far `signed_at` may lie from `iat`: one moment, written to the minute at the coarsest."""


class ManifestationWrong(Refusal):
    """An electronic signature shows the signer's printed name, the time with its offset and the meaning."""

    rule, status = "SIGNATURE-7", 422
    remedy = (
        "State `printed_name` as it was enrolled and `signed_at`, the time of `iat` in the signer's zone, beside "
        "`meaning`; leave both out of an entry, which has no meaning."
    )
    source = "21 CFR 11.50(a)"


def enrolled_name(study: Study, actor: str) -> str | None:
    """The name under which a person was enrolled, or the newest one since; None where none was given, or where it was
    redacted."""
    named = study.records.by_event
    for record in (*reversed(named.get("PersonRenamed", ())), *named.get("ActorEnrolled", ())):
        if record.sub == f"actor/{actor}":
            return None if "name" in record.redacted else record.content.get("name")
    genesis = study.genesis
    if "registrar_names" in genesis.redacted:
        return None
    return (genesis.content.get("registrar_names") or {}).get(actor)


def _composed(name: str) -> str:
    """The one spelling of letters that may be written as one character or as several (Unicode NFC)."""
    return unicodedata.normalize("NFC", name)


def check_manifestation(study: Study, record: Record) -> None:
    """SIGNATURE-7 for a candidate; raises ManifestationWrong."""
    stated = {name: record.content[name] for name in FIELDS if record.content.get(name) is not None}
    if record.meaning is None:
        if stated:
            raise ManifestationWrong(f"{' and '.join(stated)} without `meaning`")
        return
    if len(stated) < len(FIELDS):
        raise ManifestationWrong(f"missing: {', '.join(name for name in FIELDS if name not in stated)}")
    known = enrolled_name(study, record.iss)
    if known is not None and _composed(stated["printed_name"]) != _composed(known):
        raise ManifestationWrong(f"{record.iss!r} is enrolled as {known!r}, not {stated['printed_name']!r}")
    apart = datetime.fromisoformat(stated["signed_at"]).timestamp() - record.iat
    if abs(apart) > SIGNED_AT_LEEWAY.total_seconds():
        raise ManifestationWrong(f"`signed_at` lies {apart:.0f} s from `iat`")
