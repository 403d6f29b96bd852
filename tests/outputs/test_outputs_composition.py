"""Scores are corrected to the sample's shares of labels, and labels and lineages follow from the corrected scores."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from jobs.engine import composition
from jobs.engine.composition import PRIOR_CELLS, corrected, estimate
from jobs.engine.raising import Thresholds
from jobs.inference.merge.calls import Rules
from jobs.inference.merge.fitting import used_scores
from jobs.inference.merge.groups import Merge
from jobs.inference.outputs.annotation_files import annotations_parquet
from jobs.inference.parts.part import PartLayout
from shared.bundles.card import UNASSIGNED, Label, Reliability
from shared.h5ad.read.groupings import Grouping
from tests.outputs.stand_ins import Draws, merge_of

Float64s = npt.NDArray[np.float64]
NAMES = ("helper", "memory", "B", "monocyte")
LABELS = tuple(
    Label(name=name, lineage={"helper": "T cell", "memory": "T cell"}.get(name, f"{name} lineage")) for name in NAMES
)
EVEN = (0.25,) * 4


def sample(n_cells: int, share_l: Float64s, seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Calibrated probabilities of a model that assumes equal shares, and the true labels of cells with other shares.

    Each label's cells lie around a point of its own; helper and memory are close to each other.
    """
    draw = np.random.default_rng(seed)
    centre_ld = np.array([[0.0, 0.0], [1.2, 0.0], [0.0, 6.0], [6.0, 6.0]])
    true_n = draw.choice(4, n_cells, p=share_l)
    place_nd = centre_ld[true_n] + draw.normal(size=(n_cells, 2))
    density_nl = np.exp(-0.5 * ((place_nd[:, None] - centre_ld) ** 2).sum(axis=2))
    return (density_nl / density_nl.sum(axis=1, keepdims=True)).astype(np.float32), true_n


def everything(probability_nl: npt.NDArray[np.float32]) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
    return [(probability_nl, np.ones(len(probability_nl), np.bool_))]


@pytest.mark.parametrize("share", [(0.6, 0.1, 0.2, 0.1), (0.05, 0.9, 0.04, 0.01), EVEN])
def test_the_shares_of_a_sample_are_found(share: tuple[float, ...]) -> None:
    probability_nl, true_n = sample(20_000, np.array(share))
    found = estimate(everything(probability_nl), EVEN, 20_000)
    assert found.share_l == pytest.approx(share, abs=0.02)  # two neighbours overlap: a sd of 0.008
    assert found.n_cells == 20_000
    better = (corrected(probability_nl, found.factor_l).argmax(axis=1) == true_n).mean()
    plain = (probability_nl.argmax(axis=1) == true_n).mean()
    assert better >= plain - 0.002
    if share != EVEN:
        assert better > plain + 0.02


@given(st.integers(0, 20), st.integers(1, 400))
def test_the_shares_are_the_maximum_that_an_optimiser_finds(seed: int, n_cells: int) -> None:
    draw = np.random.default_rng(seed)
    assumed = draw.dirichlet(np.full(3, 5.0))
    probability_nl = draw.dirichlet(np.full(3, 0.7), n_cells).astype(np.float32)
    found = np.array(estimate(everything(probability_nl), tuple(assumed), n_cells).share_l)

    def loss(free: Float64s) -> float:
        share = np.exp(free - free.max())
        share /= share.sum()
        likelihood = np.log((probability_nl * (share / assumed)).sum(axis=1)).sum()
        return float(-(likelihood + PRIOR_CELLS * (assumed * np.log(share)).sum()))

    best = minimize(loss, np.log(assumed), method="BFGS").fun
    assert loss(np.log(found)) <= best + 1e-3 * (1 + abs(best))


def test_a_handful_of_cells_says_little() -> None:
    probability_nl, _ = sample(3, np.array([1.0, 0, 0, 0]))
    assert estimate(everything(probability_nl), EVEN, 3).share_l == pytest.approx(EVEN, abs=0.07)
    assert estimate([], EVEN, 0).share_l == EVEN


