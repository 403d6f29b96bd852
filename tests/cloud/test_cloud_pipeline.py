"""The whole pipeline on the gcp adapters, through the local cloud."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cloud.emulators_storage import storage_stand_in
from tests.cloud.local_cloud import Deployment, Emulators
from tests.cloud.notifier import Mode
from tests.cloud.pipeline_cloud import Cloud
from tests.cloud.pipeline_contract import GcloudContract, PipelineContract
from tests.cloud.pipeline_local import local_pipeline
from tests.cloud.pubsub_session import pubsub_for_tests

pytest_plugins = ["tests.cloud.emulators_session"]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("local-cloud")]  # One cloud for all of them.


def _deployment(name: str, mode: Mode) -> Deployment:
    return Deployment(
        project=f"celldrop-{name}",
        inbox=f"{name}-inbox",
        models=f"{name}-models",
        work=f"{name}-work",
        results=f"{name}-results",
        mode=mode,
    )


class TestOnTheEmulator(PipelineContract):
    """Cloud Storage is the emulator that the environment names, or the package's."""

    @pytest.fixture(scope="class")
    @classmethod
    def cloud(cls, storage_url: str, firestore_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
        logs = tmp_path_factory.mktemp("cloud")
        with pubsub_for_tests(logs) as pubsub:
            emulators = Emulators(pubsub, firestore_host, storage_url)
            with local_pipeline(emulators, _deployment("pipeline", Mode.BINARY), logs) as cloud:
                yield cloud


class TestOnTheStandIn(GcloudContract):
    """Cloud Storage is our own stand-in, which holds every write to its preconditions and takes gcloud's uploads."""

    @pytest.fixture(scope="class")
    @classmethod
    def cloud(cls, firestore_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
        logs = tmp_path_factory.mktemp("gcloud")
        with pubsub_for_tests(logs) as pubsub, storage_stand_in() as storage:
            emulators = Emulators(pubsub, firestore_host, storage.url)
            with local_pipeline(emulators, _deployment("gcloud", Mode.STRUCTURED), logs) as cloud:
                yield cloud
