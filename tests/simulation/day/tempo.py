"""How long a task and a merge take: what the planner itself reckons with, so that no figure stands here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain.geometry import Rows
from shared.domain.plan import GPU_POOL, Accelerator, Fleet, Forecast, Pool, Workload, forecast, operations
from shared.domain.prices import TIER_1, Operations, Prices
from shared.domain.submission import Submission
from shared.settings import Backend, load_settings

MANY = 1_000
"""The planner rounds to tenths of a second: it is asked for so many times the work."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """The planner's figures for a fleet whose machines are billed."""

    fleet: Fleet
    prices: Prices

    def pool(self, kind: Accelerator) -> Pool:
        """The machines that the planner reckons with."""
        return (self.fleet.gpu or GPU_POOL) if kind is Accelerator.GPU else self.fleet.cpu

    def compute_s(self, record: Submission, rows: Rows) -> float:
        """From a task's first line to its last row."""
        assert record.plan is not None
        alone = self._alone(record, MANY)
        begin_s = alone.start_s - self.fleet.rates.platform_start_s
        return begin_s + alone.compute_s / MANY * len(rows) / record.plan.n_cells

    def merge_s(self, record: Submission) -> float:
        """Of the last task."""
        return self._alone(record, 1).merge_s

    def operations(self, record: Submission, *, task_s: float) -> Operations:
        """The requests of an undisturbed submission."""
        assert record.plan is not None
        return operations(_work(record, 1), self.fleet.rates, n_tasks=record.plan.n_tasks, task_s=task_s)

    def _alone(self, record: Submission, times: int) -> Forecast:
        """All the cells in one task of the plan's kind."""
        assert record.plan is not None
        assert record.model is not None
        on_gpu = record.plan.accelerator is Accelerator.GPU
        cost = replace(record.model.cost, needs_gpu=on_gpu)
        fleet = self.fleet if on_gpu else replace(self.fleet, gpu=None)
        return forecast(_work(record, times), cost, fleet, tasks=1)


def deployed() -> Tempo:
    """Of a deployment with every setting at its default, a job with a GPU among them."""
    return Tempo(load_settings(backend=Backend.GCP, _env_file=None).fleet, TIER_1)


def _work(record: Submission, times: int) -> Workload:
    assert record.verdict is not None
    assert record.verdict.matrix is not None
    matrix = record.verdict.matrix
    return Workload(matrix.n_cells * times, matrix.nnz * times, record.verdict.size_bytes * times)
