"""A simulated day: one seed is one day, everything ends, the books balance, and room is never exceeded."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from jobs.inference.task.protocol import Ended, TaskIdentity
from shared.domain.plan import Accelerator
from shared.domain.submission import State
from tests.simulation.day.__main__ import lived
from tests.simulation.day.account import Account, percentile
from tests.simulation.day.city import City
from tests.simulation.day.scenario import Scenario, files
from tests.simulation.day.tempo import deployed

ROOT = Path(__file__).resolve().parents[2]
FEW = Scenario(seed=3, submissions=200, hours=2.0)
CROWDED = replace(FEW, hours=0.2, vcpus=12, gpus=1, gpu_share=0.1, lost_share=0.05)
NOISE_S = 5.0
"""What the order in which chances are drawn, and a message's way, may make of a median."""


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


class Watched(City):
    """Counts who is at work beside the pools' own books."""

    def __init__(self, scenario: Scenario) -> None:
        self.at_work: Counter[Accelerator] = Counter()
        self.most: Counter[Accelerator] = Counter()
        super().__init__(scenario, deployed())

    def _run_task(self, me: TaskIdentity) -> Ended:
        kind = self.quota.executions[me.execution].request.accelerator
        self.at_work[kind] += 1
        self.most[kind] = max(self.most[kind], self.at_work[kind])
        try:
            return super()._run_task(me)
        finally:
            self.at_work[kind] -= 1


@pytest.fixture(scope="module")
def crowded() -> Watched:
    city = Watched(CROWDED)
    city.live_through()
    return city


@pytest.fixture(scope="module")
def account(crowded: Watched) -> Account:
    return Account(crowded)


def test_one_seed_is_one_day_in_any_process() -> None:
    command = [sys.executable, "-m", "tests.simulation.day", "--submissions", "60", "--seed", "5", "--vcpus", "8"]
    told = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True, cwd=ROOT
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert b"drop to outcome" in told[0]


def test_another_seed_is_another_day() -> None:
    assert list(files(FEW)) == list(files(FEW)) != list(files(replace(FEW, seed=4)))


def test_everything_ends_and_nothing_is_owed(crowded: Watched) -> None:
    entries = crowded.ledger.entries.values()
    assert len(entries) == CROWDED.submissions
    assert all(entry.state.final for entry in entries)
    assert not crowded.records.open
    assert not crowded.quota.live
    assert crowded.ledger.violations == []


def test_good_files_succeed_and_bad_ones_are_rejected(crowded: Watched) -> None:
    ends = {entry.record.source.name: entry.state for entry in crowded.ledger.entries.values() if entry.record}
    assert ends == {file.name: State.SUCCEEDED if file.good else State.REJECTED for file in files(CROWDED)}


def test_room_is_used_up_and_never_exceeded(crowded: Watched) -> None:
    for kind, pool in crowded.pools.items():
        assert pool.peak == pool.size
        assert 0 < crowded.most[kind] <= pool.size
        assert pool.taken == 0


def test_refused_starts_and_lost_instances_are_got_over(crowded: Watched, account: Account) -> None:
    assert crowded.quota.refusals.total() > 0
    assert crowded.quota.lost > 0
    assert account.waited > 0
    assert max(account.queueing_s) > 60


def test_the_cost_adds_up(crowded: Watched, account: Account) -> None:
    assert account.total_usd == pytest.approx(sum(account.usd.values()))
    assert all(usd > 0 for usd in account.usd.values())
    for kind, pool in crowded.pools.items():
        shape = crowded.tempo.pool(kind).shape
        per_minute = 60 * shape.usd_per_s(crowded.tempo.prices)
        # Every task is billed for a minute at least, and none for more than it ran and a minute beside.
        least, most = len(pool.runs_s) * per_minute, sum(one / 60 + 1 for one in pool.runs_s) * per_minute
        assert least - 1e-9 <= account.usd[f"{kind} tasks"] <= most + 1e-9


def test_latency_is_no_less_than_what_is_spent_in_the_states(crowded: Watched) -> None:
    for entry in crowded.ledger.entries.values():
        assert entry.over_s is not None
        assert math.fsum(entry.spent_s.values()) <= entry.over_s - entry.dropped_s + 1e-6


def test_more_room_makes_nobody_wait_longer() -> None:
    waits = [percentile(lived(replace(FEW, vcpus=vcpus)).latencies_s, 0.5) for vcpus in (4, 8, 80, 800)]
    assert all(more <= less + NOISE_S for less, more in pairwise(waits))
    assert waits[0] > waits[-1] + NOISE_S


def test_where_there_is_room_nobody_waits_for_it() -> None:
    roomy = lived(replace(FEW, vcpus=4_000, gpus=100))
    assert roomy.waited == 0
    assert max(roomy.queueing_s) < NOISE_S


def test_a_want_of_gpus_keeps_no_cpu_file_waiting() -> None:
    city = City(replace(FEW, gpus=1, gpu_share=0.5, vcpus=4_000), deployed())
    city.live_through()
    waited = {
        city.files[entry.record.source.name].accelerator
        for entry in city.ledger.entries.values()
        if entry.record and entry.spent_s[State.WAITING_CAPACITY]
    }
    assert waited == {Accelerator.GPU}


@pytest.mark.parametrize(("values", "share", "found"), [([], 0.5, 0.0), ([1, 2, 3, 4], 0.5, 2), ([1, 2, 3], 1.0, 3)])
def test_a_percentile_is_one_of_the_values(values: list[float], share: float, found: float) -> None:
    assert percentile(values, share) == found


def test_more_come_in_the_afternoon_than_at_night() -> None:
    hours = Counter(int(file.at_s // 3600) for file in files(Scenario(submissions=5_000)))
    assert sum(hours[hour] for hour in range(11, 17)) > 3 * sum(hours[hour] for hour in (0, 1, 2, 3, 4, 23))


def test_half_of_the_files_are_no_larger_than_the_median() -> None:
    sizes = sorted(file.n_cells for file in files(Scenario(submissions=5_000)))
    assert sizes[2_500] == pytest.approx(10_000, rel=0.15)
    assert sizes[-1] <= 5_000_000
