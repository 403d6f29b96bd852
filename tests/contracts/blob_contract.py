"""What every blob store must do. Subclass it, and say with fixtures what to open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Protocol, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from shared.domain.errors import BlobNotFoundError, PreconditionFailedError, SettingsError
from shared.domain.submission import ObjectRef
from shared.ports.blobs import BlobStore, ByteRange
from tests.contracts.blob_machine import BlobMachine
from tests.contracts.racing import (
    N_RACERS,
    BlobDoor,
    count_in_blob,
    create_each,
    overwrite_all_of_one_byte,
    read_pinned,
)

FreshDoors = Callable[[], tuple[Sequence[BlobDoor], str]]

GONE = 12_345
NOWHERE = "celldrop-nowhere"
SEQUENCES = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class RawBlobs(Protocol):
    """A way to the bytes that does not go through the store."""

    def get(self, bucket: str, name: str) -> bytes | None: ...

    def put(self, bucket: str, name: str, data: bytes) -> None: ...


class BlobStoreContract:
    """Fixtures to give: ``bucket`` and ``other_bucket`` (empty), ``door``, ``raw``, ``racers``, ``fresh``.

    Or, instead of ``fresh``, ``fresh_doors``: several ways to open a store at one empty bucket, and its name.
    """

    @pytest.fixture
    def store(self, door: BlobDoor) -> BlobStore:
        return door()

    @pytest.fixture
    def fresh_doors(self, fresh: Callable[[], tuple[BlobStore, str]]) -> FreshDoors:
        def make() -> tuple[list[BlobDoor], str]:
            store, bucket = fresh()
            return [lambda: store], bucket

        return make

    # --- Writing and reading ---

    def test_what_was_written_is_read_back(self, store: BlobStore, bucket: str) -> None:
        info = store.write(bucket, "a/b.txt", [b"hello ", b"", b"world"])
        assert store.read(info.ref) == b"hello world"

    def test_what_was_written_is_there_by_the_back_door(self, store: BlobStore, bucket: str, raw: RawBlobs) -> None:
        store.write(bucket, "a/b.txt", [b"hello ", b"world"])
        assert raw.get(bucket, "a/b.txt") == b"hello world"

    def test_what_came_by_the_back_door_is_read(self, store: BlobStore, bucket: str, raw: RawBlobs) -> None:
        raw.put(bucket, "x.h5ad", b"dropped")
        assert store.read(store.stat(bucket, "x.h5ad").ref) == b"dropped"

    def test_an_object_is_described_as_it_was_written(self, store: BlobStore, bucket: str) -> None:
        written = store.write(bucket, "t", [b"123456789"], content_type="text/plain", metadata={"celldrop-model": "ä"})
        found = store.stat(bucket, "t")
        assert found == written
        assert (found.ref.bucket, found.ref.name, found.size_bytes) == (bucket, "t", 9)
        # The check value of CRC-32C, from the catalogue of parametrised CRC algorithms.
        assert found.crc32c == 0xE3069283
        assert (found.content_type, found.metadata) == ("text/plain", {"celldrop-model": "ä"})
        assert found.updated_at.tzinfo is not None

    def test_an_object_may_be_empty(self, store: BlobStore, bucket: str) -> None:
        info = store.write(bucket, "empty", [])
        assert (info.size_bytes, store.read(info.ref)) == (0, b"")

    def test_a_missing_object_is_said_to_be_missing(self, store: BlobStore, bucket: str) -> None:
        with pytest.raises(BlobNotFoundError):
            store.stat(bucket, "nothing")
        with pytest.raises(BlobNotFoundError):
            store.read(ObjectRef(bucket, "nothing", GONE))

    def test_an_object_is_invisible_until_it_is_whole(self, store: BlobStore, bucket: str) -> None:
        seen: list[int] = []

        def chunks() -> Iterator[bytes]:
            yield b"first"
            seen.append(len(list(store.list(bucket))))
            yield b"second"

        store.write(bucket, "slow", chunks())
        assert seen == [0]

    def test_a_write_that_breaks_off_leaves_nothing(self, store: BlobStore, bucket: str) -> None:
        with pytest.raises(KeyError):
            store.write(bucket, "broken", _breaks_off())
        assert list(store.list(bucket)) == []

    def test_a_write_that_breaks_off_leaves_the_old_object(self, store: BlobStore, bucket: str) -> None:
        old = store.write(bucket, "kept", [b"old"])
        with pytest.raises(KeyError):
            store.write(bucket, "kept", _breaks_off())
        assert store.stat(bucket, "kept") == old
        assert store.read(old.ref) == b"old"

    # --- Ranges ---

    @pytest.mark.parametrize(
        ("offset", "length", "expected"), [(0, 3, b"012"), (4, 2, b"45"), (8, 100, b"89"), (10, 5, b""), (99, 1, b"")]
    )
    def test_a_span_is_cut_at_the_end(
        self, store: BlobStore, bucket: str, offset: int, length: int, expected: bytes
    ) -> None:
        info = store.write(bucket, "digits", [b"0123456789"])
        assert store.read(info.ref, ByteRange(offset, length)) == expected

    def test_many_spans_come_in_the_order_asked(self, store: BlobStore, bucket: str) -> None:
        data = bytes(range(256)) * 8
        info = store.write(bucket, "data", [data])

        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.nested_given])
        @given(st.lists(st.tuples(st.integers(0, 2100), st.integers(0, 600)), max_size=8))
        def check(pairs: list[tuple[int, int]]) -> None:
            found = store.read_many(info.ref, [ByteRange(offset, length) for offset, length in pairs])
            assert found == [data[offset : offset + length] for offset, length in pairs]

        check()

    def test_many_spans_of_a_replaced_generation_are_refused(self, store: BlobStore, bucket: str) -> None:
        old = store.write(bucket, "data", [b"old"])
        store.write(bucket, "data", [b"new"])
        with pytest.raises(BlobNotFoundError):
            store.read_many(old.ref, [ByteRange(0, 1)])

    # --- Generations ---

    def test_a_replaced_generation_cannot_be_read(self, store: BlobStore, bucket: str) -> None:
        old = store.write(bucket, "x", [b"old"])
        new = store.write(bucket, "x", [b"new"])
        with pytest.raises(BlobNotFoundError):
            store.read(old.ref)
        assert store.read(new.ref) == b"new"

    def test_generations_grow_with_every_write(self, store: BlobStore, bucket: str) -> None:
        found = [store.write(bucket, "x", [b"same"]).ref.generation for _ in range(10)]
        assert found == sorted(set(found))
        assert found[0] > 0

    def test_an_object_made_again_has_a_new_generation(self, store: BlobStore, bucket: str) -> None:
        old = store.write(bucket, "x", [b"same"])
        store.delete(bucket, "x")
        new = store.write(bucket, "x", [b"same"])
        assert new.ref.generation > old.ref.generation
        with pytest.raises(BlobNotFoundError):
            store.read(old.ref)

    def test_a_new_generation_keeps_nothing_of_the_old_ones_description(self, store: BlobStore, bucket: str) -> None:
        store.write(bucket, "x", [b"old"], content_type="text/plain", metadata={"a": "1"})
        found = store.write(bucket, "x", [b"new"], metadata={"b": "2"})
        assert store.stat(bucket, "x") == found
        assert (found.content_type, found.metadata) == ("application/octet-stream", {"b": "2"})

    # --- Preconditions ---

    def test_create_only_refuses_what_is_there(self, store: BlobStore, bucket: str) -> None:
        first = store.write(bucket, "once", [b"first"], if_generation=0)
        with pytest.raises(PreconditionFailedError):
            store.write(bucket, "once", [b"second"], if_generation=0)
        assert store.read(first.ref) == b"first"

    def test_a_write_over_the_generation_read_goes_through(self, store: BlobStore, bucket: str) -> None:
        first = store.write(bucket, "x", [b"first"])
        second = store.write(bucket, "x", [b"second"], if_generation=first.ref.generation)
        assert store.read(second.ref) == b"second"

    @pytest.mark.parametrize("name", ["moved-on", "never-was"])
    def test_a_write_over_another_generation_is_refused(self, store: BlobStore, bucket: str, name: str) -> None:
        store.write(bucket, "moved-on", [b"kept"])
        with pytest.raises(PreconditionFailedError):
            store.write(bucket, name, [b"lost"], if_generation=GONE)
        assert [store.read(info.ref) for info in store.list(bucket)] == [b"kept"]

    def test_an_object_that_appears_during_a_create_only_write_wins(self, store: BlobStore, bucket: str) -> None:
        def chunks() -> Iterator[bytes]:
            yield b"slow"
            store.write(bucket, "race", [b"fast"], if_generation=0)

        with pytest.raises(PreconditionFailedError):
            store.write(bucket, "race", chunks(), if_generation=0)
        assert store.read(store.stat(bucket, "race").ref) == b"fast"

    # --- Listing and deleting ---

    def test_a_list_has_the_names_under_a_prefix_in_their_order(self, store: BlobStore, bucket: str) -> None:
        names = ["a/1", "a-b", "a/10", "a/2/x", "a.c", "ab", "b", "a/2/é"]
        for name in names:
            store.write(bucket, name, [name.encode()])
        assert [info.ref.name for info in store.list(bucket)] == sorted(names)
        assert [info.ref.name for info in store.list(bucket, "a/")] == ["a/1", "a/10", "a/2/x", "a/2/é"]
        assert [info.ref.name for info in store.list(bucket, "a/1")] == ["a/1", "a/10"]
        assert list(store.list(bucket, "c")) == []

    def test_a_list_describes_as_stat_does(self, store: BlobStore, bucket: str) -> None:
        store.write(bucket, "a/x", [b"old"])
        store.write(bucket, "a/x", [b"new"], metadata={"k": "v"})
        assert list(store.list(bucket, "a/")) == [store.stat(bucket, "a/x")]

    def test_buckets_are_apart(self, store: BlobStore, bucket: str, other_bucket: str) -> None:
        store.write(bucket, "x", [b"here"])
        assert list(store.list(other_bucket)) == []
        with pytest.raises(BlobNotFoundError):
            store.stat(other_bucket, "x")

    def test_a_deleted_object_is_gone(self, store: BlobStore, bucket: str, raw: RawBlobs) -> None:
        info = store.write(bucket, "a/x", [b"data"])
        store.delete(bucket, "a/x")
        assert list(store.list(bucket)) == []
        assert raw.get(bucket, "a/x") is None
        with pytest.raises(BlobNotFoundError):
            store.read(info.ref)

    def test_deleting_what_is_gone_is_fine(self, store: BlobStore, bucket: str) -> None:
        store.delete(bucket, "never")
        store.delete(bucket, "never", if_generation=GONE)

    def test_deleting_another_generation_is_refused(self, store: BlobStore, bucket: str) -> None:
        old = store.write(bucket, "x", [b"old"])
        new = store.write(bucket, "x", [b"new"])
        with pytest.raises(PreconditionFailedError):
            store.delete(bucket, "x", if_generation=old.ref.generation)
        assert store.read(new.ref) == b"new"
        store.delete(bucket, "x", if_generation=new.ref.generation)
        assert list(store.list(bucket)) == []

    # --- Buckets that do not exist ---

    @pytest.mark.parametrize("if_generation", [None, 0, GONE])
    def test_a_bucket_that_does_not_exist_is_a_matter_of_settings(
        self, store: BlobStore, if_generation: int | None
    ) -> None:
        with pytest.raises(SettingsError, match=f"no bucket '{NOWHERE}'"):
            store.write(NOWHERE, "x", [b"data"], if_generation=if_generation)
        with pytest.raises(SettingsError, match=f"no bucket '{NOWHERE}'"):
            list(store.list(NOWHERE))

    def test_a_bucket_that_does_not_exist_has_no_objects(self, store: BlobStore) -> None:
        with pytest.raises(BlobNotFoundError):
            store.stat(NOWHERE, "x")
        with pytest.raises(BlobNotFoundError):
            store.read(ObjectRef(NOWHERE, "x", GONE))
        with pytest.raises(BlobNotFoundError):
            store.read_many(ObjectRef(NOWHERE, "x", GONE), [ByteRange(0, 1)])
        store.delete(NOWHERE, "x")
        store.delete(NOWHERE, "x", if_generation=GONE)

    # --- Side by side ---

    def test_of_racing_create_only_writers_one_wins_each_name(
        self, door: BlobDoor, bucket: str, racers: Executor
    ) -> None:
        names = [f"race/{i}" for i in range(15)]
        marks = [str(i).encode() for i in range(N_RACERS)]
        runs = [racers.submit(create_each, door, bucket, names, mark) for mark in marks]
        won = {name: mark for run, mark in zip(runs, marks, strict=True) for name in run.result()}
        assert sorted(name for run in runs for name in run.result()) == sorted(names)
        store = door()
        assert {info.ref.name: store.read(info.ref) for info in store.list(bucket)} == won

    def test_racing_conditional_writers_lose_no_count(self, door: BlobDoor, bucket: str, racers: Executor) -> None:
        store = door()
        store.write(bucket, "count", [b"0"])
        runs = [racers.submit(count_in_blob, door, bucket, "count", 8) for _ in range(N_RACERS)]
        generations = [generation for run in runs for generation in run.result()]
        assert store.read(store.stat(bucket, "count").ref) == str(8 * N_RACERS).encode()
        assert len(set(generations)) == len(generations)

    def test_a_pinned_reader_never_gets_a_mix(self, door: BlobDoor, bucket: str, racers: Executor) -> None:
        door().write(bucket, "x", [b"\0" * 9])
        writers = [racers.submit(overwrite_all_of_one_byte, door, bucket, "x", i, 30) for i in range(2)]
        readers = [racers.submit(read_pinned, door, bucket, "x", 100) for _ in range(2)]
        assert [reader.result() for reader in readers] == [[], []]
        assert [writer.result() for writer in writers] == [30, 30]

    def test_any_sequence_of_calls_does_as_a_dictionary_would(self, fresh_doors: FreshDoors) -> None:
        machine = cast("type[BlobMachine]", lambda: BlobMachine(*fresh_doors()))
        run_state_machine_as_test(machine, settings=SEQUENCES)


def _breaks_off() -> Iterator[bytes]:
    yield b"some bytes"
    raise KeyError("the source broke off")
