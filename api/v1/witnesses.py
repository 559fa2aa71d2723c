"""GET of the witnesses: a study's policy, where each witness stands, which checkpoint has the quorum."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends
from prometheus_client import CollectorRegistry, Gauge
from starlette.responses import Response

from api.v1.reading import answered, known_parameters, study_id
from ledger.application import Ledger
from ledger.settings import SettingsError
from ledger.witness_standing import standing


def witness_router(ledger: Ledger) -> APIRouter:
    """The route below /v1/studies about witnesses."""
    router = APIRouter(prefix="/v1/studies", tags=["log"], dependencies=[Depends(known_parameters)])

    @router.get("/{study}/witnesses")
    def witnesses(study: str) -> Response:
        """The policy; each witness's newest size, time, lag and last error; the newest size with the quorum."""
        return answered(witness_state(ledger, study_id(study)), None)

    return router


def witness_state(ledger: Ledger, study: str) -> dict[str, Any]:
    """Where the witnesses of a study stand, as JSON; `policy` is null where nobody is to be asked."""
    with ledger.database.connection() as connection:
        newest = ledger.checkpoint(connection, study)
        alarms = [{"because": one.because, "remedy": one.remedy} for one in ledger.witnessing.alarms(study)]
        try:
            policy = ledger.witnessing.policy(study)
        except SettingsError:  # it is among the alarms
            policy = None
        if policy is None:
            found: dict[str, Any] = {"policy": None, "size": newest.size, "witnesses": [], "quorum": None}
        else:
            notes = ledger.witnessing.notes(study)
            found = standing(connection, study, policy, newest, notes, datetime.now(UTC))
    return {"study": study, "origin": ledger.origin(study), **found, "alarms": alarms}


class WitnessGauges:
    """The lag of witnesses and quorum, for /metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, ["study", *labels], registry=registry)

        self._entries = gauge("ledger_witness_lag_entries", "Entries that a witness has not cosigned", "witness")
        self._seconds = gauge("ledger_witness_lag_seconds", "For how long it has lagged", "witness")
        self._failing = gauge("ledger_witness_failing", "1 while a witness fails", "witness")
        self._quorum = gauge("ledger_witnessed_size", "Entries under a checkpoint with the quorum")
        self._unwitnessed = gauge("ledger_unwitnessed_seconds", "For how long entries have been without the quorum")
        self._alarm = gauge("ledger_witness_alarm", "1 while a witness says it saw another history")

    def set(self, study: str, state: dict[str, Any]) -> None:
        """Take a study's state in."""
        self._alarm.labels(study).set(1 if state["alarms"] else 0)
        if state["quorum"] is None:
            return
        self._quorum.labels(study).set(state["quorum"]["size"])
        self._unwitnessed.labels(study).set(state["quorum"]["lag_seconds"])
        for one in state["witnesses"]:
            self._entries.labels(study, one["name"]).set(one["lag_entries"])
            self._seconds.labels(study, one["name"]).set(one["lag_seconds"])
            self._failing.labels(study, one["name"]).set(1 if one["error"] else 0)
