"""What health and metrics say of the projections: how far each is, how far behind, and what stands still.

Both are read without authorisation, so a subject is not named and no cause is quoted: `trial-ledger projections list`
does that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

LABELS = ["study", "projection", "version", "schema"]


class FollowingGauges:
    """Gauges per study and read model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, says: str) -> Gauge:
            return Gauge(f"ledger_projection_{name}", says, LABELS, registry=registry)

        self._gauges = {
            "position": gauge("position", "Entries taken in"),
            "signed": gauge("signed_size", "Entries under a checkpoint"),
            "behind": gauge("lag_entries", "Signed entries that are not taken in yet"),
            "behind_s": gauge("lag_seconds", "Since the first of them was signed"),
            "stopped": gauge("stopped_partitions", "Partitions that stand still at an event"),
            "live": gauge("live", "1 where it answers"),
        }

    def set(self, standing: Iterable[dict[str, Any]]) -> None:
        """Take over what `operations.standing` says; what is no more is forgotten."""
        for gauge in self._gauges.values():
            gauge.clear()
        for one in standing:
            labels = (one["study"], one["name"], str(one["version"]), one["schema"])
            told = {**one, "stopped": len(one["stopped"]), "live": 1 if one["live"] else 0}
            for name, gauge in self._gauges.items():
                gauge.labels(*labels).set(told[name])


def standing_still(standing: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What stands still, without naming a subject: study, projection, version, and index and event of each."""
    return [
        {
            "study": one["study"],
            "projection": one["name"],
            "version": one["version"],
            "live": one["live"],
            "stopped": [{"index": stopped["index"], "event": stopped["event"]} for stopped in one["stopped"]],
        }
        for one in standing
        if one["stopped"]
    ]
