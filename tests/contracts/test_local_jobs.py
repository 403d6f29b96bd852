"""What the subprocess job runner promises beyond the contract: retries, reasons, and that nothing is left running."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import pytest

from shared.adapters.local import jobs
from shared.adapters.local.jobs import SubprocessJobRunner
from shared.adapters.local.starting import Command
from shared.domain.errors import UnavailableError
from shared.domain.plan import Accelerator
from shared.ports.jobs import ExecutionReport, ExecutionState, JobRequest
from tests.contracts.task_desk import TASK, TIMEOUT_S, SubprocessWorld, TaskDesk

ONE = JobRequest("s1", epoch=1, n_tasks=1, accelerator=Accelerator.GPU, timeout_s=60)
PARENT = Path(__file__).with_name("parent_of_tasks.py")


class MakeWorld(Protocol):
    def __call__(self, *, max_parallel: int = 4, max_retries: int = 0, **env: str) -> SubprocessWorld: ...


@pytest.fixture(params=[False, True], ids=["commands", "forked"])
def make_world(scratch: Path, request: pytest.FixtureRequest) -> Iterator[MakeWorld]:
    with ExitStack() as stack:

        def make(*, max_parallel: int = 4, max_retries: int = 0, **env: str) -> SubprocessWorld:
            world = SubprocessWorld(
                scratch, forked=request.param, max_parallel=max_parallel, max_retries=max_retries, **env
            )
            stack.callback(world.close)
            return world

        yield make


def test_a_task_has_the_variables_of_the_platform_and_the_given_ones_only(make_world: MakeWorld) -> None:
    world = make_world(CELLDROP_HOME="/data")
    name = world.runner.start(ONE)
    env = world.desk.next_caller().env
    assert env.pop("CELLDROP_TEST_DESK")
    assert env.pop("CELLDROP_TASK_LOG").endswith(f"{name}/task-00000-attempt-0.log")
    assert env == {
        "CLOUD_RUN_JOB": "celldrop-local",
        "CLOUD_RUN_EXECUTION": name,
        "CLOUD_RUN_TASK_INDEX": "0",
        "CLOUD_RUN_TASK_COUNT": "1",
        "CLOUD_RUN_TASK_ATTEMPT": "0",
        "CELLDROP_SUBMISSION_ID": "s1",
        "CELLDROP_EPOCH": "1",
        "CELLDROP_FINALIZE_ONLY": "0",
        "CELLDROP_ACCELERATOR": "gpu",
        "CELLDROP_DIE_WITH_PARENT": "1",
        "CELLDROP_HOME": "/data",
    }


def test_a_failed_task_is_tried_again_and_told_so(make_world: MakeWorld) -> None:
    world = make_world(max_retries=2)
    name = world.runner.start(ONE)
    for attempt, order in enumerate(["3", "die", "0"]):
        caller = world.desk.next_caller()
        assert (caller.told.execution, caller.told.attempt) == (name, attempt)
        caller.order(order)
    assert world.over(name) == ExecutionReport(ExecutionState.SUCCEEDED)
    logs = {path.name: path.read_text() for path in (world.log_dir / name).iterdir()}
    assert logs == {
        "task-00000-attempt-0.log": "was told 3\n",
        "task-00000-attempt-1.log": "was told die\n",
        "task-00000-attempt-2.log": "was told 0\n",
    }


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ("3", "task 0 failed 2 times; the last time it ended with exit status 3"),
        ("die", "task 0 failed 2 times; the last time it was killed by signal 9 (SIGKILL), most likely because"),
    ],
)
def test_a_task_that_fails_every_time_fails_the_execution_with_the_reason(
    make_world: MakeWorld, order: str, problem: str
) -> None:
    world = make_world(max_retries=1)
    name = world.runner.start(ONE)
    for _ in range(2):
        world.desk.next_caller().order(order)
    report = world.over(name)
    assert report.state is ExecutionState.FAILED
    assert report.problem.startswith(problem)


def test_a_task_that_runs_too_long_is_stopped(make_world: MakeWorld) -> None:
    world = make_world(CELLDROP_TEST_CHILD="1")
    name = world.runner.start(replace(ONE, timeout_s=1))
    world.desk.next_caller().wait_until_gone()
    assert world.over(name).problem == "task 0 failed 1 times; the last time it ran longer than its limit of 1 s"


def test_a_command_that_cannot_be_started_fails_the_execution(scratch: Path) -> None:
    runner = SubprocessJobRunner(Command([str(scratch / "missing")]), {}, scratch / "logs", 1)
    name = runner.start(ONE)
    report = runner.wait(name, TIMEOUT_S)
    runner.close()
    assert report.state is ExecutionState.FAILED
    assert "could not be started" in report.problem


def test_when_one_task_fails_the_others_are_stopped_before_it_is_said(make_world: MakeWorld) -> None:
    world = make_world()
    name = world.runner.start(replace(ONE, n_tasks=3))
    world.tasks(name)
    failing, *others = world.desk.callers
    failing.order("3")
    assert (
        world.over(name).problem
        == f"task {failing.told.index} failed 1 times; the last time it ended with exit status 3"
    )
    for other in others:
        other.wait_until_gone()


def test_no_more_tasks_run_at_a_time_than_permitted(make_world: MakeWorld) -> None:
    world = make_world(max_parallel=1)
    names = [world.runner.start(replace(ONE, n_tasks=2)), world.runner.start(ONE)]
    for expected in ((names[0], 0), (names[0], 1), (names[1], 0)):
        caller = world.desk.next_caller()
        assert (caller.told.execution, caller.told.index) == expected
        caller.order("0")
        caller.wait_until_gone()
    assert [world.over(name).state for name in names] == [ExecutionState.SUCCEEDED] * 2


def test_there_is_room_while_a_process_is_free(make_world: MakeWorld) -> None:
    world = make_world(max_parallel=2)
    assert world.runner.has_room()
    name = world.runner.start(replace(ONE, n_tasks=2))
    world.tasks(name)
    assert not world.runner.has_room()
    assert world.runner.describe(name).begun
    world.end(name, well=True)
    world.over(name)
    assert world.runner.has_room()


def test_a_cancelled_execution_starts_no_further_task(make_world: MakeWorld) -> None:
    world = make_world(max_parallel=1, max_retries=3)
    name = world.runner.start(replace(ONE, n_tasks=3))
    caller = world.desk.next_caller()
    world.runner.cancel(name)
    caller.wait_until_gone()
    assert world.over(name).state is ExecutionState.CANCELLED
    assert [path.name for path in (world.log_dir / name).iterdir()] == ["task-00000-attempt-0.log"]


def test_cancelling_also_stops_what_a_task_has_started(make_world: MakeWorld) -> None:
    world = make_world(CELLDROP_TEST_CHILD="1")
    name = world.runner.start(ONE)
    caller = world.desk.next_caller()
    world.runner.cancel(name)
    caller.wait_until_gone()
    assert world.over(name).state is ExecutionState.CANCELLED


def test_what_a_task_has_started_ends_with_it(make_world: MakeWorld) -> None:
    world = make_world(CELLDROP_TEST_CHILD="1")
    name = world.runner.start(ONE)
    caller = world.desk.next_caller()
    caller.order("0")
    caller.wait_until_gone()
    assert world.over(name).state is ExecutionState.SUCCEEDED


def test_closing_stops_everything_and_takes_no_more(make_world: MakeWorld) -> None:
    world = make_world(CELLDROP_TEST_CHILD="1")
    name = world.runner.start(ONE)
    caller = world.desk.next_caller()
    world.subprocesses.close()
    caller.wait_until_gone()
    assert world.runner.describe(name) == ExecutionReport(ExecutionState.CANCELLED, "the job runner was closed")
    with pytest.raises(UnavailableError):
        world.runner.start(ONE)


def test_executions_of_an_earlier_process_are_unknown(make_world: MakeWorld, scratch: Path) -> None:
    name = make_world().runner.start(ONE)
    later = SubprocessJobRunner(Command(["true"]), {}, scratch, 1)
    assert later.describe(name).state is ExecutionState.UNKNOWN


def test_old_executions_are_forgotten(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_REMEMBERED", 1)
    world = make_world()
    names = []
    for _ in range(3):
        names.append(world.runner.start(ONE))
        world.desk.next_caller().order("0")
        world.over(names[-1])
    assert [world.runner.describe(name).state for name in names] == [
        ExecutionState.UNKNOWN,
        ExecutionState.UNKNOWN,
        ExecutionState.SUCCEEDED,
    ]


@pytest.fixture
def desk_and_parent(
    scratch: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[TaskDesk, subprocess.Popen[bytes]]]:
    """Another process that supervises two tasks, which report at the desk."""
    desk = TaskDesk(scratch)
    env = {**os.environ, "CELLDROP_TEST_DESK": desk.address, "CELLDROP_TEST_WATCH": "1"}
    env[getattr(request, "param", "CELLDROP_TEST_CHILD")] = "1"
    env["PYTHONPATH"] = str(TASK.parents[2])
    with subprocess.Popen([sys.executable, PARENT, scratch / "logs", TASK], env=env) as parent:
        yield desk, parent
        parent.kill()
    desk.close()


@pytest.mark.parametrize(
    "desk_and_parent",
    [
        "CELLDROP_TEST_CHILD",
        pytest.param(
            "CELLDROP_TEST_HANG",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends a process whose parent is gone"),
        ),
    ],
    ids=["with what they started", "though they hang in a library"],
    indirect=True,
)
def test_tasks_die_when_their_parent_is_killed(
    desk_and_parent: tuple[TaskDesk, subprocess.Popen[bytes]],
) -> None:
    desk, parent = desk_and_parent
    callers = [desk.next_caller() for _ in range(2)]
    parent.kill()
    for caller in callers:
        caller.wait_until_gone()


def test_an_execution_of_another_process_runs_as_long_as_that_process(
    desk_and_parent: tuple[TaskDesk, subprocess.Popen[bytes]], scratch: Path
) -> None:
    desk, parent = desk_and_parent
    callers = [desk.next_caller() for _ in range(2)]
    name = callers[0].told.execution
    mine = SubprocessJobRunner(Command(["false"]), {}, scratch / "logs", 1)
    assert mine.describe(name).state is ExecutionState.RUNNING
    assert not mine.is_gone(name)
    parent.kill()
    parent.wait()
    report = mine.describe(name)
    assert (report.state, report.problem) == (ExecutionState.CANCELLED, "the process that supervised it is gone")
    assert mine.is_gone(name)


def test_a_full_disk_costs_one_attempt_and_not_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full"
    full.touch()
    looks: list[Path] = []

    def disk_usage(folder: Path) -> SimpleNamespace:
        looks.append(folder)
        if len(looks) == 3:
            full.unlink()
        return SimpleNamespace(free=0 if full.exists() else 2**40)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    monkeypatch.setattr(jobs, "DISK_PAUSE_S", 0.01)
    command = ["/bin/sh", "-c", f"test ! -e {full}"]
    runner = SubprocessJobRunner(Command(command), dict(os.environ), tmp_path / "logs", max_parallel=1)
    try:
        execution = runner.start(ONE)
        assert runner.wait(execution, TIMEOUT_S).state is ExecutionState.SUCCEEDED
        assert len(looks) == 3
        assert len(list((tmp_path / "logs" / execution).iterdir())) == 2
    finally:
        runner.close()
