"""Thresholds of reliable labels are fitted to a file, and to each of its samples, whatever the model's labels have."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from jobs.engine.levels import Level
from jobs.engine.raising import LEAST_CELLS, Thresholds
from jobs.inference.merge.calls import Rules, Vocabulary
from jobs.inference.merge.fitting import fitted
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.survey import Survey
from jobs.inference.outputs.annotation_files import annotations_parquet
from jobs.inference.outputs.label_facts import label_facts
from jobs.inference.parts.part import PartLayout
from jobs.inference.report.sentences import reliability
from shared.bundles.card import UNASSIGNED, Label, Reliability
from shared.bundles.groups import Group
from shared.h5ad.read.groupings import Grouping
from tests.engine.cards import make_card
from tests.outputs.stand_ins import Draws, merge_of

NAMES = ("helper", "memory", "naive", "B", "NK")
LABELS = tuple(Label(name=name, lineage=name if name in ("B", "NK") else "T") for name in NAMES)
PLAIN = tuple(Label(name=name) for name in NAMES)
TREE = (Group(name="T", labels=("helper", "memory", "naive")),)
EVEN, HARD = (0.2,) * 5, (0.5, 0.4, 0.06, 0.02, 0.02)
CENTRE_LD = np.array([[0.0, 0.0], [1.8, 0.0], [0.0, 3.0], [7.0, 0.0], [0.0, 9.0]])
SCORES = {"label_score": None, "lineage_score": None, "tree_score": None}
LEARNED = {
    "tree": Reliability(error=0.05, **SCORES | {"tree_score": 0.67}),
    "lineages": Reliability(error=0.05, **SCORES | {"label_score": 0.75, "lineage_score": 0.5}),
    "labels": Reliability(error=0.05, **SCORES | {"label_score": 0.75}),
}
"""About what is learned on even cells, by what the labels have."""


@dataclass(frozen=True)
class Cells:
    """Cells of known labels, with the decision values of a calibrated model that assumes equal shares."""

    decision_nl: npt.NDArray[np.float32]
    class_n: npt.NDArray[np.int64]


def drawn(share: tuple[float, ...], n_cells: int, seed: int) -> Cells:
    draw = np.random.default_rng(seed)
    class_n = draw.choice(5, n_cells, p=share)
    place_nd = CENTRE_LD[class_n] + draw.normal(size=(n_cells, 2))
    return Cells((-0.5 * ((place_nd[:, None] - CENTRE_LD) ** 2).sum(axis=2)).astype(np.float32), class_n)


def together(*cells: Cells) -> Cells:
    """The cells of several samples, one after the other."""
    return Cells(np.concatenate([one.decision_nl for one in cells]), np.concatenate([one.class_n for one in cells]))


EASY_CELLS, HARD_CELLS = drawn(EVEN, 18_000, 0), drawn(HARD, 2_000, 1)
BOTH = together(EASY_CELLS, HARD_CELLS)


def samples_of(*sizes: int, without: int = 0) -> Grouping:
    """Samples one after the other, and then cells without one."""
    code_n = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(without, -1)]).astype(np.int32)
    return Grouping("donor", code_n, tuple("abcdef"[: len(sizes)]))


def merged(cells: Cells, of: str, n_tasks: int = 2, min_score: float | None = None) -> Merge:
    draws = Draws(PartLayout(len(cells.class_n), n_labels=5, top_k=2, full=True), softmax=True)
    merge = merge_of(replace(draws, decisions=cells.decision_nl), n_tasks)
    rules = Rules(min_score, lineages=of != "labels", thresholds=Thresholds.as_learned(LEARNED[of]))
    vocabulary = Vocabulary(PLAIN if of == "labels" else LABELS, TREE if of == "tree" else ())
    return replace(merge, vocabulary=vocabulary, rules=rules)


def bytes_of(merge: Merge) -> bytes:
    return b"".join(annotations_parquet(merge.tables(), {}))


def answers(merge: Merge) -> list[str]:
    return pd.read_parquet(io.BytesIO(bytes_of(merge)))["reliable_label"].astype(str).tolist()


def wrong(merge: Merge, cells: Cells, chosen: slice) -> float:
    """The share of wrong answers: among all cells for a tree, else among the cells that get a label."""
    found = np.array(answers(merge))[chosen]
    name_n, own_n = np.array(NAMES)[cells.class_n[chosen]], cells.class_n[chosen] < 3
    answered_n = found != UNASSIGNED
    wrong_n = answered_n & (found != name_n) & ~((found == "T") & own_n)
    asked_n = np.full(len(found), True) if merge.vocabulary.groups else answered_n & (found != "T")
    return float(wrong_n[asked_n].mean())


def used(merge: Merge) -> Thresholds:
    found = merge.rules.thresholds
    assert found is not None
    return found


@pytest.mark.parametrize("of", LEARNED)
def test_a_hard_sample_beside_an_easy_one_holds_the_rate_if_samples_are_named(of: str) -> None:
    hard = slice(18_000, 20_000)
    as_one = fitted(merged(BOTH, of), EVEN, None)
    apart = fitted(merged(BOTH, of), EVEN, samples_of(18_000, 2_000))
    assert wrong(as_one, BOTH, hard) > 0.06
    assert wrong(apart, BOTH, hard) <= 0.055
    assert wrong(apart, BOTH, slice(0, 18_000)) <= 0.052


@pytest.mark.parametrize("of", LEARNED)
@pytest.mark.parametrize("assumed", [EVEN, ()])
def test_a_sample_has_the_thresholds_and_answers_that_it_has_alone(of: str, assumed: tuple[float, ...]) -> None:
    apart = fitted(merged(BOTH, of), assumed, samples_of(18_000, 2_000))
    alone = [fitted(merged(cells, of), assumed, None) for cells in (EASY_CELLS, HARD_CELLS)]
    assert used(apart).by_sample == {"a": used(alone[0]).whole, "b": used(alone[1]).whole}
    assert answers(apart) == answers(alone[0]) + answers(alone[1])
    assert (used(apart).few, used(apart).in_use) == (frozenset(), used(apart).found)


def test_one_task_or_seven_give_the_same_bytes() -> None:
    samples = samples_of(12_000, 7_000, without=1_000)
    one, seven = (fitted(merged(BOTH, "tree", n_tasks), EVEN, samples) for n_tasks in (1, 7))
    assert used(one).found == used(seven).found
    assert bytes_of(one) == bytes_of(seven)


@pytest.mark.parametrize("of", LEARNED)
def test_small_samples_and_cells_without_one_share_thresholds_of_their_own(of: str) -> None:
    small = LEAST_CELLS - 1
    cells = together(EASY_CELLS, HARD_CELLS)
    samples = samples_of(18_000, *[small] * 5, without=2_000 - 5 * small)
    apart = fitted(merged(cells, of), (), samples)
    alone = used(fitted(merged(HARD_CELLS, of), (), None)).whole
    assert alone != LEARNED[of], "these cells are hard"
    assert used(apart).whole == alone, "the easy sample beside them does not count"
    assert used(apart).few == set("bcdef")
    assert used(apart).by_sample == {"a": LEARNED[of]} | dict.fromkeys("bcdef", alone)
    least = used(apart).least_scores(slice(0, 20_000))
    label_n = least.tree if of == "tree" else least.label
    shared, learned = (one.tree_score if of == "tree" else one.label_score for one in (alone, LEARNED[of]))
    assert set(label_n[:18_000].tolist()) == {np.float32(learned)}
    assert set(label_n[18_000:].tolist()) == {np.float32(shared)}
    said = reliability(make_card(5, 3, **card_fields(apart)), used(apart)).text
    assert "; 5 samples of fewer than 100 usable cells share one)" in said
    assert "more of the cells of the small samples together would" in said


def test_a_few_cells_without_a_sample_have_the_thresholds_of_the_file() -> None:
    few = LEAST_CELLS - 1
    merge = fitted(merged(HARD_CELLS, "labels"), (), samples_of(2_000 - few, without=few))
    assert used(merge).whole == used(fitted(merged(HARD_CELLS, "labels"), (), None)).whole
    said = reliability(make_card(5, 3, **card_fields(merge)), used(merge)).text
    assert "more of the cells of a and those without a sample would" in said


def card_fields(merge: Merge) -> dict[str, object]:
    return {"labels": merge.vocabulary.labels, "tree": merge.vocabulary.groups, "activation": "softmax"}


def test_a_cell_that_min_score_leaves_without_a_label_raises_no_threshold() -> None:
    plain, strict = (used(fitted(merged(HARD_CELLS, "labels", min_score=least), (), None)) for least in (None, 0.97))
    assert plain.whole.label_score is not None
    assert plain.whole.label_score > 0.75
    assert strict.whole == LEARNED["labels"]


def test_no_score_is_enough_stays_so() -> None:
    none = Reliability(error=0.05, **SCORES)
    for of in LEARNED:
        merge = merged(HARD_CELLS, of)
        merge = replace(merge, rules=replace(merge.rules, thresholds=Thresholds.as_learned(none)))
        found = fitted(merge, EVEN, samples_of(1_000, 1_000))
        assert used(found).by_sample == {"a": none, "b": none}
        assert set(answers(found)) == {UNASSIGNED}


@pytest.mark.parametrize("of", LEARNED)
def test_manifest_and_report_say_what_each_sample_has(of: str) -> None:
    merge = fitted(merged(BOTH, of), EVEN, samples_of(18_000, 2_000))
    survey = Survey(merge)
    list(survey.tables())
    tally = survey.findings().tally
    facts = label_facts(tally, merge)
    assert facts.reliability_by_sample is not None
    scores = [(one.label_score, one.lineage_score, one.tree_score) for one in facts.reliability_by_sample.values()]
    assert scores == [(one.label_score, one.lineage_score, one.tree_score) for one in used(merge).found]
    assert [one.raised for one in facts.reliability_by_sample.values()] == [False, True]
    card = make_card(5, 3, **card_fields(merge))
    said = reliability(card, used(merge)).text
    place = 2 if of == "tree" else 0
    easy, hard = (f"{one[place]:g}" for one in scores)
    what = "Labels and wider types" if of == "tree" else "Labels"
    assert f"{what} with a score of at least {easy} to {hard}" in said
    assert "(obs['donor']; manifest.json has that of each)" in said
    assert f"more of the cells of b would, so thresholds were raised there from {easy}" in said
    as_one = fitted(merged(HARD_CELLS, of), EVEN, None)
    assert label_facts(tally, as_one).reliability_by_sample is None
    assert f"so a threshold was raised from {easy}" in reliability(card, used(as_one)).text
    assert "raised" not in reliability(card, Thresholds.as_learned(LEARNED[of])).text


def test_levels_are_counted_by_the_threshold_of_each_cell() -> None:
    merge = fitted(merged(BOTH, "lineages"), EVEN, samples_of(18_000, 2_000))
    levels = np.concatenate([group.calls.level_n for group in merge.groups() if group.calls.level_n is not None])
    by_hand = []
    for group in merge.groups():
        score_n, lineages = group.calls.top_score_nk[:, 0], group.calls.lineages
        assert lineages is not None
        for place, row in enumerate(range(group.rows.start, group.rows.stop)):
            own = used(merge).found[0 if row < 18_000 else 1]
            assert own.label_score is not None
            assert own.lineage_score is not None
            label, lineage = np.float32(own.label_score), np.float32(own.lineage_score)
            alone = group.calls.top_label_nk[place, 0] > 2 and lineages.code_n[place] != 0
            if score_n[place] >= label:
                by_hand.append(Level.LABEL)
            elif lineages.score_n[place] >= lineage:
                by_hand.append(Level.LABEL if alone else Level.LINEAGE)
            else:
                by_hand.append(Level.NONE)
    assert levels.tolist() == by_hand
