"""A model that is aligned with another data set ignores by what the two differ, and still tells the types apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from jobs.modeling.alignment import batched_types, differences, orthonormal, shared_types, without
from jobs.modeling.design import CLIP_MAX, design_of
from jobs.modeling.kinds.table import RECIPES
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.scoring import score
from jobs.modeling.training import train
from shared.bundles.card import Kind, Label
from tests.modeling.synthetic import Population, quick

BATCH = slice(40, 60)
"""Genes that the other data set has four times as much of, in cells of every type."""


def of_two_runs() -> LabelledCells:
    """B and T cells, each sorted in a run of its own: genes of the batch are a little higher among T cells."""
    cells = Population({"B": 300, "NK": 300, "T": 300}, fold=3.0).cells()
    counts = cells.value_ng.toarray()
    draw = np.random.default_rng(3)
    among_t = cells.class_n == 2
    counts[among_t, BATCH] += draw.poisson(0.8, counts[among_t, BATCH].shape)
    return replace(cells, value_ng=sp.csr_matrix(counts.astype(np.float32)))


def elsewhere(seed: int = 11) -> LabelledCells:
    cells = Population({"B": 200, "NK": 200, "T": 200}, fold=3.0, seed=seed).cells()
    counts = cells.value_ng.toarray()
    counts[:, BATCH] += np.random.default_rng(5).poisson(2.4, counts[:, BATCH].shape)
    return replace(cells, value_ng=sp.csr_matrix(counts.astype(np.float32)), source="elsewhere.h5ad")


@pytest.mark.parametrize("kind", RECIPES)
def test_cells_of_another_run_are_not_taken_for_those_that_a_run_marked(kind: Kind) -> None:
    cells, other = of_two_runs(), elsewhere()
    plain = train(cells, quick(kind=kind), lambda _: None)
    aligned = train(cells, quick(kind=kind, aligned_with=other), lambda _: None)
    fresh = elsewhere(seed=12)
    right = [
        float((score(model.card, model.tensors, fresh).best.best_n == fresh.class_n).mean())
        for model in (plain, aligned)
    ]
    assert right[1] > right[0] + 0.15  # 0.65 and 0.89 for linear, 0.35 and 0.87 for centroid
    assert aligned.card.training.parameters["aligned_with"] == "elsewhere.h5ad"
    assert aligned.card.training.parameters["aligned_types"] == "innate, lymphoid"
    assert "aligned_with" not in plain.card.training.parameters


def test_the_weights_of_an_aligned_model_are_blind_to_the_differences() -> None:
    cells, other = of_two_runs(), elsewhere()
    settings = quick(aligned_with=other)
    (_, weights), *_ = RECIPES[Kind.LINEAR].learn(cells, settings, [0.1], lambda: None)
    design = design_of(cells, settings)
    blind = (weights.tensors["coef"] @ design.ignored_df.T).abs()
    seen = weights.tensors["coef"].norm(dim=1)[:, None] * design.ignored_df.norm(dim=1)
    assert float((blind / seen).max()) < 1e-5


def test_differences_are_those_of_a_dense_computation() -> None:
    cells, other = of_two_runs(), elsewhere()
    design = design_of(cells, quick())

    def means(given: LabelledCells) -> dict[str, np.ndarray]:
        values = given.value_ng.toarray().astype(np.float64)
        places = [given.genes.symbol.index(name) for name in design.features.symbol]
        z_nf = np.log1p(values / values.sum(axis=1, keepdims=True) * 1e4)[:, places]
        z_nf = np.minimum((z_nf - design.mean_f) / design.std_f, CLIP_MAX)
        by_label = {label.name: z_nf[given.class_n == place].mean(axis=0) for place, label in enumerate(given.labels)}
        return {"lymphoid": (by_label["B"] + by_label["T"]) / 2, "innate": by_label["NK"]}

    own, theirs = means(cells), means(other)
    found = differences(cells, other, design.features, design.mean_f, design.std_f, CLIP_MAX)
    assert shared_types(cells, other) == ["innate", "lymphoid"]
    np.testing.assert_allclose(found, np.stack([theirs[name] - own[name] for name in sorted(own)]), atol=2e-5)


def test_types_with_few_cells_or_in_one_data_set_only_tell_nothing() -> None:
    cells = Population({"B": 60, "NK": 60, "T": 60}).cells()
    few = Population({"B": 60, "NK": 10}).cells()
    few = replace(few, labels=(Label(name="B"), Label(name="NK", lineage="innate")))
    assert shared_types(cells, few) == []
    design = design_of(cells, quick())
    assert differences(cells, few, design.features, design.mean_f, design.std_f, CLIP_MAX).shape == (0, 60)


def test_directions_that_say_the_same_are_one() -> None:
    direction_df = torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 3.0]])
    basis_df = orthonormal(direction_df)
    assert len(basis_df) == 2
    assert torch.allclose(basis_df @ basis_df.T, torch.eye(2), atol=1e-6)
    assert torch.allclose(without(direction_df.clone(), basis_df), torch.zeros(3, 3), atol=1e-6)
    assert torch.equal(without(direction_df.clone(), orthonormal(torch.zeros(0, 3))), direction_df)


def in_batches(seed: int = 0) -> LabelledCells:
    """B, NK and T cells of two batches: nearly all T cells are of the one whose genes are marked."""
    cells = Population({"B": 300, "NK": 300, "T": 300}, fold=3.0, seed=seed).cells()
    counts, draw = cells.value_ng.toarray(), np.random.default_rng(seed)
    marked_n = draw.random(cells.n_cells) < np.where(cells.class_n == 2, 0.85, 0.15)
    counts[marked_n, BATCH] += draw.poisson(2.4, counts[marked_n, BATCH].shape)
    value_ng = sp.csr_matrix(counts.astype(np.float32))
    return replace(cells, value_ng=value_ng, batch_n=marked_n.astype(np.int32), batches="lane")


@pytest.mark.parametrize("kind", RECIPES)
def test_batches_in_a_file_are_not_taken_for_types(kind: Kind) -> None:
    cells = in_batches()
    plain = train(replace(cells, batch_n=None, batches=""), quick(kind=kind), lambda _: None)
    aware = train(cells, quick(kind=kind), lambda _: None)
    fresh = in_batches(seed=7)
    odd_n = fresh.batch_n == (fresh.class_n != 2)  # each type in the batch that it is rare in
    right = [
        float((score(model.card, model.tensors, fresh).best.best_n == fresh.class_n)[odd_n].mean())
        for model in (plain, aware)
    ]
    assert right[1] > right[0] + 0.1
    assert aware.card.training.parameters["batches"] == "lane"
    assert aware.card.training.parameters["batched_types"] == "innate, lymphoid"
    assert "batches" not in plain.card.training.parameters


def test_only_types_with_enough_cells_in_two_batches_tell() -> None:
    cells = in_batches()
    assert batched_types(replace(cells, batch_n=None)) == {}
    assert batched_types(cells) == {"innate": [0, 1], "lymphoid": [0, 1]}
    assert batched_types(replace(cells, batch_n=np.full(cells.n_cells, -1, np.int32))) == {}
    few_n = np.where(np.arange(cells.n_cells) % 100 == 0, 1, 0).astype(np.int32)
    assert batched_types(replace(cells, batch_n=few_n)) == {}
