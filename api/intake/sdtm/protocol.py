"""The study's protocol, made of the trial design data sets TA, TE, TI, TS and TV.

It says what these say: arms and their course, elements, visits, the criteria's texts, the summary, the planned
number of subjects. It has no cohorts, no expressions and demands nothing (`requires`), because the data sets do
not say such things: no rule is broken that nobody declared. What cannot be placed is given back with the reason.
The same data give the same text, whatever the order of the files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from api.intake.sdtm import values
from ledger.protocol import BrokenProtocol, load
from ledger.protocol.model import FORMAT
from ledger.protocol.model.base import MAX_NAME, MAX_TEXT

DESIGN = ("TA", "TE", "TI", "TS", "TV")
"""The trial design data sets that the protocol is made of."""

MAX_ID = 60  # characters of a key in a protocol file
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_OPTIONAL = ("summary", "visits", "criteria", "arms", "elements", "planned_enrolment")
"""Sections that a protocol can do without, in the order in which they are left out of one that is too long."""

Cells = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DesignRow:
    """A row of a trial design data set; `key` lets the caller find it again."""

    domain: str
    key: Any
    cells: Cells


@dataclass(frozen=True, slots=True)
class Design:
    """The protocol's text and version; rows that could not be placed, and why; parts that had to be left out."""

    text: str
    version: str
    title: str | None
    unplaced: tuple[tuple[DesignRow, str], ...]
    left_out: tuple[str, ...] = ()


def build(study: str, rows: Sequence[DesignRow]) -> Design:
    """The protocol that the rows describe; what would make it one that cannot be used is left out and named."""
    version = f"SDTM-{_digest(rows)[:8]}"
    made = _Builder(study, version)
    for row in rows:
        why = made.take(row)
        if why:
            made.unplaced.append((row, why))
    made.finish()
    text, left_out = _usable(made.data)
    return Design(text, version, made.title, tuple(made.unplaced), tuple(left_out))


def _usable(data: dict[str, Any]) -> tuple[str, list[str]]:
    left_out: list[str] = []
    while True:
        text = _yaml(data)
        try:
            load(text)
            return text, left_out
        except BrokenProtocol as broken:
            found = [part for problem in broken.problems if (part := _without(data, problem.path))]
            if not found and not any(section in data for section in _OPTIONAL):
                raise
            if not found:
                section = next(section for section in _OPTIONAL if section in data)
                del data[section]
                found = [section]
            left_out += [f"{part} ({broken.problems[0].message})" for part in found]


def _without(data: dict[str, Any], path: str) -> str | None:
    """Leave out the entry of a table that a problem is about; None where it is about none."""
    section, _, rest = path.partition(".")
    key = re.split(r"[.\[]", rest)[0]
    if section not in _OPTIONAL or key not in data.get(section, {}):
        return None
    del data[section][key]
    return f"{section}.{key}"


def _digest(rows: Iterable[DesignRow]) -> str:
    told = sorted(repr((row.domain, sorted(row.cells.items()))) for row in rows)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


class _Dumper(yaml.SafeDumper):
    """Quotes every text that one reader of YAML or another could take for something else."""


def _quoted(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _quoted)


def _yaml(data: Mapping[str, Any]) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


def _said(cells: Cells, column: str, most: int = MAX_TEXT) -> str | None:
    """A cell without what cannot be seen, cut where it is longer than the field; None where nothing is left."""
    text = _UNSEEN.sub("\ufffd", cells.get(column, "")).strip()
    return text[:most] or None


