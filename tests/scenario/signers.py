"""People of a simulated trial whose signing keys are custodial: they have a user id and a passphrase, and no key.

    accounts = accounts_of(sim)
    pi = with_account(sim, accounts, sim.staff().pi)
    pi.sign_in()
    pi.signs("CohortOpened", "cohort/LOW", {...}, meaning="approval")

Sealing costs less here than in a real installation; everything else is the same.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.client.signing import Actor
from ledger.accounts.codes import CODE_BYTES, code_digest, code_of
from ledger.accounts.drafts import Asked
from ledger.accounts.sealing import Cost
from ledger.accounts.service import Accounts
from ledger.writer import Answer
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator

CHEAP = Cost(10, 8, 1)
PASSPHRASE = "seven lanterns under the ferry"


def accounts_of(sim: Simulator) -> Accounts:
    """The accounts of a trial's ledger, in this process."""
    return Accounts(ledger_of(sim), cost=CHEAP)


def offer(sim: Simulator, user_id: str, hours: int = 24, verified: bool = True) -> str:
    """A registrar verifies somebody's identity and offers a key; the code."""
    if verified:
        fields = {"method": "passport", "verified_date": "2026-01-05"}
        sim.record(sim.cast.registrar, "IdentityVerified", f"actor/{user_id}", **fields)
    code = code_of(secrets.token_bytes(CODE_BYTES))
    fields_ = {"code_digest": code_digest(code), "valid_hours": hours}
    sim.record(sim.cast.registrar, "CredentialOffered", f"actor/{user_id}", **fields_)
    return code


def enrol(sim: Simulator, made: Mapping[str, Any]) -> None:
    """A registrar signs the enrolment of a key that was made."""
    enrolment = made["enrolment"]
    claims = {"jti": enrolment["jti"]}
    sim.record(sim.cast.registrar, "KeyEnrolled", enrolment["sub"], **enrolment["body"], claims=claims)


@dataclass
class Signer:
    """Somebody with an account: remembers what a browser would."""

    sim: Simulator
    accounts: Accounts
    id: str
    role: str
    passphrase: str = PASSPHRASE
    site: str | None = None
    token: str = ""
    kid: str = ""
    shown: dict[str, Any] = field(default_factory=dict)

    def sign_in(self, passphrase: str | None = None) -> str:
        """Begin a session with both components."""
        given = self.passphrase if passphrase is None else passphrase
        self.token = self.accounts.sign_in(self.sim.plan.study, self.id, given)["token"]
        return self.token

    def begin(self, event: str, sub: str, fields: Mapping[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
        """Begin a ceremony; returns and remembers what is shown, as it came over the wire."""
        site = asked.pop("site", self.site if sub.startswith("subject/") else None)
        draft = Asked(event, sub, asked.pop("role", self.role), fields or {}, site, **asked)
        self.shown = json.loads(json.dumps(self.accounts.begin(self.sim.plan.study, self.token, draft)))
        return self.shown

    def finish(self, passphrase: str | None = None, user_id: str | None = None, **changed: Any) -> Answer:
        """Sign what was shown. `changed`: ceremony, draft, token as somebody else would have them."""
        return self.accounts.sign(
            self.sim.plan.study,
            changed.get("token", self.token),
            changed.get("ceremony", self.shown["ceremony"]),
            changed.get("draft", self.shown["draft"]),
            self.passphrase if passphrase is None else passphrase,
            user_id,
        )

    def signs(self, event: str, sub: str, fields: Mapping[str, Any] | None = None, **asked: Any) -> Answer:
        """A whole ceremony with the components that it names."""
        shown = self.begin(event, sub, fields, **asked)
        return self.finish(user_id=self.id if "user_id" in shown["components"] else None)

    def accepts(self) -> Answer:
        """The person accepts to be accountable."""
        fields = {"statement": "I answer for what I sign.", "version": "1"}
        return self.signs("AccountabilityAccepted", f"actor/{self.id}", fields)


def with_account(sim: Simulator, accounts: Accounts, person: Actor, passphrase: str = PASSPHRASE) -> Signer:
    """Give somebody of the trial an account with a custodial key, beside the key that the test holds."""
    made = accounts.redeem(sim.plan.study, person.id, offer(sim, person.id), passphrase)
    enrol(sim, made)
    return Signer(sim, accounts, person.id, person.role, passphrase, person.site, kid=made["kid"])
