"""What an answer lacks, and says so: events that its projection passes over, and partitions that stand still.

Rules:
- the page of what stands still is refused (ProjectionStopped); a page of the whole study is answered and names it in
  its cut, with the index up to which its rows go;
- what is passed over is named in the cut of every answer of that projection;
- where the study itself cannot be folded to the size that is asked for, nothing is answered: every page is read by the
  study's protocol, sites and people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from projections.engine.definition import STUDY_PARTITION
from projections.engine.errors import ProjectionStopped
from projections.engine.folding import NOTHING, FoldFailed
from projections.engine.rows import Asked, Rows, Where
from projections.engine.skips import Skipped, Skips
from projections.engine.stopping import EVERYTHING, Stopped


@dataclass(frozen=True)
class Lacking:
    """What a reading of one projection at one size lacks. `own` is the study's own aggregate."""

    own: UUID | None = None
    stopped: Mapping[str, Stopped] = field(default_factory=dict)
    skipped: Sequence[Skipped] = ()

    def __bool__(self) -> bool:
        return bool(self.stopped or self.skipped)

    def passed_over(self, about: UUID) -> frozenset[int]:
        """The indexes of an aggregate's events that are passed over."""
        return frozenset(one.index for one in self.skipped if one.originator == about) if self.skipped else NOTHING

    def left_out(self, about: UUID, index: int) -> bool:
        """Whether an event is not in: passed over, or where its partition stands still or beyond."""
        if any(one.index == index for one in self.skipped):
            return True
        stopped = self.stopped.get(STUDY_PARTITION if about == self.own else str(about))
        return stopped is not None and index >= stopped.index

    def check(self, partition: str) -> None:
        """Raise ProjectionStopped for a partition that stands still."""
        stopped = self.stopped.get(partition)
        if stopped is not None:
            raise refusal(stopped)

    def told(self) -> dict[str, Any]:
        """As it stands in a cut."""
        return {
            "stopped": [self.stopped[partition].as_dict() for partition in sorted(self.stopped)],
            "skipped": [self._told(one) for one in self.skipped],
        }

    def _told(self, one: Skipped) -> dict[str, Any]:
        about = "study" if one.originator == self.own else f"subject/{one.originator}"
        return {"about": about, "index": one.index, "event": one.event, "decided_at": one.decided_at}


WHOLE = Lacking()


def lacking(projection: str, own: UUID | None, size: int, stopped: Mapping[str, Stopped], skips: Skips) -> Lacking:
    """What a reading at a size lacks, of what stands still and is passed over now."""
    still = {name: one for name, one in stopped.items() if name != EVERYTHING and one.index < size}
    passed = [one for one in skips.by_projection.get(projection, ()) if one.index < size]
    return Lacking(own, still, passed) if still or passed else WHOLE


def refusal(stopped: Stopped) -> ProjectionStopped:
    """Why a reading of what stands still is refused."""
    because = f"{stopped.about} stands still at index {stopped.index} ({stopped.event}): {stopped.because}"
    return ProjectionStopped(because, (stopped.index,), about=stopped.about, index=stopped.index, event=stopped.event)


def cannot_fold(failed: FoldFailed) -> ProjectionStopped:
    """Why a reading is refused for which an event had to be folded that cannot be."""
    return ProjectionStopped(f"{failed.event} at index {failed.index}: {failed.because}", (failed.index,))


class GuardedRows:
    """Rows of a reading in which something stands still: those of it alone are refused."""

    def __init__(self, rows: Rows, lacking: Lacking) -> None:
        self._rows, self._lacking = rows, lacking

    def select(self, table: str, asked: Asked) -> list[Any]:
        """The rows asked for. Raises ProjectionStopped."""
        self._check(asked.where)
        return self._rows.select(table, asked)

    def counts(self, table: str, by: Sequence[str], where: Sequence[Where] = ()) -> dict[tuple[Any, ...], int]:
        """How many rows there are. Raises ProjectionStopped."""
        self._check(where)
        return self._rows.counts(table, by, where)

    def one_of_each(self, table: str, column: str) -> list[Any]:
        """One row for each value of a column."""
        return self._rows.one_of_each(table, column)

    def _check(self, where: Sequence[Where]) -> None:
        for column, test, value in where:
            if column == "partition" and test == "=":
                self._lacking.check(value)
