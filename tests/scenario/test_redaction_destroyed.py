"""What is redacted is destroyed: in the log, the refusal list, the projections and what processes hold.

Source: ICH E6(R3) 4.2.2(b); GDPR Art. 5(1)(d), 17.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from ledger.application import Ledger
from ledger.redaction.carrying_out import Step
from ledger.redaction.register import RegisterBroken
from ledger.signing.statement import parse
from ledger.store import redactions
from ledger.store.embedded import DatabaseUrls
from projections.definitions import read_models
from projections.engine import operations
from projections.engine.runner import Runner
from tests.conftest import urls_of
from tests.scenario.checker import check_everything
from tests.scenario.doors import InProcess
from tests.scenario.fixtures import ledger_of, opened
from tests.scenario.residue import residue_in_files, residue_in_tables, shown
from tests.scenario.simulator import Simulator, Told, refused

NAME = "Wilhelmina Synthetic-Person"
FINGERPRINTS = [model.fingerprint for model in read_models()]


@pytest.fixture
def named(trial: Simulator) -> Told:
    """A screening whose comment holds a name by mistake, followed by the projections."""
    told = trial.screen(trial.subject("001"), comment=f"called herself {NAME}")
    follow(trial)
    return told


@pytest.fixture
def admin_url(trial: Simulator, embedded_server: DatabaseUrls) -> str:
    """The trial's database for a superuser."""
    database = psycopg.conninfo.conninfo_to_dict(ledger_of(trial).urls.app)["dbname"]
    return urls_of(embedded_server, str(database)).admin


def follow(trial: Simulator) -> None:
    """The projections take in what is signed."""
    with ledger_of(trial).projector_database() as database:
        Runner(database, read_models()).catch_up()


def settle(trial: Simulator) -> list[Step]:
    """What the server does in the background."""
    return ledger_of(trial).settle_redactions(FINGERPRINTS)


