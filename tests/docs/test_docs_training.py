"""The page on training: its commands, typed as they stand there, do what it says and print what it shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pytest

from tests.pipeline.conftest import ROOT, Celldrop, Ended, command_in, own_environment
from tests.pipeline.few_cells import IN_CELLS

PAGE = (ROOT / "docs" / "how-to" / "train-a-model.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ZHENG, PBMC = "h5ad/zheng_sorted_pbmc_train.h5ad", "h5ad/pbmc3k_raw_labelled.h5ad"
CL = "reference/cl-simple-2026-03-26.obo"
FEW_TRAINED, FEW_OTHERS = 16, 4
REFUSED = 3
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_FARTHEST = 0.005
"""A figure of another machine, whose sums are rounded otherwise."""


@dataclass(frozen=True)
class Desk:
    """A folder with the files that the page is about."""

    folder: Path
    celldrop: Celldrop

    @classmethod
    def of(cls, folder: Path, data_dir: Path, *, few: bool = False) -> Desk:
        """With all cells and genes, or with a share of the cells, and the genes that three of them have."""
        for name, file, step in (("labelled.h5ad", ZHENG, FEW_TRAINED), ("other.h5ad", PBMC, FEW_OTHERS)):
            if few:
                cells = anndata.read_h5ad(data_dir / file)[::step]
                cells[:, np.diff(cells.X.tocsc().indptr) >= IN_CELLS].copy().write_h5ad(folder / name)
            else:
                (folder / name).symlink_to(data_dir / file)
        (folder / "cl.obo").symlink_to(data_dir / CL)
        names, lineages = (text for kind, text in BLOCKS if kind == "csv")
        (folder / "names.csv").write_text(names)
        (folder / "lineages.csv").write_text(lineages)
        return cls(folder, command_in(own_environment(folder / "models", folder), folder))

    def typed(self, line: str) -> Ended:
        """Run one command; one with the comment that it is refused is."""
        words = shlex.split(line, comments=True)
        assert words[0] == "celldrop"
        ended = self.celldrop(*words[1:])
        assert ended.status == (REFUSED if "# refused" in line else 0), f"{line}\n{ended.stderr}"
        return ended

    def run(self, code: str) -> None:
        """Run a block of Python, in the folder."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            exec(compile(code, "train-a-model.md", "exec"), {})


def commands(script: str) -> Iterator[str]:
    """The lines of a block, those joined that end with a backslash."""
    yield from script.replace("\\\n", " ").splitlines()


def follows(shown: str, told: str, *, near: bool) -> bool:
    """Whether a line is as it is shown; figures may differ a little, or, if not ``near``, be any."""
    plain = [" ".join(_NUMBER.sub("#", line).split()) for line in (shown, told)]
    if plain[0] != plain[1]:
        return False
    figures = [[one.replace(",", "") for one in _NUMBER.findall(line)] for line in (shown, told)]
    return not near or all(
        abs(float(one) - float(other)) <= (_FARTHEST if "." in one else 0.0)
        for one, other in zip(*figures, strict=True)
    )


def walk(desk: Desk, *, near: bool) -> None:
    """Run all blocks of the page in their order, and compare what is shown with what the last one printed."""
    printed: list[str] = []
    for kind, text in BLOCKS:
        if kind == "python":
            desk.run(text)
        elif kind == "sh":
            ended = [desk.typed(line) for line in commands(text) if not line.startswith("gcloud ")]
            printed = [line for one in ended for line in (one.stdout + one.stderr).splitlines()] or printed
        elif kind == "text":
            rest = iter(printed)
            for shown in text.splitlines():
                assert any(follows(shown, told, near=near) for told in rest), f"{shown}\n--\n" + "\n".join(printed)
    # As a user who has none of these models.
    elsewhere = {"CELLDROP_MODELS_DIR": str(desk.folder / "none")}
    installed = desk.celldrop("models", "add", desk.folder / "models" / "lab-blood" / "1", "--yes", **elsewhere)
    assert installed.status == 0, installed.stderr
    assert (desk.folder / "added" / "lab-blood" / "1" / "model.json").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("runs")
def test_the_commands_of_the_page_work_on_fewer_cells(data_dir: Path, tmp_path: Path) -> None:
    walk(Desk.of(tmp_path, data_dir, few=True), near=False)


@pytest.mark.exhaustive  # Two trainings of minutes.
@pytest.mark.timeout(3600)
@pytest.mark.xdist_group("runs")
def test_the_commands_of_the_page_print_what_it_shows(data_dir: Path, tmp_path: Path) -> None:
    walk(Desk.of(tmp_path, data_dir), near=True)


def test_a_figure_that_is_shown_wrong_would_be_noticed() -> None:
    told = "labels       1,929  0.9072    0.9120             0.9107  "
    assert follows("labels 1,929 0.9072 0.9120 0.9106", told, near=True)
    assert not follows("labels 1,928 0.9072 0.9120 0.9107", told, near=True)
    assert not follows("labels 1,929 0.8072 0.9120 0.9107", told, near=True)
    assert follows("labels 1 0.5 0.6 0.7", told, near=False)
    assert not follows("lineages 1,929 0.9072 0.9120 0.9107", told, near=True)


def test_every_option_that_the_page_promises_to_explain_is_in_its_table() -> None:
    for option in ("--names", "--lineages", "--ids-from", "--keep", "--ontology", "--kind neighbours"):
        assert re.search(rf"^\| `{option}\b", PAGE, re.MULTILINE), option
