"""On real cells: better than a plain logistic regression, and the committed bundles are what their cards say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from jobs.modeling.evaluation import EvaluationReport, evaluate
from jobs.modeling.expression import log_normalise
from jobs.modeling.labelled import LabelledCells, read_labelled
from jobs.modeling.lineages import BLOOD_LINEAGES
from jobs.modeling.settings import TrainingSettings
from jobs.modeling.splits import at_most, hold_out
from jobs.modeling.training import train
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME, ModelCard
from shared.bundles.stored import parse_card

MODELS = Path(__file__).resolve().parents[2] / "models"
BUNDLES = ("pbmc-sorted", "pbmc-sorted-765")
SETTINGS = TrainingSettings(
    name="sorted", version="1", strengths=(0.3, 0.1), n_folds=2, n_genes=2_000, refit_on_all=False
)
QUICK = replace(SETTINGS, strengths=(0.1,), max_iterations=15)
"""One candidate, and a fit that stops early: 0.894 and 0.998 with the seed of the settings."""
PLAIN_ACCURACY = 0.8626
"""Of a plain logistic regression on the same split; the exhaustive tests fit it anew."""


@pytest.fixture(scope="module")
def sorted_cells(data_dir: Path) -> LabelledCells:
    file = data_dir / "h5ad" / "zheng_sorted_pbmc_train.h5ad"
    return read_labelled(file, "sorted_population", ids_from="cell_type_ontology_term_id", lineages=BLOOD_LINEAGES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [pytest.param(QUICK, id="quick"), pytest.param(SETTINGS, id="two candidates", marks=pytest.mark.exhaustive)],
)
def test_sorted_populations_are_told_apart_better_than_by_plain_logistic_regression(
    sorted_cells: LabelledCells, settings: TrainingSettings
) -> None:
    held_out = train(sorted_cells, settings, lambda _: None).report.held_out
    assert held_out.labels is not None
    assert held_out.lineages is not None
    # Measured 2026-11 over five seeds: 0.896 (sd 0.003) and 0.997; plain logistic regression 0.867 (sd 0.006).
    assert held_out.labels.accuracy >= 0.88
    assert held_out.lineages.accuracy >= 0.995
    assert held_out.labels.accuracy > PLAIN_ACCURACY + 0.01


@pytest.mark.exhaustive
def test_a_plain_logistic_regression_tells_so_many_apart(sorted_cells: LabelledCells) -> None:
    assert plain_accuracy(sorted_cells, SETTINGS) == pytest.approx(PLAIN_ACCURACY, abs=0.003)


def plain_accuracy(cells: LabelledCells, settings: TrainingSettings) -> float:
    """scikit-learn's defaults on log1p expression, on the split that ``train`` makes."""
    generator = np.random.default_rng(settings.seed)
    assert len(at_most(cells.class_n, settings.max_cells, generator)) == cells.n_cells
    held_n = hold_out(cells.class_n, settings.held_out_share, generator)
    expression_ng = log_normalise(cells.value_ng)
    plain = LogisticRegression(max_iter=300).fit(expression_ng[~held_n], cells.class_n[~held_n])
    return float(plain.score(expression_ng[held_n], cells.class_n[held_n]))


def committed(name: str, column: str, file: Path) -> tuple[ModelCard, EvaluationReport]:
    folder = MODELS / name / "1.0.0"
    card = parse_card((folder / CARD_NAME).read_bytes(), where=name)
    return card, evaluate(card, load_file(folder / WEIGHTS_NAME), file, column, BLOOD_LINEAGES)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_committed_bundle_says_where_it_comes_from(name: str) -> None:
    card = parse_card((MODELS / name / "1.0.0" / CARD_NAME).read_bytes(), where=name)
    assert card.licence
    assert card.citation
    assert card.training.source_sha256
    assert str(card.training.parameters["command"]).startswith("celldrop models train")
    assert all(label.ontology_id and label.lineage for label in card.labels)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_committed_bundle_knows_the_cells_it_was_trained_on(name: str, data_dir: Path) -> None:
    card, report = committed(name, "sorted_population", data_dir / "h5ad" / "zheng_sorted_pbmc_train.h5ad")
    assert report.labels is not None
    # Cells it has seen: no worse than on those it had not.
    assert report.labels.accuracy >= card.training.metrics["accuracy"]


