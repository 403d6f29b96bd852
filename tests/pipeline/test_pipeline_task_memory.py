"""A task has a bound of memory: who needs more is told so, and nobody else on the machine pays for it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import h5py
import psutil
import pytest

from shared.settings import REPOSITORY
from tests.pipeline.conftest import Celldrop
from tests.pipeline.mutants import MODEL, bases

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone bounds what is allocated")

BOUND_MIB = "560"
"""A task of few cells takes 430, most of it torch's."""
OWN_MODELS = {"CELLDROP_MODELS_DIR": str(REPOSITORY / "models")}


def of_large_chunks(plain: bytes) -> bytes:
    """The same values, in chunks that take 192 MiB each once they are inflated."""
    buffer = io.BytesIO(plain)
    with h5py.File(buffer, "r+") as file:
        for name in ("X/data", "X/indices"):
            values = file[name][()]
            del file[name]
            file.create_dataset(name, data=values, maxshape=(None,), chunks=(48 * 2**20,), compression="gzip")
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(("large", "ends"), [(False, (0, "SUCCEEDED", None)), (True, (3, "FAILED", "INPUT_TOO_LARGE"))])
def test_a_task_that_needs_more_than_it_may_take_says_so(
    celldrop: Celldrop, tmp_path: Path, *, large: bool, ends: tuple[int, str, str | None]
) -> None:
    file = tmp_path / "file.h5ad"
    file.write_bytes(of_large_chunks(bases()["csr"]) if large else bases()["csr"])
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
    command = [sys.executable, "-m", "cli.main", "run", str(file), "--json", "--model", MODEL]
    with subprocess.Popen(command, env={**environment, **OWN_MODELS}, stdout=subprocess.PIPE) as process:
        found = set[int]()
        while process.poll() is None:
            found |= {_score(task) for task in psutil.Process(process.pid).children() if _is_task(task)}
            time.sleep(0.02)
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["state"] == "SUCCEEDED"
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert max(found) > own or own >= 800


def _is_task(process: psutil.Process) -> bool:
    try:
        return "jobs.inference.main" in process.cmdline()
    except psutil.Error:
        return False


def _score(process: psutil.Process) -> int:
    try:
        return int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())
    except OSError:
        return -1000
