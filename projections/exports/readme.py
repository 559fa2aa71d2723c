"""README.txt of a bundle: what it holds and how to verify it, for somebody who has nothing else.

It depends on the bundle's facts alone, so that the same bundle is made again byte for byte.
"""

from __future__ import annotations

from ledger.verify.bundle import FORMAT

_TEXT = """\
Evidence of the study {study}
format {format}, log {origin}

{entries} entries under the checkpoint of size {size}, root {root} (base64).
The projections stand for the first {as_of} of them. {scope}

What is in it
  MANIFEST.json     every other file with its size and SHA-256; MANIFEST.jws signs it
  policy.txt        the keys of the log and of its witnesses, and how many of them have to agree
  log/              the checkpoint with its signatures, the tree's tiles, every entry, every earlier checkpoint
  disclosures/      the content of the entries, each field with its salt
  withheld.ndjson   fields that are not in this bundle although they exist, each by its digest, with the ground
  timestamps/       RFC 3161 timestamps over checkpoints
  projections/      what the ledger derives and shows, at the position stated above

Before you believe it
  Compare the keys in policy.txt, or a policy of your own, with what you were given by another way: on paper, by
  telephone, from a witness. A bundle cannot vouch for its own keys.

How to verify it, without a network and without the ledger's server
  trial-ledger verify BUNDLE --policy POLICY
  or, with Python and its package `cryptography` alone, the single-file verifier:
  python trial-ledger-verify.pyz BUNDLE --policy POLICY
  The report says for each of nine checks what was found, and at which index.

With other tools
  log/ has the layout of C2SP tlog-tiles, its checkpoint is a C2SP signed note, policy.txt a C2SP tlog-policy. Any
  verifier of these formats can check it. An entry is a JWT (an SD-JWT without its disclosures, RFC 9901), a line feed,
  the time of recording and a line feed; the keys of those who signed are in the entries themselves.
"""

_WHOLE = "Nothing is withheld."
_ONE = (
    "It is about the subject {subject}: the log is\ncomplete, but the content of entries about other subjects is "
    "withheld."
)


def readme(study: str, origin: str, size: int, root: str, as_of: int, subject: str | None) -> bytes:
    """The text for these facts of a manifest, UTF-8."""
    scope = _WHOLE if subject is None else _ONE.format(subject=subject)
    entries = f"{size:,}"
    return _TEXT.format(
        format=FORMAT, study=study, origin=origin, entries=entries, size=size, root=root, as_of=as_of, scope=scope
    ).encode()
