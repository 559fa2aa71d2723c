"""Which field of which event each SDTM column becomes.

 MAPPING-1  one row is one event
 MAPPING-2  a field holds what its column holds; what the source leaves blank stays absent
 MAPPING-3  every cell stands in the event as it was written: in a field of its own, or in `as_transferred`.
            Where a field says in our terms what the source says in its own (AESER `Y` is `serious`), the cell
            stands in both
 MAPPING-4  a milestone is a fact (DispositionRecorded), never a decision

Columns: SDTMIG 3.2 to 3.4. A column that is missing is a column that is blank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from api.intake.sdtm import values
from ledger.domain.model import MAX_CODE, MAX_TEXT

Content = dict[str, Any]


class Cells:
    """The cells of one row; what is taken verbatim is no longer `left`."""

    __slots__ = ("left", "prefix")

    def __init__(self, cells: Mapping[str, str], prefix: str) -> None:
        self.left = dict(cells)
        self.prefix = prefix

    def own(self, suffix: str) -> str:
        """The domain's own column: `DTC` is LBDTC in LB."""
        return self.prefix + suffix

    def said(self, column: str) -> str:
        """A cell to be interpreted, in capitals, without taking it; empty where it is blank."""
        return self.left.get(column, "").strip().upper()

    def label(self, column: str) -> str | None:
        """A short text."""
        return self._text(column, MAX_CODE)

    def text(self, column: str) -> str | None:
        """A text."""
        return self._text(column, MAX_TEXT)

    def _text(self, column: str, most: int) -> str | None:
        cell = self.left.get(column)
        if cell is None:
            return None
        said = cell.strip()
        if not said or len(said) > most:
            return None
        if said == cell:
            del self.left[column]
        return said

    def number(self, column: str) -> str | None:
        """An exact decimal without comparator."""
        cell = self.left.get(column)
        found = values.quantity(cell) if cell is not None else None
        if found is None or found.comparator is not None:
            return None
        if found.verbatim:
            del self.left[column]
        return found.value

    def integer(self, column: str) -> int | None:
        """A whole number."""
        cell = self.left.get(column)
        found = values.integer(cell) if cell is not None else None
        if found is not None:
            del self.left[column]
        return found

    def time(self, column: str) -> str | None:
        """A time as far as it is known."""
        cell = self.left.get(column)
        if cell is None:
            return None
        found = values.time(cell)
        if found is None:
            return values.known_part(cell)
        del self.left[column]
        return found

    def flag(self, column: str) -> bool | None:
        """Yes or no; the cell stays, because it is written otherwise."""
        cell = self.left.get(column)
        return values.yes_or_no(cell) if cell is not None else None

    def result(self, column: str) -> Content:
        """A result: value with comparator, or text."""
        cell = self.left.get(column)
        found = values.quantity(cell) if cell is not None else None
        if found is None:
            return filled(text=self.text(column))
        if found.verbatim:
            del self.left[column]
        return filled(comparator=found.comparator, value=found.value)


def filled(**fields: Any) -> Content:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value is not None and value != {} and value != []}


def _common(cells: Cells, occurred: str | None, **more: Any) -> Content:
    """What every domain has: when, in which visit, in which order; whether it was done."""
    own = cells.own
    not_done = cells.said(own("STAT")) == "NOT DONE" or cells.said(own("OCCUR")) == "N"
    return filled(
        **more,
        occurred_at=occurred,
        occurred_at_status=values.time_status(occurred),
        status="not done" if not_done else None,
        status_reason=cells.text(own("REASND")),
        visit=cells.label("VISIT"),
        sequence=_sequence(cells),
        timing=filled(
            visit_number=cells.number("VISITNUM"),
            planned_day=cells.integer("VISITDY"),
            study_day=cells.integer(own("STDY")) if own("STDY") in cells.left else cells.integer(own("DY")),
            study_day_end=cells.integer(own("ENDY")),
            epoch=cells.label("EPOCH"),
            collected_at=cells.time(own("DTC")),
        ),
    )


