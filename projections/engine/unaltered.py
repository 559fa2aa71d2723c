"""That the rows which are switched to are those that were compared.

A comparison keeps the digest of each partition of the new version; together they make the root that its report states,
which is in the ledger. Before a switch every partition of which nothing was recorded since has to have its digest
still. What was recorded since is compared again inside the switch itself.
"""

from __future__ import annotations

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import study_aggregate_id
from ledger.store.database import Database
from projections.engine import digest
from projections.engine.definition import STUDY_PARTITION, ReadModel
from projections.engine.digest import Digest
from projections.engine.errors import RowsAltered
from projections.engine.replays import Replay
from projections.engine.sql import SQL, on

Conn = Connection[TupleRow]


def keep(conn: Conn, study: str, model: ReadModel, found: Digest) -> None:
    """Keep the digests of a comparison in the place of those before. In its transaction."""
    names = list(found.partitions)
    values = {"partitions": names, "digests": [found.partitions[name] for name in names]}
    conn.execute(on("forget_compared", model.schema), {"study": study})
    conn.execute(on("keep_compared", model.schema), {"study": study, **values})


def check(own: Database, origin: str, replay: Replay) -> None:
    """The new version's rows are those that were compared, but for what was recorded since. Looks in a snapshot of its
    own, so nobody waits. Raises RowsAltered."""
    model = replay.target.readable
    assert model is not None and replay.report is not None
    with own.snapshot() as looking:
        kept: dict[str, str] = dict(looking.execute(on("compared_digests", model.schema), {"study": replay.study}))
        if digest.of_partitions(model.definition, kept, 0).root != replay.report["after"]["digest"]:
            raise RowsAltered(f"the digests kept of {model.schema} are not those that the report states")
        values = {"study": replay.study, "start": replay.size, "stop": None, "limit": None}
        study = study_aggregate_id(origin)
        touched = {STUDY_PARTITION if one == study else str(one) for (one,) in looking.execute(SQL["touched"], values)}
        now = digest.of_tables(looking, model.schema, model.definition, replay.study).partitions
    altered = sorted(name for name in (kept.keys() | now.keys()) - touched if kept.get(name) != now.get(name))
    if altered:
        raise RowsAltered(f"{len(altered)} partitions of {model.schema}, of which nothing was recorded: {altered[0]}")
