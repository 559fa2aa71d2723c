"""The attacks on the database, as functions of a scene; each leaves the database as the attacker wants it.

Each returns the index of the first entry that it touched, as far as one entry is to blame.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from api.client.signing import Actor
from ledger.merkle.log_keys import derive
from ledger.signing.keys import SigningKey
from ledger.signing.statement import disclosure_digest, make, parse
from ledger.store.rows import EventRow
from ledger.writer import stamp
from tests.tamper.conftest import Scene

STOLEN_SEED = bytes(32)
"""A key that the attacker made: not one that anybody enrolled."""


# -- one row ---------------------------------------------------------------------------------------------------


def flip_a_byte_of_a_statement(scene: Scene) -> int:
    """One character in the middle of the signed payload."""
    index = scene.index("first result")
    jwt = scene.user.row(index).jwt
    header, payload, signature = jwt.split(".")
    claims = json.loads(urlsafe_b64decode(payload + "=="))
    claims["iat"] -= 1
    changed = urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode()).rstrip(b"=").decode()
    scene.user.change(index, state=f"{header}.{changed}.{signature}".encode())
    return index


def flip_a_byte_of_a_signature(scene: Scene) -> int:
    """One character of an actor's signature."""
    index = scene.index("first result")
    head, _, signature = scene.user.row(index).jwt.rpartition(".")
    other = "B" if signature[10] == "A" else "A"
    scene.user.change(index, state=f"{head}.{signature[:10]}{other}{signature[11:]}".encode())
    return index


def alter_a_disclosure(scene: Scene) -> int:
    """The platelet count of a result is written anew, with its salt."""
    index = scene.index("first result")
    changed = [_with_value(one, "12", "112") for one in scene.user.row(index).disclosures]
    scene.user.change(index, disclosures=changed)
    return index


