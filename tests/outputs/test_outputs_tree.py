"""Reliable labels by a tree: columns, counts, manifest and report say the same, for any number of tasks."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from jobs.engine.composition import estimate
from jobs.engine.levels import Level
from jobs.engine.raising import Thresholds, raised_in_tree
from jobs.inference.merge.calls import Rules
from jobs.inference.merge.fitting import fitted, used_scores
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.own_labels import NoOwnLabels
from jobs.inference.merge.survey import Survey
from jobs.inference.merge.tally import Tally
from jobs.inference.outputs.annotation_files import annotations_parquet
from jobs.inference.outputs.label_facts import label_facts
from jobs.inference.parts.part import PartLayout
from jobs.inference.report.assessment import assess
from jobs.inference.report.gathering import label_rows
from jobs.inference.report.mapping import Layout, draw_map
from shared.bundles.card import UNASSIGNED, Familiarity, Features, Label, ModelCard, Reliability
from shared.bundles.groups import Group
from shared.domain.words import percent
from tests.engine.cards import make_card
from tests.outputs.stand_ins import Draws, merge_of

LABELS = (
    Label(name="helper", lineage="T cell"),
    Label(name="memory", lineage="T cell"),
    Label(name="killer", lineage="T cell"),
    Label(name="B cell", lineage="B cell"),
    Label(name="monocyte", lineage="monocyte"),
)
TREE = (
    Group(name="CD4 T cell", ontology_id="CL:0000624", labels=("helper", "memory")),
    Group(name="T cell", ontology_id="CL:0000084", labels=("helper", "memory", "killer")),
    Group(name="lymphocyte", labels=("helper", "memory", "killer", "B cell")),
)
RELIABILITY = Reliability(error=0.05, label_score=None, lineage_score=None, tree_score=0.85)
FAMILIARITY = Familiarity(
    genes=Features(symbol=("X1", "X2")), typical_total=1000, spread=0.01, threshold=3.0, false_alarm=0.025
)
N_CELLS = 2_000


def card(**fields: object) -> ModelCard:
    known = {"activation": "softmax", "labels": LABELS, "tree": TREE, "reliability": (RELIABILITY,)}
    return make_card(5, 3, **(known | fields))


def merged(
    n_tasks: int, *, reliability: Reliability = RELIABILITY, min_score: float | None = None, shares: bool = False
) -> Merge:
    """Cells of which every tenth is unfamiliar, and every eleventh has no value of the model's genes."""
    draws = Draws(
        PartLayout(N_CELLS, n_labels=5, top_k=2, full=True),
        softmax=True,
        unfamiliar=tuple((np.arange(N_CELLS) % 10 == 9).tolist()),
        silent=tuple((np.arange(N_CELLS) % 11 == 5).tolist()),
    )
    merge = merge_of(draws, n_tasks)
    rules = Rules(min_score, familiarity=FAMILIARITY, lineages=True, thresholds=Thresholds.as_learned(reliability))
    merge = replace(merge, vocabulary=replace(merge.vocabulary, labels=LABELS, groups=TREE), rules=rules)
    if shares:
        found = estimate(used_scores(merge), (0.2,) * 5, N_CELLS)
        merge = replace(merge, rules=replace(rules, composition=found))
    return merge


def bytes_of(merge: Merge) -> bytes:
    return b"".join(annotations_parquet(merge.tables(), {}))


def frame_of(merge: Merge) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(bytes_of(merge)))


def tally_of(merge: Merge) -> Tally:
    survey = Survey(merge)
    list(survey.tables())
    return survey.findings().tally


def probabilities(merge: Merge) -> npt.NDArray[np.float64]:
    found = [group.calls.probability_nl for group in merge.groups() if group.calls.probability_nl is not None]
    return np.concatenate(found).astype(np.float64)


@pytest.mark.parametrize("shares", [False, True])
def test_one_task_or_seven_give_the_same_bytes(shares: bool) -> None:
    assert bytes_of(merged(1, shares=shares)) == bytes_of(merged(7, shares=shares))


@pytest.mark.parametrize("shares", [False, True])
def test_the_reliable_label_is_the_narrowest_type_with_enough(shares: bool) -> None:
    merge = merged(2, shares=shares)
    frame, sums = frame_of(merge), pd.DataFrame(probabilities(merge), columns=[label.name for label in LABELS])
    expected = pd.Series(UNASSIGNED, index=frame.index)
    for group in reversed(TREE):
        expected[sums[list(group.labels)].sum(axis=1) >= 0.85] = group.name
    sure = sums.max(axis=1) >= 0.85
    expected[sure] = np.array(sums.columns)[sums.to_numpy().argmax(axis=1)][sure]
    cells = np.arange(N_CELLS)
    expected[(cells % 10 == 9) & (cells % 11 != 5) | (cells % 11 == 5)] = UNASSIGNED
    assert frame["reliable_label"].astype(str).tolist() == expected.tolist()
    given = frame["reliable_label"].value_counts()
    assert given[["CD4 T cell", "T cell", "lymphocyte", "helper", "B cell", UNASSIGNED]].min() > 10


