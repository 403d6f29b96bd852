"""The section on whether several models agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from jobs.engine.cell_types import NO_TYPE, CellTypes
from jobs.engine.consensus import Relation
from jobs.inference.merge.calls import I64Array
from jobs.inference.merge.consensus import Ballot
from jobs.inference.merge.disagreements import Disagreements
from jobs.inference.report.data import Fact
from jobs.inference.report.pieces import Agreed, Agreement, CrossCell, CrossMark, CrossRow, CrossTable, Disputed, Figure
from jobs.inference.report.wording import listing, sentence, some, whole
from shared.bundles.card import UNASSIGNED, ModelCard
from shared.bundles.common_sources import common_sources
from shared.domain.verdict import Verdict
from shared.domain.words import percent, plural, shortened

_NAME = 60
_LISTED = 8
_ROWS, _COLUMNS = 20, 15
_DISPUTED = 10
_AGREED = 15
_OTHERS = "other types"


def agreement(found: Disagreements | None, cards: Sequence[ModelCard], verdict: Verdict) -> Agreement | None:
    """The section; None if there is one model only.

    Args:
        cards: Those of the models, the main model's first.
    """
    if found is None:
        return None
    agreed = _agreed(found)
    return Agreement(
        lead=_lead(cards),
        caution=_caution(found, cards),
        warnings=tuple(f"{name}{sentence(one.message)} {one.hint}" for name, one in verdict.other_warnings),
        figures=tuple(_figures(found)),
        consensus=tuple(agreed[:_AGREED]),
        more=_more(found, agreed[_AGREED:]),
        disputed=tuple(_disputed(found)),
        tables=tuple(_table(found, place, card.reference) for place, card in enumerate(cards[1:])),
    )


def consensus_fact(found: Disagreements | None, cards: Sequence[ModelCard]) -> tuple[Fact, ...]:
    """How the consensus was made."""
    if found is None:
        return ()
    by_label = [
        card.reference for card, ballot in zip(cards, found.consensus.ballots, strict=True) if not ballot.reliable
    ]
    exception = f" (for its label: {listing(by_label)}, of which it is not known)" if by_label else ""
    return (
        Fact(
            "Consensus",
            f"Each of {len(cards)} models votes for its reliable label{exception} and for every wider type that this "
            "is a kind of by the Cell Ontology or a model's own groups. The consensus is the most specific type with "
            "more than half of the votes; Unassigned if there is none.",
        ),
    )


def _agreed(found: Disagreements) -> list[Agreed]:
    n_cells = max(found.n_cells, 1)
    counts = found.consensus_counts.items()
    return [Agreed(shortened(name, _NAME), n, n / n_cells) for name, n in counts if name != UNASSIGNED]


def _more(found: Disagreements, rest: Sequence[Agreed]) -> str:
    none, words = found.consensus_counts.get(UNASSIGNED, 0), []
    if rest:
        types = plural(len(rest), "further type has", "further types have")
        words.append(f"{types} {plural(sum(one.cells for one in rest), 'cell')}.")
    if none:
        share = percent(none / max(found.n_cells, 1))
        words.append(f"For {plural(none, 'cell')} ({share}), there is no type that most of the models agree on.")
    return " ".join(words)


def _lead(cards: Sequence[ModelCard]) -> str:
    numbered = [f"{number} {shortened(card.reference, _NAME)}" for number, card in enumerate(cards, 1)]
    return (
        f"Each cell was labelled by {len(cards)} models: {listing(numbered)}. All other sections are about model 1. "
        "What is compared here is the reliable label of each, which is a wider type where a model is not sure of more; "
        "of a model that has no record of its errors, it is the label."
    )


def _caution(found: Disagreements, cards: Sequence[ModelCard]) -> str:
    shared = [
        f"{listing([shortened(model, _NAME) for model in common.models])} are made from the same source "
        f"({shortened(common.source, _NAME)})"
        for common in common_sources(cards)
    ]
    sentences = []
    if shared:
        words = f"{listing(shared)}. They can share its mistakes, so that their agreement is weaker evidence."
        sentences.append(words)
    for card in cards:
        without = sum(not label.ontology_id for label in card.labels)
        if without:
            sentences.append(
                f"{whole(without)} of {whole(len(card.labels))} labels of {shortened(card.reference, _NAME)} have no "
                "Cell Ontology id: of these it is only known which others have the same name, and not what they are "
                "kinds of."
            )
    bare = [shortened(card.reference, _NAME) for card in cards if not card.terms]
    if bare and found.relation_r[Relation.NOT_COMPARABLE]:
        sentences.append(
            f"No Cell Ontology terms above the labels are carried by {listing(bare)}. With them, more cells can be "
            "compared: celldrop models add NAME --ontology FILE."
        )
    return " ".join(sentences)


def _figures(found: Disagreements) -> Iterator[Figure]:
    words = {
        Relation.SAME: ("the same type", "by all models"),
        Relation.WIDER: ("one is more specific", "its type is a kind of the other\u2019s"),
        Relation.DIFFERENT: ("different types", "known to be different"),
        Relation.NOT_COMPARABLE: ("cannot be compared", "not known to be different, nor one a kind of the other"),
        Relation.UNSAID: ("no answer from some model", "Unassigned, or unlike its training cells"),
    }
    for kind, (name, note) in words.items():
        n_cells = int(found.relation_r[kind])
        if kind is Relation.NOT_COMPARABLE and not n_cells:
            continue
        yield Figure(percent(n_cells / max(found.n_cells, 1)), name, f"{note}; {plural(n_cells, 'cell')}")


def _disputed(found: Disagreements) -> Iterator[Disputed]:
    names = found.consensus.ballots[0].vocabulary.names
    cells_c = found.relation_cr.sum(axis=1)
    for name, n in list(found.disputed.items())[:_DISPUTED]:
        cells = int(cells_c[names.index(name)])
        yield Disputed(name, cells, n, n / cells)


def _table(found: Disagreements, place: int, model: str) -> CrossTable:
    """What the main model stands by in rows, and the other one in columns."""
    main, other = found.consensus.ballots[0], found.consensus.ballots[place + 1]
    cells_ss, types = found.stance_mss[place], found.consensus.types
    relation_ss = found.relation_mss[place]
    differs_ss, unclear_ss = relation_ss == Relation.DIFFERENT, relation_ss == Relation.NOT_COMPARABLE
    rows = _first(np.where(differs_ss, cells_ss, 0).sum(axis=1), cells_ss.sum(axis=1), _ROWS)
    columns = _first(cells_ss[rows].sum(axis=0), cells_ss.sum(axis=0), _COLUMNS)
    names = [other.names[code] for code in columns]
    rest_s = cells_ss[rows].sum(axis=1) - cells_ss[np.ix_(rows, columns)].sum(axis=1)
    heads = (*(shortened(name, _NAME) for name in names), *([_OTHERS] if rest_s.any() else []))
    made = []
    for number, row in enumerate(rows):
        cells = [*cells_ss[row, columns].tolist(), int(rest_s[number])][: len(heads)]
        marks = [
            CrossMark.DIFFERS if differs else CrossMark.UNCLEAR if unclear else CrossMark.NONE
            for differs, unclear in zip(differs_ss[row, columns], unclear_ss[row, columns], strict=True)
        ]
        made.append(_row(main.names[row], cells, [*marks, CrossMark.NONE][: len(heads)], heads))
    return CrossTable(model, heads, tuple(made), _unknown(types, main, place, other))


def _row(name: str, cells: Sequence[int], marks: Sequence[CrossMark], heads: Sequence[str]) -> CrossRow:
    total, short = sum(cells), shortened(name, _NAME)
    fields = tuple(
        CrossCell(
            percent(n / total) if n else "",
            n / total if total else 0.0,
            f"{short}: {whole(n)} of {plural(total, 'cell')} are {head} by the other model",
            mark=mark if n > 0 else CrossMark.NONE,
        )
        for n, mark, head in zip(cells, marks, heads, strict=True)
    )
    return CrossRow(short, total, fields)


def _first(most_s: I64Array, then_s: I64Array, limit: int) -> list[int]:
    """The places with the largest numbers, ties by the second one; without those that have no cells."""
    order = sorted(range(len(most_s)), key=lambda place: (-int(most_s[place]), -int(then_s[place]), place))
    return [place for place in order if then_s[place]][:limit]


def _unknown(types: CellTypes, main: Ballot, place: int, other: Ballot) -> str:
    """Labels of the main model of which the other one has neither the type nor a kind of it."""
    ours, theirs = types.type_of[0], types.type_of[place + 1]
    known = set[int]().union(*(types.within[theirs[name]] for name in other.vocabulary.names if name in theirs))
    lacking = [
        shortened(name, _NAME) for name in main.vocabulary.names if ours.get(name, NO_TYPE) not in {*known, NO_TYPE}
    ]
    return some(lacking, _LISTED) if lacking else ""
