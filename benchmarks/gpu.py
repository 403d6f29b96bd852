"""What a GPU does with the cells that it is given: ``python -m benchmarks.gpu [MiB]``, JSON.

Blocks of 256 made-up cells with 500 values each, for a model of 98 labels and 6,639 genes whose arithmetic is float32.
Pinned memory of MiB a batch (the engine's own without it). Median of five turns, after one to warm up:

- ``blocks``: block by block, as on a CPU, each waited for;
- ``stream``: as a task does it, which holds the three below in parallel;
- ``fill``: only the host's part, blocks into pinned memory;
- ``copy``: only the copies, both ways; ``compute``: only the computing, of what is on the device already.

``utilisation`` is compute over stream: 1 where the device never waits. ``memory`` is what a batch took of the device's,
and what is reckoned with.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from jobs.engine.annotator import Annotator, BlockScores
from jobs.engine.batches import PINNED_BYTES, Gathering, batch_limit, device_bytes
from jobs.engine.buffers import BufferSet
from jobs.engine.device import choose_device, describe_device
from jobs.engine.lanes import CudaLanes
from jobs.engine.streaming import Stream
from shared.bundles.card import Activation, Features, Label, Log1p, Normalise, Standardise, Training
from shared.bundles.kinds import LinearCard
from shared.domain.errors import DeviceUnavailableError
from shared.domain.geometry import BLOCK_ROWS, Rows
from shared.domain.plan import Accelerator

TURNS = 5
N_BLOCKS = 400
N_LABELS, N_FEATURES, VALUES_PER_CELL = 98, 6_639, 500
N_MADE = 16
"""Blocks that differ; the rest are these again."""


@dataclass(frozen=True)
class Block:
    """As ``shared.h5ad`` projects them."""

    rows: Rows
    indptr: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    total_n: npt.NDArray[np.float64]
    n_genes_n: npt.NDArray[np.int32]
    note_n: npt.NDArray[np.uint8]


def main(pinned_bytes: int) -> None:
    """Measure, and print."""
    try:
        device = choose_device(Accelerator.GPU)
    except DeviceUnavailableError as error:
        sys.exit(f"{error.message} {error.hint}")
    annotator, blocks = _annotator(device), _blocks()
    lanes = CudaLanes(device)
    limit = min(pinned_bytes // 8, batch_limit(lanes.free_bytes(), annotator.value_bytes))
    batches = _batches(blocks, limit)
    sets = [_filled(annotator, lanes, batch) for batch in batches]
    torch.cuda.synchronize()
    memory = _memory(annotator, lanes, limit, blocks)
    seconds = {
        "blocks": _median(lambda: _through(map(annotator.annotate, blocks))),
        "stream": _median(lambda: _through(Stream(annotator, lanes, limit).scores(blocks))),
        "fill": _median(lambda: _refilled(sets, batches)),
        "copy": _median(lambda: _copied(sets)),
        "compute": _median(lambda: _computed(sets)),
    }
    n_cells = N_BLOCKS * BLOCK_ROWS
    told = {
        "device": describe_device(device),
        "arithmetic": str(annotator.arithmetic),
        "cells": n_cells,
        "batches": len(batches),
        "pinned_bytes": pinned_bytes,
        "seconds": {name: round(taken, 5) for name, taken in seconds.items()},
        "cells_per_s": {name: round(n_cells / taken) for name, taken in seconds.items()},
        "utilisation": round(seconds["compute"] / seconds["stream"], 3),
        "memory": memory,
    }
    print(json.dumps(told, indent=1))


def _median(act: Callable[[], None]) -> float:
    taken = []
    for _ in range(TURNS + 1):
        torch.cuda.synchronize()
        began_s = time.perf_counter()
        with torch.inference_mode():
            act()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - began_s)
    return statistics.median(taken[1:])


def _through(scores: Iterable[BlockScores]) -> None:
    for _ in scores:
        pass


def _refilled(sets: Sequence[BufferSet], batches: Sequence[Sequence[Block]]) -> None:
    for one, batch in zip(sets, batches, strict=True):
        one.fill(batch)


def _copied(sets: Sequence[BufferSet]) -> None:
    # On one stream: what the two directions gain from each other is in ``stream``.
    for one in sets:
        one.copy_in()
        one.copy_out()


def _computed(sets: Sequence[BufferSet]) -> None:
    for one in sets:
        one.compute()


@torch.inference_mode()
def _filled(annotator: Annotator, lanes: CudaLanes, batch: Sequence[Block]) -> BufferSet:
    made = BufferSet(annotator, lanes)
    made.fill(batch)
    made.copy_in()
    made.compute()
    made.copy_out()
    return made


def _memory(annotator: Annotator, lanes: CudaLanes, limit: int, blocks: Sequence[Block]) -> dict[str, int]:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    _through(Stream(annotator, lanes, limit).scores(blocks))
    return {
        "taken_bytes": torch.cuda.max_memory_allocated() - before,
        "reckoned_bytes": limit * device_bytes(annotator.value_bytes),
    }


def _batches(blocks: Sequence[Block], limit: int) -> list[Sequence[Block]]:
    gathering = Gathering(blocks, N_LABELS)
    ends = [0]
    while batch := gathering.take(limit):
        ends.append(ends[-1] + len(batch))
    return [blocks[first:last] for first, last in pairwise(ends)]


def _annotator(device: torch.device) -> Annotator:
    random = np.random.default_rng(0)
    card = LinearCard(
        name="made-up",
        version="1.0.0",
        features=Features(symbol=tuple(f"GENE{number}" for number in range(N_FEATURES))),
        labels=tuple(Label(name=f"cell {number}") for number in range(N_LABELS)),
        preprocessing=(Normalise(target_sum=1e4), Log1p(), Standardise(clip_max=10.0)),
        activation=Activation.SIGMOID,
        training=Training(method="made for a benchmark"),
    )
    arrays = {
        "coef": random.normal(0, 0.001, (N_LABELS, N_FEATURES)),
        "intercept": random.normal(0, 1, N_LABELS),
        "mean": random.uniform(0.1, 2, N_FEATURES),
        "std": random.uniform(0.5, 1.5, N_FEATURES),
    }
    weights = {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}
    return Annotator(card, weights, np.arange(N_FEATURES, dtype=np.int32), device)


def _blocks() -> list[Block]:
    random = np.random.default_rng(1)
    made = [_block(random) for _ in range(N_MADE)]
    rows = Rows(0, N_BLOCKS * BLOCK_ROWS).blocks()
    return [
        Block(block, one.indptr, one.feature, one.value, one.total_n, one.n_genes_n, one.note_n)
        for block, one in ((block, made[number % N_MADE]) for number, block in enumerate(rows))
    ]


def _block(random: np.random.Generator) -> Block:
    lengths = random.poisson(VALUES_PER_CELL, BLOCK_ROWS)
    indptr = np.cumsum([0, *lengths], dtype=np.int32)
    feature = np.concatenate([np.sort(random.choice(N_FEATURES, size, replace=False)) for size in lengths])
    value = random.geometric(0.5, int(indptr[-1])).astype(np.float32)
    total_n = 4 * np.add.reduceat(value, indptr[:-1]).astype(np.float64)  # a quarter of a cell's counts is the model's
    notes_n = np.zeros(BLOCK_ROWS, np.uint8)
    rows, counted = Rows(0, BLOCK_ROWS), lengths.astype(np.int32)
    return Block(rows, indptr, feature.astype(np.int32), value, total_n, counted, notes_n)


if __name__ == "__main__":
    main(int(sys.argv[1]) << 20 if len(sys.argv) > 1 else PINNED_BYTES)
