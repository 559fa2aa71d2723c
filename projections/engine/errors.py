"""Why a reading is refused, in the same form as every other refusal: rule, cause, remedy."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.domain.refusals import Refusal


class StudyNotKnown(Refusal):
    """This ledger has no such study."""

    rule, status = "READ-1", 404
    remedy = "Check the study's identifier, or open the study first (POST /v1/studies)."


class ProjectionBehind(Refusal):
    """The page does not yet show the ledger as far as was asked for."""

    rule, status = "READ-2", 503
    remedy = "Ask again in a moment: what is recorded is safe, its display follows. If it lasts, see /health/ready."


class RedactionAhead(ProjectionBehind):
    """Something was redacted, and the page has not taken that in: it serves nothing until it has."""

    rule = "READ-12"


class ReleaseNeeded(ProjectionBehind):
    """The version of the projection that answers here is none that this release has."""

    rule = "READ-13"
    remedy = (
        "Ask a host with the release that has that version; `trial-ledger projections list` says which version answers "
        "in which study, and `trial-ledger projections rollback` lets the one before it answer again."
    )


class StillDraining(ProjectionBehind):
    """This release answers from the version before the live one, and that has not caught up with it."""

    rule = "READ-15"


class CutBeyond(Refusal):
    """The reading asks for a state that the ledger has not signed yet."""

    rule, status = "READ-3", 422
    remedy = "State a size up to that of the newest checkpoint, or none, for what is known now."


class NotHappenedYet(Refusal):
    """What had happened is asked for a moment that this reading knows nothing of yet."""

    rule, status = "READ-14", 422
    remedy = "State an `occurred_by` up to the moment of the reading: its `as_of`, or now."


class ProjectionStopped(Refusal):
    """The page stands still at an event that it could not take in."""

    rule, status = "READ-4", 503
    remedy = (
        "Have the cause mended, or a data manager decide that the projection passes over this event (EventSkipped); "
        "it goes on by itself then, and nothing is lost. Every other page is as it should be."
    )


class ReadingMalformed(Refusal):
    """What the reading asks for cannot be understood."""

    rule, status = "READ-5", 400
    remedy = (
        "Give a size as digits, a time as ISO 8601 with its offset, a cursor as it was handed out, and where "
        "the values are named one of them."
    )


class SubjectAmbiguous(Refusal):
    """More than one subject has this number at this size."""

    rule, status = "READ-11", 409
    remedy = "Name the subject by its UUID; a number that is wrong is corrected (EntryCorrected)."


class SubjectNotFound(Refusal):
    """The study has no such subject at this size."""

    rule, status = "READ-6", 404
    remedy = "Name the subject by its UUID or its subject number; GET .../subjects lists them."


class CohortNotFound(Refusal):
    """The study has no such cohort at this size."""

    rule, status = "READ-7", 404
    remedy = "Name a cohort of the protocol; GET .../cohorts lists them."


class RecordNotFound(Refusal):
    """The study has no such record at this size."""

    rule, status = "READ-8", 404
    remedy = "Name a record by its event id or index, at a size at which it was recorded."


class DefinitionChanged(Refusal):
    """A projection was changed, and its version was not raised."""

    rule, status = "REPLAY-1", 409
    remedy = (
        "Raise its version and keep the version before in EARLIER (projections/definitions.py), or let the release "
        "before run beside this one until the switch: `trial-ledger projections rebuild`, then `switch`."
    )


class RebuildRunning(Refusal):
    """The projection is being rebuilt already."""

    rule, status = "REPLAY-2", 409
    remedy = "Wait until the other command has ended; one that was killed gives its turn back by itself."


class ReplayNotThere(Refusal):
    """There is no replay of this projection with which this could be done."""

    rule, status = "REPLAY-3", 404
    remedy = "See `trial-ledger projections list` for what there is; `projections rebuild` begins one."


class ReplayMoved(Refusal):
    """The replay is not, or no longer, in a state in which this can be done."""

    rule, status = "REPLAY-4", 409
    remedy = "See `trial-ledger projections list`; somebody else may have moved it on, cancelled it or switched."


class OtherReplayUnderWay(Refusal):
    """A replay of this projection to another version is under way, or one of which this release lacks the code."""

    rule, status = "REPLAY-5", 409
    remedy = (
        "Finish it with the release that began it (`rebuild`, `switch`), or give it up: `trial-ledger projections "
        "cancel`; then begin again."
    )


class ReplayNotCompared(Refusal):
    """The versions were not compared, or more has happened since than can be looked through at the switch."""

    rule, status = "REPLAY-6", 409
    remedy = (
        "Run `trial-ledger projections rebuild --compare`: it compares them as they are now; then `switch` follows."
    )


class ReplayNotApproved(Refusal):
    """There are differences that nothing explains, and nobody has approved them."""

    rule, status = "REPLAY-7", 409
    remedy = (
        "Look at them (`trial-ledger projections diff`); then a data manager approves the report "
        "(`projections approve`), or the cause is mended and the replay cancelled."
    )


class UnexplainedSince(Refusal):
    """What was recorded since the comparison differs in a way that the report does not have."""

    rule, status = "REPLAY-8", 409
    remedy = "Compare anew (`trial-ledger projections rebuild --compare`); what is then unexplained needs an approval."


class LiveNotFollowed(Refusal):
    """One of the two versions is not kept current, so they cannot be brought to the same size."""

    rule, status = "REPLAY-9", 409
    remedy = "Let the release that has the code of the version that is behind run (`serve`) until the switch."


class VersionStillNeeded(Refusal):
    """The version answers, or is needed by a replay that is under way; it cannot be taken away."""

    rule, status = "REPLAY-10", 409
    remedy = "Switch to another version first, or cancel the replay."


class ReplayNotRecorded(Refusal):
    """What a replay concluded could not be put into the ledger yet; it is kept, and put there later."""

    rule, status = "REPLAY-12", 503
    remedy = "Mend what the cause says; every `trial-ledger projections` command and the server try again."


class NotKeptCurrent(Refusal):
    """The version to go back to is no longer kept current."""

    rule, status = "REPLAY-11", 409
    remedy = "Rebuild it: an earlier version whose code this release has is rebuilt and switched to like a new one."


class NormaliserUnsound(Refusal):
    """What a new version declares about its differences from the version before cannot be applied to its rows."""

    rule, status = "REPLAY-20", 409
    remedy = (
        "Mend the normaliser and raise the version; a row that it yields has a table of the new version, every column "
        "that the table had before, and values of the columns' types, or ANYTHING."
    )


class NothingCompared(Refusal):
    """No comparison of this projection is there to be shown."""

    rule, status = "REPLAY-21", 404
    remedy = "Build the new version first (`trial-ledger projections rebuild`): it ends with a comparison."


class NotReplayed(Refusal):
    """The log has no replay of this projection to certify."""

    rule, status = "REPLAY-22", 404
    remedy = "Name a replay that was concluded; `trial-ledger projections list` shows what stands."


class RowsAltered(Refusal):
    """The rows of the new version are not those that were compared."""

    rule, status = "REPLAY-24", 409
    remedy = (
        "Find out who wrote into the projections' tables. `trial-ledger projections rebuild --compare` compares the "
        "rows as they are now; `cancel` and `rebuild` make them anew from the ledger."
    )


class StandsStill(Refusal):
    """The version to switch to stands still at an event that the one that answers has taken in."""

    rule, status = "REPLAY-23", 409
    remedy = (
        "Have the cause mended in a new version, or the event passed over (EventSkipped), and rebuild; what answers "
        "stays as it is."
    )


def one_of(name: str, given: str | None, possible: Iterable[str]) -> None:
    """Refuse a value that is none of the possible ones: nothing would be found by it, and that would look like an
    answer. Raises ReadingMalformed."""
    known = list(possible)
    if given is not None and given not in known:
        raise ReadingMalformed(f"{name}={given[:40]!r} is none of: {', '.join(known)}")
