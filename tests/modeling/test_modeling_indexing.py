"""An index of reference cells holds the labelled cells of its files, and is measured on cells that it does not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from jobs.modeling import indexing
from jobs.modeling.bundles import write_bundle
from jobs.modeling.evaluation import evaluate
from jobs.modeling.expression import log_normalise
from jobs.modeling.indexing import IndexedModel, IndexSettings, index
from jobs.modeling.labelled import Sample, read_labelled
from jobs.modeling.references import Reference, ReferenceFile, check_different, check_kind, read_reference
from jobs.modeling.training import TrainedModel, train
from shared.bundles.card import Kind
from shared.bundles.kinds import NeighboursCard
from shared.domain.errors import InvalidOptionError, NoGeneOverlapError, TrainingDataError
from tests.modeling.synthetic import SMALL, Population, quick

MORE = Population({"B": 200, "NK": 150, "T": 250}, seed=11)


def nothing(*_: object) -> None:
    """No progress is shown."""


def trained(path: Path, **changes: object) -> TrainedModel:
    settings = quick(kind=Kind.NEIGHBOURS, **changes)
    cells = read_labelled(path, "label", ids_from="id", sample=Sample(settings.max_cells, settings.seed))
    return train(cells, settings, nothing)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    SMALL.write(folder / "small.h5ad")
    MORE.write(folder / "more.h5ad")
    return folder


@pytest.fixture(scope="module")
def small(folder: Path) -> TrainedModel:
    return trained(folder / "small.h5ad")


def card_of(model: TrainedModel | IndexedModel) -> NeighboursCard:
    return check_kind(model.card)


def read(model: TrainedModel | IndexedModel, *paths: Path, column: str = "label") -> list[Reference]:
    return [read_reference(card_of(model), ReferenceFile(path, column)) for path in paths]


def indexed(model: TrainedModel | IndexedModel, *paths: Path, **how: bool | float) -> IndexedModel:
    return index(card_of(model), model.tensors, read(model, *paths), IndexSettings(**how), nothing)  # type: ignore[arg-type]


def rows_of(model: TrainedModel | IndexedModel) -> set[tuple[float, ...]]:
    """The coordinates and the label of each reference cell."""
    label_r = model.tensors["reference_label"][:, None]
    return set(map(tuple, torch.cat([model.tensors["reference"], label_r], dim=1).tolist()))


def expected_rows(model: TrainedModel, path: Path) -> set[tuple[float, ...]]:
    """The same of all cells of a file, by the dense formula."""
    cells, tensors = read_labelled(path, "label"), {name: one.double() for name, one in model.tensors.items()}
    x_ng = torch.from_numpy(log_normalise(cells.value_ng).toarray()).double()
    gene_f = [cells.genes.symbol.index(name) for name in model.card.features.symbol]
    z_nf = ((x_ng[:, gene_f] - tensors["mean"]) / tensors["std"]).clamp(max=10.0)
    place_nc = z_nf @ tensors["projection"].T
    return {(*map(round, row), label) for row, label in zip((place_nc * 1000).tolist(), cells.class_n, strict=True)}


def rounded(rows: set[tuple[float, ...]]) -> set[tuple[float, ...]]:
    return {(*(round(value * 1000) for value in row[:-1]), int(row[-1])) for row in rows}


def test_the_reference_is_all_labelled_cells_of_the_files(small: TrainedModel, folder: Path) -> None:
    made = indexed(small, folder / "small.h5ad", folder / "more.h5ad")
    assert made.n_reference == 780
    found = rounded(rows_of(made))
    wanted = expected_rows(small, folder / "small.h5ad") | expected_rows(small, folder / "more.h5ad")
    assert len(found ^ wanted) < 0.05 * len(wanted)  # Rounding takes a few to the next thousandth.
    shares = np.array([260, 210, 310]) / 780
    np.testing.assert_allclose(made.card.assumed_shares, shares)


def test_kept_cells_stay_first_and_no_cell_is_there_twice(small: TrainedModel, folder: Path) -> None:
    made = indexed(small, folder / "small.h5ad", folder / "more.h5ad", keep=True)
    torch.testing.assert_close(made.tensors["reference"][:180], small.tensors["reference"], rtol=0, atol=0)
    assert made.n_reference == len(rows_of(made)) == 780
    with pytest.raises(TrainingDataError, match="are in the reference of small"):
        indexed(made, folder / "more.h5ad", keep=True)


def test_metrics_are_of_cells_that_neither_coordinates_nor_votes_know(small: TrainedModel, folder: Path) -> None:
    made = indexed(small, folder / "small.h5ad", folder / "more.h5ad")
    assert made.n_held_out == 100  # Of the 600 cells that the model was not trained on.
    again = indexed(made, folder / "small.h5ad", folder / "more.h5ad")
    assert again.n_held_out == 100
    assert again.card.training.parameters["coordinates_of"] == small.card.reference
    assert made.card.training.metrics["accuracy"] > 0.95
    with pytest.raises(TrainingDataError, match="0 cells that the model was not trained on") as told:
        indexed(small, folder / "small.h5ad")
    assert "--keep" in told.value.hint


def test_wrong_labels_of_new_cells_are_measured(small: TrainedModel, folder: Path, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(folder / "more.h5ad")
    adata.obs["label"] = np.random.default_rng(0).permutation(adata.obs["label"].to_numpy())
    adata.write_h5ad(tmp_path / "wrong.h5ad")
    made = indexed(small, tmp_path / "wrong.h5ad")
    assert made.card.training.metrics["accuracy"] < 0.6
    assert made.card.temperature > small.card.temperature


def test_of_a_file_that_was_sampled_the_other_cells_are_unseen(folder: Path) -> None:
    part = trained(folder / "more.h5ad", max_cells=300)
    (one,) = read(part, folder / "more.h5ad")
    assert one.trained_m.sum() == 300
    known = rounded(rows_of(part))
    made = indexed(part, folder / "more.h5ad")
    assert len(known - rounded(rows_of(made))) < 10
    beyond = indexed(part, folder / "more.h5ad", keep=True)
    assert beyond.n_reference == 600 == len(rows_of(beyond))


def test_copies_of_a_cell_do_not_tell_its_label(small: TrainedModel, folder: Path, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(folder / "more.h5ad")
    adata.obs["label"] = np.random.default_rng(0).permutation(adata.obs["label"].to_numpy())
    adata.write_h5ad(tmp_path / "wrong.h5ad")
    shuffled = adata[np.random.default_rng(1).permutation(adata.n_obs)].copy()
    shuffled.obs_names = [f"other-{name}" for name in range(adata.n_obs)]
    shuffled.write_h5ad(tmp_path / "copy.h5ad")
    with pytest.raises(TrainingDataError, match="held-out cells are in the reference a second time"):
        indexed(small, tmp_path / "wrong.h5ad", tmp_path / "copy.h5ad")
    wrong = indexed(small, tmp_path / "wrong.h5ad")
    with pytest.raises(TrainingDataError, match="a second time"):
        indexed(wrong, tmp_path / "copy.h5ad", keep=True)
    shuffled[:150].copy().write_h5ad(tmp_path / "part.h5ad")
    some = indexed(small, tmp_path / "wrong.h5ad", tmp_path / "part.h5ad")
    assert some.n_twice > 20
    assert some.card.training.metrics["accuracy"] < 0.6
    (one,) = read(small, tmp_path / "wrong.h5ad")
    with pytest.raises(TrainingDataError, match="the same file as"):
        check_different([one, one])


def test_labels_are_found_by_name_former_name_or_id_and_others_left_out(
    small: TrainedModel, folder: Path, tmp_path: Path
) -> None:
    adata = anndata.read_h5ad(folder / "more.h5ad")
    adata.obs["mine"] = adata.obs["label"].map({"B": "B", "NK": "natural killers", "T": "alpha"}).astype("category")
    adata.write_h5ad(tmp_path / "named.h5ad")
    renamed = small.card.labels[2].model_copy(update={"name": "T cell", "submitted": "alpha", "ontology_id": None})
    card = check_kind(small.card.model_copy(update={"labels": (*small.card.labels[:2], renamed)}))
    found = read_reference(card, ReferenceFile(tmp_path / "named.h5ad", "mine", "id"))
    np.testing.assert_array_equal(np.bincount(found.class_n), [200, 150, 250])
    found = read_reference(card, ReferenceFile(tmp_path / "named.h5ad", "mine"))
    assert found.unknown == {"natural killers": 150}
    with pytest.raises(TrainingDataError, match="no cell of NK"):
        index(card, small.tensors, [found], IndexSettings(), nothing)
    kept = index(card, small.tensors, [found], IndexSettings(keep=True), nothing)
    assert kept.n_reference == 180 + 450


def test_genes_may_lie_in_another_order_and_some_may_lack(small: TrainedModel, folder: Path, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(folder / "more.h5ad")
    adata[:, ::-1].copy().write_h5ad(tmp_path / "turned.h5ad")
    straight, turned = indexed(small, folder / "more.h5ad"), indexed(small, tmp_path / "turned.h5ad")
    torch.testing.assert_close(straight.tensors["reference"], turned.tensors["reference"])
    adata[:, 3:].copy().write_h5ad(tmp_path / "fewer.h5ad")
    (fewer,) = read(small, tmp_path / "fewer.h5ad")
    assert fewer.n_genes == len(small.card.features) - 3
    assert indexed(small, tmp_path / "fewer.h5ad").card.training.metrics["accuracy"] > 0.9
    adata[:, 55:].copy().write_h5ad(tmp_path / "none.h5ad")
    with pytest.raises(NoGeneOverlapError):
        read(small, tmp_path / "none.h5ad")


def test_of_a_file_with_another_column_of_labels_no_cell_counts_as_unseen(folder: Path, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(folder / "more.h5ad")
    adata.obs["coarse"] = adata.obs["label"].astype(str).where(lambda label: label != "NK", "T")
    adata.write_h5ad(tmp_path / "two.h5ad")
    part = trained(tmp_path / "two.h5ad", max_cells=300)
    (fine,) = read(part, tmp_path / "two.h5ad")
    (coarse,) = read(part, tmp_path / "two.h5ad", column="coarse")
    assert (fine.trained_m.sum(), coarse.trained_m.sum()) == (300, 600)


@pytest.mark.parametrize("change", ["as it is", "named by genome", "few genes", "half the genes"])
def test_a_reference_cell_lies_where_the_same_cell_lies_in_a_run(change: str, folder: Path, tmp_path: Path) -> None:
    alone = trained(folder / "small.h5ad", neighbours=(1,))
    adata = anndata.read_h5ad(folder / "more.h5ad")
    # Labels that no other cell tells: only if a cell finds itself, it gets its own.
    adata.obs["label"] = np.random.default_rng(0).permutation(adata.obs["label"].to_numpy())
    if change == "named by genome":
        adata.var_names = [f"GRCh38_{name}" for name in adata.var_names]
    kept = {"few genes": slice(3, None), "half the genes": slice(0, 40)}.get(change, slice(None))
    adata[:, kept].copy().write_h5ad(tmp_path / "cells.h5ad")
    made = indexed(alone, tmp_path / "cells.h5ad")
    report = evaluate(made.card, made.tensors, tmp_path / "cells.h5ad", "label", composition=False)
    assert report.labels is not None
    assert report.labels.accuracy == 1.0
    other = evaluate(alone.card, alone.tensors, tmp_path / "cells.h5ad", "label", composition=False)
    assert other.labels is not None
    assert other.labels.accuracy < 0.6


def test_a_reference_cell_without_ribosomal_genes_lies_where_it_lies_in_a_run(data_dir: Path, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(data_dir / "h5ad/zheng_sorted_pbmc_train.h5ad")
    adata.obs["label"] = adata.obs["sorted_population"].astype(str)
    adata[::10].copy().write_h5ad(tmp_path / "small.h5ad")
    cells = read_labelled(tmp_path / "small.h5ad", "label")
    alone = train(cells, quick(kind=Kind.NEIGHBOURS, neighbours=(1,), n_genes=300), nothing)
    assert alone.card.watched is not None, "so that a run expects fewer molecules where genes lack"
    lacking = adata[3::10, ~adata.var_names.str.match("RP[LS]")].copy()
    lacking.obs["label"] = np.random.default_rng(0).permutation(lacking.obs["label"].to_numpy())
    lacking.write_h5ad(tmp_path / "lacking.h5ad")
    made = indexed(alone, tmp_path / "lacking.h5ad")
    report = evaluate(made.card, made.tensors, tmp_path / "lacking.h5ad", "label", composition=False)
    assert report.labels is not None
    assert report.labels.accuracy > 0.999


def test_files_are_remembered_through_every_step(small: TrainedModel, folder: Path, tmp_path: Path) -> None:
    third = replace(MORE, seed=23).write(tmp_path / "third.h5ad")
    first = indexed(small, folder / "more.h5ad")
    second = indexed(first, third, keep=True)
    assert second.n_reference == 1200
    with pytest.raises(TrainingDataError, match="in the reference of small"):
        indexed(second, folder / "more.h5ad", keep=True)
    hidden = indexed(second, folder / "small.h5ad", third)  # Without --keep, the files' cells alone are the reference.
    assert hidden.n_held_out == 100
    (found,) = list(_warnings(second, folder / "small.h5ad"))
    assert found.startswith("the cells of small.h5ad trained")
    assert len(list(_warnings(second, folder / "more.h5ad"))) == 1


def _warnings(model: IndexedModel, path: Path) -> list[str]:
    report = evaluate(model.card, model.tensors, path, "label")
    return [one.message for one in report.warnings if one.code == "TRAINED_ON_THIS_FILE"]


def test_a_threshold_for_unassigned_cells_is_learned_anew(folder: Path, tmp_path: Path) -> None:
    careful = trained(folder / "small.h5ad", max_abstained=0.2)
    adata = anndata.read_h5ad(folder / "more.h5ad")
    adata.obs["label"] = np.random.default_rng(0).permutation(adata.obs["label"].to_numpy())
    adata.write_h5ad(tmp_path / "wrong.h5ad")
    made = indexed(careful, tmp_path / "wrong.h5ad")
    assert careful.card.min_score is not None
    assert made.card.min_score is not None
    assert made.card.min_score < careful.card.min_score


def test_only_a_model_with_a_reference_can_have_another() -> None:
    linear = train(SMALL.cells(), quick(), nothing)
    with pytest.raises(InvalidOptionError, match="a model of kind linear"):
        check_kind(linear.card)


def test_the_bundle_is_the_same_again_and_can_be_written(small: TrainedModel, folder: Path, tmp_path: Path) -> None:
    bundles = [write_bundle(tmp_path / name, *_parts(small, folder)) for name in ("one", "two")]
    assert bundles[0].digest == bundles[1].digest
    assert bundles[0].training.n_cells == 600


def _parts(small: TrainedModel, folder: Path) -> tuple[NeighboursCard, dict[str, torch.Tensor]]:
    made = indexed(small, folder / "more.h5ad")
    return check_kind(made.card), dict(made.tensors)


def test_no_more_cells_are_held_out_than_are_needed(
    small: TrainedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "MOST_HELD_OUT", 60)
    assert indexed(small, folder / "more.h5ad").n_held_out == 60


def test_files_are_named_where_their_cells_do_not_suffice(small: TrainedModel, tmp_path: Path) -> None:
    few = replace(MORE, sizes={"B": 10, "NK": 10, "T": 10}).write(tmp_path / "few.h5ad")
    with pytest.raises(TrainingDataError, match="30 cells that the model was not trained on") as told:
        indexed(small, few)
    assert str(few) in str(told.value)
