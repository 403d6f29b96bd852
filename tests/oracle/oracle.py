"""How tests ask CellTypist itself: in another process, with its own pinned packages, its answers kept."""

from __future__ import annotations

import fcntl
import hashlib
import json
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


@dataclass(frozen=True, slots=True)
class Question:
    """What CellTypist is asked: a file's matrix, a model, and the obs column whose groups vote; none if empty."""

    h5ad: Path
    pkl: Path
    matrix: str = "X"
    over_clustering: str = ""

    @property
    def kept(self) -> Path:
        """Where the answer is, once it is known."""
        key = hashlib.sha256()
        for path in (self.h5ad, self.pkl, SCRIPT):
            key.update(path.read_bytes())
        asked = "-".join(filter(None, (self.matrix.replace("/", "-").replace(":", "-"), self.over_clustering)))
        return ENVIRONMENT / "cache" / f"{key.hexdigest()[:16]}-{asked}.npz"


def usual(data: Path) -> list[Question]:
    """What every run of the tests asks: answered at once, as the packages take longer to load than to answer."""
    blood, cas = data / "h5ad" / "pbmc3k_raw_labelled.h5ad", data / "h5ad" / "scimilarity_test.h5ad"
    lung, other = data / "models" / "adams_45_f_0.pkl", data / "models" / "popv_celltypist.pkl"
    return [
        Question(blood, lung),
        Question(blood, lung, over_clustering="cell_type_seurat"),
        Question(blood, other),
        Question(cas, lung, "layers/counts"),
        Question(cas, lung, "X:lognorm"),
    ]


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
    question = Question(h5ad, pkl, matrix, over_clustering)
    question.kept.parent.mkdir(exist_ok=True)
    with (question.kept.parent / "asking").open("w") as asking:
        fcntl.flock(asking, fcntl.LOCK_EX)  # Another worker may be asking.
        if not question.kept.exists():
            others = [one for one in usual(h5ad.parents[1]) if one != question and not one.kept.exists()]
            _run(python, [question, *others])
    with np.load(question.kept, allow_pickle=False) as arrays:
        return OracleAnswer(**{field.name: arrays[field.name] for field in fields(OracleAnswer)})


def _run(python: Path, questions: list[Question]) -> None:
    kept = [one.kept for one in questions]
    unfinished = [path.with_suffix(f".{os.getpid()}") for path in kept]
    asked = [
        json.dumps([str(one.h5ad), str(one.pkl), str(out), one.matrix, one.over_clustering])
        for one, out in zip(questions, unfinished, strict=True)
    ]
    command = [str(python), "-I", str(SCRIPT), *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for out, path in zip(unfinished, kept, strict=True):
        out.replace(path)


def missing(what: str) -> None:
    """Skip where something is not there; fail in CI, where it has to be."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
