"""How time and cost of one file grow with its cells, by the planner: ``python -m benchmarks.growth [--per-cell N]``.

Nothing is measured here: every figure is the planner's, from ``shared.domain.rates`` and ``shared.domain.prices``. Its
table stands in docs/explanation/scale.md, and is to be printed anew when one of the two changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from shared.domain.plan import CostHints, Fleet, Forecast, Objective, Workload, forecast
from shared.settings import Backend, Settings, load_settings

SIZES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
TASKS = (1, 4, 10, 20)
PER_CELL = 2_240
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
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--per-cell", type=int, default=PER_CELL, help="stored values a cell")
    parser.add_argument("--max-tasks", type=int, help="other than the setting's default")
    asked = parser.parse_args(arguments)
    print(tables(asked.per_cell, asked.max_tasks))


def tables(per_cell: int = PER_CELL, max_tasks: int | None = None) -> str:
    """All three, for a deployment with every setting at its default and no GPU."""
    settings = load_settings(backend=Backend.GCP, gpu_job="", _env_file=None)
    fleet = replace(settings.fleet, max_tasks=max_tasks or settings.max_tasks)
    return "\n\n".join([table(per_cell, fleet), shares(per_cell, fleet), ends(per_cell, settings)])


def table(per_cell: int, fleet: Fleet) -> str:
    """A row for each size and objective."""
    return _table(HEAD, _rows(per_cell, fleet))


def shares(per_cell: int, fleet: Fleet) -> str:
    """Seconds from the start to the commit with more and more tasks: what is not shared remains."""
    head = ["cells", *(f"{n} task{'s' * (n > 1)}" for n in TASKS), "of it merging"]
    return _table(head, [_shared(n_cells, per_cell, fleet) for n_cells in SIZES])


def ends(per_cell: int, settings: Settings) -> str:
    """How many cells a file may have, by each of the limits that it meets."""
    fleet, per_bytes = settings.fleet, work_of(1_000_000, per_cell).size_bytes / 1e6
    rates = fleet.rates
    merging_s = fleet.task_timeout_s - rates.import_s - rates.merge_start_s
    return _table(
        ["limit", "cells"],
        [
            [f"a merge within {fleet.task_timeout_s:,.0f} s", f"{merging_s * rates.merge_cells_per_s:,.0f}"],
            [f"a file of {settings.max_input_bytes:,} bytes", f"{settings.max_input_bytes / per_bytes:,.0f}"],
            ["`CELLDROP_MAX_CELLS`", f"{settings.max_cells:,}"],
        ],
    )


def work_of(n_cells: int, per_cell: int) -> Workload:
    """A file as users have them."""
    nnz = n_cells * per_cell
    return Workload(n_cells, nnz, round(nnz * BYTES_PER_VALUE))


def _shared(n_cells: int, per_cell: int, fleet: Fleet) -> list[str]:
    found = [forecast(work_of(n_cells, per_cell), LINEAR, fleet, tasks=n) for n in TASKS]
    return [f"{n_cells:,}", *(_time(one.seconds) for one in found), _time(found[0].merge_s)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---:"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
