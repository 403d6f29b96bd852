"""The section that compares the labels with those that the file had already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs.inference.merge.cross_table import Agreement, CrossTable, Shown, shown
from jobs.inference.merge.own_labels import NoOwnLabels, OwnLabels
from jobs.inference.report.data import Fact
from jobs.inference.report.pieces import Comparison, CrossCell, CrossMark, CrossRow, Figure
from jobs.inference.report.wording import some, whole
from shared.bundles.aligning import How, Meaning
from shared.domain.words import percent, plural, shortened

_NAME = 60
_LISTED = 12
_OTHERS = "other labels"
_HOW = {How.ID: "id", How.NAME: "name", How.SYNONYM: "synonym"}


def comparison(compared: CrossTable | NoOwnLabels) -> Comparison | None:
    """The section; None if the file has no labels to compare with."""
    if isinstance(compared, NoOwnLabels):
        return None
    part, labels = shown(compared.labelled_tc), compared.vocabulary.names
    counterparts = [meant.label for meant in compared.own.meanings]
    return Comparison(
        column=compared.own.column,
        figures=tuple(_figures(compared)),
        sentences=tuple(_sentences(compared)),
        columns=cross_columns(part, labels),
        rows=tuple(cross_rows(part, compared.own.names, labels, counterparts)),
        note=_note(compared, part),
    )


def own_labels_fact(compared: CrossTable | NoOwnLabels) -> tuple[Fact, ...]:
    """What was compared with, or why nothing was."""
    if isinstance(compared, NoOwnLabels):
        return (Fact("The file's own labels", compared.reason),) if compared.reason else ()
    how = "as requested (option truth)" if compared.own.asked else "recognised by its name"
    return (Fact("The file's own labels", f'obs["{compared.own.column}"], {how}.'),)


def _figures(compared: CrossTable) -> Iterator[Figure]:
    labels, lineages, main = compared.labels, compared.lineages, compared.main_share
    n_cells = int(compared.cells_tc.sum())
    some = f"{whole(compared.n_comparable)} of {plural(n_cells, 'cell')}"
    yield Figure(percent(compared.n_comparable / n_cells), "can be compared", some)
    if labels is not None:
        yield Figure(percent(labels.accuracy), "accuracy by label", _of(labels))
        if compared.reliable_accuracy is not None:
            note = f"of {plural(compared.n_reliable, 'such cell')} that can be compared so"
            yield Figure(percent(compared.reliable_accuracy), "accuracy of reliable labels", note)
        yield Figure(f"{labels.macro_f1:.3f}", "macro F1 by label", "mean over labels; 1 is best")
    if lineages is not None:
        yield Figure(percent(lineages.accuracy), "accuracy by lineage", _of(lineages))
    if labels is not None and labels.calibration_error is not None:
        yield Figure(f"{labels.calibration_error:.3f}", "calibration error", "of the scores; 0 is best")
    if main is not None:
        yield Figure(percent(main), "have their group's most common label", "a group: cells with the same own label")


def _of(found: Agreement) -> str:
    return f"of {plural(found.n_cells, 'cell')} that can be compared so"


def _sentences(compared: CrossTable) -> Iterator[str]:
    own, n_cells = compared.own, int(compared.cells_tc.sum())
    some = f"{whole(compared.n_labelled)} of {whole(n_cells)}"
    yield f"Cells with a label in {_quoted(compared)}: {some}. It has {plural(len(own.names), 'different label')}."
    yield from _counterparts(own)
    if own.are_clusters:
        yield "These names are numbers of clusters, which mean nothing by themselves: the table says what each holds."
    yield from _explained(compared)


def _explained(compared: CrossTable) -> Iterator[str]:
    """What the figures mean."""
    labels, main = compared.labels, compared.main_share
    if labels is not None:
        yield (
            "Accuracy is the share of cells whose own label has a counterpart and that got it; an unassigned cell did "
            "not. It says nothing of the cells that cannot be compared. The file's own labels can be wrong, too."
        )
        yield (
            "Macro F1: for each label, F1 is high if its cells got it and no others did (the harmonic mean of recall "
            "and precision). The mean counts a rare label as much as a frequent one."
        )
    if labels is not None and labels.calibration_error is not None:
        yield (
            "Calibration error: how far scores are from the share of labels that are right. With 0.05, scores are 5 "
            "points too high or too low on average: of cells with scores around 0.9, about 85 or 95% are right."
        )
    if main is not None:
        yield (
            f"{percent(main)} of the cells have the most frequent label among the cells with the same own label; an "
            "unassigned cell has none. It shows whether both divide the cells alike, not whether the names are right."
        )


def _counterparts(own: OwnLabels) -> Iterator[str]:
    """Which names were compared, and why the others were not."""
    pairs = list(zip(own.names, own.meanings, strict=True))
    labels = [_pair(name, meant.label, meant) for name, meant in pairs if meant.label is not None]
    lineages = [_pair(name, meant.lineage, meant) for name, meant in pairs if meant.label is None and meant.lineage]
    if labels:
        yield f"Compared by label: {some(labels, _LISTED)}."
    if lineages:
        yield f"Compared only by lineage: {some(lineages, _LISTED)}."
    others = [shortened(name, _NAME) for name, meant in pairs if meant.label is None and meant.lineage is None]
    if others and not own.are_clusters:
        rest = "the other names mean" if labels or lineages else "these names mean"
        yield f"Whether {rest} the same as one of the model's cannot be told: {some(others, _LISTED)}."


def _pair(name: str, theirs: str | None, meant: Meaning) -> str:
    how = "" if meant.how in {None, How.NAME} else f", by {_HOW[meant.how]}"
    return f"{shortened(name, _NAME)} ({shortened(theirs or '', _NAME)}{how})"


def _quoted(compared: CrossTable) -> str:
    return f'obs["{shortened(compared.own.column, _NAME)}"]'


def cross_columns(part: Shown, labels: Sequence[str]) -> tuple[str, ...]:
    """The heads of the columns of a cross table."""
    names = [shortened(labels[code], _NAME) for code in part.labels]
    return (*names, *([_OTHERS] if _has_other_labels(part) else []))


def cross_rows(
    part: Shown, names: Sequence[str], labels: Sequence[str], counterparts: Sequence[str | None]
) -> Iterator[CrossRow]:
    """The rows of a cross table.

    Args:
        names: All own labels.
        labels: All labels.
        counterparts: The label of the same meaning as each own label; None if there is none.
    """
    columns = [*(labels[code] for code in part.labels), *([_OTHERS] if _has_other_labels(part) else [])]
    for position, name in enumerate(part.names):
        cells = [*part.cells_tc[position].tolist(), int(part.rest_t[position])][: len(columns)]
        yield _row(names[name], cells, columns, counterparts[name])
    if part.n_hidden:
        rest = [*part.rest_c.tolist(), part.n_rest][: len(columns)]
        yield _row(plural(part.n_hidden, "rarer name"), rest, columns, None)


def _row(name: str, cells: Sequence[int], columns: Sequence[str], counterpart: str | None) -> CrossRow:
    total = sum(cells)
    fields = tuple(
        CrossCell(
            percent(n / total) if n else "",
            n / total if total else 0.0,
            f"{shortened(name, _NAME)}: {whole(n)} of {plural(total, 'cell')} got {shortened(column, _NAME)}",
            mark=CrossMark.SAME if column == counterpart else CrossMark.NONE,
        )
        for n, column in zip(cells, columns, strict=True)
    )
    return CrossRow(shortened(name, _NAME), total, fields)


def _has_other_labels(part: Shown) -> bool:
    return bool(part.rest_t.any() or part.n_rest)


def _note(compared: CrossTable, part: Shown) -> str:
    rows = f"Rows are the names in {_quoted(compared)} with their cells, columns the labels given here"
    limit = " (the most frequent ones)" if _has_other_labels(part) or part.rest_c.any() else ""
    framed = "; frames mark names and labels of the same meaning" if compared.labels is not None else ""
    return f"{rows}{limit}; each field is the share of the row's cells{framed}."
