"""The command: `verify BUNDLE`, for the project's command line and for the single file alike.

Report on standard output, talk and progress on standard error. Exit status 0 verified, 1 not verified, 2 could
not decide, 64 wrong usage.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NoReturn, TextIO

from ledger.merkle.policy import Policy
from ledger.verify import html, rfc3161, standalone
from ledger.verify.attached import Logged, Timestamps, ViewFinding, Views
from ledger.verify.bundle import Bundle, open_bundle
from ledger.verify.procedure import verify
from ledger.verify.receipt import ReceiptFinding, check_receipt
from ledger.verify.report import CHECKS, UNDECIDED, WRONG_USAGE, VerificationReport
from ledger.verify.zipform import Refused, Unreadable

PLAIN_SECONDS = 10.0
"""How often a line of progress is written where no terminal can redraw one."""

TERMINAL_SECONDS = 0.2
"""How often the line is redrawn on a terminal."""

LINE_WIDTH = 79
"""Characters of the line that is redrawn: the longest has some 75."""

WORKERS_LIMIT = 512
"""Processes; more is a slip of the pen."""

_SPAN = re.compile(r"([1-9][0-9]{0,8})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Usage(Exception):
    """The command was not called as it can be; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked."""

    bundle: Path
    policy: Path | None = None
    as_json: bool = False
    html: Path | None = None
    require: tuple[str, ...] = ()
    workers: int | None = None
    fresh_within: int | None = None
    tsa: tuple[Path, ...] = ()


def run(options: Options, views: Views | None = None) -> int:
    """Verify, write the report, return the exit status."""
    try:
        policy = None if options.policy is None else Policy.parse(options.policy.read_bytes())
        timestamps = _timestamps(options.tsa)
    except (OSError, ValueError) as wrong:
        return _give(options, _undecided(options, f"what to trust cannot be read: {_reason(wrong)}"))
    progress = Progress(sys.stderr)
    try:
        with open_bundle(options.bundle) as bundle:
            report = verify(
                bundle,
                policy,
                now=int(time.time()),
                views=None if views is None else progress.over(views),
                timestamps=timestamps,
                progress=progress,
                workers=options.workers,
                fresh_within=options.fresh_within,
            )
    except Unreadable as wrong:
        report = _undecided(options, str(wrong))
    except Refused as wrong:
        report = VerificationReport(facts={"bundle": str(options.bundle)}, refused=str(wrong))
    except Exception as fault:  # the last fence: a fault of ours must never look like a result
        report = _undecided(options, f"the verifier itself failed, which is a fault to be reported ({fault!r})")
    finally:
        progress.end()
    return _give(options, report)


def run_receipt(receipt: Path, policy: Path | None) -> int:
    """Check a single receipt against the policy that the caller holds; print the finding, return the exit status."""
    if policy is None:
        raise Usage("--receipt needs --policy: a receipt does not say whose signatures count")
    try:
        found = check_receipt(receipt.read_bytes(), Policy.parse(policy.read_bytes()))
    except (OSError, ValueError) as wrong:
        found = ReceiptFinding(UNDECIDED, (f"COULD NOT DECIDE: {_reason(wrong)}.",))
    _print(found.text())
    return found.status


def _timestamps(files: Sequence[Path]) -> Timestamps | None:
    if not files:
        return None
    return rfc3161.reader([one for file in files for one in rfc3161.certificates(file.read_bytes())])


def _reason(wrong: Exception) -> str:
    if isinstance(wrong, OSError):
        return f"{wrong.filename}: {wrong.strerror}"
    return str(wrong)


def _undecided(options: Options, because: str) -> VerificationReport:
    return VerificationReport(facts={"bundle": str(options.bundle)}, refused=because, unreadable=True)


def _give(options: Options, report: VerificationReport) -> int:
    status = report.exit_status(options.require)
    if options.html is not None:
        try:
            options.html.write_text(html.page(report), encoding="utf-8")
        except OSError as wrong:
            sys.stderr.write(f"The page could not be written: {_reason(wrong)}\n")
            status = status or UNDECIDED
    text = report.json() + "\n" if options.as_json else report.text()
    _print(text)
    open_ = [number for number in options.require if report[number].outcome == "undecided"]
    if open_ and status == UNDECIDED:
        sys.stderr.write(f"Required and not decided: {', '.join(open_)}\n")
    return status


def _print(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


class Progress:
    """How far it is, on standard error: redrawn on a terminal, a line now and then elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._terminal = out, out.isatty()
        self._began = self._last = time.monotonic()
        self._drawn = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._due(now):
            return
        left = (now - self._began) / done * (total - done) if done else 0.0
        self._draw(now, f"{100 * done // total:3d} % checked, about {left:.0f} s left")

    def over(self, views: Views) -> Views:
        """The same recomputing of views (V8), telling how far each of its readings of the entries is."""
        readings = count(1)

        def told(bundle: Bundle, entries: Callable[[int], Iterator[Logged]]) -> Iterable[ViewFinding]:
            return views(bundle, lambda size: self._reading(entries(size), size, next(readings)))

        return told

    def _reading(self, entries: Iterator[Logged], size: int, number: int) -> Iterator[Logged]:
        for entry in entries:
            now = time.monotonic()
            if self._due(now):
                self._draw(now, f"recomputing the views (V8), reading {number}: {entry.index:,} of {size:,} entries")
            yield entry

    def _due(self, now: float) -> bool:
        return now - self._last >= (TERMINAL_SECONDS if self._terminal else PLAIN_SECONDS)

    def _draw(self, now: float, line: str) -> None:
        self._last = now
        self._out.write(f"\r{line:<{LINE_WIDTH}}" if self._terminal else f"{line}\n")
        self._out.flush()
        self._drawn = True

    def end(self) -> None:
        """Take the line away."""
        if self._drawn and self._terminal:
            self._out.write("\r" + " " * LINE_WIDTH + "\r")
            self._out.flush()


