"""Checks the tensors of a bundle against its card, once, so that the arithmetic can rely on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch

from shared.domain.errors import InvalidBundleError

_FLOATS = (torch.float32, torch.float64)
LARGEST = 1e15
"""Limit on values, and its inverse on standard deviations, so that scores stay within float32. Real ones reach 1e5."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a bundle.

    Attributes:
        axes: The name of each axis: ``labels``, ``features`` …
        what: A description of its values, for the reference page.
        large: Whether it may be too large for a copy in float64: it stays as it is stored.
    """

    axes: tuple[str, ...]
    what: str
    large: bool = False


TensorTable: TypeAlias = Mapping[str, Tensor]


def checked(
    table: TensorTable, sizes: Mapping[str, int], tensors: Mapping[str, torch.Tensor], *, where: str = ""
) -> dict[str, torch.Tensor]:
    """Check tensors against a table, and return them on the CPU, as float64 unless they are large.

    They may be stored as float32 or float64: an imported model keeps its precision.

    Args:
        sizes: The length of each axis, from the card.

    Raises:
        InvalidBundleError: A tensor is missing, unexpected, of the wrong shape or type, or has unusable values.
    """
    if set(tensors) != set(table):
        raise invalid(f"tensors {sorted(tensors)}", f"exactly {sorted(table)}", where)
    for name, tensor in table.items():
        _check(name, tensors[name], tuple(sizes[axis] for axis in tensor.axes), where)
    return {
        name: tensors[name].cpu() if tensor.large else tensors[name].to("cpu", torch.float64)
        for name, tensor in table.items()
    }


def invalid(found: str, expected: str, where: str) -> InvalidBundleError:
    """The error for a bundle with parts that do not fit together."""
    hint = "Make the bundle again with `celldrop models import` or `celldrop models train`."
    return InvalidBundleError(found, expected=expected, where=where, hint=hint)


def _check(name: str, tensor: torch.Tensor, shape: tuple[int, ...], where: str) -> None:
    if tuple(tensor.shape) != shape:
        raise invalid(f"tensor {name!r} of shape {tuple(tensor.shape)}", f"{shape}, as the card's tables", where)
    if tensor.dtype not in _FLOATS:
        raise invalid(f"tensor {name!r} of type {tensor.dtype}", "float32 or float64", where)
    extremes = [float(value) for value in tensor.aminmax()] if tensor.numel() else [0.0]
    if not all(map(math.isfinite, extremes)):
        raise invalid(f"NaN or infinite values in tensor {name!r}", "finite numbers", where)
    largest = max(map(abs, extremes))
    if largest > LARGEST:
        raise invalid(f"values up to {largest:g} in tensor {name!r}", f"at most {LARGEST:g}", where)
