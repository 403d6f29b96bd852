"""One file in three steps, as workflow engines run it: the same bytes as in one, and nothing mixed up."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.bundles.stored import card_bytes, digest_of, parse_card
from shared.domain.options import Options, Scores
from shared.domain.outputs import EVIDENCE, reproducible
from tests.pipeline.conftest import ROOT, Celldrop, command_in, own_environment
from tests.pipeline.few_cells import few_cells

pytestmark = pytest.mark.xdist_group("shards")  # What its tests share is made once.


@pytest.fixture(scope="module")
def cells(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six hundred cells: three blocks, the last of them short."""
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    few_cells(data_dir, 600).write_h5ad(path)
    return path


@pytest.fixture
def model(celltypist_models: Path) -> Path:
    return celltypist_models / "adams-45-f-0"


@pytest.fixture(scope="module")
def planned(cells: Path, celltypist_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan of them in three shards."""
    folder = tmp_path_factory.mktemp("planned")
    celldrop = command_in(own_environment(celltypist_models, folder), folder)
    options = ("--set", "tasks=3", "--set", "scores=full", "--set", "map=off")
    model = celltypist_models / "adams-45-f-0"
    done = celldrop("shards", "plan", cells, "--model", model, *options, "--json")
    assert (done.status, done.json["shards"], done.json["cells"]) == (0, 3, 600), done.stderr
    return folder / "plan.json"


@pytest.fixture
def plan(planned: Path, tmp_path: Path) -> Path:
    """A copy of it, where a command looks for one."""
    return Path(shutil.copy(planned, tmp_path / "plan.json"))


@pytest.fixture(scope="module")
def parts(planned: Path, cells: Path, celltypist_models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The three shards' parts."""
    folder = tmp_path_factory.mktemp("parts")
    celldrop = command_in(own_environment(celltypist_models, folder), folder)
    found = []
    for index in range(3):
        # An engine brings the file to another folder each time.
        file = folder / f"call-{index}" / cells.name
        file.parent.mkdir()
        shutil.copyfile(cells, file)
        found.append(file.parent / "part.arrow")
        which = ("--index", index, "--model", celltypist_models / "adams-45-f-0", "--plan", planned)
        done = celldrop("shards", "annotate", file, *which, "--part", found[-1])
        assert done.status == 0, done.stderr
    return found


@pytest.mark.slow
def test_three_shards_gathered_are_the_bytes_of_one_run(
    plan: Path, parts: list[Path], celldrop: Celldrop, cells: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "gathered"
    # Whoever only gathers needs no torch.
    no_torch = tmp_path / "no-torch"
    no_torch.mkdir()
    (no_torch / "torch.py").write_text("raise ImportError('torch is not here')")
    gathered = celldrop(
        *("shards", "gather", cells, *reversed(parts), "--model", model, "--out", out, "--json"),
        *("--plan", plan),
        PYTHONPATH=f"{no_torch}{os.pathsep}{ROOT}",
    )
    assert (gathered.status, gathered.json["summary"]["n_cells"]) == (0, 600), gathered.stderr
    ran = celldrop("run", cells, "--model", model, "--json", "--set", "scores=full", "--set", "map=off")
    for name in reproducible(Options(scores=Scores.FULL)):
        assert (out / name).read_bytes() == (ran.folder / name).read_bytes(), name
    assert (out / "report.html").is_file()


@pytest.mark.usefixtures("plan")
def test_nothing_that_annotates_or_writes_loads_pandas(
    parts: list[Path], celldrop: Celldrop, cells: Path, model: Path, tmp_path: Path
) -> None:
    said = {"PYTHONPROFILEIMPORTTIME": "1"}
    which = ("--index", 0, "--model", model, "--part", tmp_path / "part.arrow")
    for step in (("annotate", cells, *which), ("gather", cells, *parts, "--model", model, "--out", tmp_path / "out")):
        done = celldrop("shards", *step, **said)
        assert done.status == 0
        imported = set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE))
        assert {"pyarrow", "pydantic"} <= imported
        assert "pandas" not in imported, "it costs 0.4 s and 50 MB, and is needed for nothing"


BROKEN = """
import jobs.inference.merge.evidence as module


def evidence_of(*_):
    raise ZeroDivisionError("no such luck")


module.evidence_of = evidence_of
"""


@pytest.mark.usefixtures("plan")
def test_evidence_that_cannot_be_computed_is_left_out_and_the_rest_is_written(
    parts: list[Path], celldrop: Celldrop, cells: Path, model: Path, tmp_path: Path
) -> None:
    out, broken = tmp_path / "out", tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(BROKEN)
    given = (*parts, "--model", model, "--out", out, "--json")
    done = celldrop("shards", "gather", cells, *given, PYTHONPATH=f"{broken}{os.pathsep}{ROOT}")
    assert done.status == 0, done.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    (reason,) = (one["reason"] for one in manifest["missing"] if one["name"] == EVIDENCE.name)
    assert "ZeroDivisionError: no such luck" in reason
    page = (out / "report.html").read_text()
    assert "the genes that spoke for them" not in page
    assert reason in page
    assert {"annotated.h5ad", "report.html", "scores.parquet"} <= {one["name"] for one in manifest["files"]}
    assert not (out / EVIDENCE.name).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("plan")
