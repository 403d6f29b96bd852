"""What is learned from training cells recognises cells of other kinds, and calls few of their own kind unfamiliar."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from jobs.engine.familiarity import TENSORS, Watch, Watched
from jobs.modeling.design import design_of
from jobs.modeling.evaluation import evaluate
from jobs.modeling.familiarity import RARE, Learned, learn_familiarity
from jobs.modeling.gene_places import GeneList, places_of_genes
from jobs.modeling.labelled import LabelledCells, read_labelled
from jobs.modeling.lineages import BLOOD_LINEAGES
from jobs.modeling.settings import TrainingSettings
from jobs.modeling.training import train
from shared.bundles.card import Features, Label
from shared.domain.verdict import MatrixState, Species
from tests.modeling.synthetic import quick

N_GENES, N_RARE = 400, 200
"""The last genes are hardly expressed by familiar cells."""
FALSE_ALARM = 0.05


def made(n_cells: int, seed: int, *, foreign: float = 0.0, depth: float = 2_000.0) -> LabelledCells:
    """Cells of two labels; a share ``foreign`` of their molecules is of genes that familiar cells hardly express."""
    draw = np.random.default_rng(seed)
    class_n = np.arange(n_cells) % 2
    rate_ng = draw.gamma(2.0, 1.0, (1, N_GENES)).repeat(n_cells, axis=0)
    rate_ng[class_n == 0, :20] *= 6
    rate_ng[class_n == 1, 20:40] *= 6
    rate_ng[:, -N_RARE:] = 2e-6 * rate_ng[:, :-N_RARE].sum(axis=1, keepdims=True)
    rate_ng /= rate_ng.sum(axis=1, keepdims=True)
    if foreign:
        rate_ng *= 1 - foreign
        rate_ng[:, -50:] += foreign / 50
    total_n = draw.lognormal(np.log(depth), 0.3, (n_cells, 1))
    return LabelledCells(
        value_ng=sp.csr_matrix(draw.poisson(rate_ng * total_n).astype(np.float32)),
        state=MatrixState.COUNTS,
        matrix="X",
        genes=Features(symbol=tuple(f"GENE{number}" for number in range(N_GENES))),
        species=Species.HUMAN,
        class_n=class_n.astype(np.int64),
        labels=(Label(name="a"), Label(name="b")),
    )


def scores(learned: Learned, cells: LabelledCells, features: Features) -> npt.NDArray[np.float32]:
    """The unfamiliarity of cells, as inference computes it."""
    watched = Watched(
        learned.familiarity,
        learned.tensors["watched_weight"].double().numpy(),
        learned.tensors["watched_rate"].double().numpy(),
        learned.tensors["feature_rate"].double().numpy(),
    )
    watching = GeneList(features, cells.species, watched=learned.familiarity.genes)
    found = places_of_genes(cells.genes, watching)
    kept = sp.csr_matrix(cells.value_ng[:, found >= 0])
    kept.sort_indices()
    look = Watch(watched, len(features), found, as_it_is=False, counted=True).look(
        found[found >= 0][kept.indices],
        kept.data,
        kept.indptr.astype(np.int32),
        np.asarray(cells.value_ng.sum(axis=1, dtype=np.float64)).ravel(),
        np.zeros(cells.n_cells, np.uint8),
    )
    assert look.unfamiliarity_n is not None
    return look.unfamiliarity_n


FEATURES = Features(symbol=tuple(f"GENE{number}" for number in range(40)))


@pytest.fixture(scope="module")
def learned() -> Learned:
    found = learn_familiarity(made(3_000, 0), made(1_000, 1), FEATURES, FALSE_ALARM)
    assert found is not None
    return found


def share(learned: Learned, cells: LabelledCells) -> float:
    return float((scores(learned, cells, FEATURES) > learned.familiarity.threshold).mean())


def test_genes_that_no_label_expresses_are_watched(learned: Learned) -> None:
    assert learned.familiarity.genes.symbol == tuple(f"GENE{number}" for number in range(N_GENES - N_RARE, N_GENES))
    assert (learned.tensors["watched_rate"].numpy() < RARE).all()


@pytest.mark.parametrize("depth", [600, 2_000, 20_000])
def test_false_alarms_are_as_many_as_requested_at_every_depth(learned: Learned, depth: float) -> None:
    # 4,000 cells: two standard deviations are 0.7 points. A threshold from 1,000 cells has 0.7 points of its own, and
    # at another depth the tail of a few molecules has another shape.
    assert share(learned, made(4_000, 2, depth=depth)) == pytest.approx(FALSE_ALARM, abs=0.025)


@pytest.mark.parametrize("depth", [600, 2_000, 20_000])
def test_cells_with_other_genes_are_recognised_at_every_depth(learned: Learned, depth: float) -> None:
    assert share(learned, made(500, 3, foreign=0.05, depth=depth)) >= 0.99


def test_genes_that_were_removed_raise_no_alarm(learned: Learned) -> None:
    cells = made(4_000, 2)
    kept = np.ones(N_GENES, np.bool_)
    kept[:30] = False  # Of the features, which have a third of the molecules.
    fewer = replace(
        cells,
        value_ng=sp.csr_matrix(cells.value_ng[:, kept]),
        genes=Features(symbol=tuple(name for name, there in zip(cells.genes.symbol, kept, strict=True) if there)),
    )
    gone = 1 - fewer.value_ng.sum() / cells.value_ng.sum()
    assert gone > 0.2
    assert share(learned, fewer) == pytest.approx(share(learned, cells), abs=0.025)


def test_without_counts_or_enough_cells_nothing_is_learned() -> None:
    known, unseen = made(3_000, 0), made(1_000, 1)
    assert learn_familiarity(replace(known, state=MatrixState.LOG1P_CP10K), unseen, FEATURES, FALSE_ALARM) is None
    assert learn_familiarity(known, made(40, 1), FEATURES, FALSE_ALARM) is None
    assert learn_familiarity(known, unseen, known.genes, FALSE_ALARM) is None


def test_a_trained_model_has_what_was_learned_and_says_so_by_its_genes() -> None:
    model = train(made(600, 0), quick(n_genes=50, false_alarm=0.1), lambda _: None)
    familiarity = model.card.familiarity
    assert familiarity is not None
    assert familiarity.false_alarm == 0.1
    assert not set(familiarity.genes.symbol) & set(model.card.features.symbol)
    assert len(model.tensors["watched_weight"]) == len(familiarity.genes)


def test_evaluation_counts_unfamiliar_cells_by_the_file_s_label(tmp_path: Path) -> None:
    model = train(made(600, 0), quick(n_genes=50), lambda _: None)
    own, foreign = made(200, 4), made(100, 5, foreign=0.1)
    labels = ["a" if place == 0 else "b" for place in own.class_n] + ["elsewhere"] * foreign.n_cells
    cells = anndata.AnnData(
        sp.csr_matrix(sp.vstack([own.value_ng, foreign.value_ng])),
        obs=pd.DataFrame({"label": labels}, index=[f"cell{place}" for place in range(300)]),
        var=pd.DataFrame(index=[f"GENE{number}" for number in range(N_GENES)]),
    )
    cells.write_h5ad(tmp_path / "a.h5ad")
    report = evaluate(model.card, model.tensors, tmp_path / "a.h5ad", "label")
    assert report.unfamiliar is not None
    assert report.unfamiliar["elsewhere"] >= 98
    assert sum(report.unfamiliar.values()) - report.unfamiliar["elsewhere"] <= 20
    blind = model.card.model_copy(update={"familiarity": None})
    weights = {name: tensor for name, tensor in model.tensors.items() if name not in TENSORS}
    assert evaluate(blind, weights, tmp_path / "a.h5ad", "label").unfamiliar is None


# --- Real cells ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sorted_cells(data_dir: Path) -> LabelledCells:
    file = data_dir / "h5ad" / "zheng_sorted_pbmc_train.h5ad"
    return read_labelled(file, "sorted_population", ids_from="cell_type_ontology_term_id", lineages=BLOOD_LINEAGES)


@pytest.mark.slow
@pytest.mark.parametrize("left_out", [("b-cells",), ("cd56-nk",), ("cd14-monocytes",)], ids=lambda names: str(names[0]))
def test_a_lineage_that_was_left_out_is_recognised(sorted_cells: LabelledCells, left_out: tuple[str, ...]) -> None:
    names = np.array([label.name for label in sorted_cells.labels])
    out_n = np.isin(names[sorted_cells.class_n], left_out)
    fold_n = np.random.default_rng(0).integers(0, 3, sorted_cells.n_cells)
    known, unseen = sorted_cells.take((fold_n == 0) & ~out_n), sorted_cells.take((fold_n == 1) & ~out_n)
    _, class_n = np.unique(known.class_n, return_inverse=True)
    known = replace(known, class_n=class_n, labels=known.labels[:7])
    features = design_of(known, TrainingSettings(name="x", version="1", thinned_to=None)).features
    found = learn_familiarity(known, unseen, features, 0.025)
    assert found is not None
    others = sorted_cells.take(fold_n == 2)
    # Measured 2026-11: B 0.996, NK 1.000, monocytes 1.000.
    assert roc_auc_score(out_n[fold_n == 2], scores(found, others, features)) >= 0.97
