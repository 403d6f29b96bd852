"""Status tells what a submission is expected to take, and what it took."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from functions.status.schemas import SubmissionView
from shared.domain.plan import Accelerator, Fleet
from shared.domain.prices import TIER_1
from tests.status.test_status_page import outline
from tests.status.world import World

BILLED = Fleet(prices=TIER_1)


def look_up(client: FlaskClient, submission_id: str) -> SubmissionView:
    return SubmissionView.model_validate_json(client.get(f"/v1/submissions/{submission_id}").data)


def test_a_queued_submission_tells_its_forecast_before_anything_is_spent(client: FlaskClient, world: World) -> None:
    view = look_up(client, world.queued(fleet=BILLED))
    assert view.plan is None
    assert view.verdict is not None
    told = view.verdict.forecast
    assert told is not None
    assert (told.accelerator, told.n_tasks) == (Accelerator.CPU, 1)
    assert told.seconds == pytest.approx(told.start_s + told.compute_s + told.merge_s, abs=0.2)
    assert told.usd == pytest.approx((told.compute_usd or 0) + (told.operations_usd or 0), abs=2e-6)


def test_a_record_from_before_there_were_forecasts_has_none(client: FlaskClient, world: World) -> None:
    found = world.queued()
    view = look_up(client, found)
    assert view.verdict is not None
    assert view.verdict.forecast is None
    assert "expected" not in outline(client, f"/submissions/{found}").text


def test_the_page_of_a_queued_submission_shows_what_it_will_take(client: FlaskClient, world: World) -> None:
    text = outline(client, f"/submissions/{world.queued(fleet=BILLED)}").text
    assert "s expected on CPU once started, $0.005" in text


def test_where_nothing_is_billed_no_cost_is_shown(client: FlaskClient, world: World) -> None:
    text = outline(client, f"/submissions/{world.queued(fleet=Fleet())}").text
    assert "expected on CPU once started" in text
    assert "$" not in text


def test_a_running_submission_shows_its_plan_s_time_and_cost(client: FlaskClient, world: World) -> None:
    running = world.running(usd=0.0123)
    view = look_up(client, running)
    assert view.plan is not None
    assert (view.plan.estimated_s, view.plan.estimated_usd) == (4.1, 0.0123)
    assert "about 4 s expected on CPU, $0.012" in outline(client, f"/submissions/{running}").text


def test_a_finished_submission_shows_what_it_took_beside_what_was_expected(client: FlaskClient, world: World) -> None:
    taken = {"estimated_s": 4.1, "actual_s": 65.0, "actual_usd": 0.0051}
    done = world.succeeded(taken=taken)
    assert taken.items() <= look_up(client, done).summary.items()
    text = outline(client, f"/submissions/{done}").text
    assert "Expected4 s" in text
    assert "Took1 min 05 s, $0.005 for machines" in text
