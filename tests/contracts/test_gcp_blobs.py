"""What the Cloud Storage store makes of answers that fail, break off, come late or get lost; over real sockets."""

from __future__ import annotations

import gc
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from google.cloud.storage import Client  # type: ignore[import-untyped]  # it ships no types

from shared.adapters.gcp.blobs import PARALLEL_READS, REQUEST_S, TOKEN_KEY, CloudBlobStore
from shared.adapters.gcp.clients import firestore_client, storage_client
from shared.deadline import within
from shared.domain.errors import (
    AccessDeniedError,
    BlobNotFoundError,
    CorruptBlobError,
    InternalError,
    ObjectRefusedError,
    PreconditionFailedError,
    SettingsError,
    UnavailableError,
)
from shared.domain.submission import ObjectRef
from shared.ports.blobs import ByteRange
from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.emulators_shelf import HELD, RETAINED, Kept, RefusedError
from tests.cloud.emulators_storage import Fault, StorageStandIn
from tests.cloud.local_cloud_programs import free_port

pytest_plugins = ["tests.cloud.emulators_session"]

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # See ``tidy``.

LOST = Fault(lose_answer=True)
BUSY = Fault(status=503)


@pytest.fixture
def client(stand_in: StorageStandIn) -> Iterator[Client]:
    with StorageDoor(stand_in.url).client() as client:
        yield client


@pytest.fixture
def store(client: Client) -> CloudBlobStore:
    return CloudBlobStore(client)


@pytest.fixture
def impatient(client: Client) -> CloudBlobStore:
    return CloudBlobStore(client, request_s=0.2, retry_s=0.3)


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """The client leaves the connection of a download that it repeats to the garbage collector: here, not elsewhere."""
    gc.freeze()  # Only what the test makes is gone through.
    yield
    gc.collect()
    gc.unfreeze()


@pytest.fixture
def bucket(stand_in: StorageStandIn) -> str:
    stand_in.shelf.buckets.add("results")
    return "results"


@pytest.fixture
def requests_of(stand_in: StorageStandIn) -> Callable[[Callable[[], object]], list[str]]:
    """The requests that a call makes, as method and path."""

    def watched(call: Callable[[], object]) -> list[str]:
        stand_in.seen.clear()
        call()
        return [line.partition("?")[0] for line in stand_in.seen]

    return watched


# --- Answers that fail ---


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_service_that_stays_busy_is_unavailable(
    impatient: CloudBlobStore, stand_in: StorageStandIn, bucket: str, status: int
) -> None:
    stand_in.faults.extend([Fault(status=status)] * 50)
    with pytest.raises(UnavailableError):
        impatient.stat(bucket, "x")


def test_a_service_that_is_busy_for_a_moment_is_asked_again(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    stand_in.faults.extend([BUSY])
    info = store.write(bucket, "x", [b"data"], if_generation=0)
    stand_in.faults.extend([BUSY])
    assert store.stat(bucket, "x") == info
    stand_in.faults.extend([BUSY])
    assert store.read(info.ref) == b"data"
    stand_in.faults.extend([BUSY])
    assert list(store.list(bucket)) == [info]
    stand_in.faults.extend([BUSY])
    store.delete(bucket, "x", if_generation=info.ref.generation)
    assert stand_in.shelf.objects == {}


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("call", "role"),
    [
        (lambda store: store.stat("results", "x"), "objectViewer"),
        (lambda store: list(store.list("results")), "objectViewer"),
        (lambda store: store.read(ObjectRef("results", "x", 1)), "objectViewer"),
        (lambda store: store.write("results", "x", [b""]), "objectUser"),
        (lambda store: store.write("results", "x", [b""], if_generation=0), "objectUser"),
        (lambda store: store.delete("results", "x"), "objectUser"),
    ],
    ids=["stat", "list", "read", "write", "create", "delete"],
)
@pytest.mark.usefixtures("bucket")
def test_a_missing_grant_is_named(
    store: CloudBlobStore, stand_in: StorageStandIn, status: int, call: Callable[[CloudBlobStore], object], role: str
) -> None:
    stand_in.faults.append(Fault(status=status))
    with pytest.raises(AccessDeniedError) as caught:
        call(store)
    assert f"roles/storage.{role}" in caught.value.hint
    assert caught.value.retryable
    assert len(stand_in.seen) == 1


