"""Times the search for nearest reference cells against faiss's flat index, and compares both with brute force.

faiss is no dependency of the project: without it, its columns are empty. To have it, install it elsewhere::

    pip install --no-deps --target /tmp/faiss faiss-cpu
    PYTHONPATH=/tmp/faiss python -m benchmarks.neighbours --threads 1

Both search in turns, several times. faiss needs some thousand cells at once to be fast.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jobs.engine.neighbours import NearestSearch

SIZES = ((5_000, 7), (30_000, 50), (100_000, 50), (200_000, 50), (1_000_000, 50))
_COMPARED = 64
Places = npt.NDArray[np.int64]
Search = Callable[[], Places]


def by_brute_force(reference_rd: torch.Tensor, query_nd: torch.Tensor, k: int) -> Places:
    """The nearest cells by all distances in float64, one cell after the other."""
    found = []
    for query_d in query_nd:
        parts = [(part_rd.double() - query_d).square().sum(dim=1) for part_rd in reference_rd.chunk(64)]
        found.append(np.argsort(torch.cat(parts).numpy(), kind="stable")[:k])
    return np.stack(found)


def recall(found_nk: Places, true_nk: Places) -> float:
    """The share of the true neighbours that were found."""
    pairs = zip(found_nk.tolist(), true_nk.tolist(), strict=False)
    return float(np.mean([len(set(found) & set(true)) / len(true) for found, true in pairs]))


@dataclass
class Timed:
    """How long a search took for a cell each time, and what it found."""

    search: Search
    taken_us: list[float] = field(default_factory=list)
    place_nk: Places | None = None

    def once(self) -> None:
        """Search once more."""
        began_s = time.perf_counter()
        self.place_nk = self.search()
        self.taken_us.append((time.perf_counter() - began_s) / len(self.place_nk) * 1e6)

    def words(self, true_nk: Places) -> list[str]:
        """The columns: least and median time, and recall."""
        assert self.place_nk is not None
        times = f"{min(self.taken_us):,.0f}", f"{statistics.median(self.taken_us):,.0f}"
        return [*times, f"{recall(self.place_nk, true_nk):.4f}"]


def own_search(reference_rd: torch.Tensor, query_nd: torch.Tensor, k: int, *, compiled: bool) -> Search:
    """The project's own."""
    search = NearestSearch(reference_rd, k, compiled=compiled)

    def run() -> Places:
        with torch.inference_mode():
            found: Places = search(query_nd).place_nk.numpy()
        return found

    return run


def faiss_search(reference_rd: torch.Tensor, query_nd: torch.Tensor, k: int) -> Search | None:
    """That of faiss; None where it is not installed."""
    if importlib.util.find_spec("faiss") is None:
        return None
    faiss: Any = importlib.import_module("faiss")
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(reference_rd.shape[1])
    index.add(reference_rd.numpy())
    query32_nd = query_nd.float().numpy()

    def run() -> Places:
        found: Places = index.search(query32_nd, k)[1]
        return found

    return run


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--largest", type=int, default=200_000, help="of the references that are searched")
    parser.add_argument("--without-compiled-loops", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    draw = torch.Generator().manual_seed(0)
    print("Times in µs/cell: the least and the median.\n")
    print(
        "| reference | celldrop | median | recall | faiss | median | recall | ratio | of medians | peak memory, MB |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    for n_reference, d in SIZES:
        if n_reference > asked.largest:
            continue
        reference_rd = torch.randn(n_reference, d, generator=draw)
        query_nd = torch.randn(asked.cells, d, generator=draw, dtype=torch.float64)
        compiled = not asked.without_compiled_loops
        own = Timed(own_search(reference_rd, query_nd, asked.k, compiled=compiled))
        own.once()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        theirs = faiss_search(reference_rd, query_nd, asked.k)
        both = [own, Timed(theirs)] if theirs else [own]
        for _ in range(asked.repetitions):
            for one in both:
                one.once()
        true_nk = by_brute_force(reference_rd, query_nd[:_COMPARED], asked.k)
        words = [word for one in both for word in one.words(true_nk)] + [""] * (3 * (2 - len(both)))
        ratios = ["", ""]
        if len(both) > 1:
            times = [[summary(one.taken_us) for one in both] for summary in (min, statistics.median)]
            ratios = [f"{ours / other:.2f}" for ours, other in times]
        print(f"| {' | '.join([f'{n_reference:,} x {d}', *words, *ratios, f'{peak:,.0f}'])} |", flush=True)


if __name__ == "__main__":
    main()
