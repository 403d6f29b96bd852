"""A task has a bound of memory: who needs more is told so, and nobody else on the machine pays for it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import scipy.sparse as sp

from shared.settings import REPOSITORY
from tests.h5ad.h5ad_files import Recipe, write_file
from tests.pipeline.conftest import Celldrop
from tests.pipeline.large_files import genes_of
from tests.pipeline.mutants import MODEL, bases

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone bounds what is allocated")

BOUND_MIB = "500"
"""A task of few cells can do with 300, most of it torch's."""
OWN_MODELS = {"CELLDROP_MODELS_DIR": str(REPOSITORY / "models"), "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Arrow's own pool reserves as much as it can get."""


def of_large_chunks(genes: Sequence[str]) -> bytes:
    """Cells of every gene, in two chunks of 185 MiB that are small as long as they are packed."""
    n_cells = 33_000
    n_values = n_cells * len(genes)
    counts = 1.0 + np.random.default_rng(0).poisson(2.0, 4 * len(genes))  # Few, so that gzip finds them soon.
    cells = [f"cell{number}" for number in range(n_cells)]
    buffer = io.BytesIO(
        write_file(sp.csr_matrix(np.zeros((n_cells, len(genes)), "f4")), Recipe(genes=genes, cells=cells))
    )
    with h5py.File(buffer, "r+") as file:
        for name in ("data", "indices", "indptr"):
            del file["X"][name]
        how = {"chunks": (n_values,), "compression": "gzip", "compression_opts": 1}
        file["X"].create_dataset("data", data=np.tile(counts, n_values // len(counts)), **how)
        file["X"].create_dataset("indices", data=np.tile(np.arange(len(genes)), n_cells), **how)
        file["X/indptr"] = np.arange(n_cells + 1) * len(genes)
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(("large", "ends"), [(False, (0, "SUCCEEDED", None)), (True, (3, "FAILED", "INPUT_TOO_LARGE"))])
def test_a_task_that_needs_more_than_it_may_take_says_so(
    celldrop: Celldrop, tmp_path: Path, *, large: bool, ends: tuple[int, str, str | None]
) -> None:
    file = tmp_path / "file.h5ad"
    file.write_bytes(of_large_chunks(genes_of(REPOSITORY / "models" / MODEL / "1.0.0")) if large else bases()["csr"])
    options = ("--json", "--set", "map=off", "--model", MODEL)
    done = celldrop("run", file, *options, CELLDROP_TASK_MEMORY_MIB=BOUND_MIB, **OWN_MODELS)
    assert (done.status, done.json["state"], done.json["code"]) == ends, done.stdout
    attempts = list((tmp_path / "home/.celldrop/logs").glob("*/*.log"))
    assert len(attempts) == 1
    if large:
        assert f"at most {BOUND_MIB} MiB" in done.json["message"]
        assert "CELLDROP_TASK_MEMORY_MIB" in done.json["hint"]


def test_the_kernel_would_end_a_task_before_its_parent(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "file.h5ad"
    file.write_bytes(bases()["csr"])
    command = [sys.executable, "-m", "cli.main", "run", str(file), "--json", "--set", "map=off", "--model", MODEL]
    with subprocess.Popen(command, env={**environment, **OWN_MODELS}, stdout=subprocess.PIPE) as process:
        found = set[int]()
        while process.poll() is None:
            found |= {_score(task) for task in psutil.Process(process.pid).children(recursive=True) if _is_task(task)}
            time.sleep(0.02)
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["state"] == "SUCCEEDED"
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert max(found) > own or own >= 800


def _is_task(process: psutil.Process) -> bool:
    try:
        return process.name() == "celldrop-task"
    except psutil.Error:
        return False


def _score(process: psutil.Process) -> int:
    try:
        return int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())
    except OSError:
        return -1000
