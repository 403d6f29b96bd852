"""The methods of the Cloud Run Jobs API v2 that celldrop uses, over executions that run on this machine."""

from __future__ import annotations

import json
import re
import secrets
import string
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.cloud.run_v2 import Execution, Job

from tests.cloud.cloud_run_executions import JobSpec, JobState, RunningExecution
from tests.cloud.cloud_run_refusals import not_found, not_now
from tests.cloud.cloud_run_requests import parse_cancel, parse_run
from tests.cloud.cloud_run_templates import check_job, job_of

EXECUTION_TYPE = "type.googleapis.com/google.cloud.run.v2.Execution"
SUFFIX_CHARS = string.ascii_lowercase + string.digits
PAGE_SIZE = 100
AS_NUMBERS = "json;enum-encoding=int"

_JOB = r"/v2/(?P<job_name>(?P<location>projects/[^/]+/locations/[^/]+)/jobs/(?P<job>[^/:]+))"
_EXECUTION = _JOB + r"/executions/(?P<execution>[^/:]+)"
ROUTES = {
    "jobs.run": ("POST", re.compile(_JOB + ":run")),
    "jobs.get": ("GET", re.compile(_JOB)),
    "executions.list": ("GET", re.compile(_JOB + "/executions")),
    "executions.get": ("GET", re.compile(_EXECUTION)),
    "executions.cancel": ("POST", re.compile(_EXECUTION + ":cancel")),
}


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request, by the method of the API that it calls."""

    method: str
    names: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    body: bytes

    @property
    def execution_name(self) -> str:
        """The execution, in full."""
        return f"{self.names['job_name']}/executions/{self.names['execution']}"

    def json(self, answer: Execution | Job) -> dict[str, object]:
        """A resource as the caller wants to read it."""
        numbers = AS_NUMBERS in self.query.get("$alt", ())
        found: dict[str, object] = json.loads(type(answer).to_json(answer, use_integers_for_enums=numbers))
        return found


def route(verb: str, path: str, query: Mapping[str, Sequence[str]], body: bytes) -> ApiCall:
    """Tell which method a request calls.

    Raises:
        RefusedError: None that there is.
    """
    for method, (own_verb, pattern) in ROUTES.items():
        found = pattern.fullmatch(path)
        if found is not None and verb == own_verb:
            return ApiCall(method, found.groupdict(), query, body)
    raise not_found(path)


class CloudRunApi:
    """Jobs and executions; every call belongs to the event loop that the executions run in.

    Args:
        jobs: What is deployed, in every project and region alike.

    Raises:
        RefusedError: The API would not take one of them.
    """

    def __init__(self, jobs: Sequence[JobSpec], log_dir: Path) -> None:
        for job in jobs:
            check_job(job_of(f"projects/p/locations/l/jobs/{job.name}", job))
        self.executions: dict[str, RunningExecution] = {}
        self._jobs = {job.name: job for job in jobs}
        self._log_dir = log_dir

    def answer(self, request: ApiCall) -> dict[str, object]:
        """Do what a request asks for, and answer in JSON.

        Raises:
            RefusedError: The API would not do it.
        """
        job = self._jobs.get(request.names["job"])
        if job is None:
            raise not_found(request.names["job_name"])
        match request.method:
            case "jobs.run":
                return self._run(job, request)
            case "jobs.get":
                return request.json(job_of(request.names["job_name"], job))
            case "executions.list":
                return self._list(request)
            case "executions.get":
                return request.json(self._execution(request).resource())
            case _:
                return self._cancel(request)

    def _run(self, job: JobSpec, request: ApiCall) -> dict[str, object]:
        name = request.names["job_name"]
        asked = parse_run(request.body, name, job_of(name, job))
        if job.state is not JobState.READY:
            # Not documented, but that a job is Ready when "it can be run"; what is being deleted may be gone as well.
            raise not_now(f"Job '{name}' is not ready: {job.trouble or job.state}.")
        if asked.validate_only:
            return _validated(request)
        suffix = "".join(secrets.choice(SUFFIX_CHARS) for _ in range(5))
        execution = RunningExecution(f"{name}/executions/{job.name}-{suffix}", job, asked.overrides, self._log_dir)
        self.executions[execution.short_name] = execution
        return _operation(request, execution)

    def _list(self, request: ApiCall) -> dict[str, object]:
        prefix = f"{request.names['job_name']}/executions/"
        found = [one for one in reversed(self.executions.values()) if one.name.startswith(prefix)]
        start = int(request.query.get("pageToken", ["0"])[0])
        end = start + int(request.query.get("pageSize", [str(PAGE_SIZE)])[0])
        page: dict[str, object] = {"executions": [request.json(one.resource()) for one in found[start:end]]}
        return {**page, "nextPageToken": str(end)} if end < len(found) else page

    def _cancel(self, request: ApiCall) -> dict[str, object]:
        execution = self._execution(request)
        asked = parse_cancel(request.body, execution.resource())
        if execution.is_over:
            # Not documented: the API may as well answer with a finished operation.
            raise not_now(f"Execution '{execution.name}' is already complete.")
        if asked.validate_only:
            return _validated(request)
        execution.cancel()
        return _operation(request, execution)

    def _execution(self, request: ApiCall) -> RunningExecution:
        found = self.executions.get(request.names["execution"])
        if found is None or found.name != request.execution_name:
            raise not_found(request.execution_name)
        return found


def _validated(request: ApiCall) -> dict[str, object]:
    """Nothing was done, and nothing is under way."""
    return {"name": f"{request.names['location']}/operations/{uuid.uuid4()}", "done": True}


def _operation(request: ApiCall, execution: RunningExecution) -> dict[str, object]:
    return {
        "name": f"{request.names['location']}/operations/{uuid.uuid4()}",
        "metadata": {"@type": EXECUTION_TYPE, **request.json(execution.resource())},
        "done": False,
    }
