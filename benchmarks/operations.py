"""What one submission costs in units of the platforms, counted on the real code: ``python -m benchmarks.operations``.

Small files are made, of few values a cell, and go through every service, once for each number of tasks. What is counted
does not depend on this machine's speed: no heartbeat is due, and their cost is counted apart. ``--json`` prints it all
as one object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.metering import Pipeline, Units
from shared.settings import REPOSITORY
from tests.pipeline.large_files import N_GENES, genes_of, write_large

MODEL = "pbmc-sorted-765"
NAMES = [one.name for one in fields(Units)]
OF_TASKS = ("reads", "writes", "record_writes", "class_a", "deletes", "messages", "calls")
OF_BYTES = ("class_b", "bytes_read", "bytes_written")
ASKERS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Count, and print tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operations", description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[2_000, 20_000, 100_000])
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 2, 4, 7])
    parser.add_argument("--per-cell", type=int, default=32, help="stored values a cell")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        told = count(Path(folder), asked.cells, asked.tasks, asked.per_cell)
    print(json.dumps(told, indent=1) if asked.json else markdown(told))


def count(
    folder: Path, cells: Sequence[int], tasks: Sequence[int], per_cell: int, n_genes: int = N_GENES
) -> dict[str, Any]:
    """Everything that is counted, as JSON would have it."""
    files = {n_cells: _file(folder, n_cells, per_cell, n_genes) for n_cells in cells}
    whole = [_whole(folder, files[n_cells], n_cells, n_tasks) for n_cells in cells for n_tasks in tasks]
    few, many = min(cells), max(tasks)
    return {
        "whole": whole,
        "steps": _steps(folder, files[few], many),
        "steps_of": {"cells": few, "tasks": many},
        "requester_bytes": _requester_bytes(folder, files[few]),
        "fits": fits(whole),
    }


def fits(whole: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What each unit follows: tasks and their square, or tasks and input; with the largest miss of any run.

    Where the miss is large, the unit does not follow so: a small file is looked at whole by every task.
    """
    n = np.array([run["tasks"] for run in whole], float)
    megabytes = np.array([run["input_bytes"] / 1e6 for run in whole])
    ones = np.ones_like(n)
    by_tasks = {"1": ones, "tasks": n, "tasks²": n * n}
    by_bytes = {"1": ones, "tasks": n, "input MB": megabytes}
    return {
        name: _fit(by_tasks if name in OF_TASKS else by_bytes, np.array([run[name] for run in whole], float))
        for name in (*OF_TASKS, *OF_BYTES)
    }


def markdown(told: dict[str, Any]) -> str:
    """Three tables."""
    head = ["cells", "tasks", "input_bytes", *NAMES, "record_bytes", "task_bytes"]
    steps = [[name, *(f"{step[one]:,}" for one in NAMES)] for name, step in told["steps"].items()]
    follow = [[name.replace("_", " "), _formula(fit), f"{fit['miss']:,.4g}"] for name, fit in told["fits"].items()]
    of = told["steps_of"]
    return "\n\n".join(
        [
            _table(
                [one.replace("_", " ") for one in head], [[f"{run[one]:,}" for one in head] for run in told["whole"]]
            ),
            f"Steps of {of['cells']:,} cells in {of['tasks']} tasks:",
            _table(["step", *(one.replace("_", " ") for one in NAMES)], steps),
            f"A record grows by {told['requester_bytes']} bytes with each requester.",
            _table(["unit", "fitted", "largest miss"], follow),
        ]
    )


def _file(folder: Path, n_cells: int, per_cell: int, n_genes: int) -> Path:
    file = folder / f"{n_cells}.h5ad"
    genes = genes_of(REPOSITORY / f"models/{MODEL}/1.0.0")
    write_large(file, n_cells=n_cells, per_cell=per_cell, genes=genes, n_genes=n_genes)
    return file


def _whole(folder: Path, file: Path, n_cells: int, n_tasks: int) -> dict[str, Any]:
    pipeline = Pipeline(folder / f"{n_cells}-{n_tasks}", file, MODEL)
    pipeline.ingest(n_tasks)
    pipeline.dispatch()
    pipeline.compute()
    assert pipeline.record.state.final, pipeline.record
    sizes = {"record_bytes": pipeline.store.record_bytes, "task_bytes": pipeline.store.task_bytes}
    of = {"cells": n_cells, "tasks": n_tasks, "input_bytes": file.stat().st_size}
    files = {name.rpartition("/")[2]: size for name, size in pipeline.blobs.written.items() if "results/" in name}
    return {**of, **asdict(pipeline.spent()), **sizes, "results": files}


def _steps(folder: Path, file: Path, n_tasks: int) -> dict[str, dict[str, int]]:
    pipeline = Pipeline(folder / "steps", file, MODEL)
    steps = {"ingest": pipeline.step(lambda: pipeline.ingest(n_tasks))}
    steps["a start refused, and asked for again"] = pipeline.step(pipeline.refused)
    steps["dispatch"] = pipeline.step(pipeline.dispatch)
    between: dict[str, Units] = {}

    def meanwhile() -> None:
        between["a pass of reconcile meanwhile"] = pipeline.step(pipeline.sweep)
        between["a look over HTTP meanwhile"] = pipeline.step(pipeline.look)
        between["the list over HTTP meanwhile"] = pipeline.step(pipeline.browse)

    whole = pipeline.step(lambda: pipeline.compute(meanwhile))
    for one in between.values():
        whole -= one
    steps |= {"all tasks and the merge": whole, **between, "an idle pass of reconcile": pipeline.step(pipeline.sweep)}
    return {name: asdict(step) for name, step in (steps | _beats(folder, file)).items()}


def _beats(folder: Path, file: Path) -> dict[str, Units]:
    """What is more where every heartbeat, and every renewal of the finalizer's lease, is due."""
    spent = []
    for beating in (False, True):
        pipeline = Pipeline(folder / f"beating-{beating}", file, MODEL, beating=beating)
        pipeline.ingest(1)
        pipeline.dispatch()
        spent.append(pipeline.step(pipeline.compute))
    more = spent[1] - spent[0]
    return {f"{more.writes} heartbeats and renewals": more}


def _requester_bytes(folder: Path, file: Path) -> int:
    pipeline = Pipeline(folder / "askers", file, MODEL)
    pipeline.ingest(1, "8f14e45f-ceea-467f-a8d8-000000000000")
    before = pipeline.store.record_bytes
    for n in range(1, ASKERS + 1):
        pipeline.ingest(1, f"8f14e45f-ceea-467f-a8d8-{n:012}")
    return round((pipeline.store.record_bytes - before) / ASKERS)


def _fit(columns: dict[str, npt.NDArray[np.float64]], values: npt.NDArray[np.float64]) -> dict[str, float]:
    stacked = np.stack(list(columns.values()), axis=1)
    found = np.linalg.lstsq(stacked, values, rcond=None)[0]
    miss = float(np.abs(stacked @ found - values).max())
    return {**{name: round(float(one), 6) for name, one in zip(columns, found, strict=True)}, "miss": round(miss, 6)}


def _formula(fit: dict[str, float]) -> str:
    terms = {name: factor for name, factor in fit.items() if name != "miss" and factor}
    return " + ".join(f"{factor:,.4g}" if name == "1" else f"{factor:,.4g} x {name}" for name, factor in terms.items())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---:"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
