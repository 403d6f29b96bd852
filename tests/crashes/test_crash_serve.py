"""The show: `celldrop serve` and its tasks killed again and again over real submissions, and nobody can tell."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anndata
import pyarrow.parquet as pq
import pytest

from shared.domain.outputs import reproducible
from shared.domain.submission import Submission
from shared.wiring.ports import build_ports, task_variables
from tests import warm
from tests.crashes.conftest import Homes
from tests.crashes.ends import check_ends
from tests.crashes.homes import TIMEOUT_S, Home, kill, tell, wait_for
from tests.pipeline.few_cells import few_cells

N_SUBMISSIONS = int(os.environ.get("CELLDROP_SUBMISSIONS", "6"))
N_KILLS = int(os.environ.get("CELLDROP_KILLS", "10"))
"""Of the exhaustive test; ``CELLDROP_SUBMISSIONS=12 CELLDROP_KILLS=40`` for more of them."""
SEED = 1
SHARE_OF_TASKS = 0.7
SERVES = "Watch them at"
"""What a server says once it heeds signals."""
TASK = "celldrop-task"
LONGEST_WAIT_S = 3.5
"""Less than a task takes, so that a kill finds any of its moments."""
LIMITS = {"dispatch_lease_s": 5, "heartbeat_s": 15, "finalize_lease_s": 60, "backoff_s": 0.5, "max_attempts": 10}
"""Short where only somebody's death is waited for; torch takes its time to load on a busy machine."""


@pytest.fixture
def files(data_dir: Path, tmp_path: Path) -> list[Path]:
    """Real cells, in files of one task, of two, and of three that is in an old layout."""
    two = tmp_path / "two.h5ad"
    few_cells(data_dir, 400).write_h5ad(two)
    whole = ("mixology_sc_dropseq", "pbmc68k_reduced_v050")
    return [two, *(data_dir / "h5ad" / f"{name}.h5ad" for name in whole)]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("n_submissions", "n_kills"),
    [
        pytest.param(3, 4, id="each file once"),
        pytest.param(N_SUBMISSIONS, N_KILLS, id="many kills", marks=pytest.mark.exhaustive),
    ],
)
def test_kills_at_random_over_several_submissions_leave_no_trace(
    homes: Homes, files: list[Path], n_submissions: int, n_kills: int
) -> None:
    undisturbed = [_annotated(homes(**LIMITS), file) for file in files]
    show = Show(homes(**LIMITS), random.Random(SEED), n_submissions, n_kills)
    began_s = time.monotonic()
    show.play(files)
    seconds = time.monotonic() - began_s
    records = check_ends(show.home.settings)
    assert len(records) == n_submissions
    for record in records:
        which = int(record.source.name.partition("-")[0])
        _check_results(_results(show.home, record), undisturbed[which], files[which])
    tell(f"seed {SEED}: {n_kills} kills {dict(show.kills)}, {show.told()}, {seconds:.0f} s")


@dataclass(slots=True)
class Show:
    """A server that is started again whenever it dies, and drops that go on coming."""

    home: Home
    random: random.Random
    n_submissions: int
    n_kills: int
    kills: Counter[str] = field(default_factory=Counter)
    _server: subprocess.Popen[bytes] | None = None
    _said_before: int = 0

    def play(self, files: Sequence[Path]) -> None:
        inbox = self.home.settings.home / "inbox"
        inbox.mkdir(parents=True)
        while (n_kills := self.kills.total()) < self.n_kills:
            self._drop(inbox, files, up_to=3 + self.n_submissions * n_kills // self.n_kills)
            server = self._serving()
            wait_for(lambda: self.home.processes(TASK) or self._all_over(), self.home, timeout_s=2 * TIMEOUT_S)
            # When a kill comes is the one thing here that waits for nothing but time.
            time.sleep(self.random.uniform(0.0, LONGEST_WAIT_S))
            self._kill_one(server)
        self._drop(inbox, files, up_to=self.n_submissions)
        server = self._serving()
        wait_for(lambda: self._all_over() and self._heeds_signals(), self.home, timeout_s=5 * TIMEOUT_S)
        server.send_signal(signal.SIGTERM)
        assert server.wait(TIMEOUT_S) == 0

    def told(self) -> str:
        logs = self.home.settings.home / ".celldrop" / "logs"
        executions = list(logs.iterdir())
        attempts = list(logs.glob("*/*.log"))
        return f"{self.n_submissions} submissions, {len(executions)} executions, {len(attempts)} task processes"

    def _drop(self, inbox: Path, files: Sequence[Path], up_to: int) -> None:
        for number in range(min(up_to, self.n_submissions)):
            which = number % len(files)
            drop = inbox / f"{which}-{number}.h5ad"
            if not drop.exists():
                shutil.copy(files[which], drop.with_suffix(".part"))
                drop.with_suffix(".part").rename(drop)

    def _serving(self) -> subprocess.Popen[bytes]:
        if self._server is None or self._server.poll() is not None:
            self._said_before = self._times_said()
            self._server = self.home.launch("cli.main", "serve", "--port", "0", variables={"PYTHONUNBUFFERED": "1"})
        return self._server

    def _heeds_signals(self) -> bool:
        """Whether the server that runs now has said that it is there; before that, SIGTERM just ends it."""
        return self._times_said() > self._said_before

    def _times_said(self) -> int:
        return self.home.log.read_text().count(SERVES) if self.home.log.exists() else 0

    def _kill_one(self, server: subprocess.Popen[bytes]) -> None:
        tasks = self.home.processes(TASK)
        if tasks and self.random.random() < SHARE_OF_TASKS:
            self.kills["task"] += kill(self.random.choice(tasks))
        else:
            self.kills["serve"] += kill(server)

    def _all_over(self) -> bool:
        found = build_ports(self.home.settings).store.find(limit=10_000)
        over = [stored for stored in found if stored.value.state.final]
        due = [entry for stored in over for entry in stored.value.outbox if entry.not_before is None]
        return len(over) == self.n_submissions and not due


def _annotated(home: Home, file: Path) -> Path:
    """The results of a run that nobody disturbs."""
    status, _, errors = warm.command(["run", str(file), "--set", "map=off"], task_variables(home.settings), home.folder)
    assert status == 0, errors
    (stored,) = build_ports(home.settings).store.find()
    return _results(home, stored.value)


def _results(home: Home, record: Submission) -> Path:
    assert record.result is not None
    return home.settings.home / "results" / record.result.prefix


def _check_results(found: Path, undisturbed: Path, file: Path) -> None:
    assert sorted(path.name for path in found.iterdir()) == sorted(path.name for path in undisturbed.iterdir())
    for name in reproducible():
        assert (found / name).read_bytes() == (undisturbed / name).read_bytes(), name
    cells = pq.read_table(found / "annotations.parquet", columns=["cell_id"]).column("cell_id").to_pylist()
    with warnings.catch_warnings(action="ignore"):  # One is of a layout that anndata warns of.
        assert cells == list(anndata.read_h5ad(file).obs_names)
