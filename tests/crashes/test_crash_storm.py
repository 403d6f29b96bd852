"""Several supervisors at one home, they and their tasks killed at random: everything ends right all the same."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil
import pytest

from shared.domain.submission import FINAL_STATES
from shared.wiring.ports import build_ports
from tests.crashes.conftest import Homes
from tests.crashes.ends import check_orders
from tests.crashes.homes import KILLED, TIMEOUT_S, Home, kill, tell, wait_for
from tests.crashes.points import to_environment
from tests.crashes.supervisor import TASK
from tests.crashes.task import BLOCK_S, ORPHANS

N_KILLS = 5
"""In every run; the exhaustive tests have many more."""
MANY_KILLS = 40
N_SUPERVISORS = 3
N_AT_A_TIME = 5
"""Submissions that are open at least, so that there is always something to spoil."""
LONGEST_WAIT_S = 1.2

SHARE_OF_TASKS = 0.6


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("seed", "orphans", "n_kills"),
    [
        (1, False, N_KILLS),
        (2, True, N_KILLS),
        pytest.param(3, False, MANY_KILLS, marks=pytest.mark.exhaustive),
        pytest.param(4, True, MANY_KILLS, marks=pytest.mark.exhaustive),
    ],
)
def test_supervisors_killed_at_random_beside_one_another_end_everything_right(
    homes: Homes, seed: int, orphans: bool, n_kills: int
) -> None:
    # What is tested is the protocol, not how many losses are borne before it is called a failure.
    home = homes(max_attempts=50)
    variables = {**to_environment([], home.folder), BLOCK_S: "0.1", **({ORPHANS: "1"} if orphans else {})}
    storm = Storm(home, random.Random(seed), variables, n_kills)
    began_s = time.monotonic()
    storm.blow()
    records = check_orders(home.settings, home.orders)
    epochs = sum(record.epoch for record in records)
    done = f"{len(records)} submissions, {epochs} epochs, {storm.n_executions} executions"
    tell(f"seed {seed}: {n_kills} kills {dict(storm.kills)}, {done}, {time.monotonic() - began_s:.0f} s")


@dataclass(slots=True)
class Storm:
    """Kills, as a seed has them."""

    home: Home
    random: random.Random
    variables: dict[str, str]
    n_kills: int
    kills: Counter[str] = field(default_factory=Counter)
    _supervisors: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def n_executions(self) -> int:
        """Executions of which at least one task began."""
        return len(list(self.home.folder.glob("home/.celldrop/logs/*")))

    def blow(self) -> None:
        while self.kills.total() < self.n_kills:
            self._muster(at_least=self.random.randint(1, N_SUPERVISORS))
            wait_for(self._tasks, self.home)
            # When a kill comes is the one thing here that waits for nothing but time.
            time.sleep(self.random.uniform(0.0, LONGEST_WAIT_S))
            self._kill_one()
        self.home.that_is_all()
        self._muster(at_least=N_SUPERVISORS)
        self._see_it_through()

    def _muster(self, at_least: int) -> None:
        self._supervisors = [process for process in self._supervisors if process.poll() is None]
        while len(self._supervisors) < at_least:
            self._supervisors.append(self.home.start(self.variables))

    def _tasks(self) -> list[psutil.Process]:
        """The tasks at work; what keeps them at it is that something new is ordered when little is left."""
        assert all(process.poll() in {None, KILLED} for process in self._supervisors), self.home.said()
        if len(self.home.orders) - self._n_over() < N_AT_A_TIME:
            self.home.order(f"order-{len(self.home.orders)}")
        return self.home.processes(TASK)

    def _n_over(self) -> int:
        return len(build_ports(self.home.settings).store.find(FINAL_STATES, limit=10_000))

    def _kill_one(self) -> None:
        tasks = self.home.processes(TASK)
        if tasks and self.random.random() < SHARE_OF_TASKS:
            self.kills["task"] += kill(self.random.choice(tasks))
        else:
            self.kills["supervisor"] += kill(self.random.choice(self._supervisors))

    def _see_it_through(self) -> None:
        statuses = [process.wait(TIMEOUT_S) for process in self._supervisors]
        assert statuses == [0] * N_SUPERVISORS, self.home.said()
        _, left = psutil.wait_procs(self.home.processes(TASK), TIMEOUT_S)
        assert not left
