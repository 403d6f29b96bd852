"""Cells of several files, as one training set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from jobs.modeling.expression import log_normalise
from jobs.modeling.joining import joined
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.training import train
from shared.bundles.card import Features, Label
from shared.domain.errors import TrainingDataError
from shared.domain.verdict import MatrixState, Species
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
