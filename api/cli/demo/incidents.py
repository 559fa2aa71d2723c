"""What goes wrong on the way, and how it is put right: every one is visible in the audit trail or as a finding."""

from __future__ import annotations

from datetime import date

from api.cli.demo import setup
from api.cli.demo.play import Line, Sent
from api.cli.demo.safety import EVENTS
from api.cli.demo.stage import Stage, at, stamp
from api.cli.demo.subjects import PATIENTS, Patient


def incidents(stage: Stage) -> list[Line]:
    """The story lines beside the main one."""
    lines = [
        late_entries(stage),
        rescue(stage),
        weight_query(stage),
        late_draw(stage),
        altered_statement(stage),
        duplicate_count(stage),
        wrong_void(stage),
        diagnosis_date(stage),
        wrong_count(stage),
        withdrawal(stage),
        expansion_adjudicated(stage),
        monitoring(stage),
        closing(stage),
    ]
    return lines


def _patient(number: str) -> Patient:
    return next(patient for patient in PATIENTS if patient.number == number)


def late_entries(stage: Stage) -> Line:
    """Two assessments entered long after they were made: one says why, the other is found."""
    doctor = stage.cast.investigator
    first = _patient("SYN-001").first_infusion
    yield at(first, "17:00", days=7 * 8 + 16)
    case = stage.case("SYN-001")
    reason = "Paper record of the visit during the spring festival was entered on return"
    made = stamp(at(first, "09:40", days=7 * 8))
    items = {"bleeding": False, "score": 0}
    case.record(doctor, "AssessmentRecorded", instrument="bleeding", items=items, occurred_at=made, late_reason=reason)
    first = _patient("SYN-021").first_infusion
    yield at(first, "17:00", days=7 * 12 + 21)
    made = stamp(at(first, "09:40", days=7 * 12))
    stage.case("SYN-021").record(doctor, "AssessmentRecorded", instrument="bleeding", items=items, occurred_at=made)


def rescue(stage: Stage) -> Line:
    """SYN-002 bleeds and gets rescue medication: the counts under it are flagged, and are no response."""
    case, nurse = stage.case("SYN-002"), stage.cast.coordinator
    first = _patient("SYN-002").first_infusion
    bleeding = next(event for event in EVENTS["SYN-002"] if event.seriousness)
    yield at(first, "11:00", days=bleeding.day + 1)
    case.record(
        nurse,
        "MedicationRecorded",
        name="human immunoglobulin",
        drug_class="IVIG",
        category="rescue",
        indication="gastrointestinal haemorrhage",
        start_date=at(first, "11:00", days=bleeding.day + 1).date().isoformat(),
        ongoing=True,
        dose="0.4",
        dose_unit="g/kg",
        frequency="once daily for 5 days, then recombinant thrombopoietin",
        keep="rescue",
    )
    yield at(first, "10:00", days=bleeding.day + 18)
    ended = at(first, "10:00", days=bleeding.day + 17).date().isoformat()
    reason = "Rescue treatment has ended; the end was not known at first"
    case.act(nurse, "EntryCorrected", "corrects", case.kept["rescue"], field="end_date", value=ended, reason=reason)


def weight_query(stage: Stage) -> Line:
    """The monitor asks about a weight; the site answers, corrects, and the question is closed.

    All before the first infusion: with the wrong weight on record, its authorisation would be refused.
    """
    cast, first = stage.cast, _patient("SYN-005").first_infusion
    yield at(first, "10:00", days=-3)
    case = stage.case("SYN-005")
    weight = case.kept["weight"]
    question = "45.0 kg at screening, but the product was made up for 54.0 kg: which is right?"
    query = case.act(cast.monitor, "QueryOpened", record=weight.target, field="items", question=question)
    yield at(first, "14:00", days=-2)
    answer = "54.0 kg by the ward's record; the digits were transposed on entry"
    case.act(cast.coordinator, "QueryAnswered", "answers", query, answer=answer)
    blank = dict(weight.target, field="items")
    case.attempt(
        "CATALOGUE-3",
        "to correct a weight without a reason",
        cast.coordinator,
        "EntryCorrected",
        decision=False,
        claims={"corrects": blank},
        value={"weight": "54.0"},
        reason=" ",
    )
    case.act(
        cast.coordinator,
        "EntryCorrected",
        "corrects",
        weight,
        field="items",
        value={"weight": "54.0"},
        reason="Digits transposed on entry; compared with the ward's record",
    )
    yield at(first, "16:00", days=-1)
    case.act(cast.monitor, "QueryClosed", "answers", query, comment="Compared with the source at the visit")
    case.act(cast.monitor, "SourceVerified", records=[weight.target], comment="Weight against the ward's record")


