"""Transport files for tests, written byte by byte after SAS TS-140, so that they can be wrong in any way.

`xport(name, rows)` gives a whole file: text columns as wide as their longest value, numbers in IBM's format.
A cell is text, bytes (as they stand), a number, or None for what is missing.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

RECORD = 80
Cell = str | bytes | int | float | None
Row = Mapping[str, Cell]


def ibm(value: float) -> bytes:
    """A number as IBM hexadecimal floating point, cut after 56 bits as SAS does; NaN is the missing value."""
    if value != value:
        return b".".ljust(8, b"\0")
    if value == 0:
        return bytes(8)
    magnitude, exponent = abs(Fraction(value)), 64
    while magnitude >= 1:
        magnitude, exponent = magnitude / 16, exponent + 1
    while magnitude < Fraction(1, 16):
        magnitude, exponent = magnitude * 16, exponent - 1
    sign = 0x80 if value < 0 else 0
    return bytes([sign | exponent]) + int(magnitude * 2**56).to_bytes(7, "big")


def _cell(value: Cell, numeric: bool, width: int) -> bytes:
    if isinstance(value, bytes):
        return value.ljust(width, b"\0" if numeric else b" ")[:width]
    if numeric:
        return ibm(float("nan") if value is None else float(value))[:width]
    return ("" if value is None else str(value)).encode("cp1252").ljust(width)[:width]


def _numeric(name: str, rows: Sequence[Row], formats: Mapping[str, str]) -> bool:
    values = [row.get(name) for row in rows]
    return name in formats or any(isinstance(value, (int, float)) for value in values)


def _padded(data: bytes) -> bytes:
    return data + b" " * (-len(data) % RECORD)


def _title(kind: str, rest: str) -> bytes:
    return f"HEADER RECORD*******{kind:<8}HEADER RECORD!!!!!!!{rest:<32}".encode()


_ZEROS = "0" * 30


def library(version: int = 5) -> bytes:
    """What every file begins with."""
    stamp = b"SAS     SAS     SASLIB  9.4     X64     ".ljust(64) + b"01JAN26:00:00:00"
    return _title("LIBV8" if version == 8 else "LIBRARY", _ZEROS) + stamp + b"01JAN26:00:00:00".ljust(RECORD)


def member(
    name: str,
    rows: Sequence[Row],
    columns: Sequence[str] | None = None,
    formats: Mapping[str, str] | None = None,
    version: int = 5,
) -> bytes:
    """One data set; `columns` fixes order and presence, `formats` makes a column a number with a SAS format."""
    shown = dict(formats or {})
    names = list(columns) if columns is not None else list(dict.fromkeys(name for row in rows for name in row))
    entries, body, position = [], [b""] * len(rows), 0
    for number, column in enumerate(names, start=1):
        numeric = _numeric(column, rows, shown)
        width = 8 if numeric else max([1, *(len(_raw(row.get(column))) for row in rows)])
        entries.append(_entry(column, numeric, width, number, position, shown.get(column, ""), version))
        position += width
        body = [line + _cell(row.get(column), numeric, width) for line, row in zip(body, rows, strict=True)]
    eighth = version == 8
    about = f"SAS     {name:<32}SASDATA 9.4     X64     " if eighth else f"SAS     {name:<8}SASDATA 9.4     X64     "
    return b"".join(
        (
            _title("MEMBV8" if eighth else "MEMBER", "000000000000000001600000000140"),
            _title("DSCPTV8" if eighth else "DSCRPTR", _ZEROS),
            about.encode().ljust(64) + b"01JAN26:00:00:00",
            b"01JAN26:00:00:00".ljust(RECORD),
            _title("NAMSTV8" if eighth else "NAMESTR", f"000000{len(names):04}" + "0" * 20),
            _padded(b"".join(entries)),
            _title("OBSV8", f"{len(rows):>15}") if eighth else _title("OBS", _ZEROS),
            _padded(b"".join(body)),
        )
    )


def _raw(value: Cell) -> bytes:
    return value if isinstance(value, bytes) else ("" if value is None else str(value)).encode("cp1252")


def _entry(name: str, numeric: bool, width: int, number: int, position: int, shown: str, version: int) -> bytes:
    label = f"The so-called \x93{name}\x94 \xb5".encode("latin-1")
    long_name = name.encode().ljust(32) if version == 8 else bytes(32)
    return (
        struct.pack(">hhhh", 1 if numeric else 2, 0, width, number)
        + name[:8].encode().ljust(8)
        + label.ljust(40)[:40]
        + shown.encode().ljust(8)
        + struct.pack(">hhhh", 0, 0, 0, 0)
        + b" " * 8
        + struct.pack(">hh", 0, 0)
        + struct.pack(">i", position)
        + long_name
        + bytes(20)
    )


def xport(name: str, rows: Sequence[Row], **more: Any) -> bytes:
    """A file with one data set."""
    return library(more.get("version", 5)) + member(name, rows, **more)


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Put files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


DM: list[dict[str, Cell]] = [
    {
        "STUDYID": "S-1",
        "DOMAIN": "DM",
        "USUBJID": f"01-70{site}-10{number}",
        "SUBJID": f"10{number}",
        "RFSTDTC": "2014-01-02",
        "RFICDTC": "",
        "SITEID": f"70{site}",
        "AGE": 63 + number,
        "AGEU": "YEARS",
        "SEX": "F",
        "RACE": "WHITE",
        "ARMCD": "Pbo",
        "ARM": "Placebo",
        "COUNTRY": "USA",
        "DMDTC": "2013-12-26",
    }
    for site, number in ((1, 15), (1, 23), (2, 28))
]
"""Three subjects at two sites."""


def lab(**cells: Cell) -> dict[str, Cell]:
    """A row of LB about the first subject, with the cells given besides."""
    base: dict[str, Cell] = {
        "STUDYID": "S-1",
        "DOMAIN": "LB",
        "USUBJID": "01-701-1015",
        "LBSEQ": 1,
        "LBTESTCD": "PLAT",
        "LBTEST": "Platelet",
        "LBORRES": "210",
        "LBORRESU": "10^9/L",
        "LBDTC": "2014-01-02T08:30",
    }
    return base | cells


def event(domain: str, **cells: Cell) -> dict[str, Cell]:
    """A row of another domain about the first subject."""
    base: dict[str, Cell] = {"STUDYID": "S-1", "DOMAIN": domain, "USUBJID": "01-701-1015", f"{domain}SEQ": 1}
    return base | cells


def small_study() -> dict[str, bytes]:
    """A folder's files: every imported domain, a trial design, and one file that is not imported."""
    return {
        "dm.xpt": xport("DM", DM),
        "ds.xpt": xport("DS", [event("DS", DSTERM="SCREEN FAILURE", DSDECOD="SCREEN FAILURE", DSSTDTC="2014-01")]),
        "ex.xpt": xport("EX", [event("EX", EXTRT="PLACEBO", EXDOSE=0, EXDOSU="mg", EXSTDTC="2014-01-02", EXENDTC="")]),
        "lbhe.xpt": xport("LBHE", [lab(), lab(LBSEQ=2, LBTESTCD="WBC", LBTEST="Leukocytes", LBORRES="<0.2")]),
        "lbur.xpt": xport("LBUR", [lab(LBSEQ=3, LBTESTCD="COLOR", LBTEST="Color", LBORRES="N", LBORRESU="")]),
        "ae.xpt": xport("AE", [event("AE", AETERM="RASH", AESER="Y", AESHOSP="Y", AESTDTC="2014", AEENDTC="")]),
        "cm.xpt": xport("CM", [event("CM", CMTRT="ASPIRIN")]),
        "ta.xpt": xport("TA", [{"DOMAIN": "TA", "ARMCD": "Pbo", "ARM": "Placebo", "TAETORD": 1, "ETCD": "SCRN"}]),
        "ts.xpt": xport("TS", [{"DOMAIN": "TS", "TSSEQ": 1, "TSPARMCD": "PLANSUB", "TSVAL": "300"}]),
    }
