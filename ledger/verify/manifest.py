"""The manifest (part of V7): signed by the ledger, and every member as it lists it; the lists of what is withheld."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.tiles import WIDTH
from ledger.signing.encoding import b64url, read_json, unb64url
from ledger.signing.errors import Malformed
from ledger.signing.keys import PublicKey
from ledger.signing.wire import DISCLOSURES_LIMIT as DISCLOSURES
from ledger.verify.bundle import (
    ALWAYS,
    FORMAT,
    GROUNDS,
    JWS_TYPE,
    MANIFEST,
    MANIFEST_JWS,
    OTHER_SUBJECT,
    WITHHELD,
    Bundle,
    canonical_json,
    read_withheld_line,
)
from ledger.verify.entries import Withheld
from ledger.verify.report import Check

FIELDS = frozenset({"format", "study", "origin", "size", "root", "as_of", "subject", "files"})

Digests = Mapping[str, tuple[str, bool]]
"""Member to hexadecimal SHA-256 and whether its CRC-32 fits."""


def check_manifest(
    check: Check,
    bundle: Bundle,
    checkpoint: Checkpoint | None,
    study: str | None,
    keys: Mapping[str, PublicKey],
    digests: dict[str, tuple[str, bool]],
) -> dict[str, Any]:
    """V7 for the manifest; `digests` are those already known. Returns the manifest, empty when it is unusable."""
    missing = [path for path in ALWAYS if path not in bundle]
    for path in missing:
        check.fail(f"the member {path} is missing")
    if MANIFEST in missing:
        return {}
    data = bundle.read(MANIFEST)
    try:
        manifest = read_json(data, "the manifest")
        if type(manifest) is not dict or manifest.keys() != FIELDS or canonical_json(manifest) + b"\n" != data:
            raise ValueError("it has other fields, or is not in its one form")
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {str(manifest['format'])[:60]!r}, not {FORMAT}")
    except (ValueError, Malformed) as wrong:
        check.fail(f"the manifest cannot be used: {wrong}")
        return {}
    _check_facts(check, manifest, checkpoint, study)
    if MANIFEST_JWS not in missing:
        _check_signature(check, data, bundle.read(MANIFEST_JWS), keys)
    _check_files(check, bundle, manifest["files"], digests)
    if not bundle.ordered:
        check.note("the members do not stand in the order of the format: the bundle was packed anew")
    elif not bundle.plain:
        check.note("dates or attributes in the zip file are not those of the format: the bundle was packed anew")
    return manifest


def _check_facts(check: Check, manifest: Mapping[str, Any], checkpoint: Checkpoint | None, study: str | None) -> None:
    stated: dict[str, Any] = {}
    if checkpoint is not None:
        stated = {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": b64encode(checkpoint.root).decode(),
        }
    if study is not None:
        stated["study"] = study
    for name, value in stated.items():
        if manifest[name] != value or type(manifest[name]) is not type(value):
            check.fail(f"the manifest states {name} {str(manifest[name])[:80]!r}, the log says {value!r}")
    as_of, subject = manifest["as_of"], manifest["subject"]
    limit = checkpoint.size if checkpoint is not None else None
    if as_of is not None and (type(as_of) is not int or as_of < 0 or (limit is not None and as_of > limit)):
        check.fail(f"the manifest states as_of {str(as_of)[:40]}, which is no size of this log")
    if subject is not None and type(subject) is not str:
        check.fail("the manifest states a subject that is no text")


def _check_signature(check: Check, manifest: bytes, jws: bytes, keys: Mapping[str, PublicKey]) -> None:
    """RFC 7515 appendix F: the payload, left out, is the manifest's bytes."""
    if not keys:
        check.fail("who signed the manifest cannot be checked: no key of the actor `ledger` is in force")
        return
    try:
        header_part, payload, signature = jws.decode("ascii").removesuffix("\n").split(".")
        header = read_json(unb64url(header_part, "the header"), "the header of MANIFEST.jws")
        if payload or type(header) is not dict or header.keys() != {"typ", "alg", "kid"} or header["typ"] != JWS_TYPE:
            raise ValueError("its header has other members, or a payload stands in it")
        key = keys.get(header["kid"]) if isinstance(header["kid"], str) else None
        if key is None:
            raise ValueError(f"it is by the key {str(header['kid'])[:60]!r}, which is none of the actor `ledger`")
        signed = f"{header_part}.{b64url(manifest)}".encode("ascii")
        if not isinstance(header["alg"], str) or not key.verify(signed, unb64url(signature), header["alg"]):
            raise ValueError("the signature is not one over this manifest")
    except (ValueError, Malformed) as wrong:
        check.fail(f"the manifest is not signed by the ledger: {wrong}")
        return
    check.say(f"the manifest is signed by the actor `ledger` with the key {key.kid}")


