"""`celldrop doctor` against the local cloud: what is true there, and one thing taken away at a time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.pubsub_v1 import PublisherClient, PushConfig, SubscriberClient

from shared.settings import REPOSITORY
from tests.cloud.cloud_run import CloudRun
from tests.cloud.cloud_run_executions import JobSpec
from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.emulators_storage import StorageStandIn
from tests.cloud.local_cloud import Deployment, Emulators, Function, LocalCloud
from tests.cloud.local_cloud_programs import free_port
from tests.cloud.pubsub_session import pubsub_for_tests
from tests.gcloud.gcloud import gcloud_root, run_led_elsewhere
from tests.pipeline.conftest import Ended

pytest_plugins = ["tests.cloud.emulators_session"]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("doctor-cloud")]  # One cloud for all of them.

DOOR = REPOSITORY / "tests" / "cloud" / "local_cloud_door.py"
DOORS = (
    Function("ingest", DOOR, "cloudevent"),
    Function("dispatch", DOOR, "cloudevent"),
    Function("reconcile", DOOR, "http"),
)
MODEL = "pbmc-sorted-765"

Told = dict[str, dict[str, Any]]


@dataclass(slots=True)
class Cloud:
    """The local cloud, and what breaks it."""

    local: LocalCloud
    emulators: Emulators
    variables: dict[str, str]
    folder: Path

    def doctor(self, *arguments: str, **variables: str) -> Ended:
        """The command, with nobody's own settings or credentials."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("CELLDROP_", "GOOGLE_"))}
        nobody = {"NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(self.folder), "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "doctor", *arguments],
            env={**kept, **nobody, **self.variables, **variables},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def told(self, **variables: str) -> Told:
        """What is not as it should be."""
        done = self.doctor("--json", **variables)
        checks = {check["name"]: check for check in done.json["checks"] if check["health"] != "ok"}
        assert done.status == any(check["health"] == "wrong" for check in checks.values()), done.stderr
        return checks

    def mend(self, check: dict[str, Any]) -> None:
        """Run what doctor says, with the real gcloud led to the emulators."""
        endpoints = {
            "pubsub": f"http://{self.emulators.pubsub}/",
            "storage": f"{self.emulators.storage}/storage/v1/",
        }
        for line in check["run"]:
            run_led_elsewhere(line, self.folder, endpoints)


