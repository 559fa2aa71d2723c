"""The page at `/`: what runs here and where to look. The review pages of an inspector grow from it."""

from __future__ import annotations

from html import escape

from ledger.application import Ledger

_VIEWS = (
    ("subjects", "Subjects"),
    ("cohorts", "Cohorts and dose levels"),
    ("schedule", "Schedule: planned against actual"),
    ("safety", "Safety"),
    ("outcomes", "Outcomes"),
    ("audit-trail", "Audit trail"),
    ("audit-trail?format=csv", "Audit trail as CSV"),
    ("findings", "Findings"),
    ("refusals", "Refused statements"),
    ("redactions", "Redactions"),
    ("protocol", "Protocol"),
    ("events", "Entries of the log"),
    ("catalogue", "Catalogue of events"),
)


def home_page(ledger: Ledger) -> str:
    """The page as HTML; the same as GET /v1/studies for machines."""
    studies = "".join(_study(ledger, study) for study in ledger.studies()) or "<p>No study has been opened yet.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Trial ledger</title></head><body>'
        f"<h1>Trial ledger</h1><p>{escape(ledger.host)}</p>{studies}"
        '<p><a href="/openapi.json">Interface description (OpenAPI)</a> · '
        '<a href="/health/ledger">State of the logs</a></p></body></html>'
    )


def _study(ledger: Ledger, study: str) -> str:
    name = escape(study)
    links = "".join(f'<li><a href="/v1/studies/{name}/{path}">{escape(text)}</a></li>' for path, text in _VIEWS)
    return (
        f'<h2><a href="/v1/studies/{name}">{name}</a></h2><ul>{links}'
        f'<li><a href="/study/{name}/checkpoint">Newest checkpoint</a></li></ul>'
    )
