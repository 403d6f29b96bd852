"""Times the search for nearest reference cells against faiss's flat index, and compares both with brute force.

faiss is no dependency of the project: without it, its columns are empty. To have it, install it elsewhere::

    pip install --no-deps --target /tmp/faiss faiss-cpu
    PYTHONPATH=/tmp/faiss python -m benchmarks.neighbours
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import resource
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jobs.engine.neighbours import NearestSearch

SIZES = ((5_000, 7), (30_000, 50), (200_000, 50), (1_000_000, 50))
_COMPARED = 64
Places = npt.NDArray[np.int64]


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


def timed_faiss(reference_rd: torch.Tensor, query_nd: torch.Tensor, k: int) -> tuple[float, Places] | None:
    """Seconds and result of faiss; None where it is not installed."""
    if importlib.util.find_spec("faiss") is None:
        return None
    faiss: Any = importlib.import_module("faiss")
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(reference_rd.shape[1])
    index.add(reference_rd.numpy())
    began_s = time.perf_counter()
    _, place_nk = index.search(query_nd.float().numpy(), k)
    return time.perf_counter() - began_s, place_nk


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=512)
    parser.add_argument("--k", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    draw = torch.Generator().manual_seed(0)
    print(
        "| reference | torch, µs/cell | recall | faiss, µs/cell | recall | peak memory, MB |\n|---|---|---|---|---|---|"
    )
    for n_reference, d in SIZES:
        reference_rd = torch.randn(n_reference, d, generator=draw)
        query_nd = torch.randn(asked.cells, d, generator=draw, dtype=torch.float64)
        search = NearestSearch(reference_rd, asked.k)
        with torch.inference_mode():
            began_s = time.perf_counter()
            place_nk = search(query_nd).place_nk.numpy()
            own_s = time.perf_counter() - began_s
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        true_nk = by_brute_force(reference_rd, query_nd[:_COMPARED], asked.k)
        theirs = timed_faiss(reference_rd, query_nd, asked.k)
        words = (
            ["", ""]
            if theirs is None
            else [f"{theirs[0] / asked.cells * 1e6:,.0f}", f"{recall(theirs[1], true_nk):.4f}"]
        )
        own = [f"{own_s / asked.cells * 1e6:,.0f}", f"{recall(place_nk, true_nk):.4f}"]
        print(f"| {' | '.join([f'{n_reference:,} x {d}', *own, *words, f'{peak:,.0f}'])} |", flush=True)


if __name__ == "__main__":
    main()
