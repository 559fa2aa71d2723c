"""What a folder of transport files holds, found out before anything is recorded.

SURVEY-1  every transport file of the folder can be read, and has the columns without which its rows say nothing
SURVEY-2  there is DM: it says who the subjects are and at which site; nothing else does
SURVEY-3  a row that repeats another of its domain in every cell, sequence number included, is the same record
SURVEY-4  DM has one row a subject; a second one that says something else is quarantined, not merged
SURVEY-5  what is absent of the columns of the standard, or not of the standard, is said of each file (`variables.py`)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from api.intake.errors import UnreadableInput
from api.intake.sdtm import reading, values, variables
from api.intake.sdtm.mapping import DOMAINS
from api.intake.sdtm.protocol import DESIGN, DesignRow
from api.intake.sdtm.transport import DataSet, data_sets
from api.intake.sealing import subject_id

SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
SUBJECT_NUMBER = re.compile(r"[A-Za-z0-9-]{1,40}")
_SUFFIX = 9  # characters of what tells two ids apart that would otherwise become one
_FIRST_ROWS = 100  # rows in which a data set says its domain, if it says it


class Person(NamedTuple):
    """A subject as the ledger names it."""

    sub: str
    number: str
    site: str


@dataclass(frozen=True, slots=True)
class Source:
    """A data set that is imported: its domain, and which of its rows repeat an earlier one."""

    data: DataSet
    domain: str
    repeats: frozenset[int]


@dataclass(slots=True)
class Survey:
    """The folder: what is imported, in which order; the subjects; the trial design; what else lies there.

    `study_id` is the STUDYID of the data; `misplaced` says why a row of DM makes no subject, by data set and line;
    `warnings` are what a person should look at before the import is believed.
    """

    sources: list[Source] = field(default_factory=list)
    design: list[DesignRow] = field(default_factory=list)
    others: list[DataSet] = field(default_factory=list)
    people: dict[str, Person] = field(default_factory=dict)
    misplaced: dict[tuple[str, int], str] = field(default_factory=dict)
    sites: dict[str, str | None] = field(default_factory=dict)
    renamed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    study_id: str | None = None
    earliest: str | None = None

    @property
    def rows(self) -> int:
        """Rows of the domains that are imported."""
        return sum(source.data.rows for source in self.sources)


def survey(folder: Path, study: str) -> Survey:
    """Look at a folder; raises UnreadableInput naming the file that has to be mended."""
    found = Survey()
    by_domain: dict[str, list[DataSet]] = {}
    for path in _files(folder):
        for data in data_sets(path):
            by_domain.setdefault(_domain(data), []).append(data)
    for code in DOMAINS:
        seen: set[bytes] = set()
        for data in by_domain.pop(code, []):
            if data.rows or code == "DM":
                _check_columns(data, code)
                found.warnings += _doubts(data, code)
            found.sources.append(Source(data, code, frozenset(_repeats(data, code, seen))))
    if not any(source.domain == "DM" for source in found.sources):
        raise UnreadableInput(
            str(folder),
            "there is no DM data set, which says who the subjects are and where",
            "Put dm.xpt beside the other files and run the import again",
        )
    for code in DESIGN:
        for data in by_domain.pop(code, []):
            found.design += [DesignRow(code, (data, row), row.cells) for row in _all_rows(data)]
    found.others = [data for group in by_domain.values() for data in group]
    _subjects(found, study)
    return found


def _files(folder: Path) -> list[Path]:
    try:
        names = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".xpt")
    except OSError as error:
        because = f"it cannot be read as a folder ({error.strerror})"
        raise UnreadableInput(str(folder), because, "Name the folder that holds the transport files") from None
    if not names:
        raise UnreadableInput(
            str(folder), "it holds no transport file (.xpt)", "Name the folder that holds dm.xpt and the others"
        )
    return names


def _all_rows(data: DataSet) -> Iterator[reading.Row]:
    for first, raws in data.blocks():
        yield from reading.rows(data, first, raws)


def _domain(data: DataSet) -> str:
    """The domain that the rows state; without a statement, what name and columns say; empty where neither does."""
    if data.column("DOMAIN") is not None:
        first = data.read(0, min(data.rows, _FIRST_ROWS))
        for row in reading.rows(data, 0, first):
            if row.cells.get("DOMAIN", "").strip():
                return row.cells["DOMAIN"].strip().upper()
    name = data.name.upper()
    if name in DESIGN:
        return name
    domain = DOMAINS.get(name[:2]) if len(name) <= 4 else None
    if domain is not None and (name in DOMAINS or not _lacking(data, domain.needs)):
        return domain.code
    return ""


def _lacking(data: DataSet, needs: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [group for group in needs if not any(data.column(name) for name in group)]


def _check_columns(data: DataSet, code: str) -> None:
    lacking = _lacking(data, DOMAINS[code].needs)
    if lacking:
        wanted = ", ".join(" or ".join(group) for group in lacking)
        raise UnreadableInput(
            data.identifier,
            f"it has no column {wanted}, without which its rows cannot be placed{_strangers(data, code)}",
            "Ask for the file again with this column" + ("" if code == "DM" else ", or take it out of the folder"),
        )


def _doubts(data: DataSet, code: str) -> Iterator[str]:
    """What of the standard is absent from a file, and what in it is not of the standard."""
    absent = variables.absent(code, (column.name for column in data.columns))
    if absent:
        yield (
            f"{data.identifier}: {code} should have {', '.join(absent)}; not one row says anything there"
            f"{_strangers(data, code)}"
        )
    elif _strangers(data, code):
        yield f"{data.identifier}: some columns are kept as they are and mean nothing here{_strangers(data, code)}"


def _strangers(data: DataSet, code: str) -> str:
    names = variables.unknown(code, (column.name for column in data.columns))
    return f" (columns that SDTM does not have in {code}: {', '.join(names)})" if names else ""


def _repeats(data: DataSet, code: str, seen: set[bytes]) -> Iterator[int]:
    """Lines that repeat a row seen before; a row without a sequence number may truly stand twice."""
    sequence = data.column(f"{code}SEQ")
    if sequence is None and code != "DM":
        return
    likeness = reading.likeness(data)
    for first, raws in data.blocks():
        for line, raw in enumerate(raws, start=first + 1):
            if sequence is not None and not sequence.cut(raw).strip(b" .\0"):
                continue
            told = likeness(raw)
            if told in seen:
                yield line
            seen.add(told)


def _subjects(found: Survey, study: str) -> None:
    rows: dict[str, reading.Row] = {}
    countries: dict[str, set[str]] = {}
    days = []
    for source in found.sources:
        if source.domain != "DM":
            continue
        for row in _all_rows(source.data):
            if row.line in source.repeats:
                continue
            cells = row.cells
            found.study_id = found.study_id or cells.get("STUDYID", "").strip() or None
            why = _no_subject(row, rows, found.study_id)
            if why:
                found.misplaced[source.data.identifier, row.line] = why
                continue
            rows[cells["USUBJID"].strip()] = row
            countries.setdefault(cells["SITEID"].strip(), set()).add(cells.get("COUNTRY", "").strip())
            days += _days(cells)
    numbers = identifiers(rows, SUBJECT_NUMBER, 40)
    sites = identifiers(countries, SITE, 64)
    for name, row in rows.items():
        person = Person(f"subject/{subject_id(study, name)}", numbers[name], sites[row.cells["SITEID"].strip()])
        found.people[name] = person
    found.sites = {sites[site]: _only(stated) for site, stated in countries.items()}
    found.renamed = [f"{old} is {new}" for ids in (numbers, sites) for old, new in ids.items() if old != new]
    found.earliest = min(days, default=None)


def _no_subject(row: reading.Row, known: Mapping[str, reading.Row], study_id: str | None) -> str | None:
    if row.problem:
        return row.problem
    name, study = row.cells.get("USUBJID", "").strip(), row.cells.get("STUDYID", "").strip()
    if not name:
        return "USUBJID is blank, so there is no subject that it says something about"
    if study and study != study_id:
        return f"the row says that it belongs to the study {study}, the first one to {study_id}"
    if not row.cells.get("SITEID", "").strip():
        return "SITEID is blank, so there is no site at which the subject could be recorded"
    if name in known:
        return f"DM has a row of {name} already (row {known[name].line}), which says something else"
    return None


def _days(cells: Mapping[str, str]) -> list[str]:
    """Complete days on which DM says that something of the study happened; birth is none."""
    stated = (cell[:10] for name, cell in cells.items() if name.endswith("DTC") and name != "BRTHDTC")
    return [day for day in stated if len(day) == 10 and values.time(day)]


def _only(stated: set[str]) -> str | None:
    return next(iter(stated)) or None if len(stated) == 1 else None


def identifiers(names: Iterable[str], form: re.Pattern[str], most: int) -> dict[str, str]:
    """Each name as an id of the ledger: itself where it has the form, else with other characters as hyphens.

    Where two would become one, or one would be too long, a digest of the source's name tells them apart.
    """
    given = list(names)
    made = {name: name for name in given if form.fullmatch(name)}
    taken = set(made)
    for name in sorted(given):
        if name in made:
            continue
        wanted = re.sub(r"[^A-Za-z0-9-]", "-", name).lstrip("-")
        if not form.fullmatch(wanted) or wanted in taken:
            digest = hashlib.sha256(name.encode()).hexdigest()[: _SUFFIX - 1]
            wanted = f"{wanted[: most - _SUFFIX]}-{digest}".lstrip("-")
        made[name] = wanted
        taken.add(wanted)
    return made
