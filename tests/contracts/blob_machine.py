"""Any sequence of calls to a blob store, beside a dictionary that says what should come of it."""

from __future__ import annotations

from collections.abc import Sequence

import google_crc32c
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shared.domain.errors import BlobNotFoundError, PreconditionFailedError
from shared.domain.submission import ObjectRef
from shared.ports.blobs import ByteRange
from tests.contracts.racing import BlobDoor

NAMES = st.sampled_from(["a/1", "a/2", "a-", "b/c/d", "e"])
CONTENTS = st.lists(st.binary(max_size=20), max_size=3)


class BlobMachine(RuleBasedStateMachine):
    """Doors lead to the same objects: to come in by one is to open the store anew."""

    def __init__(self, doors: Sequence[BlobDoor], bucket: str) -> None:
        super().__init__()
        self.doors = doors
        self.store = doors[0]()
        self.bucket = bucket
        self.there: dict[str, tuple[int, bytes]] = {}
        self.gone: list[ObjectRef] = []
        self.highest = 0

    @rule(number=st.integers(0, 3))
    def open_anew(self, number: int) -> None:
        self.store = self.doors[number % len(self.doors)]()

    @rule(name=NAMES, chunks=CONTENTS)
    def write(self, name: str, chunks: list[bytes]) -> None:
        self._wrote(name, chunks, None)

    @rule(name=NAMES, chunks=CONTENTS)
    def write_over_what_is_there(self, name: str, chunks: list[bytes]) -> None:
        self._wrote(name, chunks, self._generation(name))

    @rule(name=NAMES, wrong=st.sampled_from([0, 7]))
    def write_over_something_else(self, name: str, wrong: int) -> None:
        if wrong != self._generation(name):
            with pytest.raises(PreconditionFailedError):
                self.store.write(self.bucket, name, [b"never"], if_generation=wrong)

    @rule(name=NAMES, conditional=st.booleans())
    def delete(self, name: str, conditional: bool) -> None:
        self._forget(name)
        generation = self._generation(name)
        self.store.delete(self.bucket, name, if_generation=generation if conditional and generation else None)
        self.there.pop(name, None)

    @rule(name=NAMES)
    def delete_something_else(self, name: str) -> None:
        if name in self.there:
            with pytest.raises(PreconditionFailedError):
                self.store.delete(self.bucket, name, if_generation=7)

    @rule(name=NAMES, offset=st.integers(0, 70), length=st.integers(0, 70))
    def read_a_span(self, name: str, offset: int, length: int) -> None:
        if name in self.there:
            generation, data = self.there[name]
            ref = ObjectRef(self.bucket, name, generation)
            assert self.store.read(ref, ByteRange(offset, length)) == data[offset : offset + length]

    @rule()
    def what_is_gone_stays_gone(self) -> None:
        for ref in self.gone:
            with pytest.raises(BlobNotFoundError):
                self.store.read(ref)

    @invariant()
    def the_list_is_what_it_should_be(self) -> None:
        found = [(info.ref.name, info.ref.generation, info.crc32c) for info in self.store.list(self.bucket)]
        assert found == [
            (name, generation, google_crc32c.value(data)) for name, (generation, data) in sorted(self.there.items())
        ]

    def _wrote(self, name: str, chunks: list[bytes], if_generation: int | None) -> None:
        self._forget(name)
        info = self.store.write(self.bucket, name, chunks, if_generation=if_generation)
        self.there[name] = (info.ref.generation, b"".join(chunks))
        assert self.store.read(info.ref) == b"".join(chunks)

    def _forget(self, name: str) -> None:
        if name in self.there:
            self.gone.append(ObjectRef(self.bucket, name, self._generation(name)))

    def _generation(self, name: str) -> int:
        return self.there[name][0] if name in self.there else 0
