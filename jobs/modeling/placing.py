"""Places the labels of a file and of a model in the Cell Ontology."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.modeling.hierarchy import HierarchicalAgreement, Hierarchy, hierarchical_agreement
from jobs.modeling.nearest import nearest_of
from jobs.modeling.ontology import Ontology
from shared.bundles.aligning import Aligner, counterparts, plain
from shared.bundles.card import Label, ModelCard
from shared.bundles.groups import ONTOLOGY_ID
from shared.h5ad.names.label_columns import IDS_BESIDE
from shared.h5ad.read.groupings import Grouping, only_beside, read_grouping
from shared.h5ad.source import RangeSource


@dataclass(frozen=True, slots=True)
class Placed:
    """Labels with their terms.

    Attributes:
        own: The term of each of the file's labels; None if it has none.
        predicted: The term of each of the model's labels.
        counterparts: The model's label, or else its lineage, of the same meaning as a label of the file.
    """

    ontology: Ontology
    own: tuple[str | None, ...]
    labels: tuple[Label, ...]
    predicted: tuple[str | None, ...]
    counterparts: Mapping[str, str]

    def without_terms(self, own: Sequence[Label]) -> dict[str, tuple[str, ...]]:
        """The labels of file and model that are no terms, each with the nearest."""
        named = [*zip(own, self.own, strict=True), *zip(self.labels, self.predicted, strict=True)]
        unplaced = [label.name for label, term in named if term is None]
        return {name: tuple(map(str, near)) for name, near in nearest_of(unplaced, self.ontology).items()}

    def agreement(self, cells_tp: npt.NDArray[np.int64]) -> HierarchicalAgreement | None:
        """Agreement in the ontology; see ``hierarchical_agreement``."""
        unplaced = [label.name for label, term in zip(self.labels, self.predicted, strict=True) if term is None]
        return hierarchical_agreement(Hierarchy(self.ontology.parents), cells_tp, self.own, self.predicted, unplaced)


def placed(card: ModelCard, own: Sequence[Label], ontology: Ontology, source: RangeSource, column: str) -> Placed:
    """Find the terms of labels, and align them with the model's.

    A label of the file is placed by its id, in the column of ids beside that of the labels or as its own text, or else
    by its name or an exact synonym, or else by the model's label of the same name.

    Raises:
        InputError: The file cannot be read.
    """
    names = [label.name for label in own]
    ids, id_of = _ids_beside(source, column), _lookup(ontology)
    meanings = Aligner(card.labels, id_of, groups=card.tree).meanings(names, [ids.get(name) for name in names])
    predicted = tuple(_known(ontology, label.ontology_id or id_of(label.name)) for label in card.labels)
    term_of = dict(zip((label.name for label in card.labels), predicted, strict=True))
    terms = []
    for name, meaning in zip(names, meanings, strict=True):
        given = name if ONTOLOGY_ID.fullmatch(name) else ids.get(name) or id_of(name)
        terms.append(_known(ontology, given) or term_of.get(meaning.label or name))
    return Placed(
        ontology=ontology,
        own=tuple(terms),
        labels=card.labels,
        predicted=predicted,
        counterparts=counterparts(names, meanings),
    )


def _lookup(ontology: Ontology) -> Callable[[str], str | None]:
    """Finds a term by name or exact synonym, as spelled or else as names are aligned (``plain``)."""
    found: dict[str, set[str]] = {}
    for name, term in (*ontology.by_name.items(), *ontology.by_synonym.items()):
        found.setdefault(plain(name), set()).add(term)
    by_plain = {name: next(iter(terms)) for name, terms in found.items() if len(terms) == 1}
    return lambda name: ontology.id_of(name) or by_plain.get(plain(name))


def _known(ontology: Ontology, term: str | None) -> str | None:
    return term if term in ontology.parents else None


def _ids_beside(source: RangeSource, column: str) -> dict[str, str]:
    """The id of each label in the column that CELLxGENE keeps beside it."""
    labels, ids = read_grouping(source, column), read_grouping(source, f"{column}{IDS_BESIDE}")
    if not isinstance(labels, Grouping) or not isinstance(ids, Grouping):
        return {}
    found = only_beside(labels, ids)
    return {name.strip(): term for name, term in found.items() if ONTOLOGY_ID.fullmatch(term)}
