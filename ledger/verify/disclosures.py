"""What is not there (V7): each missing disclosure was redacted by two people, or is withheld and listed, or is lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.merkle.tiles import WIDTH
from ledger.verify.bundle import Bundle, disclosures_path, read_disclosures_line
from ledger.verify.entries import Part, statement_digest
from ledger.verify.manifest import WithheldList
from ledger.verify.report import SHOWN, Check, listed
from ledger.verify.rights import Rights

KEPT = 1_000_000
"""Missing digests kept until the redactions are known; beyond it they are lost, whatever was redacted: nobody
redacts a million fields, and memory is bounded."""


@dataclass(slots=True)
class Missing:
    """Digests without disclosure, as they are found; settled when every redaction is known."""

    check: Check
    digests: list[tuple[int, str]] = field(default_factory=list)
    disclosed: int = 0
    withheld: int = 0
    redacted: int = 0
    lost: int = 0
    beyond: int = 0

    def take(self, part: Part) -> None:
        """What an entry bundle lacks."""
        self.disclosed += part.disclosed
        self.withheld += part.withheld
        room = max(0, KEPT - len(self.digests))
        self.digests += part.missing[:room]
        self.beyond += len(part.missing[room:])

    def conclude(self, rights: Rights, bundle: Bundle, withheld: WithheldList) -> None:
        """V7: redacted or lost; and what was redacted and is still there."""
        check = self.check
        gone: dict[int, set[str]] = {}
        for index, digest in self.digests:
            if digest in rights.redacted.get(index, ()):
                self.redacted += 1
                gone.setdefault(index, set()).add(digest)
            else:
                self.lost += 1
                check.fail(
                    f"unauthorised loss: the field with the digest {digest} is gone, {_why(rights, index)}", index
                )
        if self.beyond:
            check.fail(f"unauthorised loss: {self.beyond} more fields are gone", None, self.beyond)
        check.say(
            f"{self.disclosed} disclosures are present, {self.redacted} were redacted by two people, "
            f"{self.withheld} are withheld from this copy and listed, {self.lost + self.beyond} are lost"
        )
        for sentence in withheld.in_words():
            check.say(sentence)
        self._still_there(rights, bundle)
        if rights.redactions:
            shown = listed([index for _, index in rights.redactions.values()])
            check.note(f"redactions that nobody countersigned have no effect: indexes {shown}")

    def _still_there(self, rights: Rights, bundle: Bundle) -> None:
        """A redacted field that this bundle still discloses: a copy that should have been destroyed. No failure of
        the record, which shows the field and its redaction alike; whoever gave it out has to be asked."""
        found: list[int] = []
        for n in sorted({index // WIDTH for index in rights.redacted}):
            if disclosures_path(n) not in bundle:
                continue
            for line in bundle.lines(disclosures_path(n)):
                try:
                    index, parts = read_disclosures_line(line)
                except ValueError:
                    break  # reported where the entries were looked at
                if {statement_digest(part) for part in parts} & rights.redacted.get(index, set()):
                    found.append(index)
        if found:
            shown = listed(found[:SHOWN], len(found))
            self.check.note(
                f"{len(found)} entries still disclose a field that was redacted: indexes {shown}; this copy was made "
                "before, or the order was not carried out"
            )


def _why(rights: Rights, index: int) -> str:
    if index in rights.redacted:
        return "and the redaction of this entry does not name it"
    return "and no redaction signed by two people names it, nor is it listed as withheld"
