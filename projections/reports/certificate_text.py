"""The certificate of a replay in words and as a page; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ledger.verify.report import plain
from projections.reports import page
from projections.reports.certificate import COMPLETE, CONTRADICTORY

HEADLINES: Mapping[str, str] = {
    COMPLETE: "The log says of this replay all that it has to, and nothing contradicts.",
    CONTRADICTORY: "THE LOG CONTRADICTS ITSELF ABOUT THIS REPLAY: what is listed below has to be explained.",
}
UNFINISHED = "Nothing contradicts, but the log does not say everything yet."

CHECK = (
    "Made from entries of the log alone. Each is named by its index and the digest of its statement (SHA-256 of the "
    "JWT, base64url): compare them with the log (GET /v1/studies/{study}/events/{index}) or with an evidence bundle, "
    "which `trial-ledger verify` checks."
)


def text(study: str, found: Mapping[str, Any]) -> str:
    """The certificate for a terminal."""
    parts = [f"Certificate of a replay: {found['projection']} of {study}", headline(found), ""]
    parts += [f"  {name + ':':<22} {plain(value)}" for name, value in facts(found)]
    for title, sentences in (("Contradictions", found["contradictions"]), ("Missing", found["missing"])):
        if sentences:
            parts += ["", f"{title}:", *(f"- {plain(one)}" for one in sentences)]
    parts += ["", "Entries:"]
    for one in entries(found):
        parts += [f"  {plain(one['said'])}", f"    index {one['index']}, digest {one['digest']}, {plain(one['who'])}"]
    return "\n".join([*parts, "", CHECK.replace("{study}", study)])


def html(study: str, found: Mapping[str, Any]) -> str:
    """The certificate as a page."""
    mood = {COMPLETE: "good", CONTRADICTORY: "bad"}.get(found["verdict"], "wait")
    parts = [
        "<h1>Certificate of a replay</h1>",
        f'<p class="lead">{page.text(found["projection"])} of study {page.text(study)}</p>',
        f'<p class="result {mood}" role="status">{page.text(headline(found))}</p>',
        page.facts((name, page.text(value)) for name, value in facts(found)),
    ]
    for title, sentences in (("Contradictions", found["contradictions"]), ("Missing", found["missing"])):
        if sentences:
            parts += [f"<h2>{title}</h2>", page.listed(page.text(one) for one in sentences)]
    lines = [
        (one["index"], one["said"], one["who"], page.Html(f"<code>{page.text(one['digest'])}</code>"))
        for one in entries(found)
    ]
    parts += ["<h2>Entries</h2>", page.table(("Index", "What", "Who, when", "Digest of the statement"), lines)]
    parts.append(f'<p class="note">{page.text(CHECK.replace("{study}", study))}</p>')
    return page.document(f"Certificate: {found['projection']} of {study}", parts)


def headline(found: Mapping[str, Any]) -> str:
    """The verdict in a sentence."""
    return HEADLINES.get(found["verdict"], UNFINISHED)


def facts(found: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What was replayed, compared, approved and what answers."""
    yield "Replay", found["replay"]
    yield "From", _version(found["from"])
    yield "To", _version(found["to"])
    compared = found["compared"]
    if compared is not None:
        digests = compared["digests"] if isinstance(compared["digests"], dict) else {}
        counts = compared["differences"] if isinstance(compared["differences"], dict) else {}
        yield "Compared at size", f"{compared['size']}, ledger root {compared['root']}"
        yield "State digest before", str(digests.get("before"))
        yield "State digest after", str(digests.get("after"))
        yield "Differences", ", ".join(f"{count} {name}" for name, count in counts.items()) or "not stated"
        yield "Report digest", str(compared["report_digest"])
    approval = found["approval"]
    yield "Approved", _nobody(compared) if approval is None else _approval(approval)
    yield "Answers by the log", "not told" if found["answers"] is None else _version(found["answers"])
    yield "Log read up to size", f"{found['as_of']['size']}, root {found['as_of']['root']}"


def entries(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries that the certificate rests on, in order: index, digest, what was said, by whom and when."""
    told = [_told(one, _step(one)) for one in found["steps"]]
    approval = found["approval"]
    if approval is not None:
        told.append(_told(approval, f"approval of report {approval['report_digest']}"))
    for one in found["passed_over"]:
        what = "passes over" if one["event"] == "EventSkipped" else "takes in again"
        told.append(_told(one, f"the projection {what} index {one['about']}: {one['reason'] or '[redacted]'}"))
    return sorted(told, key=lambda one: one["index"])


def _step(step: Mapping[str, Any]) -> str:
    return f"{step.get('step')} by {step.get('by')}: {step.get('reason') or 'no reason given'}"


def _told(entry: Mapping[str, Any], said: str) -> dict[str, Any]:
    standing = "" if entry["standing"] == "stands" else f" ({entry['standing']})"
    who = f"{entry['actor']} ({entry['role']}) at {entry['recorded_at']}"
    return {"index": entry["index"], "digest": entry["digest"], "said": f"{said}{standing}", "who": who}


def _version(side: Any) -> str:
    if not isinstance(side, dict):
        return "nothing"
    return f"version {side.get('version')}, fingerprint {side.get('fingerprint')}, schema {side.get('schema')}"


def _nobody(compared: Mapping[str, Any] | None) -> str:
    counts = compared["differences"] if compared is not None else None
    explained = isinstance(counts, dict) and counts.get("unexplained") == 0
    return "not needed: nothing is unexplained" if explained else "by nobody"


def _approval(approval: Mapping[str, Any]) -> str:
    name = approval["printed_name"] or ("[redacted]" if "printed_name" in approval["redacted"] else "name not stated")
    reason = approval["reason"] or "[redacted]"
    meaning = approval["meaning"] or "none: no electronic signature"
    return (
        f"{name}, {approval['actor']} ({approval['role']}), meaning {meaning}, "
        f"signed {approval['signed_at'] or 'at a time not stated'}, index {approval['index']}: {reason}"
    )
