"""What the Cloud Run job runner does beyond its contract: what it sends, never twice, and what it makes of refusals."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import pytest
from google.auth.exceptions import RefreshError
from typing_extensions import override

from shared.adapters.gcp.jobs import CloudRunClients, CloudRunJobRunner, connect
from shared.domain.errors import (
    AccessDeniedError,
    CelldropError,
    InternalError,
    NoCapacityError,
    SettingsError,
    StartRefusedError,
    UnavailableError,
)
from shared.domain.plan import Accelerator
from shared.ports.jobs import ExecutionReport, ExecutionState, JobRequest
from tests.cloud.cloud_run import CloudRun, ForeignAnswerError, LostAnswerError
from tests.cloud.cloud_run_executions import JobSpec
from tests.cloud.cloud_run_refusals import RefusedError
from tests.cloud.cloud_run_world import CPU_JOB, GPU_JOB, PROJECT, REGION, CloudRunWorld
from tests.cloud.local_cloud_programs import free_port
from tests.contracts.task_desk import TIMEOUT_S

ONE = JobRequest("s1", epoch=7, n_tasks=1, accelerator=Accelerator.CPU, timeout_s=60)
LOCATION = f"projects/{PROJECT}/locations/{REGION}"


class MakeWorld(Protocol):
    def __call__(self, **job: Any) -> CloudRunWorld: ...


@pytest.fixture
def make_world(scratch: Path) -> Iterator[MakeWorld]:
    with ExitStack() as stack:
        yield lambda **job: stack.enter_context(CloudRunWorld(scratch, **job))


class _Refusing:
    """A hook that has the API answer some calls of a method with an error, before any effect."""

    def __init__(self, method: str, status: HTTPStatus, code: str, times: int = 1000) -> None:
        self._method = method
        self._error = RefusedError(status, code, f"said the test: {code}")
        self._times = times

    def __call__(self, method: str) -> None:
        if method == self._method and self._times:
            self._times -= 1
            raise self._error


# --- What is sent ---


def test_a_task_has_the_variables_of_the_platform_of_its_job_and_of_the_request(make_world: MakeWorld) -> None:
    world = make_world(env={"CELLDROP_EPOCH": "of the job", "CELLDROP_BACKEND": "gcp"})
    name = world.runner.start(replace(ONE, accelerator=Accelerator.GPU))
    env = world.desk.next_caller().env
    assert env.pop("CELLDROP_TEST_DESK")
    assert env == {
        "CLOUD_RUN_JOB": GPU_JOB,
        "CLOUD_RUN_EXECUTION": name,
        "CLOUD_RUN_TASK_INDEX": "0",
        "CLOUD_RUN_TASK_COUNT": "1",
        "CLOUD_RUN_TASK_ATTEMPT": "0",
        "CELLDROP_SUBMISSION_ID": "s1",
        "CELLDROP_EPOCH": "7",
        "CELLDROP_FINALIZE_ONLY": "0",
        "CELLDROP_ACCELERATOR": "gpu",
        "CELLDROP_BACKEND": "gcp",
    }


@pytest.mark.parametrize(("accelerator", "job"), [(Accelerator.CPU, CPU_JOB), (Accelerator.GPU, GPU_JOB)])
def test_each_accelerator_has_its_job_and_its_executions_are_found_again(
    make_world: MakeWorld, accelerator: Accelerator, job: str
) -> None:
    world = make_world()
    name = world.runner.start(replace(ONE, accelerator=accelerator, n_tasks=3, timeout_s=1234))
    resource = world.cloud_run.execution(name).resource()
    assert resource.name == f"{LOCATION}/jobs/{job}/executions/{name}"
    assert (resource.task_count, resource.template.timeout.total_seconds()) == (3, 1234)
    assert world.runner.describe(name).state is ExecutionState.RUNNING
    world.runner.cancel(name)
    assert world.over(name).state is ExecutionState.CANCELLED


def test_every_operation_is_one_request(make_world: MakeWorld) -> None:
    world = make_world()
    name = world.runner.start(ONE)
    world.runner.describe(name)
    world.runner.cancel(name)
    assert world.cloud_run.calls == ["jobs.run", "executions.get", "executions.cancel"]


def test_what_is_none_of_our_executions_costs_no_request(make_world: MakeWorld) -> None:
    world = make_world()
    assert world.runner.describe("celldrop-local-1").state is ExecutionState.UNKNOWN
    world.runner.cancel("celldrop-local-1")
    assert world.cloud_run.calls == []


def test_an_execution_that_cloud_run_has_forgotten_is_unknown_and_may_be_cancelled(make_world: MakeWorld) -> None:
    world = make_world()
    world.runner.cancel(f"{CPU_JOB}-x7k2p")
    assert world.runner.describe(f"{CPU_JOB}-x7k2p") == ExecutionReport(ExecutionState.UNKNOWN)
    assert world.cloud_run.calls == ["executions.cancel", "executions.get"]


def test_the_clients_of_google_are_not_loaded_before_they_are_needed() -> None:
    code = (
        "import sys\n"
        "from shared.adapters.gcp.bus import PubSubBus, connect as publisher\n"
        "from shared.adapters.gcp.jobs import CloudRunJobRunner, connect\n"
        "PubSubBus(publisher, {}, 'p')\n"
        "CloudRunJobRunner(connect, {}, 'p', 'r').describe('of-no-job-of-ours')\n"
        "print([name for name in ('google.cloud.run_v2', 'google.pubsub_v1') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- Starting: once, whatever the answer ---


@pytest.mark.parametrize(
    ("status", "code", "kind", "hint"),
    [
        (429, "RESOURCE_EXHAUSTED", NoCapacityError, ""),
        (404, "NOT_FOUND", StartRefusedError, "CELLDROP_CPU_JOB"),
        (403, "PERMISSION_DENIED", StartRefusedError, "roles/run.jobsExecutorWithOverrides"),
        (401, "UNAUTHENTICATED", StartRefusedError, "the account that dispatch runs as"),
        (400, "INVALID_ARGUMENT", StartRefusedError, "CELLDROP_TASK_TIMEOUT_S"),
        (400, "FAILED_PRECONDITION", StartRefusedError, "CELLDROP_TASK_TIMEOUT_S"),
        (412, "FAILED_PRECONDITION", StartRefusedError, "CELLDROP_TASK_TIMEOUT_S"),
        (408, "DEADLINE_EXCEEDED", UnavailableError, ""),
        (409, "ABORTED", UnavailableError, ""),
        (500, "INTERNAL", UnavailableError, ""),
        (502, "UNAVAILABLE", UnavailableError, ""),
        (503, "UNAVAILABLE", UnavailableError, ""),
        (504, "DEADLINE_EXCEEDED", UnavailableError, ""),
    ],
)
def test_a_start_that_is_refused_is_not_tried_again(
    make_world: MakeWorld, status: int, code: str, kind: type[CelldropError], hint: str
) -> None:
    world = make_world()
    world.cloud_run.hook = _Refusing("jobs.run", HTTPStatus(status), code)
    with pytest.raises(kind) as caught:
        world.runner.start(ONE)
    assert type(caught.value) is kind
    assert hint in caught.value.hint
    assert caught.value.where == f"{LOCATION}/jobs/{CPU_JOB}"
    assert world.cloud_run.calls == ["jobs.run"]


def test_a_start_whose_answer_is_lost_has_happened_once_and_is_not_known_to_have(make_world: MakeWorld) -> None:
    world = make_world()

    def lose(moment: str) -> None:
        if moment == "jobs.run.done":
            raise LostAnswerError

    world.cloud_run.hook = lose
    with pytest.raises(UnavailableError):
        world.runner.start(ONE)
    assert world.cloud_run.calls == ["jobs.run"]
    assert world.desk.next_caller().told.submission_id == "s1"


def test_a_start_that_is_not_answered_in_time_is_left_alone(make_world: MakeWorld) -> None:
    world = make_world(timeout_s=0.2)
    over = threading.Event()
    world.cloud_run.hook = lambda _: _wait(over)
    with pytest.raises(UnavailableError):
        world.runner.start(ONE)
    over.set()
    assert world.cloud_run.calls == ["jobs.run"]


def test_an_answer_that_names_no_execution_is_no_start_that_is_known_of(scratch: Path) -> None:
    class _Nameless(CloudRun):
        @override
        def answer(self, verb: str, target: str, body: bytes) -> dict[str, object]:
            super().answer(verb, target, body)
            return {"name": f"{LOCATION}/operations/1"}

    with _Nameless([JobSpec(CPU_JOB, ["true"])], scratch) as cloud_run:
        runner = CloudRunJobRunner(lambda: connect(cloud_run.endpoint), {Accelerator.CPU: CPU_JOB}, PROJECT, REGION)
        with pytest.raises(UnavailableError, match="names no execution"):
            runner.start(ONE)
        assert cloud_run.calls == ["jobs.run"]


def test_an_answer_that_is_not_the_apis_is_no_start_that_is_known_of(make_world: MakeWorld) -> None:
    world = make_world()
    name = world.runner.start(ONE)

    def answer_with_a_page(moment: str) -> None:
        if moment.endswith(".done"):
            raise ForeignAnswerError

    world.cloud_run.hook = answer_with_a_page
    for call in (lambda: world.runner.start(ONE), lambda: world.runner.describe(name)):
        with pytest.raises(UnavailableError):
            call()
    with pytest.raises(UnavailableError):
        world.runner.cancel(name)


def test_without_a_token_nothing_was_started(make_world: MakeWorld) -> None:
    world = make_world()

    def no_clients() -> CloudRunClients:
        raise RefreshError("the metadata server is down")

    runner = CloudRunJobRunner(no_clients, {Accelerator.CPU: CPU_JOB}, PROJECT, REGION)
    with pytest.raises(StartRefusedError, match="no token"):
        runner.start(ONE)
    assert world.cloud_run.calls == []


def test_nobody_there_is_unavailable_for_everything() -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    runner = CloudRunJobRunner(lambda: connect(endpoint), {Accelerator.CPU: CPU_JOB}, PROJECT, REGION, timeout_s=0.2)
    with pytest.raises(UnavailableError):
        runner.start(ONE)
    with pytest.raises(UnavailableError):
        runner.describe(f"{CPU_JOB}-x7k2p")
    with pytest.raises(UnavailableError):
        runner.cancel(f"{CPU_JOB}-x7k2p")


def test_an_accelerator_without_a_job_is_a_missing_setting(make_world: MakeWorld) -> None:
    world = make_world()
    runner = CloudRunJobRunner(lambda: world.clients, {Accelerator.CPU: CPU_JOB, Accelerator.GPU: ""}, PROJECT, REGION)
    with pytest.raises(SettingsError) as caught:
        runner.start(replace(ONE, accelerator=Accelerator.GPU))
    assert "CELLDROP_GPU_JOB" in caught.value.hint
    assert world.cloud_run.calls == []


def test_what_cloud_run_would_refuse_is_told_in_its_own_words(make_world: MakeWorld) -> None:
    world = make_world()
    with pytest.raises(StartRefusedError, match="must be whole seconds, more than 0 and at most 3600"):
        world.runner.start(replace(ONE, accelerator=Accelerator.GPU, timeout_s=7200))


# --- Looking up and cancelling: again, until it is answered ---


@pytest.mark.parametrize("status", [429, 500, 503])
def test_looking_up_and_cancelling_are_tried_again(make_world: MakeWorld, status: int) -> None:
    world = make_world(timeout_s=TIMEOUT_S)
    name = world.runner.start(ONE)
    world.cloud_run.hook = _Refusing("executions.get", HTTPStatus(status), "A_PASSING_FAULT", times=2)
    assert world.runner.describe(name).state is ExecutionState.RUNNING
    world.cloud_run.hook = _Refusing("executions.cancel", HTTPStatus(status), "A_PASSING_FAULT", times=2)
    world.runner.cancel(name)
    assert world.cloud_run.calls == ["jobs.run", *["executions.get"] * 3, *["executions.cancel"] * 3]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(502, UnavailableError), (503, UnavailableError), (504, UnavailableError), (403, AccessDeniedError)],
)
def test_what_is_not_to_be_had_is_never_taken_for_unknown(
    make_world: MakeWorld, status: int, kind: type[CelldropError]
) -> None:
    world = make_world(timeout_s=0.3)
    for method in ("executions.get", "executions.cancel"):
        world.cloud_run.hook = _Refusing(method, HTTPStatus(status), "A_LASTING_FAULT")
        with pytest.raises(kind):
            (world.runner.describe if method == "executions.get" else world.runner.cancel)(f"{CPU_JOB}-x7k2p")


def test_a_cancellation_that_is_refused_while_it_runs_has_failed(make_world: MakeWorld) -> None:
    world = make_world()
    name = world.runner.start(ONE)
    world.cloud_run.hook = _Refusing("executions.cancel", HTTPStatus.BAD_REQUEST, "FAILED_PRECONDITION")
    with pytest.raises(InternalError):
        world.runner.cancel(name)


# --- What became of it ---


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ("3", "its program failed (Task {name}-task0 failed with exit code: 3 and message: The container exited"),
        ("die", "it ran out of memory (Task {name}-task0 failed with exit code: 0 and message: The configured memory"),
    ],
)
def test_a_failure_is_told_with_its_reason(make_world: MakeWorld, order: str, problem: str) -> None:
    world = make_world()
    name = world.runner.start(ONE)
    world.desk.next_caller().order(order)
    report = world.over(name)
    assert report.state is ExecutionState.FAILED
    assert report.problem.startswith(problem.format(name=name))


def test_a_task_that_runs_too_long_is_told_so(make_world: MakeWorld) -> None:
    world = make_world()
    name = world.runner.start(replace(ONE, timeout_s=1))
    world.desk.next_caller().wait_until_gone()
    assert world.over(name).problem.startswith("it ran past its time limit")


def _wait(event: threading.Event) -> None:
    event.wait(TIMEOUT_S)
