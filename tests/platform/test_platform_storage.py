"""What Cloud Storage refuses ends in a record that says why and what to do, or is tried again: never in a loop."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from functions.ingest.dependencies import build_ingest
from shared.adapters.gcp.blobs import REQUEST_S, CloudBlobStore
from shared.domain.submission import State, Topic
from shared.settings import load_settings
from shared.wiring.ports import MadePorts
from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.emulators_shelf import KMS_DENIED, KMS_DISABLED, Shelf
from tests.cloud.emulators_storage import Fault, StorageStandIn
from tests.fakes.jobs import RecordedJobRunner
from tests.platform.doors import ACKNOWLEDGED, ODD_NAMES, TRY_AGAIN, open_door, request, send, storage_event
from tests.platform.observed import RowSays
from tests.platform.storage_house import StorageHouse, storage_house

pytest_plugins = ["tests.cloud.emulators_session"]

KEY = ("inbox", "sample.h5ad")


@pytest.fixture
def house(stand_in: StorageStandIn) -> Iterator[StorageHouse]:
    with storage_house(stand_in) as made:
        yield made
    gc.collect()


@pytest.fixture
def door(house: StorageHouse, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    return open_door("ingest", house.ingest, monkeypatch)


def customer_key(shelf: Shelf) -> None:
    shelf.customer_keys.add(KEY)


def disabled_key(shelf: Shelf) -> None:
    shelf.kms[KEY] = KMS_DISABLED


def requester_pays(shelf: Shelf) -> None:
    shelf.requester_pays.add("inbox")


REASONS = pytest.mark.parametrize(
    ("spoil", "found", "what_to_do"),
    [
        (customer_key, "a customer-supplied key", "without --encryption-key"),
        (disabled_key, "Cloud KMS key", "gcloud kms keys versions enable"),
        (requester_pays, "requester pays is on", "--no-requester-pays"),
    ],
)


def test_a_sound_file_is_queued(house: StorageHouse, door: FlaskClient) -> None:
    assert send(door, storage_event("inbox", "sample.h5ad", house.put())) == ACKNOWLEDGED
    assert house.only().state is State.QUEUED


@REASONS
def test_a_drop_that_storage_refuses_is_rejected_with_the_reason_and_what_to_do(
    row_says: RowSays,
    house: StorageHouse,
    door: FlaskClient,
    spoil: Callable[[Shelf], None],
    found: str,
    what_to_do: str,
) -> None:
    event = storage_event("inbox", "sample.h5ad", house.put())
    spoil(house.shelf)
    assert [send(door, event) for _ in range(2)] == [ACKNOWLEDGED] * 2
    rejected(house, "OBJECT_REFUSED", found, what_to_do)
    row_says(*ended(house))


@REASONS
def test_a_request_for_what_storage_refuses_is_told_as_an_outcome(
    row_says: RowSays,
    house: StorageHouse,
    door: FlaskClient,
    spoil: Callable[[Shelf], None],
    found: str,
    what_to_do: str,
) -> None:
    house.put()
    spoil(house.shelf)
    assert [send(door, request()) for _ in range(2)] == [ACKNOWLEDGED] * 2
    rejected(house, "OBJECT_REFUSED", found, what_to_do)
    row_says(*ended(house))
    assert [who.correlation_id for who in house.only().requesters] == ["order-7"]


@pytest.mark.parametrize("name", ["é" * 1024, "é" * 513, "a\nb.h5ad", "a\rb.h5ad", "\n"])
def test_a_request_for_a_name_that_no_object_has_is_told_as_an_outcome(
    row_says: RowSays, house: StorageHouse, door: FlaskClient, name: str
) -> None:
    assert send(door, request(name=name)) == ACKNOWLEDGED
    rejected(house, "INVALID_NAME", "no object can have this name", "gcloud storage ls")
    row_says(*ended(house))


@pytest.mark.parametrize("name", ["é" * 512, "a" * 1024, "é" * 511 + "ab"])
def test_a_name_of_as_many_bytes_as_storage_takes_is_taken(house: StorageHouse, door: FlaskClient, name: str) -> None:
    assert send(door, storage_event("inbox", name, house.put(name=name))) == ACKNOWLEDGED
    assert send(door, request(name=name)) == ACKNOWLEDGED
    assert house.only().state is State.QUEUED


@pytest.mark.parametrize("asked", [False, True], ids=["drop", "request"])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_taken_as_it_is(house: StorageHouse, door: FlaskClient, name: str, *, asked: bool) -> None:
    event: dict[str, Any] = storage_event("inbox", name, house.put(name=name))
    assert send(door, request(name=name) if asked else event) == ACKNOWLEDGED
    assert (house.only().state, house.only().source.name) == (State.QUEUED, name)


@pytest.mark.parametrize("name", ["é" * 1024, "a\nb.h5ad"])
def test_an_event_of_a_name_that_no_object_has_is_acknowledged(
    house: StorageHouse, door: FlaskClient, name: str
) -> None:
    assert send(door, storage_event("inbox", name, 7)) == ACKNOWLEDGED
    rejected(house, "OBJECT_REFUSED", "does not allow this object name", "1,024 bytes")


def test_another_400_is_recorded_in_the_words_of_the_service(
    row_says: RowSays, house: StorageHouse, door: FlaskClient, stand_in: StorageStandIn
) -> None:
    event = storage_event("inbox", "sample.h5ad", house.put())
    stand_in.faults.append(Fault(status=400))
    assert send(door, event) == ACKNOWLEDGED
    rejected(house, "OBJECT_REFUSED", "Bad Request, says the stand-in", "gcloud storage objects describe")
    row_says(*ended(house))


@pytest.mark.parametrize("what", ["deleted", "archived", "metadataUpdated"])
def test_an_event_of_a_trigger_for_something_else_is_no_drop(house: StorageHouse, door: FlaskClient, what: str) -> None:
    event = storage_event("inbox", "sample.h5ad", house.put())
    assert send(door, {**event, "type": f"google.cloud.storage.object.v1.{what}"}) == ACKNOWLEDGED
    assert house.store.find() == []


# --- What may mend itself -----------------------------------------------------------------------------------------


def denied(shelf: Shelf) -> None:
    shelf.denied.add("inbox")


def denied_key(shelf: Shelf) -> None:
    shelf.kms[KEY] = KMS_DENIED


@pytest.mark.parametrize(
    ("spoil", "what_to_do"), [(denied, "storage.objectViewer"), (denied_key, "cloudkms.cryptoKeyEncrypterDecrypter")]
)
@pytest.mark.parametrize("asked", [False, True], ids=["drop", "request"])
def test_a_right_that_is_missing_is_waited_for_and_then_recorded(
    row_says: RowSays,
    house: StorageHouse,
    door: FlaskClient,
    spoil: Callable[[Shelf], None],
    what_to_do: str,
    *,
    asked: bool,
) -> None:
    event: dict[str, Any] = storage_event("inbox", "sample.h5ad", house.put())
    event = request() if asked else event
    spoil(house.shelf)
    house.later(minutes=59)
    assert send(door, event) == TRY_AGAIN
    assert house.store.find() == []
    house.later(minutes=2)
    assert send(door, event) == ACKNOWLEDGED
    rejected(house, "ACCESS_DENIED", "", what_to_do)
    row_says(*ended(house))


def test_a_right_that_comes_in_time_lets_the_drop_through(house: StorageHouse, door: FlaskClient) -> None:
    event = storage_event("inbox", "sample.h5ad", house.put())
    house.shelf.denied.add("inbox")
    assert send(door, event) == TRY_AGAIN
    house.shelf.denied.clear()
    assert send(door, event) == ACKNOWLEDGED
    assert house.only().state is State.QUEUED


@pytest.mark.parametrize(("asked", "hours"), [(False, 20), (True, 2)], ids=["drop", "request"])
def test_a_storage_that_is_down_for_hours_still_leaves_a_record(
    row_says: RowSays, house: StorageHouse, door: FlaskClient, stand_in: StorageStandIn, hours: float, *, asked: bool
) -> None:
    event: dict[str, Any] = storage_event("inbox", "sample.h5ad", house.put())
    event = request() if asked else event
    stand_in.faults.extend([Fault(status=503)] * 200)
    house.later(hours=hours - 0.1)
    assert send(door, event) == TRY_AGAIN
    house.later(hours=0.2)
    assert send(door, event) == ACKNOWLEDGED
    rejected(house, "UNAVAILABLE", "did not answer", "Try again")
    row_says(*ended(house))


def test_a_storage_that_says_nothing_leaves_a_record_before_the_delivery_is_cut_off(
    house: StorageHouse, stand_in: StorageStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = storage_event("inbox", "sample.h5ad", house.put())
    with StorageDoor(stand_in.url).client() as client:
        house.blobs = CloudBlobStore(client)
        door = open_door("ingest", replace(house.ingest, limit_s=1.0), monkeypatch)
        stand_in.faults.extend([Fault(hang=True)] * 20)
        began_s = time.monotonic()
        assert send(door, event) == TRY_AGAIN
        house.later(hours=19)
        assert send(door, event) == TRY_AGAIN
        house.later(hours=1)
        assert send(door, event) == ACKNOWLEDGED
        assert time.monotonic() - began_s < REQUEST_S
    rejected(house, "UNAVAILABLE", "", "Try again")


def test_a_deployed_delivery_waits_for_less_than_its_timeout(house: StorageHouse) -> None:
    settings = load_settings(_env_file="", backend="gcp", ingest_timeout_s=60)
    ports = MadePorts(house.blobs, house.bus, house.store, RecordedJobRunner())
    assert build_ingest(settings, ports).limit_s == 45.0


def test_an_event_that_does_not_say_when_it_was_sent_is_delivered_again(house: StorageHouse, door: FlaskClient) -> None:
    event = storage_event("inbox", "sample.h5ad", house.put())
    del event["time"]
    house.shelf.denied.add("inbox")
    house.later(days=2)
    assert send(door, event) == TRY_AGAIN


# --- Hints --------------------------------------------------------------------------------------------------------


def test_a_file_that_was_replaced_in_a_bucket_without_a_trigger_is_to_be_asked_for_again(
    row_says: RowSays, house: StorageHouse, door: FlaskClient
) -> None:
    generation = house.put("archive")
    house.put("archive")
    assert send(door, request(bucket="archive", generation=generation)) == ACKNOWLEDGED
    rejected(house, "INPUT_CHANGED", "replaced", "a file elsewhere must be asked for again")
    row_says(*ended(house))


@pytest.mark.parametrize(
    "key",
    [
        "celldrop-top-k",
        "Celldrop-Top-K",
        "x-goog-meta-celldrop-top-k",
        "CELLDROP-TOP-K",
        "celldrop_top_k",
        "Celldrop-top_k",
    ],
)
def test_an_option_is_known_however_its_key_is_written(house: StorageHouse, door: FlaskClient, key: str) -> None:
    send(door, storage_event("inbox", "sample.h5ad", house.put(**{key: "3"})))
    assert (house.only().state, dict(house.only().requested)) == (State.QUEUED, {"top_k": "3"})


@pytest.mark.parametrize("folder", ["model=m", "Model=m", "MODEL=m"])
def test_a_model_is_known_however_its_folder_is_written(house: StorageHouse, door: FlaskClient, folder: str) -> None:
    name = f"lab/{folder}/sample.h5ad"
    send(door, storage_event("inbox", name, house.put(name=name)))
    assert dict(house.only().requested) == {"model": "m"}


def test_a_key_that_is_no_option_is_refused_and_not_left_alone(house: StorageHouse, door: FlaskClient) -> None:
    send(door, storage_event("inbox", "sample.h5ad", house.put(**{"Celldrop-TopK": "3"})))
    rejected(house, "INVALID_OPTION", "topk", "spelling")


def test_two_keys_that_set_one_option_to_different_values_are_refused(house: StorageHouse, door: FlaskClient) -> None:
    generation = house.put(**{"celldrop-top-k": "3", "Celldrop-Top-K": "5"})
    assert send(door, storage_event("inbox", "sample.h5ad", generation)) == ACKNOWLEDGED
    rejected(house, "INVALID_OPTION", "top_k twice", "Remove one of these keys")


def test_an_empty_first_object_of_gcsfuse_is_refused_and_the_whole_one_annotated(
    house: StorageHouse, door: FlaskClient
) -> None:
    empty = int(house.shelf.put("inbox", {"name": "sample.h5ad"}, b"", None, None)["generation"])
    assert send(door, storage_event("inbox", "sample.h5ad", empty)) == ACKNOWLEDGED
    rejected(house, "NOT_HDF5", "empty file", "gcsfuse")
    assert send(door, storage_event("inbox", "sample.h5ad", house.put())) == ACKNOWLEDGED
    assert [stored.value.state for stored in house.store.find()] == [State.QUEUED, State.REJECTED]


@pytest.mark.parametrize(
    "name",
    [
        ".gcsfuse_tmp/0c1f",
        "lab/.sample.h5ad.Xy12Ab",
        "lab/._sample.h5ad",
        ".DS_Store",
        ".fuse_hidden0000000a00000001",
        "sample.h5ad.part",
        "sample.h5ad.filepart",
        "sample.h5ad~",
    ],
)
def test_what_programs_make_beside_a_file_is_no_drop(house: StorageHouse, door: FlaskClient, name: str) -> None:
    assert send(door, storage_event("inbox", name, house.put(name=name))) == ACKNOWLEDGED
    assert house.store.find() == []


@pytest.mark.parametrize("name", [".sample.h5ad", "partial/sample.h5ad", "tmp.h5ad", ".lab/sample.h5ad"])
def test_a_name_that_only_looks_a_little_like_it_is_a_drop(house: StorageHouse, door: FlaskClient, name: str) -> None:
    assert send(door, storage_event("inbox", name, house.put(name=name))) == ACKNOWLEDGED
    assert house.only().state is State.QUEUED


def ended(house: StorageHouse) -> tuple[str, str]:
    newest = house.store.find()[0].value
    assert newest.failure is not None
    return newest.state, newest.failure.code


def rejected(house: StorageHouse, code: str, found: str, what_to_do: str) -> None:
    newest = house.store.find()[0].value
    assert newest.state is State.REJECTED
    assert newest.failure is not None
    assert (newest.failure.code, newest.outbox) == (code, ())
    assert found in newest.failure.message
    assert what_to_do in newest.failure.hint
    assert len(house.bus.messages(Topic.EVENTS)) == 1
