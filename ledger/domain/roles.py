"""The roles of a study, and the groups of them that the catalogue names.

A role is held by delegation, in force at an index (`ledger/authority.py`). Who grants which role is decided
there as well: the registrar grants the roles outside a site, principal investigators and systems; the
principal investigator of a site grants the site's other roles (ICH E6(R3) 2.3; DESIGN section 4).
"""

from __future__ import annotations

REGISTRAR = frozenset({"registrar"})
SPONSOR = frozenset({"sponsor"})
PRINCIPAL_INVESTIGATOR = frozenset({"principal-investigator"})
INVESTIGATOR = frozenset({"investigator", "principal-investigator"})
SITE_STAFF = INVESTIGATOR | {"coordinator"}
LABORATORY = frozenset({"laboratory"})
PHARMACY = frozenset({"pharmacy"})
MANUFACTURER = frozenset({"manufacturer"})
MANUFACTURER_QUALITY = frozenset({"manufacturer-quality"})
DATA_MANAGER = frozenset({"data-manager"})
MONITOR = frozenset({"monitor"})
SPONSOR_SAFETY = frozenset({"sponsor-safety"})
SAFETY_REVIEW = frozenset({"safety-review"})
PRIVACY = frozenset({"privacy"})
READERS = frozenset({"auditor", "inspector"})
ADMINISTRATOR = frozenset({"administrator"})
SYSTEM = frozenset({"system"})

SPONSOR_SIDE = SPONSOR | SPONSOR_SAFETY | DATA_MANAGER | MONITOR
ROLES = (
    REGISTRAR
    | SPONSOR
    | SITE_STAFF
    | LABORATORY
    | PHARMACY
    | MANUFACTURER
    | MANUFACTURER_QUALITY
    | DATA_MANAGER
    | MONITOR
    | SPONSOR_SAFETY
    | SAFETY_REVIEW
    | PRIVACY
    | READERS
    | ADMINISTRATOR
    | SYSTEM
)
ANYONE = ROLES
