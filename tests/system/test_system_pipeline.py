"""The whole pipeline in a real project, where one is configured: docs/how-to/test-a-deployment.md says how."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from dotenv import dotenv_values
from google.cloud.storage import Client  # type: ignore[import-untyped]  # ships no types
from google.pubsub_v1 import PublisherClient, SubscriberClient, Subscription
from test_utils.prefixer import Prefixer
from typing_extensions import override

from tests.cloud.pipeline_cloud import Cloud, Deployed
from tests.cloud.pipeline_contract import GcloudContract, PipelineContract

CONFIGURATION = "CELLDROP_SYSTEM_ENV"
STATUS_URL = "CELLDROP_SYSTEM_STATUS_URL"
DEAD_REQUESTS = "CELLDROP_SYSTEM_DEAD_REQUESTS"
TOKEN = "CELLDROP_SYSTEM_TOKEN"
NAMES = ("CELLDROP_PROJECT", "CELLDROP_INBOX_BUCKET", "CELLDROP_EVENTS_TOPIC", "CELLDROP_REQUESTS_TOPIC")
RUNS = Prefixer("celldrop", "tests/system", separator="-")
"""Names what a run makes, and tells what a run of the day before has left."""

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """The deployed pipeline, and a subscription of this run's own to its events."""
    variables = _variables()
    project = variables["CELLDROP_PROJECT"]
    with ExitStack() as stack:
        storage = stack.enter_context(Client(project=project))
        publisher = stack.enter_context(PublisherClient())
        subscriber = stack.enter_context(SubscriberClient())
        run = RUNS.create_prefix()
        events = SubscriberClient.subscription_path(project, run)
        _remove_old(storage, variables["CELLDROP_INBOX_BUCKET"])
        topic = PublisherClient.topic_path(project, variables["CELLDROP_EVENTS_TOPIC"])
        subscriber.create_subscription(
            Subscription(name=events, topic=topic, expiration_policy={"ttl": timedelta(days=1)})
        )
        stack.callback(subscriber.delete_subscription, subscription=events)
        deployed = Deployed(
            variables=variables,
            events=events,
            dead_requests=SubscriberClient.subscription_path(project, os.environ[DEAD_REQUESTS]),
            status_url=os.environ[STATUS_URL].rstrip("/") + "/",
            folder=f"{run}/",
            headers={"Authorization": f"Bearer {_token()}"},
        )
        yield Cloud(deployed, storage, publisher, subscriber)


class TestDeployed(PipelineContract, GcloudContract):
    """Everything that the local cloud does, and gcloud's uploads."""

    @override
    def test_a_request_of_a_later_version_is_a_dead_letter_and_a_malformed_one_is_not(self, cloud: Cloud) -> None:
        given_up_s = _longest_retries_s(cloud)
        if given_up_s > cloud.timeout_s:
            pytest.skip(f"this deployment gives a request up after {given_up_s / 60:.0f} minutes or more")
        super().test_a_request_of_a_later_version_is_a_dead_letter_and_a_malformed_one_is_not(cloud)


def _longest_retries_s(cloud: Cloud) -> float:
    """How long the subscription that pushes requests tries: the pauses double up to the longest."""
    for name in cloud.publisher.list_topic_subscriptions(topic=cloud.at.requests_topic):
        found = cloud.subscriber.get_subscription(subscription=name)
        if found.push_config.push_endpoint:
            policy, attempts = found.retry_policy, found.dead_letter_policy.max_delivery_attempts
            least_s = float(policy.minimum_backoff.total_seconds())
            most_s = float(policy.maximum_backoff.total_seconds())
            return float(sum(min(least_s * 2**turn, most_s) for turn in range(attempts - 1)))
    pytest.fail(f"nothing pushes what {cloud.at.requests_topic} carries")


def _variables() -> dict[str, str]:
    missing = [name for name in (CONFIGURATION, STATUS_URL, DEAD_REQUESTS) if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no deployed pipeline to test: {', '.join(missing)} not set")
    given = {name: value for name, value in dotenv_values(os.environ[CONFIGURATION]).items() if value is not None}
    lacking = [name for name in NAMES if name not in given]
    assert not lacking, f"{os.environ[CONFIGURATION]} does not set {', '.join(lacking)}"
    return given


def _token() -> str:
    """An identity token of whoever is logged in."""
    given = os.environ.get(TOKEN)
    if given:
        return given
    command = ["gcloud", "auth", "print-identity-token"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _remove_old(storage: Client, inbox: str) -> None:
    """What runs that were cut off have dropped; this run's own stays for who wants to look at it."""
    for blob in storage.list_blobs(inbox, prefix="celldrop-tests-system-"):
        if RUNS.should_cleanup(blob.name):
            blob.delete(if_generation_match=blob.generation)
