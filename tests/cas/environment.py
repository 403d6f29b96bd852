"""How tests run the client of Cellarium CAS: in another process, with its own pinned packages."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("cas_client.py")
PYTHON = REPOSITORY / ".venv-cas" / "bin" / "python"
INSISTING = "CELLDROP_REQUIRE_CAS_CLIENT"

Answer = Mapping[str, npt.NDArray[Any]]


def read_by_client(folder: Path, column: str, out: Path) -> Answer:
    """What the client makes of a folder of results; its arrays by name, see the script."""
    run_by_client([str(SCRIPT), str(folder), str(out), column], folder)
    with np.load(out, allow_pickle=False) as arrays:
        return dict(arrays)


def run_by_client(arguments: list[str], folder: Path) -> str:
    """Run the python of the client's environment in a folder, and give what it prints."""
    if not PYTHON.exists():
        missing = "no .venv-cas: run tools/peer-env cas once"
        if os.environ.get(INSISTING):
            pytest.fail(missing)
        pytest.skip(missing)
    command = [str(PYTHON), "-I", "-W", "ignore", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
