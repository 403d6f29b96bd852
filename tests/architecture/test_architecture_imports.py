"""Importing a function's entry point stays light: no torch, no anndata, no HDF5."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "anndata", "pandas", "scanpy", "sklearn", "h5py", "pyarrow")


@pytest.mark.parametrize("name", ["ingest", "dispatch", "status", "reconcile"])
def test_a_function_starts_without_the_heavy_libraries(name: str) -> None:
    code = f"import sys, functions.{name}.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    code = f"import sys, cli.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_who_keeps_no_objects_loads_no_client_of_cloud_storage() -> None:
    code = (
        "import sys; from functions.dispatch.dependencies import dispatch_service; dispatch_service(); "
        "print('google.cloud.firestore' in sys.modules, 'google.cloud.storage' in sys.modules)"
    )
    emulator = {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:1", "CELLDROP_BACKEND": "gcp", "CELLDROP_PROJECT": "p"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **emulator}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True False"


def test_a_map_of_a_files_own_embedding_needs_no_scikit_learn() -> None:
    code = """
import sys, numpy as np
from jobs.inference.merge.sample import MapSample
from jobs.inference.report.layouts import lay_out
from shared.h5ad.read.embedding import Coordinates
row_n = np.arange(30)
sample = MapSample(row_n, ["a"] * 30, row_n, np.ones(30, np.float32), np.ones((30, 2), np.float32), row_n >= 0)
own = Coordinates("X_umap", np.arange(60, dtype=np.float32).reshape(30, 2))
print(lay_out(sample, lambda: own).own, "sklearn" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["X_umap", "False"]


def test_who_only_merges_is_spared_torch_and_scikit_learn() -> None:
    code = (
        "import sys, jobs.inference.main, jobs.inference.task.results; print(*{'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
