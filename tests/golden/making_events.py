"""How the golden entries were made: one for each version of each event of the catalogue, as it is stored and served.

    python -m tests.golden.making_events

adds to `events/` what is not there yet, one line a version, and never changes a line that is there. Most are entries of
the demonstration's course, played over HTTP in a ledger of its own; what that course has no use for is signed here by a
key that is the same in every run and was decided by nobody. All people, subjects and keys are synthetic.

A line: event, v, `from` ("the demonstration" or "made for this"), index, recorded_at, the statement as it is served,
the public key it is signed with. `digests.txt` has the SHA-256 of each line, `folded.ndjson` what its record is today:
that one changes with each new version of an event, and is to be read when it does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from ledger.domain.aggregate import record_of
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.model import EventModel
from ledger.signing.encoding import b64url
from ledger.signing.keys import SigningKey
from ledger.signing.statement import make, parse

FOLDER = Path(__file__).parent / "events"
DIGESTS, FOLDED = FOLDER / "digests.txt", FOLDER / "folded.ndjson"
NAMESPACE = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
KEY = SigningKey.from_seed(hashlib.sha256(b"golden entries: a key for tests alone").digest())
ORIGIN = "ledger.localhost/study/GOLDEN-1"
ORDINAL = "made for this"
LONGEST = 6_000
"""Characters of an entry that is taken for what it discloses: enough for all but files."""
RECORDED_AT = "2026-03-02T09:00:00.000000Z"
TARGET = {"jti": "00000000-0000-4000-8000-00000000000a", "digest": "A" * 43}
WHY = {"reason": "told so for a golden file"}
ABOUT = {
    "subject": "subject/00000000-0000-4000-8000-000000000001",
    "site": "site/S1",
    "actor": "actor/invented-1",
    "product": "product/LOT1-U1",
    "cohort": "cohort/LOW",
    "study": "study",
}
AT = {"occurred_at": "2026-03-01T10:00:00+01:00"}
NOT_DONE = {**AT, "comment": "synthetic", "status": "not done", "status_reason": "invented"}

FIELDS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            *("StudyHeld", "StudyResumed", "StudyClosed", "SiteClosed", "RecordsFrozen", "RecordsUnfrozen"),
            *("StudyLocked", "StudyUnlocked", "AccountUnlocked", "ProductReleaseRevoked", "DecisionReversed"),
            "QueryReopened",
        ),
        WHY,
    ),
    **dict.fromkeys(
        (
            *("SubjectRescreened", "SubjectTransferred", "SubjectDied", "ConsentDeclined", "ProductMoved"),
            *("ProductPrepared", "SpecimenReceived", "SpecimenProcessed", "SpecimenDiscarded", "ResultReviewed"),
        ),
        NOT_DONE,
    ),
    "AccountabilityStated": {"statement": "My signature binds me as my hand does.", "version": "1"},
    "PersonRenamed": {"name": "Invented Person", **WHY},
    "DelegationEnded": {"delegation": TARGET["jti"], **WHY},
    "KeyRevoked": {"kid": KEY.kid, "suspect_since": 7, **WHY},
    "LogKeyRotated": {"log_keys": ["invented+00000000+AAAA"], "note": "invented"},
    "CeremonyRequired": {},
    "SignatureReaffirmed": {"records": [TARGET]},
    "CredentialOffered": {"code_digest": "A" * 43, "valid_hours": 24},
    "AccountLocked": {"failures": 5, "first_at": "2026-03-01T10:00:00+00:00", "last_at": "2026-03-01T10:01:00+00:00"},
    "VisitRecorded": {**AT, "visit": "day 28", "contact": "telephone"},
    "TreatmentAdministered": {**AT, "status": "unknown", "comment": "synthetic"},
    "ProtocolAdopted": {"version": "1.0", "digest": "A" * 43, "file": "study: invented\n"},
    "PregnancyReported": {**AT, "status": "unknown", "comment": "synthetic"},
    "AttributionDisputed": {"record": TARGET, **WHY},
    "SignatureWithdrawn": {"record": TARGET, **WHY},
    "TranscriptionPeriodDeclared": {"starts_on": "2026-01-01", "roles": ["system"], "purpose": "import"},
    "RefusalAdopted": {"refused_digest": "A" * 43, **WHY},
    "FieldsRedacted": {
        "records": [{**TARGET, "disclosures": ["A" * 43], "fields": ["comment"]}],
        "legal_basis": "erasure",
        **WHY,
    },
    "AccessReviewed": {"as_of": 12, "findings": "none"},
    "ReplayApproved": {"projection": "patient", "report_digest": "A" * 43, **WHY},
    "ReleaseActivated": {"release": "0.1.0"},
    "ReplayConcluded": {"projection": "patient", "report": {"step": "switched", "size": 12}},
    "DataExported": {"what": "evidence", "digest": "A" * 43},
    "AccessLogSealed": {"day": "2026-03-01", "entries": 3, "digest": "A" * 43},
    "RefusalsSealed": {"last": 2, "entries": 2, "digest": "A" * 43},
    "RestorePerformed": {"backup_size": 12, **WHY},
    "EventSkipped": {"projection": "patient", "index": 7, **WHY},
    "SkippingEnded": {"projection": "patient", "index": 7, **WHY},
}
"""Fields of the events that the demonstration does not record. The next version of an event stands here as
`<Event>/<v>`, until the demonstration records it."""


def lines() -> dict[str, dict[str, Any]]:
    """The golden entries by `<event>/<v>`."""
    found = [json.loads(line) for file in sorted(FOLDER.glob("[A-Z]*.ndjson")) for line in file.open(encoding="utf-8")]
    return {f"{line['event']}/{line['v']}": line for line in found}


def topics() -> Iterator[tuple[str, type[EventModel]]]:
    """Every version of every event, with its model."""
    for event in CATALOGUE:
        for model in CATALOGUE.versions(event.__name__):
            yield f"{event.__name__}/{model.v}", model


def folded(line: dict[str, Any]) -> dict[str, Any]:
    """What the record of an entry is today: kind, whether it waits for a second signature, its fields."""
    record = record_of(parse(line["statement"], partial=True), line["index"], line["recorded_at"])
    return {"kind": record.kind, "pending": record.pending, "body": record.body, "content": record.content}


def signed(topic: str, model: type[EventModel]) -> dict[str, Any]:
    """An entry made for this: signed, and decided by nobody."""
    event = topic.partition("/")[0]
    newest = CATALOGUE[event]
    given = FIELDS.get(topic, FIELDS.get(event)) or {}
    model.model_validate(given)
    about = next(kind for kind in ABOUT if kind in newest.about)
    body = {name: value for name, value in given.items() if name in model.clear_fields()}
    claims: dict[str, Any] = {
        "iss": "ledger" if newest.kind == "system" else "invented-1",
        "role": min(newest.recorders),
        "aud": ORIGIN,
        "sub": ABOUT[about],
        "jti": str(uuid5(NAMESPACE, topic)),
        "iat": 1_772_442_000,
        "event": event,
        "v": model.v,
        **({"site": "S1"} if about in ("subject", "site") else {}),
        **({"body": body} if body else {}),
    }
    if newest.target is not None:
        claims[newest.target] = TARGET
    if newest.kind == "decision" or event == "DecisionReversed":
        claims |= {"meaning": "approval", "cut": {"size": 7, "root": "A" * 43}, "exp": claims["iat"] + 3_600}
    salts = (b64url(hashlib.sha256(f"{topic} {number}".encode()).digest()[:16]) for number in range(100))
    content = {name: value for name, value in given.items() if name not in body}
    text = make(KEY, claims, content, lambda: next(salts))
    made = {"event": event, "v": model.v, "from": ORDINAL, "index": 7, "recorded_at": RECORDED_AT}
    return {**made, "statement": text, "jwk": KEY.public_jwk}


def played() -> dict[str, dict[str, Any]]:
    """Of each event that the demonstration records in some version, the entry that discloses most."""
    from api.cli.demo.cast import STUDY
    from api.cli.demo.command import Progress, temporary_home
    from api.cli.demo.course import run_course
    from api.cli.serve import server_process
    from api.client.http import StudyClient
    from ledger.home import Home

    found: dict[str, dict[str, Any]] = {}
    keys: dict[str, Any] = {}
    with temporary_home() as home, Progress() as progress, server_process(home) as served:
        client = StudyClient(served.url, STUDY)
        run_course(client, Home(home).key("registrar"), progress)
        after: int | None = 0
        while after is not None:
            page = client.get("events", after=after, limit=1_000)
            after = page["next"] if page["entries"] else None
            for entry in page["entries"]:
                statement = parse(entry["statement"], partial=True)
                body = statement.body
                holders = (*body.get("registrars", ()), body.get("ledger"), body)
                keys |= {one["kid"]: one["jwk"] for one in holders if one and "jwk" in one}
                topic = f"{statement.event}/{statement.version}"
                known = len(found[topic]["statement"]) if topic in found else 0
                if known < len(entry["statement"]) < LONGEST:
                    made = {"event": statement.event, "v": statement.version, "from": "the demonstration"}
                    made |= {name: entry[name] for name in ("index", "recorded_at", "statement")}
                    found[topic] = {**made, "jwk": keys[statement.kid]}
        client.close()
    return found


def digest(line: dict[str, Any]) -> str:
    """SHA-256, hex, of a line as it is written."""
    return hashlib.sha256(written(line).encode()).hexdigest()


def written(line: dict[str, Any]) -> str:
    """A line, without its end."""
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False)


def add() -> list[str]:
    """Write what is not there yet; returns the topics added."""
    FOLDER.mkdir(exist_ok=True)
    known, wanted = lines(), dict(topics())
    missing = [topic for topic in wanted if topic not in known]
    from_demo = played() if any(t not in FIELDS and t.partition("/")[0] not in FIELDS for t in missing) else {}
    for topic in missing:
        line = from_demo.get(topic) or signed(topic, wanted[topic])
        with (FOLDER / f"{line['event']}.ndjson").open("a", encoding="utf-8") as file:
            file.write(written(line) + "\n")
        with DIGESTS.open("a", encoding="utf-8") as file:
            file.write(f"{digest(line)}  {topic}\n")
    today = [{"topic": topic, **folded(line)} for topic, line in sorted(lines().items())]
    FOLDED.write_text("".join(written(line) + "\n" for line in today), encoding="utf-8")
    return missing


if __name__ == "__main__":
    print("\n".join(add()))
