"""What the report says first: what is sure, what is not, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs.engine.levels import Level
from jobs.engine.slopes import have_slopes
from jobs.inference.merge.cross_table import CrossTable, What
from jobs.inference.merge.own_labels import NoOwnLabels
from jobs.inference.merge.tally import Tally, most_first
from jobs.inference.outputs.reading_findings import shallow
from jobs.inference.report.clusters import ClusterTable
from jobs.inference.report.data import Assessment, LabelRow
from jobs.inference.report.wording import some, whole
from shared.bundles.card import ModelCard
from shared.domain.words import percent, plural, shortened

_MOSTLY_RELIABLE, _HARDLY_RELIABLE = 0.8, 0.5
_LEAST_CELLS = 10
"""Of fewer, a share says little."""
_MOSTLY_AGREE = 0.9
_USUAL = 2
"""So many times the rate of false alarms is usual: blood of another study has 4 % where 2.5 % are expected."""
_LEAST_MISSING = 0.05
"""An own label that the model lacks is named if so large a share of the cells has it."""
_NAME_LIMIT = 60
_LISTED = 6
_GROUPS = 3


def assess(  # what is known of the results
    rows: Sequence[LabelRow],
    tally: Tally,
    card: ModelCard,
    clusters: ClusterTable | None,
    compared: CrossTable | NoOwnLabels,
    *,
    genes_fit: bool = True,
) -> Assessment:
    """Sentences on the results as a whole.

    Where most cells are unfamiliar, nothing is said to be sure; nor if the names of the genes do not fit the values.
    """
    if not genes_fit:
        return Assessment((), _NO_GENES, _OTHER_GENES)
    if tally.mostly_unfamiliar:
        return Assessment((), tuple(_strange(tally, card)), _OTHER_MODEL)
    return Assessment(
        tuple(_sure(rows, tally, card, compared)),
        (
            *_unsure_of_comparison(compared),
            *_unsure_of_cells(tally, card),
            *_unsure_of_labels(rows, tally, clusters),
            *_missing(compared),
        ),
        tuple(_to_do(rows, tally, clusters, genes=have_slopes(card))),
    )


def unproven(tally: Tally, card: ModelCard, compared: CrossTable | NoOwnLabels, why: str) -> Assessment:
    """The sentences where no label is called reliable, because the model's record of its errors does not hold.

    Args:
        why: The reason, as in ``Thresholds.why_none``.
    """
    return Assessment(
        (),
        (
            f"No label is called reliable: {why}.",
            *_unsure_of_comparison(compared),
            *_unsure_of_cells(tally, card),
            *_missing(compared),
        ),
        (
            "Take labels and lineages as guesses, of which whole types can be wrong: check each with marker genes.",
            "What it takes for labels that can be relied on is said in the warnings.",
        ),
    )


_NO_GENES = ("The names of the genes do not fit the values, so labels mean nothing, whatever their scores.",)
_OTHER_GENES = ("Do not use these labels. Correct the genes' names (see the warning), and run the file again.",)
_OTHER_MODEL = (
    (
        "Do not use the labels of unfamiliar cells (celldrop_unfamiliar). Look for a model of this tissue and species, "
        "or train one on labelled cells of this kind: the commands are below."
    ),
    (
        "If the tissue is right, look at the cells themselves: tumour cells, cell lines and damaged cells are unlike "
        "those of a healthy reference."
    ),
)


def _strange(tally: Tally, card: ModelCard) -> Iterator[str]:
    yield (
        f"{percent(tally.unfamiliar_share)} of the cells express genes that hardly any cell expresses that "
        f"{shortened(card.reference, _NAME_LIMIT)} was trained on. A cell gets one of the model's labels all the same."
    )


def _sure(rows: Sequence[LabelRow], tally: Tally, card: ModelCard, compared: CrossTable | NoOwnLabels) -> Iterator[str]:
    if tally.level_counts:
        yield f"{_reliable_shares(tally, card)}."
        mostly = [row for row in rows if row.cells >= _LEAST_CELLS and (row.reliable or 0) >= _MOSTLY_RELIABLE]
        if mostly:
            yield f"Labels with at least {_MOSTLY_RELIABLE:.0%} reliable cells: {_named(mostly)}."
    agreeing, lineages = _agreeing(compared, What.RELIABLE), _agreeing(compared, What.LINEAGES)
    if agreeing is not None and agreeing >= _MOSTLY_AGREE and (lineages is None or lineages >= _MOSTLY_AGREE):
        yield f"{percent(agreeing)} {_of_reliable(compared)}."
    if tally.n_looked and card.familiarity is not None:
        share = tally.unfamiliar_share
        if share <= _USUAL * card.familiarity.false_alarm:
            yield f"{percent(share)} of the cells are unlike the model's training cells: as few as expected."


def _reliable_shares(tally: Tally, card: ModelCard) -> str:
    """The shares of the cells by how specific their reliable label is."""
    share = {level: percent(tally.level_counts[level] / tally.n_cells) for level in Level}
    start, lineage = f"{share[Level.LABEL]} of the cells have a reliable label", share[Level.LINEAGE]
    if not card.tree:
        return f"{start}, {lineage} only a reliable lineage, and {share[Level.NONE]} neither"
    wider = {group.name for group in card.tree} - {label.lineage for label in card.labels}
    ordered = most_first({name: n for name, n in tally.reliable_counts.items() if name in wider})
    named = [f"{shortened(name, _NAME_LIMIT)} {percent(n / tally.n_cells)}" for name, n in ordered.items()]
    some = f" ({'; '.join(named[:_GROUPS])})" if named else ""
    return (
        f"{start}, {share[Level.GROUP]} only a wider type{some}, {lineage} only a lineage, and "
        f"{share[Level.NONE]} none of these"
    )


def _unsure_of_comparison(compared: CrossTable | NoOwnLabels) -> Iterator[str]:
    agreeing, lineages = _agreeing(compared, What.RELIABLE), _agreeing(compared, What.LINEAGES)
    if agreeing is not None and agreeing < _MOSTLY_AGREE:
        yield f"Only {percent(agreeing)} {_of_reliable(compared)}: the model or the file is wrong about the others."
    if lineages is not None and lineages < _MOSTLY_AGREE and not isinstance(compared, NoOwnLabels):
        yield (
            f"Only {percent(lineages)} of the cells whose lineage can be compared have that lineage in the file, too "
            f"(obs[{shortened(compared.own.column, _NAME_LIMIT)!r}])."
        )


def _unsure_of_cells(tally: Tally, card: ModelCard) -> Iterator[str]:
    if not tally.level_counts:
        yield "This model has no record of how often its labels are wrong: high scores can be, too."
    if not tally.n_looked:
        why = "this model cannot tell" if card.familiarity is None else "the file lacks the genes that would tell"
        yield f"Whether cells are of a kind that the model does not know: {why}."
    if card.familiarity is not None and tally.unfamiliar_share > _USUAL * card.familiarity.false_alarm:
        yield (
            f"{percent(tally.unfamiliar_share)} of the cells are unlike the model's training cells, more than the "
            f"{100 * card.familiarity.false_alarm:g}% that are expected: some may be of a type that it does not know."
        )
    depth = shallow(tally, card)
    if depth is not None:
        yield (
            f"Half of the cells have {whole(depth[0])} counts or fewer, the model's training cells typically "
            f"{whole(depth[1])}: more labels are wrong than their scores tell."
        )


def _unsure_of_labels(rows: Sequence[LabelRow], tally: Tally, clusters: ClusterTable | None) -> Iterator[str]:
    hardly = _hardly_reliable(rows)
    if hardly:
        yield f"Labels with less than {_HARDLY_RELIABLE:.0%} reliable cells: {_named(hardly)}."
    weak = [row for row in rows if row.weak]
    if weak:
        names = some([shortened(row.name, _NAME_LIMIT) for row in weak], _LISTED)
        yield f"No gene sets these labels apart from every other: {names}. They rest on many small differences."
    if clusters is not None and clusters.divided_cells:
        share = percent(clusters.divided_cells / tally.n_cells)
        yield f"{share} of the cells are in clusters in which no label has half of the cells."


def _agreeing(compared: CrossTable | NoOwnLabels, what: What) -> float | None:
    """The share of labels or lineages that are the file's own; None if too few can be compared."""
    found = None if isinstance(compared, NoOwnLabels) else compared.agreeing.get(what)
    return None if found is None else found.share


