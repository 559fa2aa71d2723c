"""Every event that this release of the verifier knows, with the newest version of it.

The verifier reads clear claims alone and brings nothing from one version to another: it needs no upcasters, and every
version of an event that gives rights keeps the clear fields of the one before, with their meaning. What is newer than
this table, or not in it, may say more than is read here, and the report says so (V4). A test holds the table against
the catalogue.
"""

from __future__ import annotations

from ledger.verify.recorders import RECORDERS

_LATER: dict[str, int] = {}
"""Events of which there is more than one version, with the newest."""

KNOWN: dict[str, int] = {**dict.fromkeys(RECORDERS, 1), **_LATER}
"""Event to its newest version."""
