"""Redactions carried out: from the second signature to the last copy in the live database.

 1. in effect    the second signature is committed, and with it the redaction: no reader is given the fields
 2. registered   a checkpoint covers that signature; the register beside the signer's state holds it (fsync)
 3. destroyed    the disclosures are gone from the events and the refusal list; noted in the same transaction
 4. settled      every read model that is kept current has taken the redaction in, and every other one is emptied;
                 noted

Killed between any two: whoever looks next goes on there, for each step is harmless when repeated and the notes say
how far it came. Several processes may do it at once. `protect` comes before anything is served: a database that
was restored may know nothing of a redaction, or hold again what was destroyed; the register decides.
Nothing is destroyed before a checkpoint covers the second signature: a disclosure that is missing without signed
evidence of its redaction is an unauthorised loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

import structlog

from ledger.home import Home
from ledger.redaction.refused import strip_refusals
from ledger.redaction.register import Applied, Register
from ledger.store import evidence, redactions, statements
from ledger.store.database import Conn, Database
from ledger.store.rows import DestructionRow, RedactionRow

UNFOLLOWED = timedelta(seconds=60)
"""How long a read model of another release is waited for: whoever follows it takes the redaction in within seconds,
unless nobody does any more. It is then emptied, and made anew by whoever needs it."""

LOG, PROJECTIONS = "log", "projections"
"""Places where something is destroyed, as the store names them."""

log = structlog.get_logger("ledger.redaction")


@dataclass(frozen=True, slots=True)
class Step:
    """How far a redaction is: its study, the index of its second signature, and what it waits for (None: nothing)."""

    study: str
    effective_idx: int
    waits_for: str | None


class Redactions:
    """The redactions of one installation. `projector` opens the database as the projector's role; `clock` is aware.
    For any thread."""

    def __init__(
        self, home: Home, database: Database, projector: Callable[[], Database], clock: Callable[[], datetime]
    ) -> None:
        self._home, self._database, self._projector, self._clock = home, database, projector, clock

    def register(self, study: str) -> Register:
        """The register of a study."""
        return Register(self._home.redactions(study))

    # -- before anything is served --------------------------------------------------------------------------

    def protect(self) -> dict[str, Applied]:
        """Bring the database to what is registered; returns what was done to databases that held more, by study.

        Raises RegisterBroken and the store's errors: what cannot be protected is not served.
        """
        found = {}
        with self._database.connection() as conn:
            for study in statements.select_studies(conn):
                registered = self.register(study).read().redacted
                if registered:
                    applied = self._protected(conn, study, registered)
                    if applied is not None:
                        found[study] = applied
        return found

    def _protected(self, conn: Conn, study: str, registered: Sequence[RedactionRow]) -> Applied | None:
        known = {(row.jti, row.disclosure) for row in redactions.select_redactions(conn, study)}
        unknown = [row for row in registered if (row.jti, row.disclosure) not in known]
        jtis = sorted({row.jti for row in registered})
        if not unknown and not redactions.undestroyed(conn, study, jtis):
            return None
        redactions.insert_redactions(conn, study, unknown)  # committed first: from now on nothing of it is read
        if unknown:
            with self._projector() as projector, projector.connection() as own, own.transaction():
                redactions.forget_read_models(own, study)
        with conn.transaction():
            destroyed = redactions.destroy(conn, study, jtis)
            strip_refusals(conn, study, registered)
            for index in sorted({row.effective_idx for row in registered}):
                self._note(conn, study, index, LOG, destroyed)
                if unknown:
                    self._note(conn, study, index, PROJECTIONS, 0)
        applied = Applied(self._clock().astimezone(UTC).isoformat(), destroyed, len(unknown))
        if unknown or destroyed:
            self.register(study).note(applied)
            log.warning("register-applied", study=study, destroyed=destroyed, unknown=len(unknown))
        return applied

    # -- while it serves ------------------------------------------------------------------------------------

    def settle(self, fingerprints: Sequence[str]) -> list[Step]:
        """Carry out what is in effect as far as it goes now; returns every redaction that was not settled before.
        `fingerprints` are those of the projections that this release has. Raises RegisterBroken and the store's
        errors."""
        steps: list[Step] = []
        with self._database.connection() as conn:
            for study in redactions.unsettled_studies(conn):
                newest = evidence.latest_checkpoint(conn, study)
                done = redactions.select_destructions(conn, study)
                rows = redactions.select_redactions(conn, study)
                for index, group in groupby(rows, lambda row: row.effective_idx):
                    if (index, LOG) in done and (index, PROJECTIONS) in done:
                        continue
                    covered = newest is not None and newest.size > index
                    waits = self._carry_out(conn, study, list(group), fingerprints) if covered else "a checkpoint"
                    steps.append(Step(study, index, waits))
        return steps

    def _carry_out(
        self, conn: Conn, study: str, rows: Sequence[RedactionRow], fingerprints: Sequence[str]
    ) -> str | None:
        """Steps 2 to 4 of one redaction; returns what it waits for."""
        index = rows[0].effective_idx
        self.register(study).add(rows)
        self._destroy(conn, study, rows)
        current = redactions.kept_current(conn, study, fingerprints)
        with self._projector() as projector, projector.connection() as own:
            behind = [(schema, known) for schema, position, known in current if position <= index]
            given_up = [schema for schema, known in behind if self._given_up(own, study, index, schema, known)]
            if len(given_up) < len(behind):
                return "the projections"
            followed = [schema for schema, _, _ in current if schema not in given_up]
            busy = redactions.built_since(own, study, index)
            with own.transaction():
                redactions.forget_read_models(own, study, (*followed, *busy))
            redactions.analyze_read_models(own, followed)
        self._note(conn, study, index, PROJECTIONS, 0)
        log.warning("redaction-settled", study=study, index=index)
        return None

    def _given_up(self, conn: Conn, study: str, index: int, schema: str, known: bool) -> bool:
        """Whether a read model will not take a redaction in: it stands still, or nobody follows it any more."""
        if known:
            return redactions.stands_still(conn, schema, study)
        destroyed = redactions.select_destructions(conn, study)[index, LOG].destroyed_at
        return self._clock() - destroyed > UNFOLLOWED

    def _destroy(self, conn: Conn, study: str, rows: Sequence[RedactionRow]) -> None:
        with conn.transaction():
            destroyed = redactions.destroy(conn, study, sorted({row.jti for row in rows}))
            strip_refusals(conn, study, rows)
            self._note(conn, study, rows[0].effective_idx, LOG, destroyed)

    def _note(self, conn: Conn, study: str, index: int, place: str, count: int) -> None:
        redactions.note_destruction(conn, study, DestructionRow(index, place, self._clock(), count))


def newly_in_effect(known: Iterable[Step], found: Iterable[Step]) -> set[str]:
    """The studies in which a redaction took effect that was not known before."""
    before = {(step.study, step.effective_idx) for step in known}
    return {step.study for step in found if (step.study, step.effective_idx) not in before}