def required(text: str | None) -> tuple[str, ...]:
    """`V8,V9` as numbers; `Usage` for anything else."""
    found = tuple(part.strip().upper() for part in (text or "").split(",") if part.strip())
    strange = [number for number in found if number not in CHECKS]
    if strange:
        raise Usage(f"--require takes numbers of checks, such as V8,V9; {strange[0]!r} is none")
    return found


def seconds(text: str | None) -> int | None:
    """`24h`, `90m`, `7d` or seconds; `Usage` for anything else."""
    if text is None:
        return None
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise Usage(f"--fresh-within takes a span such as 24h, 90m or 7d, not {text!r}")
    return int(found[1]) * _UNITS[found[2]]


def workers(number: int | None) -> int | None:
    """A number of processes; `Usage` when it is none."""
    if number is not None and not 1 <= number <= WORKERS_LIMIT:
        raise Usage(f"--workers takes a number from 1 to {WORKERS_LIMIT}")
    return number


def make_standalone(path: Path) -> int:
    """Write the single-file verifier, and print its SHA-256."""
    try:
        digest = standalone.write(path)
    except OSError as wrong:
        sys.stderr.write(f"The verifier could not be written: {_reason(wrong)}\n")
        return UNDECIDED
    sys.stdout.write(f"{digest}  {path}\n")
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        sys.stderr.write(f"{message}\n")
        sys.exit(WRONG_USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of the single file; wrong usage ends the process with 64."""
    parser = _Parser(prog="verify", description="Verify an evidence bundle offline.", allow_abbrev=False)
    parser.add_argument("bundle", type=Path, nargs="?", help="the evidence bundle, a zip file")
    parser.add_argument(
        "--policy", type=Path, help="the trust policy that you hold; without it the bundle's own is used"
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page, too")
    parser.add_argument("--require", metavar="V8,V9", help="checks that must be decided, or the exit status is 2")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; by default one a core")
    parser.add_argument("--fresh-within", metavar="24h", help="how old cosignatures of the newest checkpoint may be")
    parser.add_argument(
        "--tsa", type=Path, action="append", default=[], metavar="FILE", help="trusted timestamping CA, PEM"
    )
    parser.add_argument(
        "--make-standalone", type=Path, metavar="FILE", help="write this verifier as a single file, and end"
    )
    parser.add_argument("--receipt", type=Path, metavar="FILE", help="check a single receipt against --policy, and end")
    given = parser.parse_args(arguments)
    if given.make_standalone is not None:
        return make_standalone(given.make_standalone)
    if given.bundle is None and given.receipt is None:
        parser.error("name the bundle to verify")
    try:
        if given.receipt is not None:
            return run_receipt(given.receipt, given.policy)
        options = Options(
            given.bundle,
            given.policy,
            given.json,
            given.html,
            required(given.require),
            workers(given.workers),
            seconds(given.fresh_within),
            tuple(given.tsa),
        )
    except Usage as wrong:
        parser.error(str(wrong))
    return run(options)
