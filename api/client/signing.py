"""An actor with a key and a role, who makes signed statements from plain field values.

Which field stands in the clear and which is disclosed is the catalogue's business; a decision gets its
`meaning`, `cut` and `exp`, and whatever has a meaning gets the signer's printed name and the time; ids, times and
salts come from outside, so that a simulation can be repeated.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from ledger.domain.catalogue import CATALOGUE
from ledger.signing.keys import Signer
from ledger.signing.proofs import make_proof
from ledger.signing.statement import Statement, make, new_salt, parse

DECISION_SECONDS = 3_600
"""How long a signature made here waits at most for being recorded."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The state that a decision was made on: size and root as the ledger's answers carried them."""

    size: int
    root: str

    def as_claim(self) -> dict[str, Any]:
        """The claim `cut` or `seen`."""
        return {"size": self.size, "root": self.root}


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who signs in one role: `id`, `role` and printed `name` as enrolled (without one the id stands for it),
    `site` where the actor usually works, `zone` in which the time of an electronic signature is written."""

    id: str
    role: str
    key: Signer
    origin: str
    site: str | None = None
    now: Callable[[], int] = lambda: int(time.time())
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    salts: Callable[[], str] = new_salt
    name: str | None = None
    zone: tzinfo = UTC

    def acting_as(self, role: str, site: str | None = None) -> Actor:
        """The same person in another role or at another site."""
        return replace(self, role=role, site=site or self.site)

    def sign(
        self,
        event: str,
        about: str,
        fields: Mapping[str, Any] | None = None,
        *,
        site: str | None = None,
        meaning: str | None = None,
        cut: Cut | None = None,
        **claims: Any,
    ) -> str:
        """A statement's text. `about` is the claim `sub`; `fields` are split as the catalogue says.

        `claims` are further claims (`jti`, `corrects`, `voids`, `mode`, ..., and `v` where another version of the event
        is meant than the newest that is recorded). A site is stated for subjects and sites; None fields are left out. A
        decision with a cut is signed with `meaning`, by default approval. What has
        a meaning says `printed_name` and `signed_at`; a None given for one of them leaves it out.
        """
        model = CATALOGUE.signed_as(event)
        version = claims.pop("v", None)
        if version in range(1, len(CATALOGUE.versions(event)) + 1):
            model = CATALOGUE.versions(event)[version - 1]
        given = {name: value for name, value in (fields or {}).items() if value is not None}
        now = self.now()
        payload: dict[str, Any] = {
            "iss": self.id,
            "role": self.role,
            "aud": self.origin,
            "sub": about,
            "jti": claims.pop("jti", None) or self.new_id(),
            "iat": claims.pop("iat", None) or now,
            "event": event,
            "v": model.v if version is None else version,
        }
        kind, _, name = about.partition("/")
        where = name if kind == "site" else (site or self.site if kind == "subject" else site)
        if where is not None:
            payload["site"] = where
        body = {name: value for name, value in given.items() if name in model.clear_fields()}
        if body:
            payload["body"] = body
        if cut is not None:
            payload |= {"cut": cut.as_claim(), "exp": payload["iat"] + DECISION_SECONDS}
            payload["meaning"] = meaning or "approval"
        elif meaning is not None:
            payload["meaning"] = meaning
        payload |= claims
        if "meaning" in payload and isinstance(payload["iat"], int):
            given = {**self._manifestation(payload["iat"]), **given}
            given = {name: value for name, value in given.items() if (fields or {}).get(name, value) is not None}
        content = {name: value for name, value in given.items() if name not in body}
        return make(self.key, payload, content, self.salts)

    def _manifestation(self, iat: int) -> dict[str, str]:
        """Who signs and when, in words (21 CFR 11.50)."""
        moment = datetime.fromtimestamp(iat, UTC).astimezone(self.zone)
        return {"printed_name": self.name or self.id, "signed_at": moment.isoformat(timespec="seconds")}

    def enrol_key(self, actor: str, key: Signer, jwk: Mapping[str, str]) -> str:
        """KeyEnrolled for somebody's key, with the proof that its holder makes (both at hand here)."""
        jti = self.new_id()
        body = {
            "kid": key.kid,
            "alg": key.alg,
            "jwk": dict(jwk),
            "proof": make_proof(key, aud=self.origin, iss=actor, jti=jti),
        }
        return self.sign("KeyEnrolled", f"actor/{actor}", body, jti=jti)


def target(text: str | Statement) -> dict[str, str]:
    """`{jti, digest}` of a statement, as acts on it name it."""
    statement = parse(text) if isinstance(text, str) else text
    return {"jti": statement.jti, "digest": statement.digest}
