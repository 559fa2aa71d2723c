"""The whole course from genesis to the last visit, over one client: `run_course`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.cli.demo.cast import gather_cast, open_study
from api.cli.demo.chance import Chance
from api.cli.demo.incidents import incidents
from api.cli.demo.play import Play, Progress, RefusedAct, Sent
from api.cli.demo.setup import OPENING
from api.cli.demo.stage import Case, Stage, at
from api.cli.demo.trial import trial
from api.client.http import StudyClient
from ledger.signing.keys import SigningKey

SEED = 4014166
"""The same seed tells the same course with the same ids, salts and keys of the cast."""


@dataclass(frozen=True, slots=True)
class Course:
    """What was played: how many events were recorded, which statements were refused as the story has it.

    `cases` by subject number and `stage` serve those who play on.
    """

    events: int
    refusals: tuple[RefusedAct, ...]
    cases: Mapping[str, Case]
    stage: Stage

    def correct_count(self, number: str, week: int, value: str, reason: str) -> Sent:
        """Have the laboratory correct a week's platelet count, after the course."""
        case = self.cases[number]
        wrong = case.kept[f"platelets week {week}"]
        sent = case.act(
            self.stage.cast.technician, "EntryCorrected", "corrects", wrong, field="value", value=value, reason=reason
        )
        self.stage.play.flush()
        return sent


def nobody_listens(chapter: str, events: int) -> None:
    """Progress for nobody."""


def run_course(
    client: StudyClient,
    registrar_key: SigningKey,
    progress: Progress = nobody_listens,
    *,
    responses: bool = True,
    seed: int = SEED,
) -> Course:
    """Play the course; raises CourseBroken where the ledger answers otherwise than the story says.

    `registrar_key` is the key that the server accepts genesis from. Without `responses` nobody's platelet counts
    rise, and everything else happens alike.
    """
    play = Play(client, Chance(seed), at(OPENING, "09:00"), progress)
    play.tell("Opening the ledger")
    terms = client.log_keys()
    cast = gather_cast(play, registrar_key, terms["origin"])
    open_study(play, cast, terms)
    stage = Stage(play, cast, responses)
    for line in (trial(stage), *incidents(stage)):
        play.follow(line)
    play.run()
    return Course(play.recorded, tuple(play.refusals), stage.cases, stage)
