"""Why entries are not put back."""

from __future__ import annotations

from ledger.domain.refusals import Refusal


class NothingMissing(Refusal):
    """The database holds everything that was signed."""

    rule = "RESTORE-1"
    remedy = "Nothing is left to put back."


class EntriesNotFound(Refusal):
    """The sources do not hold every entry that is missing, so nothing was put back."""

    rule = "RESTORE-2"
    remedy = (
        "Name further sources: a newer evidence bundle, the change feed as an integrator or a mirror keeps it, or put "
        "back a newer backup or a standby of the database. Where no copy is left, the log ends here: its successor's "
        "genesis names origin, size and root."
    )


class NotWhatWasSigned(Refusal):
    """The entries found do not lead from this database to what was signed, so nothing was put back."""

    rule = "RESTORE-3"
    remedy = (
        "Check that the sources are this log's and the database's own entries unaltered (a standby or another backup "
        "shows), and that the signer's state is the newest one; nothing was written."
    )


class FieldsMissing(Refusal):
    """A source lacks fields of an entry that nobody redacted, so nothing was put back."""

    rule = "RESTORE-4"
    remedy = "Name a source that holds them: a bundle of the whole study that withholds nothing, or the change feed."


class SourceUnusable(Refusal):
    """A file is neither an evidence bundle nor lines of the change feed, or it is another log's."""

    rule = "RESTORE-5"
    remedy = (
        "Name evidence bundles (.zip) of this study, or files of lines as GET /v1/studies/{study}/events gives them as "
        "NDJSON."
    )
