"""One fault at one stage: what a submission's way looks like beside the very same history without it."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median

from shared.domain.submission import State, Submission
from tests.simulation.faults import AFTER, BEFORE, FAULTS_UNTIL_S, IN_THE_POST, IN_THE_WORLD, STANDING, Fault, Trouble
from tests.simulation.history import concluded
from tests.simulation.town import Town
from tests.simulation.world import Process, Role

SEEDS = range(20)
CONTENT, N_TASKS = "good 1000", 2
DROPPED_AT_S = 1.0
CALM_S = 6 * 3600.0


class Stage(StrEnum):
    """How far a submission has come when the fault strikes."""

    ACCEPTING = "accepting"
    QUEUED = "queued"
    DISPATCHING = "dispatching"
    RUNNING = "running"
    FINALIZING = "finalizing"
    OVER = "after the end"


@dataclass(slots=True)
class Way:
    """What was seen of one history's only submission.

    Attributes:
        cuts: The port calls at each stage, before and after their effect.
        spans_s: When each stage began.
        notes: What the history told the user on the way.
    """

    cuts: Counter[tuple[Stage, bool]] = field(default_factory=Counter)
    spans_s: dict[Stage, float] = field(default_factory=dict)
    record: Submission | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    executions: int = 0
    struck: int = 0
    violations: tuple[str, ...] = ()

    @property
    def end(self) -> str:
        """The final state, and the code where there is one."""
        if self.record is None:
            return "no submission"
        return f"{self.record.state} {self.record.failure.code}" if self.record.failure else str(self.record.state)


@dataclass(frozen=True, slots=True)
class Cell:
    """A fault at a stage, over many seeds."""

    fault: Fault
    stage: Stage
    ways: tuple[tuple[Way, Way], ...]

    @property
    def ends(self) -> Counter[str]:
        """How they ended."""
        return Counter(way.end for way, _ in self.ways)

    @property
    def later_s(self) -> tuple[float, float]:
        """How much later than undisturbed: median and worst."""
        late = [way.seconds - reference.seconds for way, reference in self.ways if way.record is not None]
        return (median(late), max(late)) if late else (0.0, 0.0)

    @property
    def executions(self) -> int:
        """The most that any of them needed beyond its reference."""
        return max((way.executions - reference.executions for way, reference in self.ways), default=0)


class _Walk:
    """One history of one drop, with at most one fault."""

    def __init__(self, seed: int) -> None:
        self.town = Town(seed)
        self.trouble = Trouble(self.town)
        self.way = Way()
        self.dice = random.Random(seed)  # Apart from the world's: up to the fault both histories are the same.
        self.target: tuple[Fault, Stage, int] | None = None
        self.town.world.strike = self._strike

    def play(self) -> Way:
        world = self.town.world
        world.after(DROPPED_AT_S, self._drop)
        world.run(CALM_S)
        self.trouble.cease()
        judged = concluded(self.town, self.trouble)
        mine = next(iter(self.town.drops.values()))
        stored = [kept for kept in self.town.store.records.values() if kept.value.source == mine.source]
        self.way.record = stored[0].value if stored else None
        if self.way.record is not None:
            self.way.seconds = self.town.judge.final_at_s.get(self.way.record.id, 0.0) - DROPPED_AT_S
            history = self.town.store.history(self.way.record.id)
            self.way.notes = tuple(entry.note for entry in history if entry.note)
            asked = [request for request in self.town.judge.asked if request.submission_id == self.way.record.id]
            self.way.executions = len(asked)
        self.way.struck = self.trouble.struck.total()
        self.way.violations = judged.violations
        return self.way

    def _drop(self) -> None:
        self.town.drop("sample.h5ad", CONTENT, N_TASKS)

    def stage(self) -> Stage:
        records = list(self.town.store.records.values())
        if not records:
            return Stage.ACCEPTING
        state = records[0].value.state
        if state.final:
            return Stage.OVER
        return Stage.QUEUED if state is State.WAITING_CAPACITY else Stage[state]

    def _strike(self, process: Process, moment: str) -> None:
        self.trouble.endure(process, moment)
        if process.role is Role.RECONCILE or "models" in moment:
            return
        stage, after = self.stage(), moment.endswith(".done")
        self.way.spans_s.setdefault(stage, self.town.world.now_s)
        n = self.way.cuts[stage, after]
        self.way.cuts[stage, after] += 1
        if self.target is not None and self.target[1:] == (stage, n) and after == self._strikes_after:
            fault, self.target = self.target[0], None
            self.trouble.strike(fault, process, moment)

    @property
    def _strikes_after(self) -> bool:
        return self.target is not None and self.target[0] not in BEFORE


def undisturbed(seed: int) -> Way:
    """The history of a seed without any fault."""
    return _Walk(seed).play()


def disturbed(seed: int, fault: Fault, stage: Stage, reference: Way) -> Way | None:
    """The same with one fault; None where that fault cannot meet that stage."""
    walk = _Walk(seed)
    if fault in {*BEFORE, *AFTER}:
        n = reference.cuts[stage, fault not in BEFORE]
        if n == 0:
            return None
        walk.target = (fault, stage, walk.dice.randrange(n))
    elif fault in IN_THE_POST:
        if stage not in {Stage.ACCEPTING, Stage.QUEUED}:
            return None
        _misdeliver(walk, fault, stage)
    elif fault in STANDING:
        if stage is not Stage.ACCEPTING:
            return None
        walk.trouble.stand(fault)
    else:
        assert fault in IN_THE_WORLD
        _send_for(walk, fault, stage, reference)
    way = walk.play()
    return way if way.struck else None


def _misdeliver(walk: _Walk, fault: Fault, stage: Stage) -> None:
    """One message goes astray: the storage event, or the first job message."""
    post = walk.town.post
    straight = replace(post)
    sent = itertools.count()
    wanted = 0 if stage is Stage.ACCEPTING else 1
    walk.trouble.mail({fault: 1.0})
    astray = replace(post)

    def copies() -> int:
        walk.town.post.delay_s = (astray if next(sent) == wanted else straight).delay_s
        return (astray if walk.town.post.delay_s is astray.delay_s else straight).copies()

    post.copies = copies


def _send_for(walk: _Walk, fault: Fault, stage: Stage, reference: Way) -> None:
    world = walk.town.world
    stages = list(Stage)
    begin_s = DROPPED_AT_S + 1e-6 if stage is Stage.ACCEPTING else reference.spans_s[stage]
    later = [reference.spans_s[after] for after in stages[stages.index(stage) + 1 :] if after in reference.spans_s]
    at_s = begin_s + walk.dice.random() * ((later[0] if later else begin_s + 1.0) - begin_s)

    def happen() -> None:
        if walk.stage() is stage and not walk.trouble.happen(fault) and world.now_s < FAULTS_UNTIL_S:
            world.after(0.05, happen)

    world.after(at_s, happen)


def cells(faults: Iterable[Fault] = Fault, seeds: range = SEEDS) -> Iterator[Cell]:
    """Every fault, or some, at every stage that it can meet."""
    references = {seed: undisturbed(seed) for seed in seeds}
    for fault in faults:
        for stage in Stage:
            ways = [(disturbed(seed, fault, stage, references[seed]), references[seed]) for seed in seeds]
            met = tuple((way, reference) for way, reference in ways if way is not None)
            if met:
                yield Cell(fault, stage, met)
