"""What ingest forecasts is what dispatch plans, and stands with the record from the first write on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.geometry import BLOCK_ROWS
from shared.domain.plan import GPU_POOL, Accelerator, Fleet
from shared.domain.prices import TIER_1
from shared.domain.submission import State
from tests.services.house import House, good_verdict, refusing_verdict

FLEETS = {
    "embedded": Fleet(),
    "billed": Fleet(prices=TIER_1),
    "with a GPU": Fleet(prices=TIER_1, gpu=GPU_POOL),
    "small tasks": Fleet(prices=TIER_1, rows_per_task=2 * BLOCK_ROWS),
}
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"objective": "cheapest"},
    {"objective": "fastest"},
    {"objective": "deadline", "tasks": "3"},
)


def planning_with(house: House, fleet: Fleet) -> House:
    house.ingest, house.dispatch = replace(house.ingest, fleet=fleet), replace(house.dispatch, fleet=fleet)
    return house


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("fleet", FLEETS.values(), ids=FLEETS.keys())
def test_the_forecast_of_a_verdict_is_the_plan_that_dispatch_records(
    house: House, fleet: Fleet, options: dict[str, str]
) -> None:
    house.verdict = good_verdict(20 * BLOCK_ROWS)
    verdict = planning_with(house, fleet).accept(options).value.verdict
    assert verdict is not None
    assert verdict.forecast is not None
    assert house.only().plan is None
    house.deliver()
    plan, told = house.only().plan, verdict.forecast
    assert plan is not None
    assert (plan.accelerator, plan.n_tasks) == (told.accelerator, told.n_tasks)
    assert (plan.estimated_s, plan.estimated_usd) == (told.seconds, told.usd)
    assert (plan.usd_per_task_s is None) == (fleet.prices is None)


def test_an_objective_that_is_asked_for_is_planned_for(house: House) -> None:
    house.verdict = good_verdict(400 * BLOCK_ROWS)
    matrix = house.verdict.matrix
    assert matrix is not None
    house.verdict = replace(house.verdict, matrix=replace(matrix, nnz=10**9))
    planning_with(house, Fleet(prices=TIER_1))
    told = [house.accept({"objective": name}).value.verdict for name in ("cheapest", "fastest")]
    cheapest, fastest = (verdict.forecast for verdict in told if verdict and verdict.forecast)
    assert cheapest.usd is not None
    assert fastest.usd is not None
    assert cheapest.usd < fastest.usd
    assert cheapest.seconds > fastest.seconds
    assert cheapest.accelerator is Accelerator.CPU


def test_a_refused_file_has_no_forecast(house: House) -> None:
    house.verdict = refusing_verdict()
    record = house.accept().value
    assert record.state is State.REJECTED
    assert record.verdict is not None
    assert record.verdict.forecast is None


def test_an_objective_that_nobody_knows_is_refused(house: House) -> None:
    record = house.accept({"objective": "soon"}).value
    assert record.failure is not None
    assert (record.state, record.failure.code) == (State.REJECTED, "INVALID_OPTION")


def test_the_claim_s_time_is_kept_for_what_it_takes_in_the_end(house: House) -> None:
    house.accept()
    house.deliver()
    claimed = house.only()
    assert claimed.dispatched_at == claimed.changed_at
    house.later(seconds=30)
    house.run_all()
    assert house.only().dispatched_at == claimed.dispatched_at