def _sequence(cells: Cells) -> int | None:
    column = cells.own("SEQ")
    return None if cells.left.get(column, "").startswith("-") else cells.integer(column)


def _started(cells: Cells) -> str | None:
    return cells.time(cells.own("STDTC"))


def _arm(cells: Cells, code: str, name: str) -> Content | None:
    if code not in cells.left:
        return None
    known = cells.label(code)
    return None if known is None else filled(code=known, name=cells.label(name))


_SEX = {"F": "female", "M": "male", "U": "unknown"}
NO_CONSENT_DATE = "The source states no date of consent: legacy, not verified."


def _subject(cells: Cells) -> Content:
    consented = cells.time("RFICDTC")
    return _common(
        cells,
        cells.time("DMDTC"),
        sex=_SEX.get(cells.said("SEX")),
        birth_date=cells.time("BRTHDTC"),
        age=cells.number("AGE"),
        age_unit=cells.label("AGEU"),
        race=cells.label("RACE"),
        ethnicity=cells.label("ETHNIC"),
        country=cells.label("COUNTRY"),
        local_number=cells.label("SUBJID"),
        planned_arm=_arm(cells, "ARMCD", "ARM"),
        actual_arm=_arm(cells, "ACTARMCD", "ACTARM"),
        consented_at=consented,
        reference_started_at=cells.time("RFSTDTC"),
        reference_ended_at=cells.time("RFENDTC"),
        first_treated_at=cells.time("RFXSTDTC"),
        last_treated_at=cells.time("RFXENDTC"),
        participation_ended_at=cells.time("RFPENDTC"),
        died=cells.flag("DTHFL"),
        died_at=cells.time("DTHDTC"),
        comment=NO_CONSENT_DATE if consented is None else None,
    )


def _disposition(cells: Cells) -> Content:
    decoded = cells.label("DSDECOD")
    return _common(
        cells,
        _started(cells),
        term=cells.text("DSTERM") or decoded,
        decoded=decoded,
        category=cells.label("DSCAT"),
        subcategory=cells.label("DSSCAT"),
    )


def _treatment(cells: Cells) -> Content:
    started = _started(cells)
    return _common(
        cells,
        started,
        treatment=cells.label("EXTRT"),
        category=cells.label("EXCAT"),
        dose=cells.number("EXDOSE"),
        dose_text=cells.label("EXDOSTXT"),
        dose_unit=cells.label("EXDOSU"),
        dose_form=cells.label("EXDOSFRM"),
        frequency=cells.label("EXDOSFRQ"),
        route=cells.label("EXROUTE"),
        location=cells.label("EXLOC"),
        lot=cells.label("EXLOT"),
        started_at=started,
        ended_at=cells.time("EXENDTC"),
        adjustment_reason=cells.text("EXADJ"),
    )


def _result(cells: Cells) -> Content:
    loinc = cells.label("LBLOINC")
    code = cells.label("LBTESTCD")
    standard = cells.result("LBSTRESC") or filled(value=cells.number("LBSTRESN"))
    if standard.get("value") == cells.left.get("LBSTRESN") and "comparator" not in standard:
        cells.left.pop("LBSTRESN", None)
    standard |= filled(
        unit=cells.label("LBSTRESU"),
        reference_range=filled(low=cells.number("LBSTNRLO"), high=cells.number("LBSTNRHI"), text=cells.text("LBSTNRC")),
    )
    return _common(
        cells,
        cells.time("LBDTC"),
        analyte=code or cells.label("LBTEST"),
        code={"system": "LOINC", "code": loinc} if loinc is not None else None,
        name=cells.text("LBTEST"),
        **cells.result("LBORRES"),
        unit=cells.label("LBORRESU"),
        reference_range=filled(low=cells.number("LBORNRLO"), high=cells.number("LBORNRHI")),
        indicator=cells.label("LBNRIND"),
        standard=standard,
        specimen=cells.label("LBREFID"),
        material=cells.label("LBSPEC"),
        category=cells.label("LBCAT"),
        subcategory=cells.label("LBSCAT"),
        method=cells.label("LBMETHOD"),
        fasting=cells.flag("LBFAST"),
        position=cells.label("LBPOS"),
        baseline=cells.flag("LBBLFL"),
        laboratory=cells.label("LBNAM"),
    )


