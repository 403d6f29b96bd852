"""What the cells of a model are from: read from their file, or said by the user, and found by a search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest

from jobs.modeling.joining import joined
from jobs.modeling.labelled import LabelledCells, read_labelled
from jobs.modeling.offers import offer_of_card
from jobs.modeling.specimens import Specimens
from jobs.modeling.training import train
from tests.modeling.synthetic import SMALL, quick


def read(folder: Path, **columns: object) -> LabelledCells:
    adata: anndata.AnnData = SMALL.adata()
    for name, values in columns.items():
        adata.obs[name] = values
    adata.write_h5ad(folder / "cells.h5ad")
    return read_labelled(folder / "cells.h5ad", "label")


def cycled(*names: str) -> list[str]:
    return [names[row % len(names)] for row in range(SMALL.adata().n_obs)]


def test_the_columns_of_an_atlas_are_read_the_most_frequent_first(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        tissue=cycled("lung", "blood", "blood"),
        development_stage=cycled("adult stage", "unknown"),
        assay="10x 3' v3",
        donor_id=cycled("d1", "d2", "d3", "na"),
    ).specimens
    assert (found.tissues, found.stages, found.assays) == (("blood", "lung"), ("adult stage",), ("10x 3' v3",))
    assert found.donors == {"d1", "d2", "d3"}


def test_only_cells_with_a_label_count(tmp_path: Path) -> None:
    adata = SMALL.adata()
    labelled = np.arange(adata.n_obs) % 2 == 0
    adata.obs["label"] = adata.obs["label"].astype(object).where(labelled)
    adata.obs["tissue"] = np.where(labelled, "blood", "skin")
    adata.write_h5ad(tmp_path / "cells.h5ad")
    assert read_labelled(tmp_path / "cells.h5ad", "label").specimens.tissues == ("blood",)


def test_without_such_columns_nothing_is_known(tmp_path: Path) -> None:
    assert read(tmp_path, donor_id=np.linspace(0.1, 0.9, SMALL.adata().n_obs)).specimens == Specimens()


def test_of_several_files_all_is_kept_and_a_donor_counts_once() -> None:
    one = replace(SMALL.cells(), specimens=Specimens(("blood",), (), ("v2",), frozenset({"a", "b"})))
    other = replace(SMALL.cells(), specimens=Specimens(("lung", "blood"), ("adult",), ("v2",), frozenset({"b", "c"})))
    expected = Specimens(("blood", "lung"), ("adult",), ("v2",), frozenset({"a", "b", "c"}))
    assert joined([one, other]).specimens == expected


def test_a_card_has_what_the_user_says_and_else_what_the_file_says() -> None:
    cells = replace(SMALL.cells(), specimens=Specimens(("lung",), ("adult",), (), frozenset({"a"})))
    card = train(cells, replace(quick(), specimens={"tissues": ["blood"], "n_donors": None}), lambda _: None).card
    training = card.training
    assert (training.tissues, training.stages, training.assays, training.n_donors) == (("blood",), ("adult",), (), 1)
    offer = offer_of_card(card, "models/x")
    assert offer.tissue == "blood"
    assert offer.fits([], tissue="Blood")
    assert not offer.fits([], tissue="lung")


@pytest.mark.parametrize("tissue", ["blood", "peripheral blood"])
def test_a_model_of_pbmc_is_one_of_blood(tissue: str) -> None:
    card = train(SMALL.cells(), replace(quick(), title="Human PBMC"), lambda _: None).card
    assert offer_of_card(card, "models/x").fits([], tissue=tissue)
