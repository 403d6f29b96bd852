"""Plans how a submission is computed: accelerator, number of tasks, and estimated seconds and dollars.

It makes a forecast for every sensible number of tasks on every available accelerator, and the objective picks one.
All figures come from ``rates`` and ``prices``; the same workload and fleet give the same plan.
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
    """The device that a task computes on."""

    CPU = "cpu"
    GPU = "gpu"


class Objective(StrEnum):
    """How a plan is chosen."""

    CHEAPEST = "cheapest"
    FASTEST = "fastest"
    DEADLINE = "deadline"
    """The cheapest plan within the deployment's deadline; the fastest if none meets it."""


@dataclass(frozen=True, slots=True)
class CostHints:
    """The cost of running a model, from its card.

    Attributes:
        flops_per_cell: Floating-point operations for one cell.
        weights_bytes: Size of the weights in memory.
    """

    flops_per_cell: float
    weights_bytes: int
    needs_gpu: bool = False

    def __add__(self, other: CostHints) -> CostHints:
        """Of two models that compute on the same cells, one after the other."""
        return CostHints(
            self.flops_per_cell + other.flops_per_cell,
            self.weights_bytes + other.weights_bytes,
            self.needs_gpu or other.needs_gpu,
        )


@dataclass(frozen=True, slots=True)
class Workload:
    """The size of the data to compute on."""

    n_cells: int
    nnz: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Pool:
    """The machines of one kind that an execution may use.

    Attributes:
        parallel: The most tasks of one execution at a time.
        waits: Whether further tasks wait for their turn, as on one machine. Cloud Run starts all tasks that it has
            capacity for, so a plan for it has at most ``parallel`` tasks, unless each of them would take too long.
    """

    shape: Shape
    parallel: int
    waits: bool = False


CPU_POOL = Pool(Shape(vcpus=4, memory_mib=8192), parallel=20)
GPU_POOL = Pool(Shape(vcpus=4, memory_mib=16384, gpus=1), parallel=3)
"""As in deploy/flavors, default and gpu, which a test checks. Terraform sets a deployment's own values."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The machines, limits and prices of a deployment.

    Attributes:
        gpu: None without a GPU job; a model that needs a GPU is then planned with GPU_POOL.
        prices: None where nothing is billed, as on one machine.
        max_tasks: The most tasks of one execution, however long they take.
        rows_per_task: The most cells per task, unless that needs too many tasks.
        task_timeout_s: The platform's time limit of one task. A plan uses at most half of it, before merging.
        deadline_s: The deadline in seconds for Objective.DEADLINE.
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
    """The estimated time and cost of one way to compute a submission.

    If not all tasks run at once, they run in rounds, and the start and compute times are those of all rounds.

    Attributes:
        seconds: From the start of the execution to the commit: start, computing and merging, one after another.
        usd: Machines and requests together; None where nothing is billed.
        start_s: Time to start containers and programs.
        compute_s: Compute time of the longest task.
        merge_s: Time of the merge, which the last task does.
        machine_s: Billed seconds of all tasks together.
        compute_usd: Cost of the machines.
        operations_usd: Cost of Firestore, Cloud Storage and Pub/Sub.
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
    """The chosen plan, as recorded with the submission.

    Attributes:
        estimated_s: Seconds from the start of the execution to the commit.
        estimated_usd: None where nothing is billed, and in records made before there were prices.
        usd_per_task_s: The price of one second of one task, to compute the actual cost with.
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
    """Choose the accelerator and the number of tasks. The arguments are those of ``forecast``."""
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
    """Forecast the time and cost of a workload's plan.

    Args:
        tasks: The requested number of tasks; capped by the number of blocks and by the fleet's limits.
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
    """Every plan to choose from, at least one: CPU before GPU, fewer tasks before more."""
    most = max(1, min(fleet.max_tasks, block_count(work.n_cells)))
    kinds = _accelerators(cost, fleet)
    # If no number of tasks fits in the time limit, plan with the requested number, or with as many as possible.
    wanted = [way for kind in kinds for way in _fitting(work, cost, fleet, kind, most, tasks)] or [
        _Way(work, cost, fleet, kind, min(tasks or most, most)) for kind in kinds
    ]
    return tuple(way.forecast() for way in wanted)


def operations(work: Workload, rates: Rates, *, n_tasks: int, task_s: float) -> Operations:
    """Count the requests of a submission whose tasks take ``task_s`` each, without faults.

    Every task that ends reads all tasks' documents, to see whether it is the last: ``n_tasks`` squared reads.
    """
    beats = n_tasks * task_s / rates.beat_s
    return Operations(
        firestore_reads=rates.submission_reads + n_tasks * rates.task_reads + n_tasks**2 + 2 * beats,
        firestore_writes=rates.submission_writes + n_tasks * rates.task_writes + beats,
        storage_a=rates.submission_objects + n_tasks * rates.task_objects,
        # The tasks together read the file once. The merge reads it twice: to copy it, and for its checksum.
        storage_b=rates.submission_looks + n_tasks * rates.task_looks + 3 * work.size_bytes / rates.read_bytes,
        pubsub_bytes=rates.submission_bytes,
    )


# --- Below: the time and cost of one plan --------------------------------------------------------------------------


def _cheapest(found: Sequence[Forecast]) -> Forecast:
    """The lowest cost; where nothing is billed, the least machine time."""
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
    """The numbers of tasks that fit in the time limit: at most those that run at a time, or if none fits, more."""
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
        """Whether the longest task uses at most half its time limit. The rest is for merging and slower machines."""
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
        requests = operations(self.work, rates, n_tasks=self.n_tasks, task_s=task_s).usd(prices) if prices else None
        return Forecast(
            accelerator=self.kind,
            n_tasks=self.n_tasks,
            seconds=round(start_s + compute_s + merge_s, 1),
            usd=None if machines is None or requests is None else round(machines + requests, 6),
            start_s=round(start_s, 1),
            compute_s=round(compute_s, 1),
            merge_s=round(merge_s, 1),
            machine_s=round(machine_s, 1),
            compute_usd=None if machines is None else round(machines, 6),
            operations_usd=None if requests is None else round(requests, 6),
        )

    @property
    def _largest_share(self) -> float:
        """The share of rows, 0 to 1, of the largest task; tasks own whole blocks."""
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
        """Compute time in seconds of a task with this share of the rows.

        On a CPU, the same threads inflate and multiply, so the two times add up. With a GPU, the CPU inflates while the
        GPU multiplies, so the slower of the two counts.
        """
        rates, vcpus = self.fleet.rates, _pool(self.fleet, self.kind).shape.vcpus
        read_s = share * self.work.nnz / (rates.nonzeros_per_vcpu_s * vcpus)
        flops = share * self.work.n_cells * self.cost.flops_per_cell
        if self.kind is Accelerator.GPU:
            return max(read_s, flops / rates.flops_per_gpu_s)
        return read_s + flops / (rates.flops_per_vcpu_s * vcpus)

    def _machine_s(self, task_s: float, merge_s: float) -> float:
        """Billed seconds. Every task is an instance of its own, and the last one also merges."""
        prices = self.fleet.prices
        if prices is None:
            return self.n_tasks * task_s + merge_s
        return (self.n_tasks - 1) * prices.billed_s(task_s) + prices.billed_s(task_s + merge_s)
