"""How a cut is named where two are compared: by its size, by a time, by an event.

- digits: a size; the indexes below it;
- a date or a time with its offset: what was recorded up to it;
- the id of an event (its UUID), or `index:N`: what was known when it was recorded, itself included;
- the name of an event of the study, with what it is about where there are several: `CohortOpened:HIGH`,
  `DataCutTaken`, `SafetyReviewConcluded:LOW`: the newest that stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.domain.aggregate import Study
from ledger.domain.catalogue import CATALOGUE
from ledger.signing.encoding import b64url
from ledger.store import statements
from ledger.store.database import Conn
from projections.audit_trail.wording import event_label
from projections.engine.errors import CutBeyond, ReadingMalformed, RecordNotFound
from projections.engine.reading import cut_size, root_at
from projections.engine.sql import SQL

_INDEX = re.compile(r"index:(\d{1,15})", re.ASCII)
_NAMED = re.compile(r"([A-Z][A-Za-z]{2,60})(?::([^\s:]{1,80}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class NamedCut:
    """A cut: its size and root, when its last entry was recorded (None: it has none), and as what it was named."""

    size: int
    root: str
    at: str | None
    named: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"size": self.size, "root": self.root, "at": self.at, "named": self.named}


def named_cut(conn: Conn, study: str, state: Study, given: str | None, name: str, signed: int) -> NamedCut:
    """The cut that a parameter names; None is the newest. `state`: the study at `signed`. Raises ReadingMalformed,
    CutBeyond, RecordNotFound."""
    size, said = _size(conn, study, state, given, name, signed)
    row = conn.execute(SQL["recorded_at"], {"study": study, "idx": size - 1}).fetchone() if size else None
    return NamedCut(size, b64url(root_at(conn, study, size)), None if row is None else row[0], said)


def _size(conn: Conn, study: str, state: Study, given: str | None, name: str, signed: int) -> tuple[int, str]:
    if given is None:
        return signed, "now"
    index = _INDEX.fullmatch(given)
    if index is not None:
        return _event_at(conn, study, int(index[1]), signed)
    jti = _uuid(given)
    if jti is not None:
        row = statements.find_event(conn, study, jti)
        if row is None or row.idx >= signed:
            raise RecordNotFound(f"{name}={given!r}: there is no such event below size {signed}")
        return _event_at(conn, study, row.idx, signed)
    event = _NAMED.fullmatch(given)
    if event is not None and event[1] in CATALOGUE_NAMES:
        return _newest(state, event[1], event[2], given, name)
    try:
        return cut_size(conn, study, given, signed), given
    except ReadingMalformed as malformed:
        because = malformed.because.replace("as_of", name)
        raise ReadingMalformed(f"{because}; a cut is also named by {OTHER_NAMES}") from None
    except CutBeyond as beyond:
        raise CutBeyond(f"{name}={given}: {beyond.because}") from None


OTHER_NAMES = "an event's id, index:N, or an event of the study such as CohortOpened:HIGH"

CATALOGUE_NAMES = frozenset(model.__name__ for model in CATALOGUE)


def _event_at(conn: Conn, study: str, index: int, signed: int) -> tuple[int, str]:
    rows = statements.select_events(conn, study, index, index + 1, 1) if index < signed else []
    if not rows:
        raise RecordNotFound(f"index {index} is not below {signed}")
    return index + 1, f"{event_label(rows[0].topic.partition('/')[0])}, index {index}"


def _newest(state: Study, event: str, about: str | None, given: str, name: str) -> tuple[int, str]:
    found = [one for one in state.records.of(event) if about is None or one.sub.partition("/")[2] == about]
    if not found:
        raise RecordNotFound(f"{name}={given!r}: the study has no such event that stands")
    said = event_label(event) + (f" {about}" if about else "")
    return found[-1].index + 1, f"{said}, index {found[-1].index}"


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text)) if len(text) == 36 else None
    except ValueError:
        return None