def test_an_unassigned_cell_gets_no_label_but_a_wider_type() -> None:
    frame = frame_of(merged(1, min_score=0.95))
    low = frame["abstained"] & (frame["score"] >= np.float32(0.85)) & (frame["reliable_label"] != UNASSIGNED)
    found = frame["reliable_label"][low]
    assert len(found) > 10
    assert set(found) <= {group.name for group in TREE}


def test_without_a_score_that_is_enough_no_cell_has_a_reliable_label() -> None:
    frame = frame_of(merged(1, reliability=RELIABILITY.model_copy(update={"tree_score": None})))
    assert set(frame["reliable_label"]) == {UNASSIGNED}


def test_thresholds_are_raised_by_the_cells_that_are_like_the_training_cells_for_any_number_of_tasks() -> None:
    low = RELIABILITY.model_copy(update={"tree_score": 0.3})
    one, seven = (fitted(merged(n_tasks, reliability=low), (), None) for n_tasks in (1, 7))
    assert bytes_of(one) == bytes_of(seven)
    assert one.rules.thresholds is not None
    least = one.rules.thresholds.whole.tree_score
    assert one.rules.thresholds.any_raised
    assert least is not None
    assert 0.4 < least <= 0.85, "by their scores, more than 5 % of these cells would get a wrong answer at 0.3"
    facts = label_facts(tally_of(one), one)
    assert facts.reliability is not None
    assert (facts.reliability.tree_score, facts.reliability.raised) == (least, True)
    as_learned = label_facts(tally_of(one), fitted(merged(1), (), None)).reliability
    assert as_learned is not None
    assert (as_learned.tree_score, as_learned.raised) == (0.85, False)


def test_scores_that_are_corrected_raise_thresholds_by_the_corrected_ones() -> None:
    merge = fitted(merged(2), (0.2,) * 5, None)
    assert merge.rules.composition is not None
    assert merge.rules.composition == estimate(used_scores(merged(2)), (0.2,) * 5, N_CELLS)
    used_n = np.concatenate([used for _, used in used_scores(merge)])
    kept_nl = probabilities(merge)[used_n].astype(np.float32)
    assert merge.rules.thresholds is not None
    raised = raised_in_tree(RELIABILITY, kept_nl, kept_nl.max(axis=1), merge.vocabulary.tree)
    assert merge.rules.thresholds.whole == raised


def test_counts_manifest_and_report_agree_with_the_column() -> None:
    merge = merged(3)
    frame, tally = frame_of(merge), tally_of(merge)
    counts = frame["reliable_label"].value_counts().to_dict()
    facts = label_facts(tally, merge)
    assert tally.reliable_counts == facts.reliable == counts
    names = {label.name for label in LABELS}
    assert facts.n_reliable_label == sum(count for name, count in counts.items() if name in names)
    assert facts.n_reliable_lineage == counts["T cell"]
    assert facts.n_reliable_group == counts["CD4 T cell"] + counts["lymphocyte"]
    assert tally.level_counts[Level.NONE] == counts[UNASSIGNED]
    sentence = assess(label_rows(tally), tally, card(), None, NoOwnLabels()).sure[0]
    assert f"{percent(facts.n_reliable_group / N_CELLS)} only a wider type (" in sentence
    for name in ("CD4 T cell", "lymphocyte"):
        assert f"{name} {percent(counts[name] / N_CELLS)}" in sentence


def test_a_model_without_a_tree_counts_no_groups() -> None:
    merge = merged(1)
    merge = replace(merge, vocabulary=replace(merge.vocabulary, groups=()))
    assert label_facts(tally_of(merge), merge).n_reliable_group is None


def test_a_name_of_a_group_that_is_a_lineage_is_one_category() -> None:
    names = merged(1).vocabulary.reliable_names
    assert len(set(names)) == len(names)
    assert names.count("T cell") == 1


def test_the_map_says_of_which_cells_the_label_is_reliable() -> None:
    survey = Survey(merged(2))
    list(survey.tables())
    found = survey.findings()
    place_m2 = np.random.default_rng(0).normal(size=(len(found.sample.row_n), 2))
    rows = label_rows(found.tally)
    drawn = draw_map(found.sample, rows, merged(1).vocabulary, Layout(place_m2), N_CELLS)
    assert drawn is not None
    frame, names = frame_of(merged(1)), {label.name for label in LABELS}
    expected = frame["reliable_label"].isin(names).to_numpy()[found.sample.row_n]
    points = {point.title.split(" ")[0]: point for group in drawn.groups for point in group.points}
    ids = frame["cell_id"].to_numpy()[found.sample.row_n]
    assert [points[name].sure for name in ids] == expected.tolist()
    wider = (frame["reliable_label"] == "CD4 T cell").to_numpy()[found.sample.row_n]
    assert wider.any()
    assert all(points[name].title.endswith("reliable only: CD4 T cell") for name in ids[wider])
    mostly = {row.name for row in rows if row.reliable is not None and row.reliable >= 0.5}
    assert {" ".join(text.lines) for text in drawn.texts} <= mostly
