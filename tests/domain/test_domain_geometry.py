"""Blocks and tasks cover every row once, at boundaries that do not depend on the number of tasks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.geometry import BLOCK_ROWS, Rows, block_count, task_rows
from shared.domain.plan import Accelerator, CostHints, Fleet, Workload, make_plan

CELLS = st.integers(0, 100_000)
TASKS = st.integers(1, 150)


@given(CELLS, TASKS)
def test_tasks_cover_every_row_once(n_cells: int, n_tasks: int) -> None:
    shares = [task_rows(n_cells, n_tasks, index) for index in range(n_tasks)]
    assert [row for share in shares for row in (share.start, share.stop)] == sorted(
        row for share in shares for row in (share.start, share.stop)
    )
    assert sum(len(share) for share in shares) == n_cells


@given(CELLS, TASKS)
def test_blocks_are_the_same_whatever_the_number_of_tasks(n_cells: int, n_tasks: int) -> None:
    cut = [block for index in range(n_tasks) for block in task_rows(n_cells, n_tasks, index).blocks()]
    assert cut == list(Rows(0, n_cells).blocks())
    assert len(cut) == block_count(n_cells)


@given(CELLS, TASKS)
def test_no_task_has_over_one_block_more_than_another(n_cells: int, n_tasks: int) -> None:
    blocks = [block_count(len(task_rows(n_cells, n_tasks, index))) for index in range(n_tasks)]
    assert max(blocks) - min(blocks) <= 1


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_range_that_starts_anywhere_is_cut_at_multiples_of_a_block(start: int, length: int) -> None:
    blocks = list(Rows(start, start + length).blocks())
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(start, start + length))
    assert all(block.start % BLOCK_ROWS == 0 for block in blocks[1:])
    assert all(0 < len(block) <= BLOCK_ROWS for block in blocks)
    assert {type(block.stop) for block in blocks} <= {int}


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_a_task_that_is_not_one_of_them_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=f"task {index} of 3"):
        task_rows(1000, 3, index)


@given(st.integers(1, 10**8), st.none() | st.integers(1, 10_000))
def test_a_plan_never_has_an_idle_task(n_cells: int, tasks: int | None) -> None:
    plan = make_plan(Workload(n_cells, n_cells * 1000, 1), CostHints(1.0, 1), Fleet(), tasks=tasks)
    assert 1 <= plan.n_tasks <= Fleet().max_tasks
    assert all(len(plan.rows_of(index)) > 0 for index in range(plan.n_tasks))


def test_a_model_that_needs_a_gpu_gets_one() -> None:
    plan = make_plan(Workload(10, 10, 10), CostHints(1.0, 1, needs_gpu=True), Fleet())
    assert plan.accelerator is Accelerator.GPU


def test_asking_for_seven_tasks_gives_seven_where_there_are_blocks_for_them() -> None:
    plan = make_plan(Workload(7 * BLOCK_ROWS, 1, 1), CostHints(1.0, 1), Fleet(), tasks=7)
    assert plan.n_tasks == 7
