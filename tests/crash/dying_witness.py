"""The command line, except that a witness kills itself when it keeps a state: before or after it is durable.

Which of the two, and at which keeping, is said by the environment: WITNESS_DIES=after:2.
"""

from __future__ import annotations

import os
import signal

from api.cli.app import main
from ledger import witness_files

_when, _, _count = os.environ["WITNESS_DIES"].partition(":")
_left = int(_count)
_replace = witness_files._replace


def _dying(path: object, data: bytes) -> None:
    global _left
    _left -= 1
    if _left == 0 and _when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    _replace(path, data)  # type: ignore[arg-type]
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


witness_files._replace = _dying  # type: ignore[assignment]
main()
