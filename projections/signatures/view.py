"""Every electronic signature with its manifestation and how it stands; what each signer has to sign again.

A signature over records that were changed after the state it was given on is "changed since signed"; the same records
are listed for signing again until somebody in the same role has signed them with the same meaning on a state that has
the change. A row knows its own subject's records; whether a key is under suspicion is asked of the study here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from ledger.domain.participation import number
from ledger.domain.roles import INVESTIGATOR
from ledger.domain.signature import AGAIN, CHANGED, DISPUTED, STANDINGS, SUSPECT, WITHDRAWN
from projections.audit_trail.lines import organisations
from projections.audit_trail.wording import event_label
from projections.engine.definition import STUDY_PARTITION
from projections.engine.errors import one_of
from projections.engine.reading import Reader
from projections.engine.rows import Asked, Where
from projections.naming import the_only
from projections.signatures.definition import KeptChange, KeptState

MAX_LIMIT = 1_000
"""Signatures of one page."""

_NUMBERING = frozenset({"SubjectScreened", "SubjectRescreened"})
_CHUNK = 200
"""Rows fetched at a time while looking for those of a standing that the rows alone do not tell."""
_DECODER = msgspec.json.Decoder(KeptState)


def signatures(
    reader: Reader,
    standing: str | None = None,
    signer: str | None = None,
    subject: str | None = None,
    site: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> dict[str, Any]:
    """A page of signatures in order of the log, from the index `after` on; `subject`: number or UUID. Raises
    ReadingMalformed, SubjectNotFound, SubjectAmbiguous."""
    one_of("standing", standing, STANDINGS)
    limit = max(1, min(limit, MAX_LIMIT))
    shown = _Shown(reader)
    found: list[dict[str, Any]] = []
    following = None
    for row in shown.rows(_where(reader, signer, subject, site), standing, after, limit + 1):
        state = shown.state(row)
        if standing is not None and state["standing"] != standing:
            continue
        if len(found) == limit:
            following = row.idx
            break
        found.append(shown.of(row, state))
    return {"signatures": found, "next": following, "cut": reader.cut()}


def to_sign_again(
    reader: Reader, signer: str | None = None, subject: str | None = None, site: str | None = None
) -> dict[str, Any]:
    """The records that investigators signed and that changed since, by signer, role, meaning and subject: with event id
    and digest, so that they can be signed as they are listed. Raises SubjectNotFound, SubjectAmbiguous."""
    shown = _Shown(reader)
    lists: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in shown.rows(_where(reader, signer, subject, site), CHANGED, 0, _CHUNK):
        if row.role not in INVESTIGATOR or not (row.event == "RecordsSigned" or row.kind == "fact"):
            continue
        state = shown.state(row)
        if state["standing"] != CHANGED:
            continue
        about = {"actor": row.iss, "role": row.role, "meaning": row.meaning, "subject": row.sub, "site": row.site}
        named = {"subject_number": shown.number(row.partition), "printed_name": row.printed_name}
        one = lists.setdefault(tuple(about.values()), {**about, **named, "records": {}})
        for change in state["changes"]:
            if not change["signed_again"]:
                record = one["records"].setdefault(change["record"]["index"], {**change["record"], "changes": []})
                record["changes"].append({**change, "signature": row.idx, "record": change["record"]["index"]})
    listed = [
        {**one, "site": one["site"] or None, "records": [one["records"][index] for index in sorted(one["records"])]}
        for _, one in sorted(lists.items())
    ]
    return {"to_sign_again": listed, "cut": reader.cut()}


def _where(reader: Reader, signer: str | None, subject: str | None, site: str | None) -> list[Where]:
    where = [Where(column, "=", value) for column, value in (("iss", signer), ("site", site)) if value is not None]
    if subject is not None:
        where.append(Where("partition", "=", _partition(reader, subject)))
    return where


def _partition(reader: Reader, subject: str) -> str:
    try:
        return str(UUID(subject))
    except ValueError:
        pass
    if reader.rows is reader.newest:
        rows = reader.rows.select("numbers", Asked((Where("number", "=", subject),)))
        return the_only(subject, (row.partition for row in rows), reader.size)
    having = (str(one.id) for one in reader.subjects_from(_NUMBERING) if number(one) == subject)
    return the_only(subject, having, reader.size)  # numbers as they were: one may have been corrected since


class _Shown:
    """Makes what is shown of rows, for one reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._authority = reader, reader.study.authority
        self._organisation = organisations(self._authority)
        self._doubts = self._authority.doubts()
        self._numbers: dict[str, str | None] = {STUDY_PARTITION: None}

    def rows(self, where: list[Where], standing: str | None, after: int, chunk: int) -> Iterator[Any]:
        """Rows in index order. Where no key is under suspicion, those of one standing alone."""
        if standing is not None and not self._doubts:
            where = [*where, Where("standing", "=", standing)]
        asked = Asked((*where, Where("idx", ">=", after)), ("idx",), limit=chunk)
        while True:
            found = self._reader.rows.select("signatures", asked)
            yield from found
            if len(found) < chunk:
                return
            asked = asked._replace(after=(found[-1].idx,), limit=_CHUNK)
            chunk = _CHUNK

    def state(self, row: Any) -> dict[str, Any]:
        """How a signature stands in the study: standing, changes, waiting, because."""
        kept, standing = _DECODER.decode(row.state), row.standing
        changes = [self._change(change) for change in kept.changes]
        if standing not in (WITHDRAWN, DISPUTED) and self._suspect(row):
            standing = SUSPECT
        elif standing == AGAIN and not all(change["signed_again"] for change in changes):
            standing = CHANGED
        waiting = [self._change(change) for change in kept.waiting]
        because = list(kept.because)
        if standing == SUSPECT:
            key = self._authority.keys[row.kid]
            because = [index for index in (key.revoked,) if index is not None]
        return {"standing": standing, "changes": changes, "change_waits": waiting, "because": because}

    def number(self, partition: str) -> str | None:
        """The number of a subject; None for the study's own records."""
        if partition not in self._numbers:
            rows = self._reader.rows.select("numbers", Asked((Where("partition", "=", partition),), limit=1))
            self._numbers[partition] = rows[0].number if rows else None
        return self._numbers[partition]

    def _suspect(self, row: Any) -> bool:
        return self._doubts and self._authority.disputed(row.kid, row.idx, row.jti, row.digest)

    def _change(self, change: KeptChange) -> dict[str, Any]:
        record = {"event_id": change.jti, "digest": change.digest, "event": change.event, "index": change.idx}
        again = list(change.again)
        if again and self._doubts:
            rows = self._reader.rows.select("signatures", Asked((Where("idx", "in", again),), ("idx",)))
            again = [row.idx for row in rows if not self._suspect(row)]
        return {
            "record": record,
            "what": change.what,
            "fields": list(change.fields),
            "index": change.index,
            "effective_at": change.effective_at,
            "at": change.at,
            "actor": change.actor,
            "signed_again": again,
        }

    def of(self, row: Any, state: dict[str, Any]) -> dict[str, Any]:
        """One signature."""
        return {
            "index": row.idx,
            "event": row.event,
            "event_label": event_label(row.event),
            "event_id": row.jti,
            "subject": row.sub if row.partition != STUDY_PARTITION else None,
            "subject_number": self.number(row.partition),
            "about": row.sub,
            "site": row.site or None,
            "printed_name": row.printed_name,
            "signed_at": row.signed_at,
            "redacted": list(row.redacted),
            "meaning": row.meaning,
            "actor": row.iss,
            "role": row.role,
            "organisation": self._organisation(row.iss, row.role, row.idx, row.recorded_at),
            "recorded_at": row.recorded_at,
            "ceremony": row.ceremony,
            "cut_size": row.cut,
            "records": row.covers,
            **state,
        }
