from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import warm
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
    status, output, errors = warm.command([*map(str, command)], env, home)
    assert status == 0, errors
    return Path(json.loads(output)["results"])
