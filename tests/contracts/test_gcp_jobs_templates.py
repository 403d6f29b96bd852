"""The stand-in for Cloud Run takes no job that the API would not take, and starts none that cannot be run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from google.cloud.run_v2 import Container, Job

from shared.adapters.gcp.jobs import CloudRunJobRunner, connect
from shared.domain.errors import StartRefusedError
from shared.domain.plan import Accelerator
from shared.ports.jobs import ExecutionState, JobRequest
from shared.settings import REPOSITORY
from tests.cloud.cloud_run import CloudRun
from tests.cloud.cloud_run_executions import GPU_MACHINE, JobSpec, JobState
from tests.cloud.cloud_run_refusals import RefusedError
from tests.cloud.cloud_run_templates import check_job, job_of
from tests.cloud.cloud_run_world import CPU_JOB, PROJECT, REGION
from tests.contracts.task_desk import TIMEOUT_S

CPU = JobSpec(CPU_JOB, ["/bin/true"])
GPU = JobSpec("celldrop-gpu", ["/bin/true"], gpu=True, timeout_s=3600)
PATH = f"/v2/projects/{PROJECT}/locations/{REGION}/jobs/{CPU_JOB}"
ONE = JobRequest("s1", epoch=1, n_tasks=1, accelerator=Accelerator.CPU, timeout_s=60)


# --- Templates ---

TAKEN = {
    "the least": CPU,
    "a GPU": GPU,
    "the longest": replace(CPU, timeout_s=168 * 3600),
    "the most tasks": replace(CPU, task_count=10_000, template_parallelism=10_000),
    "one at a time": replace(CPU, template_parallelism=1),
    "the most retries": replace(CPU, max_retries=10),
    "no retry": replace(CPU, max_retries=0),
    "a spare": replace(GPU, gpu_zonal_redundancy_disabled=False),
    "no spare": replace(GPU, gpu_zonal_redundancy_disabled=True),
    "the largest": replace(CPU, machine={"cpu": "8", "memory": "32Gi"}),
    "thousandths": replace(CPU, machine={"cpu": "2000m", "memory": "8192Mi"}),
    "a sidecar": replace(CPU, containers=("task", "proxy")),
    "the default account": replace(CPU, account=""),
    "the longest name": replace(CPU, name="c" * 63),
    "the most variables": replace(CPU, env={f"V{number}": "" for number in range(1000)}),
    "the longest value": replace(CPU, env={"A": "x" * 32_768}),
}
REFUSED = {
    "more at a time than tasks": (replace(CPU, template_parallelism=20), "parallelism"),
    "less than none at a time": (replace(CPU, template_parallelism=-1), "parallelism"),
    "too many tasks": (replace(CPU, task_count=10_001), "task_count"),
    "less than no task": (replace(CPU, task_count=-1), "task_count"),
    "too many retries": (replace(CPU, max_retries=11), "max_retries"),
    "less than no retry": (replace(CPU, max_retries=-1), "max_retries"),
    "too long": (replace(CPU, timeout_s=168 * 3600 + 1), "timeout"),
    "no time": (replace(CPU, timeout_s=0), "timeout"),
    "part of a second": (replace(CPU, timeout_s=1.5), "timeout"),
    "a GPU for more than an hour": (replace(GPU, timeout_s=3601), "timeout"),
    "a GPU that there is none of": (replace(GPU, kind_of_gpu="nvidia-k80"), "accelerator"),
    "a kind of GPU and none of it": (replace(GPU, machine={"cpu": "4", "memory": "16Gi"}), "limits"),
    "a GPU of no kind": (replace(CPU, machine=GPU_MACHINE), "limits"),
    "two GPUs": (replace(GPU, machine={**GPU_MACHINE, "nvidia.com/gpu": "2"}), "limits"),
    "a GPU with little memory": (replace(GPU, machine={**GPU_MACHINE, "memory": "8Gi"}), "limits"),
    "a GPU with few vCPUs": (replace(GPU, machine={**GPU_MACHINE, "cpu": "2", "memory": "8Gi"}), "limits"),
    "a spare of no GPU": (replace(CPU, gpu_zonal_redundancy_disabled=True), "gpu_zonal_redundancy_disabled"),
    "three vCPUs": (replace(CPU, machine={"cpu": "3", "memory": "4Gi"}), "limits"),
    "too much memory": (replace(CPU, machine={"cpu": "1", "memory": "8Gi"}), "limits"),
    "too little memory": (replace(CPU, machine={"cpu": "4", "memory": "1Gi"}), "limits"),
    "memory in words": (replace(CPU, machine={"memory": "much"}), "limits"),
    "another limit": (replace(CPU, machine={"disk": "1Gi"}), "limits"),
    "two containers of one name": (replace(CPU, containers=("task", "task")), "containers"),
    "no container": (replace(CPU, containers=()), "containers"),
    "eleven containers": (replace(CPU, containers=[f"c{number}" for number in range(11)]), "containers"),
    "a container in capitals": (replace(CPU, containers=("Task",)), "containers.name"),
    "a job in capitals": (replace(CPU, name="Celldrop"), "job.name"),
    "a job of 64 letters": (replace(CPU, name="c" * 64), "job.name"),
    "a job that ends in a hyphen": (replace(CPU, name="celldrop-"), "job.name"),
    "no address": (replace(CPU, account="celldrop-task"), "service_account"),
    "too many variables": (replace(CPU, env={f"V{number}": "" for number in range(1001)}), "env"),
    "a reserved variable": (replace(CPU, env={"CLOUD_RUN_TASK_INDEX": "1"}), "env.name"),
    "no variable": (replace(CPU, env={"A B": "1"}), "env.name"),
    "too long a value": (replace(CPU, env={"A": "x" * 32_769}), "env.value"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_job_as_the_documentation_has_it_is_taken(case: str, scratch: Path) -> None:
    with CloudRun([TAKEN[case]], scratch) as cloud_run:
        name = TAKEN[case].name
        told: Any = cloud_run.answer("GET", PATH.replace(CPU_JOB, name), b"")
        assert told["name"].endswith(f"/{name}")


@pytest.mark.parametrize("case", REFUSED)
def test_a_job_that_the_documentation_forbids_is_refused(case: str, scratch: Path) -> None:
    spec, field = REFUSED[case]
    with pytest.raises(RefusedError) as caught:
        CloudRun([CPU, spec], scratch).close()
    assert (caught.value.status, caught.value.code) == (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")
    assert field in str(caught.value).partition(":")[0]


def test_labels_of_the_system_are_refused() -> None:
    for labels in ("labels", "annotations"):
        job = job_of(f"projects/p/locations/l/jobs/{CPU_JOB}", CPU)
        getattr(job, labels)["run.googleapis.com/launch-stage"] = "BETA"
        with pytest.raises(RefusedError, match="system's own"):
            check_job(job)


def test_a_container_needs_an_image() -> None:
    job: Job = job_of(f"projects/p/locations/l/jobs/{CPU_JOB}", CPU)
    job.template.template.containers = [Container(image="")]
    with pytest.raises(RefusedError, match="image"):
        check_job(job)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "deploy" / "flavors").glob("*.json")), ids=lambda path: path.stem)
def test_every_flavor_deploys_jobs_that_the_api_takes(path: Path) -> None:
    flavor = json.loads(path.read_text())
    for kind, size in flavor.get("jobs", {}).items():
        machine = {"cpu": str(size["cpu"]), "memory": f"{size['memory_mib']}Mi"}
        spec = replace(CPU, machine=machine, max_retries=size["max_retries"], timeout_s=flavor["tasks"]["timeout_s"])
        if "accelerator" in size:
            gpu = {**machine, "nvidia.com/gpu": "1"}
            spec = replace(spec, gpu=True, kind_of_gpu=size["accelerator"], machine=gpu)
        check_job(job_of(f"projects/p/locations/l/jobs/celldrop-{kind}", spec))


# --- Starts ---


@contextmanager
def running(spec: JobSpec, folder: Path) -> Iterator[CloudRun]:
    with CloudRun([spec], folder) as cloud_run:
        yield cloud_run


def start(cloud_run: CloudRun, **body: object) -> Any:
    return cloud_run.answer("POST", f"{PATH}:run", json.dumps(body).encode())


def executions(cloud_run: CloudRun) -> list[Any]:
    found: Any = cloud_run.answer("GET", f"{PATH}/executions", b"")
    return list(found["executions"])


@pytest.mark.parametrize("state", [JobState.DEPLOYING, JobState.FAILED, JobState.DELETING])
def test_a_job_that_is_not_ready_is_not_started_and_may_be_asked_for_again(state: JobState, scratch: Path) -> None:
    with running(replace(CPU, state=state, trouble="Image not found"), scratch) as cloud_run:
        runner = CloudRunJobRunner(lambda: connect(cloud_run.endpoint), {Accelerator.CPU: CPU_JOB}, PROJECT, REGION)
        with pytest.raises(StartRefusedError, match="not ready: Image not found"):
            runner.start(ONE)
        with pytest.raises(RefusedError) as caught:
            start(cloud_run)
        assert (caught.value.status, caught.value.code) == (HTTPStatus.BAD_REQUEST, "FAILED_PRECONDITION")
        assert executions(cloud_run) == []


def test_a_job_that_is_not_ready_says_so(scratch: Path) -> None:
    told: dict[JobState, Any] = {}
    for state in JobState:
        with running(replace(CPU, state=state, trouble="Image not found"), scratch) as cloud_run:
            told[state] = cloud_run.answer("GET", PATH, b"")
    conditions = {state: one["terminalCondition"]["state"] for state, one in told.items()}
    assert conditions == {
        JobState.DEPLOYING: "CONDITION_RECONCILING",
        JobState.READY: "CONDITION_SUCCEEDED",
        JobState.FAILED: "CONDITION_FAILED",
        JobState.DELETING: "CONDITION_SUCCEEDED",
    }
    assert [state for state, one in told.items() if one.get("deleteTime")] == [JobState.DELETING]


def test_the_parallelism_of_the_template_stands_whatever_a_start_asks_for(scratch: Path) -> None:
    alone = ["/bin/sh", "-c", f"mkdir {scratch}/alone && sleep 0.05 && rmdir {scratch}/alone"]
    with running(
        replace(CPU, argv=alone, env={"PATH": "/bin:/usr/bin"}, max_retries=0, template_parallelism=1), scratch / "logs"
    ) as cloud_run:
        operation = start(cloud_run, overrides={"taskCount": 4})
        assert operation["metadata"]["parallelism"] == 1
        execution = cloud_run.execution(operation["metadata"]["name"].rpartition("/")[2])
        assert execution.wait(TIMEOUT_S)
        assert execution.resource().succeeded_count == 4


def test_what_is_only_to_be_validated_is_not_run(scratch: Path) -> None:
    with running(CPU, scratch) as cloud_run:
        answer = start(cloud_run, validateOnly=True, overrides={"taskCount": 2})
        assert answer["done"] is True
        assert "metadata" not in answer
        with pytest.raises(RefusedError, match="task_count"):
            start(cloud_run, validateOnly=True, overrides={"taskCount": 0})
        assert executions(cloud_run) == []


def test_a_start_of_another_version_is_refused(scratch: Path) -> None:
    with running(CPU, scratch) as cloud_run:
        job: Any = cloud_run.answer("GET", PATH, b"")
        with pytest.raises(RefusedError) as caught:
            start(cloud_run, etag='"older"')
        assert (caught.value.status, caught.value.code) == (HTTPStatus.CONFLICT, "ABORTED")
        assert start(cloud_run, etag=job["etag"])["metadata"]["name"]
        assert len(executions(cloud_run)) == 1


def test_a_cancellation_is_of_one_version_and_may_be_only_validated(scratch: Path) -> None:
    with running(replace(CPU, argv=["/bin/sleep", "60"]), scratch) as cloud_run:
        name = start(cloud_run)["metadata"]["name"]
        execution = cloud_run.execution(name.rpartition("/")[2])

        def cancel(**body: object) -> Any:
            return cloud_run.answer("POST", f"/v2/{name}:cancel", json.dumps(body).encode())

        assert cancel(validateOnly=True)["done"] is True
        with pytest.raises(RefusedError) as caught:
            cancel(etag='"older"')
        assert caught.value.code == "ABORTED"
        assert not execution.resource().cancelled_count
        assert cancel(etag=execution.resource().etag)["metadata"]["name"] == name
        assert execution.wait(TIMEOUT_S)
        assert execution.resource().cancelled_count == 1


@pytest.mark.parametrize("count", ["0", 0, 0.0, -1, 10_001, "many"])
def test_a_number_of_tasks_that_cannot_be_is_refused_however_it_is_written(count: object, scratch: Path) -> None:
    for name in ("taskCount", "task_count"):
        with running(CPU, scratch) as cloud_run, pytest.raises(RefusedError):
            start(cloud_run, overrides={name: count})


def test_a_start_that_says_nothing_has_the_tasks_of_the_template(scratch: Path) -> None:
    with running(replace(CPU, task_count=3), scratch) as cloud_run:
        assert start(cloud_run, overrides={"taskCount": None})["metadata"]["taskCount"] == 3
        assert start(cloud_run, validateOnly=True, overrides={"taskCount": 10_000, "timeout": "604800s"})["done"]


ONE_CONTAINER, TWO = ("task",), ("task", "proxy")


@pytest.mark.parametrize(
    ("containers", "overrides"),
    [
        (("",), [{}]),
        (ONE_CONTAINER, [{}]),
        (ONE_CONTAINER, [{"name": "task"}]),
        (TWO, [{"name": "task"}]),
        (TWO, [{"name": "task"}, {"name": "proxy"}]),
        (ONE_CONTAINER, [{"args": ["--fast"]}]),
        (ONE_CONTAINER, [{"clearArgs": True}]),
        (ONE_CONTAINER, [{"env": [{"name": "A", "value": "again"}]}]),
        (ONE_CONTAINER, [{"env": [{"name": f"B{number}", "value": ""} for number in range(999)]}]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_overrides_of_containers_that_the_job_has_are_taken(
    containers: tuple[str, ...], overrides: list[dict[str, object]], scratch: Path
) -> None:
    with running(replace(CPU, containers=containers, env={"A": "1"}), scratch) as cloud_run:
        assert start(cloud_run, validateOnly=True, overrides={"containerOverrides": overrides})["done"]


@pytest.mark.parametrize(
    ("containers", "overrides"),
    [
        (ONE_CONTAINER, [{"name": "other"}]),
        (ONE_CONTAINER, [{}, {"name": "task"}]),
        (TWO, [{"name": "task"}, {"name": "task"}]),
        (TWO, [{}]),
        (ONE_CONTAINER, [{"args": ["--fast"], "clearArgs": True}]),
        (ONE_CONTAINER, [{"command": ["/bin/sh"]}]),
        (ONE_CONTAINER, [{"env": [{"name": "X_GOOGLE_A", "value": ""}]}]),
        (ONE_CONTAINER, [{"env": [{"name": f"B{number}", "value": ""} for number in range(1000)]}]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_overrides_of_anything_else_are_refused(
    containers: tuple[str, ...], overrides: list[dict[str, object]], scratch: Path
) -> None:
    with running(replace(CPU, containers=containers, env={"A": "1"}), scratch) as cloud_run:
        with pytest.raises(RefusedError) as caught:
            start(cloud_run, overrides={"containerOverrides": overrides})
        assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("override", "said"), [({}, "of the job"), ({"args": ["of", "mine"]}, "of mine"), ({"clearArgs": True}, "")]
)
def test_arguments_are_replaced_or_cleared(override: dict[str, object], said: str, scratch: Path) -> None:
    echo = replace(CPU, argv=["/bin/echo"], args=["of", "the", "job"])
    with running(echo, scratch) as cloud_run:
        operation = start(cloud_run, overrides={"containerOverrides": [override]})
        name = operation["metadata"]["name"].rpartition("/")[2]
        assert cloud_run.execution(name).wait(TIMEOUT_S)
        assert (scratch / name / "task-00000-attempt-0.log").read_text() == f"{said}\n"


def test_what_the_product_asks_for_is_taken_by_every_job(scratch: Path) -> None:
    with CloudRun([CPU, GPU], scratch) as cloud_run:
        names = {Accelerator.CPU: CPU.name, Accelerator.GPU: GPU.name}
        runner = CloudRunJobRunner(lambda: connect(cloud_run.endpoint), names, PROJECT, REGION)
        for accelerator in names:
            name = runner.start(replace(ONE, accelerator=accelerator, n_tasks=3, timeout_s=3600))
            assert cloud_run.execution(name).wait(TIMEOUT_S)
            assert runner.describe(name).state is ExecutionState.SUCCEEDED
