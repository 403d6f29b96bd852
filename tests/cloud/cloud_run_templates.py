"""What the Cloud Run API takes of a job's template: the resource read as the reference describes it, then its limits.

The resource and its fields: https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs. The page that
says so stands at each limit. What no page says is refused here where it makes no sense.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.cloud.run_v2 import Condition, Container, EnvVar, ExecutionTemplate, Job, TaskTemplate

from tests.cloud.cloud_run_env import check_env
from tests.cloud.cloud_run_executions import JobSpec, JobState, job_resource
from tests.cloud.cloud_run_refusals import invalid

MAX_TASKS = 10_000
"""https://cloud.google.com/run/docs/create-jobs"""
MAX_RETRIES = 10
"""https://cloud.google.com/run/docs/configuring/max-retries"""
MAX_TIMEOUT_S = 168 * 3600
MAX_GPU_TIMEOUT_S = 3600
"""https://cloud.google.com/run/docs/configuring/task-timeout"""
MAX_CONTAINERS = 10
"""https://cloud.google.com/run/docs/deploying#sidecars"""
MEMORY_MIB = {1: (512, 4096), 2: (512, 8192), 4: (2048, 16_384), 6: (4096, 24_576), 8: (4096, 32_768)}
"""By vCPUs: https://cloud.google.com/run/docs/configuring/jobs/cpu; 512 MiB are the least of the second generation."""
GPUS = frozenset({"nvidia-l4", "nvidia-rtx-pro-6000"})
GPU_VCPUS = 4
GPU_MEMORY_MIB = 16_384
"""https://cloud.google.com/run/docs/configuring/jobs/gpu"""
GPU = "nvidia.com/gpu"
SYSTEM = ("run.googleapis.com/", "cloud.googleapis.com/", "serving.knative.dev/", "autoscaling.knative.dev/")
"""Of labels and annotations: "will be rejected", says the reference."""

LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""A DNS label, as the reference has it for containers; for jobs it says nothing."""
ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
MEMORY = re.compile(r"(\d+)(Mi|Gi)")


def job_of(name: str, spec: JobSpec) -> Job:
    """A job as ``jobs.get`` answers.

    Args:
        name: In full.
    """
    job = job_resource(name, spec)
    job.etag = f'"{spec.name}-1"'
    job.template.task_count = spec.task_count
    job.template.parallelism = spec.template_parallelism
    tasks = job.template.template
    tasks.service_account = spec.account
    tasks.node_selector.accelerator = spec.accelerator
    if spec.gpu_zonal_redundancy_disabled is not None:
        tasks.gpu_zonal_redundancy_disabled = spec.gpu_zonal_redundancy_disabled
    env = [EnvVar(name=key, value=value) for key, value in spec.env.items()]
    tasks.containers = [Container(name=one, image="local", env=env) for one in spec.containers]
    for container in tasks.containers:
        container.resources.limits = dict(spec.limits)
    _set_state(job, spec)
    return job


def _set_state(job: Job, spec: JobSpec) -> None:
    states = Condition.State
    match spec.state:
        case JobState.READY:
            return
        case JobState.DEPLOYING:
            job.reconciling = True
            job.terminal_condition = Condition(type_="Ready", state=states.CONDITION_RECONCILING)
        case JobState.FAILED:
            job.terminal_condition = Condition(type_="Ready", state=states.CONDITION_FAILED, message=spec.trouble)
        case JobState.DELETING:
            job.reconciling = True
            job.delete_time = datetime.now(UTC)


def check_job(job: Job) -> None:
    """As ``jobs.create`` does.

    Raises:
        RefusedError: The API would not take it.
    """
    if not LABEL.fullmatch(job.name.rpartition("/")[2]):
        raise invalid(f"job.name: {job.name!r} is no name of a job: expected up to 63 of a-z, 0-9 and -.")
    _check_labels(job.labels)
    _check_labels(job.annotations)
    _check_counts(job.template)
    _check_tasks(job.template.template)


def _check_labels(labels: Mapping[str, str]) -> None:
    strange = [key for key in labels if key.startswith(SYSTEM)]
    if strange:
        raise invalid(f"job: {strange[0]} is one of the system's own labels or annotations.")


def _check_counts(template: ExecutionTemplate) -> None:
    """No more at a time than there are: https://cloud.google.com/run/docs/configuring/parallelism."""
    _check_labels(template.labels)
    _check_labels(template.annotations)
    task_count = template.task_count or 1
    if not 1 <= task_count <= MAX_TASKS:
        raise invalid(f"job.template.task_count: must be between 1 and {MAX_TASKS}.")
    if not 0 <= template.parallelism <= task_count:
        raise invalid(f"job.template.parallelism: must be at most task_count, {task_count}, or left out.")


