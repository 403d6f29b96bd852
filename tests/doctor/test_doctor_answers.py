"""What Google's services answer about themselves, and what their errors mean, as their own types say it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import RefreshError, TransportError
from google.cloud.run_v2 import (
    Condition,
    Container,
    EnvVar,
    EnvVarSource,
    ExecutionTemplate,
    Job,
    NodeSelector,
    ResourceRequirements,
    RevisionTemplate,
    SecretKeySelector,
    Service,
    TaskTemplate,
)
from google.pubsub_v1 import DeadLetterPolicy, ExpirationPolicy, PushConfig, RetryPolicy, Subscription
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # ships no types

from shared.adapters.gcp.survey_answers import function_facts, job_facts, subscription_facts, untold
from shared.ports.survey import FunctionFacts, JobFacts, Silence, SubscriptionFacts

SWITCHED_OFF = error_details_pb2.ErrorInfo(reason="SERVICE_DISABLED", domain="googleapis.com")
CASES = [
    (exceptions.NotFound("no"), Silence.MISSING),
    (exceptions.Forbidden("no"), Silence.DENIED),
    (exceptions.Unauthenticated("who"), Silence.DENIED),
    (exceptions.PermissionDenied("no", error_info=SWITCHED_OFF), Silence.DISABLED),
    (exceptions.MethodNotImplemented("what"), Silence.NOT_OFFERED),
    (exceptions.InvalidArgument("what"), Silence.REFUSED),
    (exceptions.ServiceUnavailable("later"), Silence.UNREACHABLE),
    (exceptions.DeadlineExceeded("late"), Silence.UNREACHABLE),
    (exceptions.RetryError("late", None), Silence.UNREACHABLE),
    (RefreshError("invalid_grant"), Silence.DENIED),
    (RefreshError("later", retryable=True), Silence.UNREACHABLE),
    (RefreshError(TransportError("Failed to retrieve http://metadata.google.internal: 404")), Silence.UNREACHABLE),
    (TransportError("no way"), Silence.UNREACHABLE),
    (requests.ConnectionError("no way"), Silence.UNREACHABLE),
    (TimeoutError("late"), Silence.UNREACHABLE),
]


@pytest.mark.parametrize(("error", "silence"), CASES, ids=[type(error).__name__ for error, _ in CASES])
def test_an_error_means_one_thing(error: Exception, silence: Silence) -> None:
    assert untold(error).why is silence


def test_words_are_the_services_own_without_request_and_link() -> None:
    error = exceptions.Forbidden(
        "GET https://storage.googleapis.com/storage/v1/b/x?projection=noAcl: It is off.  Enable it by visiting "
        "https://console.developers.google.com/apis/api/storage then retry"
    )
    assert untold(error).words == "It is off. then retry"
    assert len(untold(exceptions.NotFound("x" * 5000)).words) == 200


def test_a_push_subscription_with_all_that_it_can_have() -> None:
    found = Subscription(
        name="projects/lab-7/subscriptions/jobs",
        push_config=PushConfig(
            push_endpoint="https://x/", oidc_token=PushConfig.OidcToken(service_account_email="a@b", audience="y")
        ),
        retry_policy=RetryPolicy(minimum_backoff=timedelta(seconds=10)),
        dead_letter_policy=DeadLetterPolicy(dead_letter_topic="projects/lab-7/topics/dead"),
        ack_deadline_seconds=60,
        expiration_policy=ExpirationPolicy(ttl=timedelta(days=31)),
        state=Subscription.State.ACTIVE,
    )
    assert subscription_facts(found) == SubscriptionFacts(
        "projects/lab-7/subscriptions/jobs",
        "https://x/",
        "a@b",
        "y",
        has_retry_policy=True,
        dead_letter_topic="projects/lab-7/topics/dead",
        ack_deadline_s=60,
        expires_after_s=2_678_400,
    )


def test_a_token_without_an_audience_names_the_endpoint() -> None:
    token = PushConfig.OidcToken(service_account_email="a@b")
    found = Subscription(push_config=PushConfig(push_endpoint="https://x/", oidc_token=token))
    assert subscription_facts(found).token_audience == "https://x/"


def test_a_policy_without_a_time_never_lets_it_expire() -> None:
    assert subscription_facts(Subscription(expiration_policy=ExpirationPolicy())).expires_after_s is None


@pytest.mark.parametrize("found", [Subscription(state=Subscription.State.RESOURCE_ERROR), Subscription(detached=True)])
def test_a_subscription_that_can_do_nothing_is_told(found: Subscription) -> None:
    assert not subscription_facts(found).is_healthy


def test_a_job_with_all_that_it_can_have_and_without_what_is_secret() -> None:
    secret = EnvVarSource(secret_key_ref=SecretKeySelector(secret="key"))
    container = Container(
        image="task:1",
        resources=ResourceRequirements(limits={"cpu": "4"}),
        env=[
            EnvVar(name="CELLDROP_WORK_BUCKET", value="lab-work"),
            EnvVar(name="CELLDROP_KEY", value_source=secret),
            EnvVar(name="TOKEN", value="hunter2"),
        ],
    )
    tasks = TaskTemplate(
        containers=[container],
        max_retries=3,
        timeout=timedelta(seconds=900),
        service_account="task@lab-7.iam.gserviceaccount.com",
        node_selector=NodeSelector(accelerator="nvidia-l4"),
    )
    broken = Condition(state=Condition.State.CONDITION_FAILED, message="Image not found")
    template = ExecutionTemplate(template=tasks, parallelism=20, task_count=1)
    job = Job(template=template, terminal_condition=broken)
    assert job_facts(job) == JobFacts(
        image="task:1",
        timeout_s=900,
        max_retries=3,
        accelerator="nvidia-l4",
        limits={"cpu": "4"},
        account="task@lab-7.iam.gserviceaccount.com",
        trouble="Image not found",
        variables={"CELLDROP_WORK_BUCKET": "lab-work"},
        parallelism=20,
        task_count=1,
        spare_zone=True,
    )


def test_a_gpu_without_a_spare_and_a_job_without_a_gpu_have_none() -> None:
    node = NodeSelector(accelerator="nvidia-l4")
    alone = TaskTemplate(node_selector=node, gpu_zonal_redundancy_disabled=True)
    for tasks in (alone, TaskTemplate()):
        assert not job_facts(Job(template=ExecutionTemplate(template=tasks))).spare_zone


def test_a_job_that_is_being_deleted_is_not_ready() -> None:
    ready = Condition(state=Condition.State.CONDITION_SUCCEEDED)
    job = Job(terminal_condition=ready, delete_time=datetime(2026, 1, 1, tzinfo=UTC))
    assert job_facts(job).trouble == "it is being deleted"


def test_a_function_as_cloud_run_describes_it() -> None:
    container = Container(
        image="functions:1",
        resources=ResourceRequirements(limits={"memory": "2048Mi"}),
        env=[EnvVar(name="CELLDROP_WORK_BUCKET", value="lab-work"), EnvVar(name="TOKEN", value="hunter2")],
    )
    template = RevisionTemplate(containers=[container], timeout=timedelta(seconds=120), service_account="a@b")
    broken = Condition(state=Condition.State.CONDITION_FAILED)
    assert function_facts(Service(template=template, terminal_condition=broken)) == FunctionFacts(
        "functions:1", 120, {"memory": "2048Mi"}, "a@b", "it is not ready", {"CELLDROP_WORK_BUCKET": "lab-work"}
    )
    assert function_facts(Service()) == FunctionFacts("", 0)


def test_a_job_without_a_container_is_told_as_one_without_an_image() -> None:
    assert job_facts(Job()).image == ""