def test_lineages_of_another_laboratory_are_recognised(data_dir: Path) -> None:
    _, report = committed("pbmc-sorted", "cell_type_seurat", data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad")
    assert report.lineages is not None
    # Measured 2026-11: 0.968 and 0.981. Most of the rest are GNLY+ cytotoxic CD8 T cells called NK: no such
    # population was sorted for training.
    assert report.lineages.accuracy >= 0.96
    assert report.lineages.balanced_accuracy >= 0.975
    assert set(report.n_left_out) == {"DC", "Platelet"}
    assert report.abstained_share < 0.1


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_types_that_only_another_data_set_has_are_recognised_in_cells_kept_out(tmp_path: Path, data_dir: Path) -> None:
    cells = anndata.read_h5ad(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad")[1::2].copy()
    names = {"DC": "Dendritic cell", "Platelet": "Platelet", "FCGR3A+ Mono": "CD16 monocyte"}
    names |= {"CD8 T": "Effector CD8 T cell", "B": "B cell", "CD14+ Mono": "CD14 monocyte", "NK": "NK cell"}
    cells.obs["known"] = cells.obs["cell_type_seurat"].astype(str).map(names)
    cells.write_h5ad(tmp_path / "kept_out.h5ad")
    folder = MODELS / "pbmc" / "1.2.0"
    card = parse_card((folder / CARD_NAME).read_bytes(), where="pbmc")
    report = evaluate(card, load_file(folder / WEIGHTS_NAME), tmp_path / "kept_out.h5ad", "known")
    assert report.labels is not None
    recall = {
        name: of.recall for name, of in zip(report.labels.names, report.labels.per_label, strict=True) if of.support
    }
    # Measured 2026-11: dendritic 16 of 18, platelets 7 of 8, CD16 monocytes 90 of 90, effector CD8 110 of 127.
    assert recall["Dendritic cell"] >= 0.65
    assert recall["Platelet"] >= 0.75
    assert recall["CD16 monocyte"] >= 0.95
    assert recall["Effector CD8 T cell"] >= 0.8
    assert min(recall[name] for name in ("B cell", "CD14 monocyte", "NK cell")) >= 0.94


def test_lineages_of_the_demo_are_recognised(data_dir: Path) -> None:
    _, report = committed("pbmc-sorted-765", "bulk_labels", data_dir / "h5ad" / "pbmc68k_reduced_v050.h5ad")
    assert report.lineages is not None
    # Measured 2026-11: 0.902 of 447; the file's own labels are correlations with the sorted populations.
    assert report.lineages.accuracy >= 0.88
    assert set(report.n_left_out) == {"CD34+", "Dendritic"}


def test_dendritic_cells_of_the_demo_are_called_so(data_dir: Path) -> None:
    folder = MODELS / "pbmc-765" / "1.0.0"
    card = parse_card((folder / CARD_NAME).read_bytes(), where="pbmc-765")
    path = data_dir / "h5ad" / "pbmc68k_reduced_v050.h5ad"
    report = evaluate(card, load_file(folder / WEIGHTS_NAME), path, "bulk_labels")
    given = dict(
        zip((label.name for label in card.labels), report.cells_tp[report.own.index("Dendritic")], strict=True)
    )
    # Measured 2026-11: 180 of 240 with scores corrected to the shares, 150 without; 62 % of all 240 express FCER1A.
    assert given["Dendritic cell"] >= 140
    assert given["CD14 monocyte"] <= 45, "the model without dendritic cells called 239 so"


def test_an_unlabelled_cell_is_not_evaluated(data_dir: Path) -> None:
    cells = read_labelled(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad", "cell_type_seurat")
    assert (cells.n_cells, cells.n_unlabelled) == (2_638, 62)
