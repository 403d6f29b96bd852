"""Datasets that are read slice after slice: held open, so that no chunk is looked at or inflated a second time."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import h5py

from shared.h5ad.read.inflating import sliced, stored_bytes

MOST_BYTES = 64 * 2**20
"""Of one chunk that is kept inflated: four million strings of any length. A larger one is inflated for each slice."""
_USUAL_BYTES = 2**20
"""What every version of the library keeps inflated without being asked."""
_SLOTS = 521


@dataclass(frozen=True, slots=True)
class Held:
    """A dataset that is read along its first axis.

    Attributes:
        seen: Where chunks begin that were looked at.
    """

    dataset: h5py.Dataset
    seen: set[tuple[int, ...]] = field(default_factory=set)

    @classmethod
    def of(cls, dataset: h5py.Dataset, most_bytes: int = MOST_BYTES) -> Held:
        """Take a dataset over from who opened it, with room for a chunk of so many bytes at most."""
        return cls(with_room_for_a_chunk(dataset, most_bytes))

    def __call__(self, start: int = 0, stop: int | None = None, name: str | None = None) -> Any:  # noqa: ANN401  # as h5py
        """Values ``start`` to ``stop``; of one field, where there are fields.

        Raises:
            UnsafeFileError: A chunk would grow far beyond what is declared.
            TruncatedFileError: A chunk is stored as more than it can be.
        """
        return sliced(self.dataset, start, stop, name, self.seen)


def with_room_for_a_chunk(dataset: h5py.Dataset, most_bytes: int = MOST_BYTES) -> h5py.Dataset:
    """The same dataset, with room for one chunk, inflated; ``dataset`` itself may be closed."""
    if dataset.chunks is None:
        return dataset
    size_bytes = prod(dataset.chunks) * stored_bytes(dataset.id.get_type())
    return with_room(dataset, size_bytes, _SLOTS) if _USUAL_BYTES < size_bytes <= most_bytes else dataset


def with_room(dataset: h5py.Dataset, size_bytes: int, slots: int) -> h5py.Dataset:
    """The same dataset, opened with room for so many bytes of inflated chunks; ``dataset`` itself is closed.

    One that anybody still holds open would keep the room that it has: the library does not say so.
    """
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(slots, size_bytes, 1.0)
    file, name = dataset.file, h5py.h5i.get_name(dataset.id)
    dataset.id.close()
    return h5py.Dataset(h5py.h5d.open(file.id, name, access))
