"""Taking a large file in reads a few megabytes of it, in a few requests, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.settings import REPOSITORY
from tests.pipeline.large_files import kept_large
from tests.pipeline.memory import Tree

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Size:
    """A file, and what may be asked of the blob store to take it in, looking up object and model included."""

    n_cells: int
    least_bytes: int
    bytes_read: int
    requests: int


HALF_A_GIGABYTE = Size(100_000, 500_000_000, 5_500_000, 90)
FIVE_GIGABYTES = Size(1_000_000, 5_000_000_000, 8_000_000, 130)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for file in tmp_path.iterdir():  # pytest keeps the folders of three sessions.
        file.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(HALF_A_GIGABYTE, id="half a gigabyte"),
        pytest.param(FIVE_GIGABYTES, id="five gigabytes", marks=pytest.mark.exhaustive),
    ],
)
def test_taking_a_large_file_in_reads_little_of_it(size: Size, folder: Path) -> None:
    file = kept_large(folder, size.n_cells)
    assert file.stat().st_size > size.least_bytes
    command = [sys.executable, "-m", "tests.pipeline.ingest_once", str(file)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        tree = Tree(process)
        output, _ = process.communicate()
        tree.stop()
    told = json.loads(output)
    assert told["state"] == "QUEUED"
    assert told["requests"] <= size.requests
    assert told["bytes_read"] <= size.bytes_read
    assert tree.peak_bytes < 256 * MEBIBYTE
