"""Redaction carried out: the register beside the signer's state, destruction in the database, the search for copies."""
