"""The signer's state in the store that several hosts share (`store/signer_states.py`), as a `StateStore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ledger.merkle.tree import Frontier
from ledger.signer_state import FileState, SignerAlarm, SignerState, checked_origin
from ledger.store.errors import DatabaseBusy
from ledger.store.signer_states import HeldRow, SignerStates, StateMoved


class SharedState:
    """One log's state in the shared store. It is held until it is written: what follows may be done twice, by two
    hosts, and gives the same bytes."""

    def __init__(self, states: SignerStates, origin: str) -> None:
        self._states, self._origin = states, origin
        self._row: HeldRow | None = None

    @contextmanager
    def held(self) -> Iterator[SharedState]:
        """Hold the log's row."""
        try:
            with self._states.held(self._origin) as row:
                self._row = row
                yield self
        except DatabaseBusy as busy:
            if self._row is not None:
                raise
            raise SignerAlarm(
                f"another host holds the signer's state of {self._origin} and does not let it go ({busy.cause})",
                "Find the host whose connection to the shared store hangs, and end it.",
                stops=False,
            ) from None
        finally:
            self._row = None

    def read(self) -> SignerState:
        """The state that was written last."""
        assert self._row is not None
        if not self._row.text:
            return SignerState(self._row.sequence, self._origin, 0, Frontier(), "")
        try:
            state = SignerState.from_json(self._row.text)
        except (ValueError, KeyError, TypeError):
            raise SignerAlarm(
                f"the signer's state of {self._origin} in the shared store cannot be read",
                "Restore the store from its backup; a signer without its state could fork the log.",
                stops=False,
            ) from None
        return checked_origin(state, self._origin)

    def write(self, fresh: SignerState) -> None:
        """Make the next state durable."""
        assert self._row is not None
        try:
            self._row.write(fresh.sequence, fresh.to_json())
        except StateMoved as moved:
            raise SignerAlarm(moved.cause, "Find out who else writes to the shared store; sign nothing.") from None


def adopt_file(file: FileState, states: SignerStates, origin: str) -> bool:
    """Move the state that this host kept in a file into the shared store, unless that knows as much of the log already.

    The file is renamed afterwards, so that nobody goes on with it: a signer that finds none stops with an alarm.
    Returns whether there was one to move. Raises SignerAlarm where the store knows less than the file: then one of the
    two was put back from a backup, or the host signed past the store, and only a person can tell; nothing is moved.
    """
    if not file.path.exists():
        return False
    with file.held() as held:
        state = held.read()
        if state.checkpoint and not states.adopt(origin, state.sequence, state.to_json()):
            with SharedState(states, origin).held() as shared:
                size = shared.read().size
            if size < state.size:
                raise SignerAlarm(
                    f"this host signed {origin} up to {state.size} entries, and the shared store knows of {size}",
                    "Either the store was put back from a backup, or this host signed without it. Restore the newest "
                    "of its backups; where there is none, take this log's row out of the store and run `trial-ledger "
                    "init` again, which moves this host's state there. Nothing was moved.",
                    stops=False,
                )
    file.path.rename(file.path.with_suffix(".moved"))
    return True