def _filled(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _name(cells: Cells, column: str) -> str | None:
    return _said(cells, column, MAX_NAME)


class _Builder:
    """Collects the sections; `take` gives the reason why a row cannot be placed."""

    def __init__(self, study: str, version: str) -> None:
        self.data: dict[str, Any] = {
            "format": FORMAT,
            "study": study,
            "version": version,
            "identification": {"brief_title": study},
            "populations": {"patient": {"label": "Subjects of the study", "enrols": True, "treated": True}},
        }
        self.title: str | None = None
        self.unplaced: list[tuple[DesignRow, str]] = []
        self._arms: dict[str, str] = {}
        self._elements: dict[str, str] = {}
        self._steps: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self._takers = {"TA": self._arm, "TE": self._element, "TI": self._criterion, "TS": self._summary}
        self._visits: list[DesignRow] = []
        self._stated: dict[str, list[str]] = {}

    def take(self, row: DesignRow) -> str | None:
        """Place a row; the reason where it cannot be. Visits wait until all arms are known."""
        if row.domain == "TV":
            self._visits.append(row)
            return None
        return self._takers[row.domain](row.cells)

    def finish(self) -> None:
        """Place what refers to other rows: visits to arms, arms to their elements in order."""
        for row in self._visits:
            why = self._visit(row.cells)
            if why:
                self.unplaced.append((row, why))
        for arm, steps in self._steps.items():
            ordered = [step for _, step in sorted(steps, key=lambda pair: pair[0])]
            self._table("arms")[arm]["course"] = ordered
        self._identify()

    def _table(self, section: str) -> dict[str, Any]:
        table: dict[str, Any] = self.data.setdefault(section, {})
        return table

    def _key(self, section: str, wanted: str, prefix: str) -> str:
        """A free key: the source's own code where it may be one."""
        key = re.sub(r"[^A-Za-z0-9_-]", "-", wanted)
        if not re.match(r"[A-Za-z]", key):
            key = f"{prefix}{key}"
        table = self._table(section)
        free = key = key[: MAX_ID - 5]
        number = 2
        while free in table:
            free, number = f"{key}-{number}", number + 1
        return free

    def _arm_key(self, code: str, label: str) -> str:
        if code not in self._arms:
            self._arms[code] = key = self._key("arms", code, "ARM-")
            self._table("arms")[key] = {"label": label, "code": code}
        return self._arms[code]

    def _element_key(self, code: str, label: str) -> str:
        if code not in self._elements:
            self._elements[code] = key = self._key("elements", code, "E-")
            self._table("elements")[key] = {"label": label}
        return self._elements[code]

    def _arm(self, cells: Cells) -> str | None:
        code, element = _name(cells, "ARMCD"), _name(cells, "ETCD")
        if code is None or element is None:
            return "TA names no arm (ARMCD) or no element (ETCD) here"
        arm = self._arm_key(code, _name(cells, "ARM") or code)
        steps = self._steps.setdefault(arm, [])
        step = _filled(
            element=self._element_key(element, _name(cells, "ELEMENT") or element),
            epoch=_name(cells, "EPOCH"),
            branch=_said(cells, "TABRANCH"),
            transition=_said(cells, "TATRANS"),
        )
        place = values.integer(cells.get("TAETORD", "").strip())
        steps.append((len(steps) + 1 if place is None else place, step))
        return None

    def _element(self, cells: Cells) -> str | None:
        code = _name(cells, "ETCD")
        if code is None:
            return "TE names no element (ETCD) here"
        entry = self._table("elements")[self._element_key(code, _name(cells, "ELEMENT") or code)]
        entry.update(
            _filled(
                label=_name(cells, "ELEMENT"),
                start_rule=_said(cells, "TESTRL"),
                end_rule=_said(cells, "TEENRL"),
                duration=_name(cells, "TEDUR"),
            )
        )
        return None

    def _criterion(self, cells: Cells) -> str | None:
        code, text = _name(cells, "IETESTCD"), _said(cells, "IETEST")
        category = (_said(cells, "IECAT") or "").lower()
        if code is None or text is None or category not in ("inclusion", "exclusion"):
            return "TI names no criterion (IETESTCD), no text (IETEST) or neither inclusion nor exclusion (IECAT)"
        notes = [f"{column}: {cell}" for column in ("IESCAT", "TIRL", "TIVERS") if (cell := _said(cells, column))]
        note = "; ".join(notes)[:MAX_TEXT] or None
        key = self._key("criteria", code, "C-")
        self._table("criteria")[key] = _filled(category=category, text=text, evaluation="manual", code=code, note=note)
        return None

    def _summary(self, cells: Cells) -> str | None:
        code = _name(cells, "TSPARMCD")
        if code is None:
            return "TS names no parameter (TSPARMCD) here"
        key = re.sub(r"[^A-Za-z0-9_-]", "-", code)[:MAX_ID]
        key = key if re.match(r"[A-Za-z]", key) else f"P-{key}"[:MAX_ID]
        entry = self._table("summary").setdefault(key, {"label": _name(cells, "TSPARM") or code})
        more = sorted((c for c in cells if re.fullmatch(r"TSVAL[0-9]+", c)), key=lambda c: int(c[5:]))
        value = "".join(_said(cells, column) or "" for column in ("TSVAL", *more))[:MAX_TEXT]
        reference = _said(cells, "TSVALCD")
        if reference is not None:
            system = " ".join(filter(None, (_said(cells, "TSVCDREF"), _said(cells, "TSVCDVER"))))
            value = f"{value} [{f'{system} ' if system else ''}{reference}]".strip()[:MAX_TEXT]
        if value:
            entry.setdefault("values", []).append(value)
        null = _name(cells, "TSVALNF")
        if null is not None:
            entry["null_flavour"] = null
        self._stated.setdefault(code.upper(), []).append(_said(cells, "TSVAL") or "")
        return None

    def _visit(self, cells: Cells) -> str | None:
        number, label = _name(cells, "VISITNUM"), _name(cells, "VISIT")
        if number is None and label is None:
            return "TV names no visit (VISITNUM, VISIT) here"
        arm = _name(cells, "ARMCD")
        key = self._key("visits", f"V{(number or label or '').replace('.', '_')}", "V")
        self._table("visits")[key] = _filled(
            label=label or number,
            number=number,
            day=values.integer(cells.get("VISITDY", "").strip()),
            arm=None if arm is None else self._arm_key(arm, _name(cells, "ARM") or arm),
            start_rule=_said(cells, "TVSTRL"),
            end_rule=_said(cells, "TVENRL"),
        )
        return None

    def _identify(self) -> None:
        """What the summary says about the study as a whole, in the fields that the protocol has for it."""
        stated = {code: [v[:MAX_NAME] for v in found if v] for code, found in self._stated.items()}

        def first(code: str) -> str | None:
            return next(iter(stated.get(code, [])), None)

        self.title = first("TITLE")
        identity = self.data["identification"]
        identity.update(
            _filled(
                brief_title=self.title,
                nct=next((v for v in stated.get("REGID", []) if v.startswith("NCT")), None),
                sponsor=first("SPONSOR"),
                conditions=stated.get("INDIC") or None,
                design=_design(first),
                admission=_filled(
                    minimum_age=first("AGEMIN"),
                    maximum_age=first("AGEMAX"),
                    sex=first("SEXPOP"),
                    healthy_volunteers=values.yes_or_no(first("HLTSUBJI") or ""),
                )
                or None,
            )
        )
        planned = values.integer(first("PLANSUB") or "")
        if planned is not None and 0 <= planned <= 1_000_000:
            self.data["planned_enrolment"] = {"count": planned, "kind": "estimated"}


def _design(first: Any) -> dict[str, Any] | None:
    study_type = first("STYPE")
    if study_type is None:
        return None
    return _filled(
        study_type=study_type,
        phase=first("TPHASE"),
        allocation={"Y": "RANDOMIZED", "N": "NON-RANDOMIZED"}.get(first("RANDOM") or ""),
        intervention_model=first("INTMODEL"),
        masking=first("TBLIND"),
        primary_purpose=first("TINDTP"),
    )
