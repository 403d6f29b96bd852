"""Checks, before any training, whether labelled cells can be trained on, and adapts the settings to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jobs.modeling.features import genes_also_in
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import TrainingSettings
from shared.bundles.card import UNASSIGNED, Features
from shared.domain.errors import TrainingDataError
from shared.domain.verdict import Finding, MatrixState, Severity
from shared.domain.words import listed
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.matrices import in_words


def settings_for(cells: LabelledCells, settings: TrainingSettings) -> TrainingSettings:
    """Adapt the settings to the cells: thinning is turned off for values that are not counts."""
    return settings if counted(cells) else replace(settings, thinned_to=None)


def counted(cells: LabelledCells) -> bool:
    """Whether the values are counts."""
    return cells.state is MatrixState.COUNTS


def training_warnings(cells: LabelledCells) -> list[Finding]:
    """The warnings about the cells that matter for the model's figures."""
    if counted(cells):
        return list(cells.warnings)
    own = Finding(
        WarningCode.TRAINED_WITHOUT_COUNTS,
        Severity.WARNING,
        f"the model is trained on {cells.matrix}, which holds {in_words(cells.state)}.",
        "It is not trained for shallower sequencing, because that needs counts. Keep them when you write the file: "
        'adata.layers["counts"] = counts.',
    )
    return [*cells.warnings, own]


def check_trainable(cells: LabelledCells, settings: TrainingSettings) -> None:
    """Refuse cells that no sound model can be trained on.

    Raises:
        TrainingDataError: There are fewer than two labels, labels with too few cells or hardly a value, one that is
            called Unassigned, or none of the requested genes.
    """
    _check_no_absence(cells)
    if len(cells.labels) < 2:
        found = f"only the label {cells.labels[0].name!r}" if cells.labels else "no labelled cell"
        raise TrainingDataError(
            found,
            expected="at least two labels",
            where=cells.source,
            hint="Name the column of the cell types with --labels.",
        )
    _check_sizes(cells, settings.min_cells_per_label)
    _check_values(cells, settings.min_cells_per_label)
    if settings.features_from is not None and not genes_also_in(cells.genes, settings.features_from).any():
        raise _other_genes(cells, settings.features_from, settings.features_source)


def without_rare(cells: LabelledCells, least: int) -> tuple[LabelledCells, dict[str, int]]:
    """Leave out the labels with fewer than ``least`` cells.

    Returns:
        The other cells, and the number of cells of each label that was left out.
    """
    size_l = np.bincount(cells.class_n, minlength=len(cells.labels))
    kept = np.flatnonzero(size_l >= least)
    left_out = {cells.labels[place].name: int(size_l[place]) for place in np.flatnonzero(size_l < least)}
    if not left_out:
        return cells, left_out
    place_l = np.full(len(cells.labels), -1, np.int64)
    place_l[kept] = np.arange(len(kept))
    chosen = cells.take(np.isin(cells.class_n, kept))
    return replace(
        chosen, class_n=place_l[chosen.class_n], labels=tuple(cells.labels[place] for place in kept)
    ), left_out


def _check_no_absence(cells: LabelledCells) -> None:
    """Refuse a label of the name that cells without a label have in results."""
    named = [label for label in cells.labels if label.name.strip().casefold() == UNASSIGNED.casefold()]
    if named:
        raise TrainingDataError(
            f"a label is called {named[0].name!r}, as cells are that get no label",
            expected="labels of cells that were recognised",
            where=cells.source,
            hint="Leave these cells without a label (an empty value in obs), or rename the label with --names.",
        )


def _check_sizes(cells: LabelledCells, least: int) -> None:
    sizes = np.bincount(cells.class_n, minlength=len(cells.labels)).tolist()
    rare = [f"{label.name!r} ({size})" for label, size in zip(cells.labels, sizes, strict=True) if size < least]
    if rare:
        raise TrainingDataError(
            f"too few cells of {', '.join(rare[:10])}" + (f" and {len(rare) - 10} more" if len(rare) > 10 else ""),
            expected=f"at least {least} cells of each label, so that some can be held out",
            where=cells.source,
            hint="Merge rare labels, or leave them out with --min-cells.",
        )


def _check_values(cells: LabelledCells, least: int) -> None:
    """Refuse a label with too few cells that express a gene: from others nothing can be learned."""
    expressed_n = np.asarray(cells.value_ng.sum(axis=1)).ravel() > 0
    sizes = np.bincount(cells.class_n[expressed_n], minlength=len(cells.labels)).tolist()
    empty = [f"{label.name!r}" for label, size in zip(cells.labels, sizes, strict=True) if size < least]
    if empty:
        raise TrainingDataError(
            f"nearly all cells of {listed(empty)} have no value above 0 in {cells.matrix}",
            expected=f"at least {least} cells of each label that express a gene",
            where=cells.source,
            hint="Leave these cells without a label (an empty value in obs), or name another matrix with --matrix.",
        )


def _other_genes(cells: LabelledCells, wanted: Features, source: str) -> TrainingDataError:
    return TrainingDataError(
        f"no gene to learn from: the genes of {source or 'the list'} are {_examples(wanted)}, those of "
        f"{cells.source or 'the file'} {_examples(cells.genes)}",
        expected="the same identifiers in both",
        hint="Give a list of symbols or Ensembl ids of the file's species with --features-from.",
    )


def _examples(genes: Features) -> str:
    names = [name for column in (genes.symbol, genes.ensembl) for name in [name for name in column if name][:3]]
    return ", ".join(names)
