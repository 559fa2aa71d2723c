"""The trial design becomes a protocol that the ledger takes, whatever is missing from it or odd in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.intake.sdtm.protocol import Design, DesignRow, build
from ledger.protocol import load
from ledger.protocol.model import Definition


def row(domain: str, **cells: str) -> DesignRow:
    return DesignRow(domain, None, cells)


def made(*rows: DesignRow) -> tuple[Design, Definition]:
    design = build("S-1", rows)
    return design, load(design.text).version().definition


def test_arms_follow_their_elements_in_order() -> None:
    _, protocol = made(
        row("TA", ARMCD="Pbo", ARM="Placebo", TAETORD="2", ETCD="PBO", ELEMENT="Placebo", EPOCH="TREATMENT"),
        row("TA", ARMCD="Pbo", ARM="Placebo", TAETORD="1", ETCD="SCRN", TABRANCH="Randomized to Placebo"),
        row("TE", ETCD="SCRN", ELEMENT="Screen", TESTRL="Informed consent", TEDUR="P2W"),
    )
    (arm,) = protocol.arms.values()
    assert (arm.code, arm.label) == ("Pbo", "Placebo")
    assert [(step.element, step.branch, step.epoch) for step in arm.course] == [
        ("SCRN", "Randomized to Placebo", None),
        ("PBO", None, "TREATMENT"),
    ]
    assert protocol.elements["SCRN"].start_rule == "Informed consent"
    assert protocol.elements["PBO"].label == "Placebo"


def test_criteria_keep_their_words_and_demand_nothing() -> None:
    _, protocol = made(
        row("TI", IETESTCD="INCL01", IETEST="At least 50 years of age.", IECAT="INCLUSION", TIVERS="1"),
        row("TI", IETESTCD="INCL01", IETEST="At least 55 years of age.", IECAT="INCLUSION", TIVERS="2"),
        row("TI", IETESTCD="EXCL09", IETEST='Serious illness: "yes" # no', IECAT="Exclusion"),
    )
    assert [c.text for c in protocol.criteria.values()] == [
        "At least 50 years of age.",
        "At least 55 years of age.",
        'Serious illness: "yes" # no',
    ]
    assert {c.evaluation for c in protocol.criteria.values()} == {"manual"}
    assert not any(protocol.requires.model_dump().values())


def test_visits_are_planned_for_all_or_for_an_arm() -> None:
    _, protocol = made(
        row("TV", VISITNUM="3.5", VISIT="AMBUL ECG PLACEMENT", VISITDY="13", TVSTRL="24h before"),
        row("TV", VISITNUM="3.5", VISIT="AMBUL ECG PLACEMENT", VISITDY="-1", ARMCD="Pbo"),
    )
    first, second = protocol.visits.values()
    assert (first.number, first.day, first.arm) == ("3.5", 13, None)
    assert (second.day, second.arm) == (-1, "Pbo")
    assert protocol.arms["Pbo"].code == "Pbo"


def test_the_summary_says_what_the_study_is_and_how_many_are_planned() -> None:
    design, protocol = made(
        row("TS", TSPARMCD="TITLE", TSPARM="Trial Title", TSVAL="A study of patients’ platelets"),
        row("TS", TSPARMCD="PLANSUB", TSVAL="300"),
        row("TS", TSPARMCD="INDIC", TSVAL="Alzheimer", TSVALCD="26929004", TSVCDREF="SNOMED"),
        row("TS", TSPARMCD="AGEMAX", TSVAL="", TSVALNF="PINF"),
        row("TS", TSPARMCD="LONG", TSVAL="one ", TSVAL2="three", TSVAL1="two"),
        row("TS", TSPARMCD="ADDON", TSVAL="N"),
    )
    assert design.title == protocol.identification.brief_title == "A study of patients’ platelets"
    assert protocol.planned_enrolment is not None
    assert (protocol.planned_enrolment.count, protocol.planned_enrolment.kind) == (300, "estimated")
    assert protocol.summary["INDIC"].values == ("Alzheimer [SNOMED 26929004]",)
    assert protocol.summary["AGEMAX"].null_flavour == "PINF"
    assert protocol.summary["LONG"].values == ("onetwothree",)
    assert protocol.summary["ADDON"].values == ("N",)


def test_without_a_trial_design_the_protocol_names_the_study_alone() -> None:
    design, protocol = made()
    assert (protocol.study, protocol.identification.brief_title, design.unplaced) == ("S-1", "S-1", ())
    assert not protocol.arms and not protocol.criteria and protocol.planned_enrolment is None


@pytest.mark.parametrize(
    "lost",
    [
        row("TA", ARM="Placebo", ETCD="SCRN"),
        row("TA", ARMCD="Pbo"),
        row("TE", ELEMENT="Screen"),
        row("TI", IETESTCD="INCL01", IECAT="INCLUSION"),
        row("TI", IETESTCD="INCL01", IETEST="Words.", IECAT="OTHER"),
        row("TS", TSVAL="300"),
        row("TV", VISITDY="3"),
        row("TE"),
    ],
)
def test_a_row_that_names_nothing_is_given_back_with_the_reason(lost: DesignRow) -> None:
    design, _ = made(row("TS", TSPARMCD="PLANSUB", TSVAL="3"), lost)
    ((given_back, why),) = design.unplaced
    assert given_back is lost
    assert lost.domain in why


@pytest.mark.parametrize("count", ["about 300", "-5", "3e2", "", "99999999999"])
def test_a_planned_number_that_is_none_is_not_guessed(count: str) -> None:
    _, protocol = made(row("TS", TSPARMCD="PLANSUB", TSVAL=count))
    assert protocol.planned_enrolment is None


def test_codes_that_cannot_be_keys_are_kept_beside_them() -> None:
    _, protocol = made(
        *(row("TA", ARMCD=code, ARM=f"Arm {code}", ETCD="1/2") for code in ("1", "A/B", "A B", "Ä" * 80)),
        row("TS", TSPARMCD="1?", TSVAL="x"),
    )
    assert [arm.code for arm in protocol.arms.values()] == ["1", "A/B", "A B", "Ä" * 80]


def test_the_same_rows_in_another_order_are_the_same_version() -> None:
    rows = [row("TS", TSPARMCD="PLANSUB", TSVAL="3"), row("TE", ETCD="SCRN")]
    assert build("S-1", rows).version == build("S-1", rows[::-1]).version
    assert build("S-1", rows).version != build("S-1", rows[:1]).version
    assert build("S-1", rows).text == build("S-1", rows).text


def test_what_makes_the_protocol_too_long_is_left_out_and_named() -> None:
    rows = [row("TV", VISITNUM=str(number), VISIT=f"VISIT {number}", TVSTRL="x" * 190) for number in range(1200)]
    design, protocol = made(row("TS", TSPARMCD="PLANSUB", TSVAL="3"), *rows)
    assert any(part.startswith("visits") for part in design.left_out)
    assert not protocol.visits
    assert protocol.planned_enrolment is not None


ODD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
NAMES = {
    "TA": ["ARMCD", "ARM", "TAETORD", "ETCD", "ELEMENT", "TABRANCH", "TATRANS", "EPOCH"],
    "TE": ["ETCD", "ELEMENT", "TESTRL", "TEENRL", "TEDUR"],
    "TI": ["IETESTCD", "IETEST", "IECAT", "IESCAT", "TIRL", "TIVERS"],
    "TS": ["TSPARMCD", "TSPARM", "TSVAL", "TSVAL1", "TSVALNF", "TSVALCD", "TSVCDREF"],
    "TV": ["VISITNUM", "VISIT", "VISITDY", "ARMCD", "TVSTRL", "TVENRL"],
}
CELL = st.one_of(
    ODD,
    st.sampled_from(
        ["no", "Y", "null", "~", "<<", "1", "0x1f", "12:30", "2014-01-01", "INCLUSION", "a: b", "- x", "*a", "&a"]
    ),
    st.sampled_from(
        ["\u202eevil", "\x85", "\u2028", "\ufeff", "\x9f", "tab\tnewline\n", "x" * 400, "PLANSUB", "TITLE", "STYPE"]
    ),
)
ROWS = st.sampled_from(sorted(NAMES)).flatmap(
    lambda domain: st.dictionaries(st.sampled_from(NAMES[domain]), CELL).map(
        lambda cells: DesignRow(domain, None, {name: cell for name, cell in cells.items() if cell})
    )
)


@given(st.lists(ROWS, max_size=12))
@settings(max_examples=150, deadline=None)
def test_whatever_the_trial_design_holds_the_ledger_takes_the_protocol(rows: list[DesignRow]) -> None:
    design, protocol = made(*rows)
    assert protocol.version == design.version
    placed = len(rows) - len(design.unplaced)
    parts = sum(
        len(table) for table in (protocol.arms, protocol.elements, protocol.criteria, protocol.visits, protocol.summary)
    )
    assert placed == 0 or parts or design.left_out
