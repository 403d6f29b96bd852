"""The tensors of a bundle, checked once against its card so that the arithmetic can trust them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch

from shared.domain.errors import InvalidBundleError

_FLOATS = (torch.float32, torch.float64)
LARGEST = 1e15
"""Beyond this, and for standard deviations below its inverse, a score could leave float32; real ones come to 1e5."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a bundle.

    Attributes:
        axes: What each of its axes counts: ``labels``, ``features`` …
        what: What its values are, for the reference page.
    """

    axes: tuple[str, ...]
    what: str


TensorTable: TypeAlias = Mapping[str, Tensor]


def checked(
    table: TensorTable, sizes: Mapping[str, int], tensors: Mapping[str, torch.Tensor], *, where: str = ""
) -> dict[str, torch.Tensor]:
    """The tensors as float64 on the cpu, known to be those of the table.

    Each may be stored as float32 or float64: an imported model keeps the precision that it came with.

    Args:
        sizes: The length of each axis, as the card says.

    Raises:
        InvalidBundleError: A tensor is missing, superfluous, of another shape or type, or holds values that no
            arithmetic can use.
    """
    if set(tensors) != set(table):
        raise invalid(f"tensors {sorted(tensors)}", f"exactly {sorted(table)}", where)
    for name, tensor in table.items():
        _check(name, tensors[name], tuple(sizes[axis] for axis in tensor.axes), where)
    return {name: tensors[name].to("cpu", torch.float64) for name in table}


def invalid(found: str, expected: str, where: str) -> InvalidBundleError:
    """The error of a bundle whose parts do not fit one another."""
    hint = "Make the bundle again with `celldrop models import` or `celldrop models train`."
    return InvalidBundleError(found, expected=expected, where=where, hint=hint)


def _check(name: str, tensor: torch.Tensor, shape: tuple[int, ...], where: str) -> None:
    if tuple(tensor.shape) != shape:
        raise invalid(f"tensor {name!r} of shape {tuple(tensor.shape)}", f"{shape}, as the card's tables", where)
    if tensor.dtype not in _FLOATS:
        raise invalid(f"tensor {name!r} of type {tensor.dtype}", "float32 or float64", where)
    if not bool(torch.isfinite(tensor).all()):
        raise invalid(f"NaN or infinite values in tensor {name!r}", "finite numbers", where)
    largest = float(tensor.abs().max()) if tensor.numel() else 0.0
    if largest > LARGEST:
        raise invalid(f"values up to {largest:g} in tensor {name!r}", f"at most {LARGEST:g}", where)
