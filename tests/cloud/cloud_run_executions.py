"""Executions as Cloud Run runs them: so many tasks, so many at a time, each tried again, all stopped on request.

Modelled on the documentation of Cloud Run jobs and of its API v2; the texts of failures are those that users report.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from google.cloud.run_v2 import Condition, Container, EnvVar, Execution, Job, RunJobRequest, TaskTemplate

from tests.cloud.cloud_run_attempts import Attempt

GRACE_S = 10.0
DEFAULT_TIMEOUT_S = 600.0
GPU_MACHINE = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}


class JobState(StrEnum):
    """How far a job has got."""

    DEPLOYING = "being deployed"
    READY = "ready"
    FAILED = "failed to deploy"
    DELETING = "being deleted"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job as deployed.

    Attributes:
        room: Tasks at a time that the region has room for; 0 for all. Templates leave parallelism out.
        gpu: Whether its tasks have a GPU, which Cloud Run lends for an hour at most.
        grace_s: From the request to end to the end; Cloud Run's ten seconds but in tests of it.
        args: Behind ``argv``; what a start may replace.
        task_count: Of a start that says nothing of it.
        template_parallelism: Of the template; 0 for none, as it is to be.
        account: That its tasks run as.
        machine: Limits of its container; empty for the least that there is.
        containers: Their names.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    max_retries: int = 3
    room: int = 0
    timeout_s: float = DEFAULT_TIMEOUT_S
    gpu: bool = False
    grace_s: float = GRACE_S
    args: Sequence[str] = ()
    task_count: int = 1
    template_parallelism: int = 0
    account: str = "celldrop-task@celldrop-local.iam.gserviceaccount.com"
    machine: Mapping[str, str] = field(default_factory=dict)
    kind_of_gpu: str = "nvidia-l4"
    gpu_zonal_redundancy_disabled: bool | None = None
    containers: Sequence[str] = ("",)
    state: JobState = JobState.READY
    trouble: str = ""

    @property
    def accelerator(self) -> str:
        """The kind of GPU; empty without."""
        return self.kind_of_gpu if self.gpu else ""

    @property
    def limits(self) -> Mapping[str, str]:
        """Of its container."""
        return self.machine or (GPU_MACHINE if self.gpu else {})


class RunningExecution:
    """One execution; every method but ``wait`` belongs to the event loop it runs in.

    Args:
        name: In full.
    """

    def __init__(self, name: str, job: JobSpec, overrides: RunJobRequest.Overrides, log_dir: Path) -> None:
        self.name = name
        self._job = job
        self._n_tasks = overrides.task_count or job.task_count
        self._timeout_s = _seconds(overrides.timeout) or job.timeout_s
        self._env = {**job.env, **{one.name: one.value for one in _env_of(overrides)}}
        self._argv = [*job.argv, *_args_of(overrides, job)]
        self._log_dir = log_dir / self.short_name
        self._counts: Counter[str] = Counter()
        self._uid = str(uuid.uuid4())
        self._created_at = datetime.now(UTC)
        self._ended_at: datetime | None = None
        self._cancelling = False
        self._failure = ""
        self._over = threading.Event()
        self._main = asyncio.get_running_loop().create_task(self._run())
        self._main.add_done_callback(self._close)

    @property
    def short_name(self) -> str:
        """What its tasks know it by."""
        return self.name.rpartition("/")[2]

    @property
    def _parallelism(self) -> int:
        """What the template says stands, however many tasks a start asks for."""
        return min(self._job.template_parallelism or self._n_tasks, self._n_tasks)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._over.is_set()

    def cancel(self) -> None:
        """Have it end; it is over when its last task is gone."""
        if not self._cancelling and not self.is_over:
            self._cancelling = True
            self._main.cancel()

    def wait(self, timeout_s: float) -> bool:
        """Block another thread until it is over; returns whether it is."""
        return self._over.wait(timeout_s)

    async def _run(self) -> None:
        gate = asyncio.Semaphore(min(self._job.room or self._n_tasks, self._parallelism))
        # Every task is attempted, whatever becomes of the others.
        async with asyncio.TaskGroup() as group:
            for index in range(self._n_tasks):
                group.create_task(self._run_task(gate, index))

    def _close(self, main: asyncio.Task[None]) -> None:
        if main.cancelled():
            self._counts["cancelled"] = self._n_tasks - self._counts["succeeded"] - self._counts["failed"]
        elif main.exception() is not None:
            self._failure = f"The stand-in itself failed: {main.exception()!r}"
        self._ended_at = datetime.now(UTC)
        self._over.set()

    async def _run_task(self, gate: asyncio.Semaphore, index: int) -> None:
        problem = ""
        for number in range(self._job.max_retries + 1):
            async with gate:
                problem = await self._run_attempt(index, number)
            if not problem:
                self._counts["succeeded"] += 1
                return
            self._counts["retried"] += number < self._job.max_retries
        self._counts["failed"] += 1
        self._failure = f"Task {self.short_name}-task{index} failed with {problem}"

    async def _run_attempt(self, index: int, number: int) -> str:
        own = {
            "CLOUD_RUN_JOB": self._job.name,
            "CLOUD_RUN_EXECUTION": self.short_name,
            "CLOUD_RUN_TASK_INDEX": str(index),
            "CLOUD_RUN_TASK_COUNT": str(self._n_tasks),
            "CLOUD_RUN_TASK_ATTEMPT": str(number),
        }
        log = self._log_dir / f"task-{index:05}-attempt-{number}.log"
        self._counts["running"] += 1
        try:
            attempt = Attempt(self._argv, {**self._env, **own}, log, self._timeout_s, self._job.grace_s)
            return await attempt.run()
        finally:
            self._counts["running"] -= 1

    # --- Below: the same as the API's resource ---

    def resource(self) -> Execution:
        """As ``executions.get`` answers."""
        return Execution(
            name=self.name,
            uid=self._uid,
            generation=1,
            create_time=self._created_at,
            start_time=self._created_at,
            update_time=self._ended_at or self._created_at,
            completion_time=self._ended_at,
            job=self._job.name,
            parallelism=self._parallelism,
            task_count=self._n_tasks,
            template=self._template(),
            reconciling=not self.is_over,
            conditions=self._conditions(),
            observed_generation=1,
            running_count=self._counts["running"],
            succeeded_count=self._counts["succeeded"],
            failed_count=self._counts["failed"],
            cancelled_count=self._counts["cancelled"],
            retried_count=self._counts["retried"],
            etag=f'"{self._uid}"',
        )

    def _template(self) -> TaskTemplate:
        env = [EnvVar(name=name, value=value) for name, value in self._env.items()]
        return TaskTemplate(
            containers=[Container(image="local", env=env)],
            max_retries=self._job.max_retries,
            timeout=timedelta(seconds=self._timeout_s),
        )

    def _conditions(self) -> list[Condition]:
        done = Condition.State.CONDITION_SUCCEEDED
        return [
            Condition(type_="ResourcesAvailable", state=done, last_transition_time=self._created_at),
            Condition(type_="Started", state=done, last_transition_time=self._created_at),
            self._completed(),
        ]

    def _completed(self) -> Condition:
        at, reasons, states = self._ended_at, Condition.ExecutionReason, Condition.State
        if at is None:
            reason = reasons.CANCELLING if self._cancelling else reasons.EXECUTION_REASON_UNDEFINED
            return Condition(type_="Completed", state=states.CONDITION_RECONCILING, execution_reason=reason)
        if self._counts["cancelled"]:
            reason, message = reasons.CANCELLED, f"Execution {self.short_name} was cancelled."
        elif self._failure:
            reason, message = reasons.NON_ZERO_EXIT_CODE, self._failure
        else:
            return Condition(type_="Completed", state=states.CONDITION_SUCCEEDED, last_transition_time=at)
        return Condition(
            type_="Completed",
            state=states.CONDITION_FAILED,
            message=message,
            last_transition_time=at,
            execution_reason=reason,
        )


def job_resource(name: str, spec: JobSpec) -> Job:
    """A job as ``jobs.get`` answers.

    Args:
        name: In full.
    """
    ready = Condition(type_="Ready", state=Condition.State.CONDITION_SUCCEEDED)
    job = Job(name=name, terminal_condition=ready)
    job.template.task_count = 1
    job.template.template = TaskTemplate(
        containers=[Container(image="local")],
        max_retries=spec.max_retries,
        timeout=timedelta(seconds=spec.timeout_s),
    )
    return job


def _env_of(overrides: RunJobRequest.Overrides) -> list[EnvVar]:
    return [variable for container in overrides.container_overrides for variable in container.env]


def _args_of(overrides: RunJobRequest.Overrides, job: JobSpec) -> Sequence[str]:
    """What stands in the place of the job's own arguments, if something does."""
    for container in overrides.container_overrides:
        if container.args or container.clear_args:
            return list(container.args)
    return job.args


def _seconds(duration: timedelta | None) -> float:
    return duration.total_seconds() if duration else 0.0
