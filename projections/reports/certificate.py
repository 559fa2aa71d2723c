"""The certificate of a replay: what the ledger's own entries say of it, and where they say too little or contradict.

Made from ReplayConcluded, ReplayApproved and EventSkipped alone, which are signed and in the log: whoever has the log
can make it again. Tables of the database say nothing here. Each entry is named by its index, its event id and the
digest of its statement (SHA-256 of the JWT, base64url), to be compared with the log
(`GET /v1/studies/{study}/events/{index}`, or an evidence bundle).

 C1  a switch is preceded by a comparison of the same replay, and states its size, root and digests
 C2  where something is unexplained, an approval of exactly that report by a person stands at the switch: an electronic
     signature, recorded below it
 C3  a step names the ledger's own root at the size it states, and no size beyond itself
 C4  steps come in their order: nothing is rolled back that was not switched, nothing comes after the end
 C5  every step is the system's, is sealed and stands
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ledger.authority import LEDGER_ACTOR
from ledger.domain.aggregate import Study
from ledger.domain.record import Record
from ledger.domain.skipping import DECISIONS
from projections.engine.errors import NotReplayed
from projections.entries import dispute, standing

FORMAT = "replay-certificate/1"

CONCLUDED, APPROVED = "ReplayConcluded", "ReplayApproved"

FOLLOWS: Mapping[str | None, frozenset[str]] = {
    None: frozenset({"compared", "cancelled", "failed", "switched"}),
    "compared": frozenset({"compared", "switched", "cancelled", "failed"}),
    "switched": frozenset({"rolled back", "retired"}),
    "rolled back": frozenset({"switched", "retired"}),
    "retired": frozenset(),
    "cancelled": frozenset(),
    "failed": frozenset(),
}
"""Which step may come after which; `None` is the beginning."""

SAME = ("size", "root", "digests", "differences", "report_digest")
"""What a switch repeats of the comparison that it rests on."""

COMPLETE, INCOMPLETE, CONTRADICTORY = "complete", "incomplete", "contradictory"


def certificate(
    study: Study, name: str, size: int, root_of: Callable[[int], str], replay: str | None = None
) -> dict[str, Any]:
    """What the entries below `size` say of a replay of a projection, the last one unless it is named. `root_of`: the
    ledger's root (base64url) at a size up to `size`. Raises NotReplayed."""
    every = [record for record in study.records.by_event.get(CONCLUDED, []) if record.body.get("projection") == name]
    by_replay: dict[str, list[Record]] = {}
    for record in every:
        by_replay.setdefault(str(_report(record).get("replay")), []).append(record)
    wanted = replay if replay is not None else (str(_report(every[-1]).get("replay")) if every else "")
    steps = by_replay.get(wanted.lower(), [])
    if not steps:
        which = f"the replay {replay[:40]} of {name}" if replay is not None else f"any replay of {name}"
        raise NotReplayed(f"the log has nothing about {which} below size {size}")
    compared = [record for record in steps if _report(record).get("step") == "compared"]
    approval = _approval(study, name, steps, compared)
    missing, wrong = _examined(study, name, steps, approval, root_of, size)
    last = _report(steps[-1])
    return {
        "format": FORMAT,
        "projection": name,
        "replay": wanted.lower(),
        "as_of": {"size": size, "root": root_of(size)},
        "from": last.get("from"),
        "to": last.get("to"),
        "compared": {field: _report(compared[-1]).get(field) for field in SAME} if compared else None,
        "approval": None if approval is None else _approved(study, approval),
        "steps": [_step(study, record) for record in steps],
        "passed_over": [_skipped(study, record) for record in _skips(study, name)],
        "answers": _answers(steps),
        "other_replays": sorted(by_replay.keys() - {wanted.lower()}),
        "missing": missing,
        "contradictions": wrong,
        "verdict": CONTRADICTORY if wrong else INCOMPLETE if missing else COMPLETE,
    }


def _report(record: Record) -> Mapping[str, Any]:
    found = record.body.get("report")
    return found if isinstance(found, dict) else {}


# -- what is examined ------------------------------------------------------------------------------------------


def _examined(
    study: Study, name: str, steps: list[Record], approval: Record | None, root_of: Callable[[int], str], size: int
) -> tuple[list[str], list[str]]:
    """What is missing, and what contradicts, each in a sentence with the indexes."""
    missing: list[str] = []
    wrong: list[str] = []
    before: str | None = None
    compared: Record | None = None
    for record in steps:
        said = _report(record)
        step = str(said.get("step"))
        wrong += _unsound(study, record, root_of, size)
        if step not in FOLLOWS.get(before, frozenset()):
            came = "the beginning" if before is None else f"{before!r}"
            wrong.append(f"C4: index {record.index} says {step!r} after {came}")
        if step == "compared":
            compared = record
        elif step == "switched":
            wrong += _switched(study, name, record, compared)
        before = step
    if compared is None and before not in ("cancelled", "failed") and _report(steps[-1]).get("from") is not None:
        missing.append("no comparison is on record")
    if before == "compared":
        missing.append("no switch is on record: the version before answers")
        if _unexplained(_report(steps[-1])) and approval is None:
            missing.append("no approval of the unexplained differences is on record")
    return missing, wrong