def test_cells_that_are_not_to_be_used_are_not() -> None:
    probability_nl, true_n = sample(4_000, np.array(EVEN))
    used_n = true_n != 3
    found = estimate([(probability_nl, used_n)], EVEN, 4_000)
    assert found.n_cells == used_n.sum()
    assert found.share_l[3] < 0.01


def test_of_a_large_sample_every_kth_cell_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    probability_nl, _ = sample(6_000, np.array([0.6, 0.1, 0.2, 0.1]))
    whole = estimate(everything(probability_nl), EVEN, 6_000)
    monkeypatch.setattr(composition, "MOST_BYTES", 6_000 * 4 * 4 // 3)
    third = estimate(everything(probability_nl), EVEN, 6_000)
    assert third.n_cells == 2_000
    assert third.share_l == estimate(everything(probability_nl[::3]), EVEN, 2_000).share_l
    assert third.share_l == pytest.approx(whole.share_l, abs=0.06)


@given(st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4))
def test_corrected_probabilities_add_up_to_one(factor: list[float]) -> None:
    probability_nl, _ = sample(50, np.array(EVEN))
    np.testing.assert_allclose(corrected(probability_nl, factor).sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(corrected(probability_nl, EVEN), probability_nl, rtol=1e-5, atol=1e-7)


def grouping(code_n: npt.NDArray[np.integer], n_names: int) -> Grouping:
    return Grouping("donor", code_n.astype(np.int32), tuple(f"donor {code}" for code in range(n_names)))


@given(st.integers(0, 100), st.integers(1, 3))
def test_each_sample_has_the_shares_that_it_has_alone(seed: int, n_samples: int) -> None:
    probability_nl, _ = sample(900, np.array([0.6, 0.1, 0.2, 0.1]), seed)
    code_n = np.random.default_rng(seed).integers(-1, n_samples, 900)
    found = estimate(everything(probability_nl), EVEN, 900, samples=grouping(code_n, n_samples))
    assert replace(found, samples=None) == estimate(everything(probability_nl), EVEN, 900)
    assert found.samples is not None
    fixed_nl = found.corrected(probability_nl)
    for code in range(-1, n_samples):
        own = code_n == code
        alone = estimate(everything(probability_nl[own] if code >= 0 else probability_nl), EVEN, int(own.sum()))
        if code >= 0:
            assert found.samples.share_sl[code].tolist() == list(alone.share_l)
        np.testing.assert_array_equal(fixed_nl[own], corrected(probability_nl[own], alone.factor_l))


def test_a_sample_of_other_shares_is_not_drawn_to_those_of_the_rest() -> None:
    one_nl, one_n = sample(4_000, np.array([0.7, 0.02, 0.2, 0.08]), 1)
    two_nl, two_n = sample(4_000, np.array([0.02, 0.7, 0.2, 0.08]), 2)
    probability_nl, true_n = np.concatenate([one_nl, two_nl]), np.concatenate([one_n, two_n])
    samples = grouping(np.repeat([0, 1], 4_000), 2)
    together, apart = (estimate(everything(probability_nl), EVEN, 8_000, samples=given) for given in (None, samples))
    right = [(found.corrected(probability_nl).argmax(axis=1) == true_n).mean() for found in (together, apart)]
    assert right[1] > right[0] + 0.05
    by_sample = apart.by_sample(NAMES)
    assert by_sample is not None
    assert by_sample["donor 0"]["helper"] == pytest.approx(0.7, abs=0.05)
    assert by_sample["donor 1"]["memory"] == pytest.approx(0.7, abs=0.05)


def test_a_large_sample_is_thinned_by_itself_and_a_small_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    probability_nl, _ = sample(3_000, np.array([0.6, 0.1, 0.2, 0.1]))
    code_n = np.where(np.arange(3_000) % 2 == 0, 0, np.where(np.arange(3_000) % 200 == 1, 1, -1))
    monkeypatch.setattr(composition, "MOST_BYTES", 3_000 * 4 * 4 // 2)
    monkeypatch.setattr(composition, "MOST_SAMPLE_BYTES", 2 * 500 * 4 * 4)
    found = estimate(everything(probability_nl), EVEN, 3_000, samples=grouping(code_n, 2))
    assert found.cells_by_sample == {"donor 0": 500, "donor 1": 15}
    assert found.samples is not None
    own = probability_nl[code_n == 0][::3]
    assert found.samples.share_sl[0].tolist() == list(estimate(everything(own), EVEN, 500).share_l)


def test_a_column_without_samples_changes_nothing() -> None:
    probability_nl, _ = sample(300, np.array(EVEN))
    found = estimate(everything(probability_nl), EVEN, 300, samples=grouping(np.full(300, -1), 0))
    plain = estimate(everything(probability_nl), EVEN, 300)
    np.testing.assert_array_equal(found.corrected(probability_nl), plain.corrected(probability_nl))


# --- The merge ----------------------------------------------------------------------------------------------------

N_CELLS = 3_000
RELIABILITY = Reliability(error=0.05, label_score=0.8, lineage_score=0.6)


def merged(n_parts: int, samples: Grouping | None = None) -> Merge:
    merge = merge_of(Draws(PartLayout(N_CELLS, n_labels=4, top_k=2, full=True), softmax=True), n_parts)
    rules = Rules(lineages=True, thresholds=Thresholds.as_learned(RELIABILITY))
    merge = replace(merge, vocabulary=replace(merge.vocabulary, labels=LABELS), rules=rules)
    found = estimate(used_scores(merge), EVEN, N_CELLS, samples=samples)
    return replace(merge, rules=replace(rules, composition=found))


def frame_of(merge: Merge) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(b"".join(annotations_parquet(merge.tables(), {}))))


@pytest.mark.parametrize("n_samples", [0, 3])
def test_one_part_or_seven_give_the_same_bytes(n_samples: int) -> None:
    samples = grouping(np.arange(N_CELLS) % (n_samples + 1) - 1, n_samples) if n_samples else None
    one, seven = (b"".join(annotations_parquet(merged(n_parts, samples).tables(), {})) for n_parts in (1, 7))
    assert one == seven


def test_labels_lineages_and_scores_follow_from_the_corrected_probabilities() -> None:
    merge = merged(2)
    frame = frame_of(merge)
    probability_nl = np.concatenate(
        [group.calls.probability_nl for group in merge.groups() if group.calls.probability_nl is not None]
    )
    plain_nl = np.concatenate([scores for scores, _ in used_scores(replace(merge, rules=Rules()))])
    assert merge.rules.composition is not None
    factor = np.array(merge.rules.composition.factor_l)
    expected_nl = plain_nl * factor / (plain_nl * factor).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probability_nl, expected_nl, rtol=1e-5)
    assert frame["label"].tolist() == [NAMES[place] for place in probability_nl.argmax(axis=1)]
    np.testing.assert_array_equal(frame["score"], probability_nl.max(axis=1))
    t_n = probability_nl[:, 0].astype(np.float64) + probability_nl[:, 1]
    by_lineage = pd.DataFrame(
        {"T cell": t_n, "B lineage": probability_nl[:, 2], "monocyte lineage": probability_nl[:, 3]}
    )
    assert frame["lineage"].tolist() == by_lineage.idxmax(axis=1).tolist()
    np.testing.assert_allclose(frame["lineage_score"], by_lineage.max(axis=1), rtol=1e-6)


def test_the_reliable_label_is_the_label_or_the_lineage_or_none() -> None:
    frame = frame_of(merged(1))
    sure = frame["score"] >= np.float32(0.8)
    half = ~sure & (frame["lineage_score"] >= np.float32(0.6))
    assert 0 < sure.sum() < N_CELLS
    assert 0 < half.sum() < N_CELLS
    assert (frame["reliable_label"][sure] == frame["label"][sure].astype(str)).all()
    assert (frame["reliable_label"][half] == frame["lineage"][half].astype(str)).all()
    assert set(frame["reliable_label"][~sure & ~half]) == {UNASSIGNED}


def test_without_all_scores_there_are_no_levels() -> None:
    merge = merge_of(Draws(PartLayout(300, n_labels=4, top_k=2), softmax=True), 1)
    merge = replace(merge, vocabulary=replace(merge.vocabulary, labels=LABELS), rules=Rules(lineages=True))
    table = pa.concat_tables(merge.tables())
    assert table["lineage"].null_count == table["reliable_label"].null_count == 300
