"""How a submission will be computed: accelerator, number of tasks, and what it will take in seconds and dollars.

One forecast is made for every sensible number of tasks on every accelerator that there is, and the objective picks one.
All of it is arithmetic on figures from ``rates`` and ``prices``: the same workload and fleet give the same plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from shared.domain.geometry import BLOCK_ROWS, Rows, block_count, task_rows
from shared.domain.prices import Operations, Prices, Shape
from shared.domain.rates import RATES, Rates


class Accelerator(StrEnum):
    """What a task computes on."""

    CPU = "cpu"
    GPU = "gpu"


class Objective(StrEnum):
    """What a plan is chosen for."""

    CHEAPEST = "cheapest"
    FASTEST = "fastest"
    DEADLINE = "deadline"
    """The cheapest that ends within the deployment's deadline; the fastest where none does."""


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
class Pool:
    """The machines of one kind that an execution may have.

    Attributes:
        parallel: Tasks of one execution at a time.
        waits: Whether those beyond ``parallel`` wait for their turn, as embedded. Cloud Run begins with all that there
            is room for, so that a plan has no more than ``parallel``, unless each of them would take too long.
    """

    shape: Shape
    parallel: int
    waits: bool = False


CPU_POOL = Pool(Shape(vcpus=4, memory_mib=8192), parallel=20)
GPU_POOL = Pool(Shape(vcpus=4, memory_mib=16384, gpus=1), parallel=3)
"""As in deploy/flavors, default and gpu; a test holds them together, and Terraform tells a deployment its own."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a deployment can plan with.

    Attributes:
        gpu: None where there is no job with a GPU; a model that needs one is planned for GPU_POOL all the same.
        prices: None where nothing is billed: embedded.
        max_tasks: Most tasks of one execution, however long they take.
        rows_per_task: Most cells of one task, as long as there are tasks enough.
        task_timeout_s: What the platform gives one task. A plan fills half of it at most, before merging.
        deadline_s: Seconds that Objective.DEADLINE asks for.
    """

    cpu: Pool = CPU_POOL
    gpu: Pool | None = None
    prices: Prices | None = None
    rates: Rates = RATES
    max_tasks: int = 100
    rows_per_task: int = 250_000
    task_timeout_s: float = 3600.0
    deadline_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one way of computing a submission will take.

    Attributes:
        seconds: From the start of the execution to the commit: start, computing and merging, one after another.
        usd: Machines and requests together; None where nothing is billed.
        start_s: Starting containers and programs, of every round where not all tasks run at a time.
        compute_s: Of the longest task, in every round.
        merge_s: Of the last task.
        machine_s: Seconds of all tasks together, as they are billed.
        compute_usd: The machines.
        operations_usd: Firestore, Cloud Storage and Pub/Sub.
    """

    accelerator: Accelerator
    n_tasks: int
    seconds: float
    usd: float | None
    start_s: float
    compute_s: float
    merge_s: float
    machine_s: float
    compute_usd: float | None
    operations_usd: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision, as recorded with the submission.

    Attributes:
        estimated_s: From the start of the execution to the commit.
        estimated_usd: None where nothing is billed, and in records from before there were prices.
        usd_per_task_s: What a second of one task costs, to set the actual cost beside the estimate.
    """

    accelerator: Accelerator
    n_tasks: int
    n_cells: int
    estimated_s: float
    estimated_usd: float | None = None
    usd_per_task_s: float | None = None

    def rows_of(self, index: int) -> Rows:
        """The rows that task ``index`` owns."""
        return task_rows(self.n_cells, self.n_tasks, index)


def make_plan(
    work: Workload,
    cost: CostHints,
    fleet: Fleet,
    *,
    objective: Objective = Objective.DEADLINE,
    tasks: int | None = None,
) -> Plan:
    """Choose accelerator and number of tasks; arguments as ``forecast``."""
    chosen = forecast(work, cost, fleet, objective=objective, tasks=tasks)
    per_s = _pool(fleet, chosen.accelerator).shape.usd_per_s(fleet.prices) if fleet.prices else None
    return Plan(chosen.accelerator, chosen.n_tasks, work.n_cells, chosen.seconds, chosen.usd, per_s)


def forecast(
    work: Workload,
    cost: CostHints,
    fleet: Fleet,
    *,
    objective: Objective = Objective.DEADLINE,
    tasks: int | None = None,
) -> Forecast:
    """What the plan for a workload will take.

    Args:
        tasks: As many as asked for, but never more than there are blocks of rows or the fleet allows at a time.
    """
    found = candidates(work, cost, fleet, tasks=tasks)
    match objective:
        case Objective.CHEAPEST:
            return _cheapest(found)
        case Objective.FASTEST:
            return _fastest(found)
        case Objective.DEADLINE:
            in_time = [one for one in found if one.seconds <= fleet.deadline_s]
            return _cheapest(in_time) if in_time else _fastest(found)
        case _:
            assert_never(objective)


def candidates(work: Workload, cost: CostHints, fleet: Fleet, *, tasks: int | None = None) -> tuple[Forecast, ...]:
    """Every plan that there is to choose from, never none: CPU before GPU, fewer tasks before more."""
    most = max(1, min(fleet.max_tasks, block_count(work.n_cells)))
    kinds = _accelerators(cost, fleet)
    # Where even the most tasks are too long, or so many were asked for, they are the best that can be done.
    wanted = [way for kind in kinds for way in _fitting(work, cost, fleet, kind, most, tasks)] or [
        _Way(work, cost, fleet, kind, min(tasks or most, most)) for kind in kinds
    ]
    return tuple(way.forecast() for way in wanted)


