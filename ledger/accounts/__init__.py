"""People's accounts at this server: custodial signing keys, sessions, ceremonies (21 CFR 11.100 to 11.300).

What the room promises: a signature by a custodial key is made only by the person's own passphrase, given together
with the user id at the first signing of a session; no administrator of the server, of its database or of the study
can make one alone. Sealing (`sealing.py`), the one-time code (`credentials.py`), counting failures (`attempts.py`),
sessions (`sessions.py`), ceremonies (`drafts.py`), and the way in (`service.py`).
"""
