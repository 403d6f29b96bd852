"""Figures of several models on the cells of a file that all of them can be compared on.

A model is compared on the cells whose own label it has, too. So two models can be compared on different cells, and
then their figures say nothing about which is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from jobs.modeling.evaluated import Evaluated
from jobs.modeling.evaluation import EvaluationReport

_Counts: TypeAlias = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Common:
    """The comparison of a file's labels with several models.

    Attributes:
        column: The obs column of labels.
        models: The models that could be compared, with the same cells or not.
        n_cells: Number of cells whose own label all these models have.
        accuracy: Of each model on these cells; empty if there are none.
        n_lineage_cells: Number of cells whose own label has a lineage that all these models have.
        lineage_accuracy: Of each model on these cells; empty if there are none.
        different: Whether the models are compared on different cells.
    """

    file: Path
    column: str
    models: tuple[str, ...]
    n_cells: int
    accuracy: tuple[float, ...]
    n_lineage_cells: int
    lineage_accuracy: tuple[float, ...]
    different: bool


def by_file(found: Sequence[Evaluated]) -> Iterator[list[Evaluated]]:
    """The evaluations of each file and column, in the order of the first of each."""
    groups: dict[tuple[Path, str], list[Evaluated]] = {}
    for one in found:
        groups.setdefault((one.file, one.column), []).append(one)
    yield from groups.values()


def commons(found: Sequence[Evaluated]) -> list[Common]:
    """What several models have in common, of each file that at least two could be compared on."""
    compared = [[one for one in group if one.report is not None] for group in by_file(found)]
    return [_common(group) for group in compared if len(group) > 1]


def different_words(common: Common) -> str:
    """Say that the models are compared on different cells, and where their figures can be compared."""
    said = "These models are compared on different cells: each only on those whose own label, or lineage, it has, too."
    if not common.n_cells:
        return f"{said} No label is known to all, so the accuracies do not say which model is better."
    return f"{said} Only the figures on the {common.n_cells:,} cells common to all say which model is better."


def common_heads(common: Common) -> list[str]:
    """The heads of the columns of ``common_rows``."""
    return ["model", f"accuracy ({common.n_cells:,} cells)", f"lineages ({common.n_lineage_cells:,} cells)"]


def common_rows(common: Common) -> list[list[str]]:
    """The accuracies of each model as text."""
    places = enumerate(common.models)
    return [[name, _text(common.accuracy, place), _text(common.lineage_accuracy, place)] for place, name in places]


def common_document(common: Common) -> dict[str, Any]:
    """The same for JSON."""
    return {**asdict(common), "file": str(common.file)}


def _text(accuracy: Sequence[float], place: int) -> str:
    return f"{accuracy[place]:.4f}" if accuracy else "-"


def _common(group: Sequence[Evaluated]) -> Common:
    n_cells, accuracy, different = _on_all([_by_label(one) for one in group])
    n_lineage_cells, lineage_accuracy, others = _on_all([_by_lineage(one) for one in group])
    models = tuple(one.card.reference for one in group)
    about = (group[0].file, group[0].column, models)
    return Common(*about, n_cells, accuracy, n_lineage_cells, lineage_accuracy, different or others)


def _by_label(one: Evaluated) -> _Counts:
    report = _report(one)
    return _counts(report, report.compared_as, [label.name for label in one.card.labels])


def _by_lineage(one: Evaluated) -> _Counts:
    report = _report(one)
    return _counts(report, report.lineage_as, [label.lineage or "" for label in one.card.labels])


def _report(one: Evaluated) -> EvaluationReport:
    assert one.report is not None
    return one.report


def _counts(report: EvaluationReport, meant: Mapping[str, str], predicted: Sequence[str]) -> _Counts:
    """The cells of each of the file's labels that can be compared: all of them, and those that are right."""
    found: _Counts = {}
    for name, cells_p in zip(report.own, report.cells_tp.tolist(), strict=True):
        if name in meant and sum(cells_p):
            right = sum(cells for label, cells in zip(predicted, cells_p, strict=True) if label == meant[name])
            found[name] = (sum(cells_p), right)
    return found


def _on_all(models: Sequence[_Counts]) -> tuple[int, tuple[float, ...], bool]:
    """The number of cells that all models are compared on, the share that each gets right, and whether one has more."""
    shared = set(models[0]).intersection(*models[1:])
    n_cells = sum(models[0][name][0] for name in shared)
    accuracy = tuple(sum(one[name][1] for name in shared) / n_cells for one in models) if n_cells else ()
    return n_cells, accuracy, any(one.keys() != shared for one in models)