def _of_reliable(compared: CrossTable | NoOwnLabels) -> str:
    assert not isinstance(compared, NoOwnLabels)
    return (
        f"of the {whole(compared.n_reliable)} cells with a reliable label that can be compared have that label in "
        f"the file, too (obs[{shortened(compared.own.column, _NAME_LIMIT)!r}])"
    )


def _missing(compared: CrossTable | NoOwnLabels) -> Iterator[str]:
    """Frequent labels of the file for which the model has neither a label nor a lineage."""
    if isinstance(compared, NoOwnLabels) or compared.own.are_clusters:
        return
    pairs = zip(compared.own.names, compared.own.meanings, compared.labelled_tc.sum(axis=1).tolist(), strict=True)
    found = {name: n for name, meant, n in pairs if meant.label is None and meant.lineage is None}
    enough = _LEAST_MISSING * max(compared.n_labelled, 1)
    named = [
        f"{shortened(name, _NAME_LIMIT)} ({plural(n, 'cell')})" for name, n in most_first(found).items() if n >= enough
    ]
    if named:
        yield (
            f"These names of the file could not be matched with the model's: {some(named, _LISTED)}. "
            "If the model lacks such a type, its cells got another one's label."
        )


def _to_do(rows: Sequence[LabelRow], tally: Tally, clusters: ClusterTable | None, *, genes: bool) -> Iterator[str]:
    """What to do next. ``genes``: whether the report has a table of the genes that spoke for each label."""
    if tally.level_counts:
        yield (
            "Count and compare cells by celldrop_reliable_label (reliable_label in the tables): it says no more than "
            "is reliable. celldrop_label is the best guess for every cell."
        )
    else:
        table = "; a table of the genes that spoke for it is below" if genes else ""
        yield f"Check each label with marker genes before you use it{table}."
    doubtful = {row.name for row in [*_hardly_reliable(rows), *(row for row in rows if row.weak)]}
    if doubtful:
        named = [row for row in rows if row.name in doubtful]
        names = some([shortened(row.name, _NAME_LIMIT) for row in named], _LISTED)
        if tally.level_counts:
            still = plural(sum(tally.reliable_counts[row.name] for row in named), "cell")
            yield (
                f"celldrop_reliable_label still gives {still} one of these labels: {names}. Before you report them, "
                "check by other means, such as surface proteins, or report the wider type."
            )
        else:
            yield f"Before you report {names}: check by other means, such as surface proteins."
    if clusters is not None and clusters.divided_cells:
        yield "Look at the doubtful clusters: they come first in the table of clusters."


def _hardly_reliable(rows: Sequence[LabelRow]) -> list[LabelRow]:
    return [row for row in rows if row.reliable is not None and row.reliable < _HARDLY_RELIABLE]


def _named(rows: Sequence[LabelRow]) -> str:
    """Labels with the number of their cells that are reliable."""
    named = [
        f"{shortened(row.name, _NAME_LIMIT)} ({whole((row.reliable or 0) * row.cells)} of {whole(row.cells)})"
        for row in rows
    ]
    return some(named, _LISTED)
