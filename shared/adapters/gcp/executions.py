"""What Cloud Run says of an execution, in words that a user understands."""

from __future__ import annotations

import re

from google.cloud.run_v2 import Condition, Execution

from shared.ports.jobs import ExecutionReport, ExecutionState

_ENDED_BY_SOMEBODY = frozenset({Condition.ExecutionReason.CANCELLED, Condition.ExecutionReason.DELETED})

# Cloud Run has one reason for every way in which a task can fail; only its text tells them apart. The words below are
# for people: nothing is decided by them. First match wins: out of memory and too late both claim "exit code: 0".
_IN_WORDS = (
    (re.compile(r"memory limit|out of memory|signal:? 9\b|SIGKILL", re.IGNORECASE), "it ran out of memory"),
    (re.compile(r"timeout|maximum time", re.IGNORECASE), "it ran past its time limit"),
    (re.compile(r"quota|capacity|RESOURCE_EXHAUSTED", re.IGNORECASE), "Cloud Run had no room for it"),
    (re.compile(r"exit(?:ed with)? (?:code|status):? [1-9]|exit\([1-9]|exited with an error"), "its program failed"),
)


def report_of(execution: Execution) -> ExecutionReport:
    """The state of an execution, with the problem in our words, then in Cloud Run's own."""
    completed = _condition(execution, "Completed")
    if completed is None or completed.state not in (
        Condition.State.CONDITION_SUCCEEDED,
        Condition.State.CONDITION_FAILED,
    ):
        # Also while it is being cancelled: until its last task is gone it may still do something.
        return ExecutionReport(ExecutionState.RUNNING)
    if completed.state == Condition.State.CONDITION_SUCCEEDED:
        return ExecutionReport(ExecutionState.SUCCEEDED)
    if completed.execution_reason in _ENDED_BY_SOMEBODY:
        return ExecutionReport(ExecutionState.CANCELLED, f"it was {completed.execution_reason.name.lower()}")
    no_room = _failed(_condition(execution, "ResourcesAvailable"))
    return ExecutionReport(ExecutionState.FAILED, _problem(execution, completed), no_room=no_room)


def _failed(condition: Condition | None) -> bool:
    return condition is not None and condition.state == Condition.State.CONDITION_FAILED


def _condition(execution: Execution, kind: str) -> Condition | None:
    return next((condition for condition in execution.conditions if condition.type_ == kind), None)


def _problem(execution: Execution, completed: Condition) -> str:
    resources = _condition(execution, "ResourcesAvailable")
    if resources is not None and _failed(resources):
        return f"Cloud Run had no room for it ({_text(resources) or _text(completed)})"
    text = _text(completed)
    words = next((words for pattern, words in _IN_WORDS if pattern.search(text)), "it failed")
    return f"{words} ({text})" if text else words


def _text(condition: Condition) -> str:
    """The platform's own message, else the name of its reason."""
    reasons = [reason.name for reason in (condition.execution_reason, condition.reason) if reason.value]
    return condition.message.strip().removesuffix(".") or next(iter(reasons), "")
