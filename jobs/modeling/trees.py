"""Makes the tree above a model's labels from the Cell Ontology and the labels' lineages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.modeling.hierarchy import Hierarchy
from jobs.modeling.nearest import Near, Nearest, near_words, nearest_of
from jobs.modeling.ontology import Ontology, read_ontology
from shared.bundles.aligning import plain
from shared.bundles.card import UNASSIGNED, Label, have_lineages
from shared.bundles.groups import ONTOLOGY_ID, Group, has_meaning
from shared.bundles.terms import Term
from shared.domain.errors import InvalidOptionError

Members = frozenset[str]


@dataclass(frozen=True, slots=True)
class Placed:
    """Labels in the Cell Ontology.

    Attributes:
        labels: The labels, with the ids of their terms.
        tree: The groups above them.
        terms: Their terms and all that these are kinds of, for the card.
        unplaced: The names of the labels that are no terms, each with the terms whose names are nearest.
    """

    labels: tuple[Label, ...]
    tree: tuple[Group, ...]
    terms: tuple[Term, ...]
    unplaced: Mapping[str, tuple[Near, ...]]


def place_labels(labels: Sequence[Label], ontology: Ontology) -> Placed:
    """Find the term of each label and make the tree above them.

    A label's term is that of its id, or else the one with its name or exact synonym, spelled in any way that
    ``shared.bundles.aligning.plain`` takes for the same; by the readable name, or else the submitted one.

    A group is all labels that are kinds of one term, or all labels of one lineage. Of groups that cross, one of which
    is a lineage, the lineage stays; of others the one with more labels, and then the one deeper in the ontology. Of
    terms with the same labels the deepest gives its name, unless the labels are a lineage, which has a name.
    """
    spelled = _spelled(ontology)
    term_of = {label.name: _term(label, ontology, spelled) for label in labels}
    placed = tuple(
        label.model_copy(update={"ontology_id": term_of[label.name] or label.ontology_id}) for label in labels
    )
    unplaced = nearest_of((name for name, term in term_of.items() if term is None), ontology)
    return Placed(placed, _tree(placed, term_of, ontology), carried_terms(placed, ontology), unplaced)


def labels_and_terms(names: Iterable[str], path: Path | None) -> dict[str, Any]:
    """The fields ``labels`` and ``terms`` of an imported model's card, with the ids of an ontology, if there is one.

    Raises:
        InvalidOptionError: The ontology cannot be read.
    """
    if path is None:
        return {"labels": tuple(_label(name, None) for name in names), "terms": ()}
    ontology = read_ontology(path)
    return with_terms([_label(name, ontology) for name in names], ontology, {})


def with_terms(labels: Iterable[Label], ontology: Ontology, given: Mapping[str, str]) -> dict[str, Any]:
    """The fields ``labels`` and ``terms`` of a card; the terms as ``place_labels`` finds them.

    Args:
        given: The id or the name of the terms of some labels, which have precedence.

    Raises:
        InvalidOptionError: A given term is not in the ontology.
    """
    spelled = _spelled(ontology)
    chosen = {label: _given(label, wanted, ontology, spelled) for label, wanted in given.items()}
    placed = [(label, chosen.get(label.name) or _term(label, ontology, spelled)) for label in labels]
    found = tuple(label.model_copy(update={"ontology_id": term or label.ontology_id}) for label, term in placed)
    return {"labels": found, "terms": carried_terms(found, ontology)}


def _given(label: str, wanted: str, ontology: Ontology, spelled: Mapping[str, str]) -> str:
    found = _term(Label(name=wanted), ontology, spelled)
    if found is None:
        raise InvalidOptionError(
            f"{wanted!r}, given as the term of {label!r}, is no term of the ontology"
            f"{near_words(Nearest.among(ontology).of(wanted))}",
            expected="the id, name or exact synonym of a term",
            hint="Correct that line of the file of --terms.",
        )
    return found


def _label(name: str, ontology: Ontology | None) -> Label:
    """A label of an imported model. One that is an id of the Cell Ontology gets the name of its term."""
    if not ONTOLOGY_ID.fullmatch(name):
        return Label(name=name)
    readable = ontology.names.get(name) if ontology else None
    return Label(name=readable or name, ontology_id=name, submitted=name if readable else None)


def carried_terms(labels: Iterable[Label], ontology: Ontology) -> tuple[Term, ...]:
    """The terms of labels and all that these are kinds of, parents first, as a card carries them.

    In a circle of terms, which an ontology should not have, one is not a kind of the other.
    """
    hierarchy = Hierarchy(ontology.parents)
    own = [label.ontology_id for label in labels if label.ontology_id]
    above = {one for term in own if term in ontology.names for one in hierarchy.ancestors(term)}
    wanted = {term: len(hierarchy.ancestors(term)) for term in above if term in ontology.names}
    found: dict[str, Term] = {}
    # A term has more ancestors than each of its parents.
    for term in sorted(wanted, key=lambda term: (wanted[term], term)):
        parents = tuple(dict.fromkeys(parent for parent in ontology.parents[term] if parent in found))
        found[term] = Term(id=term, name=ontology.names[term], parents=parents)
    return tuple(found.values())


def _spelled(ontology: Ontology) -> dict[str, str]:
    """Ids by name, or else by exact synonym, in plain spelling; without spellings of several terms."""
    found: dict[str, str] = {}
    for names in (ontology.by_synonym, ontology.by_name):
        ids: dict[str, set[str]] = {}
        for name, term in names.items():
            ids.setdefault(plain(name), set()).add(term)
        found |= {name: next(iter(terms)) for name, terms in ids.items() if len(terms) == 1}
    return found


def _term(label: Label, ontology: Ontology, spelled: Mapping[str, str]) -> str | None:
    if label.ontology_id is not None:
        return label.ontology_id if label.ontology_id in ontology.parents else None
    names = [name for name in (label.name, label.submitted) if name]
    tried = [
        *(name for name in names if name in ontology.parents),
        *map(ontology.id_of, names),
        *(spelled.get(plain(name)) for name in names),
    ]
    return next((term for term in tried if term), None)


def _tree(labels: Sequence[Label], term_of: Mapping[str, str | None], ontology: Ontology) -> tuple[Group, ...]:
    hierarchy = Hierarchy(ontology.parents)
    lineages = _lineages(labels)
    terms_of = _shared_terms(term_of, hierarchy)

    def rank(members: Members) -> tuple[bool, int, int, list[str]]:
        depth = max((len(hierarchy.ancestors(term)) for term in terms_of.get(members, ())), default=0)
        return members not in lineages, -len(members), -depth, sorted(members)

    kept: list[Members] = []
    for one in sorted({*lineages, *terms_of}, key=rank):
        if all(one <= other or other <= one or one.isdisjoint(other) for other in kept):
            kept.append(one)
    lineage_of = {label.name: label.lineage for label in labels}
    groups: dict[str, Group] = {}
    for one in sorted(kept, key=lambda members: (len(members), sorted(members))):
        names: list[tuple[str, str | None]] = [(ontology.names[term], term) for term in terms_of.get(one, ())]
        if one in lineages:
            lineage = lineages[one]
            names = [(lineage, next((term for name, term in names if plain(name) == plain(lineage)), None))]
        free = [
            pair for pair in names if pair[0] not in {*groups, UNASSIGNED} and has_meaning(pair[0], one, lineage_of)
        ]
        if free:
            name, term = free[0]
            ordered = tuple(label.name for label in labels if label.name in one)
            groups[name] = Group(name=name, ontology_id=term, labels=ordered)
    return tuple(groups.values())


def _lineages(labels: Sequence[Label]) -> dict[Members, str]:
    """The lineages of several labels."""
    found: dict[str, set[str]] = {}
    for label in labels if have_lineages(labels) else ():
        found.setdefault(label.lineage or "", set()).add(label.name)
    return {frozenset(names): lineage for lineage, names in found.items() if len(names) > 1}


def _shared_terms(term_of: Mapping[str, str | None], hierarchy: Hierarchy) -> dict[Members, list[str]]:
    """The terms that several labels, but not all, are kinds of: by these labels, the deepest first.

    Terms of labels come last, as their names mean one label in the results.
    """
    labels_of: dict[str, set[str]] = {}
    for name, label_term in term_of.items():
        for term in hierarchy.ancestors(label_term) if label_term else ():
            labels_of.setdefault(term, set()).add(name)
    found: dict[Members, list[str]] = {}
    own = set(term_of.values())
    for term in sorted(labels_of, key=lambda term: (term in own, -len(hierarchy.ancestors(term)), term)):
        if 1 < len(labels_of[term]) < len(term_of):
            found.setdefault(frozenset(labels_of[term]), []).append(term)
    return found
