"""What the Cloud Run API takes and what it refuses: bodies read against its own message types, then its limits."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import TypeVar

from google.cloud.run_v2 import CancelExecutionRequest, EnvVar, RunJobRequest
from google.protobuf import json_format  # type: ignore[import-untyped]  # protobuf ships no types

from tests.cloud.cloud_run_executions import JobSpec

MAX_TASKS = 10_000
MAX_VARIABLES = 1000
MAX_VALUE_BYTES = 32 * 1024
MAX_TIMEOUT_S = 168 * 3600
MAX_GPU_TIMEOUT_S = 3600
RESERVED = re.compile(r"CLOUD_RUN_.*|PORT|K_.*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

R = TypeVar("R", RunJobRequest, CancelExecutionRequest)


class RefusedError(Exception):
    """An answer that is an error, as the API words it.

    Args:
        status: The HTTP status.
        code: The name of the canonical code.
    """

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def body(self) -> dict[str, object]:
        """The JSON of the answer."""
        return {"error": {"code": int(self.status), "message": str(self), "status": self.code}}


def invalid(message: str) -> RefusedError:
    """A request that the API will never take."""
    return RefusedError(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", message)


def not_found(name: str) -> RefusedError:
    """A resource that is not there."""
    return RefusedError(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"Resource '{name}' was not found.")


def parse_run(body: bytes, name: str, job: JobSpec) -> RunJobRequest:
    """Read the body of ``jobs.run``.

    Raises:
        RefusedError: It is malformed, has a field that the API does not know, or a value that it does not take.
    """
    request = _parsed(RunJobRequest, body, name)
    overrides = request.overrides
    if overrides.task_count > MAX_TASKS or overrides.task_count < 0:
        raise invalid(f"overrides.task_count: must be between 1 and {MAX_TASKS}.")
    _check_timeout(overrides, job)
    if len(overrides.container_overrides) > 1:
        raise invalid("overrides.container_overrides: more overrides than the job has containers.")
    for container in overrides.container_overrides:
        if container.name:
            raise invalid(f"overrides.container_overrides.name: the job has no container {container.name!r}.")
        _check_env(container.env)
    return request


def parse_cancel(body: bytes, name: str) -> CancelExecutionRequest:
    """Read the body of ``executions.cancel``.

    Raises:
        RefusedError: It is malformed, or has a field that the API does not know.
    """
    return _parsed(CancelExecutionRequest, body, name)


def _parsed(kind: type[R], body: bytes, name: str) -> R:
    try:
        found: R = kind.from_json(body or b"{}", ignore_unknown_fields=False)
        given = json.loads(body or b"{}")
    except (ValueError, json_format.Error) as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error
    if not isinstance(given, dict):
        raise invalid("Invalid JSON payload received. Expected an object.")
    overrides = given.get("overrides") or {}
    if 0 in (overrides.get("taskCount"), overrides.get("task_count")):
        raise invalid(f"overrides.task_count: must be between 1 and {MAX_TASKS}.")
    if found.name not in ("", name):
        raise invalid(f"name: {found.name!r} does not match the path.")
    return found


def _check_timeout(overrides: RunJobRequest.Overrides, job: JobSpec) -> None:
    if "timeout" not in overrides:
        return
    seconds = overrides.timeout.total_seconds()
    most = MAX_GPU_TIMEOUT_S if job.gpu else MAX_TIMEOUT_S
    if not 0 < seconds <= most or seconds != int(seconds):
        raise invalid(f"overrides.timeout: must be whole seconds, more than 0 and at most {most}.")


def _check_env(env: Sequence[EnvVar]) -> None:
    names = [variable.name for variable in env]
    if len(names) > MAX_VARIABLES or len(set(names)) != len(names):
        raise invalid(f"overrides.container_overrides.env: at most {MAX_VARIABLES}, each name once.")
    for variable in env:
        if not VARIABLE.fullmatch(variable.name):
            raise invalid(f"overrides.container_overrides.env.name: {variable.name!r} is no name of a variable.")
        if RESERVED.fullmatch(variable.name):
            raise invalid(f"overrides.container_overrides.env.name: {variable.name} is reserved.")
        if len(variable.value.encode()) > MAX_VALUE_BYTES:
            raise invalid(f"overrides.container_overrides.env.value: {variable.name} is too long.")