def late_draw(stage: Stage) -> Line:
    """A draw for the cells' concentration came too late; a person records the deviation and judges it."""
    cast, first = stage.cast, _patient("SYN-008").first_infusion
    yield at(first, "09:00", days=1)
    case = stage.case("SYN-008")
    deviation = case.record(
        cast.coordinator,
        "DeviationRecorded",
        description="The eight-hour draw was taken 80 minutes late: the subject had been taken for an X-ray",
        category="specimen out of window",
        related=[case.kept["draw PK06"].jti],
    )
    yield at(first, "16:00", days=2)
    case.record(
        cast.pi,
        "DeviationAssessed",
        deviation=deviation.jti,
        classification="minor",
        effect="One concentration is assigned to its actual time",
        preventive_action="Examinations are kept clear of planned draws",
    )


def altered_statement(stage: Stage) -> Line:
    """A statement is altered on its way: its signature no longer fits, and nothing is recorded."""
    first = _patient("SYN-009").first_infusion
    yield at(first, "12:00", days=10)
    case = stage.case("SYN-009")
    sent = stage.play.sign(
        stage.cast.coordinator,
        "HistoryRecorded",
        case.about,
        None,
        site=stage.cast.coordinator.site,
        term="Penicillin allergy",
        present=True,
        occurred_at=stage.play.stamp(),
    )
    header, payload, rest = sent.text.split(".")
    altered = ("A" if rest[0] != "A" else "B") + rest[1:]
    stage.play.attempt_text(
        "SIGNATURE-0",
        "to record a statement that was altered on its way",
        Sent(sent.event, sent.jti, f"{header}.{payload}.{altered}"),
    )
    stage.play.gather(sent)


def duplicate_count(stage: Stage) -> Line:
    """The laboratory's system sent one count twice under different ids: the second is voided."""
    cast, first = stage.cast, _patient("SYN-010").first_infusion
    yield at(first, "08:40", days=7 * 6 + 1)
    case = stage.case("SYN-010")
    twice = _again(stage, "SYN-010", 6)
    yield at(first, "11:00", days=7 * 6 + 1)
    case.act(cast.technician, "EntryVoided", "voids", twice, reason="Sent twice by the interface; the first one stands")


def wrong_void(stage: Stage) -> Line:
    """The first of two equal counts is voided by mistake: the void is voided, then the right one is."""
    cast, first = stage.cast, _patient("SYN-013").first_infusion
    yield at(first, "08:40", days=7 * 10 + 1)
    case = stage.case("SYN-013")
    twice = _again(stage, "SYN-013", 10)
    yield at(first, "11:00", days=7 * 10 + 1)
    original = case.kept["platelets week 10"]
    void = case.act(cast.technician, "EntryVoided", "voids", original, reason="Sent twice by the interface")
    yield at(first, "11:20", days=7 * 10 + 1)
    case.act(cast.technician, "EntryVoided", "voids", void, reason="The wrong one of the two was voided")
    case.act(cast.technician, "EntryVoided", "voids", twice, reason="Sent twice by the interface; the first one stands")


def _again(stage: Stage, number: str, week: int) -> Sent:
    """The result of a week once more, under a new event id."""
    case = stage.case(number)
    drawn = stamp(at(_patient(number).first_infusion, "08:30", days=7 * week))
    count, name = case.counts[week]
    specimen = (name, drawn)
    return case.result(stage.cast.analyser, "platelets", specimen, value=count, unit="10*9/L", planned="PLT")


def diagnosis_date(stage: Stage) -> Line:
    """A date was entered wrongly and is corrected: the decisions that rest on it show that their basis changed."""
    first = _patient("SYN-008").first_infusion
    yield at(first, "10:00", days=20)
    case = stage.case("SYN-008")
    case.act(
        stage.cast.coordinator,
        "EntryCorrected",
        "corrects",
        case.kept["diagnosis"],
        field="onset_date",
        value="2016-08-22",
        reason="Date of the first bone marrow report, which was not at hand at screening",
    )