_SERIOUSNESS = {
    "AESDTH": "death",
    "AESLIFE": "life-threatening",
    "AESHOSP": "hospitalisation",
    "AESDISAB": "disability",
    "AESCONG": "congenital anomaly",
    "AESMIE": "medically important",
    "AESCAN": "cancer",
    "AESOD": "overdose",
    "AESINTV": "required intervention",
}
_CODING = (
    ("LLT", "AELLT", "AELLTCD"),
    ("PT", "AEDECOD", "AEPTCD"),
    ("HLT", "AEHLT", "AEHLTCD"),
    ("HLGT", "AEHLGT", "AEHLGTCD"),
    ("SOC", "AESOC", "AESOCCD"),
)


def _adverse_event(cells: Cells) -> Content:
    started = _started(cells)
    coded = cells.left.get("AEDECOD")
    grade = values.integer(cells.left.get("AETOXGR", ""))
    return _common(
        cells,
        started,
        term=cells.text("AETERM") or (coded.strip() if coded else None),
        coding=[found for level in _CODING if (found := _coded(cells, *level))],
        body_system=cells.label("AEBODSYS"),
        category=cells.label("AECAT"),
        pattern=cells.label("AEPATT"),
        location=cells.label("AELOC"),
        severity=cells.label("AESEV"),
        grade=cells.integer("AETOXGR") if grade is not None and 1 <= grade <= 5 else None,
        serious=cells.flag("AESER"),
        seriousness=[word for column, word in _SERIOUSNESS.items() if cells.flag(column)],
        relatedness=cells.label("AEREL"),
        action_taken=cells.label("AEACN"),
        other_action=cells.text("AEACNOTH"),
        outcome=cells.label("AEOUT"),
        started_at=started,
        ended_at=cells.time("AEENDTC"),
        ongoing=True if "ONGOING" in (cells.said("AEENRF"), cells.said("AEENRTPT")) else None,
    )


def _coded(cells: Cells, level: str, term: str, code: str) -> Content | None:
    known = cells.label(term)
    return None if known is None else filled(level=level, term=known, code=cells.label(code))


@dataclass(frozen=True, slots=True)
class Domain:
    """How a domain is read: the event its rows become, and columns of which one of each group must be there."""

    code: str
    event: str
    needs: tuple[tuple[str, ...], ...]
    fields: Callable[[Cells], Content]


DOMAINS = {
    domain.code: domain
    for domain in (
        Domain("DM", "SubjectScreened", (("USUBJID",), ("SITEID",)), _subject),
        Domain("DS", "DispositionRecorded", (("USUBJID",), ("DSDECOD",)), _disposition),
        Domain("EX", "TreatmentAdministered", (("USUBJID",), ("EXTRT",)), _treatment),
        Domain(
            "LB",
            "LabResultReported",
            (("USUBJID",), ("LBTESTCD", "LBTEST"), ("LBORRES", "LBSTRESC", "LBSTRESN")),
            _result,
        ),
        Domain("AE", "AdverseEventReported", (("USUBJID",), ("AETERM", "AEDECOD")), _adverse_event),
    )
}
"""Domains that are imported, in the order in which they are: subjects first."""


def content(domain: Domain, row: Mapping[str, str]) -> Content:
    """The fields of the event that a row becomes, `source` and subject number apart."""
    cells = Cells(row, domain.code)
    fields = domain.fields(cells)
    if cells.left:
        fields["as_transferred"] = cells.left
    return fields
