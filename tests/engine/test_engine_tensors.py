from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from jobs.engine.kinds.linear import Linear
from jobs.engine.kinds.neighbours import Neighbours
from jobs.engine.kinds.table import KINDS, check_tensors
from shared.bundles.card import Kind, Log1p, ModelCard, Normalise
from shared.domain.errors import InvalidBundleError
from tests.engine.cards import make_card, make_centroid, make_encoded, make_neighbours, make_neural, make_tensors

NAN, INFINITY = float("nan"), float("inf")
Tensors = dict[str, torch.Tensor]


def linear() -> tuple[ModelCard, Tensors]:
    return make_card(3, 5), make_tensors(3, 5)


def centroid() -> tuple[ModelCard, Tensors]:
    return make_centroid(3, 5, n_components=2)


def neighbours() -> tuple[ModelCard, Tensors]:
    return make_neighbours(3, 5, n_components=2)


def neural() -> tuple[ModelCard, Tensors]:
    return make_neural(3, 5)


def encoded() -> tuple[ModelCard, Tensors]:
    return make_encoded(3, 5)


EXAMPLES: dict[Kind, Callable[[], tuple[ModelCard, Tensors]]] = {
    Kind.LINEAR: linear,
    Kind.CENTROID: centroid,
    Kind.NEIGHBOURS: neighbours,
    Kind.NEURAL: neural,
    Kind.ENCODED: encoded,
}
STANDARDISED = [kind for kind in Kind if kind not in {Kind.NEURAL, Kind.ENCODED}]


def test_every_kind_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(KINDS) == set(Kind)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_of_either_precision_are_taken(dtype: torch.dtype) -> None:
    weights = Linear().weights(make_card(3, 5), make_tensors(3, 5, dtype=dtype))
    assert weights.coef_lf.dtype is torch.float64
    assert weights.standardisation.clip_max == 10.0


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda tensor: tensor[:-1], "shape"),
        (lambda tensor: tensor[None], "shape"),
        (lambda tensor: tensor.half(), "float16"),
        (lambda tensor: tensor.to(torch.int32), "int32"),
        (lambda tensor: torch.full_like(tensor, NAN), "NaN"),
        (lambda tensor: torch.full_like(tensor, INFINITY), "infinite"),
        (lambda tensor: torch.full_like(tensor, 1e30), r"values up to 1e\+30"),
        (lambda tensor: torch.full_like(tensor.double(), -1e300), r"values up to 1e\+300"),
    ],
    ids=["short", "axis", "float16", "int32", "nan", "inf", "1e30", "1e300"],
)
def test_a_tensor_that_no_arithmetic_can_use_is_refused(
    kind: Kind, damage: Callable[[torch.Tensor], torch.Tensor], told: str
) -> None:
    card, tensors = EXAMPLES[kind]()
    check_tensors(card, tensors)
    for name, tensor in tensors.items():
        with pytest.raises(InvalidBundleError, match=told) as refused:
            check_tensors(card, tensors | {name: damage(tensor)})
        assert repr(name) in refused.value.message


@pytest.mark.parametrize("kind", STANDARDISED)
@pytest.mark.parametrize("std", [torch.zeros(5), -torch.ones(5), torch.full((5,), 1e-30)], ids=["0", "-1", "1e-30"])
def test_a_deviation_that_nothing_can_be_divided_by_is_refused(kind: Kind, std: torch.Tensor) -> None:
    card, tensors = EXAMPLES[kind]()
    with pytest.raises(InvalidBundleError, match="deviation"):
        check_tensors(card, tensors | {"std": std})


@pytest.mark.parametrize("kind", Kind)
def test_a_tensor_too_many_or_too_few_is_refused(kind: Kind) -> None:
    card, tensors = EXAMPLES[kind]()
    with pytest.raises(InvalidBundleError, match="extra"):
        check_tensors(card, tensors | {"extra": torch.ones(5)})
    missing = next(iter(tensors))
    del tensors[missing]
    with pytest.raises(InvalidBundleError, match=missing):
        check_tensors(card, tensors)


@pytest.mark.parametrize("kind", Kind)
def test_steps_that_a_model_does_not_have_are_refused(kind: Kind) -> None:
    card, tensors = EXAMPLES[kind]()
    with pytest.raises(InvalidBundleError, match="log1p → normalise"):
        check_tensors(card.model_copy(update={"preprocessing": (Log1p(), Normalise())}), tensors)


@pytest.mark.parametrize("kind", [Kind.NEIGHBOURS, Kind.ENCODED])
@pytest.mark.parametrize("label", [-1.0, 0.5, 3.0])
def test_a_reference_cell_of_no_label_is_refused(kind: Kind, label: float) -> None:
    card, tensors = EXAMPLES[kind]()
    tensors["reference_label"][7] = label
    with pytest.raises(InvalidBundleError, match="a number that is no label's in 'reference_label'"):
        check_tensors(card, tensors)


def test_a_large_tensor_is_not_copied() -> None:
    card, tensors = neighbours()
    weights = Neighbours().weights(card, tensors)
    assert weights.reference_rc.data_ptr() == tensors["reference"].data_ptr()
