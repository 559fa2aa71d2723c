"""Figures against the budgets, as ratios within one run: `make bench`."""
