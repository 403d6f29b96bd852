"""The page for workflow engines: its three steps, typed as they stand there, give the pipeline's bytes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.domain.outputs import reproducible
from tests.pipeline.few_cells import few_cells

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "run-in-a-workflow-engine.md").read_text()


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.fixture
def desk(data_dir: Path, tmp_path: Path) -> Path:
    """A folder with a file of three blocks, a bundle, and this tree's own `celldrop` in bin."""
    few_cells(data_dir, 600).write_h5ad(tmp_path / "sample.h5ad")
    shutil.copytree(ROOT / "models" / "pbmc-sorted-765" / "1.0.0", tmp_path / "bundle")
    command = tmp_path / "bin" / "celldrop"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m cli.main "$@"\n')
    command.chmod(0o755)
    return tmp_path


def typed(script: str, desk: Path) -> None:
    env = {**os.environ, "PATH": f"{desk / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", script], cwd=desk, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.exhaustive  # Six commands of a minute; tests/pipeline and tests/cromwell have the same steps.
def test_the_three_steps_give_the_bytes_of_the_shorter_way(desk: Path) -> None:
    text = section("Three steps")
    (steps,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    (shorter,) = re.findall(r"shorter way: `(celldrop run [^`]*)`", text)
    typed(steps, desk)
    typed(shorter.replace("--out results", "--out shorter"), desk)
    for name in reproducible():
        assert (desk / "results" / name).read_bytes() == (desk / "shorter" / "sample" / name).read_bytes(), name


def test_the_jobs_that_kubectl_is_told_of_are_those_of_the_manifest() -> None:
    manifest = (ROOT / "deploy" / "kubernetes" / "job.yaml").read_text()
    told = set(re.findall(r"job[ /](celldrop-\w+)", section("Kubernetes")))
    assert told == set(re.findall(r"name: (celldrop-\w+)", manifest))
