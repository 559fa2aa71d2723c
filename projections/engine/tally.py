"""Counts of differences, and the report of a comparison: names and numbers, no value of any row.

The report is kept for ever (in the ledger, by its digest or whole), the differences themselves are not: they go with
the rows, and with what is redacted. So the report pins them by a digest, and says of subjects no more than their UUID.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.signing.encoding import b64url
from projections.engine.definition import STUDY_PARTITION
from projections.engine.difference import KINDS, Difference
from projections.engine.digest import encoded

MAX_SUBJECTS_LISTED = 500
"""Subjects that a report names, those with most that is unexplained first: it has to fit into a statement, and all of
them stand in the differences."""

NO_SITE = ""
"""Where a subject has no site, and where the study's own records stand."""

Class = tuple[str, str, str]
"""Table, column, kind."""


@dataclass
class Tally:
    """What is counted of differences, taken in partition by partition."""

    classes: Counter[tuple[str, str, str, bool, str]] = field(default_factory=Counter)
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    partitions: dict[str, tuple[int, int]] = field(default_factory=dict)
    _sum: Any = field(default_factory=hashlib.sha256)
    _last: str | None = None

    def passing(self, partition: str, found: Iterable[Difference]) -> Iterator[Difference]:
        """Give a partition's differences on when they are counted. Partitions come in order of their names."""
        assert self._last is None or self._last < partition, "partitions are counted in order, each once"
        self._last = partition
        sums: list[bytes] = []
        whole: set[tuple[str, str]] = set()
        changed: set[tuple[str, str]] = set()
        counted = [0, 0]
        for one in found:
            self.classes[one.table, one.column, one.kind, one.intended, one.why] += 1
            if one.column:
                changed.add((one.table, one.key))
            else:
                whole.add((one.table, one.key))
                self.rows[one.table, one.kind] += 1
            counted[one.intended] += 1
            sums.append(hashlib.sha256(encoded(one)).digest())
            yield one
        for table, _ in changed - whole:
            self.rows[table, "changed"] += 1
        if sums:
            self.partitions[partition] = (counted[True], counted[False])
            self._sum.update(encoded((partition, hashlib.sha256(b"".join(sorted(sums))).hexdigest())))

    @property
    def digest(self) -> str:
        """SHA-256 (base64url) over all differences: partition by partition in order, each the digest of the digests of
        its differences in order."""
        return b64url(self._sum.copy().digest())

    @property
    def intended(self) -> int:
        """Differences that are declared."""
        return sum(count for (*_, intended, _), count in self.classes.items() if intended)

    @property
    def unexplained(self) -> int:
        """Differences that nothing declares."""
        return sum(count for (*_, intended, _), count in self.classes.items() if not intended)

    @property
    def unexplained_classes(self) -> frozenset[Class]:
        """Table, column and kind of what is unexplained: what an approval covers."""
        return frozenset(key[:3] for key in self.classes if not key[3])

    def counts(self) -> dict[str, int]:
        """The shortest summary: rows added, removed and changed, differences intended and unexplained, partitions."""
        rows = {kind: sum(count for (_, one), count in self.rows.items() if one == kind) for kind in KINDS}
        found = {"intended": self.intended, "unexplained": self.unexplained}
        return {**rows, **found, "partitions": len(self.partitions)}

    def by_table(self) -> dict[str, dict[str, int]]:
        """Rows added, removed and changed of each table."""
        tables = sorted({table for table, _ in self.rows})
        return {table: {kind: self.rows[table, kind] for kind in KINDS} for table in tables}

    def by_column(self) -> list[dict[str, Any]]:
        """Each class of differences with why and how many; the unexplained ones first."""
        ordered = sorted(self.classes.items(), key=lambda one: (one[0][3], *one[0][:3], one[0][4]))
        names = ("table", "column", "kind", "intended", "why")
        return [{**dict(zip(names, key, strict=True)), "count": count} for key, count in ordered]

    def by_subject(self) -> list[dict[str, Any]]:
        """Each partition with differences, the most unexplained first."""
        ordered = sorted(self.partitions.items(), key=lambda one: (-one[1][1], -one[1][0], one[0]))
        return [{"subject": name, "intended": had[0], "unexplained": had[1]} for name, had in ordered]

    def by_site(self, sites: Mapping[str, str | None]) -> dict[str, dict[str, int]]:
        """Subjects and differences by site, as the subjects' sites are now. The study's own records have none."""
        found: dict[str, dict[str, int]] = {}
        for partition, (intended, unexplained) in sorted(self.partitions.items()):
            own = partition == STUDY_PARTITION
            site = found.setdefault(
                (None if own else sites.get(partition)) or NO_SITE, {"subjects": 0, "intended": 0, "unexplained": 0}
            )
            site["subjects"] += not own
            site["intended"] += intended
            site["unexplained"] += unexplained
        return {site: found[site] for site in sorted(found)}


def canonical(report: Mapping[str, Any]) -> bytes:
    """A report's canonical JSON: names in order, no spaces, UTF-8."""
    return json.dumps(report, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def report_digest(report: Mapping[str, Any]) -> str:
    """SHA-256 of a report's canonical JSON, base64url."""
    return b64url(hashlib.sha256(canonical(report)).digest())
