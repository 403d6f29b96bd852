"""How time and cost of one file grow with its cells, by the planner: ``python -m benchmarks.growth [--per-cell N]``.

Nothing is measured here: every figure is the planner's, from ``shared.domain.rates`` and ``shared.domain.prices``. Its
table stands in docs/explanation/scale.md, and is to be printed anew when one of the two changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

from shared.domain.plan import CostHints, Fleet, Forecast, Objective, Workload, forecast
from shared.settings import Backend, load_settings

SIZES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
BYTES_PER_VALUE = 2.35
"""Of a file of anndata's own writing: 526 MB for 224M stored values."""
LINEAR = CostHints(flops_per_cell=2 * 6_639 * 98, weights_bytes=4 * 6_639 * 98)
"""A model of 98 labels and 6,639 genes."""
HEAD = (
    "cells",
    "file",
    "objective",
    "on",
    "tasks",
    "start",
    "computing",
    "merging",
    "together",
    "machines",
    "requests",
    "USD",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--per-cell", type=int, default=2_240, help="stored values a cell")
    parser.add_argument("--max-tasks", type=int, help="other than the setting's default")
    asked = parser.parse_args(arguments)
    fleet = load_settings(backend=Backend.GCP, gpu_job="", _env_file=None).fleet
    print(table(asked.per_cell, replace(fleet, max_tasks=asked.max_tasks or fleet.max_tasks)))


def table(per_cell: int, fleet: Fleet) -> str:
    """A row for each size and objective."""
    lines = [HEAD, ["---:"] * len(HEAD), *_rows(per_cell, fleet)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def work_of(n_cells: int, per_cell: int) -> Workload:
    """A file as users have them."""
    nnz = n_cells * per_cell
    return Workload(n_cells, nnz, round(nnz * BYTES_PER_VALUE))


def _rows(per_cell: int, fleet: Fleet) -> Iterator[list[str]]:
    for n_cells in SIZES:
        for objective in Objective:
            work = work_of(n_cells, per_cell)
            found = forecast(work, LINEAR, fleet, objective=objective)
            yield [f"{n_cells:,}", _size(work.size_bytes), str(objective), *_figures(found)]


def _figures(found: Forecast) -> list[str]:
    seconds = [found.start_s, found.compute_s, found.merge_s, found.seconds]
    usd = [found.compute_usd, found.operations_usd, found.usd]
    return [
        str(found.accelerator),
        f"{found.n_tasks:,}",
        *(_time(one) for one in seconds),
        *("" if one is None else f"{one:,.4f}" for one in usd),
    ]


def _time(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.2f} GB"


if __name__ == "__main__":
    main()
