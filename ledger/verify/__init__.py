"""The offline verifier: needs Python, `cryptography` and one file, the evidence bundle. FORMAT.md says the rest."""
