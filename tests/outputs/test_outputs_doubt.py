"""Unfamiliar, silent and unassigned cells: what becomes of them in the merge, the warnings and the report."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from jobs.engine.levels import Level
from jobs.engine.raising import Thresholds
from jobs.inference.annotated.h5ad import absent_of
from jobs.inference.merge.calls import Rules
from jobs.inference.merge.fitting import used_scores
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.own_labels import NoOwnLabels
from jobs.inference.merge.survey import Findings, Survey
from jobs.inference.outputs.annotation_files import annotations_parquet
from jobs.inference.outputs.reading_findings import findings_of
from jobs.inference.parts.part import PartLayout
from jobs.inference.report import sentences
from jobs.inference.report.assessment import assess
from jobs.inference.report.gathering import label_rows
from shared.bundles.card import UNASSIGNED, Familiarity, Features, Label, ModelCard, Reliability
from shared.domain.words import percent
from tests.engine.cards import make_card
from tests.outputs.stand_ins import Draws, merge_of

LABELS = (
    Label(name="helper", lineage="T cell"),
    Label(name="memory", lineage="T cell"),
    Label(name="B cell", lineage="B cell"),
    Label(name="NK cell", lineage="NK cell"),
)
FAMILIARITY = Familiarity(
    genes=Features(symbol=("X1", "X2")), typical_total=1000, spread=0.01, threshold=3.0, false_alarm=0.025
)
RELIABILITY = Reliability(error=0.05, label_score=0.7, lineage_score=0.5)


def card() -> ModelCard:
    fields = {"activation": "softmax", "labels": LABELS, "familiarity": FAMILIARITY, "reliability": (RELIABILITY,)}
    return make_card(4, 3, **fields)


def merged(
    unfamiliar_n: npt.NDArray[np.bool_], silent_n: npt.NDArray[np.bool_] | None = None, **rules: object
) -> Merge:
    """Cells of which these are unfamiliar, and these have no value of the model's genes."""
    draws = Draws(PartLayout(len(unfamiliar_n), n_labels=4, top_k=2, full=True), softmax=True)
    draws = replace(draws, unfamiliar=tuple(unfamiliar_n), silent=() if silent_n is None else tuple(silent_n))
    merge = merge_of(draws, 2)
    made = Rules(familiarity=FAMILIARITY, lineages=True, thresholds=Thresholds.as_learned(RELIABILITY))
    return replace(
        merge,
        vocabulary=replace(merge.vocabulary, labels=LABELS),
        rules=replace(made, **rules),  # type: ignore[arg-type]
    )


def findings(merge: Merge) -> Findings:
    survey = Survey(merge)
    list(survey.tables())
    return survey.findings()


def frame_of(merge: Merge) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(b"".join(annotations_parquet(merge.tables(), {}))))


def first(count: int, n_cells: int = 300) -> npt.NDArray[np.bool_]:
    return np.arange(n_cells) < count


def test_an_unfamiliar_or_silent_cell_has_no_reliable_label_and_no_say_in_the_shares() -> None:
    unfamiliar_n, silent_n = first(60), np.arange(300) % 10 == 9
    merge = merged(unfamiliar_n, silent_n)
    frame = frame_of(merge)
    assert frame["unfamiliar"].dropna().index.tolist() == np.flatnonzero(~silent_n).tolist()
    assert (frame["unfamiliar"][~silent_n].astype(bool) == unfamiliar_n[~silent_n]).all()
    assert set(frame["reliable_label"][unfamiliar_n | silent_n]) == {UNASSIGNED}
    assert set(frame["lineage"][silent_n]) == {UNASSIGNED}
    assert frame["lineage_score"].isna().tolist() == silent_n.tolist()
    used_n = np.concatenate([used for _, used in used_scores(merge)])
    assert (used_n == ~unfamiliar_n & ~silent_n).all()


def test_an_unassigned_cell_can_have_a_reliable_lineage() -> None:
    merge = merged(first(0), min_score=0.9)
    frame = frame_of(merge)
    sure = frame["lineage_score"] >= np.float32(0.5)
    assert (
        frame["reliable_label"][frame["abstained"] & sure] == frame["lineage"][frame["abstained"] & sure].astype(str)
    ).all()
    assert (frame["abstained"] & sure).sum() > 20
    assert (frame["reliable_label"][~frame["abstained"]] == frame["label"][~frame["abstained"]].astype(str)).all()


