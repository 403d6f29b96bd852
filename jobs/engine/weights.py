"""The tensors of a linear bundle, checked once against its card so that the arithmetic can trust them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from shared.bundles.card import Log1p, ModelCard, Normalise, Standardise
from shared.domain.errors import InvalidBundleError

_FLOATS = (torch.float32, torch.float64)
_LARGEST = 1e15
"""Beyond this, and for standard deviations below its inverse, a score could leave float32; real ones come to 1e5."""


@dataclass(frozen=True, slots=True)
class LinearWeights:
    """The parameters of a linear model, in float64 on the cpu.

    Attributes:
        coef_lf: Weights, labels x features, for standardised expression.
        intercept_l: One for each label.
        mean_f: Mean log1p expression of each feature in the training cells.
        std_f: Its standard deviation; above 0.
        target_sum: Counts that a cell is scaled to before the logarithm.
        clip_max: Largest standardised value; None does not clip.
    """

    coef_lf: torch.Tensor
    intercept_l: torch.Tensor
    mean_f: torch.Tensor
    std_f: torch.Tensor
    target_sum: float
    clip_max: float | None


def linear_weights(card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> LinearWeights:
    """Check the tensors of a linear bundle against its card.

    Expected are ``coef`` (labels x features), ``intercept`` (labels), ``mean`` and ``std`` (features), each float32 or
    float64: an imported model keeps the precision it came with.

    Raises:
        InvalidBundleError: A tensor is missing, superfluous, of another shape or type, or holds values that no
            arithmetic can use; or the card asks for steps that a linear model does not have.
    """
    target_sum, clip_max = _steps(card, where)
    n_labels, n_features = len(card.labels), len(card.features)
    shapes = {"coef": (n_labels, n_features), "intercept": (n_labels,), "mean": (n_features,), "std": (n_features,)}
    if set(tensors) != set(shapes):
        raise _invalid(f"tensors {sorted(tensors)}", f"exactly {sorted(shapes)}", where)
    for name, shape in shapes.items():
        _check_tensor(name, tensors[name], shape, where)
    if bool((tensors["std"] <= 0).any()):
        raise _invalid("a standard deviation of 0 or less in 'std'", "values above 0 (1 for a constant gene)", where)
    if bool((tensors["std"] < 1 / _LARGEST).any()):
        least = float(tensors["std"].min())
        raise _invalid(f"a standard deviation of {least:g} in 'std'", f"at least {1 / _LARGEST:g}", where)
    coef, intercept, mean, std = (tensors[name].to("cpu", torch.float64) for name in shapes)
    return LinearWeights(coef, intercept, mean, std, target_sum, clip_max)


def _steps(card: ModelCard, where: str) -> tuple[float, float | None]:
    match card.preprocessing:
        case (Normalise(target_sum=target_sum), Log1p(), Standardise(clip_max=clip_max)):
            return target_sum, clip_max
        case _:
            found = " → ".join(step.step for step in card.preprocessing) or "none"
            raise _invalid(f"preprocessing {found}", "normalise → log1p → standardise for a linear model", where)


def _check_tensor(name: str, tensor: torch.Tensor, shape: tuple[int, ...], where: str) -> None:
    if tuple(tensor.shape) != shape:
        raise _invalid(f"tensor {name!r} of shape {tuple(tensor.shape)}", f"{shape}, as the card's tables", where)
    if tensor.dtype not in _FLOATS:
        raise _invalid(f"tensor {name!r} of type {tensor.dtype}", "float32 or float64", where)
    if not bool(torch.isfinite(tensor).all()):
        raise _invalid(f"NaN or infinite values in tensor {name!r}", "finite numbers", where)
    largest = float(tensor.abs().max()) if tensor.numel() else 0.0
    if largest > _LARGEST:
        raise _invalid(f"values up to {largest:g} in tensor {name!r}", f"at most {_LARGEST:g}", where)


def _invalid(found: str, expected: str, where: str) -> InvalidBundleError:
    hint = "Make the bundle again with `celldrop models import` or `celldrop models train`."
    return InvalidBundleError(found, expected=expected, where=where, hint=hint)
