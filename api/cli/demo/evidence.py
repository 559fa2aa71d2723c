"""The demo's last chapter: the evidence is exported and verified, a copy is tampered with and verified again.

The copy is what somebody could hand on who wants a count to look better: one value in it is another, and the
manifest's digests are made to fit. The report says in plain words at which entry it is caught.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from ledger.merkle.note import VerifierKey
from ledger.merkle.policy import Policy
from ledger.signing.encoding import b64url, read_json, unb64url
from ledger.verify import bundle as form
from ledger.verify.bundle import Bundle, open_bundle
from ledger.verify.procedure import verify
from ledger.verify.report import VerificationReport

EXPORT_SECONDS = 60.0
"""How long the server may take to make the bundle on a busy machine."""
BUNDLE, COPY = "evidence.zip", "tampered-copy.zip"


class EvidenceBroken(Exception):
    """The evidence did not verify, or the tampered copy did: what the demo shows would not be true."""


@dataclass(frozen=True, slots=True)
class Tampered:
    """What was changed in the copy: at which index, in which field, from what to what."""

    index: int
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of it: the bundle, the report on it, what was changed in the copy, the report on that."""

    bundle: Path
    size: int
    sha256: str
    honest: VerificationReport
    tampered: Tampered
    caught: VerificationReport

    @property
    def check(self) -> str:
        """The check that names the changed entry."""
        return next(n for n in self.caught.failed if self.caught[n].first_bad_index == self.tampered.index)

    @property
    def because(self) -> str:
        """What the report says about it."""
        return next(str(one) for one in self.caught[self.check].failures if one.index == self.tampered.index)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        return {
            "size": self.size,
            "sha256": self.sha256,
            "verified": bool(self.honest),
            "tampered": {
                "index": self.tampered.index,
                "field": self.tampered.field,
                "verified": bool(self.caught),
                "failed": list(self.caught.failed),
                "check": self.check,
                "because": self.because,
            },
        }

    def lines(self) -> Sequence[str]:
        """The same for people."""
        changed = self.tampered
        return (
            f"Evidence: a bundle of {self.size} entries was exported and verified offline: "
            f"{', '.join(n for n, check in self.honest.checks.items() if check.outcome == 'passed')} passed "
            "(`trial-ledger verify` also recomputes the views, V8).",
            f"Then a copy was tampered with: at index {changed.index} the {changed.field} {changed.before} was made "
            f"{changed.after}, and the list of digests in the copy was made to fit.",
            f"It is caught. {self.caught.headline()}",
            f"  {self.check}: {self.because}",
        )


def show_evidence(url: str, study: str, log_keys: Sequence[str], folder: Path) -> Shown:
    """Export over HTTP into `folder`, verify, tamper with a copy, verify that. `log_keys` are those that were stated
    before genesis: the policy of somebody who was there. Raises EvidenceBroken, httpx.HTTPError."""
    digest = _download(f"{url}/v1/studies/{study}/exports/evidence", folder / BUNDLE)
    policy = Policy.without_witnesses(VerifierKey.parse(key) for key in log_keys)
    with open_bundle(folder / BUNDLE) as bundle:
        honest = _verified(bundle, policy)
        size: int = honest.facts["size"]
        changed = _tamper(bundle, folder / COPY)
    with open_bundle(folder / COPY) as copy:
        caught = _verified(copy, policy)
    if not honest or caught:
        raise EvidenceBroken(honest.text() if not honest else "a tampered copy was verified")
    (folder / COPY).unlink()
    return Shown(folder / BUNDLE, size, digest, honest, changed, caught)


def _download(address: str, path: Path) -> str:
    """The bundle as a file; its SHA-256, base64url."""
    digest = sha256()
    with httpx.stream("GET", address, timeout=EXPORT_SECONDS) as answer, path.open("wb") as file:
        answer.raise_for_status()
        for data in answer.iter_bytes():
            digest.update(data)
            file.write(data)
    return b64url(digest.digest())


def _verified(bundle: Bundle, policy: Policy) -> VerificationReport:
    """V1 to V7; recomputing the views takes longer than a demo should, and is left to `trial-ledger verify`."""
    return verify(bundle, policy, now=int(time.time()))


# -- the copy --------------------------------------------------------------------------------------------------


def _tamper(bundle: Bundle, path: Path) -> Tampered:
    """Write a copy in which the last result below a threshold is a better one, with digests that fit."""
    members = {name: bundle.read(name) for name in bundle.members}
    for name in reversed(bundle.paths("disclosures")):
        lines = members[name].splitlines(keepends=True)
        for place in reversed(range(len(lines))):
            index, disclosures = form.read_disclosures_line(lines[place])
            found = _better(index, [one.decode() for one in disclosures])
            if found is not None:
                changed, told = found
                lines[place] = form.disclosures_line(index, changed)
                members[name] = b"".join(lines)
                _fit_manifest(members)
                form.write_zip(path, members.items())
                return told
    raise EvidenceBroken("there is no platelet count in the bundle")


def _better(index: int, disclosures: list[str]) -> tuple[list[str], Tampered] | None:
    """The disclosures of a platelet count with a higher value; None where they are none."""
    fields = {name: (place, salt, value) for place, (salt, name, value) in enumerate(map(_read, disclosures))}
    if fields.get("analyte", (0, "", ""))[2] != "platelets" or "value" not in fields:
        return None
    place, salt, value = fields["value"]
    better = f"{value}0"
    text = json.dumps([salt, "value", better], separators=(",", ":")).encode()
    changed = [*disclosures[:place], b64url(text), *disclosures[place + 1 :]]
    return changed, Tampered(index, "platelet count", str(value), better)


def _read(disclosure: str) -> tuple[str, str, Any]:
    salt, name, value = read_json(unb64url(disclosure, "a disclosure"), "a disclosure")
    return salt, name, value


def _fit_manifest(members: dict[str, bytes]) -> None:
    """The digests in the manifest are those of the changed members; its signature nobody can make."""
    stated = json.loads(members[form.MANIFEST])
    facts = {name: value for name, value in stated.items() if name not in ("format", "files")}
    own = (form.MANIFEST, form.MANIFEST_JWS)
    listed = [(name, *form.digest_of(data)) for name, data in members.items() if name not in own]
    members[form.MANIFEST] = form.manifest_bytes(facts, listed)