def _check_tasks(tasks: TaskTemplate) -> None:
    if not 0 <= tasks.max_retries <= MAX_RETRIES:
        raise invalid(f"job.template.template.max_retries: must be between 0 and {MAX_RETRIES}.")
    has_gpu = bool(tasks.node_selector.accelerator)
    if "timeout" in tasks:
        check_timeout("job.template.template.timeout", tasks.timeout, has_gpu=has_gpu)
    if tasks.service_account and not ACCOUNT.fullmatch(tasks.service_account):
        raise invalid(f"job.template.template.service_account: {tasks.service_account!r} is no address.")
    _check_gpu(tasks, has_gpu=has_gpu)
    _check_containers(tasks)


def check_timeout(field: str, timeout: timedelta, *, has_gpu: bool) -> None:
    """A task's time.

    Raises:
        RefusedError: It is none, or too long.
    """
    seconds = timeout.total_seconds()
    most = MAX_GPU_TIMEOUT_S if has_gpu else MAX_TIMEOUT_S
    if not 0 < seconds <= most or seconds != int(seconds):
        raise invalid(f"{field}: must be whole seconds, more than 0 and at most {most}.")


def _check_gpu(tasks: TaskTemplate, *, has_gpu: bool) -> None:
    kind = tasks.node_selector.accelerator
    if has_gpu and kind not in GPUS:
        raise invalid(f"job.template.template.node_selector.accelerator: there is no {kind!r}.")
    if "gpu_zonal_redundancy_disabled" in tasks and not has_gpu:
        raise invalid("job.template.template.gpu_zonal_redundancy_disabled: there is no GPU.")
    gpus = [container.resources.limits[GPU] for container in tasks.containers if GPU in container.resources.limits]
    if gpus != (["1"] if has_gpu else []):
        raise invalid(
            f"job.template.template.containers.resources.limits: {GPU} must be 1 in one container, with an "
            "accelerator, and in no other."
        )


def _check_containers(tasks: TaskTemplate) -> None:
    names = [container.name for container in tasks.containers]
    if not 1 <= len(names) <= MAX_CONTAINERS or len(set(names)) != len(names):
        raise invalid(f"job.template.template.containers: must be 1 to {MAX_CONTAINERS}, each with a name of its own.")
    for container in tasks.containers:
        if container.name and not LABEL.fullmatch(container.name):
            raise invalid(f"job.template.template.containers.name: {container.name!r} is no DNS label.")
        if not container.image:
            raise invalid("job.template.template.containers.image: is required.")
        check_env("job.template.template.containers.env", container.env)
        _check_limits(container.resources.limits)


def _check_limits(limits: Mapping[str, str]) -> None:
    where = "job.template.template.containers.resources.limits"
    if not set(limits) <= {"cpu", "memory", GPU}:
        raise invalid(f"{where}: only cpu, memory and {GPU} are supported.")
    machine = Machine.of(limits)
    if machine is None or machine.vcpus not in MEMORY_MIB:
        raise invalid(f"{where}: expected 1, 2, 4, 6 or 8 for cpu, and memory as 512Mi or 4Gi; found {dict(limits)}.")
    least, most = MEMORY_MIB[machine.vcpus]
    if not least <= machine.memory_mib <= most:
        raise invalid(f"{where}: {machine.vcpus} vCPUs go with {least} to {most} MiB.")
    if GPU in limits and (machine.vcpus < GPU_VCPUS or machine.memory_mib < GPU_MEMORY_MIB):
        raise invalid(f"{where}: a GPU goes with {GPU_VCPUS} vCPUs and {GPU_MEMORY_MIB} MiB at least.")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a container gets."""

    vcpus: int
    memory_mib: int

    @classmethod
    def of(cls, limits: Mapping[str, str]) -> Machine | None:
        """By its limits: one vCPU and 512 MiB where it has none; None for what cannot be read."""
        vcpus, memory = limits.get("cpu", "1"), MEMORY.fullmatch(limits.get("memory", "512Mi"))
        whole = vcpus.removesuffix("000m")
        if memory is None or not whole.isdigit():
            return None
        return cls(int(whole), int(memory[1]) * (1024 if memory[2] == "Gi" else 1))