def _unsound(study: Study, record: Record, root_of: Callable[[int], str], size: int) -> Iterable[str]:
    """C3 and C5, of one step."""
    said, at = _report(record), f"index {record.index}"
    if record.iss != LEDGER_ACTOR:
        yield f"C5: {at} is by {record.iss}, not by the system"
    if standing(record) != "stands" or dispute(study.authority, record) is not None:
        yield f"C5: {at} does not stand: {standing(record)}"
    stated, root = said.get("size"), said.get("root")
    if stated is None:
        return
    if isinstance(stated, bool) or not isinstance(stated, int) or not 0 <= stated <= record.index:
        yield f"C3: {at} states the size {stated!r}, which is none that there was when it was recorded"
    elif root is not None and root_of(stated) != root:
        yield f"C3: {at} states a root at size {stated} that is not the ledger's"


def _switched(study: Study, name: str, record: Record, compared: Record | None) -> Iterable[str]:
    """C1 and C2, of one switch."""
    said, at = _report(record), f"index {record.index}"
    if said.get("from") is None:
        return  # nothing answered before: there was nothing to compare with
    if compared is None:
        yield f"C1: {at} switched, and no comparison is on record before it"
        return
    for field in (*SAME, "from", "to"):
        if said.get(field) != _report(compared).get(field):
            yield f"C1: {at} states another {field.replace('_', ' ')} than the comparison at index {compared.index}"
    unexplained = _unexplained(_report(compared))
    if unexplained is None:
        yield f"C2: the comparison at index {compared.index} does not say how much is unexplained"
    elif unexplained:
        yield from _answered_for(study, name, record, said, unexplained)


def _answered_for(study: Study, name: str, record: Record, said: Mapping[str, Any], unexplained: int) -> Iterable[str]:
    """C2: a person's approval of what is unexplained."""
    at, named = f"index {record.index}", said.get("approval")
    if named is None:
        yield f"C2: {at} switched without approval although {unexplained:,} differences are unexplained"
        return
    approval = study.records.get(str(named))
    if approval is None or approval.event != APPROVED:
        yield f"C2: {at} names an approval ({named}) that the log does not have"
        return
    where = f"the approval at index {approval.index}"
    if approval.index >= record.index:
        yield f"C2: {where} was recorded after the switch at {at}"
    if approval.body.get("projection") != name:
        yield f"C2: {where} is of another projection"
    if approval.body.get("report_digest") != said.get("report_digest"):
        yield f"C2: {where} is of another report than that of the switch at {at}"
    if approval.meaning is None:
        yield f"C2: {where} is no electronic signature"
    if approval.role == "system" or approval.iss == LEDGER_ACTOR:
        yield f"C2: {where} is not a person's"
    gone = [index for index in (approval.withdrawn_at, approval.reversed_at) if index is not None]
    if approval.void or approval.pending or any(index < record.index for index in gone):
        yield f"C2: {where} did not stand at the switch: {standing(approval)}"


def _unexplained(report: Mapping[str, Any]) -> int | None:
    counts = report.get("differences")
    found = counts.get("unexplained") if isinstance(counts, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


# -- what is shown ---------------------------------------------------------------------------------------------


def _approval(study: Study, name: str, steps: list[Record], compared: list[Record]) -> Record | None:
    """The approval that the last switch names, or else the last one of the last comparison's report."""
    for record in reversed(steps):
        named = _report(record).get("approval")
        found = None if named is None else study.records.get(str(named))
        if found is not None and found.event == APPROVED:
            return found
    digest = _report(compared[-1]).get("report_digest") if compared else None
    fitting = [
        record
        for record in study.records.by_event.get(APPROVED, [])
        if record.body.get("projection") == name and record.body.get("report_digest") == digest
    ]
    return fitting[-1] if fitting and digest is not None else None


def _entry(study: Study, record: Record) -> dict[str, Any]:
    """What names an entry, so that it can be found in the log, and whether it stands."""
    disputed = dispute(study.authority, record)
    return {
        "index": record.index,
        "event_id": record.jti,
        "digest": record.digest,
        "recorded_at": record.recorded_at,
        "actor": record.iss,
        "role": record.role,
        "standing": standing(record) if disputed is None else disputed["because"],
    }


def _step(study: Study, record: Record) -> dict[str, Any]:
    said = {name: value for name, value in _report(record).items() if name not in ("replay", "projection")}
    return {**_entry(study, record), **said}


def _approved(study: Study, record: Record) -> dict[str, Any]:
    return {
        **_entry(study, record),
        "report_digest": record.body.get("report_digest"),
        "meaning": record.meaning,
        "printed_name": record.content.get("printed_name"),
        "signed_at": record.content.get("signed_at"),
        "reason": record.content.get("reason"),
        "redacted": sorted(record.redacted),
    }


def _skips(study: Study, name: str) -> list[Record]:
    """Decisions about what the projection passes over, in index order."""
    found = [record for event in DECISIONS for record in study.records.by_event.get(event, [])]
    return sorted((one for one in found if one.body.get("projection") == name), key=lambda one: one.index)


def _skipped(study: Study, record: Record) -> dict[str, Any]:
    reason = record.content.get("reason")
    return {**_entry(study, record), "event": record.event, "about": record.body.get("index"), "reason": reason}


def _answers(steps: list[Record]) -> dict[str, Any] | None:
    """Which version answers by what is on record of this replay; None where it does not say."""
    for record in reversed(steps):
        said = _report(record)
        if said.get("step") in ("switched", "rolled back"):
            found = said.get("to" if said["step"] == "switched" else "from")
            return found if isinstance(found, dict) else None
    return None
