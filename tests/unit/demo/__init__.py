"""The demo's synthetic people and values."""
