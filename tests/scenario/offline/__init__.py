"""Reads a log's evidence with nothing of the ledger's own code: what an outsider would write.

From the published specifications alone, with the standard library and `cryptography`: RFC 6962 section 2.1 (tree,
paths, consistency), C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles, tlog-proof. Written straight
from the definitions, recursive where the ledger's own code is iterative. Strict: what is not exactly in the form
that the specification writes is refused. Everything raises Wrong; nothing is returned unchecked.
"""

from tests.scenario.offline.notes import Checked, open_checkpoint
from tests.scenario.offline.proofs import open_consistency, open_inclusion, open_receipt
from tests.scenario.offline.tiles import (
    check_bundle,
    check_log,
    parse_path,
    paths_of,
    read_bundle,
    root_from_tiles,
    tile_hashes,
)
from tests.scenario.offline.tree import (
    Roots,
    Wrong,
    check_consistency,
    check_inclusion,
    leaf_of,
    root_from_path,
    roots_from_consistency,
    tree_root,
)

__all__ = [
    "Checked",
    "Roots",
    "Wrong",
    "check_bundle",
    "check_consistency",
    "check_inclusion",
    "check_log",
    "leaf_of",
    "open_checkpoint",
    "open_consistency",
    "open_inclusion",
    "open_receipt",
    "parse_path",
    "paths_of",
    "read_bundle",
    "root_from_path",
    "root_from_tiles",
    "roots_from_consistency",
    "tile_hashes",
    "tree_root",
]
