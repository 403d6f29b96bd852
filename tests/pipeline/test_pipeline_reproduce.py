"""`celldrop reproduce`: the same file, model and options give the same bytes, or what differs is said."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.domain.outputs import OUTPUTS
from tests.pipeline.conftest import SORTED, Celldrop, command_in, own_environment
from tests.pipeline.few_cells import few_cells

FIXED = {output.name for output in OUTPUTS if output.same_bytes}


@dataclass(frozen=True)
class First:
    """A result that is to be reproduced."""

    file: Path
    results: Path


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, data_dir: Path, celltypist_models: Path) -> First:
    folder = tmp_path_factory.mktemp("first")
    file = folder / "cells.h5ad"
    few_cells(data_dir, 300).write_h5ad(file)
    celldrop = command_in(own_environment(celltypist_models, folder), folder)
    sets = ("map=off", "max_error=0.1", "scores=full", "pseudobulk=on", "tasks=2")
    done = celldrop("run", file, "--json", *(word for one in sets for word in ("--set", one)), **SORTED)
    assert done.status == 0, done.stderr
    shutil.copytree(done.folder, folder / "kept")
    return First(file, folder / "kept")


def test_a_result_is_reproduced_and_nothing_is_left(celldrop: Celldrop, first: First, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = celldrop("reproduce", first.results, first.file, "--json", **SORTED)
    assert done.status == 0, done.stderr
    assert done.json["reproduced"] is True
    assert done.json["differences"] == []
    written = {path.name for path in first.results.iterdir()} - {"manifest.json"}
    assert {name for name, outcome in done.json["files"].items() if outcome == "same bytes"} == written & FIXED
    assert {name for name, outcome in done.json["files"].items() if outcome == "not compared"} == {"report.html"}
    assert list(home.iterdir()) == []


def test_what_a_killed_command_left_is_removed_and_a_home_that_cannot_be_written_is_said(
    celldrop: Celldrop, first: First, tmp_path: Path
) -> None:
    left = tmp_path / "home" / ".reproduce-1"
    left.mkdir(parents=True)
    (left / ".lock").touch()
    assert celldrop("reproduce", first.results, first.file, "--json", **SORTED).status == 0
    assert list((tmp_path / "home").iterdir()) == []
    done = celldrop("reproduce", first.results, first.file, "--json", "--out", first.file, **SORTED)
    assert (done.status, done.json["error"]["code"]) == (2, "INVALID_SETTING")


def test_other_bytes_are_named_with_what_differs(celldrop: Celldrop, first: First, tmp_path: Path) -> None:
    told = json.loads((first.results / "manifest.json").read_text())
    (table,) = [one for one in told["files"] if one["name"] == "annotations.csv.gz"]
    table["crc32c"] = "00000000"
    told["software"]["numpy"] = "1.0"
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    done = celldrop("reproduce", tmp_path / "manifest.json", first.file, **SORTED)
    assert done.status == 4
    assert "Not reproduced: annotations.csv.gz." in done.stdout
    assert "numpy: 1.0 and " in done.stdout


def test_another_model_gives_other_bytes(celldrop: Celldrop, first: First) -> None:
    done = celldrop("reproduce", first.results, first.file, "--json", "--model", "adams-45-f-0")
    assert done.status == 4
    assert done.json["files"]["annotations.parquet"] == "different"
    assert done.json["differences"][0].startswith("the model: pbmc-sorted@1.3.0 (")


def test_a_model_that_is_not_there_is_named(celldrop: Celldrop, first: First) -> None:
    done = celldrop("reproduce", first.results, first.file, "--json")
    assert (done.status, done.json["error"]["code"]) == (2, "MODEL_NOT_FOUND")
    assert "pbmc-sorted@1.3.0" in done.json["error"]["message"]


def test_another_bundle_of_that_name_is_not_taken_for_it(celldrop: Celldrop, first: First, tmp_path: Path) -> None:
    told = json.loads((first.results / "manifest.json").read_text())
    told["model"]["digest"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    done = celldrop("reproduce", tmp_path, first.file, "--json", **SORTED)
    assert (done.status, done.json["error"]["code"]) == (2, "MODEL_NOT_FOUND")
    assert "0" * 64 in done.json["error"]["message"]


@pytest.mark.parametrize("change", ["longer", "one byte"])
def test_another_file_is_refused(celldrop: Celldrop, first: First, tmp_path: Path, change: str) -> None:
    data = bytearray(first.file.read_bytes())
    data[-1] ^= 1
    other = tmp_path / "other.h5ad"
    other.write_bytes(bytes(data) + (b"more" if change == "longer" else b""))
    done = celldrop("reproduce", first.results, other, "--json", **SORTED)
    assert (done.status, done.json["error"]["code"]) == (3, "INPUT_DIFFERS")
    assert "cells.h5ad" in done.json["error"]["hint"]


def test_what_is_no_manifest_is_refused(celldrop: Celldrop, first: First, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"a": 1}')
    for path in (tmp_path / "other.json", tmp_path / "nowhere", tmp_path):
        done = celldrop("reproduce", path, first.file, "--json", **SORTED)
        assert (done.status, done.json["error"]["code"]) == (2, "NOT_A_MANIFEST"), path
    done = celldrop("reproduce", first.results, tmp_path / "gone.h5ad", "--json", **SORTED)
    assert (done.status, done.json["error"]["code"]) == (3, "INPUT_NOT_FOUND")
