"""Racers, and folders where a sync costs nothing."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contracts.racing import N_RACERS


@pytest.fixture(scope="session")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(N_RACERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="session")
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(N_RACERS) as pool:
        yield pool


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty folder in memory where there is such a thing: thousands of small writes, each synced."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="celldrop-", dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder)
