"""The real command line on real files, each test in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.modeling.bundles import write_bundle
from jobs.modeling.celltypist import import_celltypist
from tests import warm

ROOT = Path(__file__).resolve().parents[2]
SORTED = {"CELLDROP_MODELS_DIR": str(ROOT / "models"), "CELLDROP_DEFAULT_MODEL": "pbmc-sorted"}
"""Settings with which a command uses the shipped models, and pbmc-sorted by default."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    @property
    def folder(self) -> Path:
        """The committed results."""
        return Path(self.json["results"])


Celldrop = Callable[..., Ended]


@pytest.fixture(scope="session")
def celltypist_models(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A folder of bundles imported from two CellTypist models."""
    folder = tmp_path_factory.mktemp("models")
    for stem in ("adams_45_f_0", "adams_COV_f_0"):
        name = stem.lower().replace("_", "-")
        write_bundle(folder, *import_celltypist(data_dir / "models" / f"{stem}.pkl", name=name, version="1"))
    return folder


@pytest.fixture
def environment(celltypist_models: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a command: its own home and models, nothing of the caller's."""
    return own_environment(celltypist_models, tmp_path)


def own_environment(models: Path, folder: Path) -> dict[str, str]:
    """The environment of a command whose home lies in ``folder``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CELLDROP_")}
    own = {
        "CELLDROP_HOME": str(folder / "home"),
        "CELLDROP_MODELS_DIR": str(models),
        "CELLDROP_ADDED_MODELS_DIR": str(folder / "added"),
        "CELLDROP_CATALOGUES": "",
        "CELLDROP_DEFAULT_MODEL": "adams-45-f-0",
        "PYTHONPATH": str(ROOT),
    }
    return {**kept, **own}


@pytest.fixture
def celldrop(environment: dict[str, str], tmp_path: Path) -> Celldrop:
    """Runs the command line in a process of its own, which is forked with its libraries loaded."""
    return command_in(environment, tmp_path)


def command_in(environment: dict[str, str], folder: Path) -> Celldrop:
    """What runs the command line in that folder."""

    def run(*arguments: object, **variables: str) -> Ended:
        words, env = [*map(str, arguments)], {**environment, **variables}
        # Those tell an interpreter how to start, and a forked process does not start one.
        if variables.keys() & {"PYTHONPATH", "PYTHONPROFILEIMPORTTIME"}:
            command = [sys.executable, "-m", "cli.main", *words]
            done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
            return Ended(done.returncode, done.stdout, done.stderr)
        return Ended(*warm.command(words, env, folder))

    return run


@pytest.fixture(scope="session")
def blood(celltypist_models: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """PBMC 3k, annotated once with pbmc-sorted for all tests that read what came out (xdist group "blood")."""
    folder = tmp_path_factory.mktemp("blood")
    command = command_in(own_environment(celltypist_models, folder), folder)
    done = command("run", data_dir / "h5ad/pbmc3k_raw_labelled.h5ad", "--json", **SORTED)
    assert done.status == 0, done.stderr
    return done
