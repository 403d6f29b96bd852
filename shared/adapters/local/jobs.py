"""Executions as processes on this machine: the job runner of the local backend."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from shared.adapters.local.processes import Attempt
from shared.adapters.local.starting import Starter
from shared.adapters.local.vigil import Vigil
from shared.domain.errors import UnavailableError
from shared.lifeline import end_with_parent
from shared.ports.jobs import ExecutionReport, ExecutionState, JobRequest, JobRunner

log = logging.getLogger(__name__)

JOB_NAME = "celldrop-local"
MAX_REMEMBERED = 1000
"""Ended executions that can still be looked up. Older ones become UNKNOWN, as on the platform."""
LEAST_FREE_BYTES = 16 * 2**20
"""Less means that a task failed because the disk is full."""
DISK_PAUSE_S = 2.0
ORPHANED_STATUS = 70
_STDIN = 0
_SHELL = "/bin/sh"


@dataclass(eq=False, slots=True)
class _Execution:
    """The state of an execution; changed only under the runner's lock."""

    name: str
    request: JobRequest
    unfinished: int
    stopping: ExecutionState | None = None
    problem: str = ""
    crashes: tuple[str, ...] = ()
    crashes_alike: bool = False
    log: str = ""
    attempts: set[Attempt] = field(default_factory=set)

    @property
    def report(self) -> ExecutionReport:
        # RUNNING until its last process has ended. A task that waits here waits for a worker, not for capacity.
        if self.unfinished:
            return ExecutionReport(ExecutionState.RUNNING, begun=True)
        return ExecutionReport(
            self.stopping or ExecutionState.SUCCEEDED,
            self.problem,
            crashes=self.crashes,
            crashes_alike=self.crashes_alike,
            log=self.log,
        )


@dataclass(frozen=True, slots=True)
class _Task:
    execution: _Execution
    index: int


class SubprocessJobRunner(JobRunner):
    """A local counterpart of Cloud Run Jobs: runs tasks as processes, with retries and the same variables.

    Args:
        starter: Starts the process of a task.
        env: The environment of a task, without the variables of its execution.
        log_dir: Output is written to ``EXECUTION/task-INDEX-attempt-ATTEMPT.log`` in it.
        max_parallel: The most processes at a time, over all executions.
        max_retries: The most retries of a task after its first attempt.
    """

    def __init__(
        self, starter: Starter, env: Mapping[str, str], log_dir: Path, max_parallel: int, max_retries: int = 3
    ) -> None:
        self._starter = starter
        self._env = dict(env)
        self._log_dir = log_dir
        self._vigil = Vigil(log_dir.parent / "supervisors", JOB_NAME)
        self._max_parallel = max_parallel
        self._max_retries = max_retries
        self._changed = threading.Condition()
        self._waiting: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._workers: list[threading.Thread] = []
        self._executions: dict[str, _Execution] = {}
        self._closed = False

    def prepare(self) -> None:
        """Do now, without waiting for it, what makes the start of the next task quicker."""
        self._starter.prepare()

    @override
    def claimant(self) -> str:
        with self._changed:
            return self._vigil.new_name()

    @override
    def is_gone(self, claimant: str) -> bool:
        return self._vigil.other_lives(claimant) is False

    @override
    def has_room(self) -> bool:
        """Whether a worker is free. Otherwise a submission stays QUEUED, where it is visible and can be cancelled."""
        with self._changed:
            return sum(execution.unfinished for execution in self._executions.values()) < self._max_parallel

    @override
    def start(self, request: JobRequest) -> str:
        n_tasks = 1 if request.finalize_only else request.n_tasks
        with self._changed:
            if self._closed:
                raise UnavailableError("the job runner is closed", hint="Start celldrop again.")
            execution = _Execution(self._vigil.new_name(), request, n_tasks)
            self._forget_oldest()
            self._executions[execution.name] = execution
            self._hire()
        for index in range(n_tasks):
            self._waiting.put(_Task(execution, index))
        return execution.name

    @override
    def describe(self, execution: str) -> ExecutionReport:
        with self._changed:
            found = self._executions.get(execution)
        if found is not None:
            return found.report
        match self._vigil.other_lives(execution):
            case True:
                return ExecutionReport(ExecutionState.RUNNING, begun=True)
            case False:
                return ExecutionReport(ExecutionState.CANCELLED, "the process that supervised it is gone")
            case None:
                return ExecutionReport(ExecutionState.UNKNOWN)

    @override
    def cancel(self, execution: str) -> None:
        with self._changed:
            found = self._executions.get(execution)
            if found is not None and found.unfinished:
                self._stop(found, ExecutionState.CANCELLED, "")

    def wait(self, execution: str, timeout_s: float) -> ExecutionReport:
        """Block until an execution has ended or the time is up. Returns its report."""
        with self._changed:
            self._changed.wait_for(lambda: self.describe(execution).state is not ExecutionState.RUNNING, timeout_s)
        return self.describe(execution)

    def close(self) -> None:
        """Stop every execution, wait until all their processes have ended, and accept no more."""
        with self._changed:
            self._closed = True
            for execution in self._executions.values():
                if execution.unfinished:
                    self._stop(execution, ExecutionState.CANCELLED, "the job runner was closed")
        for _ in self._workers:
            self._waiting.put(None)
        for worker in self._workers:
            worker.join()

    # --- Below: the workers ---

    def _hire(self) -> None:
        # Daemons: a parent that exits without close() must not hang on its tasks, which then die with it.
        while len(self._workers) < self._max_parallel:
            worker = threading.Thread(target=self._work, name=f"task-runner-{len(self._workers)}", daemon=True)
            self._workers.append(worker)
            worker.start()

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            problem = self._run_task(task)
            with self._changed:
                task.execution.unfinished -= 1
                if problem:
                    self._stop(task.execution, ExecutionState.FAILED, problem)
                self._changed.notify_all()

    def _run_task(self, task: _Task) -> str:
        """Run a task until an attempt succeeds or two crash alike. Returns the problem; empty after a success."""
        problem = crash = ""
        for number in range(self._max_retries + 1):
            attempt = self._attempt(task, number)
            if attempt is None:
                return ""
            problem = attempt.run(task.execution.request.timeout_s)
            self._note(task.execution, attempt)
            if not problem:
                return ""
            if attempt.crash and attempt.crash == crash:
                task.execution.crashes_alike = True
                return f"task {task.index} crashed twice at the same place: {crash}"
            crash = attempt.crash
            self._wait_for_disk(task.execution)
        return f"task {task.index} failed {self._max_retries + 1} times; the last time {problem}"

    def _wait_for_disk(self, execution: _Execution) -> None:
        """Wait while the disk is full: a task can then not even record why it failed, and would fail again."""
        is_said = False
        with self._changed:
            while not (execution.stopping or self._closed) and _free_bytes(self._log_dir) < LEAST_FREE_BYTES:
                if not is_said:
                    log.warning("the disk of %s is full: the next attempt waits for space", self._log_dir)
                is_said = True
                self._changed.wait(DISK_PAUSE_S)

    def _attempt(self, task: _Task, number: int) -> Attempt | None:
        execution = task.execution
        path = self._log_dir / execution.name / f"task-{task.index:05}-attempt-{number}.log"
        variables = {**_variables(task, number), "CELLDROP_TASK_LOG": str(path)}
        attempt = Attempt(self._starter, {**self._env, **variables}, path)
        with self._changed:
            if execution.stopping is not None:
                return None
            execution.attempts.add(attempt)
        return attempt

    def _note(self, execution: _Execution, attempt: Attempt) -> None:
        with self._changed:
            execution.attempts.discard(attempt)
            if attempt.crash:
                execution.crashes = (*execution.crashes, attempt.crash)
                execution.log = str(attempt.log)

    def _stop(self, execution: _Execution, state: ExecutionState, problem: str) -> None:
        if execution.stopping is None:
            execution.stopping = state
            execution.problem = problem
        for attempt in execution.attempts:
            attempt.stop()

    def _forget_oldest(self) -> None:
        over = [name for name, execution in self._executions.items() if not execution.unfinished]
        for name in over[: max(0, len(over) - MAX_REMEMBERED + 1)]:
            del self._executions[name]


