"""A genesis statement signed with the registrar key of an installation."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from api.client.signing import Actor
from ledger.application import Ledger
from ledger.domain.roles import ROLES

MEANINGS = ("authorship", "review", "approval", "responsibility")
"""Meanings of electronic signatures (21 CFR 11.50(a)(3))."""
RETENTION_YEARS = 30
"""Records of advanced therapies are kept 30 years (Regulation 1394/2007 article 15), longer than other rules ask."""


def genesis(
    ledger: Ledger,
    study: str,
    *,
    registrar: str,
    title: str | None,
    synthetic: bool,
    clock: str,
    ceremony: str = "unavailable",
    second: Mapping[str, Any] | None = None,
) -> str:
    """A genesis statement signed with this installation's registrar key; `ceremony` is required or unavailable. With a
    `second` registrar (actor, kid, alg, jwk), whose key lies elsewhere, keys and roles take both."""
    key = ledger.home.key("registrar")
    stated = ledger.log_keys(study)
    fields: dict[str, Any] = {
        "study": study,
        **stated,
        "registrars": [
            {"actor": registrar, "kid": key.kid, "alg": key.alg, "jwk": key.public_jwk},
            *([] if second is None else [{name: second[name] for name in ("actor", "kid", "alg", "jwk")}]),
        ],
        "registrars_required": 1 if second is None else 2,
        "ceremony": ceremony,
        "meanings": list(MEANINGS),
        "roles": sorted(ROLES),
        "retention": {"years": RETENTION_YEARS, "starts": "end of the study"},
        "clock": clock,
        "synthetic": synthetic,
        "title": title,
    }
    actor = Actor(registrar, "registrar", key, stated["origin"])
    # The same study opened again by the same key is the same event, so a repeated init is harmless.
    jti = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{stated['origin']}/genesis/{key.kid}"))
    return actor.sign("StudyOpened", "study", fields, jti=jti)
