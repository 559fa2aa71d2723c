"""Where a value still is: every column of every table of every schema of a database, and files on the disk.

Looked for as it is written, as the base64 of a disclosure that holds it (at each of the three offsets), and in the
planner's statistics, which keep samples of values.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from pathlib import Path

import psycopg
from psycopg import sql

from ledger.signing.statement import parse
from tests.scenario.doors import Door

COLUMNS = """
SELECT n.nspname, c.relname, a.attname FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('information_schema', 'pg_toast')
ORDER BY 1, 2, 3
"""


def shown(door: Door) -> str:
    """Everything that readers of the log are given, decoded."""
    entries = [parse(entry["statement"], partial=True) for entry in door.entries()]
    return json.dumps([[dict(entry.claims), dict(entry.content)] for entry in entries])


def spellings(value: str) -> list[bytes]:
    """The value as it may stand in stored bytes."""
    found = [value.encode()]
    for before in range(3):
        coded = urlsafe_b64encode(b" " * before + value.encode()).rstrip(b"=")
        found.append(coded[(before * 8 + 5) // 6 : -2])  # characters that depend on the value alone
    return found


def residue_in_tables(admin_url: str, value: str) -> list[str]:
    """`schema.table.column` of every place that holds the value; `admin_url` is a superuser's."""
    wanted = spellings(value)
    found = []
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("SET bytea_output = 'escape'")
        for schema, table, column in admin.execute(COLUMNS).fetchall():
            name = sql.Identifier(column)
            query = sql.SQL("SELECT count(*) FROM {} WHERE {}::text LIKE ANY (%s)").format(
                sql.Identifier(schema, table), name
            )
            patterns = [f"%{one.decode().replace('_', chr(92) + '_')}%" for one in wanted]
            row = admin.execute(query, [patterns]).fetchone()
            if row is not None and row[0]:
                found.append(f"{schema}.{table}.{column}")
    return found


def residue_in_files(folder: Path, value: str, but: tuple[str, ...] = ()) -> list[str]:
    """Files below a folder that hold the value, those in the folders named left out."""
    wanted = spellings(value)
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not set(inside.parts) & set(but):
            data = path.read_bytes()
            if any(one in data for one in wanted):
                found.append(str(inside))
    return found
