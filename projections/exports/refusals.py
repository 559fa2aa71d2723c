"""Why an export is refused, in the same form as every other refusal: rule, cause, remedy."""

from __future__ import annotations

from ledger.domain.refusals import Refusal
from ledger.signer_state import SignerAlarm


class CheckpointNotThere(Refusal):
    """There is no checkpoint of exactly this size."""

    rule, status = "EXPORT-1", 404
    remedy = "Leave `checkpoint` out for the newest one; the DataExported events name the sizes of earlier exports."


class OutputExists(Refusal):
    """A file of this name is there already."""

    rule, status = "EXPORT-2", 409
    remedy = "Choose another name, or say --force to have the file replaced."


class NoRoomForExport(Refusal):
    """The bundle does not fit on the disk."""

    rule, status = "EXPORT-3", 507
    remedy = "Free about twice the size of the bundle there, or write it elsewhere; nothing was left behind."


class OutputNotWritable(Refusal):
    """The bundle cannot be written there."""

    rule, status = "EXPORT-4", 422
    remedy = "Name a file in a folder that exists and that you may write to."


class EntriesNotWhole(Refusal):
    """The database does not hold every entry that was signed, so no whole bundle can be made."""

    rule, status = "EXPORT-5", 503
    remedy = "Rows were deleted or damaged: restore them from a standby or a backup, then export again."


class LogInAlarm(Refusal):
    """The log and its signer disagree, so nothing is exported as its evidence."""

    rule, status = "EXPORT-6", 503
    remedy = "Do what the alarm says, then export again."

    def __init__(self, alarm: SignerAlarm) -> None:
        super().__init__(alarm.because)
        self.remedy = f"{alarm.remedy} Then export again."  # type: ignore[misc]


class ExportNotRecorded(Refusal):
    """The export could not be recorded in the ledger, so nothing is handed out."""

    rule, status = "EXPORT-7", 503
    remedy = "Mend what the cause says, then export again."


class ExportsBusy(Refusal):
    """As many exports are being made as this server makes at once."""

    rule, status = "EXPORT-8", 503
    remedy = "Ask again when they are done; `trial-ledger export evidence` does not wait for them."


class CutNotWhole(Refusal):
    """An entry of the log cannot be taken in, so no whole cut of the projections can be made."""

    rule, status = "EXPORT-9", 503
    remedy = "Have the cause mended, or have the projection pass over the event (EventSkipped), then export again."


class RedactedMeanwhile(Refusal):
    """Something was redacted while the export was made, and would have left with it; nothing was handed out."""

    rule, status = "EXPORT-10", 503
    remedy = "Export again: the new one is made of the state in which it is redacted."
