"""Killed at any call of any port, once, or once more while that is mended: everything ends as if nothing had been."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crashes.conftest import Homes, some_homes
from tests.crashes.ends import check_orders
from tests.crashes.homes import KILLED, Home, tell
from tests.crashes.points import Crash, Point, to_environment, trail_of

pytestmark = pytest.mark.xdist_group("crash-points")  # What its tests share is made once.

N_SHARDS = 30
N_SHARDS_OF_WRITES = 15


def shards(of: int) -> list[object]:
    """A share in every run, the others where there is time."""
    return [0, *(pytest.param(shard, marks=pytest.mark.exhaustive) for shard in range(1, of))]


N_TRIES = 3
"""Two processes race for some points: who is killed at one must have come first."""
READS = frozenset(
    {
        *("blobs.stat", "blobs.read", "blobs.read_many", "blobs.list", "jobs.describe"),
        *("status.get", "status.find", "status.history", "status.get_task", "status.tasks"),
    }
)
"""Nothing has changed after these since before them; any other call may have changed something."""

STARTED_NOT_NOTED = Crash(Point("supervisor", "Dispatch._note>update", "status.replace"))
COMMITTED_NOT_TOLD = Crash(Point("task", "Finalizer._commit", "status.transact.done"))
MENDED_EACH_IN_A_WAY_OF_ITS_OWN = (
    Crash(Point("supervisor", "Ingest._submit>Outbox.pay>update", "status.replace.done")),
    Crash(Point("task", "Task._adopt>update", "status.replace.done"), with_parent=True),
    Crash(Point("task", "Finalizer._take_lease", "status.transact.done"), with_parent=True),
    replace(COMMITTED_NOT_TOLD, with_parent=True),
)
"""Told to a bus that died; run and gone; at the results and gone; done, and nobody knows."""

Moments = Counter[Point]
"""Points, and how often each is passed."""


@pytest.fixture(scope="session")
def undisturbed(counts: Path) -> Iterator[Moments]:
    """What is passed when nobody is killed."""
    with some_homes(counts) as homes:
        yield _passed(homes, ())


@pytest.mark.parametrize("crash", [STARTED_NOT_NOTED, COMMITTED_NOT_TOLD], ids=str)
def test_a_process_killed_at_a_point_is_made_up_for(homes: Homes, crash: Crash) -> None:
    assert _survives(homes("one"), crash)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("shard", shards(N_SHARDS))
def test_a_process_killed_at_any_point_is_made_up_for(homes: Homes, undisturbed: Moments, shard: int) -> None:
    for crash in _share(_crashes_at(undisturbed), shard, N_SHARDS):
        _survives_somehow(homes, crash)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("shard", shards(N_SHARDS_OF_WRITES))
def test_a_machine_that_dies_after_any_write_of_a_task_is_made_up_for(
    homes: Homes, undisturbed: Moments, shard: int
) -> None:
    crashes = [replace(crash, with_parent=True) for crash in _crashes_at(undisturbed) if crash.point.role == "task"]
    for crash in _share([crash for crash in crashes if crash.point.call.endswith(".done")], shard, N_SHARDS_OF_WRITES):
        _survives_somehow(homes, crash)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", MENDED_EACH_IN_A_WAY_OF_ITS_OWN, ids=str)
def test_whoever_mends_it_may_be_killed_at_any_point_too(homes: Homes, undisturbed: Moments, first: Crash) -> None:
    mending = _passed(homes, (first,))
    for second in _crashes_at(Counter({point: hits for point, hits in mending.items() if point not in undisturbed})):
        _survives_somehow(homes, first, second)


def _passed(homes: Homes, crashes: Sequence[Crash]) -> Moments:
    """What is passed each time, after some crashes or none; what only one run passes was a race."""
    one, other = (_trail(homes("one"), crashes) for _ in range(2))
    return one & other


def _trail(home: Home, crashes: Sequence[Crash]) -> Moments:
    trail = home.folder / "trail"
    trail.mkdir()
    home.that_is_all()
    for crash in crashes:
        assert home.run(to_environment([crash], home.folder)) == KILLED, f"{crash}\n{home.said()}"
    assert home.run(to_environment(crashes, home.folder, trail)) == 0, home.said()
    check_orders(home.settings, home.orders)
    return trail_of(trail)


def _crashes_at(moments: Moments) -> list[Crash]:
    # A supervisor looks again and again: only the first time is a moment of its own.
    return [
        Crash(point, hit)
        for point in sorted(moments, key=str)
        if point.call.removesuffix(".done") not in READS or not point.call.endswith(".done")
        for hit in range(1, 1 + (moments[point] if point.role == "task" else 1))
    ]


def _share(crashes: Sequence[Crash], shard: int, of: int) -> list[Crash]:
    assert len(crashes) >= of
    return list(crashes[shard::of])


def _survives_somehow(homes: Homes, *crashes: Crash) -> None:
    tell("killed at " + ", then at ".join(map(str, crashes)))
    assert any(_survives(homes("one"), *crashes) for _ in range(N_TRIES)), "it was not passed"


def _survives(home: Home, *crashes: Crash) -> bool:
    """Everything ends right, with no more epochs than supervisors; returns whether each crash has happened."""
    home.that_is_all()
    variables = to_environment(crashes, home.folder)
    statuses = [home.run(variables)]
    while statuses[-1] == KILLED and len(statuses) <= len(crashes):
        statuses.append(home.run(variables))
    assert statuses[-1] == 0, home.said()
    (record,) = check_orders(home.settings, home.orders)
    assert record.epoch <= len(statuses), home.said()
    return all(crash.marker(home.folder, n).exists() for n, crash in enumerate(crashes))
