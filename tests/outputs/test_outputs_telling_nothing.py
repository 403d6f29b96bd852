"""Models whose scores tell nothing about cells: the warnings say so, however high the corrected scores are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jobs.engine.composition import Composition
from jobs.inference.merge.calls import Vocabulary
from jobs.inference.merge.tally import Tally
from jobs.inference.outputs.reading_findings import findings_of
from jobs.inference.parts.part import PartLayout
from shared.bundles.card import Label, ModelCard, Training
from shared.bundles.skill import skill_of
from tests.engine.cards import make_card
from tests.outputs.stand_ins import Draws, merge_of


def card(n_labels: int = 4, metrics: dict[str, float] | None = None, supports: tuple[int, ...] = ()) -> ModelCard:
    labels = tuple(Label(name=f"type {number}") for number in range(n_labels))
    record = {f"type {n}": {"support": float(support)} for n, support in enumerate(supports or (9,) * n_labels)}
    return make_card(
        n_labels,
        3,
        activation="softmax",
        labels=labels,
        assumed_shares=(1 / n_labels,) * n_labels,
        training=Training(method="test", metrics=metrics or {}, per_label=record if metrics else {}),
    )


def codes(information: float | None, corrected: float = 0.9, of: ModelCard | None = None) -> list[str]:
    model = of or card()
    tally = Tally(Vocabulary(model.labels))
    tally.n_cells = 100
    tally.score_cb[0, int(corrected * 200)] = 100
    share = tuple(np.full(len(model.labels), 1 / len(model.labels)))
    composition = None if information is None else Composition(share, share, 100, information)
    merge = merge_of(Draws(PartLayout(100, n_labels=len(share), top_k=2), softmax=True), 1)
    merge = replace(merge, rules=replace(merge.rules, composition=composition))
    return [one.code for one in findings_of((), tally, model, merge=merge)]


@pytest.mark.parametrize(("information", "said"), [(0.0, True), (0.29, True), (0.3, False), (1.2, False)])
def test_scores_that_say_little_before_the_correction_are_told(information: float, said: bool) -> None:
    assert codes(information) == ["LOW_SCORES"] * said


def test_low_scores_are_said_once_and_those_that_are_not_corrected_by_themselves() -> None:
    assert codes(0.1, corrected=0.3) == ["LOW_SCORES"]
    assert codes(None, corrected=0.3) == ["LOW_SCORES"]
    assert codes(None) == []


@pytest.mark.parametrize(("accuracy", "said"), [(0.25, True), (0.43, True), (0.44, False), (1.0, False)])
def test_a_model_that_was_hardly_better_than_guessing_is_said(accuracy: float, said: bool) -> None:
    model = card(metrics={"balanced_accuracy": accuracy})
    (skill,) = [one for one in [skill_of(model)] if one]
    assert skill.by_chance == 0.25
    assert codes(0.9, of=model) == ["WEAK_MODEL"] * said


def test_guesses_are_among_all_labels_also_those_that_were_not_held_out() -> None:
    model = card(metrics={"balanced_accuracy": 0.5}, supports=(9, 9, 0, 0))
    assert codes(0.9, of=model) == []
    assert codes(0.9, of=card(2, metrics={"balanced_accuracy": 0.5})) == ["WEAK_MODEL"]


def test_a_model_without_a_record_is_not_judged() -> None:
    assert skill_of(card()) is None
    assert skill_of(card(metrics={"accuracy": 0.1})) is None
