"""Which columns a domain's file has by the standard: what is expected, and what is at home there at all.

 VARIABLES-1  a column that SDTM requires or expects and that is absent is named before anything is recorded
 VARIABLES-2  a column that SDTM does not have there is named as well: it may be a wanted one under a wrong name

What is required or expected, and only what this import reads: SDTMIG 3.2 to 3.4, section 5 and 6, "Core" Req and Exp
in all three. The variables that a domain may have: SDTM 1.4 to 2.0, identifiers, timing and the three classes.
"""

from __future__ import annotations

from collections.abc import Iterable

_EXPECTED = {
    "DM": "STUDYID SUBJID RFSTDTC RFENDTC RFXSTDTC RFXENDTC RFICDTC RFPENDTC DTHDTC DTHFL AGE AGEU SEX RACE ARMCD ARM "
    "ACTARMCD ACTARM COUNTRY",
    "DS": "STUDYID DSSEQ DSTERM DSDECOD DSCAT DSSTDTC",
    "EX": "STUDYID EXSEQ EXTRT EXDOSE EXDOSU EXDOSFRM EXSTDTC EXENDTC",
    "LB": "STUDYID LBSEQ LBTESTCD LBTEST LBCAT LBORRES LBORRESU LBORNRLO LBORNRHI LBSTRESC LBSTRESN LBSTRESU LBSTNRLO "
    "LBSTNRHI LBNRIND VISITNUM LBDTC",
    "AE": "STUDYID AESEQ AETERM AEDECOD AEBODSYS AESER AEACN AEREL AESTDTC AEENDTC",
}

_ANY_DOMAIN = frozenset(
    "STUDYID DOMAIN USUBJID POOLID SPDEVID VISITNUM VISIT VISITDY TAETORD EPOCH RPHASE RPPLDY RPPLSTDY FOCID".split()
)
_OWN_SUFFIXES = frozenset(
    # identifiers and timing
    "SEQ GRPID REFID RECID SPID LNKID LNKGRP DTC STDTC ENDTC DY STDY ENDY NOMDY NOMLBL DUR TPT TPTNUM ELTM TPTREF "
    "RFTDTC STRF ENRF EVLINT EVINTX STRTPT STTPT ENRTPT ENTPT STINT ENINT DETECT PTFL PDUR "
    # shared by the classes
    "CAT SCAT PRESP OCCUR STAT REASND REASOC USCHFL LOC LAT DIR PORTOT MODIFY DECOD BODSYS BDSYCD FAST METHOD SEV REL "
    # interventions
    "TRT MOOD INDC CLAS CLASCD DOSE DOSTXT DOSU DOSFRM DOSFRQ DOSTOT DOSRGM ROUTE LOT TRTV VAMT VAMTU ADJ RSDISC PSTRG "
    "PSTRGU NAM "
    # events
    "TERM LLT LLTCD PTCD HLT HLTCD HLGT HLGTCD SOC SOCCD PARTY PRTYID SER ACN ACNOTH ACNDEV RELNST PATT OUT SCAN SCONG "
    "SDISAB SDTH SHOSP SLIFE SOD SMIE SINTV UNANT RLPRT RLPRC CONTRT TOX TOXGR "
    # findings
    "TESTCD TEST TSTDTL TSTCND TSTOPO TSTPNL POS ORRES ORRESU ORNRLO ORNRHI ORREF STRESC STRESN STRESU STNRLO STNRHI "
    "STNRC STREFC STREFN NRIND RESTYP RESSCL RESCAT COLSRT CHRON DISTR XFN LOINC SPEC SPCCND SPCUFL ANTREG ANMETH "
    "RUNID TMTHSN LEAD CSTATE BLFL LOBXFL DRVFL EVAL EVALID ACPTFL DTHREL LLOD LLOQ ULOQ EXCLFL REASEX CLSIG".split()
)
_OF_DM = frozenset(
    "SUBJID RFSTDTC RFENDTC RFXSTDTC RFXENDTC RFCSTDTC RFCENDTC RFICDTC RFPENDTC DTHDTC DTHFL SITEID INVID INVNAM "
    "BRTHDTC AGE AGETXT AGEU SEX RACE ETHNIC SPECIES STRAIN SBSTRAIN ARMCD ARM ACTARMCD ACTARM ARMNRS ACTARMUD SETCD "
    "COUNTRY".split()
)


def absent(domain: str, columns: Iterable[str]) -> list[str]:
    """Columns that SDTM requires or expects in a domain and that are not among these."""
    there = set(columns)
    return [name for name in _EXPECTED[domain].split() if name not in there]


def unknown(domain: str, columns: Iterable[str]) -> list[str]:
    """Which of these columns SDTM does not have in a domain."""
    return [name for name in columns if not _at_home(domain, name)]


def _at_home(domain: str, name: str) -> bool:
    if name in _ANY_DOMAIN or (domain == "DM" and name in _OF_DM):
        return True
    return name.startswith(domain) and name.removeprefix(domain) in _OWN_SUFFIXES
