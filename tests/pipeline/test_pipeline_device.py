"""What a submission is computed on: told where there is one, and refused where it needs a GPU that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jobs.modeling.bundles import write_bundle
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.bundles.stored import parse_card
from tests.pipeline.conftest import ROOT, Celldrop
from tests.pipeline.few_cells import few_cells

pytestmark = pytest.mark.slow

BUNDLE = ROOT / "models" / "pbmc-sorted-765" / "1.0.0"


@pytest.fixture
def cells(data_dir: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    few_cells(data_dir, 300).write_h5ad(path)
    return path


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_it_fails_with_a_code_and_is_not_computed_on_the_cpu(celldrop: Celldrop, cells: Path, tmp_path: Path) -> None:
    card = parse_card((BUNDLE / CARD_NAME).read_bytes(), where=str(BUNDLE))
    hungry = write_bundle(tmp_path, card.model_copy(update={"needs_gpu": True}), load_file(BUNDLE / WEIGHTS_NAME))
    model = tmp_path / hungry.name / hungry.version
    ended = celldrop("run", cells, "--model", model, "--json", "--set", "map=off")
    assert ended.status != 0
    assert (ended.json["state"], ended.json["code"]) == ("FAILED", "GPU_UNAVAILABLE")
    assert "no CUDA device" in ended.json["message"]
    (log,) = (tmp_path / "home/.celldrop/logs").rglob("*.log")
    assert "code=GPU_UNAVAILABLE" in log.read_text()


def test_the_manifest_and_the_report_tell_what_computed(celldrop: Celldrop, cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = celldrop("run", cells, "--model", BUNDLE, "--out", out, "--set", "map=off")
    assert ended.status == 0
    (report,) = out.rglob("report.html")
    manifest = json.loads(report.with_name("manifest.json").read_text())
    (device,) = manifest["devices"]
    assert (device["device"], device["torch"]) == ("cpu", torch.__version__)
    assert "torch" not in manifest["software"]
    assert f"torch {torch.__version__}, on {device['name']}" in report.read_text()
