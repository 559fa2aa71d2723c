"""The schema, one step per file, applied in the order of the names and never edited afterwards."""