def test_nothing_of_the_value_remains_in_any_table(trial: Simulator, named: Told, admin_url: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("ANALYZE")
    before = residue_in_tables(admin_url, NAME)
    assert any(place.startswith("ledger.events_") for place in before)
    assert any(place.startswith("rm_") for place in before)
    second = trial.redact({named: ["comment"]})
    follow(trial)
    assert settle(trial) == [Step(trial.plan.study, second.index, None)]
    assert residue_in_tables(admin_url, NAME) == []
    assert settle(trial) == []
    check_everything(ledger_of(trial), trial.acknowledged, thorough=True)
    assert residue_in_files(ledger_of(trial).home.path, NAME, but=("database",)) == []


def test_it_waits_for_the_projections_and_not_the_other_way(trial: Simulator, named: Told, admin_url: str) -> None:
    trial.redact({named: ["comment"]})
    (step,) = settle(trial)
    assert step.waits_for == "the projections"
    assert not [place for place in residue_in_tables(admin_url, NAME) if place.startswith("ledger.")]
    follow(trial)
    (step,) = settle(trial)
    assert step.waits_for is None
    assert residue_in_tables(admin_url, NAME) == []


def test_nothing_is_destroyed_before_a_checkpoint_covers_the_second_signature(
    trial: Simulator, named: Told, admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = trial.redact({named: ["comment"]})
    with monkeypatch.context() as patched:
        patched.setattr("ledger.redaction.carrying_out.evidence.latest_checkpoint", lambda conn, study: None)
        assert settle(trial) == [Step(trial.plan.study, second.index, "a checkpoint")]
    assert any(place.startswith("ledger.events_") for place in residue_in_tables(admin_url, NAME))
    assert not ledger_of(trial).redactions.register(trial.plan.study).read().redacted
    assert NAME not in shown(trial.door)
    follow(trial)
    settle(trial)
    assert residue_in_tables(admin_url, NAME) == []


def test_the_refusal_list_loses_its_copies(trial: Simulator, named: Told, admin_url: str) -> None:
    ada = parse(named.text).sub
    coordinator = trial.staff().coordinator
    fields = {"number": "001", "population": "patient", "sex": "female"}
    with refused("IDEMPOTENCY-1"):  # signed anew under the same event id
        trial.record(
            coordinator, "SubjectScreened", ada, site="NORTH", claims={"jti": named.jti}, comment=NAME, **fields
        )
    with refused("ROLE-1"):  # refused before somebody else recorded it
        trial.record(trial.cast.sponsor, "SubjectScreened", ada, site="NORTH", comment=NAME, **fields)
    trial.redact({named: ["comment"]})
    with refused("IDEMPOTENCY-1"):
        trial.record(
            coordinator, "SubjectScreened", ada, site="NORTH", claims={"jti": named.jti}, comment=NAME, **fields
        )
    follow(trial)
    settle(trial)
    assert residue_in_tables(admin_url, NAME) == []
    with ledger_of(trial).database.connection() as connection:
        kept = list(redactions.whole_refusals(connection, trial.plan.study, 10**6))
    assert [len(parse(data, partial=True).disclosures) for _, data in kept][:2] == [3, 3]


def test_what_an_older_release_and_a_broken_rebuild_left_is_emptied(
    trial: Simulator, named: Told, admin_url: str
) -> None:
    old, scratch = "rm_patient_v0_0123abcd", f"{read_models()[0].schema}_r012345"
    with ledger_of(trial).projector_database() as database, database.connection() as conn:
        for schema in (old, scratch):
            conn.execute(f"CREATE SCHEMA {schema}")  # type: ignore[call-overload]
            conn.execute(f"CREATE TABLE {schema}.records (study_id text, partition text, record text)")  # type: ignore[call-overload]
            conn.execute(f"INSERT INTO {schema}.records VALUES ('{trial.plan.study}', 'x', '{NAME}')")  # type: ignore[call-overload]
            conn.execute(f"INSERT INTO {schema}.records VALUES ('OTHER-STUDY', 'x', 'kept')")  # type: ignore[call-overload]
    trial.redact({named: ["comment"]})
    follow(trial)
    settle(trial)
    assert residue_in_tables(admin_url, NAME) == []
    assert residue_in_tables(admin_url, "kept")
    with ledger_of(trial).projector_database() as database, database.connection() as conn:
        for schema in (old, scratch):
            conn.execute(f"DROP SCHEMA {schema} CASCADE")  # type: ignore[call-overload]


def test_neighbours_are_untouched(trial: Simulator, named: Told) -> None:
    other = trial.screen(trial.subject("002"), comment="nothing special")
    trial.redact({named: ["comment"]})
    follow(trial)
    settle(trial)
    assert ledger_of(trial).entry(trial.plan.study, other.index).statement.text() == other.text
    kept = ledger_of(trial).entry(trial.plan.study, named.index).statement
    assert set(parse(named.text).content) - set(kept.content) == {"comment"}


def test_a_digest_depends_on_what_was_recorded_and_redacted_alone(trial: Simulator, named: Told) -> None:
    trial.redact({named: ["comment"]})
    follow(trial)

    def digests() -> list[str | None]:
        database, names = ledger_of(trial).database, ("patient", "cohort", "audit_trail", "schedule", "safety")
        return [operations.digest(database, trial.plan.study, name)["digest"] for name in names]

    stored_still = digests()
    settle(trial)
    assert digests() == stored_still
    with ledger_of(trial).projector_database() as database:
        for made in operations.rebuild(database, trial.plan.study, workers=1):
            assert (made["state"], made["digest"]) == ("ready", made["digest_before"])
    assert digests() == stored_still


# -- killed between the steps, several at once --------------------------------------------------------------


class Killed(BaseException):
    """The process dies here."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, place: str) -> Iterator[None]:
    """What is done inside dies when it reaches a function, before that does anything."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(place, die)
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize(
    "place",
    [
        "ledger.redaction.register.Register.add",
        "ledger.redaction.carrying_out.redactions.destroy",
        "ledger.redaction.carrying_out.strip_refusals",
        "ledger.redaction.carrying_out.redactions.note_destruction",
        "ledger.redaction.carrying_out.redactions.forget_read_models",
        "ledger.redaction.carrying_out.redactions.analyze_read_models",
    ],
)
def test_killed_anywhere_it_goes_on_there(
    trial: Simulator, named: Told, admin_url: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    trial.redact({named: ["comment"]})
    follow(trial)
    with killed_at(monkeypatch, place):
        settle(trial)
    assert NAME not in shown(trial.door)
    ledger = ledger_of(trial)
    with Ledger(ledger.settings, trial.clock) as again:  # another process, or this one after it came back
        again.settle_redactions(FINGERPRINTS)
        assert again.settle_redactions(FINGERPRINTS) == []
    assert residue_in_tables(admin_url, NAME) == []
    lines = ledger.redactions.register(trial.plan.study).read().redacted
    assert [row.field for row in lines] == ["comment"]


def test_a_torn_line_of_the_register_was_never_acted_upon(trial: Simulator, named: Told) -> None:
    register = ledger_of(trial).redactions.register(trial.plan.study)
    register.path.parent.mkdir()
    register.path.write_bytes(b'{"kind": "redacted", "jti": "')
    assert register.read().redacted == ()
    trial.redact({named: ["comment"]})
    follow(trial)
    settle(trial)
    assert [row.jti for row in register.read().redacted] == [named.jti]


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"kind": "redacted", "jti": 1}\n', b"[]\n", b"\n"])
def test_a_register_that_cannot_be_read_stops_the_start(trial: Simulator, named: Told, line: bytes) -> None:
    register = ledger_of(trial).redactions.register(trial.plan.study)
    register.path.parent.mkdir()
    register.path.write_bytes(line)
    with pytest.raises(RegisterBroken, match="Restore the file"), Ledger(ledger_of(trial).settings, trial.clock):
        pass
    register.path.unlink()


def test_two_processes_serve_nothing_of_it_and_destroy_it_once(trial: Simulator, named: Told, admin_url: str) -> None:
    first = ledger_of(trial)
    with opened(first.home.path, first.urls, trial.clock) as second:  # type: ignore[arg-type]
        door = InProcess(second, trial.plan.study)
        visit = "VisitRecorded", parse(named.text).sub
        door.append(trial.sign(trial.staff().coordinator, *visit, site="NORTH"))
        trial.redact({named: ["comment"]})
        assert NAME not in shown(door)
        follow(trial)
        second.settle_redactions(FINGERPRINTS)
        assert settle(trial) == []
        held = second.writer(trial.plan.study)
        door.append(trial.sign(trial.staff().coordinator, *visit, site="NORTH"))
        assert NAME not in repr(held._state)
    assert residue_in_tables(admin_url, NAME) == []