def test_a_lineage_that_says_the_same_as_its_only_label_counts_as_this_label() -> None:
    merge = merged(first(30))
    tally, frame = findings(merge).tally, frame_of(merge)
    label_n = frame["reliable_label"].astype(str) == frame["label"].astype(str)
    by_score_n = (frame["score"] >= np.float32(0.7)) & ~frame["unfamiliar"].astype(bool)
    assert label_n[by_score_n].all()
    assert label_n.sum() > by_score_n.sum(), "B and NK cells by their lineage"
    assert tally.level_counts[Level.LABEL] == label_n.sum() == sum(tally.reliable_label_counts.values())
    assert tally.reliable_label_counts == frame["label"][label_n].astype(str).value_counts().to_dict()
    assert sum(tally.level_counts.values()) == 300
    assert tally.reliable_counts == frame["reliable_label"].value_counts().to_dict()
    assert tally.lineage_counts == frame["lineage"].value_counts().to_dict()


@pytest.mark.parametrize(("count", "said"), [(0, False), (29, False), (30, True), (300, True)])
def test_one_unfamiliar_cell_in_ten_is_said(count: int, said: bool) -> None:
    # Spread over all labels, so that none has many by itself.
    unfamiliar_n = np.zeros(300, np.bool_)
    unfamiliar_n[np.random.default_rng(0).permutation(300)[:count]] = True
    found = findings_of((), findings(merged(unfamiliar_n)).tally, card())
    assert [one.code for one in found] == (["UNFAMILIAR_CELLS"] if said else [])
    if said:
        assert found[0].details["n_unfamiliar"] == count


def test_many_unfamiliar_cells_of_one_label_are_said() -> None:
    plain = frame_of(merged(first(0, 1000)))
    of_label = np.flatnonzero(plain["label"] == "memory")
    unfamiliar_n = np.zeros(1000, np.bool_)
    unfamiliar_n[of_label[: int(len(of_label) * 0.31) + 1]] = True
    assert unfamiliar_n.mean() < 0.1
    (found,) = findings_of((), findings(merged(unfamiliar_n)).tally, card())
    assert found.details["labels"] == ["memory"]


def test_silent_cells_do_not_hide_the_rest() -> None:
    silent_n = np.arange(300) >= 30
    (found, *_) = findings_of((), findings(merged(first(20), silent_n)).tally, card())
    assert found.details["share"] == pytest.approx(20 / 30, abs=1e-3)


def test_the_report_says_first_what_is_unlike_the_training_cells() -> None:
    tally = findings(merged(first(151))).tally
    rows = label_rows(tally)
    assert "most of them" in sentences.headline(rows, tally, card())
    assert "unlike" not in sentences.headline(
        label_rows(findings(merged(first(150))).tally), findings(merged(first(150))).tally, card()
    )
    assert "50%" in " ".join(sentences.lead(findings(merged(first(150))).tally, None))
    half = findings(merged(first(150))).tally
    found = assess(label_rows(half), half, card(), None, NoOwnLabels())
    by_level, *_ = found.sure
    assert "By lineage: " in sentences.lead(half, None)[-1]
    assert f"{percent(half.level_counts[Level.LABEL] / 300)} of the cells have a reliable label" in by_level
    assert found.to_do[0].startswith("Count and compare cells by celldrop_reliable_label")
    strange = assess(rows, tally, card(), None, NoOwnLabels())
    assert not strange.sure, "of mostly unfamiliar cells, nothing is sure"
    assert strange.to_do[0].startswith("Do not use the labels of unfamiliar cells")
    assert sum(row.unfamiliar * row.cells for row in rows if row.unfamiliar) == pytest.approx(151)


CLUSTERS = ("cluster", "cluster_label", "cluster_share")


def test_what_is_not_known_is_left_out_of_the_annotated_file() -> None:
    known = findings(merged(first(3))).tally
    assert absent_of(known) == {"mito_share", "value_note", *CLUSTERS}
    draws = Draws(PartLayout(300, n_labels=4, top_k=2), softmax=True)
    assert absent_of(findings(merge_of(draws, 1)).tally) == {
        *("mito_share", "value_note", "unfamiliar", "unfamiliarity", "lineage", "lineage_score", "reliable_label"),
        *CLUSTERS,
    }
