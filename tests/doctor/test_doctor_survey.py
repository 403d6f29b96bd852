"""The survey of Google's services, through Google's own clients, before what answers in the services' place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.cloud.firestore_admin_v1.types import Database

from shared.adapters.gcp.documents import indexes
from shared.adapters.gcp.survey import CloudSurvey
from shared.ports.survey import DatabaseFacts, JobFacts, Part, Silence, Untold
from tests.cloud.cloud_run import CloudRun
from tests.cloud.cloud_run_executions import GPU_MACHINE, JobSpec, JobState
from tests.cloud.emulators import FIRESTORE_VARIABLE, STORAGE_VARIABLE
from tests.cloud.emulators_storage import Fault, StorageStandIn
from tests.cloud.local_cloud_programs import free_port
from tests.cloud.pubsub_emulator import HOST_VARIABLE
from tests.doctor.firestore_stand_in import GET_DATABASE, RUN_QUERY, FirestoreStandIn, serving

pytest_plugins = ["tests.cloud.emulators_session"]

PROJECT = "lab-7"
REGION = "europe-west4"
NATIVE = Database.DatabaseType.FIRESTORE_NATIVE
DATASTORE = Database.DatabaseType.DATASTORE_MODE


def survey(endpoint: str = "") -> CloudSurvey:
    return CloudSurvey(PROJECT, REGION, "(default)", endpoint)


def why(answer: object) -> Silence:
    assert isinstance(answer, Untold), answer
    return answer.why


# --- Cloud Storage ---


@pytest.fixture
def storage(stand_in: StorageStandIn, monkeypatch: pytest.MonkeyPatch) -> StorageStandIn:
    monkeypatch.setenv(STORAGE_VARIABLE, stand_in.url)
    stand_in.shelf.buckets.add("lab-inbox")
    return stand_in


def test_what_the_service_does_not_know_is_not_offered_and_what_it_knows_is_told(storage: StorageStandIn) -> None:
    looking = survey()
    assert why(looking.bucket("lab-inbox")) is Silence.NOT_OFFERED
    assert why(looking.notifications("lab-inbox")) is Silence.NOT_OFFERED
    assert why(looking.rights(Part.BUCKET, "lab-inbox", ["storage.objects.get"])) is Silence.NOT_OFFERED
    assert looking.has_objects("lab-inbox") is False
    assert why(looking.has_objects("lab-outbox")) is Silence.MISSING
    assert {one.split()[0] for one in storage.seen} == {"GET"}


@pytest.mark.parametrize(
    ("status", "silence"),
    [
        (403, Silence.DENIED),
        (404, Silence.MISSING),
        (400, Silence.REFUSED),
        (429, Silence.UNREACHABLE),
        (503, Silence.UNREACHABLE),
        (501, Silence.NOT_OFFERED),
    ],
)
def test_a_refusal_is_told_by_its_status_and_asked_once(storage: StorageStandIn, status: int, silence: Silence) -> None:
    storage.faults.append(Fault(status=status))
    assert why(survey().has_objects("lab-inbox")) is silence
    assert len(storage.seen) == 1


def test_a_storage_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv(STORAGE_VARIABLE, f"http://127.0.0.1:{port}")
    assert survey().bucket("lab-inbox") == Untold(Silence.UNREACHABLE, f"ConnectionError at 127.0.0.1:{port}")


# --- Pub/Sub ---


def test_a_bus_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOST_VARIABLE, f"127.0.0.1:{free_port()}")
    looking = survey()
    assert why(looking.topic("celldrop-jobs")) is Silence.UNREACHABLE
    assert why(looking.subscriptions("celldrop-jobs")) is Silence.UNREACHABLE


# --- Firestore ---


def test_every_index_of_ours_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = FirestoreStandIn(NATIVE)
    with serving(stand_in) as host:
        monkeypatch.setenv(FIRESTORE_VARIABLE, host)
        lacking = survey().lacking_indexes()
    assert isinstance(lacking, tuple)
    needed = [tuple((one["fieldPath"], one["order"]) for one in index["fields"]) for index in indexes()["indexes"]]
    assert sorted(one.fields for one in lacking) == sorted(needed)
    assert {one.words for one in lacking} == {"The query requires an index"}
    assert set(stand_in.methods) == {RUN_QUERY}


def test_a_database_that_does_not_exist_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FirestoreStandIn(NATIVE, "NOT_FOUND")) as host:
        monkeypatch.setenv(FIRESTORE_VARIABLE, host)
        assert why(survey().lacking_indexes()) is Silence.MISSING


@pytest.mark.parametrize(("kind", "is_native"), [(NATIVE, True), (DATASTORE, False)])
def test_a_database_tells_its_mode(kind: int, is_native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = FirestoreStandIn(kind)
    with serving(stand_in) as host:
        monkeypatch.setenv(FIRESTORE_VARIABLE, host)
        assert survey().database() == DatabaseFacts(is_native, "europe-west4")
    assert stand_in.methods == [GET_DATABASE]


def test_the_emulator_answers_every_search_and_nothing_about_itself(
    firestore_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FIRESTORE_VARIABLE, firestore_host)
    looking = survey()
    assert looking.lacking_indexes() == ()
    assert why(looking.database()) is Silence.NOT_OFFERED


# --- Cloud Run ---


@pytest.fixture
def cloud_run(tmp_path: Path) -> Iterator[CloudRun]:
    with CloudRun([JobSpec("celldrop-cpu", ["true"], timeout_s=900, max_retries=2)], tmp_path) as running:
        yield running


def test_a_job_is_told_as_deployed_and_only_read(cloud_run: CloudRun) -> None:
    looking = survey(cloud_run.endpoint)
    assert looking.job("celldrop-cpu") == JobFacts("local", 900, 2, account=JobSpec("any", []).account)
    assert why(looking.job("celldrop-gpu")) is Silence.MISSING
    assert why(looking.rights(Part.JOB, "celldrop-cpu", ["run.jobs.run"])) is Silence.MISSING
    assert why(looking.function("celldrop-ingest")) is Silence.NOT_OFFERED
    assert set(cloud_run.calls) == {"jobs.get"}


def test_the_template_of_a_job_is_told_and_why_it_is_not_ready(tmp_path: Path) -> None:
    spec = JobSpec("celldrop-gpu", ["true"], gpu=True, task_count=5, template_parallelism=5, account="")
    with CloudRun([replace(spec, state=JobState.FAILED, trouble="Image not found")], tmp_path) as running:
        assert survey(running.endpoint).job("celldrop-gpu") == JobFacts(
            "local",
            600,
            3,
            accelerator="nvidia-l4",
            limits=GPU_MACHINE,
            trouble="Image not found",
            parallelism=5,
            task_count=5,
            spare_zone=True,
        )
    with CloudRun([replace(spec, state=JobState.DELETING)], tmp_path) as running:
        found = survey(running.endpoint).job("celldrop-gpu")
        assert isinstance(found, JobFacts)
        assert found.trouble == "it is being deleted"


# --- Nobody to ask as ---


def test_without_credentials_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in (STORAGE_VARIABLE, FIRESTORE_VARIABLE, HOST_VARIABLE, "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)  # Its variable was read long ago.
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    looking = survey()
    answers = [
        looking.caller(),
        looking.bucket("lab-inbox"),
        looking.topic("celldrop-jobs"),
        looking.lacking_indexes(),
        looking.job("celldrop-cpu"),
        CloudSurvey("", REGION, "(default)").topic("celldrop-jobs"),
    ]
    assert {why(answer) for answer in answers} == {Silence.NOT_SET}
