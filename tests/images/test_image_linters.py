"""The Dockerfiles and shell scripts have nothing that their linters object to, where those are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.locks import ROOT

SCRIPTS = [
    *(ROOT / "docker" / name for name in ("build", "prune", "serve")),
    *(ROOT / "tools" / name for name in ("install", "install-torch", "lock-images", "peer-env", "setup")),
    ROOT / ".ci" / "run",
]


@pytest.mark.parametrize(
    ("linter", "paths"), [("hadolint", sorted((ROOT / "docker").glob("*.Dockerfile"))), ("shellcheck", SCRIPTS)]
)
def test_a_linter_is_content(linter: str, paths: list[Path]) -> None:
    found = shutil.which(linter, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"no {linter} here; pip has it as {linter}-{'bin' if linter == 'hadolint' else 'py'}")
    done = subprocess.run([found, *paths], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0
