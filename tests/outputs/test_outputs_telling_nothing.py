"""Models whose scores tell nothing about cells: the warnings say so, however high the corrected scores are."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.engine.composition import Composition
from jobs.inference.merge.calls import Vocabulary
from jobs.inference.merge.tally import Tally
from jobs.inference.outputs.reading_findings import findings_of
from shared.bundles.card import Label, ModelCard, Training
from shared.bundles.skill import skill_of
from tests.engine.cards import make_card


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


def codes(uncorrected: float | None, corrected: float = 0.9, of: ModelCard | None = None) -> list[str]:
    model = of or card()
    tally = Tally(Vocabulary(model.labels))
    tally.n_cells = 100
    tally.score_cb[0, int(corrected * 200)] = 100
    share = tuple(np.full(len(model.labels), 1 / len(model.labels)))
    composition = None if uncorrected is None else Composition(share, share, 100, uncorrected)
    return [one.code for one in findings_of((), tally, model, composition=composition)]


@pytest.mark.parametrize(
    ("n_labels", "uncorrected", "said"),
    [(4, 0.43, True), (4, 0.44, False), (2, 0.62, True), (2, 0.63, False), (100, 0.25, True), (100, 0.26, False)],
)
def test_low_scores_before_the_correction_are_said(n_labels: int, uncorrected: float, said: bool) -> None:
    assert codes(uncorrected, of=card(n_labels)) == ["LOW_SCORES"] * said


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


def test_guesses_are_among_the_labels_that_were_held_out() -> None:
    model = card(metrics={"balanced_accuracy": 0.5}, supports=(9, 9, 0, 0))
    assert codes(0.9, of=model) == ["WEAK_MODEL"]
    assert codes(0.9, of=card(metrics={"balanced_accuracy": 0.5})) == []


def test_a_model_without_a_record_is_not_judged() -> None:
    assert skill_of(card()) is None
    assert skill_of(card(metrics={"accuracy": 0.1})) is None
    assert skill_of(card(metrics={"balanced_accuracy": 1.0}, supports=(9, 0, 0, 0))) is None
