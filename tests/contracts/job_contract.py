"""What every job runner must do. Subclass it, and say with a fixture how a task's side is seen and played."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import pytest

from shared.domain.plan import Accelerator
from shared.ports.jobs import ExecutionReport, ExecutionState, JobRequest, JobRunner

REQUEST = JobRequest("s1", epoch=3, n_tasks=2, accelerator=Accelerator.CPU, timeout_s=60)


@dataclass(frozen=True, slots=True)
class Told:
    """What a task was told of itself."""

    submission_id: str
    epoch: int
    finalize_only: bool
    execution: str
    index: int
    count: int
    attempt: int


class JobWorld(Protocol):
    """The platform's side: a runner that retries nothing, and its tasks, which wait until they are told to end."""

    @property
    def runner(self) -> JobRunner: ...

    def tasks(self, execution: str) -> list[Told]:
        """All its tasks by index, once they run."""
        ...

    def end(self, execution: str, *, well: bool) -> None:
        """Have all its tasks end."""
        ...

    def over(self, execution: str) -> ExecutionReport:
        """What is said of it once it no longer runs."""
        ...


class JobRunnerContract:
    """Fixture to give: ``world``."""

    def test_every_task_is_told_what_it_is_for_and_which_it_is(self, world: JobWorld) -> None:
        name = world.runner.start(REQUEST)
        assert world.tasks(name) == [
            Told("s1", 3, finalize_only=False, execution=name, index=index, count=2, attempt=0) for index in range(2)
        ]

    def test_whoever_claims_has_a_name_like_no_other_and_is_not_gone(self, world: JobWorld) -> None:
        first, second = world.runner.claimant(), world.runner.claimant()
        assert first != second
        assert not world.runner.is_gone(first)
        assert not world.runner.is_gone("a name from somewhere else")

    def test_a_finalizing_execution_has_one_task_whatever_the_plan(self, world: JobWorld) -> None:
        name = world.runner.start(replace(REQUEST, finalize_only=True))
        assert world.tasks(name) == [
            Told("s1", 3, finalize_only=True, execution=name, index=0, count=1, attempt=0),
        ]

    def test_an_execution_runs_until_its_tasks_end(self, world: JobWorld) -> None:
        name = world.runner.start(REQUEST)
        world.tasks(name)
        assert world.runner.describe(name) == ExecutionReport(ExecutionState.RUNNING)
        world.end(name, well=True)
        assert world.over(name) == ExecutionReport(ExecutionState.SUCCEEDED)

    def test_an_execution_whose_tasks_fail_has_failed_with_a_reason(self, world: JobWorld) -> None:
        name = world.runner.start(REQUEST)
        world.tasks(name)
        world.end(name, well=False)
        report = world.over(name)
        assert report.state is ExecutionState.FAILED
        assert report.problem

    def test_starting_the_same_again_is_another_execution(self, world: JobWorld) -> None:
        first, second = world.runner.start(REQUEST), world.runner.start(REQUEST)
        assert first != second
        world.runner.cancel(first)
        assert world.over(first).state is ExecutionState.CANCELLED
        assert world.runner.describe(second).state is ExecutionState.RUNNING

    def test_a_cancelled_execution_is_cancelled(self, world: JobWorld) -> None:
        name = world.runner.start(REQUEST)
        world.tasks(name)
        world.runner.cancel(name)
        assert world.over(name).state is ExecutionState.CANCELLED
        world.runner.cancel(name)
        assert world.runner.describe(name).state is ExecutionState.CANCELLED

    def test_cancelling_what_is_over_changes_nothing(self, world: JobWorld) -> None:
        name = world.runner.start(REQUEST)
        world.tasks(name)
        world.end(name, well=True)
        world.over(name)
        world.runner.cancel(name)
        assert world.runner.describe(name).state is ExecutionState.SUCCEEDED

    @pytest.mark.parametrize("name", ["celldrop-nobody", "celldrop-local-000000000000"])
    def test_an_unknown_execution_is_unknown_and_may_be_cancelled(self, world: JobWorld, name: str) -> None:
        world.runner.cancel(name)
        assert world.runner.describe(name).state is ExecutionState.UNKNOWN
