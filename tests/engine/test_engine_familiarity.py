"""Cells unlike the training cells are recognised by the formula, whatever the block, and the labels stay the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.engine.annotator import Annotator, BlockScores
from jobs.engine.familiarity import LEAST_COVERAGE, TENSORS
from jobs.engine.kinds.table import check_tensors
from jobs.engine.streaming import Stream
from shared.bundles.card import Familiarity, Features, Kind, ModelCard
from shared.domain.errors import InvalidBundleError
from shared.domain.verdict import CellNote
from shared.h5ad.read.projecting import with_silent_cells
from shared.h5ad.read.rows import with_watched
from tests.engine.blocks import block_of
from tests.engine.cards import make_card, make_centroid, make_neighbours, make_tensors
from tests.engine.lanes import PlainLanes

CPU = torch.device("cpu")
N_LABELS, N_FEATURES, N_WATCHED = 3, 12, 8
N_GENES = N_FEATURES + N_WATCHED
GENES = np.arange(N_GENES, dtype=np.int32)
FAMILIARITY = Familiarity(
    genes=Features(symbol=tuple(f"WATCHED{i}" for i in range(N_WATCHED))),
    typical_total=80.0,
    spread=0.02,
    threshold=2.5,
    false_alarm=0.025,
)


def watching(kind: Kind = Kind.LINEAR, **changes: object) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    if kind is Kind.LINEAR:
        card, tensors = make_card(N_LABELS, N_FEATURES), make_tensors(N_LABELS, N_FEATURES)
    else:
        make = make_centroid if kind is Kind.CENTROID else make_neighbours
        card, tensors = make(N_LABELS, N_FEATURES)
    draw = np.random.default_rng(5)
    own = {
        "watched_weight": torch.tensor(draw.uniform(0.1, 2.3, N_WATCHED), dtype=torch.float32),
        "watched_rate": torch.tensor(draw.uniform(0, 0.01, N_WATCHED), dtype=torch.float32),
        "feature_rate": torch.tensor(draw.uniform(0, 0.07, N_FEATURES), dtype=torch.float32),
    }
    return card.model_copy(update={"familiarity": FAMILIARITY.model_copy(update=changes)}), {**tensors, **own}


def cells(n_cells: int = 40, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).poisson(1.5, (n_cells, N_GENES)).astype(np.float64)


def score(
    values_ng: Any, *, kind: Kind = Kind.LINEAR, genes: npt.NDArray[np.int32] = GENES, **how: bool
) -> BlockScores:
    card, tensors = watching(kind)
    return Annotator(card, tensors, genes, CPU, **how).annotate(block_of(values_ng).on(genes))


def by_hand(values_ng: npt.NDArray[np.float64], depth_n: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The formula in the docstring of ``Watch``, on a dense matrix."""
    _, tensors = watching()
    weight_w, rate_w = tensors["watched_weight"].double().numpy(), tensors["watched_rate"].double().numpy()
    share_n = values_ng[:, N_FEATURES:] @ weight_w / values_ng.sum(axis=1)
    variance_n = (weight_w**2 * rate_w).sum() / depth_n + FAMILIARITY.spread**2
    return np.asarray((share_n - (weight_w * rate_w).sum()) / np.sqrt(variance_n))


def test_unfamiliarity_is_the_formula() -> None:
    values_ng = cells()
    found = score(values_ng).facts.unfamiliarity_n
    assert found is not None
    np.testing.assert_allclose(found, by_hand(values_ng, values_ng.sum(axis=1)), rtol=1e-6)


def test_values_that_are_no_counts_are_taken_to_be_of_a_typical_cell() -> None:
    values_ng = cells()
    scaled_ng = values_ng / values_ng.sum(axis=1, keepdims=True) * 3.7
    expected = by_hand(values_ng, np.full(len(values_ng), FAMILIARITY.typical_total))
    for found in (
        score(scaled_ng, counted=False).facts.unfamiliarity_n,
        score(np.log1p(scaled_ng / 3.7 * 1e4), as_it_is=True).facts.unfamiliarity_n,
    ):
        assert found is not None
        np.testing.assert_allclose(found, expected, rtol=2e-4)


