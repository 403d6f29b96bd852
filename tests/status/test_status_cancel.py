"""Cancelling: once, by our own page or a program, and never from another site."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from functions.status.schemas import SubmissionView
from shared.domain.errors import AccessDeniedError, InternalError, SettingsError, UnavailableError
from shared.domain.submission import EntryKind, State
from tests.fakes.calls import FailEvery, Hook, nothing
from tests.status.world import World


def test_a_cancelled_submission_is_over_and_its_execution_is_stopped(client: FlaskClient, world: World) -> None:
    found = world.running()
    response = client.post(f"/v1/submissions/{found}:cancel")
    view = SubmissionView.model_validate_json(response.data)
    assert (response.status_code, view.state, view.final) == (200, State.CANCELLED, True)
    assert world.record(found).state is State.CANCELLED
    assert world.jobs.cancelled == [f"execution-of-{found}"]
    assert [message.attributes["ce-type"] for message in world.bus.outcomes()] == ["celldrop.submission.cancelled.v1"]


def test_what_status_may_not_pay_is_left_for_reconcile(client: FlaskClient, world: World) -> None:
    found = world.running()
    client.post(f"/v1/submissions/{found}:cancel")
    assert [entry.kind for entry in world.record(found).outbox] == [EntryKind.SWEEP]


def test_cancelling_twice_is_cancelling_once(client: FlaskClient, world: World) -> None:
    found = world.running()
    first = client.post(f"/v1/submissions/{found}:cancel").get_json()
    second = client.post(f"/v1/submissions/{found}:cancel").get_json()
    assert {**first, "read_at": ""} == {**second, "read_at": ""}
    assert len(world.bus.outcomes()) == 1


@pytest.mark.parametrize("end", ["succeeded", "failed", "rejected"])
def test_what_ended_otherwise_cannot_be_cancelled(client: FlaskClient, world: World, end: str) -> None:
    found = {"succeeded": world.succeeded, "failed": world.failed, "rejected": world.rejected}[end]()
    before = world.record(found)
    response = client.post(f"/v1/submissions/{found}:cancel")
    assert (response.status_code, response.get_json()["code"]) == (409, "ILLEGAL_TRANSITION")
    assert end.upper() in response.get_json()["detail"]
    assert response.get_json()["hint"]
    assert world.record(found) == before


def down(_: str) -> None:
    raise UnavailableError("no answer")


def test_a_bus_that_is_down_does_not_undo_a_cancellation(client: FlaskClient, world: World) -> None:
    found = world.running()
    world.bus.hook = down
    response = client.post(f"/v1/submissions/{found}:cancel")
    assert (response.status_code, response.get_json()["state"]) == (200, "CANCELLED")
    assert EntryKind.OUTCOME in {entry.kind for entry in world.record(found).outbox}


@pytest.mark.parametrize(
    "fault",
    [
        UnavailableError("no answer"),
        AccessDeniedError("may not cancel executions"),
        SettingsError("no topic"),
        InternalError("400"),
        ZeroDivisionError(),
    ],
    ids=lambda fault: type(fault).__name__,
)
@pytest.mark.parametrize("at", ["jobs.cancel", "bus.publish", "status.history"])
def test_what_fails_after_the_cancellation_does_not_hide_it(
    client: FlaskClient, world: World, at: str, fault: Exception
) -> None:
    found = world.running()
    _hook(world, FailEvery(at, fault))
    response = client.post(f"/v1/submissions/{found}:cancel")
    view = SubmissionView.model_validate_json(response.data)
    assert (response.status_code, view.state, view.final) == (200, State.CANCELLED, True)
    assert world.record(found).state is State.CANCELLED
    _hook(world, nothing)
    client.post(f"/v1/submissions/{found}:cancel")
    assert world.jobs.cancelled == [f"execution-of-{found}"]


def _hook(world: World, hook: Hook) -> None:
    world.jobs.hook = world.bus.hook = world.store.hook = hook


def test_a_cancellation_that_is_not_stored_is_not_confirmed(client: FlaskClient, world: World) -> None:
    found = world.running()
    world.store.hook = FailEvery("status.replace", UnavailableError("no answer"))
    response = client.post(f"/v1/submissions/{found}:cancel")
    assert (response.status_code, response.get_json()["code"]) == (503, "UNAVAILABLE")
    assert world.record(found).state is State.RUNNING


def test_cancelling_again_pays_what_was_left(client: FlaskClient, world: World) -> None:
    found = world.running()
    world.bus.hook = down
    client.post(f"/v1/submissions/{found}:cancel")
    world.bus.hook = nothing
    client.post(f"/v1/submissions/{found}:cancel")
    assert EntryKind.OUTCOME not in {entry.kind for entry in world.record(found).outbox}
    assert len(world.bus.outcomes()) == 1


def test_a_commit_that_comes_first_wins(client: FlaskClient, world: World) -> None:
    found = world.succeeded()
    assert client.post(f"/v1/submissions/{found}:cancel").status_code == 409
    assert world.record(found).state is State.SUCCEEDED


# --- Who may ask --------------------------------------------------------------------------------------------------

OWN = [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}, {"Origin": "https://localhost"}]
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://["},
]


@pytest.mark.parametrize("headers", OWN)
def test_the_pages_own_button_cancels_and_leads_back(
    client: FlaskClient, world: World, headers: dict[str, str]
) -> None:
    found = world.running()
    response = client.post(f"/submissions/{found}/cancel", headers=headers)
    assert (response.status_code, response.headers["Location"]) == (303, f"/submissions/{found}")
    assert world.record(found).state is State.CANCELLED


@pytest.mark.parametrize("headers", [*FOREIGN, {}])
def test_another_sites_form_cancels_nothing(client: FlaskClient, world: World, headers: dict[str, str]) -> None:
    found = world.running()
    response = client.post(f"/submissions/{found}/cancel", headers=headers)
    assert (response.status_code, response.get_json()["code"]) == (403, "CROSS_SITE_REQUEST")
    assert world.record(found).state is State.RUNNING


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_sites_script_cancels_nothing(client: FlaskClient, world: World, headers: dict[str, str]) -> None:
    found = world.running()
    response = client.post(f"/v1/submissions/{found}:cancel", headers=headers)
    assert (response.status_code, response.get_json()["code"]) == (403, "CROSS_SITE_REQUEST")
    assert world.record(found).state is State.RUNNING


@pytest.mark.parametrize("path", ["/v1/submissions/{}:cancel", "/submissions/{}/cancel"])
def test_looking_never_cancels(client: FlaskClient, world: World, path: str) -> None:
    found = world.running()
    response = client.get(path.format(found), headers={"Sec-Fetch-Site": "same-origin"})
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert world.record(found).state is State.RUNNING
