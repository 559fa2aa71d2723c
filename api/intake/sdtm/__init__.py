"""SDTM data sets in SAS transport files (XPORT) become signed events, row by row.

    report = import_sdtm(folder, "CDISCPILOT01", ledger, ledger.home, Talk())
    report.as_dict()  # {"study", "domains": {"DM": {"read", "appended", "duplicate", "quarantined"}, ...}, "warnings"}

transport (frames of the file) -> reading (rows of text) -> mapping (an event's fields) -> sealing (a signed
statement) -> importing (order, known ids, answers, counts); protocol makes the study's protocol of the trial
design data sets.
"""

from api.intake.errors import ImportStopped, UnreadableInput
from api.intake.sdtm.importing import ImportReport, import_sdtm

__all__ = ["ImportReport", "ImportStopped", "UnreadableInput", "import_sdtm"]
