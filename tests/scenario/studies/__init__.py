"""Invented studies for the tests: no registry has them, and the code knows nothing of them."""
