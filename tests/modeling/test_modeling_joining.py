"""Cells of several files, as one training set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from jobs.modeling.expression import log_normalise
from jobs.modeling.gene_places import GeneList, first_places, n_found, places_of_genes
from jobs.modeling.joining import joined
from jobs.modeling.judged import judged
from jobs.modeling.labelled import LabelledCells, read_labelled
from jobs.modeling.sources import open_source
from jobs.modeling.training import train
from shared.bundles.card import Features, Label
from shared.domain.errors import TrainingDataError
from shared.domain.verdict import Finding, MatrixState, Severity, Species
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.read.rows import features_of_genes
from shared.validation import needs_of
from tests.modeling.synthetic import SMALL, Population, names_of, quick

OTHER = Population({"B": 30, "NK": 30, "T": 20, "DC": 40}, seed=9)


def other() -> LabelledCells:
    """Genes in another order, five of them its own, and no more."""
    cells = OTHER.cells()
    order = np.random.default_rng(1).permutation(60)
    names = tuple(f"OWN{g}" if g >= 55 else f"GENE{g}" for g in order.tolist())
    value_ng = sp.csr_matrix(cells.value_ng[:, order])
    return replace(cells, value_ng=value_ng, genes=Features(symbol=names), source="other.h5ad", sha256="b")


def test_one_file_stays_as_it_is() -> None:
    cells = SMALL.cells()
    assert joined([cells]) is cells


def test_genes_in_common_keep_their_values_and_the_totals_stay() -> None:
    found = joined([SMALL.cells(), other()])
    assert found.genes.symbol == (*(f"GENE{g}" for g in range(55)), None)
    expected_ng = np.concatenate([SMALL.counts()[:, :55], OTHER.counts()[:, :55]])
    np.testing.assert_array_equal(found.value_ng[:, :55].toarray(), expected_ng)
    totals_n = np.concatenate([SMALL.counts().sum(axis=1), OTHER.counts().sum(axis=1)])
    np.testing.assert_allclose(np.asarray(found.value_ng.sum(axis=1)).ravel(), totals_n)


def test_labels_are_joined_by_name() -> None:
    found = joined([SMALL.cells(), other()])
    assert names_of(found.labels) == ["B", "DC", "NK", "T"]
    names_n = np.array(names_of(found.labels))[found.class_n]
    assert names_n.tolist() == [*SMALL.label_n.tolist(), *OTHER.label_n.tolist()]
    assert (found.source, found.sha256) == ("synthetic.h5ad, other.h5ad", "unknown, b")


def test_a_model_of_two_files_is_trained_on_their_genes_only() -> None:
    card = train(joined([SMALL.cells(), other()]), quick(), lambda _: None).card
    assert set(card.features.symbol) <= {f"GENE{g}" for g in range(55)}
    assert card.training.metrics["accuracy"] > 0.9
    assert card.training.source == "synthetic.h5ad, other.h5ad"


def test_without_counts_in_one_file_all_are_logarithms_of_their_own_totals() -> None:
    logs = other()
    logs = replace(logs, value_ng=log_normalise(logs.value_ng), state=MatrixState.LOG1P_CP10K)
    found = joined([SMALL.cells(), logs])
    assert found.state is MatrixState.LOG1P_CP10K
    expected_ng = log_normalise(SMALL.cells().value_ng).toarray()[:, :55]
    np.testing.assert_allclose(found.value_ng[: len(expected_ng), :55].toarray(), expected_ng, rtol=1e-6)
    assert found.value_ng[:, 55].nnz == 0


def test_batches_of_different_files_are_different() -> None:
    first, second = SMALL.cells(), other()
    batched = [
        replace(first, batch_n=np.arange(180, dtype=np.int32) % 2),
        replace(second, batch_n=np.full(120, 0, np.int32)),
    ]
    found = joined(batched).batch_n
    assert found is not None
    assert set(found[:180].tolist()) == {0, 1}
    assert set(found[180:].tolist()) == {2}


def test_a_label_that_two_files_place_differently_is_refused() -> None:
    cells = other()
    cells = replace(cells, labels=(Label(name="B", lineage="myeloid"), *cells.labels[1:]))
    with pytest.raises(TrainingDataError, match=r"label 'B' is myeloid in other\.h5ad"):
        joined([SMALL.cells(), cells])


def test_files_without_a_common_gene_or_species_are_refused() -> None:
    cells = other()
    with pytest.raises(TrainingDataError, match="no gene that is in each"):
        joined([SMALL.cells(), replace(cells, genes=Features(symbol=tuple(f"X{g}" for g in range(60))))])
    with pytest.raises(TrainingDataError, match="cells of mus_musculus"):
        joined([SMALL.cells(), replace(cells, species=Species.MOUSE)])


def test_warnings_of_several_files_are_each_given_once() -> None:
    told = [Finding(WarningCode.DUPLICATE_GENES, Severity.WARNING, "some", "", {"n": n}) for n in (1, 1, 2)]
    files = [replace(SMALL.cells(), warnings=(told[0],)), replace(other(), warnings=(told[1], told[2]))]
    assert joined(files).warnings == (told[0], told[2])


# --- Genes of other years -----------------------------------------------------------------------------------------


Years = tuple[Path, Path, dict[str, str]]


@pytest.fixture(scope="module")
def years(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Years:
    """Cells with the symbols of 10x's reference of 2020, others with today's, and the pairs by Ensembl id."""
    folder = tmp_path_factory.mktemp("years")
    table = pd.read_csv(data_dir / "reference" / "genes_homo_sapiens.csv.gz", header=None)
    symbol_of = dict(zip(table[0], table[1], strict=True))
    cells = anndata.read_h5ad(data_dir / "h5ad" / "cas_test_adata.h5ad")
    cells = cells[:, ~cells.var["gene_name"].duplicated(keep=False)]
    then = cells.var["gene_name"].tolist()
    today = [symbol_of.get(identifier, name) for identifier, name in zip(cells.var_names, then, strict=True)]
    obs = pd.DataFrame({"label": np.resize(["a", "b"], cells.n_obs // 2)}, index=cells.obs_names[::2])
    for name, names, values in (("then", then, cells.X[::2]), ("today", today, cells.X[1::2])):
        anndata.AnnData(values, obs, pd.DataFrame(index=names)).write_h5ad(folder / f"{name}.h5ad")
    pairs = zip(today, then, strict=True)
    return folder / "then.h5ad", folder / "today.h5ad", {new: old for new, old in pairs if new != old}


def test_genes_that_were_renamed_between_two_files_are_the_same_genes(years: Years) -> None:
    then, today = (read_labelled(file, "label") for file in years[:2])
    found, renamed = joined([then, today]), years[2]
    assert len(renamed) > 400
    common = [name for name in found.genes.symbol if name]
    lost = set(renamed.values()) - set(common)
    assert len(lost) < 0.1 * len(renamed), "names that are not beyond doubt"
    assert len(common) + len(lost) == len(then.genes)
    own = {name: place for place, name in enumerate(today.genes.symbol)}
    moved = {old for old in renamed.values() if old in own}
    assert len(moved) < 5, "symbols that another gene has today: names as they stand come first, as in a run"
    own |= {old: own[new] for new, old in renamed.items()}
    kept = [place for place, name in enumerate(common) if name not in moved]
    there = today.value_ng[:, [own[common[place]] for place in kept]]
    np.testing.assert_array_equal(found.value_ng[then.n_cells :, kept].toarray(), there.toarray())
    np.testing.assert_array_equal(found.value_ng[then.n_cells :].sum(axis=1), today.value_ng.sum(axis=1))
    assert n_found(today.genes, GeneList(then.genes, then.species)) == len(common)


def test_cells_in_memory_have_the_genes_that_a_run_finds_in_their_file(years: Years) -> None:
    cells = [read_labelled(file, "label") for file in years[:2]]
    card = train(joined(cells), quick(n_genes=2_000), lambda _: None).card
    with open_source(years[1]) as source:
        verdict = judged(source, years[1], needs_of(card)).verdict
        in_file = features_of_genes(source, verdict, card)
    assert verdict.overlap is not None
    assert verdict.overlap.fraction == 1
    assert set(card.features.symbol) & set(years[2].values())
    np.testing.assert_array_equal(places_of_genes(cells[1].genes, card), in_file)


def test_of_several_genes_with_one_feature_the_first_has_it() -> None:
    places = np.array([2, -1, 0, 2, -1, 0, 1], np.int32)
    assert first_places(places).tolist() == [2, -1, 0, -1, -1, -1, 1]
