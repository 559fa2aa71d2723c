"""The seed trial's published course, played over HTTP with real signatures; every person and value is synthetic."""