def test_a_request_that_the_service_finds_fault_with_is_a_fault_of_ours(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    stand_in.faults.append(Fault(status=400))
    with pytest.raises(InternalError, match="refuses the request"):
        store.write(bucket, "x", [b"data"], if_generation=0)


def test_an_object_that_is_refused_is_no_fault_of_ours(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    stand_in.faults.append(Fault(status=400))
    with pytest.raises(ObjectRefusedError, match="Cloud Storage refuses it: Bad Request, says the stand-in"):
        store.stat(bucket, "x")


@pytest.mark.parametrize("if_generation", [0, None])
def test_a_write_to_a_bucket_whose_settings_forbid_it_is_no_fault_of_ours(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str, if_generation: int | None
) -> None:
    stand_in.shelf.requester_pays.add(bucket)
    with pytest.raises(ObjectRefusedError, match="requester pays"):
        store.write(bucket, "x", [b"data"], if_generation=if_generation)


def test_a_deletion_in_a_bucket_whose_settings_forbid_it_is_no_fault_of_ours(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    info = store.write(bucket, "x", [b"data"])
    stand_in.shelf.requester_pays.add(bucket)
    for if_generation in (None, info.ref.generation):
        with pytest.raises(ObjectRefusedError, match="requester pays"):
            store.delete(bucket, "x", if_generation=if_generation)


@pytest.mark.parametrize(
    ("refusal", "words", "advice"),
    [(RETAINED, "retention policy", "--clear-retention-period"), (HELD, "Event-Based hold", "--no-event-based-hold")],
    ids=["retention", "hold"],
)
def test_an_object_that_must_stay_is_no_missing_grant(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str, *, refusal: RefusedError, words: str, advice: str
) -> None:
    info = store.write(bucket, "x", [b"data"])
    stand_in.shelf.must_stay[bucket, "x"] = refusal
    for attempt in (
        lambda: store.delete(bucket, "x"),
        lambda: store.delete(bucket, "x", if_generation=info.ref.generation),
        lambda: store.write(bucket, "x", [b"new"]),
        lambda: store.write(bucket, "x", [b"new"], if_generation=info.ref.generation),
    ):
        with pytest.raises(AccessDeniedError, match=words) as caught:
            attempt()
        assert advice in caught.value.hint
        assert "Grant" not in caught.value.hint
    assert store.read(info.ref) == b"data"


def test_a_service_that_says_nothing_is_unavailable(
    impatient: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    stand_in.faults.extend([Fault(hang=True)] * 20)
    with pytest.raises(UnavailableError):
        impatient.stat(bucket, "x")
    with pytest.raises(UnavailableError):
        impatient.write(bucket, "x", [b"data"], if_generation=0)


def test_a_service_that_says_nothing_is_waited_for_until_the_callers_deadline(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    ref = store.write(bucket, "x", [b"data"], if_generation=0).ref
    stand_in.faults.extend([Fault(hang=True)] * 20)
    spans = [ByteRange(0, 1), ByteRange(2, 1)]
    reads: list[Callable[[], object]] = [
        lambda: store.stat(bucket, "x"),
        lambda: store.read(ref),
        lambda: store.read_many(ref, spans),
        lambda: list(store.list(bucket)),
    ]
    began_s = time.monotonic()
    for read in reads:
        with within(0.3), pytest.raises(UnavailableError):
            read()
    assert time.monotonic() - began_s < REQUEST_S


def test_a_service_that_is_not_there_is_unavailable() -> None:
    with StorageDoor(f"http://127.0.0.1:{free_port()}").client() as client:
        store = CloudBlobStore(client, retry_s=0.3)
        with pytest.raises(UnavailableError):
            store.stat("results", "x")
        with pytest.raises(UnavailableError):
            store.write("results", "x", [b"data"])


@pytest.mark.parametrize("connect", [storage_client, lambda project: firestore_client(project, "(default)")])
def test_an_environment_without_credentials_is_told_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[[str], object]
) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(SettingsError) as caught:
        connect("project")
    assert "gcloud auth application-default login" in caught.value.hint


# --- Answers that get lost ---


def test_a_creation_whose_answer_was_lost_is_known_as_ours(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    stand_in.faults.append(LOST)
    info = store.write(bucket, "x", [b"data"], if_generation=0, metadata={"a": "1"})
    assert store.stat(bucket, "x") == info
    assert info.metadata == {"a": "1"}
    assert _n_uploads(stand_in) == 2


def test_a_write_over_a_generation_whose_answer_was_lost_is_known_as_ours(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    before = store.write(bucket, "x", [b"old"], if_generation=0)
    stand_in.faults.append(LOST)
    info = store.write(bucket, "x", [b"new"], if_generation=before.ref.generation)
    assert store.stat(bucket, "x") == info
    assert store.read(info.ref) == b"new"


def test_an_object_of_somebody_else_is_never_taken_for_ours(
    client: Client, store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    other = CloudBlobStore(client).write(bucket, "x", [b"same"], if_generation=0)
    stand_in.faults.append(BUSY)
    with pytest.raises(PreconditionFailedError):
        store.write(bucket, "x", [b"same"], if_generation=0)
    assert store.stat(bucket, "x") == other


def test_the_mark_of_a_writer_is_never_shown(store: CloudBlobStore, stand_in: StorageStandIn, bucket: str) -> None:
    info = store.write(bucket, "x", [b"data"], if_generation=0)
    kept = stand_in.shelf.objects[bucket, "x"].resource["metadata"]
    assert list(kept) == [TOKEN_KEY]
    assert not TOKEN_KEY.startswith("celldrop-")
    assert info.metadata == store.stat(bucket, "x").metadata == next(store.list(bucket)).metadata == {}


@pytest.mark.parametrize("lost", [0, 1], ids=["opening the session", "the bytes"])
def test_an_unconditional_write_makes_one_object_whatever_is_repeated(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str, lost: int
) -> None:
    stand_in.faults.extend([None] * lost + [LOST])
    info = store.write(bucket, "x", [b"data"])
    assert store.stat(bucket, "x") == info
    later = store.write(bucket, "y", [b""])
    assert later.ref.generation == info.ref.generation + 1


def test_a_conditional_deletion_is_repeated(store: CloudBlobStore, stand_in: StorageStandIn, bucket: str) -> None:
    info = store.write(bucket, "x", [b"data"])
    stand_in.faults.append(LOST)
    store.delete(bucket, "x", if_generation=info.ref.generation)
    assert stand_in.shelf.objects == {}


def test_an_unconditional_deletion_is_not(store: CloudBlobStore, stand_in: StorageStandIn, bucket: str) -> None:
    store.write(bucket, "x", [b"data"])
    stand_in.seen.clear()
    stand_in.faults.append(LOST)
    with pytest.raises(UnavailableError):
        store.delete(bucket, "x")
    assert len(stand_in.seen) == 1
    store.delete(bucket, "x")


# --- Bytes that are not what they should be ---


@pytest.mark.parametrize("if_generation", [None, 0])
def test_bytes_that_were_spoiled_on_the_way_in_are_removed(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str, if_generation: int | None
) -> None:
    # An unconditional write opens its session first.
    stand_in.faults.extend([*([None] if if_generation is None else []), Fault(spoil=True)])
    with pytest.raises(CorruptBlobError):
        store.write(bucket, "x", [b"data"], if_generation=if_generation)
    assert stand_in.shelf.objects == {}
    assert "ifGenerationMatch" in stand_in.seen[-1]


@pytest.mark.parametrize("if_generation", [None, 0])
def test_bytes_that_changed_on_the_way_in_never_become_an_object(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str, if_generation: int | None
) -> None:
    stand_in.faults.extend([*([None] if if_generation is None else []), Fault(garble=True)])
    with pytest.raises(InternalError, match="refuses the request"):
        store.write(bucket, "x", [b"data"], if_generation=if_generation)
    assert stand_in.shelf.objects == {}
    assert not [line for line in stand_in.seen if "DELETE /storage" in line]


def test_the_removal_of_spoiled_bytes_spares_what_came_after_them(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    newer = partial(stand_in.shelf.put, bucket, {"name": "x"}, b"newer", None, None)
    stand_in.faults.extend([Fault(spoil=True), Fault(meanwhile=newer)])
    with pytest.raises(CorruptBlobError):
        store.write(bucket, "x", [b"data"], if_generation=0)
    assert store.read(store.stat(bucket, "x").ref) == b"newer"


@pytest.mark.parametrize("fault", [None, Fault(send_bytes=5)], ids=["at once", "after a break"])
def test_a_whole_read_is_checked(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str, fault: Fault | None
) -> None:
    info = store.write(bucket, "x", [b"0123456789"])
    kept = stand_in.shelf.objects[bucket, "x"]
    stand_in.shelf.objects[bucket, "x"] = Kept(kept.resource, b"0123x56789")
    stand_in.faults.append(fault)
    with pytest.raises(CorruptBlobError):
        store.read(info.ref)


def test_a_read_that_breaks_off_goes_on_where_it_was(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    info = store.write(bucket, "x", [b"0123456789"])
    stand_in.faults.append(Fault(send_bytes=4))
    assert store.read(info.ref) == b"0123456789"
    stand_in.faults.extend([Fault(send_bytes=2), Fault(send_bytes=1)])
    assert store.read(info.ref, ByteRange(3, 5)) == b"34567"


def test_a_read_that_breaks_off_does_not_go_on_in_another_generation(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    info = store.write(bucket, "x", [b"0123456789"])
    newer = partial(stand_in.shelf.put, bucket, {"name": "x"}, b"abcdefghij", None, None)
    stand_in.faults.extend([Fault(send_bytes=4), Fault(meanwhile=newer)])
    with pytest.raises(BlobNotFoundError):
        store.read(info.ref)


# --- Requests ---


def test_each_call_takes_as_few_requests_as_it_can(
    store: CloudBlobStore, bucket: str, requests_of: Callable[[Callable[[], object]], list[str]]
) -> None:
    upload, name = f"POST /upload/storage/v1/b/{bucket}/o", f"/storage/v1/b/{bucket}/o/x"
    assert requests_of(lambda: store.write(bucket, "x", [b"data"], if_generation=0)) == [upload]
    assert requests_of(lambda: store.write(bucket, "x", [b"data"])) == [upload, upload.replace("POST", "PUT")]
    assert requests_of(lambda: store.stat(bucket, "x")) == [f"GET {name}"]
    ref = store.stat(bucket, "x").ref
    assert requests_of(lambda: store.read(ref)) == [f"GET /download{name}"]
    assert requests_of(lambda: store.read_many(ref, [ByteRange(0, 0), ByteRange(2, -1)])) == []
    assert requests_of(lambda: store.read_many(ref, [ByteRange(0, 1)] * 3)) == [f"GET /download{name}"] * 3
    assert requests_of(lambda: list(store.list(bucket))) == [f"GET /storage/v1/b/{bucket}/o"]
    assert requests_of(lambda: store.delete(bucket, "x")) == [f"DELETE {name}"]


def test_nothing_is_asked_of_the_service_before_the_first_use(
    client: Client, stand_in: StorageStandIn, bucket: str
) -> None:
    found = CloudBlobStore(client).list(bucket)
    assert stand_in.seen == []
    assert list(found) == []


def test_many_spans_are_fetched_side_by_side(store: CloudBlobStore, stand_in: StorageStandIn, bucket: str) -> None:
    data = bytes(range(2 * PARALLEL_READS))
    info = store.write(bucket, "x", [data])
    # Nobody is answered before as many have asked as are to come at a time.
    stand_in.together = threading.Barrier(PARALLEL_READS)
    spans = [ByteRange(offset, 1) for offset in range(len(data))]
    assert store.read_many(info.ref, spans) == [data[i : i + 1] for i in range(len(data))]


def test_what_is_stored_compressed_is_read_as_it_is_stored(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    data = gzip.compress(b"data" * 100)
    info = store.write(bucket, "x", [data])
    stand_in.shelf.objects[bucket, "x"].resource["contentEncoding"] = "gzip"
    assert store.read(info.ref) == data
    assert store.read(info.ref, ByteRange(5, 9)) == data[5:14]


def test_an_object_without_a_type_or_checksum_is_described_all_the_same(
    store: CloudBlobStore, stand_in: StorageStandIn, bucket: str
) -> None:
    info = store.write(bucket, "x", [b"data"])
    resource = dict(stand_in.shelf.objects[bucket, "x"].resource)
    for key in ("crc32c", "contentType"):
        del resource[key]
    stand_in.shelf.objects[bucket, "x"] = Kept(resource, b"data")
    assert store.stat(bucket, "x") == replace(info, crc32c=None)


def _n_uploads(stand_in: StorageStandIn) -> int:
    return sum(line.startswith("POST /upload") for line in stand_in.seen)
