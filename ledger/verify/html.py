"""The report as one self-contained page: nothing loaded, nothing run, everything escaped; prints on paper."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ledger.merkle.note import told
from ledger.verify.report import CHECKS, Check, VerificationReport, plain

_STYLE = """
body { font: 15px/1.45 sans-serif; color: #1a1a1a; max-width: 60em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 1.6em 0 .3em }
table { border-collapse: collapse } th, td { text-align: left; vertical-align: top; padding: .2em 1em .2em 0 }
td, li, code { overflow-wrap: anywhere }
.result { border: 2px solid; padding: .6em 1em; font-weight: bold }
.passed { color: #14532d } .failed { color: #991b1b } .undecided { color: #7c4a03 }
.warning { border-left: 4px solid #7c4a03; padding-left: .8em }
@media print { body { margin: 0; max-width: none } section { break-inside: avoid } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_WORDS = {"passed": "verified", "failed": "not verified", "undecided": "could not decide"}


def page(report: VerificationReport) -> str:
    """The whole page as a string of HTML."""
    outcome = report.outcome
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>Evidence {_WORDS[outcome]}</title><style>{_STYLE}</style></head><body><main>",
        "<h1>Verification of an evidence bundle</h1>",
        f'<p class="result {outcome}" role="status">{_text(report.headline())}</p>',
        "<table>",
        *(f"<tr><th scope=row>{_text(_label(name))}<td>{_text(value)}" for name, value in report.facts.items()),
        "</table>",
        *(f'<p class="warning">{_text(warning)}</p>' for warning in report.warnings),
    ]
    if report.policy_keys:
        parts += ["<h2>Keys to compare</h2>", _list(f"<code>{_text(told(key))}</code>" for key in report.policy_keys)]
    if report.refused is None:
        parts += [part for check in report.checks.values() for part in _check(check)]
    return "\n".join([*parts, "</main></body></html>", ""])


def _check(check: Check) -> Iterable[str]:
    yield f'<section><h2>{check.number} {_text(check.name)}: <span class="{check.outcome}">{check.outcome}</span></h2>'
    yield f"<p>Checked: {_text(CHECKS[check.number][1])}.</p>"
    if check.said:
        yield _list(map(_text, check.said))
    if check.failed_count:
        first = "" if check.first_bad_index is None else f" First bad entry: index {check.first_bad_index}."
        yield f'<p class="failed">This means: {_text(CHECKS[check.number][2])}.{first}</p>'
        more = check.failed_count - len(check.failures)
        items = [*map(_text, check.failures), *([f"and {more} more"] if more > 0 else [])]
        yield _list(items)
    if check.undecided_because is not None:
        yield f'<p class="undecided">Not decided: {_text(check.undecided_because)}.</p>'
    if check.notes:
        yield _list(f"Note: {_text(note)}" for note in check.notes)
    yield "</section>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _text(value: object) -> str:
    return escape(plain(value))


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()
