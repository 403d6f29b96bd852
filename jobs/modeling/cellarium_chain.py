"""The pipeline of a cellarium-ml checkpoint as one linear model of standardised log1p expression.

What follows the logarithm is linear: scaling, the projection of a PCA, and the classifier. So the steps are taken from
the last to the first, and each becomes part of the weights and intercepts, in float64; the scaling that comes first
stays as it is. With ``y = b + W·x`` behind a step ``x = (e - m) / s``, that is ``y = (b - (W / s)·m) + (W / s)·e``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.modeling.cellarium_files import Checkpoint, Step, unsupported
from shared.bundles.card import Log1p, Normalise, NormaliseFeatures, Standardise
from shared.bundles.card import Step as Preprocessing
from shared.domain.words import listed

_LARGEST_EPSILON = 1e-3
"""Of what is added to a cell's total: above this, it is no rounding error to one of 1,000 counts."""
_NO_CHANGE = {"Densify", "CellFilter"}
"""Transforms without an effect on what is predicted for a cell."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps that were taken so far, from the last one on: ``y = b + W·(x - m) / s``.

    Attributes:
        names: The names of the inputs.
        weight_ic: ``W``, inputs x labels.
        bias_c: ``b``.
        mean_i: ``m``.
        std_i: ``s``.
    """

    names: tuple[str, ...]
    weight_ic: Floats
    bias_c: Floats
    mean_i: Floats
    std_i: Floats

    @classmethod
    def plain(cls, names: tuple[str, ...], weight_ic: Floats, bias_c: Floats) -> Chain:
        """A linear model of values as they are."""
        return cls(names, weight_ic, bias_c, np.zeros(len(names)), np.ones(len(names)))

    def folded(self) -> Chain:
        """The same with the scaling as part of the weights."""
        weight_ic = self.weight_ic / self.std_i[:, None]
        return Chain.plain(self.names, weight_ic, self.bias_c - self.mean_i @ weight_ic)

    def unexpressed_if_missing(self) -> Chain:
        """The same, but a gene that a file lacks counts as not expressed, not as expressed as in the mean cell."""
        bias_c = self.bias_c - (self.mean_i / self.std_i) @ self.weight_ic
        return replace(self, bias_c=bias_c, mean_i=np.zeros(len(self.names)))


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline as a linear model.

    Attributes:
        preprocessing: The steps of a bundle.
    """

    chain: Chain
    preprocessing: tuple[Preprocessing, ...]


def pipeline_of(saved: Checkpoint, n_labels: int) -> Pipeline:
    """The steps of a checkpoint as a linear model.

    Raises:
        UnsupportedModelError: Its steps are others, come in another order, or do not fit each other.
    """
    steps = [step for step in saved.steps[:-1] if step.kind not in _NO_CHANGE]
    filters = [step for step in steps if step.kind == "Filter"]
    chain = _classifier(saved, n_labels)
    while steps and steps[-1].kind not in {"Log1p", "NormalizeTotal"}:
        chain = _before(steps.pop(), chain, saved)
    if not steps or steps.pop().kind != "Log1p":
        raise unsupported("a pipeline without Log1p before the model", saved.where, _STEPS_HINT)
    beside = list(_filters(steps))
    if not steps or steps[-1].kind != "NormalizeTotal":
        raise unsupported("a pipeline without NormalizeTotal before Log1p", saved.where, _STEPS_HINT)
    scaling = steps.pop()
    earlier = list(_filters(steps))
    if steps:
        raise unsupported(f"a pipeline with {steps[-1].kind} before NormalizeTotal", saved.where, _STEPS_HINT)
    for step in (*earlier, *beside):
        _check_filter(step, chain, saved)
    if any(step.settings.get("allow_missing") is True for step in filters):
        chain = chain.unexpressed_if_missing()
    totalled = names_of(earlier[0], "filter_list", "genes", saved) if earlier else None
    if totalled is None and not filters:
        totalled = chain.names
    return Pipeline(chain, (_scaling(scaling, totalled, chain, saved), Log1p(), Standardise(clip_max=None)))


_STEPS_HINT = (
    "A bundle takes NormalizeTotal, then Log1p, then any of ZScore, DivideByScale and a checkpoint of IncrementalPCA, "
    "with Filter anywhere. Train the model with these as its transforms."
)


def _filters(steps: list[Step]) -> Iterator[Step]:
    """Take the filters from the end of the steps."""
    while steps and steps[-1].kind == "Filter":
        yield steps.pop()


def _classifier(saved: Checkpoint, n_labels: int) -> Chain:
    model = saved.model
    names = names_of(model, "var_names_g", "genes", saved)
    weight_ic = _array(model, "W_gc", (len(names), n_labels), saved)
    return Chain.plain(names, weight_ic, _array(model, "b_c", (n_labels,), saved))


def _before(step: Step, chain: Chain, saved: Checkpoint) -> Chain:
    """The chain with the step before it."""
    match step.kind:
        case "ZScore":
            return _scaled(step, "mean_g", "std_g", chain.folded(), saved)
        case "DivideByScale":
            return _scaled(step, None, "scale_g", chain.folded(), saved)
        case "IncrementalPCA":
            return _projected(step, chain.folded(), saved)
        case "Filter":
            _check_filter(step, chain, saved)
            return chain
        case _:
            raise unsupported(f"a pipeline with {step.kind} as a transform", saved.where, _STEPS_HINT)


def _scaled(step: Step, mean: str | None, std: str, chain: Chain, saved: Checkpoint) -> Chain:
    names = names_of(step, "var_names_g", "genes", saved)
    places = _places(step, names, chain, saved)
    shape = (len(names),)
    std_i = (_array(step, std, shape, saved) + _epsilon(step, saved))[places]
    if (std_i <= 0).any():
        raise unsupported(f"a {step.kind} that divides by 0 or less", saved.where)
    mean_i = _array(step, mean, shape, saved)[places] if mean else chain.mean_i
    return replace(chain, mean_i=mean_i, std_i=std_i)


def _projected(step: Step, chain: Chain, saved: Checkpoint) -> Chain:
    names = names_of(step, "var_names_g", "genes", saved)
    n_components = len(chain.names)
    if chain.names != tuple(f"PC{place + 1}" for place in range(n_components)):
        found = f"an IncrementalPCA before a step that takes {listed(chain.names, 3)}"
        raise unsupported(found, saved.where)
    axes_kg = _array(step, "V_kg", (n_components, len(names)), saved)
    mean_g = _array(step, "x_mean_g", (len(names),), saved)
    weight_gc = axes_kg.T @ chain.weight_ic
    return Chain.plain(names, weight_gc, chain.bias_c - mean_g @ weight_gc)


def _places(step: Step, names: Sequence[str], chain: Chain, saved: Checkpoint) -> list[int]:
    place_of = {name: place for place, name in enumerate(names)}
    missing = [name for name in chain.names if name not in place_of]
    if missing:
        found = f"a {step.kind} without {len(missing):,} of the genes that follow: {listed(missing, 3)}"
        raise unsupported(found, saved.where)
    return [place_of[name] for name in chain.names]


def _check_filter(step: Step, chain: Chain, saved: Checkpoint) -> None:
    _places(step, names_of(step, "filter_list", "genes", saved), chain, saved)


def _scaling(
    step: Step, totalled: Sequence[str] | None, chain: Chain, saved: Checkpoint
) -> Normalise | NormaliseFeatures:
    """The scaling to a total: that of all genes of a cell, or of the features alone if the step sees no others.

    Args:
        totalled: The genes that the step sees; None if it sees all of them.
    """
    target = step.settings.get("target_count")
    if not isinstance(target, int | float) or not 1 <= target <= 1e9:
        raise unsupported(f"a NormalizeTotal to {target!r}", saved.where, "Train with a target_count of 10,000.")
    if _epsilon(step, saved) > _LARGEST_EPSILON:
        found = f"a NormalizeTotal that adds {step.settings['eps']} to each total"
        raise unsupported(found, saved.where, "Train with the usual eps.")
    if saved.has_totals or totalled is None:
        return Normalise(target_sum=target)
    if set(totalled) == set(chain.names):
        return NormaliseFeatures(target_sum=target)
    raise unsupported(
        f"a NormalizeTotal over {len(totalled):,} filtered genes, of which the model takes {len(chain.names):,}",
        saved.where,
        "Train it with total_mrna_umis_n among the batch_keys, or with NormalizeTotal before every Filter.",
    )


def names_of(step: Step, attribute: str, what: str, saved: Checkpoint) -> tuple[str, ...]:
    """The names in an attribute of a step.

    Raises:
        UnsupportedModelError: There are none, or some are the same.
    """
    found: Any = step.settings.get(attribute)
    flat = found.ravel().tolist() if isinstance(found, np.ndarray) else found
    if not isinstance(flat, list) or not flat or not all(isinstance(name, str) for name in flat):
        raise unsupported(f"a {step.kind} of cellarium-ml without the names of its {what}", saved.where)
    if len(set(flat)) < len(flat):
        raise unsupported(f"a {step.kind} of cellarium-ml with {what} of the same name", saved.where)
    return tuple(flat)


def _epsilon(step: Step, saved: Checkpoint) -> float:
    epsilon = step.settings.get("eps", 0.0)
    if not isinstance(epsilon, int | float) or not 0 <= epsilon < np.inf:
        raise unsupported(f"a {step.kind} with an eps of {epsilon!r}", saved.where)
    return float(epsilon)


def _array(step: Step, name: str, shape: tuple[int, ...], saved: Checkpoint) -> Floats:
    array = step.tensors.get(name)
    if array is None:
        raise unsupported(f"a {step.kind} of cellarium-ml without {name!r}", saved.where)
    if array.shape != shape or array.dtype.kind != "f":
        found = f"a {step.kind} of cellarium-ml whose {name!r} has the shape {array.shape}, not {shape}"
        raise unsupported(found, saved.where)
    if not np.isfinite(array).all():
        raise unsupported(f"NaN or infinite values in {name!r} of {step.kind}", saved.where)
    return np.asarray(array, np.float64)