def wrong_count(stage: Stage) -> Line:
    """A count of another person's tube: until it is corrected, SYN-015 looks like a responder."""
    if not stage.responses:
        return
    first = _patient("SYN-015").first_infusion
    yield at(first, "10:00", days=7 * 9 + 12)
    case = stage.case("SYN-015")
    reason = "Tube of another person; the retained specimen was counted again"
    wrong = case.kept["platelets week 9"]
    case.act(stage.cast.technician, "EntryCorrected", "corrects", wrong, field="value", value="18", reason=reason)


def withdrawal(stage: Stage) -> Line:
    """SYN-020 withdraws consent; a specimen drawn afterwards is recorded all the same, and found."""
    cast, first = stage.cast, _patient("SYN-020").first_infusion
    yield at(first, "10:00", days=7 * 19 + 4)
    case = stage.case("SYN-020")
    scope = ["treatment", "procedures", "specimens", "contact"]
    case.record(cast.investigator, "ConsentWithdrawn", scope=scope)
    case.record(cast.investigator, "SubjectWithdrawn", by="subject", reason="Own wish; nothing further was asked")
    yield at(first, "08:30", days=7 * 20)
    specimen = case.draw(cast.nurse, "PLT")
    yield at(first, "08:10", days=7 * 20 + 1)
    case.result(cast.analyser, "platelets", specimen, value="11", unit="10*9/L", planned="PLT")


def expansion_adjudicated(stage: Stage) -> Line:
    """The board judges the serious event of the expansion."""
    yield at(date(2022, 1, 11), "16:00")
    case = stage.case("SYN-016")
    case.decide(
        stage.cast.review,
        "DoseLimitingToxicityAdjudicated",
        adverse_event=case.kept["serious"].jti,
        dose_limiting=False,
        reason="Bleeding explained by the platelet count",
        meaning="review",
    )


def monitoring(stage: Stage) -> Line:
    """The monitor compares what was recorded of the first group's infusions with the source."""
    yield at(date(2020, 4, 2), "13:00")
    for number in ("SYN-001", "SYN-002"):
        case = stage.case(number)
        records = [case.kept[f"infusion {n}"].target for n in range(1, 5)]
        case.act(stage.cast.monitor, "SourceVerified", records=records, comment="Infusion records against the pump's")


def closing(stage: Stage) -> Line:
    """At the end: what only now can be said, the trail reviewed, the state named."""
    play, cast = stage.play, stage.cast
    yield at(date(2023, 1, 16), "10:00")
    late = setup.resolve(stage, *setup.LATE_READING)
    yield at(date(2023, 1, 17), "10:00")
    setup.countersign(stage, late)
    yield at(date(2023, 3, 14), "10:00")
    play.tell("Closing: signatures, review of the trail, data cut")
    sign_off(stage)
    play.flush()
    size = play.client.cut.size
    play.record(
        cast.monitor,
        "AuditTrailReviewed",
        "study",
        scope={"study": "all"},
        first=0,
        last=size - 1,
        rule_version="1",
        findings="Corrections, voids and late entries are explained; refused statements were seen",
    )
    yield at(date(2023, 3, 15), "15:00")
    cut = play.decide(
        cast.data_manager,
        "DataCutTaken",
        "study",
        name="End of follow-up",
        size=size,
        reason="All subjects have reached week 28 or left the study",
    )
    play.record(cast.pi, "Countersigned", "study", claims={"countersigns": cut.target}, meaning="approval")


def sign_off(stage: Stage) -> None:
    """The principal investigator signs for the infusions of every patient."""
    stage.play.flush()
    for patient in PATIENTS:
        case = stage.case(patient.number)
        records = [case.kept[f"infusion {n}"].target for n in range(1, patient.infusions + 1)]
        sent = stage.play.sign(
            stage.cast.pi,
            "RecordsSigned",
            case.about,
            stage.play.client.cut,
            site=stage.cast.pi.site,
            meaning="responsibility",
            records=records,
        )
        stage.play.gather(sent)