def _free_bytes(folder: Path) -> int:
    """Space on the folder's disk; as much as is needed if that cannot be told."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return LEAST_FREE_BYTES


def _variables(task: _Task, attempt: int) -> dict[str, str]:
    """The variables that Cloud Run Jobs sets, and the overrides that a dispatch sends."""
    request = task.execution.request
    return {
        "CLOUD_RUN_JOB": JOB_NAME,
        "CLOUD_RUN_EXECUTION": task.execution.name,
        "CLOUD_RUN_TASK_INDEX": str(task.index),
        "CLOUD_RUN_TASK_COUNT": str(1 if request.finalize_only else request.n_tasks),
        "CLOUD_RUN_TASK_ATTEMPT": str(attempt),
        "CELLDROP_SUBMISSION_ID": request.submission_id,
        "CELLDROP_EPOCH": str(request.epoch),
        "CELLDROP_FINALIZE_ONLY": "1" if request.finalize_only else "0",
        "CELLDROP_ACCELERATOR": request.accelerator,
        "CELLDROP_DIE_WITH_PARENT": "1",
    }


def die_with_parent() -> None:
    """End this process and its group when its parent dies, in whatever way it dies.

    A thread would not be reliable: it does not run while a library hangs with Python's lock held. So the kernel ends
    this process, where it supports that, and a shell in the group ends the group. The parent holds the other end of
    our standard input and never writes to it, so end of file means that the parent is dead.
    """
    end_with_parent()
    if os.getpgrp() == os.getpid():
        os.posix_spawn(_SHELL, [_SHELL, "-c", "read -r _; kill -9 0"], os.environ)
    else:
        threading.Thread(target=_outlive_nobody, name="parent-watch", daemon=True).start()


def _outlive_nobody() -> None:
    while os.read(_STDIN, 4096):
        pass
    os._exit(ORPHANED_STATUS)
