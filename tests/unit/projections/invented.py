"""An invented study for the pages of safety and outcomes, played in memory, and readers of what was recorded.

Rows come from the real definitions and are kept by the same `MemoryRows` that serves readings as of an earlier size.
Day 1 is 2024-03-11, the first dose at 10:00 in Amsterdam; `day(8)` is a week later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.domain.record import Record
from projections.definitions import model_of
from projections.engine.definition import STUDY_PARTITION, ReadModel, Row
from projections.engine.reading import Reader
from projections.engine.rows import MemoryRows
from tests.unit.domain.conftest import GENESIS, Trial

TIDE = """
format: trial-protocol/1
study: COAST-07
version: "1.0"
identification: {brief_title: Tidal cells for invented fever}
populations:
  patient: {label: patient, enrols: true, treated: true}
  healthy-control: {label: healthy neighbour, enrols: false, treated: false}
units:
  conversions: [{start: /nL, end: "10*9/L", factor: "1"}]
analytes:
  cells:
    label: cell count
    unit: "10*9/L"
    aliases: {any: [CELL, Zellen]}
    code: {system: "http://loinc.org", code: 1-1}
  level: {label: level of the product}
  virus: {label: virus, words: {positive: [positive, detected], negative: [negative]}}
  marker: {label: marker, unit: "%"}
  unrelated: {label: not part of any outcome, unit: "%"}
anchors:
  first_dose: {label: first dose, events: [InfusionGiven], field: [started_at, occurred_at]}
  last_dose: {label: last dose, events: [InfusionGiven], field: [started_at, occurred_at], pick: last}
  screened: {label: screening, events: [SubjectScreened]}
inputs:
  bleeding:
    label: bleeding
    events: [AssessmentRecorded]
    where: {instrument: {equals: bleeding}}
    field: items.bleeding
    type: boolean
    pick: all
treatment: {product: cells, route: inhalation, event: InfusionGiven, number: 2, interval: P1W, dose_unit: mg/kg}
cohorts:
  ONE: {label: one, purpose: escalation, dose: "1", seats: 3, order: 1}
  TWO: {label: two, purpose: escalation, dose: "2", seats: 3, order: 2, after: ONE}
timepoints:
  CNT: {label: count, activity: draw, kind: specimen, anchor: first_dose, offset: P1W, repeat: {every: P1W, until: P8W},
        populations: patient, analytes: [cells]}
  LV0: {label: before, activity: draw, kind: specimen, anchor: first_dose, offset: -PT30M, populations: patient,
        sex: female, analytes: [level]}
  LV1: {label: one hour after, activity: draw, kind: specimen, anchor: first_dose, offset: PT1H, populations: patient,
        sex: female, analytes: [level]}
  VIR: {label: virus, activity: draw, kind: specimen, anchor: first_dose, offset: P4W, populations: patient,
        analytes: [virus]}
  MK0: {label: marker before, activity: draw, kind: specimen, anchor: first_dose, offset: -P1D, populations: patient,
        analytes: [marker]}
  MK1: {label: marker after, activity: draw, kind: specimen, anchor: first_dose, offset: P2W, populations: patient,
        analytes: [marker]}
  MKN: {label: marker of neighbours, activity: draw, kind: specimen, anchor: screened, offset: P0D,
        populations: healthy-control, analytes: [marker]}
response_criteria:
  twice:
    label: twice confirmed
    source: invented
    unit: "10*9/L"
    classes:
      FULL: {label: full response, at_least: "100"}
      PART: {label: part response, at_least: "30", times_baseline: "2"}
    otherwise: NONE
    responders: [FULL, PART]
    occasions: 2
    apart: P7D
outcomes:
  X2: {type: secondary, order: 1, measure: Levels,
       definition: {kind: concentration, analytes: [level], timepoints: [LV0, LV1]}}
  X1:
    type: primary
    order: 1
    measure: Cells
    time_frame: 8 weeks
    definition: {kind: response, analytes: [cells], timepoints: [CNT], baseline: {pick: last, before: first_dose},
                 criteria: twice, bleeding: {input: bleeding, carried_for: P60D}}
    ambiguities: [AMB-1]
  X3: {type: primary, order: 2, measure: Events, ambiguities: [AMB-2],
       definition: {kind: adverse-event-incidence, starts: first_dose, lasts: P2W}}
  X4: {type: primary, order: 3, measure: Virus, definition: {kind: status, analytes: [virus], timepoints: [VIR]}}
  X5: {type: secondary, order: 2, measure: Marker, definition: {kind: change, analytes: [marker],
       timepoints: [MK0, MK1], compared_with: healthy-control}}
  X6: {type: other, order: 1, measure: Something else}
safety:
  named_terms: [fever]
  grading: {scale: CTCAE, version: "5.0"}
  starts: first_dose
  primary_window: P2W
  primary_window_from: first_dose
  captured_from: first_dose
  captured_until: P8W
  clocks:
    site: {text: the site reports, reporter: site, when: serious, due_within: PT24H, source: invented}
    sponsor: {text: the sponsor reports, reporter: sponsor, when: [serious, related, unexpected], due_within: P7D,
              source: invented}
