"""The local cloud delivers as Google's does: drops and job messages to the functions, again until they are taken."""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from functions.dispatch.schemas import pushed_job
from functions.ingest.schemas import parse_storage_event
from shared.access.cloud_events import MESSAGE_PUBLISHED, Pushed
from shared.adapters.gcp.bus import ID_ATTRIBUTE, PubSubBus, connect
from shared.domain.submission import EntryKind, ObjectRef, Topic
from shared.ports.events import Message
from shared.records.messages import JobMessage
from tests.cloud.local_cloud import Deployment, Emulators, Function, LocalCloud
from tests.cloud.local_cloud_programs import ProgramFailedError, listens
from tests.cloud.pubsub_session import pubsub_for_tests

pytestmark = pytest.mark.xdist_group("one-bus")  # What its tests share is made once.

pytest_plugins = ["tests.cloud.emulators_session"]

DOOR = Path(__file__).with_name("local_cloud_door.py")
DOORS = (
    Function("ingest", DOOR, "cloudevent"),
    Function("dispatch", DOOR, "cloudevent"),
    Function("reconcile", DOOR, "http"),
)
JOB = JobMessage(submission_id="s1", kind=EntryKind.JOB, epoch=1)


@pytest.fixture(scope="module")
def emulators(storage_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with pubsub_for_tests(tmp_path_factory.mktemp("pubsub")) as host:
        yield Emulators(host, firestore="127.0.0.1:1", storage=storage_url)  # The doors ask no Firestore.


class _Book:
    """What the doors were given."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def entries(self, door: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [line for line in lines if line["door"] == door]

    def taken(self, door: str) -> bool:
        return any(not entry["first"] for entry in self.entries(door))


@pytest.mark.slow
def test_drops_job_messages_and_the_minute_reach_the_functions_until_they_are_taken(
    emulators: Emulators, tmp_path: Path
) -> None:
    book = _Book(tmp_path / "book")
    variables = [("CELLDROP_TEST_DOOR", str(tmp_path / "book"))]
    deployment = Deployment(functions=DOORS, variables=variables, reconcile_every_s=0.2)
    with LocalCloud(emulators, deployment, tmp_path / "logs") as cloud, connect() as publisher:
        doors = [int(cloud.url(door.name).rpartition(":")[2].rstrip("/")) for door in DOORS]
        generation = _drop(emulators.storage, deployment.inbox, "sub folder/ä.h5ad")
        bus = PubSubBus(
            lambda: publisher,
            {Topic.JOBS: deployment.jobs_topic, Topic.EVENTS: deployment.events_topic},
            deployment.project,
        )
        bus.publish(Topic.JOBS, Message("s1/job/1", JOB.model_dump_json().encode()))
        bus.publish(Topic.EVENTS, Message("s1/outcome/1", b"{}"))
        for door in ("ingest", "dispatch", "reconcile"):
            cloud.programs[door].wait_until(partial(book.taken, door))
        outcomes = cloud.outcomes()
    # At least once: on a busy machine, a delivery may come a third time before the second is answered.
    drop, *again = book.entries("ingest")
    assert parse_storage_event(drop["data"]).ref == ObjectRef(deployment.inbox, "sub folder/ä.h5ad", generation)
    assert again
    assert all(one["attributes"] == drop["attributes"] for one in again)
    assert drop["attributes"]["type"] == "google.cloud.storage.object.v1.finalized"
    jobs = [pushed_job(Pushed(MESSAGE_PUBLISHED, entry["data"])) for entry in book.entries("dispatch")]
    assert len(jobs) >= 2
    assert all(job == JOB for job in jobs)
    assert {entry["attributes"]["method"] for entry in book.entries("reconcile")} == {"POST"}
    assert [one.message.attributes[ID_ATTRIBUTE] for one in outcomes] == ["s1/outcome/1"]
    assert not any(listens(port)() for port in doors)


def test_a_function_that_does_not_start_is_told_with_its_last_words_and_leaves_nothing(
    emulators: Emulators, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text("raise RuntimeError('no settings')")
    deployment = Deployment(
        project="celldrop-broken", inbox="broken", functions=[Function("ingest", tmp_path / "main.py", "http")]
    )
    before = dict(os.environ)
    with pytest.raises(ProgramFailedError, match="no settings"), LocalCloud(emulators, deployment, tmp_path / "logs"):
        pass
    assert dict(os.environ) == before


def _drop(storage: str, bucket: str, name: str) -> int:
    query = urllib.parse.urlencode({"uploadType": "media", "name": name})
    request = urllib.request.Request(f"{storage}/upload/storage/v1/b/{bucket}/o?{query}", b"x", method="POST")
    with urllib.request.urlopen(request) as answer:
        return int(json.load(answer)["generation"])
