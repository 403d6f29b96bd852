"""The job runner as a record of what was started; a test says how it goes on."""

from __future__ import annotations

from typing_extensions import override

from shared.ports.jobs import ExecutionReport, ExecutionState, JobRequest, JobRunner
from tests.fakes.calls import Hook, call, nothing


class RecordedJobRunner(JobRunner):
    """Starts nothing. Raise NoCapacityError from the hook at ``jobs.start`` to have no room."""

    def __init__(self, hook: Hook = nothing) -> None:
        self.hook = hook
        self.requests: dict[str, JobRequest] = {}
        self.cancelled: list[str] = []
        self.gone: set[str] = set()
        self._reports: dict[str, ExecutionReport] = {}

    @override
    def is_gone(self, claimant: str) -> bool:
        return claimant in self.gone

    @override
    def start(self, request: JobRequest) -> str:
        with call(self.hook, "jobs.start"):
            name = f"execution-{len(self.requests) + 1}"
            self.requests[name] = request
            self._reports[name] = ExecutionReport(ExecutionState.RUNNING)
        return name

    @override
    def describe(self, execution: str) -> ExecutionReport:
        with call(self.hook, "jobs.describe"):
            return self._reports.get(execution, ExecutionReport(ExecutionState.UNKNOWN))

    @override
    def cancel(self, execution: str) -> None:
        with call(self.hook, "jobs.cancel"):
            self.cancelled.append(execution)
            if self._reports.get(execution) == ExecutionReport(ExecutionState.RUNNING):
                self._reports[execution] = ExecutionReport(ExecutionState.CANCELLED)

    def end(self, execution: str, state: ExecutionState, problem: str = "", *, no_room: bool = False) -> None:
        """Have a running execution end."""
        self.tell(execution, ExecutionReport(state, problem, no_room))

    def tell(self, execution: str, report: ExecutionReport) -> None:
        """Have the platform say this of an execution."""
        self._reports[execution] = report

    def forget(self, execution: str) -> None:
        """Have the platform know nothing of it any more."""
        self._reports.pop(execution, None)

    @property
    def latest(self) -> str:
        """The name of the execution started last."""
        return next(reversed(self.requests))
