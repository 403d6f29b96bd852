"""How tests ask CellTypist itself: in another process, with its own pinned packages, its answers kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("celltypist_oracle.py")
ENVIRONMENT = REPOSITORY / ".venv-oracle"


@dataclass(frozen=True, slots=True)
class OracleAnswer:
    """What CellTypist says: n cells by its classes, float64, and the label of each cell's group if groups voted."""

    labels: npt.NDArray[np.str_]
    classes: npt.NDArray[np.str_]
    probability: npt.NDArray[np.float64]
    decision: npt.NDArray[np.float64]
    majority: npt.NDArray[np.str_]


def ask_celltypist(h5ad: Path, pkl: Path, matrix: str = "X", over_clustering: str = "") -> OracleAnswer:
    """``celltypist.annotate`` (best match) after ``normalize_total(1e4)`` and ``log1p``.

    Args:
        matrix: ``X`` or ``layers/NAME``; with ``:lognorm`` behind it, it is taken as it is.
        over_clustering: The obs column whose groups vote (majority voting); empty for no vote. The answer leaves out
            cells without a group.
    """
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        missing("no .venv-oracle: run tools/peer-env oracle once")
    cache = ENVIRONMENT / "cache"
    cache.mkdir(exist_ok=True)
    key = hashlib.sha256()
    for path in (h5ad, pkl, SCRIPT):
        key.update(path.read_bytes())
    asked = "-".join(filter(None, (matrix.replace("/", "-").replace(":", "-"), over_clustering)))
    kept = cache / f"{key.hexdigest()[:16]}-{asked}.npz"
    if not kept.exists():
        _run(python, h5ad, pkl, [matrix, over_clustering], kept)
    with np.load(kept, allow_pickle=False) as arrays:
        return OracleAnswer(**{field.name: arrays[field.name] for field in fields(OracleAnswer)})


def _run(python: Path, h5ad: Path, pkl: Path, asked: list[str], kept: Path) -> None:
    unfinished = kept.with_suffix(f".{os.getpid()}")
    command = [str(python), "-I", str(SCRIPT), str(h5ad), str(pkl), str(unfinished), *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    unfinished.replace(kept)


def missing(what: str) -> None:
    """Skip where something is not there; fail in CI, where it has to be."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
