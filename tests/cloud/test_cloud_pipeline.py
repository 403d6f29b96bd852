"""The whole pipeline on the gcp adapters: a drop, a request, a cancellation and a refusal, through the local cloud."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from google.cloud.storage import Client  # type: ignore[import-untyped]  # ships no types
from google.pubsub_v1 import PublisherClient, PubsubMessage

from shared.domain.submission import State
from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.local_cloud import ROOT, Deployment, Emulators, LocalCloud
from tests.cloud.pubsub_session import pubsub_for_tests
from tests.pipeline.conftest import Ended

pytest_plugins = ["tests.cloud.emulators_session"]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("local-cloud")]  # One cloud for all of them.

PBMC = "h5ad/pbmc3k_raw_labelled.h5ad"
MODEL = "pbmc-sorted-765"
PATIENCE_S = 180.0
SAME_BYTES = ("annotations.parquet", "annotations.csv.gz", "scores.parquet", "annotated.h5ad")


@dataclass(slots=True)
class Cloud:
    """The local cloud as its users see it."""

    local: LocalCloud
    emulators: Emulators
    storage: Client
    events: list[dict[str, Any]] = field(default_factory=list)

    def drop(self, name: str, data: bytes, **options: str) -> None:
        """Upload in the client's resumable form, as every file of some size is."""
        blob = self.storage.bucket(self.local.deployment.inbox).blob(name, chunk_size=256 * 1024)
        blob.metadata = {f"celldrop-{option}": value for option, value in options.items()}
        blob.upload_from_file(io.BytesIO(data))

    def ask(self, **request: Any) -> None:
        asked = json.dumps({"schema_version": 1, "bucket": self.local.deployment.inbox, **request}).encode()
        topic = PublisherClient.topic_path(self.local.deployment.project, self.local.deployment.requests_topic)
        with PublisherClient() as publisher:
            publisher.publish(topic=topic, messages=[PubsubMessage(data=asked)])

    def event_where(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for an event on the real subscription."""
        last_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < last_s:
            found = next((event for event in self.events if fits(event)), None)
            if found is not None:
                return found
            self.events += [json.loads(received.message.data) for received in self.local.outcomes()]
        pytest.fail(f"no such event among {[event['type'] for event in self.events]}")

    def end_of(self, name: str) -> dict[str, Any]:
        """The data of a drop's outcome event."""
        event = self.event_where(
            lambda event: event["data"]["source"]["name"] == name and State(event["data"]["state"]).final
        )
        data: dict[str, Any] = event["data"]
        return data

    def celldrop(self, *arguments: object) -> Ended:
        """The command line against the deployed pipeline."""
        env = {**os.environ, **self.emulators.variables, **self.local.deployment.settings, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *map(str, arguments)],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def http(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.local.url('status')}{path}", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def result(self, outcome: dict[str, Any], name: str) -> bytes:
        blob = self.storage.bucket(outcome["result_bucket"]).blob(outcome["result_prefix"] + name)
        data: bytes = blob.download_as_bytes()
        return data


@pytest.fixture(scope="module")
def cloud(storage_url: str, firestore_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    logs = tmp_path_factory.mktemp("cloud")
    deployment = Deployment(
        project="celldrop-pipeline",
        inbox="pipeline-inbox",
        models="pipeline-models",
        work="pipeline-work",
        results="pipeline-results",
        variables=[("CELLDROP_DEFAULT_MODEL", MODEL)],
    )
    with pubsub_for_tests(logs) as pubsub:
        emulators = Emulators(pubsub, firestore_host, storage_url)
        with LocalCloud(emulators, deployment, logs) as local, StorageDoor(storage_url).client() as storage:
            for path in sorted(path for path in (ROOT / "models" / MODEL).rglob("*") if path.is_file()):
                name = path.relative_to(ROOT / "models").as_posix()
                storage.bucket(deployment.models).blob(name).upload_from_filename(path)
            yield Cloud(local, emulators, storage)


def test_a_drop_comes_out_as_the_same_bytes_as_embedded(cloud: Cloud, data_dir: Path, tmp_path: Path) -> None:
    data = (data_dir / PBMC).read_bytes()
    cloud.drop("pbmc3k.h5ad", data, tasks="3", scores="full")
    outcome = cloud.end_of("pbmc3k.h5ad")
    assert outcome["state"] == "SUCCEEDED"
    embedded = _embedded(data_dir / PBMC, tmp_path)
    for name in SAME_BYTES:
        assert cloud.result(outcome, name) == (embedded / name).read_bytes(), name
    assert pq.read_table(io.BytesIO(cloud.result(outcome, "annotations.parquet"))).num_rows == 2700
    _all_agree(cloud, outcome)


def _embedded(file: Path, tmp_path: Path) -> Path:
    env = {**os.environ, "CELLDROP_HOME": str(tmp_path / "home"), "CELLDROP_DEFAULT_MODEL": MODEL}
    command = [sys.executable, "-m", "cli.main", "run", str(file), "--json", "--set", "scores=full"]
    done = subprocess.run(command, env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["results"])


def _all_agree(cloud: Cloud, outcome: dict[str, Any]) -> None:
    """The command line, HTTP and the event tell the same."""
    told = cloud.celldrop("status", outcome["submission_id"], "--json").json
    seen = cloud.http(f"v1/submissions/{outcome['submission_id']}")
    assert told["state"] == seen["state"] == outcome["state"]
    assert told["results"] == f"gs://{outcome['result_bucket']}/{outcome['result_prefix']}"
    assert {file.rpartition("/")[2] for file in told["files"]} >= {*SAME_BYTES, "report.html", "manifest.json"}
    assert [entry["state"] for entry in told["history"]] == [entry["state"] for entry in seen["history"]]
    assert [entry["state"] for entry in told["history"]][-1] == "SUCCEEDED"


def test_a_request_is_answered_to_who_asked(cloud: Cloud, data_dir: Path) -> None:
    cloud.drop("folder/for-a-request.h5ad", (data_dir / PBMC).read_bytes())
    cloud.end_of("folder/for-a-request.h5ad")
    cloud.ask(name="folder/for-a-request.h5ad", correlation_id="order-7", source="lims", options={"top_k": "2"})
    event = cloud.event_where(
        lambda event: (
            any(who["correlation_id"] == "order-7" for who in event["data"]["requesters"])
            and event["type"] == "celldrop.submission.succeeded.v1"
        )
    )
    assert event["data"]["requesters"] == [{"correlation_id": "order-7", "source": "lims"}]


def test_a_file_that_cannot_be_used_is_rejected_with_its_reason(cloud: Cloud) -> None:
    cloud.drop("notes.h5ad", b"these are notes, not cells\n" * 100)
    outcome = cloud.end_of("notes.h5ad")
    assert (outcome["state"], outcome["code"]) == ("REJECTED", "NOT_HDF5")
    assert cloud.http(f"v1/submissions/{outcome['submission_id']}")["state"] == "REJECTED"


def test_the_command_line_submits_watches_and_cancels(cloud: Cloud, data_dir: Path) -> None:
    submitted = cloud.celldrop("submit", data_dir / PBMC, "--json", "--set", "map=off")
    assert submitted.status == 0, submitted.stderr
    submission_id = submitted.json["submission_id"]
    watched = cloud.celldrop("watch", submission_id, "--json")
    assert (watched.status, watched.json["state"]) == (0, "SUCCEEDED"), watched.stderr
    other = cloud.celldrop("submit", data_dir / PBMC, "--json").json["submission_id"]
    cloud.event_where(lambda event: event["subject"] == other)
    cancelled = cloud.celldrop("cancel", other, "--json")
    assert (cancelled.status, cancelled.json["state"]) == (0, "CANCELLED"), cancelled.stderr
    name = cloud.http(f"v1/submissions/{other}")["source"]["name"]
    assert cloud.end_of(name)["state"] == "CANCELLED"
