"""Putting back what a database restored from an older backup lacks."""
