"""What a batch weighs, against the memory that is really asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.engine.annotator import Annotator
from jobs.engine.batches import N_SETS, PINNED_BYTES, batch_limit, device_bytes, weight
from jobs.engine.buffers import BufferSet
from jobs.engine.device import one_thread
from shared.bundles.card import Kind, Log1p, ModelCard, NormaliseFeatures, Standardise
from shared.h5ad.read.projected import ProjectedBlock
from tests.engine.blocks import block_of
from tests.engine.cards import make_card, make_centroid, make_encoded, make_neighbours, make_neural, make_tensors
from tests.engine.lanes import CPU, PlainLanes

N_FEATURES = 200
SHAPES = pytest.mark.parametrize(("n_labels", "mean"), [(2, 5.0), (2, 0.01), (98, 5.0), (98, 0.01), (98, 0.0)], ids=str)
"""Few and many labels, full and empty cells."""


def block(mean: float) -> ProjectedBlock:
    values = np.random.default_rng(1).poisson(mean, (256, N_FEATURES))
    return block_of(values).on(np.arange(N_FEATURES, dtype=np.int32))


def annotator(n_labels: int, scale: float | str = 0.001) -> Annotator:
    """A linear model with weights of some scale, or of expression that is scaled again, or a model of another kind."""
    card: ModelCard
    match scale:
        case Kind.CENTROID:
            card, tensors = make_centroid(n_labels, N_FEATURES, n_components=50)
        case Kind.NEIGHBOURS:
            card, tensors = make_neighbours(n_labels, N_FEATURES, n_components=50, n_reference=2_000, k=30)
        case Kind.NEURAL:
            card, tensors = make_neural(n_labels, N_FEATURES, n_hidden=64, n_latent=10)
        case Kind.ENCODED:
            card, tensors = make_encoded(n_labels, N_FEATURES, n_hidden=64, n_components=10, n_reference=2_000, k=30)
        case "rescaled":
            steps = (NormaliseFeatures(), Log1p(), Standardise())
            card, tensors = make_card(n_labels, N_FEATURES, preprocessing=steps), make_tensors(n_labels, N_FEATURES)
        case _:
            card, tensors = make_card(n_labels, N_FEATURES), make_tensors(n_labels, N_FEATURES, scale=float(scale))
    return Annotator(card, tensors, np.arange(N_FEATURES, dtype=np.int32), CPU)


@dataclass
class Counted(PlainLanes):
    """Counts the host's memory that is asked for."""

    taken_bytes: int = 0

    def host(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        self.taken_bytes += size * dtype.itemsize
        return super().host(size, dtype)


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Adds up the memory of all that torch makes, as if nothing were ever freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.seen: dict[int, torch.UntypedStorage] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple) else (made,):
            if not isinstance(tensor, torch.Tensor):
                continue  # A number, which a decision is made by.
            storage = tensor.untyped_storage()
            self.seen[storage.data_ptr()] = storage  # kept, so that no address comes twice
        return made

    @property
    def made_bytes(self) -> int:
        return sum(storage.nbytes() for storage in self.seen.values())


@SHAPES
def test_a_unit_is_eight_bytes_of_pinned_memory_doubled_at_most(n_labels: int, mean: float) -> None:
    lanes, cells = Counted(), block(mean)
    buffers = BufferSet(annotator(n_labels), lanes)
    buffers.fill([cells])
    lanes.queue(buffers)
    assert lanes.taken_bytes <= 2 * 8 * weight(cells, n_labels)


@SHAPES
@pytest.mark.parametrize(
    "scale", [0.001, 20.0, "rescaled", Kind.CENTROID, Kind.NEIGHBOURS, Kind.NEURAL, Kind.ENCODED], ids=str
)
def test_computing_takes_no_more_than_is_reckoned(n_labels: int, mean: float, scale: float | str) -> None:
    # On a CPU; what a GPU takes is measured in test_engine_gpu.
    cells, on = block(mean), annotator(n_labels, scale)
    buffers = BufferSet(on, PlainLanes())
    buffers.fill([cells])
    buffers.copy_in()
    # Allocations of other threads are not counted.
    with one_thread(), Allocations() as allocations:
        buffers.compute()
    inputs = 2 * N_SETS * 8 * (len(cells.value) + len(cells.indptr))
    scores_of_others = (N_SETS - 1) * 8 * n_labels * len(cells.rows)
    reckoned = device_bytes(on.value_bytes) * weight(cells, on.width)
    # A column that is no label, a principal component, has no buffers and takes less than it is reckoned with.
    most_too_much = 4 * on.width / n_labels if isinstance(scale, Kind) else 4
    assert reckoned / most_too_much < allocations.made_bytes + inputs + scores_of_others <= reckoned


def test_half_of_the_free_memory_is_used() -> None:
    assert batch_limit(10_000_000, 12) == 5_000_000 // device_bytes(12)


def test_a_kind_that_needs_more_for_each_value_gets_smaller_batches() -> None:
    assert device_bytes(36) == device_bytes(12) + 24
    assert batch_limit(10_000_000, 36) < batch_limit(10_000_000, 12)


def test_no_more_is_pinned_than_is_good() -> None:
    assert batch_limit(10**12, 36) * 8 == PINNED_BYTES


def test_without_memory_a_batch_is_one_block() -> None:
    assert batch_limit(0, 12) == 1
