"""Which signer's state signs the logs of a database: no two at a time, on however many hosts.

Whoever signs holds, in the very session in which it signs, a shared advisory lock that is named after its signer's
state. A session that is made looks for locks of another name first, one session at a time, so that two that start at
the same moment do not both pass; a database that restarted is a new session. Processes of one state do not disturb
each other. A host that vanished is forgotten when PostgreSQL notices that its connection is dead.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from collections.abc import Callable
from pathlib import Path

from ledger.store.database import Conn
from ledger.store.errors import DatabaseMisconfigured
from ledger.store.sql import SQL

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class OtherSignerAtWork(DatabaseMisconfigured):
    """Another signer, with a state of its own, works on this database: two could sign different trees. Stop it, or
    run `trial-ledger init` with TRIAL_LEDGER_SIGNER_URL on both hosts, so that they share one state (a host that is
    gone is forgotten when PostgreSQL drops its connection: pg_terminate_backend of the process named does that)."""


def state_on_this_host(folder: Path) -> str:
    """What names the locked files in a folder: the running kernel, whose locks they are, and the folder itself. A copy
    of the folder has another name, and so has the same folder mounted on another host."""
    found = folder.stat()
    try:
        machine = BOOT_ID.read_text().strip()
    except OSError:  # not Linux
        machine = f"{uuid.getnode()} {socket.gethostname()}"
    return f"{machine} {found.st_dev} {found.st_ino} {os.name}"


def guarding(name: str) -> Callable[[Conn], None]:
    """What a signer's new session does first: take the lock of its state, and refuse where there is another's.

    The callable raises OtherSignerAtWork, and the driver's errors.
    """
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") & 0x7FFF_FFFF

    def guard(connection: Conn) -> None:
        connection.execute(SQL["begin_host_check"])
        try:
            connection.execute(SQL["hold_signer_lock"], {"state": number})
            others = connection.execute(SQL["other_signers"], {"state": number}).fetchall()
            if others:
                connection.execute(SQL["drop_signer_lock"], {"state": number})
                pids = ", ".join(str(pid) for (pid,) in others[:9])
                raise OtherSignerAtWork(f"it is served by the PostgreSQL process {pids}")
        finally:
            connection.execute(SQL["end_host_check"])

    return guard