def _check_files(check: Check, bundle: Bundle, files: Any, digests: dict[str, tuple[str, bool]]) -> None:
    listed: dict[str, tuple[int, str]] = {}
    good = type(files) is list
    for file in files if good else ():
        if type(file) is not dict or file.keys() != {"path", "size", "sha256"} or type(file["path"]) is not str:
            good = False
            break
        listed[file["path"]] = (file["size"], file["sha256"])
    if not good or len(listed) != len(files):
        check.fail("the manifest's list of files is not one of paths, sizes and digests, each path once")
        return
    members = [path for path in bundle.members if path not in (MANIFEST, MANIFEST_JWS)]
    for path in members:
        if path not in listed:
            check.fail(f"{path} is in the bundle and not in the manifest")
            continue
        digest, intact = digests.get(path) or bundle.digest(path)
        if (bundle.members[path].size, digest) != listed[path]:
            check.fail(f"{path} is not the member that the manifest lists: its bytes were changed")
        elif not intact:
            check.fail(f"the checksum of {path} in the zip file does not fit, although the manifest's digest does")
    for path in listed:
        if path not in bundle:
            check.fail(f"{path} is in the manifest and not in the bundle")
    if bundle.ordered and list(listed) != members:
        check.fail("the manifest does not list the members in their order")
    check.say(f"{len(members)} members were compared with the manifest")


class WithheldList:
    """`withheld.ndjson`, read along with the entries: never more than one entry bundle's lines in memory."""

    def __init__(self, bundle: Bundle, check: Check, size: int) -> None:
        self._check, self._size = check, size
        self._lines = bundle.lines(WITHHELD) if WITHHELD in bundle else iter(())
        self._next = self._read(-1)
        self.grounds: dict[str, int] = {}

    def of(self, n: int) -> Withheld:
        """The lines of entry bundle n; asked for in ascending order."""
        found: dict[int, tuple[list[str], set[str]]] = {}
        while self._next is not None and self._next[0] < (n + 1) * WIDTH:
            index, digests, ground = self._next
            together, grounds = found.setdefault(index, ([], set()))
            if ground in grounds or len(together) + len(digests) > DISCLOSURES:
                because = f"index {index} has two lines of one ground, or more digests than a statement can have"
                self._stop(because)
                break
            # One entry may withhold for two grounds, on two lines.
            together += digests
            grounds.add(ground)
            self.grounds[ground] = self.grounds.get(ground, 0) + len(digests)
            self._next = self._read(index)
        return tuple((index, tuple(digests), OTHER_SUBJECT in grounds) for index, (digests, grounds) in found.items())

    def _stop(self, because: str) -> None:
        self._check.fail(f"withheld.ndjson: {because}")
        self._lines, self._next = iter(()), None

    def _read(self, last: int) -> tuple[int, Sequence[str], str] | None:
        try:
            line = next(self._lines, None)
            if line is None:
                return None
            index, digests, ground = read_withheld_line(line)
            if not last <= index < self._size:
                raise ValueError(f"index {index} is out of order or beyond the log")
        except ValueError as wrong:
            self._stop(str(wrong))
            return None
        return index, digests, ground

    def check_others(self, others: Mapping[str, int], subject: str | None) -> None:
        """Whoever withholds something as another subject's says the truth: the bundle is about one subject, and the
        statement about another. `others`: `sub` of such statements to the first index."""
        for about, index in others.items():
            if subject is None:
                because = "and the bundle is not about one subject"
            elif not about.startswith("subject/") or about == f"subject/{subject}":
                because = f"and it is about {about}"
            else:
                continue
            self._check.fail(f"fields are withheld as another subject's, {because}: that is a pretext", index)

    def warning(self, count: int) -> str:
        """What is said before everything else: content is missing from this copy, and why, as its maker states."""
        stated = "; ".join(f"{self.grounds[ground]} as `{ground}`" for ground in GROUNDS if ground in self.grounds)
        return (
            f"This copy WITHHOLDS {count} fields of content ({stated}). Their digests are signed for and they are "
            "listed in withheld.ndjson, but you have not seen them: ask for them if you do not accept the ground."
        )

    def in_words(self) -> Iterator[str]:
        """A sentence for each ground."""
        for ground in GROUNDS:
            if ground in self.grounds:
                yield f"{self.grounds[ground]} withheld ({ground}: {GROUNDS[ground]})"
