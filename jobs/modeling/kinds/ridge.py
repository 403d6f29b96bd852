"""The fit: multinomial logistic regression with a ridge penalty, by L-BFGS over all cells at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, linear


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights for the features that were fitted on.

    Attributes:
        coef_lf: Labels x features, float32.
        intercept_l: One for each label, float32.
    """

    coef_lf: torch.Tensor
    intercept_l: torch.Tensor


def no_fit(n_labels: int, n_features: int) -> Fit:
    """Where the first fit starts: zeros."""
    return Fit(torch.zeros(n_labels, n_features), torch.zeros(n_labels))


def balanced_weights(class_n: torch.Tensor, n_labels: int) -> torch.Tensor:
    """A weight for each label with which all labels weigh the same, as a cell's average stays 1."""
    return len(class_n) / (n_labels * torch.bincount(class_n, minlength=n_labels).clamp(min=1)).float()


@dataclass(frozen=True, slots=True)
class Problem:
    """What is fitted.

    Attributes:
        z_nf: Cells x features, float32.
        class_n: Label of each cell, int64.
        weight_l: Weight of the cells of each label.
    """

    z_nf: torch.Tensor
    class_n: torch.Tensor
    weight_l: torch.Tensor


def fit_ridge(
    problem: Problem, start: Fit, *, strength: float, max_iterations: int, on_step: Callable[[], None]
) -> Fit:
    """Minimise ``mean over cells of weight x cross entropy + strength / 2 x Σ coef²``; the intercept is free.

    Convex, so that the start decides only how soon it ends. Deterministic for one machine and number of threads.

    Args:
        strength: Of the penalty, relative to the mean loss of a cell.
        on_step: Called at every evaluation of the loss.
    """
    coef_lf = start.coef_lf.clone().requires_grad_()
    intercept_l = start.intercept_l.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [coef_lf, intercept_l],
        max_iter=max_iterations,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )

    def loss() -> float:
        on_step()
        optimizer.zero_grad()
        decision_nl = linear(problem.z_nf, coef_lf, intercept_l)
        misfit = cross_entropy(decision_nl, problem.class_n, weight=problem.weight_l)
        total: torch.Tensor = misfit + strength / 2 * coef_lf.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Fit(coef_lf.detach(), intercept_l.detach())
