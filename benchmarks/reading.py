"""The loop of a task against its floor, and from a bucket against a file: ``python -m benchmarks.reading [FOLDER]``.

100,000 cells with 224 million stored values and a model of 98 labels x 6,639 genes, all in one process that has loaded
everything. What stands still is inflating the same chunks by the same library, in as many threads as there are cores,
and throwing them away. The loop reads, inflates, projects and scores; the store answers at once, as a file does, or
after 20 ms a request. Five turns, in turns, after one that is not counted. The file and the model are made in FOLDER
(a temporary one without it) and kept there for the next time.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import deflate
import h5py
import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.annotation import model_for
from benchmarks.processes import machine
from jobs.engine.annotator import Annotator, CellBlock
from jobs.engine.device import one_thread
from shared.adapters.local.blobs import DirectoryBlobStore
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.bundles.stored import parse_card
from shared.domain.geometry import task_rows
from shared.domain.verdict import MatrixChoice
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.judge.matrices import choose
from shared.h5ad.names.genes import map_genes
from shared.h5ad.read.rows import open_matrix
from shared.h5ad.source import BlobSource
from tests.fakes.counted import CountedBlobStore
from tests.pipeline.large_files import kept_large

LATENCY_S = 0.02
TURNS = 5
N_CELLS = 100_000


@dataclass(frozen=True)
class Taken:
    """What one turn took; requests and bytes where they were counted."""

    seconds: float
    cpu_s: float
    requests: int = 0
    megabytes: float = 0.0


@dataclass(frozen=True)
class Loop:
    """One file and one model, ready."""

    store: CountedBlobStore
    source: BlobSource
    choice: MatrixChoice
    annotator: Annotator
    features: np.ndarray[tuple[int], np.dtype[np.int32]]

    def run(self, tasks: int, index: int, latency_s: float, *, score: bool = True) -> None:
        """All blocks of one task."""
        self.store.requests, self.store.latency_s = 0, latency_s
        self.store.log.clear()
        rows = task_rows(self.choice.n_cells, tasks, index)
        then = self.annotator.annotate if score else _none
        with one_thread(), open_matrix(self.source, self.choice) as matrix:
            for _ in matrix.projected(rows, self.features, then):
                pass


def main(folder: Path) -> None:
    """Measure, and print a line a case."""
    file = kept_large(folder, N_CELLS)
    loop = _loop(file, model_for(file, folder))
    chunks = _chunks(file)
    gc.freeze()  # As a task does.
    cases: dict[str, Callable[[], None]] = {
        "inflating alone": lambda: _inflate(chunks),
        "the loop": lambda: loop.run(1, 0, 0.0),
        "  without scoring": lambda: loop.run(1, 0, 0.0, score=False),
        "the loop, 20 ms a request": lambda: loop.run(1, 0, LATENCY_S),
        "task 3 of 7": lambda: loop.run(7, 3, 0.0),
        "task 3 of 7, 20 ms": lambda: loop.run(7, 3, LATENCY_S),
    }
    turns = [{name: _taken(loop, case) for name, case in cases.items()} for _ in range(TURNS + 1)][1:]
    still = statistics.median(turn["inflating alone"].seconds for turn in turns)
    print(json.dumps(machine()))
    print(f"{'':<27}{'requests':>9}{'MB':>8}{'median s':>10}{'CPU s':>8}{'ratio':>8}")
    for name in cases:
        seconds, cpu_s = (statistics.median(getattr(turn[name], of) for turn in turns) for of in ("seconds", "cpu_s"))
        one = turns[0][name]
        print(f"{name:<27}{one.requests:>9}{one.megabytes:>8.1f}{seconds:>10.2f}{cpu_s:>8.2f}{seconds / still:>8.2f}")


def _none(_block: CellBlock) -> None:
    """Nothing is made of it."""


def _taken(loop: Loop, case: Callable[[], None]) -> Taken:
    loop.store.requests = 0
    loop.store.log.clear()
    began, began_cpu = time.perf_counter(), time.process_time()
    case()
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    return Taken(seconds, cpu_s, loop.store.requests, loop.store.bytes_read / 1e6)


def _loop(file: Path, bundle: Path) -> Loop:
    store = CountedBlobStore(DirectoryBlobStore({"b": file.parent}, frozenset({"b"})), 0)
    info = store.stat("b", file.name)
    source = BlobSource(store, info.ref, info.size_bytes)
    choice = choose(inspect(source).candidates, "X").choice
    assert choice is not None
    card = parse_card((bundle / CARD_NAME).read_bytes(), where=str(bundle))
    with h5py.File(file) as opened:
        features = np.array(map_genes(list(opened["var/_index"].asstr()[:]), card.features.symbol), np.int32)
    weights = load_file(bundle / WEIGHTS_NAME)
    return Loop(store, source, choice, Annotator(card, weights, features, torch.device("cpu")), features)


def _chunks(file: Path) -> list[tuple[bytes, int]]:
    """The stored chunks of the matrix, and how long each is inflated."""
    found: list[tuple[int, int, int]] = []
    with h5py.File(file) as opened, file.open("rb") as raw:
        for name in ("X/data", "X/indices"):
            size = opened[name].chunks[0] * opened[name].dtype.itemsize
            opened[name].id.chunk_iter(lambda one, size=size: found.append((one.byte_offset, one.size, size)))
        return [(os.pread(raw.fileno(), length, offset), size) for offset, length, size in found]


def _inflate(chunks: list[tuple[bytes, int]]) -> None:
    cores = len(os.sched_getaffinity(0))

    def some(first: int) -> None:
        for data, size in chunks[first::cores]:
            deflate.zlib_decompress(data, size)

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(some, range(cores)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
