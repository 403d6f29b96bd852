"""How a submission will be computed: accelerator, number of tasks, estimate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.geometry import Rows, block_count, task_rows


class Accelerator(StrEnum):
    """What a task computes on."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class CostHints:
    """What a model costs to run, from its card.

    Attributes:
        flops_per_cell: Floating-point operations for one cell.
        weights_bytes: Size of the weights in memory.
    """

    flops_per_cell: float
    weights_bytes: int
    needs_gpu: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be computed."""

    n_cells: int
    nnz: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What one task gets through, measured; the speed issue keeps them true.

    Attributes:
        nonzeros_per_s: Stored values read, inflated and multiplied in a second.
        start_s: Fixed seconds of a task before its first row.
    """

    nonzeros_per_s: float = 2.0e7
    start_s: float = 4.0
    max_tasks: int = 100
    rows_per_task: int = 250_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision, as recorded with the submission."""

    accelerator: Accelerator
    n_tasks: int
    n_cells: int
    estimated_s: float

    def rows_of(self, index: int) -> Rows:
        """The rows that task ``index`` owns."""
        return task_rows(self.n_cells, self.n_tasks, index)


def make_plan(work: Workload, cost: CostHints, rates: Rates, *, tasks: int | None = None) -> Plan:
    """Choose accelerator and number of tasks.

    Args:
        tasks: As many as asked for, but never more than there are blocks of rows.
    """
    wanted = tasks or -(-work.n_cells // rates.rows_per_task)
    n_tasks = max(1, min(wanted, block_count(work.n_cells), rates.max_tasks))
    seconds = rates.start_s + work.nnz / rates.nonzeros_per_s / n_tasks
    accelerator = Accelerator.GPU if cost.needs_gpu else Accelerator.CPU
    return Plan(accelerator, n_tasks, work.n_cells, round(seconds, 1))
