"""The planner: of all plans that there are, the one that was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.domain.geometry import BLOCK_ROWS, block_count
from shared.domain.plan import (
    CPU_POOL,
    GPU_POOL,
    Accelerator,
    CostHints,
    Fleet,
    Forecast,
    Objective,
    Pool,
    Workload,
    candidates,
    forecast,
    make_plan,
    operations,
)
from shared.domain.prices import TIER_1, Operations, Prices
from shared.domain.rates import RATES

PER_CELL = 2240
"""Stored values of a cell, as in the file that the rates were measured on."""
LINEAR = CostHints(flops_per_cell=48_000, weights_bytes=120_312)
LARGE = CostHints(flops_per_cell=5e9, weights_bytes=2 * 10**9)

CELLS = st.integers(1, 20_000_000)
COSTS = st.builds(CostHints, st.floats(0, 1e10), st.integers(0, 10**10), st.booleans())
FLEETS = st.builds(
    Fleet,
    gpu=st.none() | st.just(GPU_POOL),
    prices=st.none() | st.just(TIER_1),
    max_tasks=st.integers(1, 60),
    rows_per_task=st.integers(256, 1_000_000),
    task_timeout_s=st.floats(60, 20_000),
    deadline_s=st.floats(1, 5_000),
)


def work(n_cells: int) -> Workload:
    return Workload(n_cells, PER_CELL * n_cells, 5280 * n_cells)


def price(one: Forecast) -> float:
    return one.machine_s if one.usd is None else one.usd


def fits(one: Forecast, cost: CostHints, fleet: Fleet) -> bool:
    """Whether a task takes half of the time limit at most, to a tenth of a second."""
    rounds = -(-one.n_tasks // (GPU_POOL if one.accelerator is Accelerator.GPU else fleet.cpu).parallel)
    return _begin_s(cost, one.accelerator) + one.compute_s / rounds <= fleet.task_timeout_s / 2 + 0.1


@given(CELLS, COSTS, FLEETS)
def test_no_other_plan_is_cheaper_than_the_cheapest(n_cells: int, cost: CostHints, fleet: Fleet) -> None:
    chosen = forecast(work(n_cells), cost, fleet, objective=Objective.CHEAPEST)
    others = candidates(work(n_cells), cost, fleet)
    assert price(chosen) == min(map(price, others))
    assert chosen.n_tasks == min(one.n_tasks for one in others if price(one) == price(chosen))


@given(CELLS, COSTS, FLEETS)
def test_no_other_plan_is_faster_than_the_fastest(n_cells: int, cost: CostHints, fleet: Fleet) -> None:
    chosen = forecast(work(n_cells), cost, fleet, objective=Objective.FASTEST)
    others = candidates(work(n_cells), cost, fleet)
    assert chosen.seconds == min(one.seconds for one in others)
    assert chosen.n_tasks == min(one.n_tasks for one in others if one.seconds == chosen.seconds)


@given(CELLS, COSTS, FLEETS)
def test_a_deadline_is_met_at_the_least_cost_wherever_it_can_be(n_cells: int, cost: CostHints, fleet: Fleet) -> None:
    chosen = forecast(work(n_cells), cost, fleet)
    in_time = [one for one in candidates(work(n_cells), cost, fleet) if one.seconds <= fleet.deadline_s]
    if in_time:
        assert chosen.seconds <= fleet.deadline_s
        assert price(chosen) == min(map(price, in_time))
    else:
        assert chosen == forecast(work(n_cells), cost, fleet, objective=Objective.FASTEST)


@given(CELLS, st.integers(0, 1_000_000), COSTS, FLEETS)
def test_more_cells_never_cost_less(n_cells: int, more: int, cost: CostHints, fleet: Fleet) -> None:
    # Where no number of tasks fits in the time limit, an accelerator that was too slow may be chosen after all.
    assume(all(fits(one, cost, fleet) for one in candidates(work(n_cells + more), cost, fleet)))
    few = forecast(work(n_cells), cost, fleet, objective=Objective.CHEAPEST)
    many = forecast(work(n_cells + more), cost, fleet, objective=Objective.CHEAPEST)
    assert price(few) <= price(many)


@given(CELLS, st.integers(0, 1_000_000), COSTS, FLEETS, st.integers(1, 60))
def test_more_cells_where_as_many_tasks_are_asked_for_never_take_less_time(
    n_cells: int, more: int, cost: CostHints, fleet: Fleet, tasks: int
) -> None:
    tasks = min(tasks, block_count(n_cells))
    few, many = (
        forecast(work(n), cost, fleet, tasks=tasks, objective=Objective.FASTEST) for n in (n_cells, n_cells + more)
    )
    assert few.seconds <= many.seconds


@given(CELLS, COSTS, FLEETS, st.sampled_from(Objective), st.none() | st.integers(1, 10_000))
def test_a_plan_is_its_forecast(
    n_cells: int, cost: CostHints, fleet: Fleet, objective: Objective, tasks: int | None
) -> None:
    plan = make_plan(work(n_cells), cost, fleet, objective=objective, tasks=tasks)
    told = forecast(work(n_cells), cost, fleet, objective=objective, tasks=tasks)
    expected = (told.accelerator, told.n_tasks, told.seconds, told.usd)
    assert (plan.accelerator, plan.n_tasks, plan.estimated_s, plan.estimated_usd) == expected


@given(CELLS, COSTS, FLEETS, st.none() | st.integers(1, 10_000))
def test_a_forecast_adds_up(n_cells: int, cost: CostHints, fleet: Fleet, tasks: int | None) -> None:
    for one in candidates(work(n_cells), cost, fleet, tasks=tasks):
        assert one.seconds == pytest.approx(one.start_s + one.compute_s + one.merge_s, abs=0.2)
        if fleet.prices is None:
            assert (one.usd, one.compute_usd, one.operations_usd) == (None, None, None)
        else:
            assert one.compute_usd is not None
            assert one.operations_usd is not None
            assert one.usd == pytest.approx(one.compute_usd + one.operations_usd, abs=2e-6)


@given(CELLS, COSTS, FLEETS)
def test_every_candidate_leaves_half_of_the_tasks_time_unless_none_can(
    n_cells: int, cost: CostHints, fleet: Fleet
) -> None:
    found = candidates(work(n_cells), cost, fleet)
    most = min(fleet.max_tasks, block_count(n_cells))
    for one in found:
        assert fits(one, cost, fleet) or one.n_tasks == most


def test_where_nothing_fits_either_accelerator_may_have_all_the_tasks_there_are() -> None:
    fleet = Fleet(gpu=GPU_POOL, prices=TIER_1, max_tasks=47, task_timeout_s=60)
    cost = CostHints(flops_per_cell=4e9, weights_bytes=0)
    few, many = (candidates(work(n_cells), cost, fleet) for n_cells in (780_000, 910_000))
    assert {one.accelerator for one in few} == {Accelerator.GPU}
    assert [(one.accelerator, one.n_tasks) for one in many] == [(Accelerator.CPU, 47), (Accelerator.GPU, 47)]


@given(st.integers(1, 10**8), FLEETS)
def test_no_task_has_more_cells_than_allowed_as_long_as_there_are_tasks(n_cells: int, fleet: Fleet) -> None:
    chosen = forecast(work(n_cells), LINEAR, fleet)
    at_once = GPU_POOL.parallel if chosen.accelerator is Accelerator.GPU else fleet.cpu.parallel
    wanted = -(-n_cells // fleet.rows_per_task)
    assert chosen.n_tasks >= min(fleet.max_tasks, at_once, block_count(n_cells), wanted)


@given(CELLS, COSTS, FLEETS, st.none() | st.integers(1, 10_000))
def test_more_tasks_than_may_run_at_once_are_made_only_where_those_would_take_too_long(
    n_cells: int, cost: CostHints, fleet: Fleet, tasks: int | None
) -> None:
    patient = replace(fleet, task_timeout_s=1e12)
    for one in candidates(work(n_cells), cost, fleet, tasks=tasks):
        parallel = (GPU_POOL if one.accelerator is Accelerator.GPU else fleet.cpu).parallel
        if one.n_tasks > parallel:
            at_once = candidates(work(n_cells), cost, patient, tasks=parallel)
            compute_s = next(other.compute_s for other in at_once if other.accelerator is one.accelerator)
            assert _begin_s(cost, one.accelerator) + compute_s > fleet.task_timeout_s / 2 - 0.1


def _begin_s(cost: CostHints, kind: Accelerator) -> float:
    device_s = RATES.gpu_start_s if kind is Accelerator.GPU else 0.0
    return RATES.import_s + device_s + cost.weights_bytes / RATES.load_bytes_per_s


def test_a_platform_that_begins_with_every_task_is_asked_for_no_more_than_there_is_room_for() -> None:
    fleet = Fleet(cpu=Pool(CPU_POOL.shape, parallel=3), rows_per_task=1000)
    assert forecast(work(100_000), LINEAR, fleet).n_tasks == 3
    assert forecast(work(100_000), LINEAR, fleet, tasks=7).n_tasks == 3
    waiting = replace(fleet, cpu=replace(fleet.cpu, waits=True))
    assert forecast(work(100_000), LINEAR, waiting, tasks=7).n_tasks == 7
    assert forecast(work(100_000), LARGE, replace(fleet, task_timeout_s=120)).n_tasks > 3


def test_a_gpu_is_taken_only_where_it_pays() -> None:
    fleet = Fleet(prices=TIER_1, gpu=GPU_POOL)
    assert forecast(work(100_000), LINEAR, fleet).accelerator is Accelerator.CPU
    assert forecast(work(100_000), LARGE, fleet).accelerator is Accelerator.GPU
    assert forecast(work(100_000), LARGE, replace(fleet, gpu=None)).accelerator is Accelerator.CPU


def test_a_gpu_that_has_nothing_to_do_is_not_the_fastest() -> None:
    fleet = Fleet(prices=TIER_1, gpu=GPU_POOL)
    assert forecast(work(100_000), LINEAR, fleet, objective=Objective.FASTEST).accelerator is Accelerator.CPU


def test_a_short_task_is_billed_for_a_minute_so_that_splitting_it_costs() -> None:
    one, two = (forecast(work(10_000), LINEAR, Fleet(prices=TIER_1), tasks=n) for n in (1, 2))
    assert (one.machine_s, two.machine_s) == (60.0, 120.0)


def test_where_nothing_is_billed_the_least_machine_time_is_the_cheapest() -> None:
    assert forecast(work(100_000), LINEAR, Fleet(), objective=Objective.CHEAPEST).n_tasks == 1


def test_machines_cost_what_their_seconds_do() -> None:
    one = forecast(work(1_000_000), LINEAR, Fleet(prices=TIER_1))
    assert one.compute_usd == pytest.approx(one.machine_s * CPU_POOL.shape.usd_per_s(TIER_1), rel=1e-3)


def test_each_task_begins_anew_and_all_together_compute_as_long_as_one() -> None:
    one, four = (forecast(work(1_000_000), LARGE, Fleet(cpu=CPU_POOL), tasks=tasks) for tasks in (1, 4))
    assert four.machine_s - one.machine_s == pytest.approx(3 * _begin_s(LARGE, Accelerator.CPU), abs=0.2)


def test_a_deadline_that_is_met_to_the_second_is_met() -> None:
    fleet = Fleet(prices=TIER_1, deadline_s=1.0)
    cheapest = forecast(work(1_000_000), LINEAR, fleet, objective=Objective.CHEAPEST)
    assert forecast(work(1_000_000), LINEAR, fleet).n_tasks > cheapest.n_tasks
    assert forecast(work(1_000_000), LINEAR, replace(fleet, deadline_s=cheapest.seconds)) == cheapest


def test_a_file_is_read_three_times_in_all() -> None:
    sizes = (RATES.read_bytes, 11 * RATES.read_bytes)
    few, many = (operations(Workload(256, 1, size), RATES, n_tasks=2, task_s=1.0) for size in sizes)
    assert many.storage_b - few.storage_b == pytest.approx(30)


def test_tasks_that_wait_for_their_turn_gain_nothing() -> None:
    fleet = replace(Fleet(), cpu=replace(Fleet().cpu, parallel=1))
    assert forecast(work(100_000), LINEAR, fleet, objective=Objective.FASTEST).n_tasks == 1


def test_a_number_of_tasks_that_is_asked_for_stands_above_every_objective() -> None:
    for objective in Objective:
        assert forecast(work(100 * BLOCK_ROWS), LINEAR, Fleet(), objective=objective, tasks=7).n_tasks == 7


@pytest.mark.parametrize(
    ("lived_s", "billed_s"), [(0.0, 60.0), (60.0, 60.0), (60.01, 60.1), (61.3, 61.3), (61.31, 61.4)]
)
def test_an_instance_is_billed_by_the_tenth_of_a_second_from_a_minute_on(lived_s: float, billed_s: float) -> None:
    assert TIER_1.billed_s(lived_s) == pytest.approx(billed_s)


def test_a_second_of_a_task_costs_its_processors_its_memory_and_its_gpu() -> None:
    prices = Prices("test", "2026-11-28", 2.0, 3.0, 50.0, 60.0, 0.1, 0, 0, 0, 0, 0)
    assert Fleet().cpu.shape.usd_per_s(prices) == 4 * 2 + 8 * 3
    assert GPU_POOL.shape.usd_per_s(prices) == 4 * 2 + 16 * 3 + 50


def test_requests_are_counted_a_submission_a_task_a_pair_of_tasks_and_a_beat() -> None:
    rates = replace(
        RATES,
        beat_s=2.0,
        read_bytes=100,
        submission_reads=1_000,
        task_reads=70,
        submission_writes=2_000,
        task_writes=60,
        submission_objects=3_000,
        task_objects=50,
        submission_looks=4_000,
        task_looks=40,
        submission_bytes=5_000,
    )
    found = operations(Workload(1, 1, size_bytes=250), rates, n_tasks=3, task_s=10.0)  # Each task beats five times.
    assert found == Operations(
        firestore_reads=1_000 + 3 * 70 + 3 * 3 + 15 * 2,
        firestore_writes=2_000 + 3 * 60 + 15,
        storage_a=3_000 + 3 * 50,
        storage_b=4_000 + 3 * 40 + 3 * 2.5,
        pubsub_bytes=5_000,
    )


def test_a_file_without_cells_has_a_plan_of_one_task() -> None:
    assert {one.n_tasks for one in candidates(work(0), LINEAR, Fleet())} == {1}


def test_tasks_that_wait_for_each_other_take_the_time_of_all_rounds() -> None:
    n_cells = 400 * BLOCK_ROWS
    at_once, one_by_one, in_two = (
        candidates(
            work(n_cells), LARGE, Fleet(cpu=Pool(CPU_POOL.shape, parallel, waits=True), task_timeout_s=1e6), tasks=4
        )[0]
        for parallel in (4, 1, 3)
    )
    assert at_once.compute_s > 10
    assert one_by_one.compute_s == pytest.approx(4 * at_once.compute_s, abs=0.3)
    assert in_two.compute_s == pytest.approx(2 * at_once.compute_s, abs=0.3)
    assert one_by_one.start_s == pytest.approx(4 * at_once.start_s, abs=0.3)
