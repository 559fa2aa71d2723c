"""`python -m api.cli` is `trial-ledger`."""

from api.cli.app import main

main()