def operations(work: Workload, rates: Rates, *, n_tasks: int, task_s: float) -> Operations:
    """The requests of a submission whose every task takes ``task_s``, undisturbed.

    Every task that ends looks at all tasks, to see whether it is the last: their square is read.
    """
    beats = n_tasks * task_s / rates.beat_s
    return Operations(
        firestore_reads=rates.submission_reads + n_tasks * rates.task_reads + n_tasks**2 + 2 * beats,
        firestore_writes=rates.submission_writes + n_tasks * rates.task_writes + beats,
        storage_a=rates.submission_objects + n_tasks * rates.task_objects,
        # The tasks read the file between them, and whoever merges reads it twice: to copy it, and for its checksum.
        storage_b=rates.submission_looks + n_tasks * rates.task_looks + 3 * work.size_bytes / rates.read_bytes,
        pubsub_bytes=rates.submission_bytes,
    )


# --- Below: what one plan takes -----------------------------------------------------------------------------------


def _cheapest(found: Sequence[Forecast]) -> Forecast:
    """Where nothing is billed, the least machine time."""
    return min(found, key=lambda one: (one.machine_s if one.usd is None else one.usd, one.n_tasks, one.seconds))


def _fastest(found: Sequence[Forecast]) -> Forecast:
    return min(found, key=lambda one: (one.seconds, one.n_tasks, one.machine_s))


def _accelerators(cost: CostHints, fleet: Fleet) -> tuple[Accelerator, ...]:
    if cost.needs_gpu:
        return (Accelerator.GPU,)
    return (Accelerator.CPU, Accelerator.GPU) if fleet.gpu else (Accelerator.CPU,)


def _fitting(
    work: Workload, cost: CostHints, fleet: Fleet, kind: Accelerator, most: int, asked: int | None
) -> list[_Way]:
    """Ways whose tasks have time enough: of as many tasks as may run at a time, or else of more."""
    pool = _pool(fleet, kind)
    for bound in (most if pool.waits else min(most, pool.parallel), most):
        last = min(asked or bound, bound)
        first = last if asked else min(last, max(1, -(-work.n_cells // fleet.rows_per_task)))
        fitting = [way for n in range(first, last + 1) if (way := _Way(work, cost, fleet, kind, n)).fits]
        if fitting:
            return fitting
    return []


def _pool(fleet: Fleet, kind: Accelerator) -> Pool:
    return (fleet.gpu or GPU_POOL) if kind is Accelerator.GPU else fleet.cpu


@dataclass(frozen=True, slots=True)
class _Way:
    """One number of tasks on one accelerator."""

    work: Workload
    cost: CostHints
    fleet: Fleet
    kind: Accelerator
    n_tasks: int

    @property
    def fits(self) -> bool:
        """Whether the longest task leaves half its time for merging, and for a machine slower than the measured one."""
        return self._begin_s + self._compute_s(self._largest_share) <= self.fleet.task_timeout_s / 2

    def forecast(self) -> Forecast:
        rates, prices = self.fleet.rates, self.fleet.prices
        pool = _pool(self.fleet, self.kind)
        rounds = -(-self.n_tasks // pool.parallel)
        start_s = rounds * (rates.platform_start_s + self._begin_s)
        compute_s = rounds * self._compute_s(self._largest_share)
        merge_s = rates.merge_start_s + self.work.n_cells / rates.merge_cells_per_s
        task_s = self._begin_s + self._compute_s(1 / self.n_tasks)
        machine_s = self._machine_s(task_s, merge_s)
        machines = machine_s * pool.shape.usd_per_s(prices) if prices else None
        asked = operations(self.work, rates, n_tasks=self.n_tasks, task_s=task_s).usd(prices) if prices else None
        return Forecast(
            accelerator=self.kind,
            n_tasks=self.n_tasks,
            seconds=round(start_s + compute_s + merge_s, 1),
            usd=None if machines is None or asked is None else round(machines + asked, 6),
            start_s=round(start_s, 1),
            compute_s=round(compute_s, 1),
            merge_s=round(merge_s, 1),
            machine_s=round(machine_s, 1),
            compute_usd=None if machines is None else round(machines, 6),
            operations_usd=None if asked is None else round(asked, 6),
        )

    @property
    def _largest_share(self) -> float:
        """Of the rows, 0 to 1: tasks own whole blocks."""
        if not self.work.n_cells:
            return 0.0
        blocks = -(-block_count(self.work.n_cells) // self.n_tasks)
        return min(1.0, blocks * BLOCK_ROWS / self.work.n_cells)

    @property
    def _begin_s(self) -> float:
        rates = self.fleet.rates
        device_s = rates.gpu_start_s if self.kind is Accelerator.GPU else 0.0
        return rates.import_s + device_s + self.cost.weights_bytes / rates.load_bytes_per_s

    def _compute_s(self, share: float) -> float:
        """Seconds of a task that owns a share of the rows.

        The same threads of a CPU inflate and multiply, so that the two add up; beside a GPU they only inflate while it
        multiplies, and the slower of the two is waited for.
        """
        rates, vcpus = self.fleet.rates, _pool(self.fleet, self.kind).shape.vcpus
        read_s = share * self.work.nnz / (rates.nonzeros_per_vcpu_s * vcpus)
        flops = share * self.work.n_cells * self.cost.flops_per_cell
        if self.kind is Accelerator.GPU:
            return max(read_s, flops / rates.flops_per_gpu_s)
        return read_s + flops / (rates.flops_per_vcpu_s * vcpus)

    def _machine_s(self, task_s: float, merge_s: float) -> float:
        """Seconds that are paid for: every task is an instance of its own, and the last one also merges."""
        prices = self.fleet.prices
        if prices is None:
            return self.n_tasks * task_s + merge_s
        return (self.n_tasks - 1) * prices.billed_s(task_s) + prices.billed_s(task_s + merge_s)