def _with_value(disclosure: str, old: str, new: str) -> str:
    salt, name, value = json.loads(urlsafe_b64decode(disclosure + "=="))
    if value != old:
        return disclosure
    text = json.dumps([salt, name, new], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def take_a_disclosure_away(scene: Scene) -> int:
    """A field vanishes, and nobody ordered it."""
    index = scene.index("adverse event")
    scene.user.change(index, disclosures=list(scene.user.row(index).disclosures[1:]))
    return index


def swap_the_content_of_two_results(scene: Scene) -> int:
    """Two results of one subject exchange their disclosures: every one of them is genuine, and stands elsewhere."""
    first, second = scene.index("first result"), scene.index("second result")
    content = [list(scene.user.row(index).disclosures) for index in (first, second)]
    scene.user.change(first, disclosures=content[1])
    scene.user.change(second, disclosures=content[0])
    return first


def invent_a_redaction(scene: Scene) -> int:
    """The table of redactions says that a field was redacted, and no event of the log does."""
    index = scene.index("adverse event")
    row = scene.user.row(index)
    values = [scene.study, row.jti, disclosure_digest(row.disclosures[0]), "term", index + 1, index + 2]
    columns = "(study_id, jti, disclosure, field, ordered_idx, effective_idx)"
    scene.user.conn.execute(f"INSERT INTO ledger.redactions {columns} VALUES (%s, %s, %s, %s, %s, %s)".encode(), values)
    return index


def alter_a_leaf_hash(scene: Scene) -> int:
    """The stored hash of an entry is another one."""
    index = scene.index("adverse event")
    scene.user.change(index, leaf_hash=bytes(32))
    return index


def move_an_adverse_event_to_another_subject(scene: Scene) -> int:
    """The column that says whose entry it is names another subject; what was signed is left as it is."""
    index = scene.index("adverse event")
    scene.user.change(index, originator_id=scene.user.row(scene.index("last")).originator_id, originator_version=999)
    return index


def alter_a_time(scene: Scene) -> int:
    """`recorded_at` of one entry, by a second."""
    index = scene.index("second result")
    scene.user.change(index, recorded_at=_moved(scene.user.row(index), seconds=1))
    return index


def _moved(row: EventRow, **span: Any) -> str:
    return stamp(datetime.fromisoformat(row.recorded_at) + timedelta(**span))


# -- rows ------------------------------------------------------------------------------------------------------


def delete_an_entry(scene: Scene) -> int:
    """A row is deleted, and nothing else."""
    index = scene.index("adverse event")
    scene.user.remove(index)
    return index


def delete_an_entry_and_close_the_gap(scene: Scene) -> int:
    """An adverse event is gone, every later entry moves up, all hashes are computed anew."""
    index = scene.index("adverse event")
    rows = scene.user.rows()
    scene.user.put([row for row in rows if row.idx != index])
    scene.user.rehash()
    return index


def swap_two_entries(scene: Scene) -> int:
    """Two results change places, with their leaf hashes."""
    first, second = scene.index("first result"), scene.index("second result")
    rows = scene.user.rows()
    rows[first], rows[second] = rows[second], rows[first]
    scene.user.put(rows)
    return first


def swap_two_entries_and_rehash(scene: Scene) -> int:
    """The same, and the tree is computed anew, so that the database agrees with itself."""
    first = swap_two_entries(scene)
    scene.user.rehash()
    return first


def truncate_the_tail(scene: Scene) -> int:
    """The last entries are gone, with the checkpoints that cover them; the head is set back."""
    index = max(size for size in scene.user.published() if size <= scene.index("adverse event"))
    scene.user.remove(index, 2**60)
    scene.user.forget_checkpoints(above=index)
    scene.user.rehash()
    return index


# -- forged entries --------------------------------------------------------------------------------------------


def append_a_forged_entry(scene: Scene) -> int:
    """A result that nobody signed, in the name of the laboratory's system, properly hashed."""
    actor = scene.played.sim.cast.analyser
    forger = Actor(actor.id, actor.role, _ForgedKey(actor.key.kid), actor.origin, actor.site, actor.now)
    return _append(scene, forger)


def append_an_entry_by_an_unknown_key(scene: Scene) -> int:
    """A result signed with a key of the attacker's own, that nobody enrolled."""
    actor = scene.played.sim.cast.analyser
    return _append(scene, replace(actor, key=SigningKey.from_seed(STOLEN_SEED)))


def append_an_entry_of_another_study(scene: Scene) -> int:
    """A genuine statement of the same actor and key, signed for the log of another study."""
    actor = scene.played.sim.cast.analyser
    return _append(scene, replace(actor, origin=actor.origin.replace(scene.study, "OTHER-STUDY")))


def repeat_an_entry(scene: Scene) -> int:
    """A genuine statement stands in the log a second time."""
    rows = scene.user.rows()
    row = rows[scene.index("first result")]
    scene.user.put([*rows, replace(row, recorded_at=rows[-1].recorded_at)])
    scene.user.rehash()
    return len(rows)


def grant_oneself_a_role(scene: Scene) -> int:
    """The laboratory's system makes its own key a principal investigator's, as a registrar would."""
    sim, rows = scene.played.sim, scene.user.rows()
    actor = sim.cast.analyser
    rights = {"role": "system", "sites": sorted(sim.cast.sites), "events": ["InfusionGiven"]}
    text = actor.sign("DelegationGranted", f"actor/{actor.id}", rights, role="registrar")
    _put(scene, rows, text, rows[0].originator_id)
    return len(rows)


def _append(scene: Scene, by: Actor) -> int:
    rows = scene.user.rows()
    subject = scene.user.row(scene.index("first result")).originator_id
    site = next(iter(scene.played.sim.cast.sites))
    fields = {"analyte": "platelets", "value": "250", "unit": "10*9/L", "occurred_at": "2026-03-02"}
    _put(scene, rows, by.sign("LabResultReported", f"subject/{subject}", fields, site=site), subject)
    return len(rows)


def _put(scene: Scene, rows: list[EventRow], text: str, about: UUID) -> None:
    statement = parse(text)
    topic = f"{statement.event}/{statement.version}"
    at, leaf = rows[-1].recorded_at, bytes(32)
    row = EventRow(0, about, 0, topic, statement.jwt, statement.disclosures, statement.jti, statement.kid, at, leaf)
    scene.user.put([*rows, row])
    scene.user.rehash()


class _ForgedKey:
    """Names somebody's key and signs with the attacker's."""

    alg = "Ed25519"

    def __init__(self, kid: str) -> None:
        self.kid = kid

    def sign(self, message: bytes) -> bytes:
        return SigningKey.from_seed(STOLEN_SEED).sign(message)


# -- keys ------------------------------------------------------------------------------------------------------


def alter_a_key_enrolment(scene: Scene) -> int:
    """The key in an enrolment is exchanged for the attacker's, and the tree is computed anew."""
    index = scene.index("key")
    row = scene.user.row(index)
    header, payload, signature = row.jwt.split(".")
    claims = json.loads(urlsafe_b64decode(payload + "=="))
    key = SigningKey.from_seed(STOLEN_SEED)
    claims["body"] |= {"kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}
    changed = urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode()).rstrip(b"=").decode()
    scene.user.change(index, state=f"{header}.{changed}.{signature}".encode())
    return index


# -- time ------------------------------------------------------------------------------------------------------


def back_date_an_entry(scene: Scene) -> int:
    """An adverse event is made to have been recorded before the statement that precedes it."""
    index = scene.index("adverse event")
    scene.user.change(index, recorded_at=_moved(scene.user.row(index - 1), seconds=-30))
    return index


def back_date_the_clock(scene: Scene) -> int:
    """From the adverse event on everything is a day earlier, hashed anew and signed with the ledger's key."""
    index = scene.index("adverse event")
    for row in scene.user.rows()[index:]:
        scene.user.change(row.idx, recorded_at=_moved(row, days=-1))
    _sign_anew(scene)
    return index


def put_the_clock_forward(scene: Scene) -> int:
    """The last entry is made to have been recorded an hour after the witness had already signed it."""
    index = scene.index("last")
    scene.user.change(index, recorded_at=_moved(scene.user.row(index), hours=1))
    return index


# -- the whole log ---------------------------------------------------------------------------------------------


def rewrite_without_the_ledgers_key(scene: Scene) -> int:
    """An adverse event is gone, everything behind it is hashed anew, checkpoints are signed with another key."""
    index = delete_an_entry_and_close_the_gap(scene)
    scene.user.forget_checkpoints(above=index)
    origin = scene.played.sim.terms["origin"]
    scene.user.publish(origin, [len(scene.user.rows())], derive(STOLEN_SEED, origin).ed25519)
    return index


def rewrite_with_the_ledgers_key(scene: Scene) -> int:
    """The same by whoever also has the ledger's home: its keys sign, its signer's state is made anew."""
    index = delete_an_entry_and_close_the_gap(scene)
    _sign_anew(scene)
    return index


def _sign_anew(scene: Scene) -> None:
    """What the operator can do: forget every checkpoint and the signer's state, and let the signer begin again."""
    scene.user.rehash()
    scene.user.forget_checkpoints()
    (scene.home / "signer" / f"{scene.study}.state").unlink()


# -- what is derived, and what is signed -----------------------------------------------------------------------


def alter_a_projection(scene: Scene) -> int | None:
    """A subject's number is another one on every page."""
    schema = _schema(scene, "patient")
    scene.user.conn.execute(f"UPDATE {schema}.subjects SET number = '999', name = '999' WHERE number = '002'".encode())
    return None


def hide_a_row_of_the_audit_trail(scene: Scene) -> int:
    """The adverse event does not stand in the audit trail."""
    index, schema = scene.index("adverse event"), _schema(scene, "audit_trail")
    scene.user.conn.execute(f"DELETE FROM {schema}.entries WHERE idx = {index}".encode())
    return index


def _schema(scene: Scene, name: str) -> str:
    found = scene.user.conn.execute("SELECT schema_name FROM projection.pointers WHERE name = %s", [name]).fetchone()
    assert found is not None
    return str(found[0])


def exchange_a_checkpoint(scene: Scene) -> int | None:
    """The newest checkpoint is replaced by one over another root, signed with another key."""
    origin, size = scene.played.sim.terms["origin"], scene.user.published()[-1]
    scene.user.forget_checkpoints(above=size - 1)
    scene.user.publish(origin, [size], derive(STOLEN_SEED, origin).ed25519)
    return None


def redact_alone(scene: Scene) -> int:
    """A redaction is recorded by one person, never countersigned, and the field is destroyed all the same."""
    sim, index = scene.played.sim, scene.index("adverse event")
    row, rows = scene.user.row(index), scene.user.rows()
    statement = parse("~".join((row.jwt, *row.disclosures, "")))
    gone = row.disclosures[0]
    record = {"jti": row.jti, "digest": statement.digest, "disclosures": [disclosure_digest(gone)]}
    name = json.loads(urlsafe_b64decode(gone + "=="))[1]
    officer = sim.cast.privacy_officer
    claims = {
        "iss": officer.id,
        "role": officer.role,
        "aud": officer.origin,
        "sub": statement.sub,
        "jti": str(uuid4()),
        "iat": officer.now(),
        "event": "FieldsRedacted",
        "v": 1,
        "site": statement.site,
        "body": {"records": [{**record, "fields": [name]}]},
    }
    text = make(officer.key, claims, {"reason": "because", "legal_basis": "none"})
    scene.user.change(index, disclosures=list(row.disclosures[1:]))
    rows[index] = scene.user.row(index)
    _put(scene, rows, text, row.originator_id)
    return index
