"""`python -m ledger.verify BUNDLE`: the verifier without the project's command line."""

from __future__ import annotations

import sys

from ledger.verify.command import main

if __name__ == "__main__":
    sys.exit(main())
