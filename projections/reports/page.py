"""Pages of replays as files: self-contained, nothing loaded, nothing run, everything escaped; they print on paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from ledger.verify.report import plain

STYLE = """
body { font: 15px/1.45 sans-serif; color: #1a1a1a; max-width: 72em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em; margin-bottom: .2em } h2 { font-size: 1.15em; margin: 1.8em 0 .4em }
h3 { font-size: 1em; margin: 1em 0 .2em }
p.lead { font-size: 1.05em; margin: .2em 0 1em }
table { border-collapse: collapse; width: 100%; margin: .4em 0 }
caption { text-align: left; color: #444; padding: .2em 0 }
th, td { text-align: left; vertical-align: top; padding: .3em .9em .3em 0; border-bottom: 1px solid #ddd }
thead th { border-bottom: 2px solid #888 }
td, li { overflow-wrap: break-word } code { overflow-wrap: anywhere } td.n, th.n { text-align: right }
.verdict { white-space: nowrap }
code { font: 13px/1.4 monospace }
table.facts { width: auto } table.facts th { font-weight: normal; color: #444; white-space: nowrap }
.result { border: 2px solid; padding: .6em 1em; font-weight: bold }
.good { color: #14532d } .bad { color: #991b1b } .wait { color: #7c4a03 }
.note { border-left: 4px solid #7c4a03; padding-left: .8em }
.absent { color: #555; font-style: italic }
@media print { body { margin: 0; max-width: none; font-size: 11px } thead { display: table-header-group }
  tr, section { break-inside: avoid } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page; `parts` are HTML."""
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body><main>"
    )
    return "\n".join([head, *parts, "</main></body></html>", ""])


def text(value: object) -> str:
    """Any text, escaped, control characters made visible."""
    return escape(plain(value))


def code(value: str | None) -> str:
    """A value as it is written, or that there is none."""
    return '<span class="absent">absent</span>' if value is None else f"<code>{text(value)}</code>"


def facts(named: Iterable[tuple[str, str]]) -> str:
    """A table of names and values; the values are HTML."""
    rows = "".join(f"<tr><th scope=row>{text(name)}<td>{value}" for name, value in named)
    return f'<table class="facts">{rows}</table>'


def table(names: Sequence[str], lines: Iterable[Sequence[Any]], caption: str = "") -> str:
    """A table; cells that are `Html` stand as they are, numbers to the right."""
    rows = [list(line) for line in lines]
    number = [bool(rows) and all(isinstance(row[place], int) for row in rows) for place in range(len(names))]
    heads = "".join(f"<th scope=col{_turned(turned)}>{text(name)}" for name, turned in zip(names, number, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{_turned(turned)}>{_cell(cell)}" for cell, turned in zip(row, number, strict=True))
        for row in rows
    )
    told = f"<caption>{text(caption)}</caption>" if caption else ""
    return f"<table>{told}<thead><tr>{heads}</thead><tbody>{body}</tbody></table>"


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


def _turned(right: bool) -> str:
    return ' class="n"' if right else ""


def _cell(cell: Any) -> str:
    if isinstance(cell, Html):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else text("" if cell is None else cell)


def listed(items: Iterable[str]) -> str:
    """A list; the items are HTML."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"
