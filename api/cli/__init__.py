"""The command line `trial-ledger`; one file a command."""
