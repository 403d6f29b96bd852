"""What scanpy's reader and CellTypist do with one file after another: benchmarks/peers_on_cases.py asks.

Run by the python of .venv-oracle, never by ours. ``train H5AD CARD.json OUT.pkl`` makes a model of sorted populations;
``serve MODEL.pkl`` answers a line of JSON with a line of JSON until its input ends.
"""

from __future__ import annotations

import csv
import gzip
import importlib
import json
import logging
import os
import re
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

LABELS = "sorted_population"
TOTAL, TOLERANCE = 10_000, 1
"""What CellTypist itself holds the expm1 of a cell against."""
WORD_CHARACTERS = 160


class Warned(logging.Handler):
    """What CellTypist's own log warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.words.append(_first_line(record.getMessage()))


def train(h5ad: str, card: str, pkl: str) -> None:
    """CellTypist's logistic regression, with its own defaults, on the genes of a model card of ours."""
    scanpy, celltypist = importlib.import_module("scanpy"), importlib.import_module("celltypist")
    cells = scanpy.read_h5ad(h5ad)
    _normalise(cells)
    cells = cells[:, cells.var_names.isin(json.loads(Path(card).read_text())["features"]["symbol"])].copy()
    model = celltypist.train(cells, labels=LABELS, check_expression=False, feature_selection=False, n_jobs=2)
    model.write(pkl)


def read(file: str, _pkl: str) -> tuple[Any, None]:
    """The file as scanpy reads it: Cell Ranger's .h5 by the reader for that, all else as AnnData."""
    scanpy = importlib.import_module("scanpy")
    return (scanpy.read_10x_h5 if file.lower().endswith(".h5") else scanpy.read_h5ad)(file), None


def as_it_is(file: str, pkl: str) -> tuple[Any, Any]:
    """The file given to ``celltypist.annotate`` as it was read."""
    cells, _ = read(file, pkl)
    return cells, importlib.import_module("celltypist").annotate(cells, model=pkl)


def by_the_tutorial(file: str, pkl: str) -> tuple[Any, Any]:
    """Normalised first where X is not log1p of 10,000 a cell by the tutorial's check, and not negative."""
    cells, _ = read(file, pkl)
    if not _is_log1p_of_10000(cells.X) and cells.X.min() >= 0:
        _normalise(cells)
    return cells, importlib.import_module("celltypist").annotate(cells, model=pkl)


WAYS: dict[str, Callable[[str, str], tuple[Any, Any]]] = {
    way.__name__: way for way in (read, as_it_is, by_the_tutorial)
}


def serve(pkl: str) -> None:
    """Answer requests: ``{"way", "file", "labels"}``, where the labels go to a folder as celldrop's table does."""
    answers, sys.stdout = sys.stdout, sys.stderr
    importlib.import_module("celltypist")  # which silences Python's warnings for its users: they see its log alone
    names = ("celltypist", "scanpy", "anndata", "scikit-learn")
    print(json.dumps({name: version(name) for name in names}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), pkl)), file=answers, flush=True)


def _answer(asked: dict[str, str], pkl: str) -> dict[str, Any]:
    log, warned = logging.getLogger("celltypist.logger"), Warned()
    log.addHandler(warned)
    try:
        with warnings.catch_warnings(record=True) as seen:
            _, found = WAYS[asked["way"]](asked["file"], pkl)
        if found is not None:
            _write(Path(asked["labels"]), found.predicted_labels["predicted_labels"])
    except Exception as error:  # noqa: BLE001  # whatever a user would meet
        return {"error": type(error).__name__, "said": _first_line(str(error)), "words": []}
    finally:
        log.removeHandler(warned)
    return {"error": "", "said": "", "words": warned.words + [_first_line(str(one.message)) for one in seen]}


def _write(folder: Path, labels: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "annotations.csv.gz", "wt", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("cell_id", "label"), *enumerate(labels.astype(str))])


def _is_log1p_of_10000(values: Any) -> bool:
    values = values.astype(np.float64)
    with np.errstate(over="ignore"):
        linear = np.expm1(values) if isinstance(values, np.ndarray) else values.expm1()
    return bool(np.all(np.abs(np.asarray(linear.sum(axis=1)).ravel() - TOTAL) <= TOLERANCE))


def _normalise(cells: Any) -> None:
    scanpy = importlib.import_module("scanpy")
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)


def _first_line(message: str) -> str:
    lines = message.strip().splitlines()
    return re.sub(r"^[^\x00-\x7f]+\s*", "", lines[0])[:WORD_CHARACTERS] if lines else ""


def _no_network(*_: object, **__: object) -> None:
    msg = "no host is reached"
    raise OSError(msg)


if __name__ == "__main__":
    socket.socket.connect = _no_network  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"CELLTYPIST_FOLDER": home, "MPLCONFIGDIR": home, "NUMBA_CACHE_DIR": home}
        if sys.argv[1] == train.__name__:
            train(*sys.argv[2:])
        else:
            serve(*sys.argv[2:])
