"""An import as a process of its own, to be killed; it seals in a process beside, however few the rows are.

python -m tests.integration.intake.killable HOME APP_URL PROJECTOR_URL FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from api.intake.sdtm import import_sdtm, importing
from api.intake.talk import Talk
from ledger.application import Ledger
from ledger.settings import Settings
from tests.integration.intake.reading import STUDY


def main(home: str, app: str, projector: str, folder: str) -> None:
    """Import the folder and end."""
    importing.WORTH_A_PROCESS = 1
    with Ledger(Settings(Path(home), app, None, projector)) as ledger, Talk() as talk:
        import_sdtm(Path(folder), STUDY, ledger, ledger.home, talk)


if __name__ == "__main__":
    main(*sys.argv[1:])
