"""Translates Cloud Run's description of an execution into a report that a user understands."""

from __future__ import annotations

import re

from google.cloud.run_v2 import Condition, Execution

from shared.ports.jobs import ExecutionReport, ExecutionState

_Reason = Condition.CommonReason
_AMISS = frozenset(
    {
        _Reason.CONTAINER_MISSING,
        _Reason.CONTAINER_PERMISSION_DENIED,
        _Reason.CONTAINER_IMAGE_UNAUTHORIZED,
        _Reason.CONTAINER_IMAGE_AUTHORIZATION_CHECK_FAILED,
        _Reason.ENCRYPTION_KEY_PERMISSION_DENIED,
        _Reason.ENCRYPTION_KEY_CHECK_FAILED,
        _Reason.SECRETS_ACCESS_CHECK_FAILED,
        _Reason.VPC_NETWORK_NOT_FOUND,
    }
)
"""Reasons that must be fixed before the job can start; more capacity would not help."""
_FULL = frozenset({_Reason.PROGRESS_DEADLINE_EXCEEDED, _Reason.WAITING_FOR_OPERATION})
_QUOTA = re.compile(r"quota|capacity|RESOURCE_EXHAUSTED", re.IGNORECASE)

_ENDED_BY_SOMEBODY = frozenset({Condition.ExecutionReason.CANCELLED, Condition.ExecutionReason.DELETED})

# Cloud Run has a single reason for all failures of a task; only its text distinguishes them. The texts below are shown
# to people, and no decision depends on them. The first match wins: out of memory and timeout both say "exit code: 0".
_IN_WORDS = (
    (re.compile(r"memory limit|out of memory|signal:? 9\b|SIGKILL", re.IGNORECASE), "it ran out of memory"),
    (re.compile(r"timeout|maximum time", re.IGNORECASE), "it ran past its time limit"),
    (re.compile(r"exit(?:ed with)? (?:code|status):? [1-9]|exit\([1-9]|exited with an error"), "its program failed"),
)


def report_of(execution: Execution) -> ExecutionReport:
    """The state of an execution, with the problem in our words, followed by Cloud Run's."""
    completed = _condition(execution, "Completed")
    if completed is None or completed.state not in (
        Condition.State.CONDITION_SUCCEEDED,
        Condition.State.CONDITION_FAILED,
    ):
        # Also while it is being cancelled: until its last task has ended, it may still have effects.
        return ExecutionReport(ExecutionState.RUNNING, begun=_began(execution))
    if completed.state == Condition.State.CONDITION_SUCCEEDED:
        return ExecutionReport(ExecutionState.SUCCEEDED)
    if completed.execution_reason in _ENDED_BY_SOMEBODY:
        return ExecutionReport(ExecutionState.CANCELLED, f"it was {completed.execution_reason.name.lower()}")
    return _failure(execution, completed)


def _failure(execution: Execution, completed: Condition) -> ExecutionReport:
    """Why it failed, by the reasons in any of its conditions."""
    failed = [condition for condition in execution.conditions if condition.state == Condition.State.CONDITION_FAILED]
    amiss = next((condition for condition in failed if condition.reason in _AMISS), None)
    if amiss is not None and not _began(execution):
        said = f"Cloud Run cannot start the job as it is deployed ({_text(amiss)})"
        return ExecutionReport(ExecutionState.FAILED, said, refused=True)
    full = next((condition for condition in failed if _says_full(condition)), None)
    if full is not None and not _began(execution):
        said = f"Cloud Run had no capacity for it ({_text(full) or _text(completed)})"
        return ExecutionReport(ExecutionState.FAILED, said, no_room=True)
    return ExecutionReport(ExecutionState.FAILED, _problem(completed))


def _says_full(condition: Condition) -> bool:
    """Whether the condition is about capacity, by its type or reason; or by its text, as a quota has no reason."""
    if condition.type_ == "ResourcesAvailable" or condition.reason in _FULL:
        return True
    return not condition.execution_reason.value and bool(_QUOTA.search(condition.message))


def _began(execution: Execution) -> bool:
    """Whether any task has run."""
    tasks = (execution.running_count, execution.succeeded_count, execution.failed_count, execution.retried_count)
    return any(tasks) or "start_time" in execution


def _condition(execution: Execution, kind: str) -> Condition | None:
    return next((condition for condition in execution.conditions if condition.type_ == kind), None)


def _problem(completed: Condition) -> str:
    text = _text(completed)
    words = next((words for pattern, words in _IN_WORDS if pattern.search(text)), "it failed")
    return f"{words} ({text})" if text else words


def _text(condition: Condition) -> str:
    """The platform's message, or else the name of its reason."""
    reasons = [reason.name for reason in (condition.execution_reason, condition.reason) if reason.value]
    return condition.message.strip().removesuffix(".") or next(iter(reasons), "")
