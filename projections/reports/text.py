"""A comparison in words, for a terminal; pure. Control characters of values are made visible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ledger.verify.report import plain
from projections.engine.difference import Difference
from projections.reports.comparison import Compared, Side, next_steps
from projections.reports.provenance import Step
from projections.reports.stories import Story

SUBJECTS_SHOWN = 20
"""Subjects that a terminal shows: those with most that is unexplained."""

VALUE_SHOWN = 100
"""Characters of a value that a terminal shows."""

ABSENT = "(absent)"


def told(found: Compared) -> str:
    """What was compared, what differs by column, site and subject, first examples, what to do next."""
    report = found.report
    parts = [
        f"{found.name} of {found.study}: {version(found.before)} against {version(found.after)}",
        f"compared at size {report['size']:,}, ledger root {report['root']}, {report['redactions']:,} redactions",
        f"state digests: before {report['before']['digest']}, after {report['after']['digest']}",
        f"replay {found.replay}: {found.state}; report digest {found.digest}",
        "",
        headline(found),
    ]
    if found.total:
        parts += ["", *table(*columns(found)), "", *table(*sites(found)), "", *table(*subjects(found, SUBJECTS_SHOWN))]
    if found.shown:
        parts += ["", f"The first {len(found.shown):,} of {found.kept:,} differences:"]
        parts += [f"  {example(found, one)}" for one in found.shown]
    if missing := left_out(found):
        parts += ["", missing]
    parts += ["", "Next:" if next_steps(found) else "", *(f"- {step}" for step in next_steps(found))]
    return "\n".join(parts).rstrip()


def version(side: Side) -> str:
    """A version with the beginning of its fingerprint, and which of its builds it is where it was built again."""
    again = f", build {side.generation}" if side.generation else ""
    return f"version {side.version} ({side.fingerprint[:8]}{again})"


def headline(found: Compared) -> str:
    """How much changed, in a sentence or two."""
    counts = found.counts
    if not found.total:
        return "Nothing differs."
    rows = ", ".join(f"{counts[kind]:,} rows {kind}" for kind in ("added", "removed", "changed"))
    said = "All of it is declared." if not counts["unexplained"] else f"{counts['unexplained']:,} UNEXPLAINED."
    return f"{rows}, in {counts['partitions']:,} partitions: {counts['intended']:,} differences intended. {said}"


def columns(found: Compared) -> tuple[list[str], list[list[Any]]]:
    """What differs by table and column, and why; the unexplained ones first."""
    lines = [
        [one["table"], one["column"] or "(whole row)", one["kind"], verdict(one["intended"]), one["why"], one["count"]]
        for one in found.report["columns"]
    ]
    return ["Table", "Column", "Kind", "Verdict", "Why", "Count"], lines


def sites(found: Compared) -> tuple[list[str], list[list[Any]]]:
    """What differs by site."""
    lines = [
        [site or "(none)", had["subjects"], had["intended"], had["unexplained"]]
        for site, had in found.report["sites"].items()
    ]
    return ["Site", "Subjects", "Intended", "Unexplained"], lines


def subjects(found: Compared, limit: int) -> tuple[list[str], list[list[Any]]]:
    """What differs by subject, as many as are shown."""
    listed = found.report["subjects"]
    lines = [[found.subject(one["subject"]), one["intended"], one["unexplained"]] for one in listed[:limit]]
    more = max(0, len(listed) - limit) + found.report["subjects_not_listed"]
    if more:
        lines.append([f"and {more:,} more", "", ""])
    return ["Subject", "Intended", "Unexplained"], lines


def left_out(found: Compared) -> str:
    """That not all differences that were found are there any more; empty where they are."""
    if found.only is not None or found.kept >= found.total:
        return ""
    return (
        f"Of {found.total:,} differences that were found {found.kept:,} are kept: what concerned a redaction went with "
        "it, and all go when the version is retired. The counts are those of the comparison."
    )


def example(found: Compared, one: Difference) -> str:
    """One difference in a line."""
    where = f"{found.subject(one.partition)}, {one.table} {one.key}"
    if not one.column:
        return f"{verdict(one.intended)}: {plain(where)}: row {one.kind} ({one.why})"
    expected = f", expected {short(one.expected)}" if one.expected is not None else ""
    change = f"{short(one.before)} -> {short(one.after)}{expected}"
    return f"{verdict(one.intended)}: {plain(where)}: {plain(one.path)} {change} ({one.why})"


def drilled(found: Compared, told: Sequence[Story]) -> str:
    """The differing rows of one subject, and the events behind them."""
    assert found.only is not None
    versions = f"{version(found.before)} against {version(found.after)}"
    parts = [f"{found.name} of {found.study}, {plain(found.subject(found.only))}: {versions}"]
    if not told:
        parts += ["", "Nothing differs here, or it is not kept any more."]
    for story in told:
        parts += ["", f"{story.table} {plain(story.key)}", *_story(found, story)]
    return "\n".join(parts)


def _story(found: Compared, story: Story) -> Iterable[str]:
    halves = ((found.before, story.before), (found.after, story.after))
    for one in story.differences:
        change = (
            f"row {one.kind}" if not one.column else f"{plain(one.path)}: {short(one.before)} -> {short(one.after)}"
        )
        expected = f", expected {short(one.expected)}" if one.expected is not None else ""
        yield f"  {verdict(one.intended)}: {change}{expected} ({one.why})"
        for side, half in halves:
            if half.because and (step := half.because.get(one.path)) is not None:
                yield f"    in version {side.version} since {event(step)}"
    for side, half in halves:
        yield f"  row in version {side.version}: {ABSENT if half.row is None else plain(half.row)}"
        if half.note:
            yield f"    note: {half.note}"
        for step in half.steps:
            yield f"    {event(step)}: {', '.join(plain(change.path) for change in step.changes)}"


def event(step: Step) -> str:
    """An event in words: index, name, who, when."""
    return plain(f"index {step.index} {step.event} by {step.actor} ({step.role}) at {step.recorded_at}")


def short(value: str | None) -> str:
    """A value as a terminal shows it: cut, and with nothing that moves the cursor."""
    if value is None:
        return ABSENT
    return plain(value if len(value) <= VALUE_SHOWN else f"{value[:VALUE_SHOWN]}... ({len(value):,} characters)")


def table(names: Sequence[str], lines: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a table: texts to the left, numbers to the right."""
    given = list(lines)
    cells = [[f"{cell:,}" if isinstance(cell, int) else plain(cell) for cell in line] for line in given]
    widths = [max(len(name), *(len(line[place]) for line in cells)) for place, name in enumerate(names)]
    right = [all(isinstance(line[place], int) or line[place] == "" for line in given) for place in range(len(names))]
    return [_line(line, widths, right) for line in (list(names), *cells)]


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if turned else cell.ljust(width)
        for cell, width, turned in zip(cells, widths, right, strict=True)
    )
    return f"  {'  '.join(padded)}".rstrip()


def verdict(intended: bool) -> str:
    return "intended" if intended else "UNEXPLAINED"