def test_a_part_that_was_cut_off_is_refused(
    parts: list[Path], celldrop: Celldrop, cells: Path, model: Path, tmp_path: Path
) -> None:
    cut_off, _receipt = (shutil.copy(path, tmp_path) for path in sorted(parts[1].parent.glob("part.arrow*")))
    os.truncate(cut_off, parts[1].stat().st_size - 1000)
    given = (parts[0], cut_off, parts[2])
    done = celldrop("shards", "gather", cells, *given, "--model", model, "--out", tmp_path / "out", "--json")
    assert (done.status, done.json["code"]) == (3, "FILE_DAMAGED")
    assert "shards annotate" in done.json["hint"]


@pytest.mark.slow
@pytest.mark.usefixtures("plan")
def test_a_part_that_is_missing_or_given_twice_is_named(
    parts: list[Path], celldrop: Celldrop, cells: Path, model: Path, tmp_path: Path
) -> None:
    for given, status, found in (
        ([parts[0], parts[2]], 3, "shard 1 (cells 257 to 512) has no part"),
        ([*parts, parts[2]], 2, "2 parts of shard 2"),
    ):
        out = ("--out", tmp_path / "out", "--json")
        done = celldrop("shards", "gather", cells, *given, "--model", model, *out)
        assert done.status == status
        assert found in done.json["message"]


@pytest.mark.slow
def test_a_part_of_another_plan_is_refused(
    plan: Path, celldrop: Celldrop, cells: Path, model: Path, celltypist_models: Path, tmp_path: Path
) -> None:
    other, part = celltypist_models / "adams-cov-f-0", tmp_path / "0.arrow"
    options = ("--set", "tasks=3", "--set", "scores=full", "--set", "map=off")
    planned = celldrop("shards", "plan", cells, "--model", other, *options, "--plan", "other.json")
    assert planned.status == 0, planned.stderr
    of_other = ("--model", other, "--plan", "other.json")
    annotated = celldrop("shards", "annotate", cells, "--index", 0, "--part", part, *of_other)
    assert annotated.status == 0, annotated.stderr
    done = celldrop(
        "shards", "gather", cells, part, "--model", model, "--plan", plan, "--out", tmp_path / "x", "--json"
    )
    assert (done.status, done.json["code"]) == (2, "INVALID_OPTION")
    assert "another plan" in done.json["message"]


def test_a_model_whose_weights_cannot_be_read_is_refused(
    celldrop: Celldrop, cells: Path, model: Path, tmp_path: Path
) -> None:
    broken, part = tmp_path / "broken" / "1", tmp_path / "0.arrow"
    shutil.copytree(model / "1", broken)
    (broken / WEIGHTS_NAME).write_bytes(b"no weights")
    card = parse_card((broken / CARD_NAME).read_bytes(), where="broken")
    digest = digest_of(card_bytes(card), hashlib.sha256(b"no weights").hexdigest())
    (broken / CARD_NAME).write_bytes(card_bytes(card.model_copy(update={"digest": digest})))
    planned = celldrop("shards", "plan", cells, "--model", broken)
    assert planned.status == 0, planned.stderr
    done = celldrop("shards", "annotate", cells, "--index", 0, "--model", broken, "--part", part, "--json")
    assert (done.status, done.json["code"]) == (3, "INVALID_BUNDLE")
    assert "cannot be read" in done.json["message"]
    assert not part.exists()


def test_a_shard_that_the_plan_has_not_is_refused(
    plan: Path, celldrop: Celldrop, cells: Path, model: Path, tmp_path: Path
) -> None:
    done = celldrop("shards", "annotate", cells, "--index", 3, "--model", model, "--part", tmp_path / "x", "--json")
    assert (done.status, done.json["code"]) == (2, "INVALID_OPTION")
    assert plan.is_file()


def test_another_file_than_the_planned_one_is_refused(
    plan: Path, celldrop: Celldrop, cells: Path, data_dir: Path, model: Path, tmp_path: Path
) -> None:
    same_size = tmp_path / "same_size.h5ad"
    content = bytearray(cells.read_bytes())
    content[-1] ^= 1
    same_size.write_bytes(content)
    for other in (data_dir / "h5ad/cas_test_adata.h5ad", same_size):
        done = celldrop("shards", "annotate", other, "--index", 0, "--model", model, "--part", tmp_path / "x", "--json")
        assert (done.status, done.json["code"]) == (3, "INPUT_CHANGED")
    assert plan.is_file()


def test_another_model_than_the_planned_one_is_refused(
    plan: Path, celldrop: Celldrop, cells: Path, celltypist_models: Path, tmp_path: Path
) -> None:
    other = celltypist_models / "adams-cov-f-0"
    done = celldrop("shards", "annotate", cells, "--index", 0, "--model", other, "--part", tmp_path / "x", "--json")
    assert done.json["code"] == "INVALID_BUNDLE"
    assert plan.is_file()


def test_a_file_that_cannot_be_used_is_refused_when_it_is_planned(
    celldrop: Celldrop, data_dir: Path, model: Path, tmp_path: Path
) -> None:
    done = celldrop("shards", "plan", data_dir / "awkward/soma_x-none.h5ad", "--model", model, "--json")
    assert (done.status, done.json["code"]) == (3, "NO_USABLE_MATRIX")
    assert not (tmp_path / "plan.json").exists()
