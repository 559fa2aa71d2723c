"""The subjects of the course: all invented. Numbers, dates and counts are made so that the published figures come out.

Platelet counts follow a shape per subject: weeks after the first infusion and the count there, joined by
straight lines, with a little chance on top. Whether that is a response is for the projection to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Literal

from api.cli.demo.chance import Chance

WEEKS = 28
"""Platelets are counted from week 1 to week 28."""
INFUSIONS = 4

Shape = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Patient:
    """A synthetic patient who is enrolled. `weight` in kg; `responds` is the shape of the counts, if they rise."""

    number: str
    cohort: str
    sex: Literal["female", "male"]
    born: date
    weight: str
    first_infusion: date
    baseline: int
    responds: Shape | None = None
    childbearing: bool = False
    infusions: int = INFUSIONS
    last_week: int = WEEKS
    splenectomy: bool = False
    rituximab: bool = True
    by: Literal["pi", "investigator"] = "pi"
    peaks: Mapping[int, int] = field(default_factory=dict)

    @property
    def screened(self) -> date:
        """Ten days before the first infusion."""
        return self.first_infusion - timedelta(days=10)

    def cells(self, dose: str) -> str:
        """Cells of one infusion, in the product's unit of 10^6 cells."""
        return f"{(Decimal(dose) * Decimal(self.weight)).quantize(Decimal('0.1')):f}"

    def counts(self, chance: Chance, responses: bool) -> dict[int, str]:
        """The platelet count of each week in 10*9/L."""
        if self.responds is not None and responses:
            shape = self.responds
            return {week: chance.between(0.97 * at, 1.03 * at) for week, at in _joined(shape).items()}
        top = min(27, 2 * self.baseline - 1)
        counts = {week: str(chance.whole(max(3, self.baseline - 5), top)) for week in range(1, WEEKS + 1)}
        return counts | ({week: str(count) for week, count in self.peaks.items()} if responses else {})


def _joined(shape: Shape) -> dict[int, float]:
    weeks: dict[int, float] = {}
    for (start, low), (end, high) in pairwise(shape):
        for week in range(start, end + 1):
            weeks[week] = low + (high - low) * (week - start) / (end - start)
    return weeks


COMPLETE: Shape = ((1, 12), (3, 45), (5, 118), (9, 142), (16, 120), (22, 70), (28, 48))
LASTING: Shape = ((1, 16), (3, 38), (6, 66), (12, 72), (20, 58), (28, 44))
PASSING: Shape = ((1, 15), (4, 41), (8, 62), (12, 50), (16, 22), (28, 14))
LATE: Shape = ((1, 11), (6, 14), (9, 44), (14, 68), (21, 52), (28, 41))

PATIENTS = (
    # Group A: 0.5 x 10^6 cells per kg
    Patient("SYN-001", "A", "female", date(1985, 3, 9), "58.0", date(2019, 12, 4), 12, childbearing=True),
    Patient(
        "SYN-002",
        "A",
        "male",
        date(1972, 7, 21),
        "71.5",
        date(2020, 1, 8),
        8,
        peaks={10: 64, 11: 71, 12: 46},  # under rescue medication: flagged, and no response
    ),
    Patient("SYN-004", "A", "female", date(1978, 11, 2), "62.5", date(2020, 3, 4), 15, by="investigator"),
    # Group B: 1.0
    Patient("SYN-005", "B", "female", date(1990, 5, 17), "54.0", date(2020, 5, 13), 9, COMPLETE, childbearing=True),
    Patient("SYN-007", "B", "male", date(1964, 9, 30), "78.0", date(2020, 6, 10), 11, by="investigator"),
    Patient("SYN-008", "B", "female", date(1996, 12, 12), "49.5", date(2020, 7, 15), 15, LASTING, childbearing=True),
    # The third group: 2.0
    Patient("SYN-009", "C", "female", date(1984, 1, 25), "66.0", date(2020, 10, 14), 14, PASSING, childbearing=True),
    Patient("SYN-010", "C", "female", date(1969, 6, 8), "60.5", date(2020, 11, 18), 7, COMPLETE),
    Patient("SYN-011", "C", "male", date(1962, 4, 14), "81.0", date(2021, 1, 13), 10, infusions=3),
    Patient("SYN-013", "C", "female", date(1989, 10, 3), "57.5", date(2021, 4, 14), 6, childbearing=True),
    Patient("SYN-014", "C", "male", date(1981, 8, 19), "73.0", date(2021, 5, 19), 15, LATE, splenectomy=True),
    Patient(
        "SYN-015",
        "C",
        "female",
        date(1976, 2, 27),
        "63.0",
        date(2021, 6, 23),
        13,
        peaks={8: 33, 9: 58},  # week 9 is a wrong value until it is corrected: then there is no response
        by="investigator",
    ),
    # Expansion at the selected dose
    Patient("SYN-016", "EXP", "male", date(1962, 1, 11), "69.0", date(2021, 10, 13), 5),
    Patient("SYN-017", "EXP", "female", date(1994, 7, 5), "52.0", date(2021, 12, 1), 12, COMPLETE, childbearing=True),
    Patient("SYN-019", "EXP", "female", date(1976, 9, 16), "64.5", date(2022, 2, 16), 11, LASTING, rituximab=False),
    Patient("SYN-020", "EXP", "female", date(1969, 12, 1), "59.0", date(2022, 4, 20), 9, last_week=19),
    Patient("SYN-021", "EXP", "male", date(1988, 3, 28), "76.5", date(2022, 6, 15), 14, PASSING),
    Patient("SYN-022", "EXP", "female", date(1983, 5, 7), "61.0", date(2022, 8, 10), 10, childbearing=True),
)


@dataclass(frozen=True, slots=True)
class ScreenFailure:
    """A synthetic patient who is screened and does not take part; `criterion` is what speaks against it."""

    number: str
    sex: Literal["female", "male"]
    born: date
    screened: date
    criterion: str
    reason: str
    alt: str = "24"
    hbsag: str = "negative"
    platelets: str = "14"


SCREEN_FAILURES = (
    ScreenFailure(
        "SYN-003", "male", date(1967, 2, 3), date(2020, 1, 20), "E07", "ALT above 1.2 times the upper limit", alt="61"
    ),
    ScreenFailure("SYN-006", "female", date(1981, 6, 29), date(2020, 5, 25), "E04", "HBsAg positive", hbsag="positive"),
    ScreenFailure("SYN-012", "male", date(1960, 1, 30), date(2021, 3, 29), "I01", "61 years old at consent"),
    ScreenFailure(
        "SYN-018", "female", date(1988, 11, 20), date(2022, 1, 10), "I07", "platelets not below 30", platelets="41"
    ),
)


@dataclass(frozen=True, slots=True)
class Control:
    """A synthetic healthy control: one immune panel, on the day of screening."""

    number: str
    sex: Literal["female", "male"]
    born: date
    screened: date


CONTROLS = (
    Control("SYN-HC1", "female", date(1974, 2, 11), date(2020, 9, 10)),
    Control("SYN-HC2", "male", date(1978, 3, 12), date(2020, 9, 17)),
    Control("SYN-HC3", "female", date(1982, 4, 13), date(2020, 10, 15)),
    Control("SYN-HC4", "male", date(1986, 5, 14), date(2020, 10, 22)),
    Control("SYN-HC5", "female", date(1990, 6, 15), date(2020, 11, 12)),
    Control("SYN-HC6", "male", date(1994, 7, 16), date(2020, 11, 19)),
)
