"""Fits multinomial logistic regression with a ridge penalty, by L-BFGS on all cells at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, linear


@dataclass(frozen=True, slots=True)
class Fit:
    """The fitted weights.

    Attributes:
        coef_lf: Coefficients, labels x features, float32.
        intercept_l: One intercept for each label, float32.
    """

    coef_lf: torch.Tensor
    intercept_l: torch.Tensor


def no_fit(n_labels: int, n_features: int) -> Fit:
    """The start of the first fit: zeros."""
    return Fit(torch.zeros(n_labels, n_features), torch.zeros(n_labels))


def balanced_weights(class_n: torch.Tensor, n_labels: int) -> torch.Tensor:
    """The cell weight of each label that gives all labels the same total weight, with a mean of 1 over cells."""
    return len(class_n) / (n_labels * torch.bincount(class_n, minlength=n_labels).clamp(min=1)).float()


@dataclass(frozen=True, slots=True)
class Problem:
    """The data of a fit.

    Attributes:
        z_nf: Standardised expression, cells x features, float32.
        class_n: The label of each cell, int64.
        weight_l: The weight of each label's cells.
    """

    z_nf: torch.Tensor
    class_n: torch.Tensor
    weight_l: torch.Tensor


def fit_ridge(
    problem: Problem, start: Fit, *, strength: float, max_iterations: int, on_step: Callable[[], None]
) -> Fit:
    """Minimise ``mean over cells of weight x cross entropy + strength / 2 x Σ coef²``. The intercept is not penalised.

    The problem is convex, so the start only affects the speed. Deterministic on one machine with a fixed number of
    threads.

    Args:
        strength: The strength of the penalty, relative to the mean loss of a cell.
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
