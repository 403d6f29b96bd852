"""Figures of several models on the cells of a file that all of them can be compared on.

A model is compared on the cells whose own label it has, too. So two models can be compared on different cells, and
then their figures say nothing about which is better. Lineages are judged apart from labels, and only between models
that have the same ones: to tell three lineages apart is harder than to tell two.
"""

from __future__ import annotations

from collections import Counter
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
        different: Whether the labels of the models are compared on different cells.
        n_lineage_cells: Number of cells whose own label belongs to a lineage by all models that have the same lineages;
            of several such groups of models, the largest is meant.
        lineage_accuracy: Of each of these models on these cells, and None of others; empty if there are no two such
            models or no such cells.
        lineages_different: Whether the lineages of the models that have some are others, or are compared on different
            cells.
    """

    file: Path
    column: str
    models: tuple[str, ...]
    n_cells: int
    accuracy: tuple[float, ...]
    different: bool
    n_lineage_cells: int
    lineage_accuracy: tuple[float | None, ...]
    lineages_different: bool

    @property
    def caution(self) -> bool:
        """Whether figures of the models' own cells mislead, so that those on the common cells are needed."""
        return self.different or self.lineages_different


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
    """Say what is compared on different cells, and which figures can be compared; empty if all can."""
    return " ".join([*_label_words(common), *_lineage_words(common)])


def common_heads(common: Common) -> list[str]:
    """The heads of the columns of ``common_rows``; only those that have figures, and none if no column has."""
    columns = [(name, n_cells) for name, n_cells, _ in _columns(common)]
    return ["model", *(f"{name} ({n_cells:,} cells)" for name, n_cells in columns)] if columns else []


def common_rows(common: Common) -> list[list[str]]:
    """The accuracies of each model as text."""
    columns = [accuracy for *_, accuracy in _columns(common)]
    return [[name, *(_text(one[place]) for one in columns)] for place, name in enumerate(common.models)]


def common_document(common: Common) -> dict[str, Any]:
    """The same for JSON."""
    return {**asdict(common), "file": str(common.file)}


def _label_words(common: Common) -> Iterator[str]:
    if not common.different:
        return
    yield "The labels of these models are compared on different cells: each only on those whose own label it has, too."
    if common.n_cells:
        yield (
            f"Only the accuracies on the {common.n_cells:,} cells common to all can be compared. They say nothing of "
            "types that one of the models does not have."
        )
    else:
        yield "No label is known to all, so the accuracies do not say which model is better."


def _lineage_words(common: Common) -> Iterator[str]:
    if not common.lineages_different:
        return
    if not common.lineage_accuracy:
        yield "By lineage, they cannot be compared: they have different lineages, or no cells in common."
        return
    alone = None in common.lineage_accuracy
    those = "the models that have the same ones" if alone else "all"
    yield f"Lineages can be compared only on the {common.n_lineage_cells:,} cells common to {those}."
    if not common.accuracy:
        yield "They say which model finds lineages better, not which one labels better."


def _columns(common: Common) -> Iterator[tuple[str, int, Sequence[float | None]]]:
    if common.accuracy:
        yield "accuracy", common.n_cells, common.accuracy
    if common.lineage_accuracy:
        yield "lineages", common.n_lineage_cells, common.lineage_accuracy


def _text(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.4f}"


def _common(group: Sequence[Evaluated]) -> Common:
    n_cells, accuracy, different = _on_all([_by_label(one) for one in group])
    models = tuple(one.card.reference for one in group)
    return Common(group[0].file, group[0].column, models, n_cells, accuracy, different, *_lineages(group))


def _lineages(group: Sequence[Evaluated]) -> tuple[int, tuple[float | None, ...], bool]:
    """As ``_on_all``, by lineage, of the models that have the same lineages; models without any are left aside."""
    counts = [_by_lineage(one) for one in group]
    names = [_lineages_of(one) if cells else frozenset() for one, cells in zip(group, counts, strict=True)]
    models_of = Counter(one for one in names if one)
    if models_of.total() < 2:
        return 0, (), False
    meant, n_models = models_of.most_common(1)[0]
    if n_models < 2:
        return 0, (), True
    n_cells, accuracy, different = _on_all([one for one, those in zip(counts, names, strict=True) if those == meant])
    found = iter(accuracy)
    spread = tuple(next(found) if those == meant else None for those in names) if accuracy else ()
    return n_cells, spread, different or len(models_of) > 1


def _lineages_of(one: Evaluated) -> frozenset[str]:
    return frozenset(label.lineage for label in one.card.labels if label.lineage)


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
