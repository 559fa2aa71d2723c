"""The demo, from the outside: as a command, over HTTP, and what it leaves behind."""