@pytest.fixture(scope="module")
def cloud(storage_url: str, firestore_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder, own = tmp_path_factory.mktemp("doctor"), uuid4().hex[:8]
    deployment = Deployment(
        project=f"doctor-{own}",
        inbox=f"inbox-{own}",
        models=f"models-{own}",
        work=f"work-{own}",
        results=f"results-{own}",
        functions=DOORS,
        variables=[("CELLDROP_TEST_DOOR", str(folder / "book")), ("CELLDROP_DEFAULT_MODEL", MODEL)],
    )
    with ExitStack() as stack:
        emulators = Emulators(stack.enter_context(pubsub_for_tests(folder)), firestore_host, storage_url)
        local = stack.enter_context(LocalCloud(emulators, deployment, folder))
        job = JobSpec(deployment.cpu_job, ["true"], timeout_s=3600)
        cloud_run = stack.enter_context(CloudRun([job], folder / "tasks"))
        for path in (REPOSITORY / "models" / MODEL).glob("1.0.0/*.*"):
            name = path.relative_to(REPOSITORY / "models").as_posix()
            StorageDoor(storage_url).put(deployment.models, name, path.read_bytes())
        variables = {**emulators.variables, **deployment.settings, "CELLDROP_RUN_ENDPOINT": cloud_run.endpoint}
        yield Cloud(local, emulators, variables, folder)


@pytest.fixture(scope="module")
def at_first(cloud: Cloud) -> Told:
    return cloud.told()


def test_a_local_cloud_is_well_but_for_what_it_is_not(cloud: Cloud, at_first: Told) -> None:
    deployment = cloud.local.deployment
    assert {check["health"] for check in at_first.values()} == {"warning"}
    assert set(at_first) == {
        "credentials",
        "run-endpoint",
        *(f"bucket {name}" for name in deployment.buckets),
        f"leftovers {deployment.work}",
        f"drops {deployment.inbox}",
        f"region {deployment.region}",
        "push celldrop-jobs",
        "push celldrop-requests",
        "database (default)",
        "job celldrop-gpu",
        "rights",
    }
    assert "no dead-letter topic" not in at_first["push celldrop-jobs"]["found"]
    assert "does not support the query" in at_first["database (default)"]["found"]


def test_people_are_told_the_same_in_words(cloud: Cloud) -> None:
    done = cloud.doctor()
    assert done.status == 0, done.stderr
    assert "database (default)" in done.stdout
    assert f"    gcloud storage buckets update gs://{cloud.local.deployment.work} --clear-soft-delete\n" in done.stdout


@pytest.fixture
def publisher() -> Iterator[PublisherClient]:
    with PublisherClient() as client:
        yield client


def test_a_topic_that_is_gone_is_named_and_comes_back_by_the_commands(
    cloud: Cloud, at_first: Told, publisher: PublisherClient
) -> None:
    gcloud_root()
    publisher.delete_topic(topic=PublisherClient.topic_path(cloud.local.deployment.project, "celldrop-events"))
    broken = _new(cloud, at_first)
    assert {name: check["health"] for name, check in broken.items()} == {"topic celldrop-events": "wrong"}
    cloud.mend(broken["topic celldrop-events"])
    broken = _new(cloud, at_first)
    assert {name: check["health"] for name, check in broken.items()} == {"readers celldrop-events": "warning"}
    cloud.mend(broken["readers celldrop-events"])
    assert not _new(cloud, at_first)


def test_a_bucket_that_is_gone_is_named_and_comes_back_by_the_command(cloud: Cloud, at_first: Told) -> None:
    gcloud_root()
    name = cloud.local.deployment.results
    StorageDoor(cloud.emulators.storage).ask("DELETE", f"/storage/v1/b/{name}")
    broken = cloud.told()[f"bucket {name}"]
    assert broken["health"] == "wrong"
    cloud.mend(broken)
    after = cloud.told()
    assert set(after) <= set(at_first)
    assert after.get(f"bucket {name}", at_first["credentials"])["health"] == "warning"


def test_a_subscription_that_is_gone_is_named(cloud: Cloud, at_first: Told) -> None:
    project = cloud.local.deployment.project
    with SubscriberClient() as subscriber:
        subscriber.delete_subscription(subscription=subscriber.subscription_path(project, "celldrop-requests"))
    try:
        broken = cloud.told()["push celldrop-requests"]
        assert broken["health"] == "wrong"
        assert any(
            "subscriptions create celldrop-requests-push --topic=celldrop-requests" in line for line in broken["run"]
        )
        assert set(cloud.told()) == set(at_first)
    finally:
        cloud.local.subscribe("celldrop-requests", cloud.local.url("ingest"))


def test_dead_letters_that_nobody_keeps_are_named_and_kept_by_the_command(cloud: Cloud, at_first: Told) -> None:
    gcloud_root()
    project = cloud.local.deployment.project
    with SubscriberClient() as subscriber:
        subscriber.delete_subscription(subscription=subscriber.subscription_path(project, "celldrop-jobs-dead"))
    broken = _new(cloud, at_first)
    assert {name: check["health"] for name, check in broken.items()} == {"dead-letter celldrop-jobs-dead": "wrong"}
    cloud.mend(broken["dead-letter celldrop-jobs-dead"])
    assert not _new(cloud, at_first)


def test_a_subscription_without_dead_letters_gets_them_by_the_command(cloud: Cloud) -> None:
    gcloud_root()
    endpoint = cloud.local.url("dispatch")
    name = SubscriberClient.subscription_path(cloud.local.deployment.project, "celldrop-jobs")
    with SubscriberClient() as subscriber:
        topic = subscriber.get_subscription(subscription=name).topic
        subscriber.delete_subscription(subscription=name)
        subscriber.create_subscription(name=name, topic=topic, push_config=PushConfig(push_endpoint=endpoint))
    try:
        found = cloud.told()["push celldrop-jobs"]
        assert "no dead-letter topic" in found["found"]
        cloud.mend({"run": [line for line in found["run"] if "--dead-letter-topic=" in line]})
        assert "no dead-letter topic" not in cloud.told()["push celldrop-jobs"]["found"]
    finally:
        cloud.local.subscribe("celldrop-jobs", endpoint)


def test_a_job_that_is_not_there_is_named(cloud: Cloud, at_first: Told) -> None:
    broken = _new(cloud, at_first, CELLDROP_CPU_JOB="celldrop-tpu")
    assert set(broken) == {"job celldrop-tpu"}
    assert broken["job celldrop-tpu"]["run"] == [
        f"gcloud run jobs list --region=europe-west4 --project={cloud.local.deployment.project}"
    ]


def test_a_model_that_is_not_there_is_named(cloud: Cloud, at_first: Told) -> None:
    broken = _new(cloud, at_first, CELLDROP_DEFAULT_MODEL="pbmc-sorted")
    assert set(broken) == {"model pbmc-sorted"}
    source, target = broken["model pbmc-sorted"]["run"][0].split()[-2:]
    assert Path(source).is_dir()
    assert target == f"gs://{cloud.local.deployment.models}/"


def test_a_model_that_was_changed_is_named(cloud: Cloud, at_first: Told) -> None:
    door = StorageDoor(cloud.emulators.storage)
    bucket = cloud.local.deployment.models
    name = f"{MODEL}/1.0.0/weights.safetensors"
    whole = door.get(bucket, name)
    assert whole is not None
    door.put(bucket, name, whole[:-1] + b"\0")
    try:
        assert set(_new(cloud, at_first)) == {f"model {MODEL}"}
    finally:
        door.put(bucket, name, whole)


def test_a_stricter_storage_that_tells_less_is_no_worse(cloud: Cloud, stand_in: StorageStandIn) -> None:
    stand_in.shelf.buckets.update(cloud.local.deployment.buckets)
    told = cloud.told(STORAGE_EMULATOR_HOST=stand_in.url)
    wrong = {name for name, check in told.items() if check["health"] == "wrong"}
    assert wrong == {f"model {MODEL}"}
    assert "its settings are not" in told[f"bucket {cloud.local.deployment.inbox}"]["found"]
    assert {one.split()[0] for one in stand_in.seen} == {"GET"}


@pytest.fixture
def deaf() -> Iterator[str]:
    """A port at which connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize("who", ["deaf", pytest.param("nobody", marks=pytest.mark.exhaustive)])
def test_with_nobody_answering_it_ends_and_says_so(
    cloud: Cloud, who: str, request: pytest.FixtureRequest, at_first: Told
) -> None:
    host = request.getfixturevalue(who)
    told = cloud.told(
        PUBSUB_EMULATOR_HOST=host,
        FIRESTORE_EMULATOR_HOST=host,
        STORAGE_EMULATOR_HOST=f"http://{host}",
        CELLDROP_RUN_ENDPOINT=f"http://{host}",
    )
    wrong = {name.split()[0] for name, check in told.items() if check["health"] == "wrong"}
    assert wrong == {"credentials", "bucket", "topic", "database", "job"}
    assert set(at_first) & set(told)


def test_google_is_not_loaded_for_the_embedded_default() -> None:
    loaded = "[name for name in sys.modules if name.startswith(('google.a', 'google.p'))]"
    code = f"import sys, cli.doctor.examining; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _new(cloud: Cloud, at_first: Told, **variables: str) -> Told:
    return {name: check for name, check in cloud.told(**variables).items() if name not in at_first}
