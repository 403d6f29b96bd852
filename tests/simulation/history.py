"""One seed, one history: people drop files, things go wrong, things stop going wrong, and everything is judged."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.domain.errors import NoCapacityError, StartRefusedError
from shared.domain.submission import Requester, State, Submission
from shared.domain.waiting import MOST_BETWEEN_S
from tests.simulation.faults import Fault, Swarm, Trouble
from tests.simulation.harm import Bounds
from tests.simulation.judge import settled
from tests.simulation.platform import Beginning
from tests.simulation.town import BAD, BROKEN, FIRST, GOOD, HASTY, SECOND, Town
from tests.simulation.world import moment_text

FAULTS_STOP_S = 2 * 3600.0
MOST_S = 4 * 86_400.0
SHORTEST_CAPACITY_S = min(version.limits.capacity.total_seconds() for version in (FIRST, SECOND))
SHORTEST_REFUSED_S = min(version.limits.refused.total_seconds() for version in (FIRST, SECOND))
HASTY_EVERY = 4
"""In one of so many histories, ingest hardly retries services that do not answer."""
HONEST = frozenset({"INPUT_CHANGED", "INPUT_NOT_FOUND"})


@dataclass(frozen=True, slots=True)
class History:
    """How a history went.

    Attributes:
        virtual_s: What it took in the world's own time.
    """

    seed: int
    violations: tuple[str, ...]
    struck: Counter[Fault]
    ends: Counter[str]
    executions: int
    virtual_s: float
    trace: tuple[tuple[float, str, str], ...]

    @property
    def text(self) -> str:
        """The readable trace."""
        lines = [moment_text(moment) for moment in self.trace]
        faults = ", ".join(f"{fault} ({n})" for fault, n in self.struck.items() if n) or "none"
        verdict = "\n".join(self.violations) or "all is well"
        return "\n".join([*lines, f"seed {self.seed}; faults: {faults}", f"ends: {dict(self.ends)}", verdict])


def play(seed: int, mutate: Callable[[Town], None] = lambda _town: None) -> History:
    """The history of a seed."""
    town = Town(seed) if seed % HASTY_EVERY else Town(seed, HASTY)
    mutate(town)
    trouble = Trouble(town)
    swarm = Swarm(trouble)
    swarm.begin()
    _people(town)
    town.world.run(FAULTS_STOP_S)
    swarm.cease()
    return concluded(town, trouble)


def play_quietly(seed: int) -> History:
    """The same without its trace, and without what the services log of every fault."""
    logging.disable(logging.ERROR)
    return replace(play(seed), trace=())


def concluded(town: Town, trouble: Trouble) -> History:
    """Let everything come to rest, and judge."""
    town.judge.faults_stop_s = town.world.now_s
    came_to_rest = town.world.run(MOST_S)
    town.judge.hold(came_to_rest, "it never comes to rest")
    settled(town.judge, town.judge.hold)
    trouble.struck[Fault.NO_CAPACITY] = town.jobs.refusals[NoCapacityError]
    trouble.struck[Fault.RETAINED] = town.blobs.refused
    trouble.struck[Fault.REFUSED] = town.jobs.refusals[StartRefusedError]
    for how, fault in (
        (Beginning.LATE, Fault.WAITS),
        (Beginning.NO_ROOM, Fault.TURNED_AWAY),
        (Beginning.REFUSED, Fault.NO_IMAGE),
    ):
        trouble.struck[fault] = town.jobs.odd[how]
    trouble.struck[Fault.NATIVE] = town.jobs.crashed
    _explained(town, trouble)
    records = [stored.value for stored in town.store.records.values()]
    town.world.end()
    return History(
        town.world.seed,
        tuple(town.judge.violations),
        trouble.struck,
        Counter(_end_of(record) for record in records),
        len(town.jobs.executions),
        town.world.now_s,
        tuple(town.world.trace),
    )


def _people(town: Town) -> None:
    world = town.world
    for number in range(world.random.choice((1, 1, 2, 3))):
        kind = world.random.choices((GOOD, BAD, BROKEN), (18, 1, 1))[0]
        content = f"{kind} {world.random.randint(1, 1100)}"
        n_tasks = world.random.choice((None, 1, 2, 3))
        world.after(world.between(0.0, 30.0), lambda n=number, c=content, t=n_tasks: _drop(town, n, c, t))  # type: ignore[misc]


def _drop(town: Town, number: int, content: str, n_tasks: int | None) -> None:
    """A drop, and sometimes others who ask for the same, or for the same again."""
    drop = town.drop(f"sample-{number}.h5ad", content, n_tasks)
    roll = town.world.random.random
    for name in range(town.world.random.choice((0, 0, 1, 2))):
        rerun = "again" if roll() < 0.2 else None
        asked = replace(drop, requester=Requester(f"who-{number}-{name}"), rerun_token=rerun)
        town.world.after(200.0 * roll() ** 2, lambda asked=asked: town.request(asked))  # type: ignore[misc]
        town.drops.setdefault(asked.source, asked)


def _explained(town: Town, trouble: Trouble) -> None:
    """Nothing is lost, and nothing ends badly without a reason that was really there."""
    hold, done = town.judge.hold, town.done
    taken_in = {stored.value.source for stored in town.store.records.values()}
    for ref in town.drops:
        hold(ref in taken_in or ref in done.changed, f"the drop {ref} was lost")
    named = {who["correlation_id"] for told in town.judge.told.values() for event in told for who in _requesters(event)}
    hold(named >= set(done.heard), f"who asked was heard, and never told: {set(done.heard) - named}")
    for stored in town.store.records.values():
        record = stored.value
        content = town.blobs.ever[record.source].decode() if record.source.generation else "nothing"
        code = record.failure.code if record.failure else ""
        match record.state:
            case State.SUCCEEDED:
                hold(content.startswith(GOOD), f"{content!r} succeeded")
            case State.REJECTED:
                excused = _input_gone(town, record) or _waited_in_vain(town, record)
                hold(not content.startswith(GOOD) or excused, f"{content!r} was rejected: {code}")
            case State.CANCELLED:
                hold(record.id in done.cancelled, "cancelled by nobody")
            case State.FAILED:
                hold(_deserved(town, trouble, record), f"failed without need: {_reason(record)}")
            case _:
                continue
    if not trouble.struck.total():
        _quiet(town)


def _requesters(event: Mapping[str, Any]) -> list[Mapping[str, str]]:
    named: list[Mapping[str, str]] = event["data"]["requesters"]
    return named


def _reason(record: Submission) -> str:
    return f"{record.failure.code}: {record.failure.message}" if record.failure else "nothing"


def _input_gone(town: Town, record: Submission) -> bool:
    return record.source in town.done.changed and record.failure is not None and record.failure.code in HONEST


def _waited_in_vain(town: Town, record: Submission) -> bool:
    """Whether an event that led to the record had been delivered for as long as ingest is patient."""
    shortest = min(town.retry_times.drop, town.retry_times.request, town.retry_times.fault)
    created_at = town.store.records[record.id].created_at
    sent_at = [town.sent_at[event] for event, made in town.judge.made.items() if record.id in made]
    in_vain = any(created_at - at >= shortest for at in sent_at)
    return in_vain and record.failure is not None and record.failure.code == "UNAVAILABLE"


def _deserved(town: Town, trouble: Trouble, record: Submission) -> bool:
    assert record.failure is not None
    match record.failure.code:
        case "INPUT_CHANGED":
            return record.source in town.done.changed
        case "TASK_CRASHED":
            return record.id in town.computation.pace.broken | town.computation.pace.native
        case "CAPACITY_DEADLINE" | "START_REFUSED" as code:
            deadline_s = SHORTEST_CAPACITY_S if code == "CAPACITY_DEADLINE" else SHORTEST_REFUSED_S
            # A jump of the clock counts as waiting, up to a limit; and so does the time since the last refusal.
            counted_s = MOST_BETWEEN_S * (1 + trouble.struck[Fault.JUMP])
            return town.jobs.waited_s(record.id) > max(0.0, deadline_s - counted_s)
        case "ATTEMPTS_EXHAUSTED":
            return town.judge.harm.exhausts(record.id, _bounds(town))
        case _:
            return False


def _bounds(town: Town) -> Bounds:
    """The least that any version in use allows."""
    limits = [version.limits for version in (town.version, town.other_version)]
    return Bounds(
        min(limit.max_attempts for limit in limits),
        min(limit.max_epochs for limit in limits),
        min(limit.max_finalize_attempts for limit in limits),
    )


def _quiet(town: Town) -> None:
    hold = town.judge.hold
    for stored in town.store.records.values():
        good = town.blobs.ever[stored.value.source].decode().startswith(GOOD)
        hold(stored.value.state is (State.SUCCEEDED if good else State.REJECTED), "a quiet history ends badly")
        hold(
            stored.value.epoch == good and stored.value.finalize_attempts == 0,
            "a quiet history needs more than one try",
        )
    hold(all(not request.finalize_only for request in town.judge.asked), "a quiet history asks for a finalizer")


def _end_of(record: Submission) -> str:
    return f"{record.state} {record.failure.code}" if record.failure else str(record.state)
