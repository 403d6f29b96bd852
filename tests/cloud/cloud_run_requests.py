"""What the Cloud Run API takes and what it refuses: bodies read against its own message types, then its limits.

https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs/run
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from google.cloud.run_v2 import CancelExecutionRequest, Execution, Job, RunJobRequest
from google.protobuf import json_format  # type: ignore[import-untyped]  # protobuf ships no types

from tests.cloud.cloud_run_env import MAX_VARIABLES, check_env
from tests.cloud.cloud_run_refusals import changed, invalid
from tests.cloud.cloud_run_templates import MAX_TASKS, check_timeout

FIELD = "overrides.container_overrides"

R = TypeVar("R", RunJobRequest, CancelExecutionRequest)


def parse_run(body: bytes, name: str, job: Job) -> RunJobRequest:
    """Read the body of ``jobs.run``.

    Args:
        job: As it is deployed.

    Raises:
        RefusedError: It is malformed, has a field that the API does not know, a value that it does not take, or is for
            another version of the job.
    """
    request, given = _parsed(RunJobRequest, body, name)
    _check_version(request, name, job.etag)
    # In the message a zero cannot be told from nothing; in JSON it can.
    is_said = _field(_field(given, "overrides") or {}, "taskCount") is not None
    if not is_said <= request.overrides.task_count <= MAX_TASKS:
        raise invalid(f"overrides.task_count: must be between 1 and {MAX_TASKS}.")
    if "timeout" in request.overrides:
        has_gpu = bool(job.template.template.node_selector.accelerator)
        check_timeout("overrides.timeout", request.overrides.timeout, has_gpu=has_gpu)
    _check_containers(request.overrides, job)
    return request


def parse_cancel(body: bytes, execution: Execution) -> CancelExecutionRequest:
    """Read the body of ``executions.cancel``.

    Raises:
        RefusedError: It is malformed, has a field that the API does not know, or is for another version.
    """
    request = _parsed(CancelExecutionRequest, body, execution.name)[0]
    _check_version(request, execution.name, execution.etag)
    return request


def _check_version(request: RunJobRequest | CancelExecutionRequest, name: str, etag: str) -> None:
    if request.etag and request.etag != etag:
        raise changed(name)


def _parsed(kind: type[R], body: bytes, name: str) -> tuple[R, Mapping[str, Any]]:
    """The message, and the JSON that it was."""
    try:
        found: R = kind.from_json(body or b"{}", ignore_unknown_fields=False)
        given = json.loads(body or b"{}")
    except (ValueError, json_format.Error) as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error
    if not isinstance(given, dict):
        raise invalid("Invalid JSON payload received. Expected an object.")
    if found.name not in ("", name):
        raise invalid(f"name: {found.name!r} does not match the path.")
    return found, given


def _field(given: Mapping[str, Any], name: str) -> Any:
    """A field by either of the names that JSON may have for it."""
    snake = "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
    return given.get(name, given.get(snake))


def _check_containers(overrides: RunJobRequest.Overrides, job: Job) -> None:
    """Each is for one container of the job: the only one, or one that it names."""
    containers = {container.name: container for container in job.template.template.containers}
    only = next(iter(containers)) if len(containers) == 1 else None
    names = [one.name or (only if only is not None else "") for one in overrides.container_overrides]
    for name in names:
        if name not in containers or names.count(name) > 1:
            raise invalid(f"{FIELD}.name: expected one of {sorted(containers)}, each once; found {name!r}.")
    for name, one in zip(names, overrides.container_overrides, strict=True):
        if one.args and one.clear_args:
            raise invalid(f"{FIELD}.clear_args: there are args, too.")
        check_env(f"{FIELD}.env", one.env)
        # They are merged, and the whole is what the container has.
        if len({variable.name for variable in (*containers[name].env, *one.env)}) > MAX_VARIABLES:
            raise invalid(f"{FIELD}.env: with those of the job they are more than {MAX_VARIABLES}.")
