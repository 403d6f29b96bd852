"""The stand-in for Cloud Run takes what the API takes, and runs executions as Cloud Run does."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import pytest
from google.cloud.run_v2 import Condition, Execution

from shared.domain.plan import Accelerator
from shared.ports.jobs import ExecutionState, JobRequest
from tests.cloud.cloud_run import CloudRun
from tests.cloud.cloud_run_executions import JobSpec
from tests.cloud.cloud_run_refusals import RefusedError
from tests.cloud.cloud_run_world import CPU_JOB, PROJECT, REGION, CloudRunWorld
from tests.contracts.task_desk import TIMEOUT_S

ONE = JobRequest("s1", epoch=1, n_tasks=1, accelerator=Accelerator.CPU, timeout_s=60)
JOB = f"/v2/projects/{PROJECT}/locations/{REGION}/jobs/{CPU_JOB}"
NUMBERS = "$alt=json;enum-encoding=int"


class MakeWorld(Protocol):
    def __call__(self, **job: Any) -> CloudRunWorld: ...


@pytest.fixture
def make_world(scratch: Path) -> Iterator[MakeWorld]:
    with ExitStack() as stack:
        yield lambda **job: stack.enter_context(CloudRunWorld(scratch, **job))


@pytest.fixture
def idle(scratch: Path) -> Iterator[CloudRun]:
    """One whose tasks have nothing to do."""
    jobs = [JobSpec(CPU_JOB, ["/bin/true"]), JobSpec("celldrop-gpu", ["/bin/true"], gpu=True)]
    with CloudRun(jobs, scratch) as cloud_run:
        yield cloud_run


# --- What it takes ---


def _env(*pairs: tuple[str, str]) -> dict[str, object]:
    return {"containerOverrides": [{"env": [{"name": name, "value": value} for name, value in pairs]}]}


@pytest.mark.parametrize(
    "overrides",
    [
        {"taskCounts": 3},
        {"taskCount": "many"},
        {"taskCount": 0},
        {"taskCount": -1},
        {"taskCount": 10_001},
        {"maxRetries": 1},
        {"parallelism": 2},
        {"timeout": 3600},
        {"timeout": "3600"},
        {"timeout": "1h"},
        {"timeout": "0s"},
        {"timeout": "-1s"},
        {"timeout": "1.5s"},
        {"timeout": "604801s"},
        {"containerOverrides": [{"env": [{"name": "A", "values": "b"}]}]},
        {"containerOverrides": [{"name": "sidecar"}]},
        {"containerOverrides": [{"resources": {}}]},
        {"containerOverrides": [{}, {}]},
        _env(("", "1")),
        _env(("A=B", "1")),
        _env(("A", "1"), ("A", "2")),
        _env(("A", "1" * 32_769)),
        _env(("CLOUD_RUN_TASK_INDEX", "1")),
        _env(("PORT", "8080")),
    ],
    ids=str,
)
def test_overrides_that_the_api_does_not_know_are_refused(idle: CloudRun, overrides: dict[str, object]) -> None:
    with pytest.raises(RefusedError) as caught:
        idle.answer("POST", f"{JOB}:run", json.dumps({"overrides": overrides}).encode())
    assert (caught.value.status, caught.value.code) == (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")
    assert idle.answer("GET", f"{JOB}/executions", b"") == {"executions": []}


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"name": "projects/p/locations/l/jobs/other"}', b'{"job": 1}'])
def test_a_malformed_request_is_refused(idle: CloudRun, body: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        idle.answer("POST", f"{JOB}:run", body)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/projects/p/locations/l/jobs/celldrop-cpu"),
        ("GET", f"{JOB}x"),
        ("POST", f"{JOB}x:run"),
        ("GET", f"{JOB}:run"),
        ("POST", JOB),
        ("DELETE", JOB),
        ("GET", f"{JOB}/executions/celldrop-cpu-x7k2p"),
        ("POST", f"{JOB}/executions/celldrop-cpu-x7k2p:cancel"),
    ],
)
def test_what_is_not_there_is_not_found(idle: CloudRun, verb: str, path: str) -> None:
    with pytest.raises(RefusedError) as caught:
        idle.answer(verb, path, b"{}")
    assert caught.value.body == {
        "error": {"code": 404, "status": "NOT_FOUND", "message": str(caught.value)},
    }


@pytest.mark.parametrize("seconds", [1, 3600])
def test_a_gpu_is_lent_for_an_hour_at_most(idle: CloudRun, seconds: int) -> None:
    path = f"/v2/projects/{PROJECT}/locations/{REGION}/jobs/celldrop-gpu:run"
    assert idle.answer("POST", path, json.dumps({"overrides": {"timeout": f"{seconds}s"}}).encode())
    with pytest.raises(RefusedError, match="at most 3600"):
        idle.answer("POST", path, b'{"overrides": {"timeout": "3601s"}}')


# --- What it answers ---


def test_a_job_tells_its_settings(idle: CloudRun) -> None:
    job: Any = idle.answer("GET", JOB, b"")
    assert job["name"] == JOB.removeprefix("/v2/")
    assert job["template"]["template"]["maxRetries"] == 3
    assert job["template"]["template"]["timeout"] == "600s"
    assert job["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"


def test_a_run_is_answered_by_an_operation_whose_metadata_is_the_execution(idle: CloudRun) -> None:
    operation: Any = idle.answer("POST", f"{JOB}:run?{NUMBERS}", b"")
    assert operation["done"] is False
    assert operation["metadata"]["@type"] == "type.googleapis.com/google.cloud.run.v2.Execution"
    assert operation["metadata"]["name"].startswith(f"{JOB.removeprefix('/v2/')}/executions/{CPU_JOB}-")


def test_enumerations_are_names_unless_asked_for_as_numbers(idle: CloudRun) -> None:
    operation: Any = idle.answer("POST", f"{JOB}:run", b"{}")
    name = operation["metadata"]["name"]
    assert idle.execution(name.rpartition("/")[2]).wait(TIMEOUT_S)
    for query, state in (("", "CONDITION_SUCCEEDED"), (f"?{NUMBERS}", 4)):
        found: Any = idle.answer("GET", f"/v2/{name}{query}", b"")
        assert {condition["state"] for condition in found["conditions"]} == {state}


def test_executions_are_listed_in_pages_latest_first(idle: CloudRun) -> None:
    names: list[str] = []
    for _ in range(3):
        operation: Any = idle.answer("POST", f"{JOB}:run", b"{}")
        names.insert(0, operation["metadata"]["name"])
    first: Any = idle.answer("GET", f"{JOB}/executions?pageSize=2", b"")
    second: Any = idle.answer("GET", f"{JOB}/executions?pageSize=2&pageToken={first['nextPageToken']}", b"")
    assert [one["name"] for one in first["executions"] + second["executions"]] == names
    assert "nextPageToken" not in second


def test_an_execution_goes_through_the_conditions_of_the_api(make_world: MakeWorld) -> None:
    world = make_world()
    name = world.runner.start(replace(ONE, n_tasks=2))
    world.tasks(name)
    execution = world.cloud_run.execution(name)
    running = execution.resource()
    assert (running.reconciling, running.running_count, running.completion_time) == (True, 2, None)
    assert _completed(running).state == Condition.State.CONDITION_RECONCILING
    world.end(name, well=True)
    assert execution.wait(TIMEOUT_S)
    ended = execution.resource()
    assert (ended.reconciling, ended.running_count, ended.succeeded_count) == (False, 0, 2)
    assert ended.completion_time >= ended.create_time
    assert _completed(ended).state == Condition.State.CONDITION_SUCCEEDED


# --- How it runs ---


def test_a_failed_task_is_tried_three_times_more_and_told_so(make_world: MakeWorld) -> None:
    world = make_world(max_retries=3)
    name = world.runner.start(ONE)
    for attempt in range(4):
        caller = world.desk.next_caller()
        assert (caller.told.execution, caller.told.attempt) == (name, attempt)
        caller.order("3")
    assert world.over(name).state is ExecutionState.FAILED
    found = world.cloud_run.execution(name).resource()
    assert (found.failed_count, found.retried_count) == (1, 3)


def test_a_task_that_succeeds_at_last_has_succeeded(make_world: MakeWorld) -> None:
    world = make_world(max_retries=3)
    name = world.runner.start(ONE)
    for order in ("3", "die", "0"):
        world.desk.next_caller().order(order)
    assert world.over(name).state is ExecutionState.SUCCEEDED
    assert world.cloud_run.execution(name).resource().retried_count == 2


def test_the_other_tasks_run_on_when_one_has_failed(make_world: MakeWorld) -> None:
    world = make_world()
    name = world.runner.start(replace(ONE, n_tasks=2))
    world.tasks(name)
    failing, other = world.desk.callers
    failing.order("3")
    failing.wait_until_gone()
    assert world.runner.describe(name).state is ExecutionState.RUNNING
    other.order("0")
    assert world.over(name).state is ExecutionState.FAILED
    found = world.cloud_run.execution(name).resource()
    assert (found.failed_count, found.succeeded_count) == (1, 1)


def test_no_more_tasks_run_at_a_time_than_there_is_room_for(make_world: MakeWorld) -> None:
    world = make_world(room=1)
    name = world.runner.start(replace(ONE, n_tasks=3))
    for _ in range(3):
        caller = world.desk.next_caller()
        assert world.cloud_run.execution(name).resource().running_count == 1
        caller.order("0")
        caller.wait_until_gone()
    assert world.over(name).state is ExecutionState.SUCCEEDED


def test_a_task_that_is_late_is_asked_to_end_and_then_ended(scratch: Path) -> None:
    stubborn = ["/bin/sh", "-c", "trap 'echo asked' TERM; echo began; while :; do sleep 0.05; done"]
    with CloudRun(
        [JobSpec(CPU_JOB, stubborn, {"PATH": "/bin:/usr/bin"}, max_retries=0, grace_s=0.5)], scratch
    ) as cloud_run:
        operation: Any = cloud_run.answer("POST", f"{JOB}:run", b'{"overrides": {"timeout": "1s"}}')
        name = operation["metadata"]["name"].rpartition("/")[2]
        assert cloud_run.execution(name).wait(TIMEOUT_S)
        assert "timeout was reached" in _completed(cloud_run.execution(name).resource()).message
        assert (scratch / name / "task-00000-attempt-0.log").read_text().endswith("asked\n")


def test_cancelling_ends_tasks_and_what_they_have_started_and_starts_no_further_one(make_world: MakeWorld) -> None:
    world = make_world(env={"CELLDROP_TEST_CHILD": "1"}, room=1, max_retries=3)
    name = world.runner.start(replace(ONE, n_tasks=3))
    caller = world.desk.next_caller()
    world.runner.cancel(name)
    caller.wait_until_gone()
    assert world.over(name).state is ExecutionState.CANCELLED
    assert world.cloud_run.execution(name).resource().cancelled_count == 3
    assert [path.name for path in (world.log_dir / name).iterdir()] == ["task-00000-attempt-0.log"]


def test_an_execution_is_being_cancelled_until_its_last_task_is_gone(make_world: MakeWorld, scratch: Path) -> None:
    obstinate = ["/bin/sh", "-c", "trap '' TERM; touch $BEGAN; until [ -e $GO ]; do sleep 0.05; done"]
    env = {"PATH": "/bin:/usr/bin", "BEGAN": str(scratch / "began"), "GO": str(scratch / "go")}
    world = make_world(argv=obstinate, env=env, grace_s=TIMEOUT_S)
    name = world.runner.start(ONE)
    execution = world.cloud_run.execution(name)
    while not (scratch / "began").exists():
        execution.wait(0.01)
    world.runner.cancel(name)
    world.runner.cancel(name)
    assert _completed(execution.resource()).execution_reason == Condition.ExecutionReason.CANCELLING
    assert world.runner.describe(name).state is ExecutionState.RUNNING
    (scratch / "go").touch()
    assert world.over(name).state is ExecutionState.CANCELLED


def test_a_command_that_cannot_be_started_fails_its_task(scratch: Path) -> None:
    with CloudRun([JobSpec(CPU_JOB, [str(scratch / "missing")], max_retries=0)], scratch) as cloud_run:
        operation: Any = cloud_run.answer("POST", f"{JOB}:run", b"")
        name = operation["metadata"]["name"].rpartition("/")[2]
        assert cloud_run.execution(name).wait(TIMEOUT_S)
        assert "failed to start" in _completed(cloud_run.execution(name).resource()).message


def test_what_a_task_has_started_ends_with_it(make_world: MakeWorld) -> None:
    world = make_world(env={"CELLDROP_TEST_CHILD": "1"})
    name = world.runner.start(ONE)
    caller = world.desk.next_caller()
    caller.order("0")
    caller.wait_until_gone()
    assert world.over(name).state is ExecutionState.SUCCEEDED


def test_closing_leaves_nothing_running(scratch: Path) -> None:
    with CloudRunWorld(scratch, env={"CELLDROP_TEST_CHILD": "1"}) as world:
        name = world.runner.start(replace(ONE, n_tasks=2))
        world.tasks(name)
        world.cloud_run.close()
        for caller in world.desk.callers:
            caller.wait_until_gone()


def test_what_is_asked_for_while_it_closes_is_not_left_running(scratch: Path) -> None:
    started, late = scratch / "started", threading.Event()
    answers: list[Any] = []

    def dawdle(method: str) -> None:
        if method == "jobs.run" and late.is_set():
            _until(lambda: not _listens(cloud_run.endpoint))

    def ask() -> None:
        with suppress(RefusedError):
            answers.append(cloud_run.answer("POST", f"{JOB}:run", b"{}"))

    deaf = JobSpec(CPU_JOB, ["/bin/sh", "-c", f"trap '' TERM; touch {started}; sleep 60"], grace_s=2.0)
    with CloudRun([deaf], scratch, dawdle) as cloud_run:
        ask()
        _until(started.exists)
        late.set()
        asking = threading.Thread(target=ask)
        asking.start()
    asking.join()
    names = [answer["metadata"]["name"].rpartition("/")[2] for answer in answers]
    assert all(cloud_run.execution(name).is_over for name in names)


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not done() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert done()


def _listens(endpoint: str) -> bool:
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _completed(execution: Execution) -> Condition:
    return next(condition for condition in execution.conditions if condition.type_ == "Completed")
