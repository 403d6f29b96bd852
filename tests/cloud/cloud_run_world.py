"""The Cloud Run job runner before the stand-in, with tasks that a test plays."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from shared.adapters.gcp.jobs import CloudRunJobRunner, connect
from shared.domain.plan import Accelerator
from shared.ports.jobs import ExecutionReport, JobRunner
from tests.cloud.cloud_run import CloudRun
from tests.cloud.cloud_run_executions import JobSpec
from tests.contracts.job_contract import Told
from tests.contracts.task_desk import TASK, TIMEOUT_S, TaskDesk

PROJECT = "celldrop-test"
REGION = "europe-west4"
CPU_JOB = "celldrop-cpu"
GPU_JOB = "celldrop-cpu-gpu"
"""Begins like the other: what is told apart by its job's name must not be mistaken."""


class CloudRunWorld:
    """As ``SubprocessWorld``, but that everything goes through Google's client and over HTTP.

    Args:
        job: What the tests change of both jobs, as JobSpec's fields.
        env: Variables of the tasks.
    """

    def __init__(self, folder: Path, env: dict[str, str] | None = None, timeout_s: float = 10.0, **job: Any) -> None:
        self.desk = TaskDesk(folder)
        self.log_dir = folder / "logs"
        # Without site-packages a task starts in a few milliseconds.
        argv = [sys.executable, "-I", "-S", str(TASK)]
        job = {"argv": argv, "env": {"CELLDROP_TEST_DESK": self.desk.address, **(env or {})}, "max_retries": 0, **job}
        self.cloud_run = CloudRun([JobSpec(CPU_JOB, **job), JobSpec(GPU_JOB, gpu=True, **job)], self.log_dir)
        self.clients = connect(self.cloud_run.endpoint)
        names = {Accelerator.CPU: CPU_JOB, Accelerator.GPU: GPU_JOB}
        self._runner = CloudRunJobRunner(lambda: self.clients, names, PROJECT, REGION, timeout_s)

    @property
    def runner(self) -> JobRunner:
        return self._runner

    def tasks(self, execution: str) -> list[Told]:
        while True:
            told = [caller.told for caller in self.desk.callers]
            found = sorted((one for one in told if one.execution == execution), key=lambda one: one.index)
            if found and len(found) == found[0].count:
                return found
            self.desk.next_caller()

    def end(self, execution: str, *, well: bool) -> None:
        for caller in self.desk.callers:
            if caller.told.execution == execution:
                caller.order("0" if well else "3")

    def over(self, execution: str) -> ExecutionReport:
        assert self.cloud_run.execution(execution).wait(TIMEOUT_S)
        return self._runner.describe(execution)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cloud_run.close()
        self.desk.close()
        for client in (self.clients.jobs, self.clients.executions):
            client.transport.close()  # type: ignore[no-untyped-call]  # it has no annotations
