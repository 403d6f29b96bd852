"""What is to be known of an evaluation beside its figures: which cells count in them, and how scores were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cli.labelled import missing_words
from jobs.modeling.evaluation import EvaluationReport
from jobs.modeling.nearest import near_words
from shared.bundles.card import ModelCard
from shared.domain.words import percent, plural

_MOST_NAMED, _MOST_SHARES = 30, 5


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence without a full stop, and whether it is one to mind."""

    words: str
    serious: bool = False


def remarks(report: EvaluationReport, card: ModelCard) -> Iterator[Remark]:
    """The remarks on one model and file, in the order in which they are shown."""
    for name, near in report.without_terms.items():
        yield Remark(f"{name!r} is no term of the ontology{near_words(near)}", serious=True)
    yield from label_remarks(report, card)
    if report.composition is not None:
        shares = [f"{name} {percent(share)}" for name, share in report.composition.items()]
        more = f" and {len(shares) - _MOST_SHARES} more" if len(shares) > _MOST_SHARES else ""
        named = ", ".join(shares[:_MOST_SHARES])
        yield Remark(f"scores are corrected to the shares of the labels in the file, as in a run: {named}{more}")
    if report.unfamiliar is not None:
        n_unfamiliar = sum(report.unfamiliar.values())
        of_labels = f": {_counted(report.unfamiliar)}" if n_unfamiliar else ""
        share = percent(n_unfamiliar / report.n_cells)
        yield Remark(f"unlike the training cells: {n_unfamiliar:,} of {report.n_cells:,} ({share}){of_labels}")
    if report.n_without_genes:
        cells = plural(report.n_without_genes, "cell has", "cells have")
        yield Remark(f"{cells} no value of the model's genes, and would be Unassigned", serious=True)


def label_remarks(report: EvaluationReport, card: ModelCard) -> Iterator[Remark]:
    """Which of the file's labels are compared, and with what."""
    pairs = [f"{name} = {meant}" for name, meant in (report.counterparts or {}).items() if name != meant]
    if pairs:
        yield Remark(f"aligned by the ontology or by name: {', '.join(pairs[:_MOST_NAMED])}")
    by_lineage = {name: count for name, count in report.n_unknown.items() if name not in report.n_left_out}
    if by_lineage:
        yield Remark(f"not labels of {card.reference}, compared only by lineage: {_counted(by_lineage)}")
    if report.n_left_out:
        yield Remark(f"not labels of {card.reference}, left out: {_counted(report.n_left_out)}", serious=True)
    if report.missing:
        yield Remark(missing_words(report.missing))


def _counted(cells: Mapping[str, int]) -> str:
    ordered = sorted(cells.items(), key=lambda pair: -pair[1])
    more = f" and {len(ordered) - _MOST_NAMED} more" if len(ordered) > _MOST_NAMED else ""
    return ", ".join(f"{name} ({count:,})" for name, count in ordered[:_MOST_NAMED]) + more
