"""Whether labelled cells are enough to train on, before any time is spent."""

from __future__ import annotations

import numpy as np

from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import TrainingSettings
from shared.domain.errors import TrainingDataError
from shared.domain.verdict import MatrixState
from shared.h5ad.matrices import in_words


def check_trainable(cells: LabelledCells, settings: TrainingSettings) -> None:
    """Refuse what no honest model could come of.

    Raises:
        TrainingDataError: No counts, fewer than two labels, or labels with too few cells.
    """
    if cells.state is not MatrixState.COUNTS:
        raise TrainingDataError(
            f"{cells.matrix} holds {in_words(cells.state)}, and no better matrix was found",
            expected="raw counts in X, raw or a layer",
            where=cells.source,
            hint='Keep the counts when you write the file: adata.layers["counts"] = counts.',
        )
    if len(cells.labels) < 2:
        found = f"only the label {cells.labels[0].name!r}" if cells.labels else "no labelled cell"
        raise TrainingDataError(
            found,
            expected="at least two labels",
            where=cells.source,
            hint="Name the column that tells cell types apart with --labels.",
        )
    _check_sizes(cells, settings.min_cells_per_label)


def _check_sizes(cells: LabelledCells, least: int) -> None:
    sizes = np.bincount(cells.class_n, minlength=len(cells.labels)).tolist()
    rare = [f"{label.name!r} ({size})" for label, size in zip(cells.labels, sizes, strict=True) if size < least]
    if rare:
        raise TrainingDataError(
            f"too few cells of {', '.join(rare[:10])}" + (f" and {len(rare) - 10} more" if len(rare) > 10 else ""),
            expected=f"at least {least} cells of each label, so that some can be held out",
            where=cells.source,
            hint="Merge rare labels, or leave their cells unlabelled so that they are not trained on.",
        )
