"""A streaming upload arrives whole or not at all, whatever the service keeps of it and whatever gets lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import repeat

import pytest
from google.cloud.storage import Client  # type: ignore[import-untyped]  # it ships no types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.gcp.blobs import CloudBlobStore
from shared.adapters.gcp.blobs_upload import QUANTUM_BYTES, Pieces
from shared.domain.errors import PreconditionFailedError, UnavailableError
from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.emulators_storage import Fault, StorageStandIn

pytest_plugins = ["tests.cloud.emulators_session"]

PIECE_BYTES = 2 * QUANTUM_BYTES
DATA = os.urandom(5 * QUANTUM_BYTES + 12_345)
LOST = Fault(lose_answer=True)
BUSY = Fault(status=503)


@pytest.fixture
def client(stand_in: StorageStandIn) -> Iterator[Client]:
    stand_in.shelf.buckets.add("results")
    with StorageDoor(stand_in.url).client() as client:
        yield client


@pytest.fixture
def store(client: Client) -> CloudBlobStore:
    return CloudBlobStore(client, retry_s=20, piece_bytes=PIECE_BYTES)


def _chunks(size_bytes: int = 100_000) -> Iterator[bytes]:
    return (DATA[i : i + size_bytes] for i in range(0, len(DATA), size_bytes))


FAULTS = st.one_of(
    st.none(),
    st.just(LOST),
    st.sampled_from([429, 500, 503]).map(lambda status: Fault(status=status)),
    st.integers(0, 3).map(lambda n: Fault(keep_bytes=n * QUANTUM_BYTES)),
    st.integers(0, 3).map(lambda n: Fault(keep_bytes=n * QUANTUM_BYTES, lose_answer=True)),
)


def test_whatever_goes_wrong_on_the_way_the_object_is_whole(client: Client, stand_in: StorageStandIn) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.nested_given])
    @given(st.lists(FAULTS, max_size=6), st.sampled_from([None, 0]))
    def check(faults: list[Fault | None], if_generation: int | None) -> None:
        stand_in.shelf.objects.clear()
        stand_in.faults.clear()
        stand_in.faults.extend(faults)
        store = CloudBlobStore(client, piece_bytes=PIECE_BYTES)
        store._retry = store._retry.with_delay(initial=0.001, maximum=0.002)
        info = store.write("results", "long", _chunks(), if_generation=if_generation)
        stand_in.faults.clear()
        assert store.stat("results", "long") == info
        assert stand_in.shelf.objects["results", "long"].data == DATA

    check()


def test_no_more_than_a_piece_is_held_back(store: CloudBlobStore, stand_in: StorageStandIn) -> None:
    ahead: list[int] = []

    def watched() -> Iterator[bytes]:
        drawn = 0
        for chunk in _chunks(50_000):
            kept = sum(len(session.data) for session in stand_in.shelf.sessions.values())
            ahead.append(drawn - kept)
            yield chunk
            drawn += len(chunk)

    store.write("results", "long", watched())
    assert max(ahead) < PIECE_BYTES + 50_000


def test_an_object_is_invisible_until_its_stream_has_ended(store: CloudBlobStore) -> None:
    seen: list[int] = []

    def watched() -> Iterator[bytes]:
        for chunk in _chunks():
            seen.append(len(list(store.list("results"))))
            yield chunk

    store.write("results", "long", watched(), if_generation=0)
    assert set(seen) == {0}
    assert len(list(store.list("results"))) == 1


def test_a_stream_that_breaks_off_leaves_no_session(store: CloudBlobStore, stand_in: StorageStandIn) -> None:
    def broken() -> Iterator[bytes]:
        yield DATA
        raise KeyError("the source broke off")

    with pytest.raises(KeyError):
        store.write("results", "long", broken())
    assert (stand_in.shelf.sessions, stand_in.shelf.objects) == ({}, {})


def test_an_object_that_came_first_wins_over_a_stream(
    client: Client, store: CloudBlobStore, stand_in: StorageStandIn
) -> None:
    def overtaken() -> Iterator[bytes]:
        yield from _chunks()
        CloudBlobStore(client).write("results", "long", [b"quick"], if_generation=0)

    with pytest.raises(PreconditionFailedError):
        store.write("results", "long", overtaken(), if_generation=0)
    assert stand_in.shelf.objects["results", "long"].data == b"quick"


def test_a_stream_towards_what_is_there_already_is_refused_at_once(store: CloudBlobStore) -> None:
    store.write("results", "long", [b"there"])
    drawn: list[bytes] = []

    def watched() -> Iterator[bytes]:
        for chunk in repeat(DATA, 10):
            drawn.append(chunk)
            yield chunk

    with pytest.raises(PreconditionFailedError):
        store.write("results", "long", watched(), if_generation=0)
    assert len(drawn) == 1


def test_a_session_that_expired_is_unavailable(store: CloudBlobStore, stand_in: StorageStandIn) -> None:
    stand_in.faults.extend([None, None, Fault(status=410)])
    with pytest.raises(UnavailableError, match="session is gone"):
        store.write("results", "long", _chunks())


def test_a_service_that_lost_what_it_had_confirmed_is_unavailable(
    store: CloudBlobStore, stand_in: StorageStandIn
) -> None:
    def forget() -> None:
        for session in stand_in.shelf.sessions.values():
            session.data = session.data[:QUANTUM_BYTES]

    stand_in.faults.extend([None, None, Fault(meanwhile=forget, status=503)])
    with pytest.raises(UnavailableError, match=f"has {QUANTUM_BYTES} bytes"):
        store.write("results", "long", _chunks())


def test_a_service_that_never_keeps_anything_is_unavailable(client: Client, stand_in: StorageStandIn) -> None:
    stand_in.faults.extend([None, *[Fault(keep_bytes=0)] * 200])
    with pytest.raises(UnavailableError):
        CloudBlobStore(client, retry_s=0.3, piece_bytes=PIECE_BYTES).write("results", "long", _chunks())


@pytest.mark.parametrize("size_bytes", [0, 1, 255, 256, 257, 512, 1000])
@pytest.mark.parametrize("chunk_bytes", [1, 100, 256, 5000])
def test_pieces_are_of_one_size_but_for_the_last(size_bytes: int, chunk_bytes: int) -> None:
    data = DATA[:size_bytes]
    pieces = Pieces((data[i : i + chunk_bytes] for i in range(0, size_bytes, chunk_bytes)), 256)
    *full, last = list(pieces)
    assert b"".join([*full, last]) == data
    assert {len(piece) for piece in full} <= {256}
    assert [pieces.is_last(piece) for piece in (*full, last)] == [False] * len(full) + [True]
