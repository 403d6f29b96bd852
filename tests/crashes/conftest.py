"""A small real file, and homes in memory where a sync costs nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.settings import REPOSITORY
from tests.crashes.homes import Home, make_home
from tests.pipeline.large_files import genes_of, write_large

pytest.register_assert_rewrite("tests.crashes.ends")

N_CELLS = 400
"""Two blocks, and so two tasks."""
N_GENES = 4_000
"""Those of the model and some more: of a thousand processes each reads every name."""

Homes = Callable[..., Home]


@pytest.fixture(scope="session")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("counts") / "counts.h5ad"
    genes = genes_of(REPOSITORY / "models/pbmc-sorted/1.0.0")
    write_large(file, n_cells=N_CELLS, per_cell=300, genes=genes, n_genes=N_GENES)
    return file


@pytest.fixture
def homes(counts: Path) -> Iterator[Homes]:
    """Makes homes; when the test is over, nothing of them is left, no process either."""
    with some_homes(counts) as make:
        yield make


@contextmanager
def some_homes(file: Path) -> Iterator[Homes]:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="celldrop-", dir=memory if memory.is_dir() else None))
    made: list[Home] = []

    def make(*orders: str, **values: object) -> Home:
        made.append(make_home(folder / str(len(made)), file, orders, **values))
        return made[-1]

    try:
        yield make
    finally:
        for home in made:
            home.clear()
        shutil.rmtree(folder)
