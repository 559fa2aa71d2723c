"""Large studies for the bench: a real one, with every subject's events copied many times.

What is multiplied, and what is not:
- every event about a subject is copied, the bytes of its JWT and its disclosures with it, under a new subject, a new
  event id and the next indexes; so each subject is as large as its original, and events of many subjects alternate as
  they do in the original. The study's own events (people, keys, protocol, cohorts, products) stay as they are;
- inside a copied JWT still stand the `sub`, the `jti` and the number of the original: a fold needs them to agree
  within a subject, and they do. So copies share their originals' numbers, and an enrolment that was copied takes the
  seat that its original has: a cohort has as many seats as before, whatever the size;
- `recorded_at` is the original's: a copy is neither later nor more overdue than what it copies;
- signatures of copies verify as their originals do, but nobody would accept the statement twice: only the database's
  administrator can write such rows, and does so here, in a database made for the bench. Tree, head and checkpoints are
  real: the signer signs the copies like anything else.
"""

from __future__ import annotations

from contextlib import closing
from importlib.resources import files
from pathlib import Path

import psycopg
from psycopg import sql

from api.cli.demo.cast import STUDY
from api.cli.demo.course import run_course
from api.cli.serve import server_process
from api.client.http import StudyClient
from ledger.application import Ledger
from ledger.domain.aggregate import study_aggregate_id
from ledger.home import Home
from ledger.merkle.tree import Frontier
from ledger.store.sql import parse

SQL = parse((files(__package__) / "multiplied.sql").read_text(encoding="utf-8"))


def play(home: Path) -> str:
    """Play the seed trial's course in a home; returns the study."""
    with server_process(home) as served, closing(StudyClient(served.url, STUDY)) as client:
        run_course(client, Home(home).key("registrar"), lambda chapter, events: None)
    return STUDY


def multiply(ledger: Ledger, study: str, events: int) -> int:
    """Copy the subjects of a study until it has at least so many events, and sign it; returns its size."""
    with psycopg.connect(ledger.urls.admin) as admin:
        own = study_aggregate_id(ledger.origin(study))
        row = admin.execute(SQL["counted"], {"study": study, "own": own}).fetchone()
        assert row is not None, study
        size, about = row[0], row[1]
        copies = max(0, -(-(events - size) // about))
        if copies:
            values = {"study": study, "own": own, "size": size, "about": about, "copies": copies}
            admin.execute(SQL["multiply"], values)
            tree = Frontier().extend(leaf for (leaf,) in admin.execute(SQL["leaves"], {"study": study}, binary=True))
            grown = {"study": study, "size": tree.size, "frontier": b"".join(tree.peaks), "root": tree.root()}
            admin.execute(SQL["grow"], grown)
            size = tree.size
    with psycopg.connect(ledger.urls.admin, autocommit=True) as admin:
        admin.execute(SQL["settle"])
    alarm = ledger.check_log(study)
    if alarm is not None:
        raise alarm
    return int(size)


def unfollow(ledger: Ledger) -> None:
    """Take every read model away, as if nobody had followed the studies yet."""
    with psycopg.connect(ledger.urls.admin) as admin:
        for (schema,) in admin.execute(SQL["read_models"]).fetchall():
            admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        admin.execute(SQL["forget"])