time_zone: Europe/Amsterdam
ambiguities:
  AMB-1: {text: What is a response?, touches: [outcomes.X1], options: {a: {text: as is}, b: {text: otherwise}}}
  AMB-2: {text: Which events?, touches: [safety, outcomes.X3], options: {a: {text: as is}, b: {text: otherwise}}}
"""

BARE = """
format: trial-protocol/1
study: COAST-07
version: "1.0"
identification: {brief_title: What an import knows of a study}
populations: {patient: {label: patient, enrols: true, treated: true}}
"""

NO_RESPONSE = TIDE.replace("criteria: twice,", "criteria: null,")
NO_PERIODS = (
    TIDE.replace("starts: first_dose", "starts: null")
    .replace("lasts: P2W", "lasts: null")
    .replace("primary_window: P2W", "primary_window: null")
)


def day(number: int, clock: str | None = "08:00") -> str:
    """A local day of the course, day 1 being that of the first dose; with a time of day unless None."""
    told = (datetime(2024, 3, 11, tzinfo=UTC) + timedelta(days=number - 1)).date().isoformat()
    return told if clock is None else f"{told}T{clock}+{'02:00' if told >= '2024-03-31' else '01:00'}"


@dataclass
class Play:
    """Says what happened; `read` gives a reader of it."""

    protocol: str = TIDE
    opened: bool = True
    trial: Trial = field(init=False)

    def __post_init__(self) -> None:
        self.trial = Trial(protocol=self.protocol)
        if self.opened:
            self.trial.open(readings=False)
        else:
            self.trial.say("StudyOpened", "study", role="registrar", **GENESIS)

    def patient(self, number: str, cohort: str | None = "ONE", dosed: bool = True, **fields: Any) -> str:
        """Somebody screened, in a cohort unless None, with the first dose on day 1."""
        label = self.trial.screened(number, occurred_at=day(-6), **fields)
        if cohort is not None:
            self.trial.say("SubjectEnrolled", label, cohort=cohort, mode="transcribed", occurred_at=day(-1))
        if dosed:
            self.dose(label)
        return label

    def dose(self, label: str, number: int = 1, **fields: Any) -> Record:
        """A dose, on day 1 at 10:00 unless said otherwise."""
        return self.trial.fact("InfusionGiven", label, **{"number": number, "started_at": day(1, "10:00")} | fields)

    def count(self, label: str, number: int, value: str, **fields: Any) -> Record:
        """A cell count drawn on a day."""
        usual = {"analyte": "cells", "value": value, "unit": "10*9/L", "occurred_at": day(number)}
        return self.trial.fact("LabResultReported", label, **usual | fields)

    def result(self, label: str, analyte: str, planned: str | None, **fields: Any) -> Record:
        """A result of a planned time point."""
        named = {} if planned is None else {"planned": planned}
        return self.trial.fact("LabResultReported", label, analyte=analyte, **{"occurred_at": day(2)} | named | fields)

    def no_bleeding(self, label: str) -> Record:
        """Nothing bleeds from day 1 on."""
        fields = {"instrument": "bleeding", "items": {"bleeding": False}}
        return self.trial.fact("AssessmentRecorded", label, occurred_at=day(2), **fields)

    def event(self, label: str, started: str | None, term: str = "Fever", **fields: Any) -> Record:
        """An adverse event."""
        usual = {"term": term, "grade": 1, "serious": False, "started_at": started}
        given = {name: value for name, value in (usual | fields).items() if value is not None}
        return self.trial.say("AdverseEventReported", label, **given)

    def responder(
        self, number: str, cohort: str = "ONE", low: str = "10", high: str = "120"
    ) -> tuple[str, list[Record]]:
        """Somebody with a baseline of `low` and four counts of `high`; with the records of those counts."""
        label = self.patient(number, cohort)
        self.no_bleeding(label)
        self.count(label, 0, low)
        return label, [self.count(label, 1 + 7 * week, high) for week in range(1, 5)]

    def read(self, name: str, at: datetime | None = None) -> Reader:
        """A reader of a projection of everything said so far."""
        return InMemory(self.trial, model_of(name), at or self.trial.now)


class InMemory(Reader):
    """A reader of rows folded in memory, of a ledger that was never stored."""

    root = "the root of a ledger in memory"

    def __init__(self, trial: Trial, model: ReadModel, at: datetime) -> None:
        def fold(partition: str | None) -> Iterator[tuple[str, Iterable[Row]]]:
            if partition in (None, STUDY_PARTITION):
                yield STUDY_PARTITION, model.definition.rows(trial.study, list(trial.study.records))
            for subject in trial.subjects.values():
                if partition in (None, str(subject.id)):
                    yield str(subject.id), model.definition.rows(subject, list(subject.records))

        self.study_id, self.model, self.study = "COAST-07", model, trial.study
        self.size, self.at, self.live = trial.size, at, True
        self.rows = MemoryRows(model.definition, fold)
