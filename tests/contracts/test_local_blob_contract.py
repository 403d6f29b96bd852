"""The directory blob store keeps the contract, between processes too."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from shared.adapters.local.blobs import DirectoryBlobStore
from shared.ports.blobs import BlobStore
from tests.contracts.blob_contract import BlobStoreContract, FreshDoors, RawBlobs
from tests.contracts.elsewhere import Elsewhere
from tests.contracts.racing import BlobDoor


class _Files:
    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, bucket: str, name: str) -> bytes | None:
        path = self._root / bucket / name
        return path.read_bytes() if path.exists() else None

    def put(self, bucket: str, name: str, data: bytes) -> None:
        path = self._root / bucket / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class TestDirectoryBlobStore(BlobStoreContract):
    @pytest.fixture
    def bucket(self) -> str:
        return "results"

    @pytest.fixture
    def other_bucket(self) -> str:
        return "work"

    @pytest.fixture
    def door(self, scratch: Path) -> BlobDoor:
        return partial(DirectoryBlobStore, {name: scratch / name for name in ("results", "work")})

    @pytest.fixture
    def raw(self, scratch: Path) -> RawBlobs:
        return _Files(scratch)

    @pytest.fixture
    def racers(self, processes: Executor) -> Executor:
        return processes

    @pytest.fixture
    def fresh_doors(self, scratch: Path, processes: Executor) -> FreshDoors:
        numbers = count()

        def make() -> tuple[list[BlobDoor], str]:
            here = partial(DirectoryBlobStore, {"b": scratch / f"fresh-{next(numbers)}"})
            return [here, lambda: cast("BlobStore", Elsewhere(here, processes))], "b"

        return make
