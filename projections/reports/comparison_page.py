"""A comparison as a page, for whoever has to answer for it; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from projections.engine.difference import Difference
from projections.reports import page, text
from projections.reports.comparison import Compared, next_steps
from projections.reports.page import Html
from projections.reports.stories import Story

SUBJECTS_SHOWN = 200
"""Subjects that a page shows: those with most that is unexplained."""

UNEXPLAINED = '<strong class="bad verdict">unexplained</strong>'


def html(found: Compared) -> str:
    """The whole page."""
    report, counts = found.report, found.counts
    mood = "bad" if counts["unexplained"] else "good"
    parts = [
        f"<h1>What differs between two versions of {page.text(found.name)}</h1>",
        f'<p class="lead">Study {page.text(found.study)}: {page.text(text.version(found.before))} against '
        f"{page.text(text.version(found.after))}</p>",
        f'<p class="result {mood}" role="status">{page.text(text.headline(found))}</p>',
        page.facts(
            [
                ("Compared at size", f"{report['size']:,}"),
                ("Ledger root at this size", page.code(report["root"])),
                ("Redactions taken in", f"{report['redactions']:,}"),
                ("State digest before", page.code(report["before"]["digest"])),
                ("State digest after", page.code(report["after"]["digest"])),
                ("Rows before and after", f"{report['before']['rows']:,} and {report['after']['rows']:,}"),
                ("Replay", f"{page.code(str(found.replay))}, {page.text(found.state)}"),
                ("Report digest", f"{page.code(found.digest)}: this is what an approval names"),
                ("Digest of all differences", page.code(report["differences_digest"])),
            ]
        ),
    ]
    if found.total:
        parts += [
            "<h2>By column</h2>",
            "<p>Intended is what the new version declares: new and dropped tables and columns, what its normaliser "
            "says, what it calls free to change. Unexplained is everything else.</p>",
            page.table(*text.columns(found)),
            "<h2>By site</h2>",
            page.table(*text.sites(found)),
            "<h2>By subject</h2>",
            page.table(*text.subjects(found, SUBJECTS_SHOWN)),
        ]
    if found.shown:
        caption = f"{len(found.shown):,} of {found.kept:,} differences, the unexplained ones first"
        expected = _expected(found.shown)
        lines = (_row(found, one, expected) for one in found.shown)
        parts += ["<h2>Differences</h2>", page.table(_names(expected), lines, caption)]
    if missing := text.left_out(found):
        parts.append(f'<p class="note">{page.text(missing)}</p>')
    if steps := next_steps(found):
        parts += ["<h2>Next</h2>", page.listed(page.text(step) for step in steps)]
    return page.document(f"{found.name} of {found.study}: what differs", parts)


def drilled(found: Compared, told: Sequence[Story]) -> str:
    """The differing rows of one subject, and the events behind them."""
    assert found.only is not None
    name = found.subject(found.only)
    parts = [
        f"<h1>{page.text(name)}: what differs in {page.text(found.name)}</h1>",
        f'<p class="lead">Study {page.text(found.study)}: {page.text(text.version(found.before))} against '
        f"{page.text(text.version(found.after))}</p>",
    ]
    if not told:
        parts.append('<p class="note">Nothing differs here, or it is not kept any more.</p>')
    for story in told:
        parts += [
            f"<section><h2>{page.text(story.table)} <code>{page.text(story.key)}</code></h2>",
            *_story(found, story),
        ]
        parts.append("</section>")
    return page.document(f"{found.name} of {found.study}: {name}", parts)


def _story(found: Compared, story: Story) -> Iterable[str]:
    halves = ((found.before, story.before), (found.after, story.after))
    since = (f"Since, in version {side.version}" for side, _ in halves)
    expected = _expected(story.differences)
    lines = []
    for one in story.differences:
        because = (half.because.get(one.path) if half.because else None for _, half in halves)
        events = ("" if step is None else text.event(step) for step in because)
        lines.append((*_row(found, one, expected)[2:], *events))
    yield page.table((*_names(expected)[2:], *since), lines)
    rows = [json.loads(half.row) if half.row is not None else {} for _, half in halves]
    columns = dict.fromkeys([*rows[0], *rows[1]])
    cells = [(column, *(Html(page.code(_value(row, column))) for row in rows)) for column in columns]
    yield page.table(("The row", *(f"in version {side.version}" for side, _ in halves)), cells)
    for side, half in halves:
        if half.note:
            yield f'<p class="note">Version {side.version}: {page.text(half.note)}</p>'
        if half.steps:
            steps = ((text.event(step), ", ".join(one.path for one in step.changes)) for step in half.steps)
            yield f"<h3>How it came to be in version {side.version}</h3>"
            yield page.table(("Event", "Changed"), steps)


def _value(row: Mapping[str, Any], column: str) -> str | None:
    """A value of a row: texts as they are, everything else as JSON."""
    if column not in row:
        return None
    value = row[column]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _expected(differences: Iterable[Difference]) -> bool:
    return any(one.expected is not None for one in differences)


def _names(expected: bool) -> tuple[str, ...]:
    more = ("Expected",) if expected else ()
    return ("Subject", "Row", "Where", "Before", "After", *more, "Verdict", "Why")


def _row(found: Compared, one: Difference, expected: bool) -> tuple[object, ...]:
    said = '<span class="good verdict">intended</span>' if one.intended else UNEXPLAINED
    more = (Html("" if one.expected is None else page.code(one.expected)),) if expected else ()
    return (
        found.subject(one.partition),
        Html(f"{page.text(one.table)} <code>{page.text(one.key)}</code>"),
        one.path or f"row {one.kind}",
        Html(page.code(one.before)),
        Html(page.code(one.after)),
        *more,
        Html(said),
        one.why,
    )
