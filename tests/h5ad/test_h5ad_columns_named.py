"""Obs columns that options name are checked before a file is accepted; columns with labels are recognised by name."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import h5py
import numpy as np
import pytest

from shared.domain.verdict import Severity
from shared.h5ad.facts import GroupingFacts
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.judge.judging import validate
from shared.h5ad.names.label_columns import recognised
from shared.h5ad.source import BytesSource
from tests.h5ad.h5ad_files import random_counts, real_file, write_file

NAMES = ["a", "b"] * 5


def source_of(**columns: object) -> BytesSource:
    buffer = io.BytesIO(write_file(random_counts(10, 30, density=0.5)))
    with h5py.File(buffer, "r+") as file:
        for name, values in columns.items():
            file[f"obs/{name}"] = values
    return BytesSource(buffer.getvalue())


SOUND = source_of(louvain=NAMES, batch=[1, 2] * 5, score=np.arange(10) / 3)


def test_a_named_column_that_groups_the_cells_is_accepted() -> None:
    assert validate(SOUND, columns={"truth": "louvain"}) == validate(SOUND)
    assert validate(SOUND, columns={"truth": "batch"}).accepted


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("leiden", "option truth=leiden: obs has no column 'leiden'"),
        ("score", r"option truth=score: obs column 'score' holds fractions \(0.333"),
    ],
)
def test_a_named_column_that_does_not_is_refused(column: str, words: str) -> None:
    verdict = validate(SOUND, columns={"truth": column})
    refusal = next(finding for finding in verdict.findings if finding.severity is Severity.REFUSAL)
    assert refusal.code == "INVALID_OPTION"
    assert re.match(words, refusal.message)
    assert "'batch', 'louvain', 'score'" in refusal.hint
    assert refusal.details == {"option": "truth", "column": column}


@pytest.mark.parametrize("option", ["truth", "samples", "clusters", "pseudobulk"])
@pytest.mark.parametrize("values", [[""] * 10, ["nan", "NA"] * 5, np.full(10, np.nan)])
def test_a_named_column_without_a_value_is_refused(values: object, option: str) -> None:
    (refusal,) = validate(source_of(donor=values), columns={option: "donor"}).refusals
    assert refusal.code == "INVALID_OPTION"
    assert refusal.message.startswith(f"option {option}=donor: obs column 'donor' has no value in any cell")


def test_cell_rangers_own_file_has_no_columns() -> None:
    verdict = validate(real_file("awkward/10x_v3_filtered_feature_bc_matrix.h5"), columns={"truth": "louvain"})
    (refusal,) = verdict.refusals
    assert refusal.code == "INVALID_OPTION"
    assert refusal.message.startswith(
        "option truth=louvain: 10x v3 files have no obs; expected a column of obs with text"
    )


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["louvain", "cell_type"], ["cell_type", "louvain"]),
        (["leiden_0.5", "Leiden", "CellType", "n_counts"], ["CellType", "Leiden", "leiden_0.5"]),
        (
            ["cell_type_ontology_term_id", "annotation", "cell_type"],
            ["cell_type", "cell_type_ontology_term_id", "annotation"],
        ),
        (["cell.type_seurat", "louvain_scanpy"], ["cell.type_seurat", "louvain_scanpy"]),
        (["celldrop_label", "batch", "x"], []),
    ],
)
def test_columns_with_labels_are_recognised_in_a_fixed_order(names: list[str], found: list[str]) -> None:
    assert recognised(names) == found


def test_the_first_recognised_column_that_groups_the_cells_is_found_with_its_ids() -> None:
    source = source_of(
        louvain=NAMES, annotation=NAMES, cell_type=np.arange(10) / 3, annotation_ontology_term_id=["CL:0000236"] * 10
    )
    first, second = inspect(source, plan=Plan(recognise=True)).groupings
    assert (first.column, second) == (
        "cell_type",
        GroupingFacts("annotation", "", "annotation_ontology_term_id", recognised=True),
    )
    assert "holds fractions" in first.problem
    assert inspect(source).groupings == ()


def beyond(obs: h5py.Group) -> None:
    group = obs.create_group("louvain")
    group["codes"], group["categories"] = np.full(10, 7, np.int8), np.array([b"B", b"T"])


def two_dimensions(obs: h5py.Group) -> None:
    obs["louvain"] = np.zeros((10, 2))


@pytest.mark.parametrize("spoil", [beyond, two_dimensions])
def test_a_damaged_column_is_told_and_the_file_is_not_refused(spoil: Callable[[h5py.Group], None]) -> None:
    buffer = io.BytesIO(source_of().data)
    with h5py.File(buffer, "r+") as file:
        spoil(file["obs"])
    source = BytesSource(buffer.getvalue())
    (found,) = inspect(source, plan=Plan(merge=True, recognise=True)).groupings
    assert "'louvain'" in found.problem
    assert validate(source).accepted
    assert validate(source, columns={"truth": "louvain"}).refusals[0].code == "INVALID_OPTION"
