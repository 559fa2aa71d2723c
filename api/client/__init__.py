"""The client: makes and signs statements, sends them, keeps what came back."""
