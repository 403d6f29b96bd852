"""The local cloud with the bundle of the tests in it, and its users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from google.cloud.storage import Client  # type: ignore[import-untyped]  # ships no types
from google.pubsub_v1 import PublisherClient, SubscriberClient
from test_utils.prefixer import Prefixer

from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.local_cloud import ROOT, Deployment, Emulators, LocalCloud
from tests.cloud.pipeline_cloud import Cloud, Deployed
from tests.cloud.pipeline_contract import MODEL

DROPS = Prefixer("celldrop", "tests", separator="-")
"""Names the folders of test runs, and tells old ones by their names."""

GCLOUD = {
    "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "True",
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
    "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
}
"""gcloud as on a machine where nobody has logged in, and that reaches nobody."""


@contextmanager
def local_pipeline(emulators: Emulators, deployment: Deployment, logs: Path) -> Iterator[Cloud]:
    """The deployed pipeline on this machine."""
    with ExitStack() as stack:
        local = stack.enter_context(LocalCloud(emulators, deployment, logs))
        storage = stack.enter_context(StorageDoor(emulators.storage).client())
        upload_bundle(storage, deployment.models, MODEL)
        publisher = stack.enter_context(PublisherClient())
        subscriber = stack.enter_context(SubscriberClient())
        yield Cloud(deployed_at(local, emulators, logs), storage, publisher, subscriber)


def upload_bundle(storage: Client, bucket: str, name: str) -> None:
    """Put a bundle of the repository into a models bucket, in all its versions."""
    for path in sorted(path for path in (ROOT / "models" / name).rglob("*") if path.is_file()):
        storage.bucket(bucket).blob(path.relative_to(ROOT / "models").as_posix()).upload_from_filename(path)


def deployed_at(local: LocalCloud, emulators: Emulators, logs: Path) -> Deployed:
    """Where its users find it."""
    deployment = local.deployment
    gcloud = {
        **GCLOUD,
        "CLOUDSDK_CONFIG": str(logs / "gcloud"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{emulators.storage}/storage/v1/",
    }
    return Deployed(
        variables={**emulators.variables, **deployment.settings, **gcloud},
        events=SubscriberClient.subscription_path(deployment.project, deployment.events_topic),
        dead_requests=SubscriberClient.subscription_path(
            deployment.project, deployment.dead(deployment.requests_topic)
        ),
        status_url=local.url("status"),
        folder=f"{DROPS.create_prefix()}/",
    )
