"""The schedule: planned against actual, for every time point of the protocol, subject by subject.

Where an occasion stands (in its window, early, late, missed, due ...) is decided on reading, from the reader's own
"now": `plan.py` says how.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ledger.domain.participation import protocol_of
from projections.engine.errors import SubjectNotFound, one_of
from projections.engine.reading import Reader
from projections.engine.rows import Asked, Where, every
from projections.naming import the_only
from projections.schedule.plan import STANDINGS, occasions
from projections.subjects import subject_of


def schedule(
    reader: Reader,
    subject: str | None = None,
    site: str | None = None,
    standing: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Planned and actual by subject, a page of subjects ordered by name; `standing` keeps only such occasions.

    Raises SubjectNotFound, SubjectAmbiguous, and ReadingMalformed for a standing that there is not.
    """
    one_of("standing", standing, STANDINGS)
    lines = _lines(reader, subject, site, after, limit)
    pages = [_of_subject(reader, line, standing) for line in lines]
    counts: Counter[str] = Counter()
    for page in pages:
        counts.update(page["counts"])
    following = f"{lines[-1].name}\x1f{lines[-1].partition}" if subject is None and len(lines) == limit else None
    return {"subjects": pages, "counts": dict(counts), "next": following, "cut": reader.cut()}


def _lines(reader: Reader, subject: str | None, site: str | None, after: str | None, limit: int) -> Sequence[Any]:
    where: tuple[Where, ...] = ()
    if site is not None:
        where += (Where("site", "=", site),)
    if subject is not None:
        return _named(reader, subject)
    place = tuple(after.split("\x1f", 1)) if after and "\x1f" in after else None
    return reader.rows.select("subjects", Asked(where, ("name", "partition"), after=place, limit=limit))


def _named(reader: Reader, subject: str) -> Sequence[Any]:
    """The line of one subject, named by UUID or number."""
    try:
        partition = str(UUID(subject))
    except ValueError:
        found = reader.rows.select("subjects", Asked((Where("number", "=", subject),), ("partition",)))
        the_only(subject, (line.partition for line in found), reader.size)
        return found
    found = reader.rows.select("subjects", Asked((Where("partition", "=", partition),), limit=1))
    if not found:
        raise SubjectNotFound(f"there is no subject {subject!r} at size {reader.size}")
    return found


def _of_subject(reader: Reader, line: Any, standing: str | None) -> dict[str, Any]:
    rows = every(reader.rows, "records", (Where("partition", "=", line.partition),), ("idx",))
    subject = subject_of(line.partition, rows)
    protocol = protocol_of(reader.study, subject)
    listed = occasions(reader.study, subject, reader.enrolment_order(subject.label), reader.at)
    return {
        "subject": line.partition,
        "number": line.number,
        "site": line.site,
        "cohort": line.cohort,
        "protocol": None if protocol is None else protocol.label,
        "occasions": [one for one in listed if standing is None or one["standing"] == standing],
        "counts": dict(Counter(one["standing"] for one in listed)),
    }