@pytest.mark.parametrize("kind", Kind)
def test_watched_genes_change_no_label_score(kind: Kind) -> None:
    values_ng = cells()
    card, tensors = watching(kind)
    alone = np.where(GENES < N_FEATURES, GENES, -1).astype(np.int32)
    plain = Annotator(
        card.model_copy(update={"familiarity": None}),
        {name: tensor for name, tensor in tensors.items() if name not in TENSORS},
        alone,
        CPU,
    )
    expected = plain.annotate(block_of(values_ng).on(alone))
    found = score(values_ng, kind=kind)
    assert found.decision_nl.tobytes() == expected.decision_nl.tobytes()
    assert found.probability_nl.tobytes() == expected.probability_nl.tobytes()
    assert expected.facts.unfamiliarity_n is None


@given(st.integers(1, 60), st.integers(1, 500), st.integers(0, 9))
def test_one_cell_alone_many_together_or_a_batch_give_the_same_bytes(n_cells: int, limit: int, seed: int) -> None:
    values_ng = cells(n_cells, seed)
    together = score(values_ng).facts.unfamiliarity_n
    assert together is not None
    alone = [score(values_ng[row : row + 1]).facts.unfamiliarity_n for row in range(n_cells)]
    assert together.tobytes() == b"".join(one.tobytes() for one in alone if one is not None)
    card, tensors = watching()
    stream = Stream(Annotator(card, tensors, GENES, CPU), PlainLanes(), limit)
    pieces = [values_ng[start : start + 7] for start in range(0, n_cells, 7)]
    streamed = stream.scores(block_of(piece, start * 7).on(GENES) for start, piece in enumerate(pieces))
    found = [(one.facts.unfamiliarity_n, one.decision_nl) for one in streamed]
    assert b"".join(one.tobytes() for one, _ in found if one is not None) == together.tobytes()
    assert np.concatenate([one for _, one in found]).shape == (n_cells, N_LABELS)


def test_a_cell_of_watched_genes_only_is_silent() -> None:
    values_ng = cells(4)
    values_ng[1, :N_FEATURES] = 0
    values_ng[2] = 0
    card, tensors = watching()
    block = with_silent_cells(block_of(values_ng).on(GENES))
    assert block.note_n.tolist() == [CellNote.NONE, CellNote.NONE, CellNote.SILENT, CellNote.NONE]
    found = Annotator(card, tensors, GENES, CPU).annotate(block)
    assert found.facts.note_n.tolist() == [CellNote.NONE, CellNote.SILENT, CellNote.SILENT, CellNote.NONE]
    assert found.facts.unfamiliarity_n is not None
    assert found.facts.unfamiliarity_n[1] > FAMILIARITY.threshold
    assert np.isnan(found.facts.unfamiliarity_n).tolist() == [False, False, True, False]


def test_with_some_of_the_watched_genes_the_rest_is_not_expected() -> None:
    values_ng = cells()
    genes = GENES.copy()
    genes[N_FEATURES : N_FEATURES + 2] = -1
    found = score(values_ng, genes=genes).facts.unfamiliarity_n
    _, tensors = watching()
    weight_w, rate_w = (tensors[name].double().numpy()[2:] for name in ("watched_weight", "watched_rate"))
    whole = float((tensors["watched_weight"].double() * tensors["watched_rate"].double()).sum())
    mean = float((weight_w * rate_w).sum())
    share_n = values_ng[:, N_FEATURES + 2 :] @ weight_w / values_ng.sum(axis=1)
    variance_n = (weight_w**2 * rate_w).sum() / values_ng.sum(axis=1) + (FAMILIARITY.spread * mean / whole) ** 2
    assert found is not None
    np.testing.assert_allclose(found, (share_n - mean) / np.sqrt(variance_n), rtol=1e-6)


def test_the_share_of_features_that_the_file_lacks_is_counted_in() -> None:
    values_ng = cells()
    genes = GENES.copy()
    genes[:4] = -1
    lacking = values_ng.copy()
    lacking[:, :4] = 0
    found = score(lacking, genes=genes).facts.unfamiliarity_n
    _, tensors = watching()
    total_n = lacking.sum(axis=1) / (1 - float(tensors["feature_rate"].double()[:4].sum()))
    weight_w, rate_w = (tensors[name].double().numpy() for name in ("watched_weight", "watched_rate"))
    share_n = lacking[:, N_FEATURES:] @ weight_w / total_n
    variance_n = (weight_w**2 * rate_w).sum() / total_n + FAMILIARITY.spread**2
    assert found is not None
    np.testing.assert_allclose(found, (share_n - (weight_w * rate_w).sum()) / np.sqrt(variance_n), rtol=1e-6)


