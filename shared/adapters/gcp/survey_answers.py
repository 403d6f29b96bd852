"""Translates the answers of Google's services into facts, and their errors into reasons for missing facts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from google.api_core import exceptions
from requests import RequestException

from shared.adapters.gcp.errors import is_refused_login
from shared.ports.survey import FunctionFacts, JobFacts, Silence, SubscriptionFacts, Untold

if TYPE_CHECKING:
    from google.cloud.run_v2 import Condition, Container, Job, Service
    from google.pubsub_v1 import Subscription

MAX_WORDS = 200
_OWN_VARIABLES = "CELLDROP_"
_NOT_OFFERED = frozenset({405, 501})
_MISSING = frozenset({404, 410})
_DENIED = frozenset({401, 403})
_SWITCHED_OFF = "SERVICE_DISABLED"
# The client puts the request before the service's message, and the service adds a link to its console.
_REQUEST = re.compile(r"^(?:GET|POST) \S+: ")
_LINK = re.compile(r"[^.]*https?://\S+")


def untold(error: Exception) -> Untold:
    """Why a fact is missing, judged by the error's type and status. Credentials are judged as by the adapters."""
    return Untold(_silence(error), _words(error))


def _silence(error: Exception) -> Silence:
    if is_refused_login(error):
        return Silence.DENIED
    if not isinstance(error, exceptions.GoogleAPICallError):
        return Silence.UNREACHABLE
    if error.reason == _SWITCHED_OFF:
        return Silence.DISABLED
    by_status = {_NOT_OFFERED: Silence.NOT_OFFERED, _MISSING: Silence.MISSING, _DENIED: Silence.DENIED}
    found = next((silence for codes, silence in by_status.items() if error.code in codes), None)
    if found is not None:
        return found
    return Silence.REFUSED if isinstance(error, exceptions.BadRequest) else Silence.UNREACHABLE


def _words(error: Exception) -> str:
    origin = error if isinstance(error, RequestException) else error.__cause__
    if isinstance(origin, RequestException):
        return f"{type(origin).__name__} at {_host(origin)}"  # Its message is a chain of object representations.
    text = (error.message or "") if isinstance(error, exceptions.GoogleAPICallError) else str(error)
    said = " ".join(_LINK.sub("", _REQUEST.sub("", text)).split()).strip(" .")
    return said[:MAX_WORDS] or type(error).__name__


def _host(error: RequestException) -> str:
    url = error.request.url if error.request is not None else None
    return urlsplit(url).netloc if isinstance(url, str) else "an address"


def subscription_facts(found: Subscription) -> SubscriptionFacts:
    """A subscription as Pub/Sub describes it."""
    endpoint = found.push_config.push_endpoint
    token = found.push_config.oidc_token
    expiry = found.expiration_policy.ttl.total_seconds() if found.expiration_policy.ttl else 0
    return SubscriptionFacts(
        name=found.name,
        endpoint=endpoint,
        token_account=token.service_account_email,
        token_audience=(token.audience or endpoint) if token.service_account_email else "",
        has_retry_policy="retry_policy" in found,
        dead_letter_topic=found.dead_letter_policy.dead_letter_topic,
        ack_deadline_s=found.ack_deadline_seconds,
        expires_after_s=int(expiry) or None,
        is_healthy=found.state != type(found).State.RESOURCE_ERROR and not found.detached,
    )


def job_facts(job: Job) -> JobFacts:
    """A job as Cloud Run describes it."""
    template = job.template.template
    container: Container | None = next(iter(template.containers), None)
    return JobFacts(
        image=container.image if container else "",
        timeout_s=int(template.timeout.total_seconds()) if template.timeout else 0,
        max_retries=template.max_retries,
        accelerator=template.node_selector.accelerator,
        limits=dict(container.resources.limits) if container else {},
        account=template.service_account,
        trouble="it is being deleted" if job.delete_time else _trouble(job.terminal_condition),
        variables=_variables(container) if container else {},
        parallelism=job.template.parallelism,
        task_count=job.template.task_count or 1,
        spare_zone=bool(template.node_selector.accelerator) and not template.gpu_zonal_redundancy_disabled,
    )


def function_facts(service: Service) -> FunctionFacts:
    """A service as Cloud Run describes it."""
    template = service.template
    container: Container | None = next(iter(template.containers), None)
    return FunctionFacts(
        image=container.image if container else "",
        timeout_s=int(template.timeout.total_seconds()) if template.timeout else 0,
        limits=dict(container.resources.limits) if container else {},
        account=template.service_account,
        trouble=_trouble(service.terminal_condition),
        variables=_variables(container) if container else {},
    )


def _variables(container: Container) -> dict[str, str]:
    """Our settings among the container's variables. Values kept elsewhere, as secrets, are not looked up."""
    return {
        variable.name: variable.value
        for variable in container.env
        if variable.name.startswith(_OWN_VARIABLES) and "value_source" not in variable
    }


def _trouble(condition: Condition) -> str:
    if condition.state != type(condition).State.CONDITION_FAILED:
        return ""
    return condition.message or "it is not ready"
