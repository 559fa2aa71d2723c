"""The verification procedure, V1 to V9, over a bundle: what is done in which order, and what it adds up to.

 1. the newest checkpoint is read; nothing of it is believed yet
 2. every entry bundle is looked at (`entries.py`, all cores) and folded in order (`rights.py`): V2, V4, forms of V5
 3. every signature, with the keys now known, and every published checkpoint (`signatures.py`, all cores): V3, V5
 4. what stands on the whole: the root, states that decisions name, times, redactions, the manifest, V1, V8, V9
Checks are numbered in `report.py`. Failing one does not keep the others from being made, unless entries cannot
even be read: from there on nothing later is decided. Memory: some 200 bytes an entry, and a few entry bundles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.merkle.policy import NO_QUORUM, Policy
from ledger.merkle.tiles import WIDTH, parse_bundle
from ledger.merkle.tree import split_entry
from ledger.signing.encoding import read_json, unb64url
from ledger.signing.errors import Malformed
from ledger.verify import attached
from ledger.verify.attached import Timestamps, Views
from ledger.verify.bundle import POLICY, Bundle, log_path
from ledger.verify.checkpoints import (
    COSIGNATURE_LEEWAY_SECONDS,
    Newest,
    PublishedList,
    Tree,
    check_extra_disclosures,
    check_extra_tiles,
    check_newest,
    read_newest,
)
from ledger.verify.crew import Crew
from ledger.verify.disclosures import Missing
from ledger.verify.entries import ACTS, Part, examine
from ledger.verify.known import KNOWN
from ledger.verify.manifest import WithheldList, check_manifest
from ledger.verify.report import SHOWN, Check, VerificationReport, listed
from ledger.verify.rights import MICROSECONDS, Rights
from ledger.verify.signatures import Answer, Task, verify_signatures

Progress = Callable[[int, int], None]
"""(done, all) in steps of one entry in one pass; called in this process, never more than once an entry bundle."""

_STATES_LIMIT = 2_000_000
"""Cuts and seen states compared: one an entry in a log of two million."""


def verify(
    bundle: Bundle,
    policy: Policy | None,
    *,
    now: int,
    views: Views | None = None,
    timestamps: Timestamps | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    fresh_within: int | None = None,
) -> VerificationReport:
    """Verify a bundle against a policy, or (None) against the policy in it, which nobody outside vouched for.

    `now`: POSIX seconds by this machine's clock, for ages only. `views` recomputes projections (V8),
    `timestamps` reads RFC 3161 tokens (V9); without them these are undecided. `workers`: processes, by default
    one a core. `fresh_within`: seconds that a cosignature may be old. `Unreadable` when the file gives way.
    """
    report = VerificationReport()
    report.facts["bundle"] = bundle.path
    try:
        newest = read_newest(bundle)
    except ValueError as wrong:
        report["V1"].fail(f"there is no checkpoint to start from: {wrong}")
        for number in ("V2", "V3", "V4", "V5", "V6", "V7", "V8", "V9"):
            report[number].undecided("there is no checkpoint to start from")
        return report
    run = _Run(report, bundle, newest, progress)
    trusted = run.policy(policy)
    with Crew(bundle, (newest.checkpoint.size + WIDTH - 1) // WIDTH, workers) as crew:
        run.entries(crew)
        run.signatures(crew, trusted)
    run.conclude(trusted, now, fresh_within, views, timestamps)
    return report


@dataclass(slots=True)
class _Run:
    """One verification under way."""

    report: VerificationReport
    bundle: Bundle
    newest: Newest
    progress: Progress | None
    rights: Rights = field(init=False)
    missing: Missing = field(init=False)
    tree: Tree = field(default_factory=Tree)
    digests: dict[str, tuple[str, bool]] = field(default_factory=dict)
    states: list[tuple[int, str, int, str, int]] = field(default_factory=list)
    late: list[tuple[int, str]] = field(default_factory=list)
    late_count: int = 0
    kids: list[tuple[str, ...]] = field(default_factory=list)
    times: list[tuple[int, str, int]] = field(default_factory=list)
    published: set[int] = field(default_factory=set)
    verified: int = 0
    done: int = 0
    last_fitting: int = 0
    first_misfit: int | None = None
    withheld: WithheldList = field(init=False)
    complete: bool = True
    others: dict[str, int] = field(default_factory=dict)
    strange: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checkpoint = self.newest.checkpoint
        self.rights = Rights(self.report, checkpoint.origin)
        self.withheld = WithheldList(self.bundle, self.report["V7"], checkpoint.size)
        self.missing = Missing(self.report["V7"])

    # -- 2 --------------------------------------------------------------------------------------------------

    def entries(self, crew: Crew) -> None:
        """The first pass: every entry bundle looked at, hashed and folded, in order."""
        size = self.newest.checkpoint.size
        simulated = _simulated(self.bundle, size)
        tasks = ((n, min(WIDTH, size - n * WIDTH), simulated, self.withheld.of(n)) for n in range(-(-size // WIDTH)))
        for part in crew.run(examine, tasks):
            if part.broken is not None:
                self._broken(part)
                return
            self._take(part)

    def _broken(self, part: Part) -> None:
        """Entries that cannot be read: what comes later may rest on them, so it stays undecided."""
        self.complete = False
        first = part.n * WIDTH
        self.report["V2"].fail(part.broken or "", first)
        for number in ("V3", "V4", "V5", "V6", "V7"):
            self.report[number].undecided(f"the entries from index {first} on cannot be read")

    def _take(self, part: Part) -> None:
        for number, index, because in part.problems:
            self.report[number].fail(because, index)
        self.tree.add(part.count, part.root, part.leaves)
        self.rights.take(part)
        self.missing.take(part)
        self.digests |= part.members
        for about, index in part.others.items():
            self.others.setdefault(about, index)
        for named, (index, count) in part.strange.items():
            first, before = self.strange.get(named, (index, 0))
            self.strange[named] = (first, before + count)
        self.states += part.states
        if len(self.states) > _STATES_LIMIT:
            del self.states[_STATES_LIMIT:]
            self.report["V5"].undecided(f"more than {_STATES_LIMIT} statements name a state: the rest is not compared")
        self.late += part.late[: max(0, SHOWN - len(self.late))]
        self.late_count += len(part.late)
        self.kids.append(tuple({who[0] for who in part.people}))
        self._progress(part.count)

    def _progress(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, 2 * self.newest.checkpoint.size)

    # -- 3 --------------------------------------------------------------------------------------------------

    def signatures(self, crew: Crew, policy: Policy | None) -> None:
        """The second pass: signatures, published checkpoints, and the roots that decisions name."""
        witnesses = tuple(str(witness.key) for witness in policy.witnesses.values()) if policy else ()
        published = PublishedList(self.bundle, self.report["V3"], self.newest, self.rights.authority)
        roots: dict[int, bytes] = {}
        tasks = ((self.newest.checkpoint.origin, witnesses, task) for task in self._tasks(published))
        for answer in crew.run(verify_signatures, tasks):
            self._answer(answer, roots)
        if self.complete:
            published.finish()
            self.rights.stated(self.states, roots)
        self.states.clear()
        check = self.report["V3"]
        if self.first_misfit is not None:
            first = self.first_misfit
            check.fail(
                f"the checkpoint published at {first} entries has another root than these entries: what was changed "
                f"lies between the indexes {self.last_fitting} and {first - 1}",
                self.last_fitting,
            )
        check.say(f"{published.count} published checkpoints were compared with the root at their size")

    def _tasks(self, published: PublishedList) -> Iterator[Task]:
        size = self.tree.size
        sizes: dict[int, set[int]] = {}
        for _, _, wanted, _, _ in self.states:
            if 0 < wanted <= size:
                sizes.setdefault((wanted - 1) // WIDTH, set()).add(wanted)
        keys = {
            key.kid: tuple(sorted((name, str(value)) for name, value in key.jwk.items()))
            for key in self.rights.authority.keys.values()
        }
        for n, peaks in enumerate(self.tree.peaks()):
            mine = {kid: keys[kid] for kid in self.kids[n] if kid in keys}
            wanted_here = tuple(sorted(sizes.get(n, ())))
            yield Task(n, min(WIDTH, size - n * WIDTH), mine, peaks, wanted_here, published.of(n))

    def _answer(self, answer: Answer, roots: dict[int, bytes]) -> None:
        for number, index, because in answer.problems:
            self.report[number].fail(because, index)
        for size, fits in answer.published:
            self.published.add(size)
            if self.first_misfit is None and fits:
                self.last_fitting = size
            elif not fits and self.first_misfit is None:
                self.first_misfit = size
        roots |= answer.roots
        self.times += answer.times
        self.verified += answer.verified
        self._progress(min(WIDTH, self.tree.size - answer.n * WIDTH))

    # -- 4 --------------------------------------------------------------------------------------------------

    def conclude(
        self,
        policy: Policy | None,
        now: int,
        fresh_within: int | None,
        views: Views | None,
        timestamps: Timestamps | None,
    ) -> None:
        """Everything that stands on the whole log."""
        self._facts()
        self._tree()
        if policy is not None and policy.quorum == NO_QUORUM:
            self.report.warnings.append(
                "NO WITNESS STANDS BEHIND THIS STATE: the policy asks for none. Whoever holds the log's keys could "
                "have rewritten or shortened it before it was handed out, and every check would pass. Compare it with "
                "receipts and checkpoints that others hold."
            )
        if policy is not None:
            newest_times = check_newest(
                self.report["V1"], self.newest, policy, self.rights.authority, now, fresh_within
            )
            self.times += [(self.newest.checkpoint.size, name, at) for name, at in newest_times]
        self._statements()
        manifest = check_manifest(
            self.report["V7"],
            self.bundle,
            self.newest.checkpoint,
            self.rights.genesis.get("study"),
            self.rights.ledger_keys() if self.complete else {},
            self.digests,
        )
        self.report.facts |= {name: manifest[name] for name in ("as_of", "subject") if manifest.get(name) is not None}
        stamped = attached.check_timestamps(self.report["V9"], self.bundle, self.published, timestamps)
        self._times([*self.times, *stamped], now)
        if self.complete:
            self.missing.conclude(self.rights, self.bundle, self.withheld)
            self.withheld.check_others(self.others, manifest.get("subject"))
            if self.missing.withheld:
                self.report.warnings.append(self.withheld.warning(self.missing.withheld))
        sound = not {"V2", "V5"} & set(self.report.failed) and self.complete
        attached.check_views(self.report["V8"], self.bundle, views, self.missing.withheld, sound)

    def _facts(self) -> None:
        checkpoint, genesis = self.newest.checkpoint, self.rights.genesis
        facts = self.report.facts
        facts["study"] = genesis.get("study", "unknown")
        facts["origin"], facts["size"], facts["root"] = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
        facts["clock"] = genesis.get("clock", "unknown")
        if self.rights.times:
            facts["recorded_from"], facts["recorded_to"] = (_utc(self.rights.times[at]) for at in (0, -1))
        if self.rights.simulated:
            self.report.warnings.append(
                "The clock of this study is SIMULATED: times in it were made up, and no check of V6 looks at a clock."
            )
        if genesis.get("synthetic"):
            self.report.warnings.append("The data are SYNTHETIC: genesis says that no real person is meant.")

    def _tree(self) -> None:
        check, size = self.report["V2"], self.newest.checkpoint.size
        check_extra_tiles(check, self.bundle, size)
        check_extra_disclosures(self.report["V7"], self.bundle, size)
        if not self.complete:
            return
        self.tree.check(check, self.bundle, self.digests)
        if self.tree.root() != self.newest.checkpoint.root:
            where = None if self.first_misfit is None else self.last_fitting
            check.fail("the root over these entries is not the one in the checkpoint", where)
        check.say(f"{size} entries were hashed, and every tile and the root recomputed from them")

    def policy(self, policy: Policy | None) -> Policy | None:
        """The policy to believe: the caller's, or the one in the bundle, with a warning."""
        own: Policy | None = None
        problem = f"the member {POLICY} is missing"
        if POLICY in self.bundle:
            try:
                own = Policy.parse(self.bundle.read(POLICY))
            except ValueError as wrong:
                problem = f"the bundle's own policy: {wrong}"
        if policy is not None:
            if own is not None and str(own) != str(policy):
                self.report["V1"].note("the policy in the bundle says something else than the one given, which counts")
            self.report.facts["policy"] = "given by whoever verifies"
            return policy
        self.report.facts["policy"] = "the bundle's own"
        self.report.warnings.append(
            "NOBODY OUTSIDE VOUCHED FOR THE KEYS: no policy was given, so the one in the bundle was used, which was "
            "written by whoever made the bundle. Compare the keys listed here, by telephone or on paper, with those "
            "that the log's operator and the witnesses state, or verify again with --policy."
        )
        if own is None:
            self.report["V1"].fail(problem)
            return None
        self.report.policy_keys = [str(key) for key in own.logs] + [str(w.key) for w in own.witnesses.values()]
        return own

    def _statements(self) -> None:
        rights = self.rights
        v4, v5 = self.report["V4"], self.report["V5"]
        if self.complete and rights.genesis_key is None and not v4.failed_count:
            v4.fail("the first entry is not the genesis of a study", 0)
        counts = [f"{count} {event}" for event, count in sorted(rights.counts.items())]
        v4.say(f"folded: {listed(counts)}" if counts else "no event gives a right")
        if rights.authority.pending:
            waiting = len(rights.authority.pending)
            v4.note(f"{waiting} enrolments or delegations wait for the second registrar and give no right")
        self._strange(v4, v5)
        v5.say(f"{self.verified} signatures by {len(rights.kids)} keys were verified")
        for event, index in rights.unknown.items():
            v5.undecided(
                f"{event} (index {index} first) is an event that this verifier does not know: which role may record it "
                "is for a newer release to say"
            )
        if self.complete and rights.genesis_key is not None:
            disputed = list(rights.disputed())
            if disputed:
                shown = listed([f"{index} ({actor})" for index, actor in disputed[:SHOWN]], len(disputed))
                v5.note(f"{len(disputed)} entries are disputed: their key was revoked as suspect: indexes {shown}")

    def _strange(self, v4: Check, v5: Check) -> None:
        """What a later release recorded: it is never passed over, and never called wrong for being later."""
        for (event, version), (first, count) in sorted(self.strange.items(), key=lambda one: one[1]):
            known = KNOWN.get(event)
            here = "does not know this event" if known is None else f"knows it up to version {known}"
            said = f"{count} of {event} version {version}, the first at index {first}: this verifier {here}"
            if known is None or event in ACTS:
                v4.undecided(f"{said}, so what it says about rights may be more than was read. Use a later verifier")
            else:
                v5.note(f"{said}; who signed it, and that nothing was altered, does not depend on it")

    def _times(self, times: Iterable[tuple[int, str, int]], now: int) -> None:
        """V6: nothing was recorded after somebody had already signed or stamped a state that contains it."""
        check, rights, count = self.report["V6"], self.rights, 0
        for size, name, at in times:
            if size > len(rights.times):
                continue
            count += 1
            recorded = rights.times[size - 1] / MICROSECONDS
            if not rights.simulated and recorded > at + COSIGNATURE_LEEWAY_SECONDS:
                check.fail(
                    f"recorded at {_utc(rights.times[size - 1])}, yet {name} signed a state with this entry at "
                    f"{_utc(at * MICROSECONDS)}: the ledger's clock was set forward, or the time altered",
                    size - 1,
                )
        if rights.times and not rights.simulated and rights.times[-1] / MICROSECONDS > now + COSIGNATURE_LEEWAY_SECONDS:
            check.note("the last entries were recorded after this machine's clock: one of the two clocks is wrong")
        check.say(f"{len(rights.times)} times of recording never run backwards, and {count} cosignatures bound them")
        if self.late_count:
            shown = listed([f"{index} ({why})" for index, why in self.late], self.late_count)
            check.note(f"{self.late_count} entries were recorded late, more than a day afterwards: indexes {shown}")


def _simulated(bundle: Bundle, size: int) -> bool:
    """What genesis says of the clock, read ahead: workers have to know it before anything is verified."""
    path = log_path("entries", 0, min(WIDTH, size))
    try:
        jwt, _ = split_entry(parse_bundle(bundle.read(path))[0])
        claims: Mapping[str, Any] = read_json(unb64url(jwt.split(".")[1]), "genesis")
        return bool(claims["body"]["clock"] == "simulated")
    except (KeyError, ValueError, TypeError, IndexError, Malformed):
        return False


def _utc(microseconds: int) -> str:
    from datetime import UTC, datetime, timedelta

    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        return "a time beyond the calendar"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
