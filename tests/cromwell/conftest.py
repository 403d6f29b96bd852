from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.containers import INFERENCE, Containers, containers, require_image
from tests.images.locks import ROOT

FILE = "h5ad/pbmc3k_raw_labelled.h5ad"
BUNDLE = ROOT / "models" / "pbmc-sorted-765" / "1.0.0"


@pytest.fixture(scope="session")
def engine() -> Iterator[Containers]:
    """Containers of the inference image, if it is of this tree."""
    require_image(INFERENCE)
    with containers() as made:
        yield made


@pytest.fixture(scope="session")
def pipelines_own(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of `celldrop run`, without any container."""
    home = tmp_path_factory.mktemp("embedded")
    command = ["run", data_dir / FILE, "--model", BUNDLE, "--set", "scores=full", "--out", home, "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "cli.main", *map(str, command)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["results"])