@pytest.mark.parametrize("kind", Kind)
def test_cells_are_scored_as_if_the_features_that_the_file_lacks_had_their_usual_share(kind: Kind) -> None:
    card, tensors = watching(kind)
    genes = np.where((GENES >= 4) & (GENES < N_FEATURES), GENES, -1).astype(np.int32)
    block = block_of(cells()).on(genes)
    lacking = Annotator(card, tensors, genes, CPU).annotate(block)
    plain = Annotator(
        card.model_copy(update={"familiarity": None}),
        {name: tensor for name, tensor in tensors.items() if name not in TENSORS},
        genes,
        CPU,
    )
    left = 1 - float(tensors["feature_rate"].double()[:4].sum())
    expected = plain.annotate(replace(block, total_n=block.total_n / left))
    np.testing.assert_allclose(lacking.decision_nl, expected.decision_nl, rtol=1e-4, atol=1e-5)
    assert lacking.facts.total_n is not None
    np.testing.assert_array_equal(lacking.facts.total_n, block.total_n)


def test_with_too_few_of_the_watched_genes_nothing_is_told() -> None:
    genes = np.where(GENES < N_FEATURES + 2, GENES, -1).astype(np.int32)
    _, tensors = watching()
    weight_w = tensors["watched_weight"]
    assert float(weight_w[:2].sum() / weight_w.sum()) < LEAST_COVERAGE
    assert score(cells(), genes=genes).facts.unfamiliarity_n is None


def test_features_are_matched_first_and_of_genes_with_one_watched_gene_the_first_counts() -> None:
    features = np.array([0, 1, 1, -1, -1, -1, -1, -1], np.int32)
    watched = np.array([-1, 3, -1, -1, 0, 1, 0, 1], np.int32)
    found = with_watched(features, watched, 12)
    assert found.tolist() == [0, 1, 1, -1, 12, 13, -1, -1]
    assert found.dtype == np.int32


@pytest.mark.parametrize(
    ("name", "value"), [("watched_weight", 0.0), ("watched_rate", -1e-3), ("watched_rate", float("nan"))]
)
def test_weights_and_rates_that_make_no_sense_are_refused(name: str, value: float) -> None:
    card, tensors = watching()
    check_tensors(card, tensors)
    damaged = tensors[name].clone()
    damaged[3] = value
    with pytest.raises(InvalidBundleError):
        check_tensors(card, tensors | {name: damaged})


def test_tensors_and_card_belong_together() -> None:
    card, tensors = watching()
    with pytest.raises(InvalidBundleError, match="watched"):
        check_tensors(card.model_copy(update={"familiarity": None}), tensors)
    for name in TENSORS:
        with pytest.raises(InvalidBundleError, match="watched"):
            check_tensors(card, {other: tensor for other, tensor in tensors.items() if other != name})
    with pytest.raises(InvalidBundleError, match="shape"):
        check_tensors(card, tensors | {"watched_rate": torch.zeros(N_WATCHED + 1)})
    with pytest.raises(InvalidBundleError, match="add up"):
        check_tensors(card, tensors | {"feature_rate": torch.full((N_FEATURES,), 0.2)})


@pytest.mark.parametrize("symbols", [("WATCHED0",) * N_WATCHED, ("GENE0", *(f"W{i}" for i in range(N_WATCHED - 1)))])
def test_watched_genes_are_distinct_and_no_features(symbols: tuple[str, ...]) -> None:
    fields = watching()[0].model_dump()
    fields["familiarity"]["genes"] = {"symbol": symbols}
    with pytest.raises(ValueError, match="each watched gene must occur once"):
        type(watching()[0]).model_validate(fields)


def test_watched_genes_are_named_like_the_features() -> None:
    fields = watching()[0].model_dump()
    assert type(watching()[0]).model_validate(fields).watched == FAMILIARITY.genes
    fields["familiarity"]["genes"] = {"ensembl": ["ENSG00000000001"]}
    with pytest.raises(ValueError, match="watched genes must be named"):
        type(watching()[0]).model_validate(fields)
