"""The job runner on Cloud Run Jobs: one execution per dispatch, whose start is never retried automatically."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.retry import Retry, if_transient_error
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]  # ships no types
from typing_extensions import override

from shared.adapters.gcp.errors import answering
from shared.domain.errors import (
    CelldropError,
    NoCapacityError,
    SettingsError,
    StartRefusedError,
    UnavailableError,
)
from shared.domain.plan import Accelerator
from shared.ports.jobs import ExecutionReport, ExecutionState, JobRequest, JobRunner

if TYPE_CHECKING:
    from google.api_core.operation import Operation
    from google.cloud.run_v2 import ExecutionsClient, JobsClient

TIMEOUT_S = 30.0

_EXECUTOR = "roles/run.jobsExecutorWithOverrides"
_VIEWER = "roles/run.viewer"

_FAULTS = (exceptions.GoogleAPIError, GoogleAuthError, OSError, ParseError, JSONDecodeError)
"""What a call can raise: an error of the API, no credentials, no answer (the errors of requests are OSErrors), or an
answer that does not come from the API."""

_MAY_HAVE_STARTED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, 499})
"""Error statuses after which the execution may have been started; 499 is an aborted call."""


@dataclass(frozen=True, slots=True)
class CloudRunClients:
    """The clients of the two Cloud Run services that we use."""

    jobs: JobsClient
    executions: ExecutionsClient


def connect(endpoint: str = "") -> CloudRunClients:
    """Make clients with the credentials of this environment.

    They use REST, because only that transport takes the scheme from the endpoint. The stand-in of development and CI
    speaks plain HTTP, so tests against it use the same transport as production.

    Args:
        endpoint: ``http://127.0.0.1:PORT`` of a stand-in, which gets no credentials; empty for Google's.
    """
    from google.cloud.run_v2 import ExecutionsClient, JobsClient  # noqa: PLC0415  # half a second: not every cold start's

    if not endpoint:
        return CloudRunClients(JobsClient(transport="rest"), ExecutionsClient(transport="rest"))
    options = ClientOptions(api_endpoint=endpoint)
    nobody = AnonymousCredentials()
    return CloudRunClients(
        JobsClient(transport="rest", client_options=options, credentials=nobody),
        ExecutionsClient(transport="rest", client_options=options, credentials=nobody),
    )


class CloudRunJobRunner(JobRunner):
    """Runs executions of deployed jobs. They go by their short names, the only ones that a task knows.

    Args:
        connect: Makes the clients, at the first use.
        jobs: The short name of the job for each accelerator; none is started on an accelerator without a job.
        timeout_s: The time limit of one call. Lookups and cancellations are retried within it.
    """

    def __init__(
        self,
        connect: Callable[[], CloudRunClients],
        jobs: Mapping[Accelerator, str],
        project: str,
        region: str,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._connect = connect
        self._jobs = {accelerator: name for accelerator, name in jobs.items() if name}
        self._location = f"projects/{project}/locations/{region}"
        self._timeout_s = timeout_s

    @override
    def start(self, request: JobRequest) -> str:
        """Start an execution and return its short name.

        It is never retried, by us or by the client: Cloud Run has no idempotency key, so a second start would make a
        second execution.

        Raises:
            NoCapacityError: Cloud Run has no capacity or quota; nothing was started.
            StartRefusedError: The job is missing, must not be started, or cannot run like this; nothing was started.
                This may pass: a new grant takes minutes to take effect, and the job may be being deployed.
            UnavailableError: There was no clear answer; it may have started.
            SettingsError: No job is set for the accelerator.
        """
        job = self._job_for(request.accelerator)
        try:
            operation = self._clients.jobs.run_job(_run_request(job, request), retry=None, timeout=self._timeout_s)
        except _FAULTS as error:
            raise _refused(error, job) from error
        return _started(operation, job)

    @override
    def describe(self, execution: str) -> ExecutionReport:
        """Look up an execution.

        Raises:
            UnavailableError: No answer.
            AccessDeniedError: This account may not see it.
        """
        name = self._full_name(execution)
        if name is None:
            return ExecutionReport(ExecutionState.UNKNOWN)
        from shared.adapters.gcp.executions import report_of  # noqa: PLC0415  # it loads the client's types

        with answering(name, grant=f"{_VIEWER} on the job"):
            try:
                found = self._clients.executions.get_execution(
                    name=name, retry=self._patiently, timeout=self._timeout_s
                )
            except exceptions.NotFound:
                return ExecutionReport(ExecutionState.UNKNOWN)
        return report_of(found)

    @override
    def cancel(self, execution: str) -> None:
        """Stop an execution. It is not an error if it has ended or is unknown.

        Raises:
            UnavailableError: No answer.
            AccessDeniedError: This account may not cancel it.
        """
        name = self._full_name(execution)
        if name is None:
            return
        with answering(name, grant=f"{_EXECUTOR} on the job"):
            try:
                self._clients.executions.cancel_execution(name=name, retry=self._patiently, timeout=self._timeout_s)
            except exceptions.NotFound:
                return
            except exceptions.BadRequest:
                # An execution that has ended cannot be cancelled.
                if self.describe(execution).state is ExecutionState.RUNNING:
                    raise

    @cached_property
    def _clients(self) -> CloudRunClients:
        return self._connect()

    @property
    def _patiently(self) -> Retry:
        return Retry(predicate=if_transient_error, initial=0.2, maximum=5.0, multiplier=2.0, timeout=self._timeout_s)

    def _job_for(self, accelerator: Accelerator) -> str:
        name = self._jobs.get(accelerator)
        if name is None:
            hint = f"Deploy a job and set CELLDROP_{accelerator.upper()}_JOB to its name, or use another model."
            raise SettingsError(f"no Cloud Run job for {accelerator} is set", hint=hint)
        return f"{self._location}/jobs/{name}"

    def _full_name(self, execution: str) -> str | None:
        """The full name; None if it is not an execution of our jobs. Cloud Run names executions JOB-SUFFIX."""
        job = execution.rpartition("-")[0]
        return f"{self._location}/jobs/{job}/executions/{execution}" if job in self._jobs.values() else None


def _run_request(job: str, request: JobRequest) -> dict[str, Any]:
    variables = {
        "CELLDROP_SUBMISSION_ID": request.submission_id,
        "CELLDROP_EPOCH": str(request.epoch),
        "CELLDROP_FINALIZE_ONLY": "1" if request.finalize_only else "0",
        "CELLDROP_ACCELERATOR": str(request.accelerator),
    }
    env = [{"name": name, "value": value} for name, value in variables.items()]
    overrides = {
        "container_overrides": [{"env": env}],
        "task_count": 1 if request.finalize_only else request.n_tasks,
        "timeout": {"seconds": request.timeout_s},
    }
    return {"name": job, "overrides": overrides}


def _started(operation: Operation, job: str) -> str:
    execution = operation.metadata
    if execution is None or not execution.name:
        raise UnavailableError("Cloud Run's answer names no execution; one may have started", where=job)
    return str(execution.name).rpartition("/")[2]


def _refused(error: Exception, job: str) -> CelldropError:
    """The error to raise. If something may have started, the lease decides; a clear refusal can be retried."""
    match error:
        case exceptions.TooManyRequests():
            return NoCapacityError(f"Cloud Run has no capacity to start the job: {_said(error)}", where=job)
        case GoogleAuthError():
            hint = "Check the account that dispatch runs as, and the metadata server of its instance."
            return StartRefusedError(
                f"no token could be obtained to start the job: {_said(error)}", where=job, hint=hint
            )
        case exceptions.ClientError() if error.code not in _MAY_HAVE_STARTED:
            found, hint = _refusal(error)
            return StartRefusedError(found, where=job, hint=hint)
        case _:
            return UnavailableError(f"Cloud Run did not say whether it started the job: {_said(error)}", where=job)


def _refusal(error: exceptions.ClientError) -> tuple[str, str]:
    """Cloud Run's message, and what to correct if it persists."""
    match error:
        case exceptions.NotFound():
            hint = "Deploy it, or correct CELLDROP_CPU_JOB, CELLDROP_GPU_JOB, CELLDROP_PROJECT or CELLDROP_REGION."
            return "the Cloud Run job does not exist", hint
        case exceptions.Forbidden() | exceptions.Unauthorized():
            hint = f"Grant {_EXECUTOR} on the job to the account that dispatch runs as, then drop the file again."
            return f"Cloud Run does not permit starting the job: {_said(error)}", hint
        case _:
            hint = "Correct the job, or the setting that Cloud Run names: CELLDROP_TASK_TIMEOUT_S, CELLDROP_MAX_TASKS."
            return f"Cloud Run refuses to start the job: {_said(error)}", hint


def _said(error: Exception) -> str:
    """The API's message, without the request that the client puts before it."""
    if isinstance(error, exceptions.GoogleAPICallError):
        return (error.message or "").partition(": ")[2] or str(error)
    return f"{type(error).__name__}: {error}"
