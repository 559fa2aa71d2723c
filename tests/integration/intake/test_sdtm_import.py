"""A study of SDTM transport files goes into the ledger: none lost, none invented, none twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api.client.signing import Actor
from api.intake.errors import ImportStopped, UnreadableInput
from api.intake.opening import MEANINGS, RETENTION
from api.intake.sdtm import import_sdtm
from api.intake.sdtm.transport import RECORD, data_sets
from ledger.application import Ledger
from ledger.domain.roles import ROLES
from ledger.domain.study import protocol_for, site_state
from ledger.settings import Settings
from ledger.signing.keys import SigningKey
from ledger.store.errors import StoreError
from tests.integration.intake.reading import STUDY, Heard, counts, events_of, imported, quarantined, statements_of
from tests.unit.intake.transport_files import DM, Cell, lab, small_study, write, xport

REAL = Path(__file__).parents[4] / "shared" / "data" / "cdiscpilot03"
SMALL = {"DM": (3, 3, 0, 0), "DS": (1, 1, 0, 0), "EX": (1, 1, 0, 0), "LB": (3, 3, 0, 0), "AE": (1, 1, 0, 0)}
AGAIN = {code: (read, 0, read, 0) for code, (read, *_) in SMALL.items()}


def labs(*rows: dict[str, Cell]) -> dict[str, bytes]:
    return {"dm.xpt": xport("DM", DM), "lb.xpt": xport("LB", list(rows))}


def test_every_row_becomes_one_event_and_the_study_is_ready_for_it(ledger: Ledger, tmp_path: Path) -> None:
    heard = Heard()
    assert counts(imported(ledger, write(tmp_path / "in", small_study()), heard=heard)) == SMALL
    assert events_of(ledger) == {
        "StudyOpened": 1,
        "ActorEnrolled": 1,
        "KeyEnrolled": 1,
        "DelegationGranted": 1,
        "TranscriptionPeriodDeclared": 1,
        "ProtocolAdopted": 1,
        "SiteActivated": 2,
        "ProtocolActivatedAtSite": 2,
        "SubjectScreened": 3,
        "DispositionRecorded": 1,
        "TreatmentAdministered": 1,
        "LabResultReported": 3,
        "AdverseEventReported": 1,
    }
    assert any("cm.xpt" in said and "not imported" in said for said in heard.said)
    study: Any = ledger.application(STUDY).repository.get(ledger.study_aggregate_id(STUDY))
    protocol = protocol_for(study, "701")
    assert protocol is not None and protocol.definition.planned_enrolment is not None
    assert protocol.definition.planned_enrolment.count == 300
    assert site_state(study, "702") == "active"
    (period,) = [s for s in statements_of(ledger) if s.event == "TranscriptionPeriodDeclared"]
    assert period.body["starts_on"] == "2013-12-26"


def test_a_second_run_appends_nothing_and_says_so(ledger: Ledger, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", small_study())
    imported(ledger, folder)
    before = [statement.jwt for statement in statements_of(ledger)]
    for _ in range(2):
        assert counts(imported(ledger, folder)) == AGAIN
    assert [statement.jwt for statement in statements_of(ledger)] == before


def test_a_milestone_is_a_fact_about_the_subject_that_dm_names(ledger: Ledger, tmp_path: Path) -> None:
    imported(ledger, write(tmp_path / "in", small_study()))
    found = {statement.event: statement for statement in statements_of(ledger)}
    milestone = found["DispositionRecorded"]
    screened = [s for s in statements_of(ledger) if s.sub == milestone.sub and s.event == "SubjectScreened"]
    assert [s.content["number"] for s in screened] == ["01-701-1015"]
    assert UUID(milestone.sub.partition("/")[2]).version == 4
    assert (milestone.content["occurred_at"], milestone.site) == ("2014-01", "701")
    assert not {"meaning", "cut"} & set(milestone.claims)
    assert "consented_at" not in screened[0].content


def test_what_is_missing_of_an_earlier_run_is_appended_and_nothing_else(ledger: Ledger, tmp_path: Path) -> None:
    files = small_study()
    imported(ledger, write(tmp_path / "in", {"dm.xpt": files["dm.xpt"], "ae.xpt": files["ae.xpt"]}))
    report = imported(ledger, write(tmp_path / "in", files))
    assert counts(report) == SMALL | {"DM": (3, 0, 3, 0), "AE": (1, 0, 1, 0)}
    events = events_of(ledger)
    assert (events["SubjectScreened"], events["AdverseEventReported"], events["LabResultReported"]) == (3, 1, 3)
    assert (events["KeyEnrolled"], events["SiteActivated"]) == (1, 2)


class Broken:
    """A way into the ledger that ends after so many statements, as a killed process does."""

    def __init__(self, ledger: Ledger, after: int) -> None:
        self._ledger = ledger
        self._left = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def append_many(self, study: str, texts: Iterable[str], *, receipts: bool = True) -> Iterator[Any]:
        def limited() -> Iterator[str]:
            for text in texts:
                if not self._left:
                    raise KeyboardInterrupt
                self._left -= 1
                yield text

        yield from self._ledger.append_many(study, limited(), receipts=receipts)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 8, 10, 14])
def test_a_run_that_was_stopped_anywhere_is_continued(ledger: Ledger, tmp_path: Path, after: int) -> None:
    folder = write(tmp_path / "in", small_study())
    with pytest.raises(KeyboardInterrupt):
        import_sdtm(folder, STUDY, Broken(ledger, after), ledger.home, Heard())
    report = counts(imported(ledger, folder))
    assert {code: (read, kept) for code, (read, _, _, kept) in report.items()} == {
        code: (read, 0) for code, (read, *_) in SMALL.items()
    }
    assert sum(events_of(ledger).values()) == 19
    assert counts(imported(ledger, folder)) == AGAIN


BAD = [
    lab(LBSEQ=11, USUBJID=""),
    lab(LBSEQ=12, USUBJID="01-999-0001"),
    lab(LBSEQ=13, STUDYID="S-2"),
    lab(LBSEQ=14, DOMAIN="VS"),
    lab(LBSEQ=15, LBORRES=b"1\x002"),
]


def test_what_cannot_be_placed_is_quarantined_once_with_its_reason(ledger: Ledger, tmp_path: Path) -> None:
    heard = Heard()
    folder = write(tmp_path / "in", labs(lab(), *BAD, lab(LBSEQ=2)))
    assert counts(imported(ledger, folder, heard=heard))["LB"] == (7, 2, 0, 5)
    assert counts(imported(ledger, folder))["LB"] == (7, 0, 2, 5)
    kept = quarantined(ledger)
    assert [(entry["file"], entry["line"]) for entry in kept] == [("lb.xpt", line) for line in (2, 3, 4, 5, 6)]
    for entry, row in zip(kept, BAD, strict=True):
        assert entry["reason"] and entry["digest"] and entry["domain"] == "LB"
        assert entry["values"]["LBSEQ"] == str(row["LBSEQ"])
    assert any("5 rows stand in quarantine" in said for said in heard.said)


class Spoiling:
    """A way into the ledger on which one statement is spoiled."""

    def __init__(self, ledger: Ledger, place: int) -> None:
        self._ledger = ledger
        self._place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def append_many(self, study: str, texts: Iterable[str], *, receipts: bool = True) -> Iterator[Any]:
        def spoiled() -> Iterator[str]:
            for text in texts:
                self._place -= 1
                yield text[:-3] + "~" if self._place == 0 else text

        yield from self._ledger.append_many(study, spoiled(), receipts=receipts)


def test_a_row_that_the_ledger_refuses_is_quarantined_and_the_import_goes_on(ledger: Ledger, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", small_study())
    report = import_sdtm(folder, STUDY, Spoiling(ledger, 9 + 6), ledger.home, Heard())
    assert counts(report)["LB"] == (3, 2, 0, 1)
    (entry,) = quarantined(ledger)
    assert entry["rule"] and entry["remedy"] and entry["values"]["LBTESTCD"] == "PLAT"
    assert counts(imported(ledger, folder)) == AGAIN | {"LB": (3, 1, 2, 0)}


def test_a_repeated_row_and_a_second_row_of_a_subject_add_no_event(ledger: Ledger, tmp_path: Path) -> None:
    files = {"dm.xpt": xport("DM", [*DM, DM[0], DM[1] | {"SEX": "M"}]), "lb.xpt": xport("LB", [lab(), lab()])}
    report = counts(imported(ledger, write(tmp_path / "in", files)))
    assert (report["DM"], report["LB"]) == ((5, 3, 1, 1), (2, 1, 1, 0))


@pytest.mark.parametrize("spoil", ["cut", "empty", "other", "column"])
def test_input_that_cannot_be_read_records_nothing_at_all(ledger: Ledger, tmp_path: Path, spoil: str) -> None:
    files = small_study()
    files["lbur.xpt"] = {
        "cut": files["lbur.xpt"][:-100],
        "empty": b"",
        "other": b"USUBJID,LBTESTCD\n" * 50,
        "column": xport("LB", [{"DOMAIN": "LB", "LBTESTCD": "PLAT"}]),
    }[spoil]
    with pytest.raises(UnreadableInput, match=r"lbur\.xpt") as wrong:
        imported(ledger, write(tmp_path / "in", files))
    assert wrong.value.remedy
    assert ledger.studies() == []


@pytest.mark.parametrize("study", ["", "a", "lower-case", "X" * 33, "../../X"])
def test_a_study_id_of_another_form_is_wrong_usage(ledger: Ledger, tmp_path: Path, study: str) -> None:
    with pytest.raises(ValueError, match="study id"):
        import_sdtm(write(tmp_path / "in", small_study()), study, ledger, ledger.home, Heard())
    assert ledger.studies() == []


def opened_by_somebody(ledger: Ledger, key: SigningKey) -> Actor:
    """A study that is not the import's own: opened by a registrar, nothing else in it."""
    ledger.allow_genesis(key.kid)
    stated = ledger.log_keys(STUDY)
    registrar = Actor("registrar", "registrar", key, stated["origin"])
    terms = {
        "study": STUDY,
        **stated,
        "registrars": [{"actor": "registrar", "kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}],
        "registrars_required": 1,
        "ceremony": "unavailable",
        "meanings": list(MEANINGS),
        "roles": sorted(ROLES),
        "retention": RETENTION,
        "clock": "real",
        "synthetic": True,
    }
    ledger.open_study(registrar.sign("StudyOpened", "study", terms))
    return registrar


def test_in_a_study_of_somebody_else_the_import_governs_nothing(ledger: Ledger, tmp_path: Path) -> None:
    opened_by_somebody(ledger, ledger.home.key("registrar"))
    assert counts(imported(ledger, write(tmp_path / "in", small_study()))) == SMALL
    events = events_of(ledger)
    assert events["DelegationGranted"] == 1
    assert not {"ProtocolAdopted", "SiteActivated", "TranscriptionPeriodDeclared"} & set(events)


def test_where_the_home_is_no_registrar_the_import_stops_before_any_row(ledger: Ledger, tmp_path: Path) -> None:
    opened_by_somebody(ledger, SigningKey.generate())
    with pytest.raises(ImportStopped) as stopped:
        imported(ledger, write(tmp_path / "in", small_study()))
    assert stopped.value.refusal.status == 403
    assert stopped.value.refusal.rule in str(stopped.value)
    assert events_of(ledger) == {"StudyOpened": 1}


def test_when_the_delegation_is_ended_the_import_stops_and_quarantines_nothing(ledger: Ledger, tmp_path: Path) -> None:
    files = small_study()
    folder = write(tmp_path / "in", {"dm.xpt": files["dm.xpt"]})
    imported(ledger, folder)
    (grant,) = [s for s in statements_of(ledger) if s.event == "DelegationGranted"]
    registrar = Actor("registrar", "registrar", ledger.home.key("registrar"), ledger.origin(STUDY))
    ending = registrar.sign("DelegationEnded", grant.sub, {"delegation": grant.jti, "reason": "The transfer is over."})
    ledger.append(STUDY, ending)
    with pytest.raises(ImportStopped, match="AUTHORITY-5"):
        imported(ledger, write(tmp_path / "in", files))
    assert quarantined(ledger) == []


def test_a_new_transfer_with_another_site_is_delegated_and_activated(ledger: Ledger, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"dm.xpt": xport("DM", DM)})
    imported(ledger, folder)
    more = [DM[0] | {"USUBJID": "01-709-1001", "SITEID": "709"}]
    report = imported(ledger, write(tmp_path / "next", {"dm.xpt": xport("DM", more)}))
    assert counts(report)["DM"] == (1, 1, 0, 0)
    events = events_of(ledger)
    assert (events["DelegationGranted"], events["SiteActivated"], events["ProtocolAdopted"]) == (2, 3, 1)


def test_a_database_that_is_gone_is_said_to_be_gone(settings: Settings, tmp_path: Path) -> None:
    lost = replace(settings, database_url="postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    with pytest.raises(StoreError), Ledger(lost) as ledger:
        imported(ledger, write(tmp_path / "in", small_study()))


@pytest.mark.skipif(not REAL.is_dir(), reason="the CDISC pilot data are not beside the repository")
def test_the_real_subjects_go_in_with_the_beginning_of_every_other_file(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for path in REAL.glob("*.xpt"):
        (data,) = data_sets(path)
        part = data.header + b"".join(data.read(0, min(data.rows, 306 if path.stem == "dm" else 60)))
        (folder / path.name).write_bytes(part + b" " * (-len(part) % RECORD))
    expected = {"DM": 306, "DS": 60, "EX": 60, "LB": 180, "AE": 60}
    assert counts(imported(ledger, folder)) == {code: (rows, rows, 0, 0) for code, rows in expected.items()}
    assert counts(imported(ledger, folder)) == {code: (rows, 0, rows, 0) for code, rows in expected.items()}


@pytest.mark.soak
@pytest.mark.skipif(not REAL.is_dir(), reason="the CDISC pilot data are not beside the repository")
def test_the_whole_real_study_goes_in(ledger: Ledger) -> None:
    expected = {"DM": 306, "DS": 596, "EX": 591, "LB": 59_580, "AE": 961}
    report = imported(ledger, REAL)
    assert report.warnings == []
    assert counts(report) == {code: (rows, rows, 0, 0) for code, rows in expected.items()}
    assert counts(imported(ledger, REAL)) == {code: (rows, 0, rows, 0) for code, rows in expected.items()}
