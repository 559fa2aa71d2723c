"""What stops an import as a whole; a single row that cannot be placed goes to quarantine instead.

Both say what is wrong and what to do. What was appended before stays appended, and the next run of the same
import continues after it: event ids derive from the source.
"""

from __future__ import annotations

from ledger.domain.refusals import Refusal


class UnreadableInput(Exception):
    """The input cannot be read as what it should be. Raised before anything is recorded."""

    def __init__(self, name: str, because: str, remedy: str) -> None:
        super().__init__(f"{name}: {because}. {remedy}")
        self.name = name
        self.because = because
        self.remedy = remedy


class ImportStopped(Exception):
    """The ledger does not take what this import sends, whatever the row: authority, signature or its database."""

    def __init__(self, what: str, refusal: Refusal) -> None:
        remedy = refusal.remedy or "Run the import again when this is mended."
        super().__init__(f"{what} was not recorded ({refusal.rule}): {refusal.because}. {remedy}")
        self.what = what
        self.refusal = refusal
