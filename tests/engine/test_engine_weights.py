from __future__ import annotations

import pytest
import torch

from jobs.engine.weights import linear_weights
from shared.bundles.card import Log1p, Normalise
from shared.domain.errors import InvalidBundleError
from tests.engine.cards import make_card, make_tensors

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_of_either_precision_are_taken(dtype: torch.dtype) -> None:
    weights = linear_weights(make_card(3, 5), make_tensors(3, 5, dtype=dtype))
    assert weights.coef_lf.dtype is torch.float64
    assert weights.clip_max == 10.0


@pytest.mark.parametrize(
    ("name", "tensor", "told"),
    [
        ("coef", torch.zeros(5, 3), "shape"),
        ("intercept", torch.zeros(4), "shape"),
        ("mean", torch.zeros(5, 1), "shape"),
        ("mean", torch.zeros(5, dtype=torch.float16), "float16"),
        ("coef", torch.zeros(3, 5, dtype=torch.int32), "int32"),
        ("coef", torch.full((3, 5), NAN), "NaN"),
        ("intercept", torch.full((3,), INFINITY), "infinite"),
        ("std", torch.zeros(5), "deviation"),
        ("std", -torch.ones(5), "deviation"),
        ("std", torch.full((5,), 1e-30), "deviation of 1e-30"),
        ("coef", torch.full((3, 5), 1e30), r"values up to 1e\+30"),
        ("mean", torch.full((5,), -1e300, dtype=torch.float64), r"values up to 1e\+300"),
        ("extra", torch.ones(5), "extra"),
    ],
)
def test_weights_that_no_arithmetic_can_use_are_refused(name: str, tensor: torch.Tensor, told: str) -> None:
    with pytest.raises(InvalidBundleError, match=told):
        linear_weights(make_card(3, 5), make_tensors(3, 5) | {name: tensor})


def test_a_missing_tensor_is_refused() -> None:
    tensors = make_tensors(3, 5)
    del tensors["std"]
    with pytest.raises(InvalidBundleError, match="coef"):
        linear_weights(make_card(3, 5), tensors)


def test_steps_that_a_linear_model_does_not_have_are_refused() -> None:
    card = make_card(3, 5, preprocessing=(Log1p(), Normalise()))
    with pytest.raises(InvalidBundleError, match="log1p → normalise"):
        linear_weights(card, make_tensors(3, 5))
